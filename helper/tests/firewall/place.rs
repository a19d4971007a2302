//! Network namespaces for one test: its own, and a peer's behind a veth pair.

use std::{
    fs,
    io::Write as _,
    net::UdpSocket,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use sekhmet_common::kernel::mark::Mark;
use sekhmet_helper::firewall::{Firewall as _, NftFirewall};

use crate::sys::{mark, marked, new_network_namespace};

/// This side's addresses (RFC 5737 and RFC 3849 documentation ranges).
pub(crate) const HERE: [&str; 2] = ["198.51.100.1", "2001:db8:51::1"];
/// The peer's.
pub(crate) const THERE: [&str; 2] = ["198.51.100.2", "2001:db8:51::2"];

/// This machine's own.
pub(crate) const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// The mark of rule 1 with these flags.
pub(crate) fn bits(flags: u32) -> u32 {
    Mark::refused(1, flags).unwrap().bits()
}

/// The namespaces, the table, and a firewall to look at; nothing without root.
pub(crate) fn scene() -> Option<(Peer, NftFirewall)> {
    if !own_namespace() {
        return None;
    }
    let peer = Peer::new();
    let mut firewall = NftFirewall::open().unwrap();
    firewall.install().unwrap();
    Some((peer, firewall))
}

/// Moves this thread into a network namespace of its own with loopback up. False where that is not allowed:
/// the caller says so and skips.
pub(crate) fn own_namespace() -> bool {
    if let Err(error) = new_network_namespace() {
        eprintln!("skipped: no network namespace: {error}");
        return false;
    }
    run(&["ip", "link", "set", "lo", "up"]);
    // Any group may open ICMP sockets (icmp(7)); the file belongs to the namespace of the thread that opens it.
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
    marks_stay();
    true
}

/// A helper that runs on this machine takes our mark off sockets that it does not block, also off ours. Waits
/// for it to end: it may be another test's.
fn marks_stay() {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        mark(&socket, bits(0));
        socket.connect("127.0.0.1:9").unwrap();
        let _nobody_there = socket.send(b"x");
        if marked(&socket) == bits(0) {
            return;
        }
        assert!(
            Instant::now() < end,
            "something takes marks off sockets: does a helper run on this machine?"
        );
        thread::sleep(Duration::from_millis(200));
    }
}

/// The second namespace: a thread that lives in it and does what it is given.
pub(crate) struct Peer {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Peer {
    /// Makes the pair and the addresses. The caller is in a namespace of its own already.
    pub(crate) fn new() -> Self {
        let (jobs, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, is_ready) = mpsc::channel();
        thread::Builder::new()
            .name("peer".to_owned())
            .spawn(move || {
                new_network_namespace().unwrap();
                run(&["ip", "link", "set", "lo", "up"]);
                ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
                for job in todo {
                    job();
                }
            })
            .unwrap();
        let there = is_ready.recv().unwrap().to_string();
        run(&["ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", &there]);
        let peer = Self { jobs };
        peer.run(|| addresses("there", THERE));
        addresses("here", HERE);
        peer
    }

    /// Does something in the peer's namespace and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.jobs.send(Box::new(move || done.send(job()).unwrap())).unwrap();
        result.recv().unwrap()
    }
}

fn addresses(link: &str, addresses: [&str; 2]) {
    run(&["ip", "link", "set", link, "up"]);
    for (address, prefix) in addresses.iter().zip(["24", "64"]) {
        run(&["ip", "addr", "add", &format!("{address}/{prefix}"), "dev", link, "nodad"]);
    }
}

/// Runs a program in this thread's namespace; its output.
pub(crate) fn run(command: &[&str]) -> String {
    let (status, output, error) = try_run(command, "");
    assert!(status, "{command:?}: {error}");
    output
}

/// The same with input; whether it succeeded, its output, and what it complains about.
pub(crate) fn try_run(command: &[&str], input: &str) -> (bool, String, String) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}
