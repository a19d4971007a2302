//! The rules on disk: readable text, replaced whole, with the last good copy beside it.
//!
//! The folder belongs to the helper alone. Everything is opened under its descriptor without following links, and
//! a folder or file that somebody else could have written is not used.

mod text;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, fsync, linkat, openat, renameat, renameat_with,
        statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};
use sekhmet_common::time::Timestamp;

use crate::engine::input::KeptRule;

/// The rules in force.
const RULES: &str = "rules.toml";
/// Those before the last change.
const LAST: &str = "rules.last.toml";
/// What could not be read is kept under this name.
const DAMAGED: &str = "rules.damaged.toml";
/// Where new text is written until it is whole.
const NEW: &str = "rules.toml.new";

/// A file with more bytes than this is not ours: a thousand rules have about 500 KiB.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why rules are not kept or not known.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, read-only, or broken.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{0} is not used: it does not belong to the helper alone")]
    NotOurs(&'static str),
    /// It is not a list of rules.
    #[error("{file} cannot be read as rules: {reason}")]
    Damaged {
        /// Which file.
        file: &'static str,
        /// Where and why.
        reason: String,
    },
}

/// What was found at the start.
#[derive(Debug, Default)]
pub struct Kept {
    /// The rules that still hold.
    pub rules: Vec<KeptRule>,
    /// What a person should know: a file was damaged, an older copy is in use.
    pub warnings: Vec<String>,
}

/// The folder with the rules.
#[derive(Debug)]
pub struct Store {
    dir: OwnedFd,
    boot: String,
}

impl Store {
    /// Opens the state folder. `boot` names this run of the machine (`/proc/sys/kernel/random/boot_id`).
    ///
    /// # Errors
    /// [`StoreError::Io`] if it is not there, [`StoreError::NotOurs`] if others may write it.
    pub fn open(dir: &Path, boot: String) -> Result<Self, StoreError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let dir = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| failed("the state folder", e))?;
        let stat = fstat(&dir).map_err(|e| failed("the state folder", e))?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(StoreError::NotOurs("the state folder"));
        }
        Ok(Self { dir, boot })
    }

    /// The rules that were kept and still hold at `now`. What cannot be read is set aside, never deleted, and the
    /// last good copy is taken; without one there are no rules, and the machine stays on-line.
    pub fn load(&self, now: Timestamp) -> Kept {
        let mut kept = Kept::default();
        for file in [RULES, LAST] {
            match self.read(file) {
                Ok(None) => {}
                Ok(Some(text)) => match text::parse(&text, &self.boot, now) {
                    Ok(rules) => {
                        if file == LAST && !kept.warnings.is_empty() {
                            self.put_last_in_place(&text);
                            kept.warnings.push("the copy from before the last change is in force".into());
                        }
                        kept.rules = rules;
                        return kept;
                    }
                    Err(reason) => {
                        kept.warnings.push(StoreError::Damaged { file, reason }.to_string());
                        self.set_aside(file, &mut kept.warnings);
                    }
                },
                Err(error) => {
                    kept.warnings.push(error.to_string());
                    if let StoreError::Damaged { .. } = error {
                        self.set_aside(file, &mut kept.warnings);
                    }
                }
            }
            if file == RULES && kept.warnings.is_empty() {
                // There never were rules, or the file was removed by hand: an old copy must not come back.
                return kept;
            }
        }
        kept.warnings.push("no rule is in force".into());
        kept
    }

    /// Keeps these rules. When it returns they are on the disk, and those before them beside.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what was kept before is untouched.
    pub fn keep(&self, rules: &[KeptRule]) -> Result<(), StoreError> {
        let text =
            text::write(rules, &self.boot).map_err(|reason| StoreError::Damaged { file: RULES, reason })?;
        if let Err(error) = self.write_new(&text) {
            let is_full = matches!(&error, StoreError::Io { error, .. } if matches!(error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            if !is_full {
                return Err(error);
            }
            // The copy from before the last change makes room: what is in place stays good until the new one is.
            remove(&self.dir, LAST)?;
            self.write_new(&text)?;
        }
        self.keep_last()?;
        renameat(&self.dir, NEW, &self.dir, RULES).map_err(|e| failed("putting the rules in place", e))?;
        fsync(&self.dir).map_err(|e| failed("the state folder", e))
    }

    /// Writes the new text to the disk, under its own name, or leaves nothing.
    fn write_new(&self, text: &str) -> Result<(), StoreError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        remove(&self.dir, NEW)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut new = File::from(openat(&self.dir, NEW, flags, mode).map_err(|e| failed("a new file", e))?);
        if let Err(error) = new.write_all(text.as_bytes()).and_then(|()| new.sync_all()) {
            remove(&self.dir, NEW)?;
            return Err(StoreError::Io { what: "writing the rules", error });
        }
        Ok(())
    }

    /// The last good copy in the place of a file that was set aside: the next start would find nothing there, and
    /// take that for no rules. On a disk that cannot be written the damaged file is still there, and read again.
    fn put_last_in_place(&self, text: &str) {
        // Two files if there is room: who damages one in place shall not damage both.
        let from = self.write_new(text).map_or(LAST, |()| NEW);
        match renameat_with(&self.dir, from, &self.dir, RULES, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => tracing::warn!(%error, "the last good rules are not in place"),
        }
    }

    /// A second name for what is in place now, so that there is a good copy at every moment.
    fn keep_last(&self) -> Result<(), StoreError> {
        if matches!(statat(&self.dir, RULES, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
            return Ok(());
        }
        remove(&self.dir, LAST)?;
        match linkat(&self.dir, RULES, &self.dir, LAST, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("keeping the last rules", error)),
        }
    }

    fn read(&self, file: &'static str) -> Result<Option<String>, StoreError> {
        // Not blocking: a FIFO in its place must not stop the helper.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(&self.dir, file, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(StoreError::NotOurs(file)),
            Err(error) => return Err(failed("opening the rules", error)),
        };
        let stat = fstat(&fd).map_err(|e| failed("opening the rules", e))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(StoreError::NotOurs(file));
        }
        let mut text = Vec::new();
        let read = File::from(fd).take(BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| StoreError::Io { what: "reading the rules", error })?;
        if text.len() as u64 > BYTES_MAX {
            return Err(StoreError::Damaged { file, reason: "it is far too long".into() });
        }
        match String::from_utf8(text) {
            Ok(text) => Ok(Some(text)),
            Err(_binary) => Err(StoreError::Damaged { file, reason: "it is not text".into() }),
        }
    }

    fn set_aside(&self, file: &'static str, warnings: &mut Vec<String>) {
        // The first damaged file is the one that somebody may want to look into.
        match renameat_with(&self.dir, file, &self.dir, DAMAGED, RenameFlags::NOREPLACE) {
            Ok(()) => warnings.push(format!("it was set aside as {DAMAGED}")),
            Err(error) => warnings.push(format!("it could not be set aside: {error}")),
        }
    }
}

/// The folder that the service manager made for the helper (systemd.exec(5), `StateDirectory=`).
pub fn state_dir() -> Option<PathBuf> {
    let dirs = std::env::var_os("STATE_DIRECTORY")?;
    // A list with colons; ours names one folder.
    let first = PathBuf::from(dirs.to_str()?.split(':').next()?);
    first.is_absolute().then_some(first)
}

/// The name of this run of the machine; empty if the kernel does not tell.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn remove(dir: &OwnedFd, file: &str) -> Result<(), StoreError> {
    match unlinkat(dir, file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed("removing an old file", error)),
    }
}

fn failed(what: &'static str, error: Errno) -> StoreError {
    StoreError::Io { what, error: error.into() }
}

#[cfg(test)]
mod tests;
