//! What `sekhmetctl watch` tells about files, with the moments at which it told it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::checker::Checker;

/// How long anything may take to come that has to come at some time.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running `sekhmetctl watch`.
pub(super) struct Stream {
    child: Child,
    lines: Receiver<(Instant, String)>,
    seen: Vec<(Instant, Value)>,
}

impl Stream {
    /// Starts one; what happens after this has returned is told.
    pub(super) fn start(checker: &Checker) -> Result<Self> {
        let kinds = "snapshot_end,file_accessed,contact_after";
        let mut child = Command::new(&checker.ctl)
            .args(["watch", "--json", "--snapshot", "--kinds", kinds, "--for", "600s"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("sekhmetctl watch")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (tell, lines) = channel();
        thread::Builder::new().name("lines".into()).spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        })?;
        let mut stream = Self { child, lines, seen: Vec::new() };
        stream.until(|event| event["type"] == "snapshot_end").context("no snapshot")?;
        stream.seen.clear();
        Ok(stream)
    }

    /// The first event that fits, and when it was told; none if it does not come within some seconds.
    pub(super) fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Option<(Instant, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen.iter().find(|(_, event)| fits(event)) {
                return Some(found.clone());
            }
            let (at, line) =
                self.lines.recv_timeout(deadline.checked_duration_since(Instant::now())?).ok()?;
            self.seen.push((at, serde_json::from_str(&line).ok()?));
        }
    }

    /// Everything that was told until now.
    pub(super) fn all(&mut self) -> &[(Instant, Value)] {
        let new =
            self.lines.try_iter().filter_map(|(at, line)| Some((at, serde_json::from_str(&line).ok()?)));
        self.seen.extend(new);
        &self.seen
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
