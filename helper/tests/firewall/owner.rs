//! The owner's socket outlives its process: killed helpers, the next one, and nothing through in between.

use std::{
    io::{BufRead as _, BufReader, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use sd_notify::NotifyState;
use sekhmet_helper::firewall::{Error, Firewall, NftFirewall, Shape, State};

use crate::{
    marked::{addr, udp},
    place::{Peer, THERE, bits, own_namespace, run, try_run},
};

/// How the helper is killed and started again, many times.
const ROUNDS: u64 = 20;

/// Says what the owner below should do.
const ROLE: &str = "SEKHMET_TEST_OWNER";

/// Not a test: the process that owns the table, with the stored socket on its standard input.
#[test]
#[ignore = "run by the tests below"]
fn owner() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut firewall = NftFirewall::open().unwrap();
    if role == "first" {
        assert_eq!(firewall.install().unwrap(), Shape::ALL[0]);
        let nft = [firewall.socket_fd()];
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName("nft")], &nft).unwrap();
    } else {
        let stored = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        assert_eq!(firewall.adopt(stored).unwrap(), State::Intact);
        if role == "new" {
            assert_eq!(firewall.install().unwrap(), Shape::ALL[0]);
        }
    }
    assert_eq!(firewall.check().unwrap(), State::Intact);
    let counters = firewall.counters().unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nREADY {}", counters.by_rule.get(&1).map_or(0, |count| count.packets)).unwrap();
    out.flush().unwrap();
    thread::sleep(Duration::from_secs(60));
}

/// A running owner, and how many packets it found refused.
struct Owner(Child, u64);

impl Owner {
    fn start(role: &str, stdin: Stdio, notify: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "owner::owner", "--ignored", "--nocapture"])
            .envs([(ROLE, role), ("NOTIFY_SOCKET", notify.to_str().unwrap())])
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let count = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("READY ").map(|n| n.parse().unwrap()))
            .unwrap_or_else(|| panic!("the owner '{role}' ended before it was ready"));
        Self(child, count)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The service manager's side of sd_notify(3).
struct Store {
    socket: UnixDatagram,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path, _dir: dir }
    }

    fn take(&self) -> OwnedFd {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 256];
        let message =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let text = String::from_utf8_lossy(&bytes[..message.unwrap().bytes]).into_owned();
        assert!(text.contains("FDSTORE=1") && text.contains("FDNAME=nft"), "{text}");
        let item = control.drain().next().unwrap();
        let RecvAncillaryMessage::ScmRights(mut fds) = item else { panic!("no descriptors: {text}") };
        fds.next().unwrap()
    }
}

/// Sends from a marked socket every 10 ms; counts what was refused and what came through.
struct Prober {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    thread: thread::JoinHandle<()>,
}

impl Prober {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts: Arc<[AtomicU64; 2]> = Arc::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let sockets = [udp(bits(0), false, 0), udp(bits(0), true, 0)];
        let thread = thread::Builder::new()
            .name("prober".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    for (socket, there) in sockets.iter().zip(THERE) {
                        let through = socket.send_to(b"no", addr(there, 5001)).is_ok();
                        counted[usize::from(through)].fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            })
            .unwrap();
        Self { stop, counts, thread }
    }

    /// How many were refused, and how many came through.
    fn end(self) -> [u64; 2] {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        [0, 1].map(|index| self.counts[index].load(Ordering::Relaxed))
    }
}

/// Between fork and exec, the children of other tests hold copies of our descriptors for a moment.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn killed_helpers_leave_the_table_and_the_next_one_owns_it() {
    if !own_namespace() {
        return;
    }
    let _peer = Peer::new();
    let store = Store::new();
    let owner = Owner::start("first", Stdio::null(), &store.path);
    let stored = store.take();
    let prober = Prober::start();
    owner.kill();
    let mut seen = 0;
    for round in 0..ROUNDS {
        let (succeeded, _, error) = try_run(&["nft", "delete table inet sekhmet"], "");
        assert!(!succeeded && error.contains("Operation not permitted"), "{round}: {error}");
        run(&["nft", "flush", "ruleset"]);
        // What a killed helper did not read any more: an answer waits on the socket (NLMSG_NOOP with NLM_F_ACK).
        send(&stored, &[16, 0, 0, 0, 1, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0], SendFlags::empty()).unwrap();
        let role = if round % 5 == 4 { "new" } else { "next" };
        let owner = Owner::start(role, stored.try_clone().unwrap().into(), &store.path);
        if role == "next" {
            assert!(owner.1 > seen, "{round}: refusals of the gap are counted");
            seen = owner.1;
        } else {
            seen = 0;
        }
        owner.kill();
    }
    let [refused, through] = prober.end();
    assert_eq!(through, 0);
    assert!(refused > ROUNDS, "{refused}");
    assert!(run(&["nft", "list", "tables"]).contains("sekhmet"));
    drop(stored);
    eventually("nobody holds it any more", || !run(&["nft", "list", "tables"]).contains("sekhmet"));
}

#[test]
fn a_table_that_another_process_owns_is_left_alone() {
    if !own_namespace() {
        return;
    }
    let store = Store::new();
    let owner = Owner::start("first", Stdio::null(), &store.path);
    let mut firewall = NftFirewall::open().unwrap();
    assert_eq!(firewall.check().unwrap(), State::Foreign);
    assert!(matches!(firewall.install(), Err(Error::Foreign)));
    assert!(matches!(firewall.release(), Err(Error::Refused(_))));
    owner.kill();
    // The store still holds it.
    assert_eq!(firewall.check().unwrap(), State::Foreign);
    assert_eq!(firewall.adopt(store.take()).unwrap(), State::Intact);
    firewall.release().unwrap();
    assert_eq!(run(&["nft", "list", "ruleset"]), "");
}

#[test]
fn what_is_no_firewall_socket_is_not_adopted() {
    if !own_namespace() {
        return;
    }
    let mut firewall = NftFirewall::open().unwrap();
    firewall.install().unwrap();
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    assert!(matches!(firewall.adopt(file), Err(Error::Netlink(_))));
    assert_eq!(firewall.check().unwrap(), State::Intact, "the own socket is still in use");
    // Another context's socket owns nothing; ours goes with the table.
    let other = NftFirewall::open().unwrap().socket_fd().try_clone_to_owned().unwrap();
    assert_ne!(firewall.adopt(other).unwrap(), State::Intact);
    eventually("the table goes with its owner", || firewall.check().unwrap() == State::Missing);
    assert_eq!(firewall.install().unwrap(), Shape::ALL[0]);
}
