//! Network namespaces for one test: its own, and a peer's behind a veth pair.
#![expect(unsafe_code, reason = "a thread moves into a new network namespace")]

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

/// This side's addresses (RFC 5737 and RFC 3849 documentation ranges).
pub(crate) const HERE: [&str; 2] = ["198.51.100.1", "2001:db8:51::1"];
/// The peer's.
pub(crate) const THERE: [&str; 2] = ["198.51.100.2", "2001:db8:51::2"];

/// Moves this thread into a network namespace of its own with loopback up. False where that is not allowed:
/// the caller says so and skips.
pub(crate) fn own_namespace() -> bool {
    // SAFETY: a network namespace changes nothing about memory or descriptors; the thread is the test's own.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        eprintln!("skipped: no network namespace: {}", std::io::Error::last_os_error());
        return false;
    }
    run(&["ip", "link", "set", "lo", "up"]);
    // Any group may open ICMP sockets (icmp(7)); the file belongs to the namespace of the thread that opens it.
    fs::write("/proc/thread-self/net/../../../sys/net/ipv4/ping_group_range", "0 2147483647")
        .or_else(|_| fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"))
        .unwrap();
    true
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
                // SAFETY: as above.
                assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
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
