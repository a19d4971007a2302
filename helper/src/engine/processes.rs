//! From what sources say about processes to the list of processes.
//!
//! Kernel threads are listed like every other process: by `comm`, without executable or arguments. They
//! cannot be told apart safely by what a source says, and some of them own sockets.
//!
//! A script is named by its interpreter once it is identified; until then by the path given to `execve`.

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
    input::{Identity, IdentityRequest, ProcessImage, ProcessKey, Uids},
};

/// What the engine knows about a listed process beside what it tells.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: ProcessKey,
    /// What no source has told yet, because the process is known only as an owner or a parent.
    pub(super) inferred: bool,
    pub(super) uids: Option<Uids>,
    cgroup_id: u64,
    generation: u32,
    identified: bool,
    image: ProcessImage,
    /// Listed flows. The process stays as long as there are any.
    pub(super) flows: usize,
    /// The time on the list after the end is over.
    pub(super) overdue: bool,
}

impl Record {
    fn owner(&self) -> Option<u32> {
        self.uids.and_then(Uids::sole_owner)
    }
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
    users: HashMap<u32, Text>,
    last_id: u64,
}

/// The most user names that are remembered.
const USERS_MAX: usize = 4_096;

impl Processes {
    fn wait_no_more(&mut self, child: ProcessId, parent: Option<ProcessKey>) {
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
            None => self.start_or_count(now, image),
            Some(&id) if self.processes.records.get(&id).is_some_and(|r| r.inferred) => {
                self.describe(now, id, image, false);
            }
            Some(&id) => self.restrict(now, id, image.uids),
        }
    }

    /// A process was forked: until it executes a program it is what its parent is.
    pub(super) fn forked(&mut self, at: Timestamp, image: ProcessImage) {
        match self.processes.by_key.get(&image.key) {
            None => self.start_or_count(at, image),
            Some(&id) if self.processes.records.get(&id).is_some_and(|r| r.inferred) => {
                self.describe(at, id, image, false);
            }
            // Seeding or a later record was faster and knows more.
            Some(_) => {}
        }
    }

    /// A process executed a program.
    pub(super) fn executed(&mut self, at: Timestamp, image: ProcessImage) {
        let id = match self.processes.by_key.get(&image.key) {
            Some(&id) => id,
            None => match self.start(at, image.clone(), false) {
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
            comm: Text::default(),
            filename: Text::default(),
            argv: None,
            argv_truncated: false,
        };
        self.start(at, image, true)
    }

    /// Whether a process is known to have ended.
    pub(super) fn has_exited(&self, id: ProcessId) -> bool {
        self.ledger.mirror().process(id).is_some_and(|p| p.exited_at.is_some())
    }

    /// The worker found something out.
    pub(super) fn identified(&mut self, now: Timestamp, id: ProcessId, generation: u32, found: Identity) {
        self.identities.answered(id, generation);
        if self.processes.records.get(&id).is_none_or(|r| r.generation != generation) {
            return;
        }
        if let Some(uids) = found.uids {
            self.restrict(now, id, uids);
        }
        let Some(record) = self.processes.records.get_mut(&id) else { return };
        record.identified = true;
        if record.uids.is_none() {
            record.uids = found.uids;
        }
        let never_told = record.inferred;
        if let Some(uids) = found.uids.filter(|_| never_told) {
            record.image.uids = uids;
        }
        let (owner, real) = (record.owner(), record.uids.map(|u| u.real));
        let Some(mut process) = self.ledger.mirror().process(id).cloned() else { return };
        if let Some(uid) = real {
            process.uid = uid;
        }
        if let Some(exe) = found.exe {
            process.name = last_part(&exe).unwrap_or_else(|| process.name.clone());
            process.exe = exe;
        } else if let Some(comm) = found.comm.filter(|_| process.name.is_empty()) {
            process.name = comm;
        }
        if let Some(cmdline) = found.cmdline {
            (process.cmdline, process.cmdline_truncated) = (cmdline, false);
        }
        // Nothing can be said about a process that is gone; what its parent gave it stays.
        if !found.gone {
            process.unit = found.unit;
            process.container = found.container;
            process.application = found.application;
            process.application_name = found.application_name;
        }
        if let Some(user) = found.user.filter(|_| real.is_some()) {
            if self.processes.users.len() < USERS_MAX {
                self.processes.users.insert(process.uid, user.clone());
            }
            process.user = Some(user);
        }
        self.ledger.change_process(now, process, owner);
        // No source tells the end of a process whose beginning it did not tell.
        if found.gone && never_told {
            self.end_process(now, id, None);
        }
    }

    /// Asks for as many identities as may be under way.
    pub(super) fn next_questions(&mut self) -> Vec<IdentityRequest> {
        let mut questions = Vec::new();
        while let Some((id, generation)) = self.identities.next() {
            match self.processes.records.get(&id) {
                Some(record) if record.generation == generation => {
                    self.deadlines.after(self.limits.answer_ns, Due::Answer(id, generation));
                    questions.push(IdentityRequest { id, generation, image: record.image.clone() });
                }
                _ => self.identities.answered(id, generation),
            }
        }
        questions
    }

    /// The time on the list is over, unless flows are still listed.
    pub(super) fn process_due(&mut self, now: Timestamp, id: ProcessId) {
        if let Some(record) = self.processes.records.get_mut(&id) {
            record.overdue = true;
            if record.flows == 0 {
                self.remove_process(now, id);
            }
        }
    }

    /// Takes a process off the list.
    pub(super) fn remove_process(&mut self, now: Timestamp, id: ProcessId) {
        let Some(record) = self.processes.records.remove(&id) else { return };
        self.processes.by_key.remove(&record.key);
        self.identities.forget(id);
        self.processes.wait_no_more(id, record.image.parent);
        self.ledger.remove_process(now, id);
    }

    fn end_process(&mut self, at: Timestamp, id: ProcessId, status: Option<i32>) {
        let first = !self.has_exited(id);
        if first || status.is_some() {
            self.ledger.exit_process(at, id, status);
        }
        if first {
            self.processes.ended.push_back(id);
            self.identities.forget(id);
            self.deadlines.after(self.limits.listed_after_end_ns, Due::ProcessGone(id));
        }
    }

    /// Lists a new process, or counts it as lost.
    fn start_or_count(&mut self, at: Timestamp, image: ProcessImage) {
        if self.start(at, image, false).is_none() {
            self.books.unlisted(RecordKind::Fork, 1);
        }
    }

    /// Lists a new process.
    fn start(&mut self, at: Timestamp, image: ProcessImage, inferred: bool) -> Option<ProcessId> {
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
        let inherited = parent_id.is_some_and(|parent| self.inherit(parent, &record, &mut process));
        self.processes.records.insert(id, record);
        use_image(&mut process, &image);
        self.ledger.start_process(at, process, owner);
        if inherited {
            self.processes.records.entry(id).and_modify(|r| r.identified = true);
        } else {
            self.identities.want(id, 0);
        }
        self.adopt(at, id, key);
        if let Some((ended_at, status)) = self.processes.early_exits.remove(&key) {
            self.end_process(ended_at, id, status);
        }
        Some(id)
    }

    /// Replaces what was known by what a source says in full; of a new program nothing old stays.
    fn describe(&mut self, at: Timestamp, id: ProcessId, image: ProcessImage, new_program: bool) {
        let Some(record) = self.processes.records.get_mut(&id) else { return };
        let Some(mut process) = self.ledger.mirror().process(id).cloned() else { return };
        let before = record.owner();
        let same_user = record.uids.is_some_and(|u| u.real == image.uids.real);
        let same_cgroup = record.cgroup_id == image.cgroup_id || image.cgroup_id == 0;
        record.uids = Some(image.uids);
        record.inferred = false;
        // An answer under way is about what was known before, perhaps about another owner.
        record.generation = record.generation.wrapping_add(1);
        record.identified = false;
        record.cgroup_id = image.cgroup_id;
        let waited_for = record.image.parent.filter(|_| image.parent.is_some());
        record.image = ProcessImage { parent: image.parent.or(record.image.parent), ..image.clone() };
        let (owner, generation) = (record.owner(), record.generation);
        // What was found out for one owner is not shown to another one unasked.
        let same_owner = before == owner;
        if !same_user || !same_owner {
            process.user = None;
        }
        if !same_cgroup || !same_owner {
            (process.unit, process.container) = (None, None);
            (process.application, process.application_name) = (None, None);
        }
        if new_program || !same_owner {
            (process.exe, process.name) = (Text::default(), image.comm.clone());
            (process.cmdline, process.cmdline_truncated) = (Vec::new(), false);
        }
        if process.user.is_none() {
            process.user = self.processes.users.get(&image.uids.real).cloned();
        }
        if process.parent_id.is_none() {
            self.processes.wait_no_more(id, waited_for);
            process.parent_id = self.parent_of(id, image.parent);
        }
        process.uid = image.uids.real;
        process.net_ns = image.net_ns;
        use_image(&mut process, &image);
        self.ledger.change_process(at, process, owner);
        self.identities.want(id, generation);
    }

    /// A snapshot of a known process may be older than what events said: it can only hide, never reveal.
    fn restrict(&mut self, now: Timestamp, id: ProcessId, uids: Uids) {
        let Some(record) = self.processes.records.get_mut(&id) else { return };
        if record.uids.is_none() || uids.sole_owner() == record.owner() {
            return;
        }
        let nobody = Uids { effective: u32::MAX, ..uids };
        record.uids = Some(if uids.sole_owner().is_none() { uids } else { nobody });
        let Some(process) = self.ledger.mirror().process(id).cloned() else { return };
        self.ledger.change_process(now, process, None);
    }

    /// Copies what a forked child has from its parent. Whether nothing is left to be asked.
    fn inherit(&self, parent: ProcessId, child: &Record, process: &mut Process) -> bool {
        let Some(record) = self.processes.records.get(&parent) else { return false };
        let Some(from) = self.ledger.mirror().process(parent) else { return false };
        // Across a border of owners nothing is handed on: the child may be visible where the parent is not.
        if child.inferred || record.uids != child.uids {
            return false;
        }
        process.name = from.name.clone();
        process.exe = from.exe.clone();
        process.cmdline.clone_from(&from.cmdline);
        process.cmdline_truncated = from.cmdline_truncated;
        let same_cgroup = child.cgroup_id == record.cgroup_id;
        if same_cgroup {
            process.unit.clone_from(&from.unit);
            process.container.clone_from(&from.container);
            process.application.clone_from(&from.application);
            process.application_name.clone_from(&from.application_name);
        }
        same_cgroup && record.identified
    }

    /// The listed process with this key, or a note that the child waits for it.
    fn parent_of(&mut self, child: ProcessId, key: Option<ProcessKey>) -> Option<ProcessId> {
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

/// What the kernel said itself goes before what was known.
fn use_image(process: &mut Process, image: &ProcessImage) {
    if let Some(argv) = &image.argv {
        process.cmdline.clone_from(argv);
        process.cmdline_truncated = image.argv_truncated;
    }
    if !image.filename.is_empty() {
        // A relative path says nothing without the directory it was relative to.
        let absolute = image.filename.as_bytes().starts_with(b"/");
        process.exe = if absolute { image.filename.clone() } else { Text::default() };
        process.name = last_part(&image.filename).unwrap_or_else(|| image.comm.clone());
    } else if process.exe.is_empty() && !image.comm.is_empty() {
        process.name = image.comm.clone();
    }
}

/// The part after the last slash, without the mark of a deleted file (`d_path`).
fn last_part(path: &Text) -> Option<Text> {
    let bytes = path.as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let name = bytes.rsplit(|&b| b == b'/').next().filter(|n| !n.is_empty())?;
    Some(Text::from(name))
}
