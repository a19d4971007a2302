//! The watched files that rows opened.

use std::collections::HashMap;

use sekhmet_common::file::AccessId;

use crate::model::{key::GroupKey, ledger::Ledger, secrets::Marks};

/// The watched files that a row opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// Files at which it was not expected.
    pub unexpected: usize,
    /// Files at which it was.
    pub expected: usize,
    /// The newest access, one that was not expected before all others.
    pub newest: Option<AccessId>,
}

impl Secret {
    pub(super) fn of(marks: Option<&Marks>) -> Self {
        marks.map_or_else(Self::default, |marks| Self {
            unexpected: marks.unexpected(),
            expected: marks.expected(),
            newest: marks.newest(),
        })
    }
}

/// The watched files that the processes of each program and each user opened.
pub(super) fn by_group(ledger: &Ledger) -> HashMap<&GroupKey, Marks> {
    let mut groups: HashMap<&GroupKey, Marks> = HashMap::new();
    for (process, marks) in ledger.secrets().marks() {
        if let Some(proc) = ledger.proc(Some(*process)) {
            for key in [&proc.program, &proc.user] {
                groups.entry(key).or_default().absorb(marks);
            }
        }
    }
    groups
}
