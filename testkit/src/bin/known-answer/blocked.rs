//! A process and its child that stream to another host: blocked nothing arrives, unblocked it does again.
//!
//! What arrives is counted by the other host, in another process and another network namespace.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::process::parent_id,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sekhmet_testkit::namespace::Peer;
use serde_json::{Value, json};

use crate::{
    checker::{Checker, until_ok},
    report::Report,
};

/// Between two sends.
const PACE: Duration = Duration::from_millis(20);

/// What one sender sends each time.
const BYTES: [u8; 100] = [0x73; 100];

/// Counts what arrives until it is killed; tells it for each line of standard input.
pub(crate) fn sink(listen: SocketAddr) -> Result<()> {
    let counts: Arc<[AtomicU64; 3]> = Arc::default();
    let (listener, socket) = (TcpListener::bind(listen)?, UdpSocket::bind(listen)?);
    let datagrams = Arc::clone(&counts);
    thread::Builder::new().spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok(length) = socket.recv(&mut buffer) {
            datagrams[1].fetch_add(length as u64, Relaxed);
        }
    })?;
    let streams = Arc::clone(&counts);
    thread::Builder::new().spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let counts = Arc::clone(&streams);
            counts[2].fetch_add(1, Relaxed);
            let reading = move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    counts[0].fetch_add(length as u64, Relaxed);
                }
            };
            if thread::Builder::new().spawn(reading).is_err() {
                return;
            }
        }
    })?;
    for line in std::io::stdin().lines() {
        line?;
        let [tcp, udp, connections] = [0, 1, 2].map(|i| counts[i].load(Relaxed));
        writeln!(std::io::stdout(), "{}", json!({ "tcp": tcp, "udp": udp, "connections": connections }))?;
    }
    Ok(())
}

/// Sends for ever: over a connection and a socket that it keeps, and over new ones. With `children`, a child does
/// the same.
pub(crate) fn stream(server: SocketAddr, children: u32, pace: Duration, is_alone: bool) -> Result<()> {
    if children > 0 {
        let mut command = Command::new(std::env::current_exe()?);
        let millis = pace.as_millis().to_string();
        command.args(["stream", &server.to_string(), &(children - 1).to_string(), &millis]);
        command.stdin(Stdio::null()).spawn()?;
    }
    // One that is blocked from its first instruction has none.
    let mut kept = TcpStream::connect(server).ok();
    let datagrams = UdpSocket::bind("0.0.0.0:0")?;
    datagrams.set_nonblocking(true)?;
    let parent = parent_id();
    // Whoever started it may be killed; then it ends, too.
    while is_alone || parent_id() == parent {
        // Errors are what is tested; the other side counts.
        let _refused = kept.as_mut().map(|kept| kept.write_all(&BYTES));
        let _refused = datagrams.send_to(&BYTES, server);
        if let Ok(mut new) = TcpStream::connect_timeout(&server, Duration::from_millis(500)) {
            let _refused = new.write_all(&BYTES);
        }
        thread::sleep(pace);
    }
    Ok(())
}

/// The other host.
pub(crate) struct Sink {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What has arrived there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) tcp: u64,
    pub(crate) udp: u64,
    pub(crate) connections: u64,
}

impl Sink {
    pub(crate) fn start(peer: &Peer, listen: SocketAddr) -> Result<Self> {
        let mut command = peer.command(&std::env::current_exe()?);
        let mut child = command
            .args(["sink", &listen.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }

    pub(crate) fn arrived(&mut self) -> Result<Arrived> {
        writeln!(self.input)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let counts: Value = serde_json::from_str(&line).context("the other host's count")?;
        let count = |name: &str| counts[name].as_u64().context("a count");
        Ok(Arrived { tcp: count("tcp")?, udp: count("udp")?, connections: count("connections")? })
    }

    /// Whether everything that a sender does arrives.
    pub(crate) fn flows(&mut self, wants_kept: bool) -> Result<(), String> {
        until_ok(|| {
            let before = self.arrived().map_err(|e| format!("{e:#}"))?;
            thread::sleep(PACE * 10);
            let now = self.arrived().map_err(|e| format!("{e:#}"))?;
            let moves = now.udp > before.udp && now.connections > before.connections && now.tcp > before.tcp;
            if moves || !wants_kept && now.udp > before.udp {
                Ok(())
            } else {
                Err(format!("{before:?}, then {now:?}"))
            }
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// A sender that ends with this.
pub(crate) struct Sender(Child);

impl Sender {
    pub(crate) fn start(program: &Path, server: SocketAddr, children: u32, pace: Duration) -> Result<Self> {
        let mut command = Command::new(program);
        let millis = pace.as_millis().to_string();
        command.args(["stream", &server.to_string(), &children.to_string(), &millis]);
        Ok(Self(command.stdin(Stdio::null()).spawn()?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        stop(&mut self.0);
    }
}

fn stop(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
        eprintln!("known-answer: {error}");
    }
}

/// The whole story, for a process and then for a program.
pub(crate) fn blocked(checker: &Checker, seconds: u64, report: &mut Report) -> Result<()> {
    let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
    let server = SocketAddr::new(peer.address(false)?, 8001);
    let mut sink = Sink::start(&peer, server)?;
    let own = std::env::current_exe()?;
    // The sink listens when it answers.
    sink.arrived()?;
    process(checker, seconds, &own, server, &mut sink, report)?;
    program(checker, seconds, &own, server, &mut sink, report)
}

fn process(
    checker: &Checker,
    seconds: u64,
    own: &Path,
    server: SocketAddr,
    sink: &mut Sink,
    report: &mut Report,
) -> Result<()> {
    let sender = Sender::start(own, server, 1, PACE)?;
    let pid = sender.0.id();
    report.check("before: everything arrives", sink.flows(true));
    report.check("both processes are listed", until_ok(|| family(checker, pid).map(drop)));
    let watch = watch(checker, seconds)?;
    let rule = ctl(checker, &["block", "--pid", &pid.to_string(), "--for", "until-exit", "--json"])?;
    let id = rule["id"].as_u64().context("the rule's number")?;
    report.check("process: not a byte arrives", silence(sink, seconds));
    report.check("another program is not concerned", other(own, server, sink));
    report.check("both processes say which rule blocks them", until_ok(|| is_blocked(checker, pid, id)));
    report.check("each refusal is told with its rule", told(watch, checker, pid, id));
    ctl(checker, &["unblock", &id.to_string()])?;
    report.check("unblocked: everything arrives again", sink.flows(false));
    report.check("no rule is left", no_rules(checker));
    ctl(checker, &["block", "--pid", &pid.to_string(), "--json"])?;
    drop(sender);
    report.check("until it exits: the rule ends with the last of them", until_ok(|| no_rules(checker)));
    Ok(())
}

fn program(
    checker: &Checker,
    seconds: u64,
    own: &Path,
    server: SocketAddr,
    sink: &mut Sink,
    report: &mut Report,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [copy, link, twin] = ["sender", "another-name", "twin"].map(|name| folder.path().join(name));
    std::fs::copy(own, &copy)?;
    std::fs::copy(own, &twin)?;
    std::fs::hard_link(&copy, &link)?;
    let running = Sender::start(&copy, server, 0, PACE)?;
    report.check("program, before: everything arrives", sink.flows(true));
    let path = copy.to_str().context("a path")?;
    let rule = ctl(checker, &["block", "--exe", path, "--for", "1h", "--json"])?;
    let id = rule["id"].as_u64().context("the rule's number")?;
    // One that runs, one that is started now, one under another name.
    let _more = [Sender::start(&copy, server, 1, PACE)?, Sender::start(&link, server, 0, PACE)?];
    report.check("program: not a byte arrives, however it is started", silence(sink, seconds));
    report.check("another file with the same content is another program", other(&twin, server, sink));
    ctl(checker, &["unblock", &id.to_string()])?;
    report.check("program, unblocked: everything arrives again", sink.flows(false));
    drop(running);
    ctl(checker, &["block", "--exe", path])?;
    ctl(checker, &["release"])?;
    report.check("released: no rule is left", no_rules(checker));
    Ok(())
}

/// Nothing may arrive from the answer on. What was on its way through the wire at that moment may: it gets the time
/// of a few packets.
pub(crate) fn silence(sink: &mut Sink, seconds: u64) -> Result<(), String> {
    let shown = |error: anyhow::Error| format!("{error:#}");
    thread::sleep(Duration::from_millis(50));
    let before = sink.arrived().map_err(shown)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        thread::sleep(PACE);
        let now = sink.arrived().map_err(shown)?;
        if now != before {
            return Err(format!("{before:?}, then {now:?}"));
        }
    }
    Ok(())
}

pub(crate) fn other(program: &Path, server: SocketAddr, sink: &mut Sink) -> Result<(), String> {
    let shown = |error: anyhow::Error| format!("{error:#}");
    let before = sink.arrived().map_err(shown)?;
    let mut command = Command::new(program);
    let status = command.args(["blip", &server.to_string(), "77", "other"]).status();
    match status {
        Ok(status) if status.success() => {}
        other => return Err(format!("it cannot connect: {other:?}")),
    }
    until_ok(|| match sink.arrived().map_err(shown)? {
        now if now.tcp == before.tcp + 77 => Ok(()),
        now => Err(format!("{before:?}, then {now:?}")),
    })
}

/// The sender and its child, as `sekhmetctl` lists them.
fn family(checker: &Checker, pid: u32) -> Result<Vec<Value>, String> {
    let all = checker.list("ps")?;
    let parent = all.iter().find(|p| p["pid"] == pid).ok_or("the sender is not listed")?;
    let child = all
        .iter()
        .find(|p| p["parent_id"] == parent["id"] && p["exited_at"].is_null())
        .ok_or("its child is not listed")?;
    Ok(vec![parent.clone(), child.clone()])
}

pub(crate) fn is_blocked(checker: &Checker, pid: u32, id: u64) -> Result<(), String> {
    for process in family(checker, pid)? {
        if process["blocked_by"] != json!([id]) {
            return Err(format!("blocked_by of {process}"));
        }
    }
    Ok(())
}

pub(crate) fn no_rules(checker: &Checker) -> Result<(), String> {
    let output = Command::new(&checker.ctl).args(["rules", "list", "--json"]).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.stdout.as_slice() {
        b"" if output.status.success() => Ok(()),
        rules => Err(String::from_utf8_lossy(rules).into_owned()),
    }
}

fn watch(checker: &Checker, seconds: u64) -> Result<Child> {
    let long = format!("{}s", seconds + 4);
    let mut command = Command::new(&checker.ctl);
    command.args(["watch", "--json", "--for", &long]).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().context("sekhmetctl watch")?;
    // It should be connected before the rule comes.
    thread::sleep(Duration::from_millis(700));
    Ok(child)
}

/// Both processes were refused TCP and UDP by this rule, and the stream said so.
fn told(watch: Child, checker: &Checker, pid: u32, id: u64) -> Result<(), String> {
    let output = watch.wait_with_output().map_err(|error| error.to_string())?;
    let ids: Vec<Value> = family(checker, pid)?.iter().map(|p| p["id"].clone()).collect();
    let lines: Vec<Value> =
        output.stdout.lines().map_while(Result::ok).filter_map(|l| serde_json::from_str(&l).ok()).collect();
    let refused = |process: &Value, protocol: &str| {
        lines.iter().any(|e| {
            let r = &e["refusal"];
            e["type"] == "refused"
                && r["rule"] == id
                && r["process"] == *process
                && r["protocol"] == protocol
                && r["attempts"].as_u64() > Some(0)
        })
    };
    for process in &ids {
        for protocol in ["tcp", "udp"] {
            if !refused(process, protocol) {
                return Err(format!("no refusal of {protocol} for process {process}"));
            }
        }
    }
    if lines.iter().any(|e| e["type"] == "rule_added") { Ok(()) } else { Err("the rule was not told".into()) }
}

pub(crate) fn ctl(checker: &Checker, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(&checker.ctl).args(arguments).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "sekhmetctl {}: {said}", arguments.join(" "));
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(serde_json::from_str(text.trim()).unwrap_or(Value::Null))
}
