//! Whom a wish means: from an id or a path to the processes and programs that it names.

use std::collections::BTreeSet;

use sekhmet_common::{
    display::Text,
    process::{Process, ProcessId},
    rule::{Draft, Lifetime, Subject, Wanted},
};

use crate::engine::{
    Engine,
    input::{FrozenRule, ProcessKey, ProgramKey, WishError},
};

const NO_PROCESS: WishError = WishError::UnknownId("no such process runs any more");

impl Engine {
    /// Finds out whom a wish means.
    pub(super) fn resolve(&self, draft: &Draft) -> Result<FrozenRule, WishError> {
        let frozen = match &draft.wanted {
            Wanted::Process(id) => self.process_rule(*id, draft)?,
            Wanted::ProgramOf(id) => self.program_rule(*id, draft)?,
            Wanted::Path(path) => FrozenRule {
                subject: Subject::Program { exe: path.clone() },
                process: None,
                programs: Vec::new(),
                by_path: true,
                draft: draft.clone(),
            },
        };
        self.roots_of(&frozen)?;
        Ok(frozen)
    }

    /// The running processes that a rule to be names. What they started is not in here.
    pub(super) fn roots_of(&self, wanted: &FrozenRule) -> Result<Vec<ProcessId>, WishError> {
        if let Some(key) = wanted.process {
            let id = self.processes.by_key.get(&key).copied().filter(|&id| !self.has_exited(id));
            return id.map(|id| vec![id]).ok_or(NO_PROCESS);
        }
        let path = match &wanted.subject {
            Subject::Program { exe } if wanted.by_path => Some(exe),
            _ => None,
        };
        let roots = self.running(path, &wanted.programs);
        if wanted.draft.lifetime == Lifetime::UntilExit && roots.is_empty() {
            return Err(WishError::Invalid(
                "nothing of this program runs: until it exits would be over at once",
            ));
        }
        Ok(roots)
    }

    /// The files that these processes execute.
    pub(super) fn programs_of(&self, roots: &[ProcessId]) -> impl Iterator<Item = ProgramKey> {
        roots.iter().filter_map(|id| self.processes.records.get(id).and_then(|r| r.image.program))
    }

    fn process_rule(&self, id: ProcessId, draft: &Draft) -> Result<FrozenRule, WishError> {
        let process = self.ledger.mirror().process(id).filter(|p| p.exited_at.is_none()).ok_or(NO_PROCESS)?;
        let record = self.processes.records.get(&id).ok_or(NO_PROCESS)?;
        if record.key.tgid <= 1 {
            return Err(WishError::Invalid("everything descends from this process; it cannot be blocked"));
        }
        let Process { pid, name, exe, .. } = process.clone();
        Ok(FrozenRule {
            subject: Subject::Process { process: Some(id), pid, name, exe },
            process: Some(record.key),
            programs: Vec::new(),
            by_path: false,
            draft: draft.clone(),
        })
    }

    fn program_rule(&self, id: ProcessId, draft: &Draft) -> Result<FrozenRule, WishError> {
        let process = self.ledger.mirror().process(id).ok_or(NO_PROCESS)?;
        let record = self.processes.records.get(&id).ok_or(NO_PROCESS)?;
        let program = record.image.program;
        if process.exe.is_empty() || program.is_none() {
            return Err(WishError::Unavailable("nobody can tell which program this process runs"));
        }
        let by_path = self.is_host_path(record.image.mnt_ns, &process.exe);
        if !by_path && draft.lifetime == Lifetime::Always {
            return Err(WishError::Invalid(
                "a program of a container, or one whose file was deleted, has no path to be known by after a restart",
            ));
        }
        Ok(FrozenRule {
            subject: Subject::Program { exe: process.exe.clone() },
            process: None,
            programs: program.into_iter().collect(),
            by_path,
            draft: draft.clone(),
        })
    }

    /// The running processes of a program.
    fn running(&self, path: Option<&Text>, programs: &[ProgramKey]) -> Vec<ProcessId> {
        let running = self.ledger.mirror().processes().filter(|p| p.exited_at.is_none());
        let fits = |p: &&Process| {
            let Some(record) = self.processes.records.get(&p.id) else { return false };
            // A process that was forked before its program is identified has only its file to go by.
            record.image.program.is_some_and(|key| programs.contains(&key))
                || path.is_some_and(|path| *path == p.exe && self.is_host_path(record.image.mnt_ns, &p.exe))
        };
        running.filter(fits).map(|p| p.id).collect()
    }

    /// Whether a path is one of the system's own file tree, where nobody but root can imitate it.
    pub(in crate::engine) fn is_host_path(&self, mnt_ns: u32, path: &Text) -> bool {
        let bytes = path.as_bytes();
        mnt_ns != 0
            && mnt_ns == self.host_mnt_ns
            && bytes.starts_with(b"/")
            && !bytes.ends_with(b" (deleted)")
    }

    /// These processes and everything they started, parents first. Ended ones are left out, their children not.
    pub(super) fn with_descendants(&self, roots: &[ProcessId]) -> Vec<ProcessKey> {
        let mut seen: BTreeSet<ProcessId> = roots.iter().copied().collect();
        let mut queue: Vec<ProcessId> = roots.to_vec();
        let mut next = 0;
        while let Some(&id) = queue.get(next) {
            next += 1;
            let children = self.ledger.mirror().children_of(id).map(|p| p.id);
            queue.extend(children.filter(|&child| seen.insert(child)));
        }
        let running = queue.into_iter().filter(|&id| !self.has_exited(id));
        running.filter_map(|id| self.processes.records.get(&id).map(|r| r.key)).collect()
    }
}
