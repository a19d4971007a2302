//! What the kernel programs could not keep up with, told once for each time it grew.

use sekhmet_common::{
    coverage::{Source, SourceStatus},
    display::Text,
    kernel::stat,
};

use super::Worker;
use crate::kernel::load::Kernel;

/// What the rules' programs, or those of opened files, promise.
const RULES: &str = "every rule in force";
const FILES: &str = "every opened file told";

/// Counters of what must not happen, what is not kept then, and what it means.
pub(super) const GAPS: [(u32, &str, &str); 6] = [
    (stat::POLICY_MAP_FULL, RULES, "processes are not blocked as they should be: too many are"),
    (
        stat::POLICY_FULL,
        RULES,
        "processes or sockets are not blocked by all rules that apply to them: four apply already",
    ),
    (
        stat::SOCKET_UNBOUND,
        RULES,
        "sockets are not blocked as they should be: the kernel has no memory for them",
    ),
    (stat::REFUSAL_MAP_FULL, RULES, "refusals are not told: there are too many different ones"),
    (stat::FILE_UNREADABLE, FILES, "accesses are not told: their paths could not be read"),
    (stat::FILE_OPENINGS_FULL, FILES, "accesses are not told: there are too many at a time"),
];

impl Worker {
    /// What the programs could not keep up with, once for each time it grew.
    pub(super) fn warn_of_gaps(&mut self) {
        for ((counter, promise, what), told) in GAPS.iter().zip(&mut self.gaps) {
            let Ok(count) = self.kernel.stat(*counter) else { continue };
            if count > *told {
                tracing::warn!(count, what);
                if *told == 0 {
                    self.kernel.note(gap(promise, what));
                    self.outbox.set_coverage(self.kernel.mode(), self.kernel.sources());
                }
                *told = count;
                if *counter == stat::FILE_OPENINGS_FULL {
                    forget_changes(&mut self.kernel);
                }
            }
        }
    }
}

/// Makes room for changes of files: what was forbidden has no end, and stays where no program sees the end of its system
/// call. A change is under way for microseconds, so hardly any other is lost.
fn forget_changes(kernel: &mut Kernel) {
    let begun: Vec<u64> = kernel.changes.keys().filter_map(Result::ok).collect();
    for task in begun {
        // It may have ended meanwhile.
        let _gone = kernel.changes.remove(&task);
    }
}

/// The line on the coverage panel about one of [`GAPS`].
fn gap(promise: &'static str, what: &'static str) -> Source {
    Source {
        capability: promise.into(),
        source: "kernel programs".into(),
        status: SourceStatus::Reduced,
        cost: Text::default(),
        reason: what.into(),
    }
}
