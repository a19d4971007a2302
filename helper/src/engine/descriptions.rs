//! What a process is called and whose it is: from its parent, from the kernel's record, from the worker.
//!
//! A script is named by its interpreter once it is identified; until then by the path given to `execve`.

use sekhmet_common::{
    display::Text,
    process::{Process, ProcessId},
    time::Timestamp,
};

use super::{
    Engine,
    deadlines::Due,
    input::{Identity, IdentityRequest, ProcessImage, Uids},
    processes::Record,
};

/// The most user names that are remembered.
const USERS_MAX: usize = 4_096;

impl Engine {
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
        // No source tells the end of a process whose beginning it did not tell, or whose end was lost.
        let has_ended = found.gone && (never_told || record.doubted);
        record.doubted = false;
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
            (process.cmdline, process.cmdline_truncated) = (cmdline, found.cmdline_truncated);
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
        self.match_path(id);
        if has_ended {
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

    /// Replaces what was known by what a source says in full; of a new program nothing old stays.
    pub(super) fn describe(&mut self, at: Timestamp, id: ProcessId, image: ProcessImage, new_program: bool) {
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
        self.subject_to_rules(at, id);
        self.identities.want(id, generation);
    }

    /// A snapshot of a known process may be older than what events said: it can only hide, never reveal.
    pub(super) fn restrict(&mut self, now: Timestamp, id: ProcessId, uids: Uids) {
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
    pub(super) fn inherit(&self, parent: ProcessId, child: &Record, process: &mut Process) -> bool {
        let Some(record) = self.processes.records.get(&parent) else { return false };
        let Some(from) = self.ledger.mirror().process(parent) else { return false };
        // Across a border of owners nothing is handed on: the child may be visible where the parent is not.
        if record.uids != child.uids {
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
}

/// What the kernel said itself goes before what was known.
pub(super) fn use_image(process: &mut Process, image: &ProcessImage) {
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
