//! Accesses as `sekhmetctl watch` tells them.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// A running `sekhmetctl watch`.
pub(super) struct Stream {
    child: Child,
    lines: Receiver<String>,
    /// By number of the access: of which entry it is, of which path, and how often it was made.
    told: HashMap<u64, (u64, String, u64)>,
}

impl Stream {
    /// Starts one; what happens after this has returned is told.
    pub(super) fn start(ctl: &Path) -> Result<Self> {
        let mut child = Command::new(ctl)
            .args([
                "watch",
                "--json",
                "--snapshot",
                "--kinds",
                "snapshot_end,file_accessed",
                "--for",
                "3600s",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("sekhmetctl watch")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (tell, lines) = channel();
        thread::Builder::new().name("lines".into()).spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        })?;
        let stream = Self { child, lines, told: HashMap::new() };
        loop {
            let line = stream.lines.recv_timeout(Duration::from_secs(15)).context("no snapshot")?;
            if line.contains("\"snapshot_end\"") {
                return Ok(stream);
            }
        }
    }

    /// How many accesses of an entry are told, at most so many and after at most so long.
    pub(super) fn until(&mut self, entry: u64, enough: u64, patience: Duration) -> Result<u64> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(&line)?,
                Err(RecvTimeoutError::Timeout) => return Ok(self.count(entry)),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("sekhmetctl watch ended"),
            }
            // All that is there first: counting is dear.
            while let Ok(line) = self.lines.try_recv() {
                self.take(&line)?;
            }
            if self.count(entry) >= enough {
                return Ok(self.count(entry));
            }
        }
    }

    /// Whether an access to this path was told so far.
    pub(super) fn has(&mut self, path: &Path) -> Result<bool> {
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line)?;
        }
        Ok(self.told.values().any(|(_, told, _)| path == Path::new(told)))
    }

    fn count(&self, entry: u64) -> u64 {
        self.told.values().filter(|(of, _, _)| *of == entry).map(|(_, _, count)| count).sum()
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let event: Value = serde_json::from_str(line)?;
        let access = &event["access"];
        let number = |key: &str| access[key].as_u64().with_context(|| format!("no {key}: {line}"));
        let path = access["path"].as_str().context("no path")?.to_owned();
        self.told.insert(number("id")?, (number("entry")?, path, number("count")?));
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
