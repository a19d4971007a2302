//! A process that does what it is told by lines on its standard input, so that another can block it.
#![expect(clippy::panic, reason = "a test that is told nonsense says so")]

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, accept, bind, connect, getsockname,
        ipproto, listen, recv, send, sendto, socket,
        sockopt::{Timeout, set_socket_timeout},
    },
    process::{Pid, PidfdFlags, PidfdGetfdFlags, WaitOptions, pidfd_getfd, pidfd_open},
};

use super::ring::Ring;
use crate::child;

/// The word that makes a child a victim.
pub(crate) const WORD: &str = "victim";

/// How long a victim waits in one call; what is refused silently costs so much.
const PATIENCE: Duration = Duration::from_millis(400);

/// What a line came to: a number, or an errno.
pub(crate) type Answer = Result<i64, i32>;

/// The way to a victim. It ends when this is dropped.
pub(crate) struct Victim {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts one from this executable.
    pub(crate) fn start() -> Self {
        Self::start_with(child::command(&[WORD]))
    }

    /// Starts one by a command of one's own.
    pub(crate) fn start_with(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has one line done.
    pub(crate) fn ask(&mut self, line: &str) -> Answer {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        match answer.trim().split_once(' ') {
            Some(("ok", number)) => Ok(number.parse().unwrap()),
            Some(("error", errno)) => Err(errno.parse().unwrap()),
            _ => panic!("{line:?} was answered with {answer:?}"),
        }
    }

    /// Opens a socket and connects it; gives its place.
    pub(crate) fn connected(&mut self, kind: &str, to: SocketAddr) -> Answer {
        let place = self.ask(&format!("open {kind}"))?;
        self.ask(&format!("connect {place} {to}"))?;
        Ok(place)
    }

    /// Opens a socket, which cannot fail, and gives its place.
    pub(crate) fn open(&mut self, kind: &str) -> i64 {
        self.ask(&format!("open {kind}")).unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if writeln!(self.input, "quit").is_err() {
            return;
        }
        let _ended = self.child.wait();
    }
}

/// Does the lines until there are no more.
pub(crate) fn serve() -> ExitCode {
    let mut sockets: Vec<Option<OwnedFd>> = Vec::new();
    let mut ring = Ring::default();
    let mut kid: Option<Victim> = None;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let answer = match line.split_once(' ') {
            _ if line == "quit" => return ExitCode::SUCCESS,
            _ if line == "kid" => {
                kid = Some(Victim::start());
                Ok(kid.as_ref().map_or(0, |kid| i64::from(kid.pid())))
            }
            Some(("kid", rest)) => kid.as_mut().unwrap().ask(rest),
            Some(("thread", rest)) => std::thread::scope(|scope| {
                // Its socket is made and used by another thread than the first.
                scope.spawn(|| act(&mut Vec::new(), rest)).join().unwrap()
            }),
            Some((word, _)) if word.starts_with("ring") => {
                let words: Vec<&str> = line.split(' ').collect();
                ring.act(&mut sockets, &words).map_err(Errno::raw_os_error)
            }
            Some(("fork", rest)) => forked(&mut sockets, rest, None),
            Some(("nobody", rest)) => forked(&mut sockets, rest, Some(65_534)),
            _ => act(&mut sockets, &line),
        };
        match answer {
            Ok(number) => println!("ok {number}"),
            Err(errno) => println!("error {errno}"),
        }
    }
    ExitCode::SUCCESS
}

/// Does one line and tells by the status: 0, or the errno.
pub(crate) fn once(line: &str) -> ExitCode {
    act(&mut Vec::new(), line).map_or_else(|errno| ExitCode::from(errno as u8), |_| ExitCode::SUCCESS)
}

fn act(sockets: &mut Vec<Option<OwnedFd>>, line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    act_io(sockets, &words).map_err(|errno| errno.raw_os_error())
}

fn act_io(sockets: &mut Vec<Option<OwnedFd>>, words: &[&str]) -> Result<i64, Errno> {
    let number = |at: usize| words[at].parse::<usize>().unwrap();
    let address = |at: usize| words[at].parse::<SocketAddr>().unwrap();
    match words[0] {
        "open" => {
            sockets.push(Some(open(words[1])?));
            return Ok(sockets.len() as i64 - 1);
        }
        // A new socket and one attempt to reach somebody.
        "reach" => {
            let new = open(words[1])?;
            connect(&new, &address(2))?;
            return Ok(0);
        }
        "unshare" => return unshare(),
        "outside" => return super::links::make_outside().map(|()| 0).map_err(Errno::from_raw_os_error),
        "run" => {
            let status = Command::new(words[1]).args(&words[2..]).status().map_err(|_none| Errno::NOENT)?;
            return Ok(status.code().unwrap_or(255).into());
        }
        // What was handed down at the start.
        "inherited" => {
            sockets.push(Some(inherited()?));
            return Ok(sockets.len() as i64 - 1);
        }
        // A socket of another process by its number there: no hook of the kernel is told.
        "fetch" => {
            sockets.push(Some(fetch(number(1), number(2))?));
            return Ok(sockets.len() as i64 - 1);
        }
        "tx" => return Ok(sent_by(words[1])),
        _ => {}
    }
    let here = sockets[number(1)].as_ref().unwrap().as_fd();
    match words[0] {
        "bind" => bind(here, &address(2)).map(|()| port(here)),
        "connect" => connect(here, &address(2)).map(|()| 0),
        "listen" => listen(here, 8).map(|()| port(here)),
        "port" => Ok(port(here)),
        "fd" => Ok(here.as_raw_fd().into()),
        "accept" => {
            let new = accept(here)?;
            patient(&new);
            sockets.push(Some(new));
            Ok(sockets.len() as i64 - 1)
        }
        "send" => send(here, &vec![7; number(2)], SendFlags::NOSIGNAL).map(|n| n as i64),
        "sendto" => sendto(here, &vec![7; number(3)], SendFlags::empty(), &address(2)).map(|n| n as i64),
        "echo" => sendto(here, &echo_request(), SendFlags::empty(), &address(2)).map(|n| n as i64),
        "recv" => recv(here, &mut [0; 4096], RecvFlags::empty()).map(|(n, _)| n as i64),
        "mark" => mark(here, None),
        "setmark" => mark(here, Some(number(2) as u32)),
        other => panic!("no such word: {other}"),
    }
}

fn open(kind: &str) -> Result<OwnedFd, Errno> {
    let (name, version) = kind.split_at(kind.len() - 1);
    let family = if version == "4" { AddressFamily::INET } else { AddressFamily::INET6 };
    let icmp = if version == "4" { ipproto::ICMP } else { ipproto::ICMPV6 };
    let (kind, protocol) = match name {
        "tcp" => (SocketType::STREAM, None),
        "mptcp" => (SocketType::STREAM, Some(Protocol::from_raw(262.try_into().unwrap()))),
        "udp" => (SocketType::DGRAM, None),
        "ping" => (SocketType::DGRAM, Some(icmp)),
        "raw" => (SocketType::RAW, Some(icmp)),
        other => panic!("no such socket: {other}"),
    };
    let new = socket(family, kind, protocol)?;
    patient(&new);
    Ok(new)
}

fn patient(socket: &OwnedFd) {
    set_socket_timeout(socket, Timeout::Recv, Some(PATIENCE)).unwrap();
    set_socket_timeout(socket, Timeout::Send, Some(PATIENCE)).unwrap();
}

fn port(socket: BorrowedFd<'_>) -> i64 {
    SocketAddr::try_from(getsockname(socket).unwrap()).unwrap().port().into()
}

/// Echo request without data; the kernel of a ping socket writes id and checksum anew.
fn echo_request() -> [u8; 8] {
    [8, 0, 0xf7, 0xff, 0, 0, 0, 0]
}

/// Bytes that an interface of this network namespace has sent.
fn sent_by(interface: &str) -> i64 {
    let table = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':')).unwrap();
    line.split_ascii_whitespace().nth(8).unwrap().parse().unwrap()
}

/// Does one line in a child that is only forked, perhaps as another user, with the sockets there are, and gives what
/// came of it.
#[expect(unsafe_code, reason = "fork without exec")]
fn forked(sockets: &mut Vec<Option<OwnedFd>>, line: &str, user: Option<u32>) -> Answer {
    // SAFETY: the victim has one thread; the child does system calls and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        if let Some(user) = user {
            let user = rustix::process::Uid::from_raw(user);
            if let Err(errno) = rustix::thread::set_thread_res_uid(user, user, user) {
                // SAFETY: ends the child without anybody's clean-up.
                unsafe { libc::_exit(errno.raw_os_error()) };
            }
        }
        let status = act(sockets, line).err().unwrap_or(0);
        // SAFETY: as above.
        unsafe { libc::_exit(status) };
    }
    let pid = Pid::from_raw(child);
    let (_, status) = rustix::process::waitpid(pid, WaitOptions::empty()).unwrap().unwrap();
    match status.exit_status() {
        Some(0) => Ok(0),
        Some(errno) => Err(errno),
        None => Err(255),
    }
}

/// A network namespace of one's own, its loopback interface up; gives its inode number.
#[expect(unsafe_code, reason = "a namespace for this thread alone")]
pub(crate) fn unshare() -> Result<i64, Errno> {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: no other thread of this process relies on the namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap());
    }
    super::links::loopback_up();
    // Who may have a ping socket is said for each namespace (icmp(7)).
    let _nobody = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    Ok(std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino() as i64)
}

/// A copy of the socket at descriptor 2.
#[expect(unsafe_code, reason = "the descriptor has no owner in this program")]
fn inherited() -> Result<OwnedFd, Errno> {
    // SAFETY: standard error stays open as long as the process.
    rustix::io::dup(unsafe { BorrowedFd::borrow_raw(2) })
}

/// A copy of a descriptor of another process.
fn fetch(pid: usize, fd: usize) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    pidfd_getfd(process, i32::try_from(fd).unwrap(), PidfdGetfdFlags::empty())
}

/// Sets the mark if there is one to set; gives the mark then.
#[expect(unsafe_code, reason = "no safe wrapper knows SO_MARK")]
pub(crate) fn mark(socket: BorrowedFd<'_>, set: Option<u32>) -> Result<i64, Errno> {
    let fd = socket.as_raw_fd();
    let mut value = set.unwrap_or(0);
    let mut length = 4;
    // SAFETY: the value is a live integer of four bytes.
    let result = unsafe {
        if set.is_some() {
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_MARK, (&raw const value).cast(), length)
        } else {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MARK, (&raw mut value).cast(), &raw mut length)
        }
    };
    if result == 0 {
        Ok(value.into())
    } else {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap())
    }
}

/// Loopback of both versions.
pub(crate) const V4: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const V6: std::net::IpAddr = std::net::IpAddr::V6(Ipv6Addr::LOCALHOST);
