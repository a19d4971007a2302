//! `sekhmetctl`, the terminal client: its arguments.

mod agent;
mod block;
mod command;
mod coverage;
mod files;
mod flows;
mod kinds;
mod moment;
mod numbers;
mod output;
mod ps;
mod record;
mod rules;
mod sentence;
mod session;
mod signals;
mod status;
mod table;
mod top;
mod watch;
mod watchlist;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{
    Parser, Subcommand,
    builder::{PossibleValuesParser, styling::Styles},
};
use sekhmet_client::{Request, View};
use sekhmet_common::rule::RuleId;
use session::Access;
use tracing_subscriber::EnvFilter;

/// Shows in the terminal which program talks to whom.
///
/// Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no helper.
#[derive(Debug, Parser)]
#[command(version, name = "sekhmetctl", styles = Styles::plain(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// One JSON object per line, and nothing else
    #[arg(long, global = true)]
    json: bool,
    /// Only your own processes [usual, but not for root]
    #[arg(long, global = true, conflicts_with = "all")]
    own: bool,
    /// Every process of every user [usual for root]
    #[arg(long, global = true)]
    all: bool,
    /// Let polkit ask for a password [usual at a terminal for what changes something]
    #[arg(long, global = true)]
    interactive: bool,
    /// Another bus than the system's
    #[arg(long, global = true, hide = true, value_name = "ADDRESS")]
    bus: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the helper is: version, sources, what became of the records
    Status,
    /// What can be seen on this machine, and from where
    Coverage,
    /// Processes and what they have exchanged
    Ps,
    /// Flows: who exchanges what with whom
    Flows,
    /// Watched files: who opened them, when, with what result, and whom it reached after that
    Files {
        /// Only accesses of the last so many seconds, minutes or hours, such as 10s or 5m
        #[arg(long, value_name = "TIME", value_parser = duration)]
        since: Option<Duration>,
    },
    /// Which files are watched
    Watchlist {
        #[command(subcommand)]
        what: watchlist::Watchlist,
    },
    /// Each event as it happens
    Watch {
        #[command(flatten)]
        time: Time,
        /// Only these kinds of events
        #[arg(long, value_delimiter = ',', value_name = "KIND,…", value_parser = PossibleValuesParser::new(kinds::KINDS))]
        kinds: Vec<String>,
        /// Show first what there is already
        #[arg(long)]
        snapshot: bool,
    },
    /// What goes on just now, drawn anew each second; q ends it
    Top {
        #[command(flatten)]
        time: Time,
    },
    /// Block a process or a program: it can no longer exchange anything with the outside
    Block(block::Block),
    /// Remove a rule
    Unblock {
        /// The rule's number
        #[arg(value_name = "ID", value_parser = block::rule_id)]
        id: RuleId,
    },
    /// Remove every rule
    Release,
    /// Rules in force
    Rules {
        #[command(subcommand)]
        what: rules::Rules,
    },
    /// Write events to a file, for sekhmet --replay
    Record {
        /// Where to; must not exist
        file: PathBuf,
        #[command(flatten)]
        time: Time,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Time {
    /// End after this time, such as 10s or 5m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    limit: Option<Duration>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let access = Access {
        address: arguments.bus.clone(),
        request: Request { view: arguments.view(), interactive: arguments.interactive },
    };
    let json = arguments.json;
    let done = match arguments.command {
        Command::Status => status::run(&access, json),
        Command::Coverage => coverage::run(&access, json),
        Command::Ps => ps::run(&access, json),
        Command::Flows => flows::run(&access, json),
        Command::Files { since } => files::run(&access, json, since),
        Command::Watchlist { what } => watchlist::watchlist(&access, json, &what),
        Command::Watch { time, kinds, snapshot } => {
            watch::run(&access, json, &watch::Choice { time: time.limit, kinds, snapshot })
        }
        Command::Block(what) => block::add(&access, json, &what),
        Command::Unblock { id } => block::remove(&access, json, id),
        Command::Release => block::release(&access, json),
        Command::Rules { what: rules::Rules::List } => rules::list(&access, json),
        Command::Top { time } => top::run(&access, json, time.limit),
        Command::Record { file, time, force } => record::run(&access, json, &file, force, time.limit),
    };
    match done {
        Ok(()) | Err(output::Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            failure.exit_code()
        }
    }
}

impl Arguments {
    fn view(&self) -> View {
        match (self.own, self.all) {
            (true, _) => View::Own,
            (_, true) => View::All,
            _ => session::usual_view(),
        }
    }
}

/// A time as jiff's friendly format has it (`10s`, `1h 30m`), or whole seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let wrong = || format!("{text} is no time; write for example 10s or 1h30m");
    let parsed: jiff::SignedDuration = text.parse().map_err(|_e| wrong())?;
    parsed.try_into().map_err(|_e| wrong())
}
