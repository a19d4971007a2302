//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};
use sekhmet_client::{Options, Request, View};

/// Shows which program talks to whom.
///
/// Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no helper.
#[derive(Debug, Parser)]
#[command(name = "sekhmetctl", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// One JSON object per line instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Every user's programs (the default for root)
    #[arg(long, global = true, overrides_with = "own")]
    all: bool,
    /// Your own programs (the default for everybody else)
    #[arg(long, global = true, overrides_with = "all")]
    own: bool,
    /// Let polkit ask for a password if it wants one
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    interactive: bool,
    /// Use this message bus instead of the system's (for development)
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) bus_address: Option<String>,
}

impl Common {
    /// The stream to ask for.
    pub(crate) fn options(&self) -> Options {
        let sees_all = self.all || (!self.own && rustix::process::geteuid().is_root());
        let view = if sees_all { View::All } else { View::Own };
        let request = Request { view, interactive: self.interactive };
        Options { address: self.bus_address.clone(), request }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// How the helper is, and how many records it has seen and lost
    Status,
    /// What can be seen on this machine, and from where
    Coverage,
    /// Processes with their totals
    Ps,
    /// Flows: which process talks to which remote
    Flows,
    /// Events as they happen
    Watch(Watch),
    /// A table that renews itself
    Top(Top),
    /// Write an event log that `sekhmet --replay` opens
    Record(Record),
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// End after this time: 500ms, 10s, 2m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(crate) time: Option<Duration>,
    /// Only these types of events, with commas between them
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = kind)]
    pub(crate) kinds: Vec<String>,
    /// Begin with what exists already
    #[arg(long)]
    pub(crate) snapshot: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// End after this time: 500ms, 10s, 2m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(crate) time: Option<Duration>,
    /// Time between two tables
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(crate) every: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Where to write; "-" is standard output. An existing file is not overwritten
    pub(crate) file: PathBuf,
    /// End after this time: 500ms, 10s, 2m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(crate) time: Option<Duration>,
}

/// Every word that an event's `type` can be.
pub(crate) const KINDS: [&str; 16] = [
    "snapshot_begin",
    "snapshot_end",
    "process_started",
    "process_changed",
    "process_exited",
    "process_totals",
    "process_gone",
    "flow_opened",
    "flow_changed",
    "flow_closed",
    "flow_gone",
    "traffic",
    "others",
    "coverage",
    "balance",
    "lost",
];

fn kind(text: &str) -> Result<String, String> {
    if KINDS.contains(&text) { Ok(text.into()) } else { Err(format!("one of {}", KINDS.join(", "))) }
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "a number with ms, s, m or h behind it".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_not_a_number| wrong())?;
    // A hundred years are for ever, and still fit every clock.
    let total = number.checked_mul(millis).filter(|&n| n > 0 && n <= 3_155_760_000_000).ok_or_else(wrong)?;
    Ok(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use sekhmet_common::log;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for wrong in
            ["", "10", "s", "10 s", "-1s", "1.5s", "0s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds_are_the_words_of_the_log() {
        // serde names every variant that there is when it meets one that there is not.
        let error = log::from_line("{\"type\":\"nonsense\"}").unwrap_err().to_string();
        let words = error.split("expected one of").nth(1).unwrap();
        let mut words: Vec<&str> = words.split('`').skip(1).step_by(2).collect();
        let mut kinds = KINDS.to_vec();
        words.sort_unstable();
        kinds.sort_unstable();
        assert_eq!(kinds, words);
        assert!(kind("nonsense").is_err());
    }
}
