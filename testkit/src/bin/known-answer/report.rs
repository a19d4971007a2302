//! TAP lines and their sum.

use std::io::Write;

use anyhow::Result;

/// TAP lines and their sum.
#[derive(Default)]
pub(crate) struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    pub(crate) fn check(&mut self, name: &str, result: Result<(), String>) {
        let number = self.passed + self.failed + 1;
        let mut out = std::io::stdout().lock();
        let written = match result {
            Ok(()) => {
                self.passed += 1;
                writeln!(out, "ok {number} - {name}")
            }
            Err(why) => {
                self.failed += 1;
                writeln!(out, "not ok {number} - {name}\n  # {}", why.replace('\n', "\n  # "))
            }
        };
        if let Err(error) = written {
            eprintln!("known-answer: standard output: {error}");
        }
    }

    /// Something to read beside the checks.
    pub(crate) fn note(&self, text: &str) {
        if let Err(error) = writeln!(std::io::stdout(), "# {}", text.replace('\n', "\n# ")) {
            eprintln!("known-answer: standard output: {error}");
        }
    }

    pub(crate) fn close(&self) -> Result<bool> {
        writeln!(std::io::stdout(), "1..{}", self.passed + self.failed)?;
        writeln!(std::io::stdout(), "{} passed, {} failed", self.passed, self.failed)?;
        Ok(self.failed == 0)
    }
}
