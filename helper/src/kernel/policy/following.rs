//! Sockets that change hands: what a process finds open when it executes a bound program, and what others give it.

use std::{
    collections::HashSet,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    time::{Duration, Instant},
};

use aya::{Ebpf, programs::Program};
use sekhmet_common::kernel::{CoverRow, Policy, ProcessKey};

use super::{
    Enforced, Policies,
    sockets::{Found, Work},
};
use crate::kernel::{reading::rows, sys};

/// Passes over a few processes until there is nothing new.
const PASSES_MAX: usize = 3;

/// Up to so many processes are walked one by one: each costs about as much as ten processes of a walk over all.
const FEW: usize = 64;

/// The least time between two patrols: for so long a bound process can use a connected socket that it was given. Ten
/// processes take less than a millisecond, a walk over a thousand takes six (6.18, two busy processors).
const PATROL_EVERY: Duration = Duration::from_millis(190);

/// A patrol that took long is the rarer: at most a two-hundredth of a processor's time.
const PATROL_SHARE: u32 = 200;

/// The most time between two looks for marks that nobody can take off.
const STALE_MAX: Duration = Duration::from_secs(60);

/// Inode number of the first PID namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const FIRST_PID_NS: u64 = 0xefff_fffc;

/// The program that binds what a process holds, for walks over one process.
#[derive(Debug)]
pub(super) struct Walker(Option<OwnedFd>);

impl Walker {
    /// Nothing where processes have other numbers for this process than for the kernel: there all are walked.
    pub(super) fn new(ebpf: &Ebpf) -> Self {
        let is_first = fs::metadata("/proc/self/ns/pid").is_ok_and(|meta| meta.ino() == FIRST_PID_NS);
        let program = match ebpf.program("cover_held") {
            Some(Program::Iter(program)) if is_first => program.fd().ok(),
            _ => None,
        };
        Self(program.and_then(|fd| fd.as_fd().try_clone_to_owned().ok()))
    }
}

/// When to look again.
#[derive(Debug, Default)]
pub(super) struct Patrol {
    next: Option<Instant>,
    /// How long to wait until the next look for marks that are left over; nothing if there are none.
    stale: Option<Duration>,
    next_stale: Option<Instant>,
    /// Sockets that were bound when last looked only because a bound process held them.
    lent: HashSet<u64>,
}

impl Patrol {
    /// All sockets were looked at. Some that could not be reached may keep the marks of rules that are gone.
    pub(super) fn note(&mut self, found: Found) {
        self.lent = found.lent;
        self.stale = (!found.stale.is_empty())
            .then(|| self.stale.map_or(PATROL_EVERY, |wait| (wait * 2).min(STALE_MAX)));
        self.next_stale = self.stale.map(|wait| Instant::now() + wait);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    fn is_stale_due(&self, now: Instant) -> bool {
        self.next_stale.is_some_and(|next| next <= now)
    }

    fn took(&mut self, began: Instant) {
        let now = Instant::now();
        let rest = now.saturating_duration_since(began).saturating_mul(PATROL_SHARE);
        self.next = Some(now + rest.max(PATROL_EVERY));
    }
}

impl Policies {
    /// Makes the sockets of these processes follow that they hold now, whoever opened them.
    ///
    /// # Errors
    /// The iterator cannot be read.
    pub fn follow(&mut self, processes: &[ProcessKey]) -> io::Result<Enforced> {
        let mut work = Work::new(self);
        for _pass in 0..PASSES_MAX {
            if !work.take(self.held_by(processes)?) {
                break;
            }
        }
        let (done, found) = work.finish();
        self.patrol.lent.extend(found.lent);
        Ok(done)
    }

    /// Makes those sockets follow that bound processes have received since, and takes off marks of rules that are
    /// gone from sockets that could not be reached before. What nobody who is bound holds any more is free. To be called some times a second while a rule stands; by
    /// itself it waits longer if it has much to look at. Nothing if it waits.
    ///
    /// # Errors
    /// The iterators cannot be read.
    pub fn patrol(&mut self) -> io::Result<Option<Enforced>> {
        let began = Instant::now();
        if self.standing.is_empty() || !self.patrol.is_due(began) {
            return Ok(None);
        }
        let is_bound = |policy: &Policy| policy.rules.iter().any(|number| self.stands(*number));
        let bound: Vec<ProcessKey> = self
            .list_bound()?
            .into_iter()
            .filter(|(_, policy)| is_bound(policy))
            .map(|(key, _)| key)
            .collect();
        let before = std::mem::take(&mut self.patrol.lent);
        let mut done = if bound.is_empty() { Ok(Enforced::default()) } else { self.follow(&bound) };
        // Whoever was bound has closed one or ended: the others who hold it are free of it.
        if done.is_ok() && (!before.is_subset(&self.patrol.lent) || self.patrol.is_stale_due(began)) {
            done = self.enforce();
        }
        self.patrol.took(began);
        done.map(Some)
    }

    /// Binds what these processes hold; gives what is refused something or has a mark left over.
    fn held_by(&self, processes: &[ProcessKey]) -> io::Result<Vec<CoverRow>> {
        let Some(program) = self.walker.0.as_ref().filter(|_| processes.len() <= FEW) else {
            return self.held.as_ref().map_or(Ok(Vec::new()), rows);
        };
        let mut all = Vec::new();
        for process in processes {
            match sys::link_process_iterator(program.as_fd(), process.tgid) {
                Ok(link) => all.extend(rows::<CoverRow>(&link)?),
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}
