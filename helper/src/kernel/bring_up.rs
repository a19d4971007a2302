//! Brings the programs up: verified several at a time, attached one after the other in the order of the table.
//!
//! Most of a start is the verifier's time, and it works on the thread that asks.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use aya::{
    Btf,
    programs::{
        BtfTracePoint, CgroupSkb, CgroupSock, CgroupSockAddr, FExit, Iter, KProbe, Program, ProgramError,
        TracePoint,
    },
};

use super::{
    attach::{Links, Places, chain, last_lines, try_probe},
    files::{FileSource, FileSources},
    probes::{FILE_PROBES, Hook, Outcome, PROBES, Probe},
};

/// The object's programs by name.
pub(super) type Programs<'a> = HashMap<&'a str, &'a mut Program>;

/// More threads find little left to share.
const THREADS_MAX: usize = 8;

/// What is wanted of the programs.
pub(super) struct Wanted<'a> {
    /// Types of the running kernel.
    pub(super) types: &'a Btf,
    /// Where programs are attached.
    pub(super) places: &'a Places<'a>,
    /// Which source of opened files.
    pub(super) file_source: FileSource,
    /// A field without which there is no such source, if this kernel lacks one.
    pub(super) lacking: Option<&'static str>,
    /// Programs that are left out.
    pub(super) without: &'a [String],
}

/// What became of the programs.
pub(super) struct Brought {
    /// Of each probe, in the order of the table.
    pub(super) outcomes: Vec<Outcome>,
    /// Of the sources of opened files.
    pub(super) file_sources: FileSources,
    /// What keeps them at work.
    pub(super) links: Links,
}

/// Tries every probe, and the sources of opened files until one works.
pub(super) fn all(mut programs: Programs<'_>, wanted: &Wanted<'_>) -> Brought {
    let mut of_files: Programs<'_> =
        FILE_PROBES.iter().filter_map(|probe| programs.remove_entry(probe.program)).collect();
    let mut links = Links::default();
    // Popped from the end: the first in the table are verified first.
    let jobs = PROBES.iter().rev().filter(|probe| !wanted.leaves_out(probe));
    let mut by_name: HashMap<&str, &mut Program> =
        programs.iter_mut().map(|(name, program)| (*name, &mut **program)).collect();
    let jobs = jobs.filter_map(|probe| Some((probe, by_name.remove(probe.program)?))).collect();
    let (mut verdicts, file_sources) = beside(jobs, wanted.types, || {
        FileSources::attach(wanted.file_source, |probe| match wanted.lacking {
            Some(field) => Outcome::refused(probe, format!("this kernel has no field {field}")),
            None => wanted
                .attempt(&mut of_files, probe, &mut links, |program| verify(program, probe, wanted.types)),
        })
    });
    let outcomes = PROBES.iter().map(|probe| {
        let verdict = verdicts.remove(probe.program).unwrap_or_else(|| Err("it was not verified".into()));
        wanted.attempt(&mut programs, probe, &mut links, |_program| verdict)
    });
    Brought { outcomes: outcomes.collect(), file_sources, links }
}

impl Wanted<'_> {
    fn leaves_out(&self, probe: &Probe) -> bool {
        self.without.iter().any(|name| name == probe.program)
    }

    fn attempt(
        &self,
        programs: &mut Programs<'_>,
        probe: &'static Probe,
        links: &mut Links,
        verify: impl FnOnce(&mut Program) -> Result<(), String>,
    ) -> Outcome {
        if self.leaves_out(probe) {
            return Outcome::refused(probe, "left out by the settings".into());
        }
        match programs.get_mut(probe.program) {
            Some(program) => try_probe(program, probe, self.places, links, verify),
            None => Outcome::refused(probe, "the object has no such program".into()),
        }
    }
}

/// Has these programs verified by as many threads as the machine has processors, while this one does something else
/// first. What the verifier said of each, by name.
fn beside<T>(
    jobs: Vec<(&'static Probe, &mut Program)>,
    types: &Btf,
    first: impl FnOnce() -> T,
) -> (HashMap<&'static str, Result<(), String>>, T) {
    let jobs = Mutex::new(jobs);
    let verdicts = Mutex::new(HashMap::new());
    let work = || {
        loop {
            let next = lock(&jobs).pop();
            let Some((probe, program)) = next else { break };
            let verdict = verify(program, probe, types);
            lock(&verdicts).insert(probe.program, verdict);
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let done = thread::scope(|scope| {
        for _ in 1..processors.min(THREADS_MAX) {
            // Without more threads this one does it all.
            if thread::Builder::new().name("verify".into()).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        let done = first();
        work();
        done
    });
    (verdicts.into_inner().unwrap_or_else(PoisonError::into_inner), done)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands a program to the kernel.
fn verify(program: &mut Program, probe: &Probe, types: &Btf) -> Result<(), String> {
    let said = |e: ProgramError| last_lines(&chain(&e));
    match probe.hook {
        Hook::Tracepoint(name) => as_a::<BtfTracePoint>(program).and_then(|p| p.load(name, types)),
        Hook::EitherTracepoint([name, former]) => as_a::<BtfTracePoint>(program)
            .and_then(|p| p.load(name, types).or_else(|_renamed| p.load(former, types))),
        Hook::Exit(function) => as_a::<FExit>(program).and_then(|p| p.load(function, types)),
        Hook::Probe { .. } => as_a::<KProbe>(program).and_then(KProbe::load),
        Hook::CgroupSocket(_) => as_a::<CgroupSock>(program).and_then(CgroupSock::load),
        Hook::CgroupAddress(_) => as_a::<CgroupSockAddr>(program).and_then(CgroupSockAddr::load),
        Hook::CgroupPacket { .. } => as_a::<CgroupSkb>(program).and_then(CgroupSkb::load),
        Hook::Perf { .. } => as_a::<TracePoint>(program).and_then(TracePoint::load),
        Hook::Iterator(name) => as_a::<Iter>(program).and_then(|p| p.load(name, types)),
        Hook::StorageIterator { .. } => {
            as_a::<Iter>(program).and_then(|p| p.load("bpf_sk_storage_map", types))
        }
    }
    .map_err(said)
}

fn as_a<'a, T>(program: &'a mut Program) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    program.try_into()
}
