//! The running helper's processor time, memory and kernel programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// The helper that runs on this machine.
pub(crate) struct Helper {
    proc: PathBuf,
}

impl Helper {
    /// The one of `with-helper`, else one by its short name.
    pub(crate) fn find() -> Result<Self> {
        if let Some(file) = std::env::var_os("SEKHMET_HELPER_PID_FILE") {
            let pid = std::fs::read_to_string(file).context("the helper's process id")?;
            return Ok(Self { proc: Path::new("/proc").join(pid.trim()) });
        }
        for entry in std::fs::read_dir("/proc")? {
            let proc = entry?.path();
            // A process may end while the folder is read; then it is not the one.
            let comm = std::fs::read_to_string(proc.join("comm")).unwrap_or_default();
            if comm.trim() == "sekhmet-helper" {
                return Ok(Self { proc });
            }
        }
        anyhow::bail!("no helper runs")
    }

    /// Processor time that it has used, user and system, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(&self.proc)
    }

    /// Processor time that one of its threads has used, by the thread's name, in nanoseconds (`schedstat`, first field;
    /// Linux Documentation/scheduler/sched-stats.rst).
    pub(crate) fn thread_ns(&self, name: &str) -> Result<f64> {
        for task in std::fs::read_dir(self.proc.join("task")).context("its threads")? {
            let task = task?.path();
            if std::fs::read_to_string(task.join("comm"))?.trim() == name {
                let stat = std::fs::read_to_string(task.join("schedstat")).context("schedstat")?;
                return Ok(stat.split(' ').next().context("schedstat")?.parse()?);
            }
        }
        anyhow::bail!("it has no thread '{name}'")
    }

    /// Resident memory in megabytes (`VmRSS`).
    pub(crate) fn rss_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(self.proc.join("status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1.024 / 1000.0)
    }

    /// What the kernel counted of its programs while that was switched on: runs, and nanoseconds in them, by number.
    fn runs(&self) -> Result<BTreeMap<u32, [u64; 2]>> {
        let mut runs = BTreeMap::new();
        for text in self.programs()? {
            let field = |name: &str| {
                let line =
                    text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned());
                Ok::<u64, anyhow::Error>(line?.trim().parse()?)
            };
            let number = u32::try_from(field("prog_id:")?)?;
            runs.insert(number, [field("run_cnt:")?, field("run_time_ns:")?]);
        }
        Ok(runs)
    }

    fn program_ids(&self) -> Result<BTreeSet<u32>> {
        Ok(self.runs()?.into_keys().collect())
    }

    /// What is told of each kernel program that it holds open (`proc_pid_fdinfo(5)`; only a program's own lines tell
    /// `verified_insns`, those of its links tell `prog_id` too).
    fn programs(&self) -> Result<Vec<String>> {
        let mut programs = Vec::new();
        for entry in std::fs::read_dir(self.proc.join("fdinfo")).context("its open files")? {
            // It may close a file while the folder is read.
            let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
            if text.contains("verified_insns:") {
                programs.push(text);
            }
        }
        Ok(programs)
    }
}

/// Instructions that the verifier walked through for each kernel program that the helper holds, by the program's name
/// (`verified_insns`, since Linux 5.16).
pub(crate) fn programs() -> Result<Value> {
    let held = Helper::find()?.program_ids()?;
    let mut counts = Map::new();
    // A program of somebody else that goes while it is looked at is none of ours.
    for program in aya::programs::loaded_programs().flatten().filter(|program| held.contains(&program.id())) {
        let name = program.name_as_str().context("a program has no name")?;
        counts.insert(name.to_owned(), program.verified_instruction_count().into());
    }
    ensure!(!counts.is_empty() && counts.len() == held.len(), "of {held:?} only {counts:?}");
    Ok(counts.into())
}

/// What the kernel's own clock says of the programs that ran while something was done: runs of each by its name, and
/// nanoseconds for one. Without what it takes to get there.
pub(crate) fn running(work: impl FnOnce() -> Result<()>) -> Result<Value> {
    let helper = Helper::find()?;
    let before = helper.runs()?;
    {
        let _counting = Counting::begin()?;
        work()?;
    }
    let after = helper.runs()?;
    let mut told = Map::new();
    for program in aya::programs::loaded_programs().flatten() {
        let number = program.id();
        let Some((was, is)) = before.get(&number).zip(after.get(&number)) else { continue };
        let [count, ns] = [is[0] - was[0], is[1] - was[1]];
        if count > 0 {
            let name = program.name_as_str().context("a program has no name")?;
            told.insert(name.to_owned(), json!({ "runs": count, "ns": ns as f64 / count as f64 }));
        }
    }
    Ok(told.into())
}

/// The kernel counts runs of programs while this lives (`kernel.bpf_stats_enabled`, since Linux 5.1).
struct Counting {
    before: String,
}

impl Counting {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn begin() -> Result<Self> {
        let before = std::fs::read_to_string(Self::SWITCH).context(Self::SWITCH)?;
        std::fs::write(Self::SWITCH, "1").context(Self::SWITCH)?;
        Ok(Self { before })
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(Self::SWITCH, &self.before) {
            eprintln!("measure: {}: {error}", Self::SWITCH);
        }
    }
}

/// Processor time that a process has used, in seconds (`proc_pid_stat(5)`, fields 14 and 15).
pub(crate) fn cpu_seconds(proc: &Path) -> Result<f64> {
    Ok(seconds_of(proc, 14)? + seconds_of(proc, 15)?)
}

/// When a process was started, in seconds since the machine was (field 22).
pub(crate) fn started(pid: i32) -> Result<f64> {
    seconds_of(&PathBuf::from(format!("/proc/{pid}")), 22)
}

fn seconds_of(proc: &Path, field: usize) -> Result<f64> {
    let stat = std::fs::read_to_string(proc.join("stat")).context("the process ended")?;
    // The second field is a name, which may hold anything.
    let after = stat.rsplit_once(") ").context("stat")?.1;
    let ticks = after.split(' ').nth(field - 3).context("stat")?.parse::<u64>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Looks at the helper while nothing is asked of it.
pub(crate) fn idle(seconds: u64) -> Result<Value> {
    let helper = Helper::find()?;
    std::thread::sleep(Duration::from_secs(3));
    let before = helper.cpu_seconds()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let percent = (helper.cpu_seconds()? - before) / seconds as f64 * 100.0;
    Ok(json!({ "cpu_percent_of_a_core": percent, "rss_mb": helper.rss_mb()?, "seconds": seconds }))
}
