//! What the parts of a test run came to: counts, times, the table, the closing line.

use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;
use std::time::Duration;

use crate::shell;
use crate::vm::tap::Report;

/// How one part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So many checks, all good.
    Passed(u64),
    /// Good, but some of its tests could not run here.
    Partly {
        /// Checks that held.
        passed: u64,
        /// Checks that could not run.
        skipped: u64,
    },
    /// At least one check did not hold.
    Failed {
        /// Checks that held.
        passed: u64,
        /// Checks that did not.
        failed: u64,
    },
    /// The part could not run on this machine, for this reason.
    Skipped(String),
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

impl Line {
    /// A finished part.
    pub(super) fn new(name: &str, took: Duration, outcome: Outcome) -> Self {
        Self { name: name.to_owned(), took, outcome }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(f, "  {:<28} {seconds:>7.1} s  ", self.name)?;
        match &self.outcome {
            Outcome::Passed(count) => write!(f, "ok ({count})"),
            Outcome::Partly { passed, skipped } => write!(f, "ok ({passed}, {skipped} skipped)"),
            Outcome::Failed { passed, failed } => write!(f, "FAILED ({failed} of {})", passed + failed),
            Outcome::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// The sum over all parts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Checks that held.
    pub passed: u64,
    /// Checks that did not.
    pub failed: u64,
    /// Checks, or whole parts, that could not run.
    pub skipped: u64,
}

impl<'a> Sum<&'a Outcome> for Tally {
    fn sum<I: Iterator<Item = &'a Outcome>>(outcomes: I) -> Self {
        outcomes.fold(Self::default(), |tally, outcome| {
            let (passed, failed, skipped) = match *outcome {
                Outcome::Passed(count) => (count, 0, 0),
                Outcome::Partly { passed, skipped } => (passed, 0, skipped),
                Outcome::Failed { passed, failed } => (passed, failed, 0),
                Outcome::Skipped(_) => (0, 0, 1),
            };
            Self {
                passed: tally.passed + passed,
                failed: tally.failed + failed,
                skipped: tally.skipped + skipped,
            }
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl From<Report> for Tally {
    fn from(report: Report) -> Self {
        Self { passed: report.passed, failed: report.failed.len() as u64, skipped: report.skipped }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Shows every part with its time.
pub(super) fn print_table(lines: &[Line]) {
    shell::result_line("");
    for line in lines {
        shell::result_line(line.to_string());
    }
    let took: Duration = lines.iter().map(|line| line.took).sum();
    shell::result_line(format!("  {:<28} {:>7.1} s", "in all", took.as_secs_f64()));
}

/// Reads the counts out of what cargo test (`test result: ok. 3 passed; 0 failed; 1 ignored; …`) or nextest
/// (`Summary [ 0.1s] 4 tests run: 3 passed, 1 failed, 2 skipped`) printed. Nothing recognised gives `None`.
pub(super) fn read_test_counts(text: &str) -> Option<Tally> {
    let mut tally = None;
    for line in text.lines() {
        let line = shell::without_escapes(line);
        let counts = if let Some(rest) = line.trim_start().strip_prefix("test result:") {
            rest.split_once('.').map(|(_, counts)| counts.to_owned())
        } else if line.trim_start().starts_with("Summary [") {
            line.split_once("run:").map(|(_, counts)| counts.to_owned())
        } else {
            None
        };
        if let Some(counts) = counts {
            add_counts(tally.get_or_insert_default(), &counts);
        }
    }
    tally
}

fn add_counts(tally: &mut Tally, counts: &str) {
    for item in counts.split([';', ',']) {
        let mut words = item.split_whitespace();
        let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
            continue;
        };
        match what {
            "passed" => tally.passed += count,
            "failed" | "timed" => tally.failed += count,
            "ignored" | "skipped" => tally.skipped += count,
            _ => {}
        }
    }
}

impl From<Tally> for Outcome {
    fn from(tally: Tally) -> Self {
        match tally {
            Tally { passed, failed, .. } if failed > 0 => Self::Failed { passed, failed },
            Tally { passed, skipped: 0, .. } => Self::Passed(passed),
            Tally { passed, skipped, .. } => Self::Partly { passed, skipped },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_cargo_test_are_summed_over_executables() {
        let text = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(read_test_counts(text), Some(Tally { passed: 4, failed: 2, skipped: 1 }));
    }

    #[test]
    fn counts_of_nextest_are_read_through_colours() {
        let text = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.016s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped\n";
        assert_eq!(read_test_counts(text), Some(Tally { passed: 4, failed: 1, skipped: 2 }));
        assert_eq!(read_test_counts("nothing of the kind\n"), None);
    }

    #[test]
    fn the_closing_line_sums_every_part() {
        let outcomes = [
            Outcome::Passed(3),
            Outcome::Partly { passed: 2, skipped: 1 },
            Outcome::Failed { passed: 1, failed: 2 },
            Outcome::Skipped("no root".into()),
        ];
        let tally: Tally = outcomes.iter().sum();
        assert_eq!(tally.to_string(), "6 passed, 2 failed, 2 skipped");
    }
}
