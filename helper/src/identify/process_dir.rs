//! One process's directory in `/proc`, held by a descriptor that no other process can inherit.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, readlinkat, statat};
use sekhmet_common::display::Text;

use crate::engine::input::{ProcessKey, Uids};

/// Nanoseconds in one tick of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture but Alpha.
pub const TICK_NS: u64 = 10_000_000;

/// The most bytes read of a status file. `/proc/PID/cgroup` grows with the path, which may have 4,096 bytes
/// for each of the few hierarchies.
const FILE_MAX: usize = 64 * 1024;

/// A process's directory. Reads fail once the process ended, also when its PID is used again.
#[derive(Debug)]
pub struct ProcessDir {
    dir: OwnedFd,
    pid: u32,
}

/// A command line as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline {
    /// The arguments.
    pub arguments: Vec<Text>,
    /// Whether there are more.
    pub truncated: bool,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The kernel's short name.
    pub comm: Text,
    /// One letter; `Z` and `X` have ended.
    pub state: u8,
    /// The parent's thread-group id, 0 for none.
    pub ppid: u32,
    /// When it started, in ticks since boot.
    pub start_ticks: u64,
}

impl ProcessDir {
    /// Opens the directory of the process that has this PID now.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn open(proc: &Path, pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(proc.join(pid.to_string()), flags, Mode::empty())?;
        Ok(Self { dir, pid })
    }

    /// Its PID.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its key with the precision of a tick.
    pub fn key(&self) -> Option<ProcessKey> {
        let start_ns = self.stat()?.start_ticks.saturating_mul(TICK_NS);
        Some(ProcessKey { tgid: self.pid, start_ns })
    }

    /// Whether this process runs and is the one with this key.
    pub fn is(&self, key: ProcessKey) -> bool {
        self.stat().is_some_and(|s| self.pid == key.tgid && s.start_ticks == key.start_ns / TICK_NS)
    }

    /// `stat`.
    pub fn stat(&self) -> Option<Stat> {
        parse_stat(&self.read("stat", FILE_MAX).ok()?)
    }

    /// The four user ids from `status`.
    pub fn uids(&self) -> Option<Uids> {
        parse_uids(&self.read("status", FILE_MAX).ok()?)
    }

    /// `comm`.
    pub fn comm(&self) -> Option<Text> {
        let bytes = self.read("comm", 64).ok()?;
        Some(Text::from(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
    }

    /// `cgroup`, all hierarchies.
    pub fn cgroups(&self) -> Option<Vec<u8>> {
        self.read("cgroup", FILE_MAX).ok()
    }

    /// The executable's path. Needs the right to trace the process.
    pub fn exe(&self) -> Option<Text> {
        let path = readlinkat(&self.dir, "exe", Vec::new()).ok()?.into_bytes();
        // d_path() appends a mark to the path of a file without a name; a file may also be called so.
        let deleted = statat(&self.dir, "exe", AtFlags::empty()).is_ok_and(|s| s.st_nlink == 0);
        let path = path.strip_suffix(b" (deleted)").filter(|_| deleted).unwrap_or(&path);
        path.starts_with(b"/").then(|| Text::from(path))
    }

    /// The command line, at most `max` bytes of it.
    pub fn cmdline(&self, max: usize) -> Option<Cmdline> {
        let mut bytes = self.read("cmdline", max.saturating_add(1)).ok()?;
        let truncated = bytes.len() > max;
        bytes.truncate(max);
        Some(Cmdline { arguments: split_arguments(&bytes), truncated })
    }

    /// The inode number of a namespace: `net`, `mnt`. Needs the right to trace the process.
    pub fn namespace(&self, name: &str) -> Option<u32> {
        let path = format!("ns/{name}");
        let inode = statat(&self.dir, path, AtFlags::empty()).ok()?.st_ino;
        u32::try_from(inode).ok()
    }

    /// Inode numbers of the sockets it has open, at most `max`. Needs the right to trace the process.
    ///
    /// # Errors
    /// If the process ended, or the right is missing.
    pub fn socket_inodes(&self, max: usize, sockets: Option<SocketMount>) -> io::Result<Vec<u64>> {
        match self.socket_links(max) {
            // Only its user may list `fd`, even with CAP_SYS_PTRACE; that right is enough for `fdinfo`.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => match sockets {
                Some(mount) => self.socket_infos(max, mount),
                None => Err(error),
            },
            other => other,
        }
    }

    fn socket_links(&self, max: usize) -> io::Result<Vec<u64>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fds = openat(&self.dir, "fd", flags, Mode::empty())?;
        let mut inodes = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fds)?.take(max) {
            if let Ok(target) = readlinkat(&fds, entry?.file_name(), Vec::new()) {
                inodes.extend(parse_socket_link(target.as_bytes()));
            }
        }
        Ok(inodes)
    }

    /// By `fdinfo`, which tells inode numbers since Linux 5.14.
    fn socket_infos(&self, max: usize, mount: SocketMount) -> io::Result<Vec<u64>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let infos = openat(&self.dir, "fdinfo", flags, Mode::empty())?;
        let mut inodes = Vec::new();
        for entry in rustix::fs::Dir::read_from(&infos)?.take(max) {
            if let Ok(text) = read_at(&infos, entry?.file_name(), INFO_MAX)
                && let Some((inode, of)) = parse_fdinfo(&text)
                && of == mount
            {
                inodes.push(inode);
            }
        }
        Ok(inodes)
    }

    fn read(&self, name: &str, max: usize) -> io::Result<Vec<u8>> {
        read_at(&self.dir, name, max)
    }
}

/// The kernel's own mount that all sockets live in; its id tells their inode numbers from those of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMount(u64);

impl SocketMount {
    /// Finds it by a socket of this process.
    pub fn find(proc: &Path) -> Option<Self> {
        // Any kind of socket will do; this one is allowed to a service that may not open sockets of IP.
        let socket = std::os::unix::net::UnixDatagram::unbound().ok()?;
        let info = read_at(CWD, proc.join(format!("self/fdinfo/{}", socket.as_raw_fd())), INFO_MAX).ok()?;
        parse_fdinfo(&info).map(|(_, mount)| mount)
    }
}

/// The most bytes read of one `fdinfo` file; what is looked for stands at its head.
const INFO_MAX: usize = 512;

fn read_at<P: rustix::path::Arg>(dir: impl AsFd, name: P, max: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(openat(dir, name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(u64::try_from(max).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads inode number and mount of `/proc/PID/fdinfo/FD` (proc_pid_fdinfo(5)).
fn parse_fdinfo(text: &[u8]) -> Option<(u64, SocketMount)> {
    let number = |name: &[u8]| {
        let value = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(name))?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    };
    Some((number(b"ino:")?, SocketMount(number(b"mnt_id:")?)))
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name may hold spaces, brackets and line breaks.
pub fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&b| b == b'(')?;
    let close = bytes.iter().rposition(|&b| b == b')')?;
    let comm = bytes.get(open + 1..close)?;
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let ppid = fields.next()?.parse().ok()?;
    // Field 22; state is field 3.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { comm: Text::from(comm), state, ppid, start_ticks })
}

/// Reads the line `Uid:` of `/proc/PID/status`: real, effective, saved, file system.
pub fn parse_uids(status: &[u8]) -> Option<Uids> {
    // `Name:` comes first and shows line breaks as `\n`, so no name can forge this line.
    let line = status.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(b"Uid:"))?;
    let mut ids = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(|n| n.parse().ok());
    Some(Uids { real: ids.next()??, effective: ids.next()??, saved: ids.next()??, fs: ids.next()?? })
}

/// Reads the target of a socket's link in `/proc/PID/fd`.
pub fn parse_socket_link(target: &[u8]) -> Option<u64> {
    let inode = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

/// Splits at NUL bytes; the last one ends the last argument.
pub fn split_arguments(bytes: &[u8]) -> Vec<Text> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|&b| b == 0).map(Text::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_do_not_move_the_fields() {
        let line = b"77 (a) R 1 2 (\n) x) S 42 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 9\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.ppid, stat.start_ticks), (b'S', 42, 123_456));
        assert_eq!(stat.comm.as_bytes(), b"a) R 1 2 (\n) x");
    }

    #[test]
    fn the_four_user_ids_are_read() {
        let status = b"Name:\ta\\nUid: 9 9 9 9\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t0\t0\t0\t0\n";
        assert_eq!(parse_uids(status), Some(Uids { real: 1, effective: 2, saved: 3, fs: 4 }));
        assert_eq!(parse_uids(b"Uid:\t1\t2\t3\n"), None);
    }

    #[test]
    fn socket_links_are_told_from_others() {
        assert_eq!(parse_socket_link(b"socket:[123]"), Some(123));
        for other in [&b"pipe:[123]"[..], b"socket:[x]", b"/tmp/socket:[1]", b"socket:[1"] {
            assert_eq!(parse_socket_link(other), None);
        }
    }

    #[test]
    fn both_ways_to_a_process_s_sockets_agree() {
        let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
        let me = ProcessDir::open("/proc".as_ref(), std::process::id()).unwrap();
        let mount = SocketMount::find("/proc".as_ref()).unwrap();
        assert!(me.socket_links(4_096).unwrap().contains(&inode));
        assert!(me.socket_infos(4_096, mount).unwrap().contains(&inode));
        assert!(!me.socket_infos(4_096, SocketMount(mount.0 + 1)).unwrap().contains(&inode));
    }

    #[test]
    fn empty_arguments_are_kept() {
        let split = |b: &[u8]| split_arguments(b).iter().map(Text::shown).collect::<Vec<_>>();
        assert_eq!(split(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(split(b"no end"), ["no end"]);
        assert_eq!(split(b"\0"), [""]);
        assert!(split(b"").is_empty());
    }

    proptest! {
        #[test]
        fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _stat = parse_stat(&bytes);
            let _uids = parse_uids(&bytes);
            let _inode = parse_socket_link(&bytes);
            let _arguments = split_arguments(&bytes);
            let _info = parse_fdinfo(&bytes);
        }

        #[test]
        fn every_name_is_read_back(name in proptest::collection::vec(any::<u8>(), 0..15), ticks in any::<u64>()) {
            let mut line = b"1 (".to_vec();
            line.extend_from_slice(&name);
            line.extend_from_slice(format!(") S 1 {} {ticks} 0 0", "0 ".repeat(17)).as_bytes());
            let stat = parse_stat(&line).unwrap();
            prop_assert_eq!(stat.comm.as_bytes(), &name[..]);
            prop_assert_eq!(stat.start_ticks, ticks);
        }
    }
}
