//! Everything that is read from the kernel through descriptors that are already open: dumps, maps, counters.
//!
//! None of it needs a capability on Linux 5.19 and later.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::maps::{MapData, PerCpuArray};
use sekhmet_common::kernel::{
    FlowKey, FlowValue, Plain, ProcessKey, RefusalKey, RefusalValue, Residue, SocketRow, Task, kind,
    read_plain, stat,
};

use super::{
    balance::{KernelCounts, PerKind},
    load::Kernel,
    missed::{Missed, spared},
    sys,
};

/// Elements of a hash map read at a time: 65,536 flows in 16 calls.
const BATCH: usize = 4096;

impl Kernel {
    /// One row for every socket that has an owner; nothing if the kernel has no such iterator.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dump_sockets(&self) -> io::Result<Option<Vec<SocketRow>>> {
        self.links.sockets.as_ref().map(rows).transpose()
    }

    /// One row for every process; nothing if the kernel has no such iterator.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dump_tasks(&self) -> io::Result<Option<Vec<Task>>> {
        self.links.tasks.as_ref().map(rows).transpose()
    }

    /// Gives every socket in a file table that has no owner yet the first process that holds it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn adopt_sockets(&self) -> io::Result<()> {
        self.links.files.as_ref().map_or(Ok(()), |link| rows::<SocketRow>(link).map(|_none| ()))
    }

    /// Every flow of sockets without connections.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_flows(&self) -> io::Result<Vec<(FlowKey, FlowValue)>> {
        sys::read_hash(self.flows.fd().as_fd(), BATCH)
    }

    /// Bytes of processes that belong to no flow, since the programs were loaded.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_residues(&self) -> io::Result<HashMap<ProcessKey, Residue>> {
        Ok(sys::read_hash(self.residues.fd().as_fd(), BATCH)?.into_iter().collect())
    }

    /// What was refused, and how often, since the programs were loaded.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_refusals(&self) -> io::Result<Vec<(RefusalKey, RefusalValue)>> {
        sys::read_hash(self.refusals.fd().as_fd(), BATCH)
    }

    /// Removes the residues of processes that are gone and returns the last of them; nothing if the kernel has no
    /// iterator over processes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_residues_of_gone(&self) -> io::Result<Vec<(ProcessKey, Residue)>> {
        // In this order: whoever begins in between has a residue in neither.
        let residues = self.read_residues()?;
        if residues.is_empty() {
            return Ok(Vec::new());
        }
        let Some(tasks) = self.dump_tasks()? else { return Ok(Vec::new()) };
        let alive: HashSet<ProcessKey> = tasks.iter().map(|task| task.process).collect();
        let map = self.residues.fd().as_fd();
        let mut taken = Vec::new();
        for key in residues.into_keys().filter(|key| !alive.contains(key)) {
            taken.extend(sys::take(map, &key)?.map(|residue| (key, residue)));
        }
        Ok(taken)
    }

    /// Removes a flow and returns its last counters.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_flow(&self, key: &FlowKey) -> io::Result<Option<FlowValue>> {
        take_flow(self.flows.fd().as_fd(), key)
    }

    /// Records made and lost so far, of all CPUs, and events that no program was run for.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counts(&self) -> io::Result<KernelCounts> {
        // In this order, see `KernelCounts`.
        let lost = per_kind(&self.lost).map_err(io::Error::other)?;
        let made = per_kind(&self.made).map_err(io::Error::other)?;
        Ok(KernelCounts { made, lost, missed: self.missed()?.by_kind })
    }

    /// Events that no program was run for.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn missed(&self) -> io::Result<Missed> {
        self.watched.read(|| spared(&self.turns))
    }

    /// Does once, without any effect, all that will be done from now on: reads maps and counters, changes and takes
    /// elements, begins to walk. To be tried before rights are given away for good.
    ///
    /// # Errors
    /// What the kernel says to the first thing that it refuses.
    pub fn rehearse(&mut self) -> io::Result<()> {
        if let Some(names) = &mut self.names {
            names.rehearse().map_err(io::Error::other)?;
        }
        self.read_flows()?;
        self.read_residues()?;
        self.counts()?;
        self.stat(stat::FLOW_MAP_FULL).map_err(io::Error::other)?;
        // Nothing is there under these keys: no process has the number 0, and no socket this cookie.
        sys::change(self.residues.fd().as_fd(), &ProcessKey::default(), &Residue::default())?;
        self.take_flow(&FlowKey::default())?;
        for link in [&self.links.sockets, &self.links.tasks, &self.links.files].into_iter().flatten() {
            sys::open_iterator(link.as_fd())?;
        }
        Ok(())
    }

    /// One of the counters of [`stat`], of all CPUs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn stat(&self, index: u32) -> Result<u64, aya::maps::MapError> {
        debug_assert!(index < stat::END, "a counter of the list");
        Ok(self.stats.get(&index, 0)?.iter().sum())
    }
}

/// As [`Kernel::take_flow`], while the kernel is borrowed otherwise.
pub(super) fn take_flow(map: BorrowedFd<'_>, key: &FlowKey) -> io::Result<Option<FlowValue>> {
    sys::take(map, key)
}

/// One of the slots of `turn`, of all CPUs.
pub(super) fn turns(map: &PerCpuArray<MapData, u64>, slot: u32) -> Result<u64, aya::maps::MapError> {
    Ok(map.get(&slot, 0)?.iter().sum())
}

fn per_kind(counters: &PerCpuArray<MapData, u64>) -> Result<PerKind, aya::maps::MapError> {
    let mut out = PerKind::default();
    for (slot, index) in out.iter_mut().zip(0..kind::END) {
        *slot = counters.get(&index, 0)?.iter().sum();
    }
    Ok(out)
}

/// Runs an iterator from its beginning to its end.
pub(super) fn rows<T: Plain>(link: &OwnedFd) -> io::Result<Vec<T>> {
    let mut bytes = Vec::new();
    sys::open_iterator(link.as_fd())?.read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(size_of::<T>()).filter_map(read_plain).collect())
}
