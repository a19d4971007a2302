//! Opened files: which source tells them, and the line about it on the coverage panel.

pub(super) mod names;
pub(super) mod sight;
pub(super) mod tracefs;

use std::{fmt, str::FromStr};

use sekhmet_common::{
    coverage::{Source, SourceStatus},
    display::Text,
    kernel::operation,
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
    /// The return of the function that opens files, with its arguments.
    Fexit,
    /// The beginning and the return of the same function.
    Kprobe,
    /// The ends of system calls.
    Tracepoint,
}

impl FileProbe {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::Fexit, Self::Kprobe, Self::Tracepoint];

    /// The word of the option `--file-source`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// The programs that it needs, and those that it can do without.
    const fn programs(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Fexit => (&["file_looked_up"], &WITH_CHANGES),
            Self::Kprobe => (&["file_lookup_ends", "file_lookup_begins"], &WITH_CHANGES),
            Self::Tracepoint => (&["file_opened"], &["file_by_uring", AT_END[0], AT_END[1]]),
        }
    }
}

/// See changes at the end of system calls, where not all of them are seen as the kernel makes them: what failed, and what
/// succeeded unseen. The second sees the new names of renames.
const AT_END: [&str; 2] = ["file_changed", "file_renamed"];

/// Changes that are seen as the kernel makes them: their bit in [`sekhmet_common::kernel::Sieve::resolved`], what they are called,
/// and both programs.
const CHANGES: [(u32, &str, [&str; 2]); 4] = [
    (1 << operation::UNLINK, "removals", ["file_unlink_ends", "file_unlink_begins"]),
    (1 << operation::RENAME, "renames", ["file_rename_ends", "file_rename_begins"]),
    (1 << operation::CHMOD, "changes of modes", ["file_chmod_ends", "file_chmod_begins"]),
    (1 << operation::TRUNCATE, "changes of lengths", ["file_truncate_ends", "file_truncate_begins"]),
];

/// The bits of all of them.
const ALL_CHANGES: u32 = CHANGES[0].0 | CHANGES[1].0 | CHANGES[2].0 | CHANGES[3].0;

/// What the sources can do without that see the kernel's own functions.
const WITH_CHANGES: [&str; 10] = [
    CHANGES[0].2[0],
    CHANGES[0].2[1],
    CHANGES[1].2[0],
    CHANGES[1].2[1],
    CHANGES[2].2[0],
    CHANGES[2].2[1],
    CHANGES[3].2[0],
    CHANGES[3].2[1],
    AT_END[0],
    AT_END[1],
];

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
    used: Option<FileProbe>,
    outcomes: Vec<Outcome>,
}

impl FileSources {
    /// Tries one after the other until one works.
    pub(super) fn attach(wanted: FileSource, mut try_one: impl FnMut(&'static Probe) -> Outcome) -> Self {
        let mut sources = Self { wanted, used: None, outcomes: Vec::new() };
        for way in FileProbe::ALL.into_iter().filter(|way| wanted.allows(*way)) {
            let (needed, wished) = way.programs();
            if needed.iter().all(|program| sources.attach_one(program, &mut try_one)) {
                sources.used = Some(way);
                for program in wished {
                    // Programs at the end of system calls make every call slower, whichever it is.
                    if !AT_END.contains(program) || sources.resolved() != ALL_CHANGES {
                        sources.attach_one(program, &mut try_one);
                    }
                }
                break;
            }
        }
        sources
    }

    fn attach_one(&mut self, program: &str, try_one: &mut impl FnMut(&'static Probe) -> Outcome) -> bool {
        let Some(probe) = FILE_PROBES.iter().find(|probe| probe.program == program) else { return false };
        let outcome = try_one(probe);
        let attached = outcome.attached();
        self.outcomes.push(outcome);
        attached
    }

    /// The source in use.
    pub(super) fn used(&self) -> Option<FileProbe> {
        self.used
    }

    /// Bits of the operations whose successes are seen as the kernel makes them.
    pub(super) fn resolved(&self) -> u32 {
        let whole =
            CHANGES.iter().filter(|(_, _, programs)| programs.iter().all(|program| self.has(program)));
        whole.map(|(bit, ..)| bit).sum()
    }

    fn sees_ends(&self) -> bool {
        AT_END.into_iter().all(|program| self.has(program))
    }

    fn has(&self, program: &str) -> bool {
        self.outcomes.iter().any(|outcome| outcome.is(program) && outcome.attached())
    }

    /// Which changes are not told, and which with less.
    fn unseen_changes(&self) -> Vec<String> {
        let resolved = self.resolved();
        let others: Vec<&str> =
            CHANGES.iter().filter(|(bit, ..)| resolved & bit == 0).map(|(_, what, _)| *what).collect();
        let others = others.join(", ");
        match (self.sees_ends(), others.is_empty()) {
            (_, true) => vec!["changes that fail are not told".into()],
            (true, false) => {
                vec![
                    format!("{others} are told by the path that was asked for"),
                    "those by 32-bit programs and io_uring are not seen".into(),
                ]
            }
            (false, false) if resolved == 0 => vec![format!("{others} are not told")],
            (false, false) => vec![format!("{others}, and changes that fail, are not told")],
        }
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
        let Some(used) = self.used else {
            let cost = Text::from("no access to a watched file is seen");
            return Source {
                capability,
                source: Text::default(),
                status: SourceStatus::Missing,
                cost,
                reason,
            };
        };
        // Said of every source.
        let mut costs = vec!["opens by handle and new hard links are not told".to_owned()];
        costs.extend(self.unseen_changes());
        if used == FileProbe::Tracepoint {
            costs.push("opens by 32-bit programs are not seen".into());
            costs.push(match by_uring {
                0 => "opens by io_uring are counted only".into(),
                many => format!("{many} opens by io_uring could not be resolved"),
            });
        }
        if missed > 0 {
            costs.push(format!(
                "{missed} events were lost: the kernel does not run a program that is at work already"
            ));
        }
        let status = match used {
            _ if missed > 0 => SourceStatus::Reduced,
            FileProbe::Tracepoint => SourceStatus::Reduced,
            _ if self.resolved() != ALL_CHANGES => SourceStatus::Reduced,
            FileProbe::Fexit => SourceStatus::Best,
            FileProbe::Kprobe => SourceStatus::Equal,
        };
        let hook = self.outcomes.iter().find(|o| used.programs().0.first().is_some_and(|first| o.is(first)));
        let source = Text::from(hook.map(|outcome| outcome.probe.hook.to_string()).unwrap_or_default());
        Source { capability, source, status, cost: Text::from(costs.join("; ")), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(wanted: FileSource, refused: &[&str]) -> FileSources {
        FileSources::attach(wanted, |probe| Outcome {
            probe,
            refused: refused.contains(&probe.program).then(|| "no".into()),
            verified_instructions: None,
        })
    }

    #[test]
    fn the_first_that_works_whole_is_used() {
        assert_eq!(attach(FileSource::Best, &[]).used(), Some(FileProbe::Fexit));
        assert_eq!(attach(FileSource::Best, &["file_looked_up"]).used(), Some(FileProbe::Kprobe));
        let half = attach(FileSource::Best, &["file_looked_up", "file_lookup_begins"]);
        assert_eq!(half.used(), Some(FileProbe::Tracepoint));
        assert_eq!((half.outcomes().len(), half.resolved()), (7, 0));
        let without = attach(FileSource::Best, &["file_looked_up", "file_lookup_ends", "file_by_uring"]);
        assert_eq!(without.used(), Some(FileProbe::Tracepoint));
        assert_eq!(attach(FileSource::None, &[]).used(), None);
        assert_eq!(attach(FileSource::Only(FileProbe::Kprobe), &["file_lookup_ends"]).used(), None);
    }

    #[test]
    fn the_line_says_what_is_missed_and_why() {
        let line = attach(FileSource::Best, &["file_looked_up", "file_lookup_ends"]).source(7, 0);
        assert_eq!(line.status, SourceStatus::Reduced);
        assert!(line.cost.to_string().contains("7 opens by io_uring could not be resolved"), "{line:?}");
        assert!(line.reason.to_string().contains("fexit do_filp_open: no"), "{line:?}");
        let none = attach(FileSource::None, &[]).source(0, 0);
        assert_eq!(
            (none.status, none.reason),
            (SourceStatus::Missing, Text::from("left out by the settings"))
        );
    }

    #[test]
    fn changes_are_seen_by_the_best_that_works_for_each() {
        let all = attach(FileSource::Best, &[]);
        assert_eq!((all.resolved(), all.source(0, 0).status), (0b11_1100, SourceStatus::Best));
        let cost = |refused: &[&str]| attach(FileSource::Best, refused).source(0, 0).cost.to_string();
        assert!(cost(&[]).ends_with("; changes that fail are not told"), "{}", cost(&[]));
        assert!(!all.has("file_changed") && !all.has("file_renamed"), "every call would pay for them");
        let inlined = attach(FileSource::Best, &["file_chmod_ends"]);
        assert_eq!((inlined.resolved(), inlined.source(0, 0).status), (0b10_1100, SourceStatus::Reduced));
        assert!(cost(&["file_chmod_ends"]).contains("; changes of modes are told by the path"));
        assert!(cost(&["file_chmod_ends", "file_changed"]).contains("and changes that fail, are not told"));
        let nothing = attach(FileSource::Only(FileProbe::Tracepoint), &["file_changed"]).source(0, 0);
        assert!(
            nothing
                .cost
                .to_string()
                .contains("; removals, renames, changes of modes, changes of lengths are not told")
        );
    }

    #[test]
    fn every_program_of_a_source_is_in_the_table() {
        for (needed, wished) in FileProbe::ALL.map(FileProbe::programs) {
            for program in needed.iter().chain(wished) {
                assert!(FILE_PROBES.iter().any(|probe| probe.program == *program), "{program}");
            }
        }
    }

    #[test]
    fn sources_are_named_by_their_words() {
        for probe in FileProbe::ALL {
            assert_eq!(probe.word().parse(), Ok(FileSource::Only(probe)));
        }
        assert_eq!("none".parse(), Ok(FileSource::None));
        assert!("fanotify".parse::<FileSource>().unwrap_err().contains("kprobe"));
    }
}
