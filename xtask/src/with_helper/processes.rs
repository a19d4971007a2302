//! Programs that run beside a command and end with it, even when xtask itself is killed.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::shell;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Ends what it read on its input once that input closes, which also happens when the writer is killed.
const WATCHER: &str =
    "while read -r pid; do pids=\"$pids $pid\"; done; for pid in $pids; do kill $pid; done 2>/dev/null";

/// The programs, in the order in which they were started.
pub(super) struct Processes {
    children: Vec<(String, Child)>,
    watcher: Child,
    tell: File,
}

impl Processes {
    /// Starts with none.
    ///
    /// # Errors
    /// When the watching shell cannot be started.
    pub(super) fn new() -> Result<Self> {
        // In a session of its own, so that Ctrl-C on the terminal does not end the watcher before its work.
        let mut watcher = Command::new("setsid")
            .args(["sh", "-c", WATCHER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start setsid (util-linux)")?;
        let tell = watcher.stdin.take().context("the watcher's input was asked for")?;
        Ok(Self { children: Vec::new(), watcher, tell: File::from(OwnedFd::from(tell)) })
    }

    /// Where the ids of further programs can be told, one a line, that must end when xtask is killed.
    ///
    /// # Errors
    /// When this process has too many files open.
    pub(super) fn watch_list(&self) -> Result<File> {
        self.tell.try_clone().context("cannot copy a descriptor")
    }

    /// Starts a program whose output goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&mut self, name: &str, command: &mut Command, log: &File) -> Result<()> {
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start `{}`", shell::shown(command)))?;
        writeln!(self.tell, "{}", child.id()).context("the watcher is gone")?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// The name of a program that ended by itself, if any did.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.children.iter_mut().find_map(|(name, child)| {
            child.try_wait().ok().flatten().map(|status| format!("{name} ended: {status}"))
        })
    }

    /// Ends all of them, the last one first.
    pub(super) fn stop(&mut self) {
        while let Some((name, mut child)) = self.children.pop() {
            if let Err(error) = stop_child(&mut child) {
                shell::say(format!("{name}: {error:#}"));
            }
        }
        // It must not act now: by the time it did, other programs might have the numbers.
        let _it_may_be_gone = self.watcher.kill().and_then(|()| self.watcher.wait());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends one program: SIGTERM, and SIGKILL after the grace time.
///
/// # Errors
/// When it can be neither signalled nor waited for.
pub(super) fn stop_child(child: &mut Child) -> Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id is a positive number")?;
    kill_process(pid, Signal::TERM).context("cannot send SIGTERM")?;
    let deadline = Instant::now() + GRACE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill().context("cannot send SIGKILL")?;
            child.wait()?;
            anyhow::bail!("did not end within {} s of SIGTERM and was killed", GRACE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_ends_what_was_started() {
        let mut processes = Processes::new().unwrap();
        let log = File::open("/dev/null").unwrap();
        processes.start("sleep", Command::new("sleep").arg("60"), &log).unwrap();
        assert_eq!(processes.ended(), None);
        let pid = processes.children[0].1.id();
        processes.stop();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_program_that_ended_is_told() {
        let mut processes = Processes::new().unwrap();
        let log = File::open("/dev/null").unwrap();
        processes.start("false", &mut Command::new("false"), &log).unwrap();
        let deadline = Instant::now() + GRACE;
        let told = loop {
            if let Some(told) = processes.ended() {
                break told;
            }
            assert!(Instant::now() < deadline, "never told");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(told, "false ended: exit status: 1");
    }
}
