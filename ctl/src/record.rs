//! `sekhmetctl record FILE`: a log of events that `sekhmet --replay FILE` shows again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sekhmet_common::{display::escape, event::Event, log};
use serde::Serialize;

use crate::{
    numbers::count,
    output::{Failure, Output},
    session::{Access, Asks, Happening, announce},
    watch::no_json,
};

/// What `record --json` says at the end.
#[derive(Debug, Serialize)]
struct Summary {
    file: String,
    events: u64,
}

/// Writes events, the snapshot first, until the end.
pub(crate) fn run(
    access: &Access,
    json: bool,
    path: &Path,
    force: bool,
    time: Option<Duration>,
) -> Result<(), Failure> {
    let shown = escape(path.as_os_str().as_bytes());
    let failed = |error: io::Error| Failure::Failed(format!("{shown}: {error}"));
    let mut recording = Recording::create(path, force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Failed(format!("{shown} exists already; --force replaces it"))
        }
        _ => failed(error),
    })?;
    let mut live = access.live(time, Asks { reader: false, ..Asks::default() })?;
    let mut events_written = 0_u64;
    while let Some(happening) = live.next()? {
        announce(&happening);
        let Happening::Events(events) = happening else { continue };
        for event in &events {
            let line = log::to_json(event).map_err(no_json)?.to_string();
            recording.line(&line).map_err(failed)?;
            events_written += 1;
        }
        recording.flush().map_err(failed)?;
        if events.iter().any(|event| matches!(event, Event::SnapshotEnd { .. })) {
            recording.keep().map_err(failed)?;
        }
    }
    recording.finish().map_err(failed)?;
    let mut output = Output::new();
    if json {
        output.json(&Summary { file: shown, events: events_written })?;
    } else {
        output.line(&format!("{} events recorded", count(events_written)))?;
    }
    output.flush()
}

/// A file that is worth keeping once it holds a whole snapshot. Until then it leaves no trace, and what it
/// replaces stays as it was.
#[derive(Debug)]
struct Recording {
    file: BufWriter<File>,
    target: PathBuf,
    /// Where it lies until it is kept.
    interim: Option<PathBuf>,
}

impl Recording {
    fn create(path: &Path, force: bool) -> io::Result<Self> {
        let fresh = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let existing = if force { fs::metadata(path).ok() } else { None };
        let (file, target, interim) = match existing {
            // A new file without anything in the way. `create_new` refuses in one step with the look.
            None => (fresh(path)?, path.to_owned(), Some(path.to_owned())),
            Some(old) if old.is_file() => {
                let target = fs::canonicalize(path)?;
                let mut name = target.file_name().unwrap_or_default().to_owned();
                name.push(format!(".new-{}", std::process::id()));
                let interim = target.with_file_name(name);
                let file = fresh(&interim)?;
                file.set_permissions(old.permissions())?;
                (file, target, Some(interim))
            }
            // A pipe or a device is written to, not replaced.
            Some(_) => (OpenOptions::new().write(true).open(path)?, path.to_owned(), None),
        };
        Ok(Self { file: BufWriter::new(file), target, interim })
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// From now on the file stays.
    fn keep(&mut self) -> io::Result<()> {
        match self.interim.take() {
            Some(interim) if interim != self.target => fs::rename(interim, &self.target),
            _ => Ok(()),
        }
    }

    /// Waits until a regular file is on the disk, because a full one may show only then.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        let file = self.file.get_ref();
        if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(interim) = &self.interim {
            // It may be gone already, which is as good.
            let _removed = fs::remove_file(interim);
        }
    }
}
