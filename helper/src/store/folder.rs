//! A folder of the helper's own: readable text, replaced whole, with the last good copy beside it.
//!
//! The folder belongs to the helper alone. Everything is opened under its descriptor without following links, and
//! a folder or file that somebody else could have written is not used.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, fsync, linkat, openat, renameat, renameat_with,
        statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

/// A file with more bytes than this is not ours: a thousand rules, and as many entries, have about 500 KiB.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why something is not kept or not known.
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
    /// It is not what it should be.
    #[error("{file} cannot be read: {reason}")]
    Damaged {
        /// Which file.
        file: &'static str,
        /// Where and why.
        reason: String,
    },
}

/// The names of a text and of what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// What holds.
    pub(super) text: &'static str,
    /// What held before the last change.
    pub(super) last: &'static str,
    /// What could not be read is kept under this name.
    pub(super) damaged: &'static str,
    /// Where new text is written until it is whole.
    pub(super) new: &'static str,
}

/// What was found of a text.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// What it says; nothing if there is none, or none that can be read.
    pub(super) said: Option<T>,
    /// What a person should know: a file was damaged, an older copy is in use.
    pub(super) warnings: Vec<String>,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: OwnedFd,
}

impl Folder {
    /// Opens the folder.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it is not there, [`StoreError::NotOurs`] if others may write it.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let dir = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| failed("the state folder", e))?;
        let stat = fstat(&dir).map_err(|e| failed("the state folder", e))?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(StoreError::NotOurs("the state folder"));
        }
        Ok(Self { dir })
    }

    /// What a text says. What cannot be read is set aside, never deleted, and the last good copy is taken.
    pub(super) fn load<T>(&self, names: Names, parse: impl Fn(&str) -> Result<T, String>) -> Found<T> {
        let mut warnings = Vec::new();
        for file in [names.text, names.last] {
            match self.read(file) {
                Ok(None) => {}
                Ok(Some(text)) => match parse(&text) {
                    Ok(said) => {
                        if file == names.last && !warnings.is_empty() {
                            self.put_last_in_place(names, &text);
                            warnings.push("the copy from before the last change is in force".into());
                        }
                        return Found { said: Some(said), warnings };
                    }
                    Err(reason) => {
                        warnings.push(StoreError::Damaged { file, reason }.to_string());
                        self.set_aside(file, names.damaged, &mut warnings);
                    }
                },
                Err(error) => {
                    warnings.push(error.to_string());
                    if let StoreError::Damaged { .. } = error {
                        self.set_aside(file, names.damaged, &mut warnings);
                    }
                }
            }
            if file == names.text && warnings.is_empty() {
                // There never was one, or it was removed by hand: an old copy must not come back.
                break;
            }
        }
        Found { said: None, warnings }
    }

    /// Keeps a text. When it returns it is on the disk, and what was there before beside it.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what was kept before is untouched.
    pub(super) fn keep(&self, names: Names, text: &str) -> Result<(), StoreError> {
        if let Err(error) = self.write_new(names, text) {
            let is_full = matches!(&error, StoreError::Io { error, .. } if matches!(error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            if !is_full {
                return Err(error);
            }
            // The copy from before the last change makes room: what is in place stays good until the new one is.
            remove(&self.dir, names.last)?;
            self.write_new(names, text)?;
        }
        self.keep_last(names)?;
        renameat(&self.dir, names.new, &self.dir, names.text)
            .map_err(|e| failed("putting a new file in place", e))?;
        fsync(&self.dir).map_err(|e| failed("the state folder", e))
    }

    /// Writes the new text to the disk, under its own name, or leaves nothing.
    fn write_new(&self, names: Names, text: &str) -> Result<(), StoreError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        remove(&self.dir, names.new)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut new =
            File::from(openat(&self.dir, names.new, flags, mode).map_err(|e| failed("a new file", e))?);
        if let Err(error) = new.write_all(text.as_bytes()).and_then(|()| new.sync_all()) {
            remove(&self.dir, names.new)?;
            return Err(StoreError::Io { what: "writing a new file", error });
        }
        Ok(())
    }

    /// The last good copy in the place of a file that was set aside: the next start would find nothing there, and
    /// take that for an empty one. On a disk that cannot be written the damaged file is still there, and read again.
    fn put_last_in_place(&self, names: Names, text: &str) {
        // Two files if there is room: who damages one in place shall not damage both.
        let from = self.write_new(names, text).map_or(names.last, |()| names.new);
        match renameat_with(&self.dir, from, &self.dir, names.text, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => tracing::warn!(%error, file = names.text, "the last good copy is not in place"),
        }
    }

    /// A second name for what is in place now, so that there is a good copy at every moment.
    fn keep_last(&self, names: Names) -> Result<(), StoreError> {
        if matches!(statat(&self.dir, names.text, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
            return Ok(());
        }
        remove(&self.dir, names.last)?;
        match linkat(&self.dir, names.text, &self.dir, names.last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("keeping the last copy", error)),
        }
    }

    fn read(&self, file: &'static str) -> Result<Option<String>, StoreError> {
        // Not blocking: a FIFO in its place must not stop the helper.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(&self.dir, file, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(StoreError::NotOurs(file)),
            Err(error) => return Err(failed("opening a file", error)),
        };
        let stat = fstat(&fd).map_err(|e| failed("opening a file", e))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(StoreError::NotOurs(file));
        }
        let mut text = Vec::new();
        let read = File::from(fd).take(BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| StoreError::Io { what: "reading a file", error })?;
        if text.len() as u64 > BYTES_MAX {
            return Err(StoreError::Damaged { file, reason: "it is far too long".into() });
        }
        match String::from_utf8(text) {
            Ok(text) => Ok(Some(text)),
            Err(_binary) => Err(StoreError::Damaged { file, reason: "it is not text".into() }),
        }
    }

    fn set_aside(&self, file: &'static str, damaged: &'static str, warnings: &mut Vec<String>) {
        // The first damaged file is the one that somebody may want to look into.
        match renameat_with(&self.dir, file, &self.dir, damaged, RenameFlags::NOREPLACE) {
            Ok(()) => warnings.push(format!("it was set aside as {damaged}")),
            Err(error) => warnings.push(format!("it could not be set aside: {error}")),
        }
    }
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
