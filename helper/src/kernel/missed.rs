//! Events for which the kernel did not run a program, because it was at work on the same processor already.
//!
//! The kernel counts them for each program (`recursion_misses`, since Linux 5.12). Nobody makes a record of such an
//! event, so it is accounted for here: as made, and as lost.

use std::{io, os::fd::OwnedFd};

use aya::Ebpf;
use sekhmet_common::kernel::{kind, turn};

use super::{
    balance::PerKind,
    probes::{FILE_PROBES, PROBES},
    reading::turns,
    sys,
};

/// The first program at the tracepoint of TCP states, and the one that takes care of what the first missed.
const TCP: (&str, &str) = ("tcp_state", "tcp_state_again");

/// Programs at tracepoints, which are those that can miss something, by the kind of record that they make.
const WATCHED: [(&str, u32); 5] = [
    ("process_exec", kind::EXEC),
    ("process_fork", kind::FORK),
    ("process_exit", kind::EXIT),
    (TCP.0, kind::TCP),
    (TCP.1, kind::TCP),
];

/// Descriptors of the programs that can miss something.
#[derive(Debug, Default)]
pub(super) struct Watched(Vec<(&'static str, u32, OwnedFd)>);

/// What was missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missed {
    /// By kind of record.
    pub(super) by_kind: PerKind,
    /// By program, in the order of the probes.
    pub(super) by_probe: [u64; PROBES.len()],
    /// By the programs of opened files.
    pub(super) files: u64,
}

impl Watched {
    /// Keeps the descriptors of those that are attached.
    pub(super) fn new(ebpf: &Ebpf, attached: impl Fn(&str) -> bool) -> Self {
        let files = FILE_PROBES.iter().map(|probe| (probe.program, kind::FILE));
        let held =
            WATCHED.into_iter().chain(files).filter(|(name, _)| attached(name)).filter_map(|(name, kind)| {
                let fd = sys::duplicate(ebpf.program(name)?.fd().ok()?).ok()?;
                Some((name, kind, fd))
            });
        Self(held.collect())
    }

    /// Reads the kernel's counters. `spared` gives how often the second program was not needed when it was missed;
    /// it is asked after the misses were read, so that it never falls short of them.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn read(&self, spared: impl FnOnce() -> io::Result<u64>) -> io::Result<Missed> {
        let counts = self
            .0
            .iter()
            .map(|(name, kind, fd)| Ok((*name, *kind, sys::missed(fd)?)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(account(&counts, spared()?))
    }
}

/// What is really missing, from what each program missed.
///
/// A change of a TCP state is missing if neither program ran for it. The second runs for every change, so it is
/// among those that the second missed and the first did not take care of. With one program alone its misses are
/// counted, also of changes that it would have left out: better too many than too few.
fn account(counts: &[(&'static str, u32, u64)], spared: u64) -> Missed {
    let of = |name: &str| counts.iter().find(|(program, ..)| *program == name).map(|(_, _, misses)| *misses);
    let mut missed = Missed::default();
    for (name, kind, misses) in counts {
        let lost = match (*name, of(TCP.0), of(TCP.1)) {
            (name, Some(_), Some(_)) if name == TCP.0 => 0,
            (name, Some(first), Some(second)) if name == TCP.1 => first.min(second.saturating_sub(spared)),
            _ => *misses,
        };
        if let Some(sum) = missed.by_kind.get_mut(*kind as usize) {
            *sum += lost;
        }
        if *kind == kind::FILE {
            missed.files += lost;
        }
        let at = PROBES.iter().position(|probe| probe.program == *name);
        if let Some(sum) = at.and_then(|at| missed.by_probe.get_mut(at)) {
            *sum += lost;
        }
    }
    missed
}

/// How often the second program was not needed when it was missed, on all processors.
pub(super) fn spared(map: &aya::maps::PerCpuArray<aya::maps::MapData, u64>) -> io::Result<u64> {
    turns(map, turn::SPARED).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(counts: &[(&'static str, u64)], spared: u64) -> u64 {
        let counts: Vec<_> = counts.iter().map(|(name, misses)| (*name, kind::TCP, *misses)).collect();
        account(&counts, spared).by_kind[kind::TCP as usize]
    }

    #[test]
    fn every_watched_program_is_a_probe() {
        for (name, _) in WATCHED {
            assert!(PROBES.iter().any(|probe| probe.program == name), "{name}");
        }
    }

    #[test]
    fn a_change_is_missing_only_if_both_programs_missed_it() {
        assert_eq!(tcp(&[(TCP.0, 50), (TCP.1, 0)], 0), 0);
        assert_eq!(tcp(&[(TCP.0, 50), (TCP.1, 3)], 3), 0);
        assert_eq!(tcp(&[(TCP.0, 50), (TCP.1, 3)], 1), 2);
        assert_eq!(tcp(&[(TCP.0, 1), (TCP.1, 3)], 0), 1);
        assert_eq!(tcp(&[(TCP.0, 50)], 0), 50);
        assert_eq!(tcp(&[(TCP.1, 7)], 0), 7);
    }

    #[test]
    fn misses_are_told_by_kind_and_by_program() {
        let missed = account(&[("process_exec", kind::EXEC, 2), ("process_exit", kind::EXIT, 1)], 0);
        assert_eq!((missed.by_kind[kind::EXEC as usize], missed.by_kind[kind::EXIT as usize]), (2, 1));
        let exec = PROBES.iter().position(|probe| probe.program == "process_exec").unwrap();
        assert_eq!(missed.by_probe[exec], 2);
    }
}
