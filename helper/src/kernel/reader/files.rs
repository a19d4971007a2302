//! The ring of opened files: what is in it, told in the order of both rings.

use std::collections::VecDeque;

use sekhmet_common::kernel::kind;

use super::Worker;
use crate::{
    engine::input::Observation,
    kernel::{
        clock::Clock,
        decode::{FileSeen, Record, decode_record},
        files::sight::sight,
        outbox::Outbox,
    },
};

impl Worker {
    /// What is in the ring of files by now.
    pub(super) fn read_files(&mut self) -> VecDeque<Box<FileSeen>> {
        let mut accesses = VecDeque::new();
        while let Some(bytes) = self.kernel.files.next() {
            match decode_record(&bytes) {
                Ok(Record::File(seen)) if self.kernel.unheard == Some(seen.record.process.tgid) => {
                    self.outbox.filter(kind::FILE);
                }
                Ok(Record::File(seen)) => accesses.push_back(seen),
                Ok(other) => self.outbox.lose(Some(other.kind())),
                Err(error) => {
                    self.outbox.lose(error.kind());
                    if self.malformed == 0 {
                        tracing::error!(%error, "the kernel programs made a malformed record of a file");
                    }
                    self.malformed += 1;
                }
            }
        }
        accesses
    }
}

/// Tells accesses that were before `until_ns`.
pub(super) fn tell_files(
    accesses: &mut VecDeque<Box<FileSeen>>,
    until_ns: u64,
    clock: Clock,
    outbox: &mut Outbox,
) {
    while let Some(seen) = accesses.pop_front_if(|seen| seen.record.header.at_ns < until_ns) {
        match sight(&seen, clock.wall(seen.record.header.at_ns)) {
            Some(sight) => outbox.push_record(kind::FILE, Observation::File(sight)),
            None => outbox.filter(kind::FILE),
        }
    }
}
