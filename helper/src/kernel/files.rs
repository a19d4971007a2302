//! Opened files: which source tells them, and the line about it on the coverage panel.

pub(super) mod names;
pub(super) mod sight;
pub(super) mod tracefs;

use std::{fmt, str::FromStr};

use sekhmet_common::{
    coverage::{Source, SourceStatus},
    display::Text,
};

use super::probes::{FILE_PROBES, Outcome, Probe};

pub use names::{Names, NamesError};

/// Which source of opened files is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileSource {
    /// The best one that works.
    #[default]
    Best,
    /// This one or none.
    Only(FileProbe),
    /// None.
    None,
}

/// The ways in which opened files can be seen, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileProbe {
    /// The ends of system calls.
    Tracepoint,
}

impl FileProbe {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 1] = [Self::Tracepoint];

    /// The word of the option `--file-source`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tracepoint => "tracepoint",
        }
    }
}

impl fmt::Display for FileProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for FileSource {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "best" => Ok(Self::Best),
            "none" => Ok(Self::None),
            _ => {
                let probe = FileProbe::ALL.into_iter().find(|probe| probe.word() == word);
                probe.map(Self::Only).ok_or_else(|| {
                    let words: Vec<&str> = FileProbe::ALL.into_iter().map(FileProbe::word).collect();
                    format!("the source of opened files is best, {} or none", words.join(", "))
                })
            }
        }
    }
}

impl FileSource {
    /// Whether this way may be tried.
    pub(super) fn allows(self, probe: FileProbe) -> bool {
        match self {
            Self::Best => true,
            Self::Only(only) => only == probe,
            Self::None => false,
        }
    }
}

/// The source in use, and what became of better ones.
#[derive(Debug)]
pub(super) struct FileSources {
    wanted: FileSource,
    outcomes: Vec<Outcome>,
}

impl FileSources {
    /// Tries one after the other until one works.
    pub(super) fn attach(wanted: FileSource, mut try_one: impl FnMut(&'static Probe) -> Outcome) -> Self {
        let mut outcomes = Vec::new();
        for (way, probe) in FileProbe::ALL.into_iter().zip(&FILE_PROBES) {
            if !wanted.allows(way) {
                continue;
            }
            outcomes.push(try_one(probe));
            if outcomes.last().is_some_and(Outcome::attached) {
                break;
            }
        }
        Self { wanted, outcomes }
    }

    /// What was tried, in this order.
    pub(super) fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The line on the coverage panel. `by_uring` is how many files were opened in a way that this source does not
    /// see, `missed` for how many events the kernel did not run it.
    pub(super) fn source(&self, by_uring: u64, missed: u64) -> Source {
        let capability = Text::from("watched files");
        let refusals: Vec<String> = self
            .outcomes
            .iter()
            .filter_map(|outcome| Some(format!("{}: {}", outcome.probe.hook, outcome.refused.as_ref()?)))
            .collect();
        let reason = match self.wanted {
            FileSource::None => Text::from("left out by the settings"),
            _ => Text::from(refusals.join("; ")),
        };
        let Some(used) = self.outcomes.iter().find(|outcome| outcome.attached()) else {
            let cost = Text::from("no access to a watched file is seen");
            return Source {
                capability,
                source: Text::default(),
                status: SourceStatus::Missing,
                cost,
                reason,
            };
        };
        let mut costs = vec!["opens by 32-bit programs are not seen".to_owned()];
        costs.push(match by_uring {
            0 => "those by io_uring are not resolved".to_owned(),
            many => format!("{many} opens by io_uring could not be resolved"),
        });
        if missed > 0 {
            costs.push(format!("{missed} events were lost: the kernel was at work for the helper"));
        }
        let source = Text::from(used.probe.hook.to_string());
        Source {
            capability,
            source,
            status: SourceStatus::Reduced,
            cost: Text::from(costs.join("; ")),
            reason,
        }
    }
}
