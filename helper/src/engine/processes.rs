//! From what sources say about processes to the list of processes.
//!
//! Kernel threads are listed like every other process: by `comm`, without executable or arguments. They
//! cannot be told apart safely by what a source says, and some of them own sockets.

use std::collections::{BTreeSet, HashMap, VecDeque};

use sekhmet_common::{
    coverage::RecordKind,
    display::Text,
    process::{Process, ProcessId},
    time::Timestamp,
};

use super::{
    Engine,
    deadlines::Due,
    descriptions::use_image,
    input::{ProcessImage, ProcessKey, Uids},
};

/// What the engine knows about a listed process beside what it tells.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: ProcessKey,
    /// What no source has told yet, because the process is known only as an owner or a parent.
    pub(super) inferred: bool,
    pub(super) uids: Option<Uids>,
    pub(super) cgroup_id: u64,
    /// Counts what is worth asking about: each program, each time more is told.
    pub(super) generation: u32,
    pub(super) identified: bool,
    /// Records were lost since it was last heard of: perhaps it ended.
    pub(super) doubted: bool,
    pub(super) image: ProcessImage,
    /// Listed flows. The process stays as long as there are any.
    pub(super) flows: usize,
    /// The time on the list after the end is over.
    pub(super) overdue: bool,
}

impl Record {
    /// The user to whom it belongs wholly.
    pub(super) fn owner(&self) -> Option<u32> {
        self.uids.and_then(Uids::sole_owner)
    }
}

/// How a process came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Something it owns was told, but not itself.
    Inferred,
    /// It was found, with a program of its own.
    Found,
    /// It was forked, with the program of its parent.
    Forked,
}

/// Which process is which.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) by_key: HashMap<ProcessKey, ProcessId>,
    pub(super) records: HashMap<ProcessId, Record>,
    /// Exits that came before anything else about the process.
    pub(super) early_exits: HashMap<ProcessKey, (Timestamp, Option<i32>)>,
    /// Children whose parent has not been heard of yet.
    orphans: HashMap<ProcessKey, BTreeSet<ProcessId>>,
    /// Ended processes, oldest first. Holds those that left, too, until their turn comes.
    ended: VecDeque<ProcessId>,
    /// Names of users as they were last found out, so that processes too short to be asked have one.
    pub(super) users: HashMap<u32, Text>,
    last_id: u64,
}

impl Processes {
    /// A child has a parent now, or left.
    pub(super) fn wait_no_more(&mut self, child: ProcessId, parent: Option<ProcessKey>) {
        let Some(key) = parent else { return };
        if let Some(children) = self.orphans.get_mut(&key) {
            children.remove(&child);
            if children.is_empty() {
                self.orphans.remove(&key);
            }
        }
    }
}

impl Engine {
    /// A process that polling or seeding found.
    pub(super) fn seen(&mut self, now: Timestamp, image: ProcessImage) {
        match self.processes.by_key.get(&image.key) {
            None => self.start_or_count(now, image, Origin::Found),
            Some(&id) if self.processes.records.get(&id).is_some_and(|r| r.inferred) => {
                self.describe(now, id, image, false);
            }
            Some(&id) => self.restrict(now, id, image.uids),
        }
    }

    /// A process was forked: until it executes a program it is what its parent is.
    pub(super) fn forked(&mut self, at: Timestamp, image: ProcessImage) {
        match self.processes.by_key.get(&image.key) {
            None => self.start_or_count(at, image, Origin::Forked),
            Some(&id) if self.processes.records.get(&id).is_some_and(|r| r.inferred) => {
                self.describe(at, id, image, false);
            }
            // Seeding or a later record was faster and knows more.
            Some(_) => {}
        }
    }

    /// A process executed a program.
    pub(super) fn executed(&mut self, at: Timestamp, image: ProcessImage) {
        self.freeze_program(at, image.key);
        let id = match self.processes.by_key.get(&image.key) {
            Some(&id) => id,
            None => match self.start(at, image.clone(), Origin::Found) {
                Some(id) => id,
                None => return,
            },
        };
        self.describe(at, id, image, true);
    }

    /// A process ended.
    pub(super) fn exited(&mut self, at: Timestamp, key: ProcessKey, status: Option<i32>) {
        let Some(&id) = self.processes.by_key.get(&key) else {
            if self.processes.early_exits.len() < self.limits.processes_max {
                self.processes.early_exits.insert(key, (at, status));
                self.deadlines.after(self.limits.listed_after_end_ns, Due::EarlyExit(key));
            }
            return;
        };
        self.end_process(at, id, status);
    }

    /// The owner of a socket. One that nobody told of is listed with what its key says, and asked about.
    pub(super) fn owner_of(&mut self, at: Timestamp, key: ProcessKey) -> Option<ProcessId> {
        if let Some(&id) = self.processes.by_key.get(&key) {
            return Some(id);
        }
        let image = ProcessImage {
            key,
            parent: None,
            uids: Uids::all(u32::MAX),
            cgroup_id: 0,
            net_ns: 0,
            mnt_ns: 0,
            program: None,
            comm: Text::default(),
            filename: Text::default(),
            argv: None,
            argv_truncated: false,
        };
        self.start(at, image, Origin::Inferred)
    }

    /// Whether a process is known to have ended.
    pub(super) fn has_exited(&self, id: ProcessId) -> bool {
        self.ledger.mirror().process(id).is_some_and(|p| p.exited_at.is_some())
    }

    /// The time on the list is over, unless flows are still listed.
    pub(super) fn process_due(&mut self, now: Timestamp, id: ProcessId) {
        let Some(record) = self.processes.records.get_mut(&id) else { return };
        record.overdue = true;
        let flows = record.flows;
        if flows == 0 && self.is_kept_for_accesses(id) {
            self.deadlines.after(self.limits.listed_after_end_ns, Due::ProcessGone(id));
        } else if flows == 0 {
            self.remove_process(now, id);
        } else if self.ends_lost {
            // The ends of its flows may be among what was lost.
            self.close_forgotten(now, id);
            self.deadlines.after(self.limits.forgotten_ns, Due::ProcessGone(id));
        }
    }

    /// Records about processes were lost: whoever seems to run is asked whether it does.
    pub(super) fn doubt_processes(&mut self) {
        for (&id, record) in &mut self.processes.records {
            let runs = self.ledger.mirror().process(id).is_some_and(|p| p.exited_at.is_none());
            if runs && !record.doubted {
                record.doubted = true;
                self.identities.want(id, record.generation);
            }
        }
    }

    /// Takes a process off the list.
    pub(super) fn remove_process(&mut self, now: Timestamp, id: ProcessId) {
        let Some(record) = self.processes.records.remove(&id) else { return };
        self.processes.by_key.remove(&record.key);
        self.identities.forget(id);
        self.processes.wait_no_more(id, record.image.parent);
        self.forget_refusals_of(id);
        self.forget_accesses_of(id);
        self.ledger.remove_process(now, id);
    }

    /// Notes the end of a process; a later word may add its status.
    pub(super) fn end_process(&mut self, at: Timestamp, id: ProcessId, status: Option<i32>) {
        let first = !self.has_exited(id);
        if first || status.is_some() {
            self.ledger.exit_process(at, id, status);
        }
        if first {
            self.processes.ended.push_back(id);
            self.identities.forget(id);
            self.deadlines.after(self.limits.listed_after_end_ns, Due::ProcessGone(id));
            self.leave_rules(id);
        }
    }

    /// Lists a new process, or counts it as lost.
    fn start_or_count(&mut self, at: Timestamp, image: ProcessImage, origin: Origin) {
        if self.start(at, image, origin).is_none() {
            self.books.unlisted(RecordKind::Fork, 1);
        }
    }

    /// Lists a new process.
    fn start(&mut self, at: Timestamp, image: ProcessImage, origin: Origin) -> Option<ProcessId> {
        let inferred = origin == Origin::Inferred;
        if !self.room_for_process(at) {
            return None;
        }
        self.processes.last_id += 1;
        let id = ProcessId(self.processes.last_id);
        let key = image.key;
        let record = Record {
            key,
            inferred,
            uids: (!inferred).then_some(image.uids),
            cgroup_id: image.cgroup_id,
            generation: 0,
            identified: false,
            doubted: false,
            flows: 0,
            overdue: false,
            image: image.clone(),
        };
        let owner = record.owner();
        self.processes.by_key.insert(key, id);
        let parent_id = self.parent_of(id, image.parent);
        let mut process = Process {
            id,
            pid: key.tgid,
            parent_id,
            name: image.comm.clone(),
            exe: Text::default(),
            cmdline: Vec::new(),
            cmdline_truncated: false,
            uid: image.uids.real,
            user: self.processes.users.get(&image.uids.real).cloned(),
            unit: None,
            container: None,
            application: None,
            application_name: None,
            net_ns: image.net_ns,
            started_at: self.booted_at.plus_nanos(i64::try_from(key.start_ns).unwrap_or(i64::MAX)),
            exited_at: None,
            exit_status: None,
            tx_bytes: 0,
            rx_bytes: 0,
        };
        let forked_from = parent_id.filter(|_| origin == Origin::Forked);
        let inherited = forked_from.is_some_and(|parent| self.inherit(parent, &record, &mut process));
        self.processes.records.insert(id, record);
        use_image(&mut process, &image);
        self.ledger.start_process(at, process, owner);
        if inherited {
            self.processes.records.entry(id).and_modify(|r| r.identified = true);
        } else {
            self.identities.want(id, 0);
        }
        self.subject_to_rules(at, id);
        self.adopt(at, id, key);
        if let Some((ended_at, status)) = self.processes.early_exits.remove(&key) {
            self.end_process(ended_at, id, status);
        }
        Some(id)
    }

    /// The listed process with this key, or a note that the child waits for it.
    pub(super) fn parent_of(&mut self, child: ProcessId, key: Option<ProcessKey>) -> Option<ProcessId> {
        let key = key?;
        let known = self.processes.by_key.get(&key).copied().filter(|&id| id != child);
        if known.is_none() {
            self.processes.orphans.entry(key).or_default().insert(child);
        }
        known
    }

    /// Gives a new process the children that waited for it.
    fn adopt(&mut self, at: Timestamp, id: ProcessId, key: ProcessKey) {
        for child in self.processes.orphans.remove(&key).into_iter().flatten().filter(|&c| c != id) {
            let Some(process) = self.ledger.mirror().process(child).cloned() else { continue };
            let owner = self.ledger.owners.of(child);
            self.ledger.change_process(at, Process { parent_id: Some(id), ..process }, owner);
            self.subject_to_rules(at, child);
        }
    }

    /// Whether one more process may be listed; the oldest ended one without open flows makes room.
    fn room_for_process(&mut self, now: Timestamp) -> bool {
        if self.processes.records.len() < self.limits.processes_max {
            return true;
        }
        for _ in 0..self.processes.ended.len().min(64) {
            let Some(oldest) = self.processes.ended.pop_front() else { break };
            match self.processes.records.get(&oldest).map(|r| r.flows) {
                None => {}
                Some(0) => {
                    self.remove_process(now, oldest);
                    return true;
                }
                Some(_) if self.ledger.mirror().open_flows_of(oldest) > 0 => {
                    self.processes.ended.push_back(oldest);
                }
                Some(_) => {
                    self.remove_flows_of(now, oldest);
                    self.remove_process(now, oldest);
                    return true;
                }
            }
        }
        false
    }

    /// Forgets in `ended` those that left the list.
    pub(super) fn trim_ended(&mut self) {
        while let Some(id) = self.processes.ended.front()
            && !self.processes.records.contains_key(id)
        {
            self.processes.ended.pop_front();
        }
    }
}
