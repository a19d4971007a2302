//! Compares what `sekhmetctl` shows with traffic whose amounts, processes and ends are known.
//!
//! Runs beside a helper (`cargo xtask with-helper -- known-answer all`), prints TAP, ends with 1 on a difference.

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use sekhmet_testkit::{
    namespace::Peer,
    traffic::{self, Ending, Plan, Transport, Truth},
};
use serde_json::Value;

/// How long shown values may take to become true: a poll each second, a tick, and a busy machine.
const SETTLE: Duration = Duration::from_secs(8);

#[derive(Parser)]
struct Arguments {
    /// Where `sekhmetctl` is; beside this program by default.
    #[arg(long, global = true)]
    ctl: Option<PathBuf>,
    /// Bytes that a TCP counter may differ by.
    #[arg(long, global = true, default_value_t = 2)]
    tcp_slack: u64,
    #[command(subcommand)]
    case: Case,
}

#[derive(Subcommand)]
enum Case {
    /// Flows over TCP and UDP, IPv4 and IPv6, loopback and a second host, and how they end.
    Flows {
        /// How many rounds with new random sizes.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Many processes that live a few milliseconds.
    ShortLived {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// Opens a connection, writes the truth to FILE and holds it until standard input ends.
    Hold {
        /// Where to write the truth as JSON lines.
        file: PathBuf,
    },
    /// A process and a connection that `hold` opened before the helper started.
    PreExisting {
        /// What `hold` wrote.
        file: PathBuf,
    },
    /// (internal) the server side of a plan
    #[command(hide = true)]
    Serve { plan: String, listen: SocketAddr },
    /// (internal) the client side of a plan
    #[command(hide = true)]
    Connect { plan: String, server: SocketAddr },
    /// (internal) connects, sends, ends
    #[command(hide = true)]
    Blip { server: SocketAddr, bytes: usize, token: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("known-answer: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    match &arguments.case {
        Case::Serve { plan, listen } => {
            traffic::serve(&serde_json::from_str(plan)?, *listen)?;
            Ok(true)
        }
        Case::Connect { plan, server } => {
            traffic::connect(&serde_json::from_str(plan)?, *server)?;
            Ok(true)
        }
        Case::Blip { server, bytes, .. } => {
            let mut stream = std::net::TcpStream::connect(server)?;
            stream.write_all(&vec![0x62; *bytes])?;
            Ok(true)
        }
        Case::Hold { file } => hold(file).map(|()| true),
        case => {
            let mut report = Report::default();
            let checker = Checker { ctl: ctl_path(arguments)?, tcp_slack: arguments.tcp_slack };
            match case {
                Case::Flows { rounds } => flows(&checker, *rounds, &mut report)?,
                Case::ShortLived { count } => short_lived(&checker, *count, &mut report)?,
                Case::PreExisting { file } => pre_existing(&checker, file, &mut report)?,
                _ => {}
            }
            report.close()
        }
    }
}

fn ctl_path(arguments: &Arguments) -> Result<PathBuf> {
    match &arguments.ctl {
        Some(path) => Ok(path.clone()),
        None => Ok(std::env::current_exe()?.with_file_name("sekhmetctl")),
    }
}

/// TAP lines and their sum.
#[derive(Default)]
struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    fn check(&mut self, name: &str, result: Result<(), String>) {
        let number = self.passed + self.failed + 1;
        let mut out = std::io::stdout().lock();
        let written = match result {
            Ok(()) => {
                self.passed += 1;
                writeln!(out, "ok {number} - {name}")
            }
            Err(why) => {
                self.failed += 1;
                writeln!(out, "not ok {number} - {name}\n  # {}", why.replace('\n', "\n  # "))
            }
        };
        if let Err(error) = written {
            eprintln!("known-answer: standard output: {error}");
        }
    }

    fn close(&self) -> Result<bool> {
        writeln!(std::io::stdout(), "1..{}", self.passed + self.failed)?;
        writeln!(std::io::stdout(), "{} passed, {} failed", self.passed, self.failed)?;
        Ok(self.failed == 0)
    }
}

/// One process of a pair, held by its standard input.
struct Half {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Half {
    fn start(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a peer")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "a peer ended without a word");
        Ok(line.trim().to_owned())
    }

    fn truth(&mut self) -> Result<Truth> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Lets the process end and waits for it.
    fn release(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "a peer failed: {status}");
        Ok(())
    }
}

/// A server and its client, both having done their part.
struct Pair {
    server: Half,
    client: Half,
    truths: [Truth; 2],
}

impl Pair {
    fn run(plan: &Plan, listen: SocketAddr, there: Option<&Peer>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let text = serde_json::to_string(plan)?;
        let mut serve = match there {
            Some(peer) => peer.command(&program),
            None => Command::new(&program),
        };
        serve.args(["serve", &text, &listen.to_string()]);
        let mut server = Half::start(serve)?;
        let address = server.line()?;
        let mut connect = Command::new(&program);
        connect.args(["connect", &text, &address]);
        let mut client = Half::start(connect)?;
        let truths = [client.truth()?, server.truth()?];
        Ok(Self { server, client, truths })
    }

    fn release(self) -> Result<()> {
        let Self { mut server, client, truths } = self;
        if truths[0].ending == Ending::Close {
            // This server waits for the client's end. Without that the client must go first, so that its
            // reset does not meet a connection that the server has closed already.
            drop(server.input.take());
        }
        client.release()?;
        drop(server.input.take());
        let status = server.child.wait()?;
        ensure!(status.success(), "the server failed: {status}");
        Ok(())
    }
}

/// Pseudo-random numbers, seeded by the clock; the seed is printed so that a run can be told apart.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        Self(now | 1)
    }

    /// xorshift64* (Vigna 2014): plenty for sizes.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    fn sizes(&mut self, count: usize, largest: usize) -> Vec<usize> {
        (0..count).map(|_| 1 + self.below(largest)).collect()
    }
}

fn flows(checker: &Checker, rounds: u32, report: &mut Report) -> Result<()> {
    let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
    let mut dice = Dice::new();
    writeln!(std::io::stdout(), "# seed {:#x}", dice.0)?;
    for round in 0..rounds {
        for v6 in [false, true] {
            for far in [false, true] {
                for (transport, ending) in [
                    (Transport::Tcp, Ending::Hold),
                    (Transport::Tcp, Ending::Close),
                    (Transport::Tcp, Ending::Reset),
                    (Transport::Udp, Ending::Close),
                    (Transport::Udp, Ending::Hold),
                ] {
                    one_pair(checker, &peer, &mut dice, (round, v6, far, transport, ending), report)?;
                }
            }
        }
        refused(checker, &mut dice, round, report)?;
    }
    Ok(())
}

fn one_pair(
    checker: &Checker,
    peer: &Peer,
    dice: &mut Dice,
    (round, v6, far, transport, ending): (u32, bool, bool, Transport, Ending),
    report: &mut Report,
) -> Result<()> {
    let token = format!("ka-{:x}-{round}", dice.below(usize::MAX));
    let (up, down) = match transport {
        Transport::Tcp => {
            let (writes, answers) = (1 + dice.below(6), dice.below(6));
            (dice.sizes(writes, 400_000), dice.sizes(answers, 400_000))
        }
        Transport::Udp => {
            // Some datagrams are larger than the path's packets and travel in fragments.
            let datagrams = 1 + dice.below(40);
            (dice.sizes(datagrams, 8_000), dice.sizes(datagrams, 8_000))
        }
    };
    let plan = Plan { token, transport, up, down, ending };
    let address = match (far, v6) {
        (true, _) => peer.address(v6)?,
        (false, true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (false, false) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let name = format!(
        "round {round}: {transport:?} over IPv{} {}, {ending:?}",
        if v6 { 6 } else { 4 },
        if far { "to another host" } else { "on loopback" }
    );
    let pair = Pair::run(&plan, SocketAddr::new(address, 0), far.then_some(peer))?;
    let truths = pair.truths.clone();
    if ending == Ending::Hold {
        report.check(&name, checker.eventually(&truths, "open", None));
        pair.release()?;
    } else {
        pair.release()?;
        let reason = if ending == Ending::Reset { "reset" } else { "closed" };
        report.check(&name, checker.eventually(&truths, "closed", Some(reason)));
    }
    Ok(())
}

/// A connection to a port where nobody listens is listed as refused, with no bytes.
fn refused(checker: &Checker, dice: &mut Dice, round: u32, report: &mut Report) -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let token = format!("ka-refused-{:x}", dice.below(usize::MAX));
    let status = Command::new(std::env::current_exe()?)
        .args(["blip", &free.to_string(), "1", &token])
        .stderr(Stdio::null())
        .status()?;
    ensure!(!status.success(), "somebody listens on {free}");
    let check = || {
        let found = checker.list("flows")?;
        let mine: Vec<&Value> = found.iter().filter(|f| has_argument(&f["process"], &token)).collect();
        match mine.as_slice() {
            [f] => {
                expect(f, "state", "closed")?;
                expect(f, "end_reason", "refused")?;
                (f["tx_bytes"] == 0 && f["rx_bytes"] == 0).then_some(()).ok_or_else(|| format!("bytes: {f}"))
            }
            other => Err(format!("{} flows, expected 1", other.len())),
        }
    };
    report.check(&format!("round {round}: refused connection"), until_ok(check));
    Ok(())
}

/// Reads what is shown and compares it.
struct Checker {
    ctl: PathBuf,
    tcp_slack: u64,
}

impl Checker {
    fn list(&self, what: &str) -> Result<Vec<Value>, String> {
        let output = Command::new(&self.ctl)
            .args([what, "--json"])
            .output()
            .map_err(|e| format!("sekhmetctl: {e}"))?;
        if !output.status.success() {
            return Err(format!("sekhmetctl {what}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).map_err(|e| format!("{e} in {line}")))
            .collect()
    }

    fn eventually(&self, truths: &[Truth], state: &str, reason: Option<&str>) -> Result<(), String> {
        until_ok(|| {
            let flows = self.list("flows")?;
            for truth in truths {
                self.compare(&flows, truth, state, reason)?;
            }
            Ok(())
        })
    }

    fn compare(&self, flows: &[Value], t: &Truth, state: &str, reason: Option<&str>) -> Result<(), String> {
        let protocol = if t.transport == Transport::Tcp { "tcp" } else { "udp" };
        let mine: Vec<&Value> = flows
            .iter()
            .filter(|f| {
                f["protocol"] == protocol
                    && f["process"]["pid"] == t.pid
                    && is_endpoint(&f["local"], t.local)
                    && is_endpoint(&f["remote"], t.remote)
            })
            .collect();
        let [flow] = mine.as_slice() else {
            let near: Vec<&Value> = flows
                .iter()
                .filter(|f| f["process"]["pid"] == t.pid || f["local"]["port"] == t.local.port())
                .collect();
            return Err(format!("{} flows for {t:?}; near: {near:?}", mine.len()));
        };
        let slack = if t.transport == Transport::Tcp { self.tcp_slack } else { 0 };
        for (field, want) in [("tx_bytes", t.tx_bytes), ("rx_bytes", t.rx_bytes)] {
            let shown = flow[field].as_u64().ok_or_else(|| format!("{field} is no number: {flow}"))?;
            if shown.abs_diff(want) > slack {
                return Err(format!("{field} {shown}, true is {want}: {flow}"));
            }
        }
        if !has_argument(&flow["process"], &t.token) {
            return Err(format!("another command line: {flow}"));
        }
        expect(flow, "direction", &t.direction)?;
        expect(flow, "state", state)?;
        reason.map_or(Ok(()), |r| expect(flow, "end_reason", r))
    }
}

fn until_ok(mut check: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match check() {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() > deadline => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(150)),
        }
    }
}

fn expect(flow: &Value, field: &str, want: &str) -> Result<(), String> {
    if flow[field] == want {
        Ok(())
    } else {
        Err(format!("{field} is {}, true is {want}: {flow}", flow[field]))
    }
}

fn is_endpoint(shown: &Value, want: SocketAddr) -> bool {
    shown["addr"].as_str().and_then(|a| a.parse::<IpAddr>().ok()) == Some(want.ip().to_canonical())
        && shown["port"] == want.port()
}

fn has_argument(process: &Value, token: &str) -> bool {
    process["cmdline"]
        .as_array()
        .is_some_and(|args| args.iter().filter_map(Value::as_str).any(|a| a.contains(token)))
}

fn short_lived(checker: &Checker, count: usize, report: &mut Report) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("sink".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // The client's own count is the truth; here the bytes only have to be taken in.
            if let Err(error) = std::io::copy(&mut { stream }, &mut std::io::sink()) {
                eprintln!("sink: {error}");
            }
        }
    })?;
    let mut dice = Dice::new();
    let tag = format!("blip-{:x}", dice.below(usize::MAX));
    let program = std::env::current_exe()?;
    let mut truth = Vec::with_capacity(count);
    let mut lifetimes = Vec::with_capacity(count);
    for n in 0..count {
        let (bytes, token) = (1 + dice.below(5_000), format!("{tag}-{n}."));
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(["blip", &address.to_string(), &bytes.to_string(), &token])
            .spawn()?;
        let pid = child.id();
        ensure!(child.wait()?.success(), "a client failed");
        lifetimes.push(started.elapsed());
        truth.push((pid, bytes as u64, token));
    }
    lifetimes.sort();
    writeln!(
        std::io::stdout(),
        "# spawn to exit: median {:?}, longest {:?}",
        lifetimes[count / 2],
        lifetimes[count - 1]
    )?;
    let check = || {
        let shown = checker.list("ps")?;
        let mut missing = Vec::new();
        for (pid, bytes, token) in &truth {
            let good = shown.iter().any(|p| {
                p["pid"] == *pid
                    && p["name"] == "known-answer"
                    && has_argument(p, token)
                    && p["tx_bytes"].as_u64().is_some_and(|tx| tx.abs_diff(*bytes) <= checker.tcp_slack)
                    && p["exited_at"].is_string()
            });
            if !good {
                let near = shown.iter().find(|p| p["pid"] == *pid);
                missing.push(format!("pid {pid}, {bytes} bytes, {token}: {near:?}"));
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of {count} wrong, first: {}", missing.len(), missing[0]))
        }
    };
    report.check(&format!("{count} short-lived clients have name, command line and bytes"), until_ok(check));
    Ok(())
}

fn hold_plan() -> Plan {
    let token = format!("ka-before-{}", std::process::id());
    Plan { token, transport: Transport::Tcp, up: vec![70_000], down: vec![1_234], ending: Ending::Hold }
}

fn hold(file: &Path) -> Result<()> {
    let pair = Pair::run(&hold_plan(), "127.0.0.1:0".parse()?, None)?;
    let lines: Vec<String> = pair.truths.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, lines.join("\n") + "\n")?;
    std::fs::rename(&fresh, file)?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    pair.release()
}

fn pre_existing(checker: &Checker, file: &Path, report: &mut Report) -> Result<()> {
    let text = std::fs::read_to_string(file).context("what `hold` wrote")?;
    for line in text.lines() {
        let truth: Truth = serde_json::from_str(line)?;
        let name = format!("{} end of a connection older than the helper", truth.direction);
        let check = || {
            let flows = checker.list("flows")?;
            let mine: Vec<&Value> = flows
                .iter()
                .filter(|f| is_endpoint(&f["local"], truth.local) && is_endpoint(&f["remote"], truth.remote))
                .collect();
            match mine.as_slice() {
                [f] if f["process"]["pid"] == truth.pid && has_argument(&f["process"], &truth.token) => {
                    expect(f, "state", "open")
                }
                other => Err(format!("expected one flow of {}: {other:?}", truth.pid)),
            }
        };
        report.check(&name, until_ok(check));
    }
    Ok(())
}
