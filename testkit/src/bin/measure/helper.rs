//! The running helper's processor time, memory and kernel programs.

use std::{
    collections::BTreeSet,
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

    /// Resident memory in megabytes (`VmRSS`).
    pub(crate) fn rss_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(self.proc.join("status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1.024 / 1000.0)
    }

    /// The kernel programs that it holds open (`proc_pid_fdinfo(5)`; only a program's own lines tell `verified_insns`,
    /// those of its links tell `prog_id` too).
    fn program_ids(&self) -> Result<BTreeSet<u32>> {
        let mut ids = BTreeSet::new();
        for entry in std::fs::read_dir(self.proc.join("fdinfo")).context("its open files")? {
            // It may close a file while the folder is read.
            let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
            if text.contains("verified_insns:") {
                let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")).context("prog_id")?;
                ids.insert(id.trim().parse()?);
            }
        }
        Ok(ids)
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
