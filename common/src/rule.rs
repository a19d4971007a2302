//! A rule that blocks: whom, what, for how long, and who wanted it.

mod sentence;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use crate::words::Unknown;
use crate::{display::Text, process::ProcessId, time::Timestamp, words::words};

/// The most rules there may be at once.
pub const RULES_MAX: usize = 1000;

/// The longest time for which a rule may be asked for; who wants more wants [`Lifetime::Always`].
pub const SECONDS_MAX: u64 = 366 * 24 * 3600;

/// Names one rule, also after a restart. It is the number that the kernel and the firewall know the rule by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub u32);

impl RuleId {
    /// The largest number: a firewall mark has room for 20 bits of it.
    pub const MAX: Self = Self(0x000f_ffff);

    /// The rule with this number, if a rule can have it.
    pub fn new(number: u64) -> Option<Self> {
        let id = Self(u32::try_from(number).ok()?);
        (id.0 > 0 && id <= Self::MAX).then_some(id)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whom a rule blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One process, and every process that it or one of those starts.
    Process {
        /// The process, while it is listed.
        process: Option<ProcessId>,
        /// Its PID.
        pid: u32,
        /// What it is called.
        name: Text,
        /// Its executable's path.
        exe: Text,
    },
    /// Every process that runs this executable, and those that they start.
    Program {
        /// The executable's path in the system's own file tree. A program with the same path in a container is
        /// another program.
        exe: Text,
    },
}

impl Subject {
    /// The executable's path.
    pub fn exe(&self) -> &Text {
        match self {
            Self::Process { exe, .. } | Self::Program { exe } => exe,
        }
    }

    /// What a person calls it: the process's name, or the last part of the executable's path.
    pub fn name(&self) -> String {
        match self {
            Self::Process { name, .. } => name.shown(),
            Self::Program { exe } => {
                let path = exe.shown();
                path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&path).to_owned()
            }
        }
    }
}

/// Which way the refused traffic goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ways {
    /// Whatever the subject sends and whatever is sent to it.
    #[default]
    Both,
    /// What the subject begins.
    Outbound,
    /// What others begin.
    Inbound,
}

/// What the subject notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An error at once.
    #[default]
    Reject,
    /// Silence.
    Drop,
}

/// How near a remote side may be to be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Everything but this machine. A name server on this machine counts as outside: it asks others.
    #[default]
    Outside,
    /// This machine, too.
    Everywhere,
}

/// When a rule ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// When nothing that it blocks runs any more.
    UntilExit,
    /// After so many seconds, those asleep included.
    Seconds(u64),
    /// When the machine starts anew.
    UntilRestart,
    /// Never.
    Always,
}

words!(
    Ways,
    "the direction is both, outbound or inbound",
    Both = "both",
    Outbound = "outbound",
    Inbound = "inbound"
);
words!(Answer, "the answer is reject or drop", Reject = "reject", Drop = "drop");
words!(Extent, "the extent is outside or everywhere", Outside = "outside", Everywhere = "everywhere");

const LIFETIME: Unknown =
    Unknown("the lifetime is until-exit, until-restart, always, or a time like 90s, 15m, 1h or 7d");

impl FromStr for Lifetime {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        match word {
            "until-exit" => return Ok(Self::UntilExit),
            "until-restart" => return Ok(Self::UntilRestart),
            "always" => return Ok(Self::Always),
            _ => {}
        }
        let (digits, unit) = word.split_at_checked(word.len().saturating_sub(1)).ok_or(LIFETIME)?;
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return Err(LIFETIME),
        };
        // `u64` would take a plus sign.
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(LIFETIME);
        }
        let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or(LIFETIME)?;
        if (1..=SECONDS_MAX).contains(&seconds) {
            Ok(Self::Seconds(seconds))
        } else {
            Err(Unknown("a time is between one second and 366 days"))
        }
    }
}

impl fmt::Display for Lifetime {
    /// The word that is read back as the same lifetime.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntilExit => f.write_str("until-exit"),
            Self::UntilRestart => f.write_str("until-restart"),
            Self::Always => f.write_str("always"),
            Self::Seconds(n) => match n {
                n if n % 86_400 == 0 => write!(f, "{}d", n / 86_400),
                n if n % 3600 == 0 => write!(f, "{}h", n / 3600),
                n if n % 60 == 0 => write!(f, "{}m", n / 60),
                n => write!(f, "{n}s"),
            },
        }
    }
}

/// Whom a client wants to block. It names a process by the helper's id; a path is text to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This process and its children.
    Process(ProcessId),
    /// The program that this process runs.
    ProgramOf(ProcessId),
    /// The program with this path in the system's own file tree.
    Path(Text),
}

/// What a client wants: everything about a rule that is not the helper's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Whom.
    pub wanted: Wanted,
    /// Which way.
    pub ways: Ways,
    /// Noticed how.
    pub answer: Answer,
    /// How near.
    pub extent: Extent,
    /// For how long.
    pub lifetime: Lifetime,
}

impl Draft {
    /// Rejects, both ways, the outside world.
    pub fn new(wanted: Wanted, lifetime: Lifetime) -> Self {
        Self { wanted, ways: Ways::default(), answer: Answer::default(), extent: Extent::default(), lifetime }
    }

    /// Refuses what no rule can be, whoever asks.
    ///
    /// # Errors
    /// [`Unknown`] says what is wrong.
    pub fn check(&self) -> Result<(), Unknown> {
        match &self.wanted {
            Wanted::Process(_) if self.lifetime == Lifetime::Always => Err(Unknown(
                "a process does not outlast a restart; block its program, or the process until it exits",
            )),
            Wanted::Path(path) => check_path(path),
            _ => Ok(()),
        }
    }
}

/// An absolute path of at most 4,095 bytes without `.`, `..` and empty parts: one that the kernel could report.
fn check_path(path: &Text) -> Result<(), Unknown> {
    let bytes = path.as_bytes();
    let parts_are_plain = bytes.strip_prefix(b"/").is_some_and(|rest| {
        rest.split(|&b| b == b'/').all(|part| !part.is_empty() && part != b"." && part != b"..")
    });
    if parts_are_plain && bytes.len() < 4096 && !bytes.contains(&0) {
        Ok(())
    } else {
        Err(Unknown("a program is named by the absolute path of its executable, without . and .."))
    }
}

/// A rule that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its number.
    pub id: RuleId,
    /// Whom it blocks.
    pub subject: Subject,
    /// Which way.
    pub ways: Ways,
    /// Noticed how.
    pub answer: Answer,
    /// How near.
    pub extent: Extent,
    /// For how long.
    pub lifetime: Lifetime,
    /// When it came into force.
    pub added_at: Timestamp,
    /// When its time is over, for [`Lifetime::Seconds`].
    pub expires_at: Option<Timestamp>,
    /// Who wanted it.
    pub added_by: u32,
    /// That user's name, if the system knows one.
    pub added_by_user: Option<Text>,
    /// How many attempts it refused, those included that are no longer listed.
    pub hits: u64,
}

/// Why a rule is no longer in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEnd {
    /// Somebody removed it.
    Removed,
    /// Its time is over.
    Expired,
    /// Nothing that it blocks runs any more.
    Exited,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_come_back() {
        for way in [Ways::Both, Ways::Outbound, Ways::Inbound] {
            assert_eq!(way.word().parse(), Ok(way));
        }
        for answer in [Answer::Reject, Answer::Drop] {
            assert_eq!(answer.word().parse(), Ok(answer));
        }
        for extent in [Extent::Outside, Extent::Everywhere] {
            assert_eq!(extent.word().parse(), Ok(extent));
        }
    }

    #[test]
    fn lifetimes_are_words_or_times() {
        for (word, lifetime) in [
            ("until-exit", Lifetime::UntilExit),
            ("until-restart", Lifetime::UntilRestart),
            ("always", Lifetime::Always),
            ("90s", Lifetime::Seconds(90)),
            ("1h", Lifetime::Seconds(3600)),
            ("366d", Lifetime::Seconds(SECONDS_MAX)),
        ] {
            assert_eq!(word.parse(), Ok(lifetime), "{word}");
            assert_eq!(lifetime.to_string().parse(), Ok(lifetime), "{word}");
        }
        for bad in
            ["", "h", "0s", "+1h", "-1h", "1", "1w", "367d", "1.5h", "99999999999999999999s", "1ä", " 1h"]
        {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_process_is_not_blocked_for_ever_and_a_program_is_named_in_full() {
        let process = |lifetime| Draft::new(Wanted::Process(ProcessId(1)), lifetime);
        assert!(process(Lifetime::Always).check().is_err());
        assert!(process(Lifetime::UntilRestart).check().is_ok());
        let path = |path: &str| Draft::new(Wanted::Path(path.into()), Lifetime::Always).check();
        assert!(path("/usr/bin/curl").is_ok());
        let long = format!("/{}", "a".repeat(4096));
        for bad in ["", "/", "curl", "/usr/../bin/curl", "/usr//curl", "/usr/./curl", "/usr/\0", &long] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_time_comes_back(seconds in 1..=SECONDS_MAX) {
            let lifetime = Lifetime::Seconds(seconds);
            prop_assert_eq!(lifetime.to_string().parse(), Ok(lifetime));
        }

        #[test]
        fn no_word_panics(word in ".{0,40}") {
            if let Ok(lifetime) = word.parse::<Lifetime>() {
                prop_assert_eq!(lifetime.to_string().parse(), Ok(lifetime));
            }
        }
    }
}
