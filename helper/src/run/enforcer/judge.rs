//! What the enforcer needs of the kernel programs, and the kernel programs as that.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use sekhmet_common::{
    display::Text,
    kernel::{self, mark::Mark},
    rule::RuleId,
};
use std::os::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    unix::ffi::OsStrExt,
};

use crate::{
    engine::input::{ProcessKey, ProgramKey},
    kernel::policy::{Enforced, Inherited, Policies},
    run::links::resolved,
};

/// Decides whose traffic is refused.
pub trait Judge: Send {
    /// Puts a rule in force for whoever is bound to it.
    ///
    /// # Errors
    /// In words, as all others here.
    fn set_rule(&mut self, mark: Mark) -> Result<(), String>;

    /// Takes a rule out of force.
    ///
    /// # Errors
    /// In words.
    fn clear_rule(&mut self, rule: RuleId) -> Result<(), String>;

    /// Whether no rule is in force.
    fn is_idle(&self) -> bool;

    /// Binds processes and all that they started, and gives everybody who is bound then.
    ///
    /// # Errors
    /// In words; what was bound before stays bound.
    fn bind_family(&mut self, roots: &[ProcessKey], rule: RuleId) -> Result<Vec<ProcessKey>, String>;

    /// Binds these processes as they are, and nobody else.
    ///
    /// # Errors
    /// In words; the others are bound all the same.
    fn bind_each(&mut self, processes: &[ProcessKey], rule: RuleId) -> Result<(), String>;

    /// Binds whoever executes this file from now on.
    ///
    /// # Errors
    /// In words.
    fn bind_program(&mut self, program: ProgramKey, rule: RuleId) -> Result<(), String>;

    /// The processes that execute one of these files now.
    ///
    /// # Errors
    /// In words.
    fn running(&self, programs: &[ProgramKey]) -> Result<Vec<ProcessKey>, String>;

    /// The file that a path names now, if it names one.
    fn file_at(&self, path: &Text) -> Option<ProgramKey>;

    /// Makes open sockets follow. When it returns nothing passes any more that is refused.
    ///
    /// # Errors
    /// In words.
    fn settle(&mut self) -> Result<(), String>;

    /// Makes the sockets follow that these processes hold, whoever opened them.
    ///
    /// # Errors
    /// In words.
    fn follow(&mut self, processes: &[ProcessKey]) -> Result<(), String>;

    /// Makes sockets follow that have changed hands since. To be called some times a second.
    ///
    /// # Errors
    /// In words.
    fn patrol(&mut self) -> Result<(), String>;

    /// Removes bindings that mean nothing any more.
    ///
    /// # Errors
    /// In words.
    fn sweep(&mut self) -> Result<(), String>;

    /// Whether the firewall acts on marks. If not, connections are refused where they are asked for.
    ///
    /// # Errors
    /// In words.
    fn set_firewall(&mut self, acts: bool) -> Result<(), String>;

    /// What must stay open for everything to go on when this process is gone, by name.
    fn lasting(&self) -> Vec<(&'static str, BorrowedFd<'_>)>;
}

/// Whom a former helper bound, as its programs still have it.
pub trait Bound: Send {
    /// Every process that is bound now, with one of its rules each.
    ///
    /// # Errors
    /// In words.
    fn list(&self) -> Result<Vec<(ProcessKey, RuleId)>, String>;
}

impl Bound for Inherited {
    fn list(&self) -> Result<Vec<(ProcessKey, RuleId)>, String> {
        let all = Self::list(self).map_err(words)?;
        let pairs = all.iter().flat_map(|(process, policy)| {
            let rules = policy.rules.iter().filter(|&&number| number != 0);
            rules.map(|&number| (from_kernel(process), RuleId(number)))
        });
        Ok(pairs.collect())
    }
}

impl Judge for Policies {
    fn set_rule(&mut self, mark: Mark) -> Result<(), String> {
        Self::set_rule(self, mark).map_err(words)
    }

    fn clear_rule(&mut self, rule: RuleId) -> Result<(), String> {
        Self::clear_rule(self, rule.0).map_err(words)
    }

    fn is_idle(&self) -> bool {
        self.rules().is_empty()
    }

    fn bind_family(&mut self, roots: &[ProcessKey], rule: RuleId) -> Result<Vec<ProcessKey>, String> {
        let roots: Vec<kernel::ProcessKey> = roots.iter().map(to_kernel).collect();
        let family = Self::bind_family(self, &roots, rule.0).map_err(words)?;
        Ok(family.iter().map(from_kernel).collect())
    }

    fn bind_each(&mut self, processes: &[ProcessKey], rule: RuleId) -> Result<(), String> {
        let bind = |process| Self::bind(self, to_kernel(process), rule.0).map_err(words);
        // Each is tried.
        processes.iter().map(bind).fold(Ok(()), Result::and)
    }

    fn bind_program(&mut self, program: ProgramKey, rule: RuleId) -> Result<(), String> {
        Self::bind_program(self, file_to_kernel(program), rule.0).map_err(words)
    }

    fn running(&self, programs: &[ProgramKey]) -> Result<Vec<ProcessKey>, String> {
        if programs.is_empty() {
            return Ok(Vec::new());
        }
        let programs: Vec<kernel::ProgramKey> = programs.iter().copied().map(file_to_kernel).collect();
        let found = Self::running(self, &programs).map_err(words)?;
        Ok(found.iter().map(from_kernel).collect())
    }

    fn file_at(&self, path: &Text) -> Option<ProgramKey> {
        let file = named(path)?;
        let key = self.program_key(file.as_fd()).ok()?;
        Some(ProgramKey { device: key.device, inode: key.inode })
    }

    fn settle(&mut self) -> Result<(), String> {
        let done = self.enforce().map_err(words)?;
        tracing::debug!(?done, "open sockets follow the rules");
        Ok(())
    }

    fn follow(&mut self, processes: &[ProcessKey]) -> Result<(), String> {
        let processes: Vec<kernel::ProcessKey> = processes.iter().map(to_kernel).collect();
        let done = Self::follow(self, &processes).map_err(words)?;
        tracing::debug!(?done, "sockets of those who execute blocked programs follow");
        Ok(())
    }

    fn patrol(&mut self) -> Result<(), String> {
        if let Some(done) = Self::patrol(self).map_err(words)?
            && done != Enforced::default()
        {
            tracing::debug!(?done, "sockets that changed hands follow");
        }
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), String> {
        Self::sweep(self).map(drop).map_err(words)
    }

    fn set_firewall(&mut self, acts: bool) -> Result<(), String> {
        Self::set_firewall(self, acts).map_err(words)
    }

    fn lasting(&self) -> Vec<(&'static str, BorrowedFd<'_>)> {
        Self::lasting(self)
    }
}

/// The file that a path names in the system's own file tree. Named, not opened: nothing is read and nothing waits
/// (open(2), `O_PATH`).
///
/// The helper's own view lacks homes and has another `/tmp` (`ProtectHome=`, `PrivateTmp=`), so it looks through the
/// root of whoever started it, the service manager, and follows links as they are meant there. What a folder's mode
/// closes to the helper's user stays closed.
fn named(path: &Text) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = starter()
        .and_then(|starter| open(starter.join("root"), flags | OFlags::DIRECTORY, Mode::empty()).ok());
    let Some(root) = root else {
        // A helper that may not look there.
        return open(Path::new(OsStr::from_bytes(path.as_bytes())), flags, Mode::empty()).ok();
    };
    let link = |path: &[u8]| readlinkat(&root, path, Vec::new()).ok().map(|link| link.into_bytes());
    let plain = resolved(path.as_bytes(), link);
    let below = plain.as_bytes().strip_prefix(b"/")?;
    openat(&root, below, flags | OFlags::NOFOLLOW, Mode::empty()).ok()
}

/// The parent's folder in `/proc`, by the number that it has there (`proc_pid_stat(5)`, field 4).
fn starter() -> Option<PathBuf> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
    Some(Path::new("/proc").join(parent))
}

fn words(error: impl std::fmt::Display) -> String {
    sekhmet_common::display::escape(error.to_string().as_bytes())
}

fn to_kernel(key: &ProcessKey) -> kernel::ProcessKey {
    kernel::ProcessKey { tgid: key.tgid, reserved: 0, start_ns: key.start_ns }
}

fn from_kernel(key: &kernel::ProcessKey) -> ProcessKey {
    ProcessKey { tgid: key.tgid, start_ns: key.start_ns }
}

fn file_to_kernel(key: ProgramKey) -> kernel::ProgramKey {
    kernel::ProgramKey { device: key.device, reserved: 0, inode: key.inode }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{fstat, stat};

    use super::*;

    #[test]
    fn a_path_is_one_of_the_system_s_own_tree_with_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("program");
        std::fs::write(&file, "x").unwrap();
        symlink(&file, dir.path().join("absolute")).unwrap();
        symlink("program", dir.path().join("relative")).unwrap();
        let text = |name: &str| Text::from(dir.path().join(name).as_os_str().as_bytes());
        for name in ["program", "absolute", "relative"] {
            let found = named(&text(name)).unwrap();
            assert_eq!(fstat(&found).unwrap().st_ino, stat(&file).unwrap().st_ino, "{name}");
        }
        assert!(named(&text("missing")).is_none());
    }
}
