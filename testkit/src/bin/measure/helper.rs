//! The running helper's processor time and memory, from `/proc`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The helper that runs on this machine.
pub(crate) struct Helper {
    proc: PathBuf,
}

impl Helper {
    /// Finds it by its short name.
    pub(crate) fn find() -> Result<Self> {
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
