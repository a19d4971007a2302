//! The numbers of tracepoints: only root may read where the kernel tells them.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// The tracepoints that are used: group and name. The service manager hands over a file for each, called as they are
/// with a dot between; `packaging/sekhmet.service` lists the same.
const USED: [(&str, &str); 13] = [
    ("syscalls", "sys_exit_open"),
    ("syscalls", "sys_exit_openat"),
    ("syscalls", "sys_exit_openat2"),
    ("syscalls", "sys_exit_creat"),
    ("syscalls", "sys_exit_unlink"),
    ("syscalls", "sys_exit_unlinkat"),
    ("syscalls", "sys_exit_rename"),
    ("syscalls", "sys_exit_renameat"),
    ("syscalls", "sys_exit_renameat2"),
    ("syscalls", "sys_exit_chmod"),
    ("syscalls", "sys_exit_fchmodat"),
    ("syscalls", "sys_exit_fchmodat2"),
    ("syscalls", "sys_exit_truncate"),
];

/// Where the file system of tracing is mounted, if it is.
const MOUNTED: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Longest number of a tracepoint, with its end of line.
const DIGITS_MAX: u64 = 20;

/// Numbers of tracepoints, as `perf_event_open(2)` wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracepointIds {
    ids: HashMap<(&'static str, &'static str), u64>,
    refused: Option<String>,
}

impl TracepointIds {
    /// Reads them: from what the service manager handed over (`CREDENTIALS_DIRECTORY`), or from the kernel, which
    /// only root may. To be called before the change of user. What cannot be read is missing.
    pub fn read() -> Self {
        // Whoever hands some over hands over what there is: a confined service must not even try to mount.
        if let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) {
            return Self::from_credentials(&folder);
        }
        match open_events() {
            Ok(events) => Self::from_events(&events),
            Err(error) => {
                let refused = format!("the numbers of tracepoints are for root only: {error}");
                Self { refused: Some(refused), ..Self::default() }
            }
        }
    }

    fn from_credentials(folder: &Path) -> Self {
        let ids = USED.into_iter().filter_map(|(group, name)| {
            let file = File::open(folder.join(format!("{group}.{name}"))).ok()?;
            Some(((group, name), number(file).ok()?))
        });
        Self { ids: ids.collect(), refused: None }
    }

    fn from_events(events: &OwnedFd) -> Self {
        let ids = USED.into_iter().filter_map(|(group, name)| {
            let path = format!("{group}/{name}/id");
            let file = openat(events, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            Some(((group, name), number(file.into()).ok()?))
        });
        Self { ids: ids.collect(), refused: None }
    }

    /// The number of one.
    ///
    /// # Errors
    /// Why it is not known, in words.
    pub fn get(&self, group: &str, name: &str) -> Result<u64, String> {
        let found = self.ids.iter().find(|((of, is), _)| *of == group && *is == name);
        found.map(|(_, id)| *id).ok_or_else(|| {
            let unknown =
                || format!("the kernel has no tracepoint {group}:{name}, or its number was not handed over");
            self.refused.clone().unwrap_or_else(unknown)
        })
    }
}

/// The folder `events`, mounted or not: a file system can be opened without a place in the tree (since Linux 5.2).
fn open_events() -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mounted = |place: &str| openat(CWD, format!("{place}/events"), flags, Mode::empty());
    if let Some(events) = MOUNTED.into_iter().find_map(|place| mounted(place).ok()) {
        return Ok(events);
    }
    let tracefs = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&tracefs)?;
    let mount = fsmount(&tracefs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    Ok(openat(&mount, "events", flags, Mode::empty())?)
}

fn number(file: File) -> io::Result<u64> {
    let mut text = String::new();
    file.take(DIGITS_MAX).read_to_string(&mut text)?;
    text.trim().parse().map_err(|_ignored| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_from_what_was_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("syscalls.sys_exit_openat"), "781\n").unwrap();
        std::fs::write(folder.path().join("syscalls.sys_exit_open"), "\n").unwrap();
        std::fs::write(folder.path().join("syscalls.sys_exit_creat"), "12 13\n").unwrap();
        let ids = TracepointIds::from_credentials(folder.path());
        assert_eq!(ids.get("syscalls", "sys_exit_openat"), Ok(781));
        for missing in ["sys_exit_open", "sys_exit_creat", "sys_exit_openat2"] {
            assert!(ids.get("syscalls", missing).unwrap_err().contains(missing));
        }
    }

    #[test]
    fn the_service_manager_hands_over_what_is_used() {
        let unit = include_str!("../../../../packaging/sekhmet.service");
        let handed = unit.lines().filter(|line| line.starts_with("LoadCredential=")).count();
        assert_eq!(handed, USED.len());
        for (group, name) in USED {
            let from = format!("/sys/kernel/tracing/events/{group}/{name}/id");
            assert!(unit.contains(&format!("\nLoadCredential={group}.{name}:{from}\n")), "{name}");
            assert!(unit.contains(&format!("\nSetCredential={group}.{name}:none\n")), "{name}");
        }
    }

    #[test]
    fn root_reads_them_whether_or_not_they_are_mounted() {
        let ids = TracepointIds::read();
        match ids.get("syscalls", "sys_exit_openat") {
            Ok(id) => assert!(id > 0),
            Err(why) => {
                assert!(!rustix::process::geteuid().is_root(), "{why}");
                eprintln!("skipped: {why}");
            }
        }
    }
}
