//! Whom a wish means: from an id or a path to the processes and programs that it names.

use std::collections::BTreeSet;

use sekhmet_common::{
    display::Text,
    process::{Process, ProcessId},
    rule::{Draft, Lifetime, Subject, Wanted},
};

use crate::engine::{
    Engine,
    input::{ProcessKey, ProgramKey, WishError},
};

/// What a wish means.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) subject: Subject,
    pub(super) process: Option<ProcessKey>,
    pub(super) programs: Vec<ProgramKey>,
    pub(super) by_path: bool,
    /// The running processes that it names. What they started is not in here.
    pub(super) roots: Vec<ProcessId>,
}

const NO_PROCESS: WishError = WishError::UnknownId("no such process runs any more");

impl Engine {
    /// Finds out whom a wish means.
    pub(super) fn resolve(&self, draft: &Draft) -> Result<Target, WishError> {
        let target = match &draft.wanted {
            Wanted::Process(id) => self.process_target(*id)?,
            Wanted::ProgramOf(id) => self.program_target(*id, draft.lifetime)?,
            Wanted::Path(path) => self.path_target(path),
        };
        if draft.lifetime == Lifetime::UntilExit && target.roots.is_empty() {
            return Err(WishError::Invalid(
                "nothing of this program runs: until it exits would be over at once",
            ));
        }
        Ok(target)
    }

    fn process_target(&self, id: ProcessId) -> Result<Target, WishError> {
        let process = self.ledger.mirror().process(id).filter(|p| p.exited_at.is_none()).ok_or(NO_PROCESS)?;
        let record = self.processes.records.get(&id).ok_or(NO_PROCESS)?;
        if record.key.tgid <= 1 {
            return Err(WishError::Invalid("everything descends from this process; it cannot be blocked"));
        }
        let Process { pid, name, exe, .. } = process.clone();
        Ok(Target {
            subject: Subject::Process { process: Some(id), pid, name, exe },
            process: Some(record.key),
            programs: Vec::new(),
            by_path: false,
            roots: vec![id],
        })
    }

    fn program_target(&self, id: ProcessId, lifetime: Lifetime) -> Result<Target, WishError> {
        let process = self.ledger.mirror().process(id).ok_or(NO_PROCESS)?;
        let record = self.processes.records.get(&id).ok_or(NO_PROCESS)?;
        let program = record.image.program;
        if process.exe.is_empty() || program.is_none() {
            return Err(WishError::Unavailable("nobody can tell which program this process runs"));
        }
        let by_path = self.is_host_path(record.image.mnt_ns, &process.exe);
        if !by_path && lifetime == Lifetime::Always {
            return Err(WishError::Invalid(
                "a program of a container, or one whose file was deleted, has no path to be known by after a restart",
            ));
        }
        let exe = process.exe.clone();
        let path = by_path.then_some(&exe);
        let (roots, mut programs) = self.running(path, program);
        programs.extend(program);
        Ok(Target {
            subject: Subject::Program { exe },
            process: None,
            programs: programs.into_iter().collect(),
            by_path,
            roots,
        })
    }

    fn path_target(&self, path: &Text) -> Target {
        let (roots, programs) = self.running(Some(path), None);
        Target {
            subject: Subject::Program { exe: path.clone() },
            process: None,
            programs: programs.into_iter().collect(),
            by_path: true,
            roots,
        }
    }

    /// The running processes of a program, and the files that they execute.
    fn running(
        &self,
        path: Option<&Text>,
        program: Option<ProgramKey>,
    ) -> (Vec<ProcessId>, BTreeSet<ProgramKey>) {
        let mut found = (Vec::new(), BTreeSet::new());
        for process in self.ledger.mirror().processes().filter(|p| p.exited_at.is_none()) {
            let Some(record) = self.processes.records.get(&process.id) else { continue };
            let same_file = program.is_some() && record.image.program == program;
            let same_path = path
                .is_some_and(|p| *p == process.exe && self.is_host_path(record.image.mnt_ns, &process.exe));
            // A process that was forked before its program is identified has only its file to go by.
            if same_file || same_path {
                found.0.push(process.id);
                found.1.extend(record.image.program);
            }
        }
        found
    }

    /// Whether a path is one of the system's own file tree, where nobody but root can imitate it.
    pub(super) fn is_host_path(&self, mnt_ns: u32, path: &Text) -> bool {
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
