//! Accesses to watched files: gathered between ticks, told as one line while they are less than a second apart.
//!
//! A sight may overtake the record of the process that it is about, or of the program that this process has become.
//! It is therefore held back for a moment, and told with the program that the process ran at that time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use sekhmet_common::{
    coverage::RecordKind,
    display::Text,
    file::{ACCESSES_MAX, Access, AccessId, FileAccess, Outcome},
    process::ProcessId,
    time::Timestamp,
    watch::Owner,
};

use super::{Files, Program, matcher::Match};
use crate::engine::{
    Engine,
    deadlines::SECOND,
    input::{FileSight, ProcessKey},
};

/// The most accesses of one process that are listed: what one program does must not push out what others did.
const OF_PROCESS_MAX: usize = 256;

/// The most sights that wait for their process.
const WAITING_MAX: usize = 4096;

/// How long a sight waits for its process to be told of.
const WAIT_NS: u64 = SECOND / 2;

/// How long an access is held back for records that it may have overtaken.
const HOLD_NS: u64 = SECOND / 10;

/// How long it is held back for what the worker finds out about its process. With the next tick it is told within a
/// second.
const IDENTIFY_NS: u64 = 6 * SECOND / 10;

/// How long an access that nobody expected keeps its ended process on the list: a person may look at the screen only now
/// and then. If the list is full, the process leaves earlier.
const KEPT_NS: u64 = 15 * 60 * SECOND;

/// What makes two accesses one line.
type What = (ProcessId, Text, Access, Outcome);

/// The listed accesses, and those that are still to be told.
#[derive(Debug, Default)]
pub(super) struct Accesses {
    pub(super) entries: BTreeMap<AccessId, Entry>,
    recent: HashMap<What, AccessId>,
    by_process: HashMap<ProcessId, VecDeque<AccessId>>,
    pub(super) untold: BTreeSet<AccessId>,
    waiting: VecDeque<Waiting>,
    last_id: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) access: FileAccess,
    found: Match,
    arrived_ns: u64,
    pub(super) is_told: bool,
    /// To whom the process belonged then. Whoever it belongs to later does not learn of it.
    owner: Option<u32>,
    /// What the process ran then, if it runs something else now.
    program: Option<Program>,
}

#[derive(Debug)]
struct Waiting {
    sight: FileSight,
    found: Match,
    since_ns: u64,
}

impl Accesses {
    /// Forgets an access. Whether it was told.
    fn drop_one(&mut self, id: AccessId) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        let what = what(&entry.access);
        if self.recent.get(&what) == Some(&id) {
            self.recent.remove(&what);
        }
        if let Some(ids) = self.by_process.get_mut(&entry.access.process) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_process.remove(&entry.access.process);
            }
        }
        self.untold.remove(&id);
        entry.is_told
    }

    /// Which access has to leave before this process has one more.
    fn one_too_many(&self, process: ProcessId) -> Option<AccessId> {
        let theirs = self.by_process.get(&process).filter(|ids| ids.len() >= OF_PROCESS_MAX);
        let all = self.entries.len() >= ACCESSES_MAX;
        theirs.and_then(|ids| ids.front()).or(self.entries.keys().next().filter(|_| all)).copied()
    }
}

fn what(access: &FileAccess) -> What {
    (access.process, access.path.clone(), access.access, access.result)
}

impl Engine {
    /// A process asked for a file that may be a watched one.
    pub(in crate::engine) fn file_seen(&mut self, sight: FileSight) {
        let Some(found) = self.entry_of(&sight) else { return };
        match self.processes.by_key.get(&sight.process).copied() {
            Some(process) => self.accessed(process, sight, found),
            None if self.files.accesses.waiting.len() < WAITING_MAX => {
                let since_ns = self.deadlines.elapsed_ns();
                self.files.accesses.waiting.push_back(Waiting { sight, found, since_ns });
            }
            None => self.books.unlisted(RecordKind::File, 1),
        }
    }

    /// A process is about to become another program: what it did before, the old one did.
    pub(in crate::engine) fn freeze_program(&mut self, at: Timestamp, key: ProcessKey) {
        if self.files.accesses.untold.is_empty() {
            return;
        }
        let Some(&process) = self.processes.by_key.get(&key) else { return };
        let Some(program) = self.program_of(process) else { return };
        let accesses = &mut self.files.accesses;
        for id in &accesses.untold {
            if let Some(entry) = accesses.entries.get_mut(id).filter(|e| !e.is_told)
                && entry.access.process == process
                && entry.access.at < at
            {
                entry.program.get_or_insert_with(|| program.clone());
            }
        }
    }

    /// Tells what was accessed since the last tick, and is no longer held back.
    pub(in crate::engine) fn tell_accesses(&mut self, now: Timestamp) {
        self.take_in_waiting();
        let elapsed_ns = self.deadlines.elapsed_ns();
        for id in std::mem::take(&mut self.files.accesses.untold) {
            let Some(entry) = self.files.accesses.entries.get(&id) else { continue };
            let process = entry.access.process;
            let age_ns = elapsed_ns.saturating_sub(entry.arrived_ns);
            let is_identified = self.processes.records.get(&process).is_some_and(|r| r.identified);
            if entry.is_told || age_ns >= IDENTIFY_NS || (age_ns >= HOLD_NS && is_identified) {
                self.tell_access(now, id);
            } else {
                self.files.accesses.untold.insert(id);
            }
        }
        let Accesses { recent, entries, .. } = &mut self.files.accesses;
        recent
            .retain(|_, id| entries.get(id).is_some_and(|e| now.nanos_since(e.access.last_at) < 2 * SECOND));
    }

    /// Whether an ended process stays listed because of what it opened.
    pub(in crate::engine) fn is_kept_for_accesses(&self, process: ProcessId) -> bool {
        let Accesses { by_process, entries, .. } = &self.files.accesses;
        let elapsed_ns = self.deadlines.elapsed_ns();
        by_process
            .get(&process)
            .into_iter()
            .flatten()
            .filter_map(|id| entries.get(id))
            .any(|entry| !entry.access.expected && elapsed_ns.saturating_sub(entry.arrived_ns) < KEPT_NS)
    }

    /// A process leaves the list, and what it did to files with it.
    pub(in crate::engine) fn forget_accesses_of(&mut self, process: ProcessId) {
        for id in self.files.accesses.by_process.remove(&process).into_iter().flatten() {
            self.files.accesses.drop_one(id);
            self.files.contacts.forget(id);
        }
        self.files.contacts.left(process);
    }

    /// The entry that names a file: by its path, by the path that was asked for, or as another name of a file that
    /// was seen under a watched one.
    fn entry_of(&mut self, sight: &FileSight) -> Option<Match> {
        let files = &mut self.files;
        let named = files.matcher.find(sight.path.as_bytes(), &files.homes).or_else(|| {
            // A watched folder may be a link to somewhere else.
            let asked = sight.requested.as_ref().filter(|asked| asked.as_bytes().starts_with(b"/"))?;
            files.matcher.find(asked.as_bytes(), &files.homes)
        });
        if !sight.result.is_ok() {
            return named;
        }
        if let Some((found, file)) = named.zip(sight.file) {
            files.links.learn(file, &sight.path, found.id);
        }
        let found =
            named.or_else(|| files.matcher.entry(sight.file.and_then(|file| files.links.entry_of(file))?));
        if matches!(sight.access, Access::Unlink | Access::Rename) {
            files.links.removed(&sight.path);
        }
        found
    }

    fn take_in_waiting(&mut self) {
        let elapsed_ns = self.deadlines.elapsed_ns();
        for waiting in std::mem::take(&mut self.files.accesses.waiting) {
            let key = waiting.sight.process;
            let known = self.processes.by_key.get(&key).copied();
            if known.is_none() && elapsed_ns.saturating_sub(waiting.since_ns) < WAIT_NS {
                self.files.accesses.waiting.push_back(waiting);
                continue;
            }
            match known.or_else(|| self.owner_of(waiting.sight.at, key)) {
                Some(process) => self.accessed(process, waiting.sight, waiting.found),
                None => self.books.unlisted(RecordKind::File, 1),
            }
        }
    }

    /// Takes in an access of a listed process.
    fn accessed(&mut self, process: ProcessId, sight: FileSight, found: Match) {
        let what = (process, sight.path.clone(), sight.access, sight.result);
        let accesses = &mut self.files.accesses;
        if let Some(id) = accesses.recent.get(&what)
            && let Some(Entry { access, .. }) = accesses.entries.get_mut(id)
            && sight.at.nanos_since(access.last_at) < SECOND
        {
            access.count = access.count.saturating_add(1);
            access.last_at = access.last_at.max(sight.at);
            accesses.untold.insert(*id);
            return;
        }
        if let Some(id) = accesses.one_too_many(process) {
            self.forget_access(sight.at, id);
        }
        let accesses = &mut self.files.accesses;
        accesses.last_id += 1;
        let id = AccessId(accesses.last_id);
        let access = FileAccess {
            id,
            process,
            path: sight.path,
            requested_path: sight.requested,
            entry: found.id,
            severity: found.severity,
            access: sight.access,
            result: sight.result,
            count: 1,
            at: sight.at,
            last_at: sight.at,
            first_time: false,
            expected: false,
            mount_ns: Some(sight.mount_ns).filter(|&ns| ns != 0 && ns != self.host_mnt_ns),
            contacts_left_out: 0,
        };
        accesses.recent.insert(what, id);
        accesses.by_process.entry(process).or_default().push_back(id);
        accesses.untold.insert(id);
        let arrived_ns = self.deadlines.elapsed_ns();
        let reads = access.result.is_ok() && matches!(access.access, Access::Read | Access::ReadWrite);
        let at = access.at;
        let owner = self.ledger.owners.of(process);
        let entry = Entry { access, found, arrived_ns, is_told: false, owner, program: None };
        accesses.entries.insert(id, entry);
        if reads {
            self.read_watched(id, process, at);
        }
    }

    /// Tells an access, for the first time with all that is known of its program.
    fn tell_access(&mut self, now: Timestamp, id: AccessId) {
        let Some(entry) = self.files.accesses.entries.get(&id) else { return };
        let (process, found, is_told, owner) =
            (entry.access.process, entry.found, entry.is_told, entry.owner);
        let program = entry.program.clone().or_else(|| self.program_of(process));
        let mut access = entry.access.clone();
        if let Some(program) = program.filter(|_| !is_told) {
            let Program { path, is_host } = program;
            let Files { matcher, packages, .. } = &self.files;
            access.expected = matcher.expects(found.id, path.as_bytes(), is_host, packages);
            access.first_time = self.files.seen.at((path, found.id));
        }
        if let Some(entry) = self.files.accesses.entries.get_mut(&id) {
            (entry.is_told, entry.access) = (true, access.clone());
        }
        // What somebody else watches in their own home is nobody else's business.
        let owner = owner.filter(|_| self.ledger.owners.of(process) == owner);
        let shown_to = owner.filter(|&uid| !matches!(found.owner, Owner::User(other) if other != uid));
        self.ledger.tell_access(now, access, shown_to);
    }

    /// Takes an access off the list. One that was not told yet is told first: it happened.
    fn forget_access(&mut self, now: Timestamp, id: AccessId) {
        if self.files.accesses.entries.get(&id).is_some_and(|entry| !entry.is_told) {
            self.tell_access(now, id);
        }
        self.files.contacts.forget(id);
        if self.files.accesses.drop_one(id) {
            self.ledger.forget_access(now, id);
        }
    }
}
