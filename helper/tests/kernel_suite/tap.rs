//! Lines of the Test Anything Protocol.

use std::process::ExitCode;

/// Counts what was checked.
pub(crate) struct Tap {
    count: u32,
    failed: u32,
}

impl Tap {
    pub(crate) fn new() -> Self {
        println!("TAP version 13");
        Self { count: 0, failed: 0 }
    }

    /// One test; `why` is shown if it failed.
    pub(crate) fn check(&mut self, name: &str, good: bool, why: &str) {
        self.count += 1;
        if good {
            println!("ok {} - {name}", self.count);
        } else {
            self.failed += 1;
            println!("not ok {} - {name}", self.count);
            for line in why.lines() {
                println!("#   {line}");
            }
        }
    }

    /// One test that the kernel or the rights do not allow.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.count += 1;
        println!("ok {} - {name} # SKIP {why}", self.count);
    }

    pub(crate) fn note(&self, text: &str) {
        println!("# {text}");
    }

    pub(crate) fn finish(self) -> ExitCode {
        println!("1..{}", self.count);
        println!("# {} tests, {} failed", self.count, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
