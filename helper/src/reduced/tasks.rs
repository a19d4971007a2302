//! Processes by looking at `/proc` again and again.

use std::{collections::HashMap, io, os::unix::fs::MetadataExt, path::PathBuf};

use sekhmet_common::{display::Text, time::Timestamp};

use crate::{
    engine::input::{Observation, ProcessImage, ProcessKey, Uids},
    identify::process_dir::{ProcessDir, TICK_NS},
};

/// The most processes that are looked at.
const TASKS_MAX: usize = 131_072;
/// The most bytes of a command line that are read.
const CMDLINE_MAX: usize = 4 * 1024;

/// The processes that were there at the last look.
#[derive(Debug)]
pub(super) struct Tasks {
    proc: PathBuf,
    known: HashMap<u32, Task>,
}

/// What tells one look from the next.
#[derive(Clone, Debug)]
struct Task {
    key: ProcessKey,
    comm: Text,
    /// Who owns the directory: changes with the effective user id, and when a process becomes untraceable.
    dir_uid: u32,
    /// Whether this look found it.
    present: bool,
}

impl Tasks {
    /// Nothing was looked at yet.
    pub(super) fn new(proc: PathBuf) -> Self {
        Self { proc, known: HashMap::new() }
    }

    /// The running processes, the youngest first.
    pub(super) fn youngest_first(&self) -> Vec<ProcessKey> {
        let mut keys: Vec<_> = self.known.values().map(|t| t.key).collect();
        keys.sort_unstable_by_key(|k| std::cmp::Reverse((k.start_ns, k.tgid)));
        keys
    }

    /// Looks once. Ends come first, so that what happens with their sockets is told after them.
    ///
    /// # Errors
    /// If `/proc` cannot be listed.
    pub(super) fn look(&mut self, at: Timestamp) -> io::Result<Vec<Observation>> {
        let (mut ended, mut told) = (Vec::new(), Vec::new());
        let mut new = Vec::new();
        for task in self.known.values_mut() {
            task.present = false;
        }
        for pid in self.pids()? {
            let Ok(dir) = ProcessDir::open(&self.proc, pid) else { continue };
            let Some(stat) = dir.stat().filter(|s| !matches!(s.state, b'Z' | b'X')) else { continue };
            let dir_uid = std::fs::metadata(self.proc.join(pid.to_string())).map_or(u32::MAX, |m| m.uid());
            let key = ProcessKey { tgid: pid, start_ns: stat.start_ticks.saturating_mul(TICK_NS) };
            let task = Task { key, comm: stat.comm, dir_uid, present: true };
            match self.known.insert(pid, task.clone()) {
                Some(before) if before.key == key => {
                    if before.comm != task.comm || before.dir_uid != dir_uid {
                        told.extend(self.executed(at, &dir, key, stat.ppid));
                    }
                }
                before => {
                    ended.extend(before.map(|b| Observation::Exited { at, key: b.key, status: None }));
                    new.push((dir, key, stat.ppid));
                }
            }
        }
        // After all keys are known, since a parent may have a higher PID than its child.
        let found = new.into_iter().filter_map(|(dir, key, ppid)| self.image(&dir, key, ppid));
        told.splice(0..0, found.map(Observation::Seen).collect::<Vec<_>>());
        self.known.retain(|_, task| {
            if !task.present {
                ended.push(Observation::Exited { at, key: task.key, status: None });
            }
            task.present
        });
        ended.append(&mut told);
        Ok(ended)
    }

    fn pids(&self) -> io::Result<Vec<u32>> {
        let entries = std::fs::read_dir(&self.proc)?;
        let pid = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        Ok(entries.filter_map(pid).take(TASKS_MAX).collect())
    }

    fn image(&self, dir: &ProcessDir, key: ProcessKey, ppid: u32) -> Option<ProcessImage> {
        Some(ProcessImage {
            key,
            parent: self.known.get(&ppid).map(|t| t.key),
            // Unreadable ids belong to nobody.
            uids: dir.uids().unwrap_or(Uids { effective: u32::MAX - 1, ..Uids::all(u32::MAX) }),
            cgroup_id: 0,
            net_ns: dir.namespace("net").unwrap_or(0),
            mnt_ns: dir.namespace("mnt").unwrap_or(0),
            program: None,
            comm: dir.comm()?,
            filename: Text::default(),
            argv: None,
            argv_truncated: false,
        })
    }

    fn executed(&self, at: Timestamp, dir: &ProcessDir, key: ProcessKey, ppid: u32) -> Option<Observation> {
        let image = self.image(dir, key, ppid)?;
        let cmdline = dir.cmdline(CMDLINE_MAX);
        let image = ProcessImage {
            filename: dir.exe().unwrap_or_default(),
            argv_truncated: cmdline.as_ref().is_some_and(|c| c.truncated),
            argv: cmdline.map(|c| c.arguments),
            ..image
        };
        Some(Observation::Executed { at, image })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    const AT: Timestamp = Timestamp(1);

    #[test]
    fn a_real_process_begins_executes_and_ends() {
        let mut tasks = Tasks::new("/proc".into());
        let first = tasks.look(AT).unwrap();
        let me = std::process::id();
        assert!(first.iter().any(|o| matches!(o, Observation::Seen(i) if i.key.tgid == me)));
        assert!(first.iter().all(|o| matches!(o, Observation::Seen(_))));

        let script = "read wait; exec sleep 60";
        let mut child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let seen = tasks.look(AT).unwrap();
        let image = seen.iter().find_map(|o| match o {
            Observation::Seen(i) if i.key.tgid == pid => Some(i.clone()),
            _ => None,
        });
        assert_eq!(image.unwrap().parent.unwrap().tgid, me);

        drop(child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        let image = loop {
            let executed = tasks.look(AT).unwrap().into_iter().find_map(|o| match o {
                Observation::Executed { image, .. } if image.key.tgid == pid => Some(image),
                _ => None,
            });
            if let Some(image) = executed {
                break image;
            }
            assert!(Instant::now() < deadline, "the new program was not found");
        };
        assert_eq!(image.comm.shown(), "sleep");
        assert_eq!(image.argv.unwrap().len(), 2);

        child.kill().unwrap();
        child.wait().unwrap();
        let ended = tasks.look(AT).unwrap();
        assert!(ended.iter().any(|o| matches!(o, Observation::Exited { key, .. } if key.tgid == pid)));
    }

    #[test]
    fn a_missing_proc_is_an_error() {
        assert!(Tasks::new("/nonexistent".into()).look(AT).is_err());
    }
}
