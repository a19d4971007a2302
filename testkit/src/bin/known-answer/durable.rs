//! Blocks outlive the helper: it is killed again and again, and nothing arrives from whom it had blocked.

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sekhmet_testkit::namespace::Peer;

use crate::{
    blocked::{Arrived, Sender, Sink, ctl, is_blocked, no_rules},
    checker::{Checker, until_ok},
    killed::{helper_pid, wait_for_another},
    report::Report,
};

/// Between two looks at what arrived, and between two attempts of each sender.
const PACE: Duration = Duration::from_millis(10);

/// From a helper that serves until it is killed: also in the midst of what it does at its start.
const LIVES: [Duration; 4] = [
    Duration::from_millis(0),
    Duration::from_millis(60),
    Duration::from_millis(300),
    Duration::from_millis(900),
];

/// Every so many kills the next helper is killed too before it serves, so long after its start.
const IN_THE_MIDST: usize = 3;
const STARTING: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(750),
];

/// One sender with a child, one program that always runs, and one that is started while there is no helper.
pub(crate) fn durable(checker: &Checker, kills: usize, report: &mut Report) -> Result<()> {
    let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
    let server = SocketAddr::new(peer.address(false)?, 8003);
    let mut sink = Sink::start(&peer, server)?;
    let own = std::env::current_exe()?;
    sink.arrived()?;
    let family = Sender::start(&own, server, 1, PACE)?;
    let pid = family.id();
    report.check("before: everything arrives", sink.flows(true));
    let rule = ctl(checker, &["block", "--pid", &pid.to_string(), "--for", "until-exit", "--json"])?;
    let by_process = rule["id"].as_u64().context("the rule's number")?;

    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    std::fs::copy(&own, &program)?;
    let path = program.to_str().context("a path")?;
    let rule = ctl(checker, &["block", "--exe", path, "--for", "always", "--json"])?;
    let by_program = rule["id"].as_u64().context("the rule's number")?;
    // What was on its way at the moment of the answer arrives.
    thread::sleep(Duration::from_millis(50));

    let mut watched = Watched { last: sink.arrived()?, sink, through: Vec::new(), longest: Duration::ZERO };
    let mut orphans = Vec::new();
    let mut started = Vec::new();
    for kill in 0..kills {
        let life = LIVES[kill % LIVES.len()];
        let took = one_death(&mut watched, kill, life, |watched| {
            // While there is no helper: a program begins, and the parent of a bound process goes.
            started.push(Sender::start(&program, server, 0, PACE)?);
            if started.len() > 3 {
                started.remove(0);
            }
            if kill == 0 {
                orphans.push(Orphan::start(&program, &own, server)?);
            }
            watched.look(kill)
        })?;
        if kill % IN_THE_MIDST == 0 {
            in_the_midst(&mut watched, kill, STARTING[kill / IN_THE_MIDST % STARTING.len()])?;
        }
        writeln!(
            std::io::stdout(),
            "# kill {}: after {life:?}, another helper serves after {took:?}, {} bytes through",
            kill + 1,
            watched.of(kill)
        )?;
    }
    for _ in 0..100 {
        watched.look(kills)?;
    }
    report.check(&format!("{kills} times killed: not a byte arrives"), watched.verdict());
    writeln!(std::io::stdout(), "# longest time between two looks: {:?}", watched.longest)?;

    report.check("both rules are still there", until_ok(|| rules(checker, &[by_process, by_program])));
    report.check(
        "parent and child say which rule blocks them",
        until_ok(|| is_blocked(checker, pid, by_process)),
    );
    for sender in &started {
        let check = || listed(checker, sender.id(), by_program);
        report.check("a program started without a helper says so, too", until_ok(check));
    }
    for orphan in &orphans {
        let check = || listed(checker, orphan.pid, by_program);
        report.check("so does an orphan of such a program", until_ok(check));
    }
    ctl(checker, &["unblock", &by_program.to_string()])?;
    drop(orphans);
    drop(started);
    ctl(checker, &["unblock", &by_process.to_string()])?;
    report.check("unblocked: everything arrives again", watched.sink.flows(false));
    report.check("no rule is left", no_rules(checker));
    Ok(())
}

/// Kills the helper and looks all the time at what arrives until the next one serves.
fn one_death(
    watched: &mut Watched,
    kill: usize,
    life: Duration,
    meanwhile: impl FnOnce(&mut Watched) -> Result<()>,
) -> Result<Duration> {
    let end = Instant::now() + life;
    while Instant::now() < end {
        watched.look(kill)?;
    }
    let before = helper_pid()?;
    kill_process(Pid::from_raw(before).context("the helper's pid")?, Signal::KILL).context("kill")?;
    let killed = Instant::now();
    meanwhile(watched)?;
    let waiting = thread::Builder::new().spawn(move || wait_for_another(before))?;
    while !waiting.is_finished() {
        watched.look(kill)?;
    }
    let back = waiting.join().map_err(|_panic| anyhow::anyhow!("the waiting failed"))??;
    Ok(back.saturating_duration_since(killed))
}

/// Kills the helper, and the next one while it starts.
fn in_the_midst(watched: &mut Watched, kill: usize, starting: Duration) -> Result<()> {
    let first = helper_pid()?;
    kill_process(Pid::from_raw(first).context("the helper's pid")?, Signal::KILL).context("kill")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while helper_pid()? == first {
        ensure!(Instant::now() < deadline, "no other helper is started");
        watched.look(kill)?;
    }
    one_death(watched, kill, starting, |_| Ok(()))?;
    Ok(())
}

/// What arrives at the other host, looked at every 10 ms.
struct Watched {
    sink: Sink,
    last: Arrived,
    /// Bytes that arrived, by the kill around which they did.
    through: Vec<(usize, u64)>,
    longest: Duration,
}

impl Watched {
    fn look(&mut self, kill: usize) -> Result<()> {
        let began = Instant::now();
        thread::sleep(PACE);
        let now = self.sink.arrived()?;
        self.longest = self.longest.max(began.elapsed());
        if now != self.last {
            let bytes = (now.tcp + now.udp + now.connections)
                - (self.last.tcp + self.last.udp + self.last.connections);
            self.through.push((kill, bytes));
            self.last = now;
        }
        Ok(())
    }

    fn of(&self, kill: usize) -> u64 {
        self.through.iter().filter(|(at, _)| *at == kill).map(|(_, bytes)| bytes).sum()
    }

    fn verdict(&self) -> Result<(), String> {
        if self.through.is_empty() { Ok(()) } else { Err(format!("kill and bytes: {:?}", self.through)) }
    }
}

/// A sender of a program that no rule names, whose parent, of the blocked program, has ended.
struct Orphan {
    pid: u32,
}

impl Orphan {
    fn start(program: &Path, own: &Path, server: SocketAddr) -> Result<Self> {
        let mut command = Command::new(program);
        let output = command.args(["orphan", &server.to_string()]).arg(own).output().context("an orphan")?;
        let pid = String::from_utf8_lossy(&output.stdout).trim().parse().context("the orphan's pid")?;
        Ok(Self { pid })
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let killed =
            i32::try_from(self.pid).ok().and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
        if let Some(Err(error)) = killed {
            eprintln!("known-answer: {error}");
        }
    }
}

/// Starts a sender, says its number, and leaves it alone.
pub(crate) fn orphan(server: SocketAddr, program: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["stream", &server.to_string(), "0", "10", "--alone"]);
    // Whoever reads what this process says waits for the end of all that could say more.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn()?;
    writeln!(std::io::stdout(), "{}", child.id())?;
    Ok(())
}

fn rules(checker: &Checker, wanted: &[u64]) -> Result<(), String> {
    let output = Command::new(&checker.ctl).args(["rules", "list", "--json"]).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rules: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut ids: Vec<u64> = rules.iter().filter_map(|rule| rule["id"].as_u64()).collect();
    ids.sort_unstable();
    if ids == wanted { Ok(()) } else { Err(text.into_owned()) }
}

fn listed(checker: &Checker, pid: u32, rule: u64) -> Result<(), String> {
    let all = checker.list("ps")?;
    let process = all.iter().find(|p| p["pid"] == pid && p["exited_at"].is_null());
    let process = process.ok_or_else(|| format!("process {pid} is not listed"))?;
    let is_blocked = process["blocked_by"].as_array().is_some_and(|rules| rules.iter().any(|id| *id == rule));
    if is_blocked { Ok(()) } else { Err(format!("blocked_by of {process}")) }
}
