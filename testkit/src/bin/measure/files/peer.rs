//! Another program that reports every open of the machine, one a line: `opensnoop` of libbpf-tools.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::helper;

/// Its programs are attached by then, or it has said why not.
const ATTACHED_WITHIN: Duration = Duration::from_secs(3);

/// What it still has to say is said by then.
const SETTLED: Duration = Duration::from_secs(2);

/// libbpf reads the numbers of tracepoints from tracefs, which is not mounted everywhere. Mounted in a mount namespace
/// of its own, it is gone with the program. That it is there already is no fault; that it cannot be, libbpf tells.
const START: &str = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec \"$0\"";

/// The running program.
pub(super) struct Peer {
    child: Child,
    told: PathBuf,
    complaints: PathBuf,
}

/// What it has reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Opens of this process below one folder.
    pub(super) opens: u64,
    /// Times at which it said that it had lost some, of whomever.
    pub(super) lost: u64,
}

impl Peer {
    /// Starts it; what it says is kept in a folder.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (told, complaints) = (folder.join("peer"), folder.join("peer-complaints"));
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", START])
            .arg(program)
            .stdin(Stdio::null())
            .stdout(File::create(&told)?)
            .stderr(File::create(&complaints)?)
            .spawn()
            .context("unshare(1)")?;
        let mut peer = Self { child, told, complaints };
        thread::sleep(ATTACHED_WITHIN);
        let said = fs::read_to_string(&peer.complaints)?;
        ensure!(peer.child.try_wait()?.is_none(), "{} ended: {said}", program.display());
        Ok(peer)
    }

    /// Processor time that it has used, in seconds. unshare and sh have become it.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        helper::cpu_seconds(Path::new(&format!("/proc/{}", self.child.id())))
    }

    /// Ends it.
    pub(super) fn end(mut self, folder: &Path) -> Result<Told> {
        thread::sleep(SETTLED);
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("its id")?;
        kill_process(pid, Signal::INT)?;
        self.child.wait()?;
        let read = |file: &Path| anyhow::Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned());
        let (told, complaints) = (read(&self.told)?, read(&self.complaints)?);
        let opens = opens(&told, std::process::id(), folder);
        let lost = complaints.lines().filter(|line| line.to_lowercase().contains("lost")).count();
        ensure!(opens > 0, "it reported nothing: {complaints}");
        Ok(Told { opens, lost: lost as u64 })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Counts lines of `PID COMM FD ERR PATH`. A short name may hold anything, also blanks.
fn opens(told: &str, pid: u32, folder: &Path) -> u64 {
    let (own, folder) = (pid.to_string(), format!(" {}/", folder.display()));
    let is_ours = |line: &&str| line.split_whitespace().next() == Some(&own) && line.contains(&folder);
    told.lines().filter(is_ours).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_of_one_process_below_one_folder_are_counted() {
        let told = "PID    COMM              FD ERR PATH\n26909  a b              -1   2 /w/x\n\
                    26909  cargo             6   0 /w/x/y\n26909  cargo             6   0 /w/xy\n\
                    269    cargo             6   0 /w/x/y\n26909  cargo             7   0 /w/x/z\n";
        assert_eq!(opens(told, 26909, Path::new("/w/x")), 2);
        assert_eq!(opens("", 1, Path::new("/")), 0);
    }
}
