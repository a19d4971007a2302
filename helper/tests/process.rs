//! The helper as a process: whose rights it takes, how it begins, how it ends. Needs root, as its service does.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sekhmet_client::{Reason, status};
use sekhmet_testkit::bus::TestBus;
use tempfile::TempDir;

const HELPER: &str = env!("CARGO_BIN_EXE_sekhmet-helper");
/// `dbus-daemon` accepts only users that exist outside, too: the one called `sys` on every Debian.
const UID: &str = "3";
/// CAP_NET_ADMIN (12), CAP_SYS_PTRACE (19), CAP_PERFMON (38), CAP_BPF (39).
const FOUR: &str = "000000c000081000";
/// Without those that only loading needs, which are given back before READY where the kernel allows it (5.19).
const TWO: &str = "0000000000081000";
const NONE: &str = "0000000000000000";

/// A helper that dies with the test.
struct Running(Child);

impl Running {
    /// Starts `sekhmet-helper` in a mount namespace where `/etc/passwd` has (or has not) the user `sekhmet`.
    fn start(dir: &TempDir, with_user: bool, arguments: &[&str]) -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let mut passwd: String =
            passwd.lines().filter(|l| !l.starts_with("sekhmet:")).map(|l| format!("{l}\n")).collect();
        if with_user {
            passwd.push_str(&format!("sekhmet:x:{UID}:{UID}::/:/usr/sbin/nologin\n"));
        }
        let copy = dir.path().join("passwd");
        fs::write(&copy, passwd).unwrap();
        let script = "mount --bind \"$1\" /etc/passwd && shift && exec \"$@\"";
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(copy)
            .arg(HELPER)
            .args(arguments)
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .env_remove("JOURNAL_STREAM")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn end(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap().code(), log)
    }

    /// A field of `/proc/PID/status`.
    fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A folder that other users reach, with the service manager's socket in it.
fn stage() -> (TempDir, UnixDatagram) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    fs::set_permissions(dir.path().join("notify"), fs::Permissions::from_mode(0o666)).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (dir, manager)
}

fn told(manager: &UnixDatagram, word: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = manager.recv(&mut buffer).unwrap_or_else(|e| panic!("{word} never came: {e}"));
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.contains(word) {
            return text;
        }
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root can start the helper as its service does");
    }
    root
}

/// Whether this kernel lets loaded programs be used without a capability, by its version: the helper tries.
fn gives_back() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(19))
}

#[tokio::test]
async fn started_as_root_it_becomes_its_user_and_gives_back_what_only_loading_needs() {
    if !is_root() {
        return;
    }
    let kept = if gives_back() { TWO } else { FOUR };
    let bus = TestBus::start().unwrap();
    let (dir, manager) = stage();
    let mut helper = Running::start(&dir, true, &["--bus-address", bus.address()]);
    told(&manager, "READY=1");
    assert_eq!(helper.status("Uid"), [UID; 4].join(" "));
    assert_eq!(helper.status("Gid"), [UID; 4].join(" "));
    assert_eq!(helper.status("Groups"), "");
    for (set, expected) in
        [("CapEff", kept), ("CapPrm", kept), ("CapBnd", FOUR), ("CapInh", NONE), ("CapAmb", NONE)]
    {
        assert_eq!(helper.status(set), expected, "{set}");
    }
    assert_eq!(helper.status("NoNewPrivs"), "1");
    assert_eq!(helper.status("Umask"), "0077");
    // Not dumpable: what is in its memory belongs to root (proc(5)).
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{}/mem", helper.0.id())).unwrap());
    assert_eq!(owner, 0);
    // Every thread has the same rights.
    for task in fs::read_dir(format!("/proc/{}/task", helper.0.id())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains(&format!("CapEff:\t{kept}\n")), "{status}");
        assert!(status.contains(&format!("CapPrm:\t{kept}\n")), "{status}");
        assert!(status.contains(&format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}")), "{status}");
    }
    // What was loaded works without: the helper sees this process, and what is made is accounted for.
    let answer = status(Some(bus.address())).await.unwrap();
    assert_eq!(answer.mode, "full");
    assert_eq!(answer.version, env!("CARGO_PKG_VERSION"));
    helper.signal(Signal::TERM);
    told(&manager, "STOPPING=1");
    let (code, log) = helper.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("uid {UID}")), "{log}");
    assert_eq!(status(Some(bus.address())).await, Err(Reason::NoHelper));
}

#[tokio::test]
async fn as_another_user_it_starts_with_what_it_has() {
    if !is_root() {
        return;
    }
    let bus = TestBus::start().unwrap();
    let (dir, manager) = stage();
    // The folder of the build may be closed to others.
    let program = dir.path().join("helper");
    fs::copy(HELPER, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let child = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "-all", "--"])
        .arg(&program)
        .args(["--bus-address", bus.address()])
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env_remove("JOURNAL_STREAM")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut helper = Running(child);
    told(&manager, "READY=1");
    assert_eq!((helper.status("Uid"), helper.status("CapEff")), (["65534"; 4].join(" "), NONE.to_owned()));
    assert_eq!(status(Some(bus.address())).await.unwrap().mode, "reduced");
    helper.signal(Signal::INT);
    let (code, log) = helper.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("some things will not be seen"), "{log}");
}

#[test]
fn without_its_user_it_says_what_to_do() {
    if !is_root() {
        return;
    }
    let (dir, _manager) = stage();
    let (code, log) = Running::start(&dir, false, &["--bus-address", "unix:path=/nonexistent"]).end();
    assert_eq!(code, Some(1));
    assert!(log.contains("there is no system user 'sekhmet'") && log.contains("useradd"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test]
async fn a_second_helper_and_a_policy_that_forbids_are_said_plainly() {
    if !is_root() {
        return;
    }
    let bus = TestBus::start().unwrap();
    let (dir, manager) = stage();
    let _first = Running::start(&dir, true, &["--reduced", "--bus-address", bus.address()]);
    told(&manager, "READY=1");
    let (code, log) = Running::start(&dir, true, &["--reduced", "--bus-address", bus.address()]).end();
    assert_eq!(code, Some(1));
    assert!(log.contains("another helper is running"), "{log}");

    let strict = TestBus::with_policy(
        "<policy context=\"default\"><allow user=\"*\"/><allow send_destination=\"org.freedesktop.DBus\"/>\
         <allow receive_sender=\"org.freedesktop.DBus\"/></policy>",
    )
    .unwrap();
    let (code, log) = Running::start(&dir, true, &["--reduced", "--bus-address", strict.address()]).end();
    assert_eq!(code, Some(1));
    assert!(log.contains("may not own org.sekhmet.Helper1"), "{log}");
}

#[tokio::test]
async fn without_a_bus_it_waits_for_one() {
    if !is_root() {
        return;
    }
    let mut bus = TestBus::start().unwrap();
    bus.kill().unwrap();
    let (dir, manager) = stage();
    let mut helper = Running::start(&dir, true, &["--reduced", "--bus-address", bus.address()]);
    told(&manager, "waiting for the message bus");
    bus.restart().unwrap();
    told(&manager, "READY=1");
    helper.signal(Signal::TERM);
    assert_eq!(helper.end().0, Some(0));
}

#[test]
fn says_its_version_and_how_it_is_used() {
    let run = |argument: &str| -> Output { Command::new(HELPER).arg(argument).output().unwrap() };
    let version = run("--version");
    assert!(version.status.success());
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        format!("sekhmet-helper {}", env!("CARGO_PKG_VERSION"))
    );
    let help = run("--help");
    assert!(help.status.success());
    for word in ["--reduced", "--bus-address", "--log", "CAP_BPF"] {
        assert!(String::from_utf8_lossy(&help.stdout).contains(word), "{word}");
    }
    assert_eq!(run("--nonsense").status.code(), Some(2));
    assert_eq!(run("--log=[").status.code(), Some(2));
    assert!(Path::new(HELPER).exists());
}
