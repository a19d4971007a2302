//! polkit's textual agent for the time of one command, so that it can ask for a password at a terminal without
//! a desktop, as systemctl(1) does it.

use std::{
    io::{self, IsTerminal, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command},
    time::Duration,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
};

/// How long the agent may take to register with polkit.
const START_MAX: Duration = Duration::from_secs(3);

/// A running agent. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Agent(Child);

impl Agent {
    /// Starts one for this process; nothing without a terminal to ask at, or without `pkttyagent`. It asks only
    /// where no other agent would (`--fallback`), so a desktop's dialog stays what it is.
    pub(crate) fn start() -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        match launch() {
            Ok(agent) => Some(agent),
            Err(error) => {
                tracing::debug!(%error, "no textual agent");
                None
            }
        }
    }
}

fn launch() -> io::Result<Agent> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    fcntl_setfd(&theirs, FdFlags::empty())?;
    let child = Command::new("pkttyagent")
        .args(["--process", &std::process::id().to_string()])
        .args(["--notify-fd", &theirs.as_raw_fd().to_string()])
        .arg("--fallback")
        .spawn()?;
    drop(theirs);
    let agent = Agent(child);
    // pkttyagent(1) closes its end once it is registered; whatever else happens the command goes on.
    ours.set_read_timeout(Some(START_MAX))?;
    let mut nothing = [0];
    if let Err(error) = ours.read(&mut nothing) {
        tracing::debug!(%error, "the textual agent does not say that it is ready");
    }
    Ok(agent)
}

impl Drop for Agent {
    /// Ends it gently: it may have switched off the terminal's echo, and puts that back.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended before.
            let _ended = kill_process(pid, Signal::TERM);
        }
        let _reaped = self.0.wait();
    }
}
