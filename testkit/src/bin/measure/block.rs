//! How soon a blocked process falls silent, as a second host sees it.
//!
//! The process keeps many connections busy and opens new ones all the time. The second host is a network namespace
//! of this machine, so both read the same clock.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use sekhmet_common::bus::{OPTION_LIFETIME, OPTION_PROCESS};
use sekhmet_testkit::namespace::Peer;
use serde_json::{Value, json};
use zbus::Variant;

use crate::rules::Rules;

/// Between two sends over the same connection.
const PACE: Duration = Duration::from_millis(1);

/// Everything flows by then, and the helper has told of the process.
const FLOWING: Duration = Duration::from_millis(300);

/// Nanoseconds after which something has come over the kept connections, however busy the machine is.
const FLOWING_WITHIN: u64 = 10_000_000_000;

/// Whatever was to come has come by then, retransmissions included.
const SILENT: Duration = Duration::from_millis(500);

/// What begins a connection that is kept; a new one begins with the moment of its making instead.
const KEPT: u64 = 0;

/// Nanoseconds of the clock that all namespaces share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The second host: notes when the last byte of a kept connection came, and of each new one when it was made and
/// how much came. Tells and forgets both for each line of standard input.
pub(crate) fn sink(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    let last = Arc::<AtomicU64>::default();
    let new = Arc::<Mutex<Vec<(u64, u64)>>>::default();
    let (seen, made) = (Arc::clone(&last), Arc::clone(&new));
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            let (seen, made) = (Arc::clone(&seen), Arc::clone(&made));
            if thread::Builder::new().spawn(move || take(stream, &seen, &made)).is_err() {
                return;
            }
        }
    })?;
    for line in std::io::stdin().lines() {
        line?;
        let new = std::mem::take(&mut *new.lock().unwrap_or_else(PoisonError::into_inner));
        writeln!(std::io::stdout(), "{}", json!({ "last": last.load(Relaxed), "new": new }))?;
    }
    Ok(())
}

fn take(mut stream: TcpStream, last: &AtomicU64, made: &Mutex<Vec<(u64, u64)>>) {
    let mut head = [0; 8];
    // Without it nothing came: whoever sends writes all of it at once.
    if stream.read_exact(&mut head).is_err() {
        return;
    }
    let born = u64::from_le_bytes(head);
    if born != KEPT {
        let rest = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or_default();
        made.lock().unwrap_or_else(PoisonError::into_inner).push((born, 8 + rest));
        return;
    }
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer) {
        last.fetch_max(now(), Relaxed);
    }
}

/// The process that will be blocked. Ends with whoever started it.
pub(crate) fn sender(server: SocketAddr, count: usize) -> Result<()> {
    let mut kept = (0..count).map(|_| TcpStream::connect(server)).collect::<Result<Vec<_>, _>>()?;
    for stream in &mut kept {
        stream.set_nodelay(true)?;
        stream.write_all(&KEPT.to_le_bytes())?;
        stream.set_nonblocking(true)?;
    }
    thread::Builder::new().spawn(move || {
        loop {
            let born = now();
            if let Ok(mut new) = TcpStream::connect_timeout(&server, Duration::from_millis(100)) {
                let _refused = new.write_all(&born.to_le_bytes());
            }
            thread::sleep(PACE);
        }
    })?;
    writeln!(std::io::stdout(), "ready")?;
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        for stream in &mut kept {
            // Errors are what is wanted; the other side counts.
            let _refused = stream.write(&[1]);
        }
        thread::sleep(PACE);
    }
    Ok(())
}

/// A child with which one talks line by line; killed when dropped.
struct Talk {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talk {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "it ended: {:?}", self.child.try_wait()?);
        Ok(line)
    }

    fn ask(&mut self) -> Result<Value> {
        writeln!(self.input)?;
        Ok(serde_json::from_str(&self.hear()?)?)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What one round found.
#[derive(Debug)]
struct Round {
    /// From the call to the last byte of a kept connection, in milliseconds.
    stopped: f64,
    /// The same from the moment at which polkit had said yes.
    allowed: f64,
    /// From the call to its answer.
    answered: f64,
    /// New connections before the answer.
    before: usize,
    /// Bytes of connections that were made after the answer.
    late: u64,
}

/// Blocks a process with `sockets` connections so many times.
pub(crate) fn block(ctl: &Path, rules: &Rules, peer: &Peer, rounds: usize, sockets: usize) -> Result<Value> {
    let server = SocketAddr::new(peer.address(false)?, 8002);
    let this = std::env::current_exe()?;
    let mut sink = Talk::start(peer.command(&this).args(["sink", &server.to_string()]))?;
    // It listens when it answers.
    sink.ask()?;
    let mut found = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut command = Command::new(&this);
        let mut sender =
            Talk::start(command.args(["sender", &server.to_string(), "--count", &sockets.to_string()]))?;
        sender.hear()?;
        thread::sleep(FLOWING);
        found.push(round(ctl, rules, &mut sink, sender.child.id())?);
    }
    ensure!(found.iter().all(|round| round.before > 0), "there were no new connections to be refused");
    let sorted = |of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = found.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    // The smallest value that so large a share of all does not exceed.
    let at = |values: &[f64], share: f64| values[((values.len() as f64 * share).ceil() as usize).max(1) - 1];
    let [stopped, allowed, answered] = [sorted(|r| r.stopped), sorted(|r| r.allowed), sorted(|r| r.answered)];
    Ok(json!({
        "rounds": rounds, "sockets": sockets,
        "stopped_p50_ms": at(&stopped, 0.5), "stopped_p99_ms": at(&stopped, 0.99), "stopped_max_ms": at(&stopped, 1.0),
        "allowed_p50_ms": at(&allowed, 0.5), "allowed_p99_ms": at(&allowed, 0.99), "allowed_max_ms": at(&allowed, 1.0),
        "answered_p50_ms": at(&answered, 0.5), "answered_p99_ms": at(&answered, 0.99),
        "late_bytes": found.iter().map(|r| r.late).sum::<u64>(),
    }))
}

fn round(ctl: &Path, rules: &Rules, sink: &mut Talk, pid: u32) -> Result<Round> {
    let id = process(ctl, pid)?;
    // Silence must not be what was there before.
    let (began, mut new) = (now(), Vec::new());
    while hear(sink, &mut new)? < began || new.is_empty() {
        ensure!(now() - began < FLOWING_WITHIN, "nothing comes from the process that is to be blocked");
        thread::sleep(PACE);
    }
    let options =
        HashMap::from([(OPTION_PROCESS, Variant::from(id)), (OPTION_LIFETIME, Variant::from("until-exit"))]);
    let called = now();
    let rule = rules.add(&options)?;
    let answered = now();
    thread::sleep(SILENT);
    let last = hear(sink, &mut new)?;
    rules.remove(rule)?;
    let ms = |from: u64, until: u64| until.saturating_sub(from) as f64 / 1e6;
    let allowed = allowed_at()?;
    ensure!(called < allowed && allowed < answered, "the helper's log tells of another call");
    Ok(Round {
        stopped: ms(called, last),
        answered: ms(called, answered),
        allowed: ms(allowed, last),
        before: new.iter().filter(|(born, _)| *born <= answered).count(),
        late: new.iter().filter(|(born, _)| *born > answered).map(|(_, bytes)| bytes).sum(),
    })
}

/// When the last byte of a kept connection came; adds what came over new ones.
fn hear(sink: &mut Talk, new: &mut Vec<(u64, u64)>) -> Result<u64> {
    let told = sink.ask()?;
    new.extend(serde_json::from_value::<Vec<(u64, u64)>>(told["new"].clone())?);
    told["last"].as_u64().context("no moment")
}

/// When polkit last allowed a block, as the helper's log has it, on the clock of [`now`].
fn allowed_at() -> Result<u64> {
    const DAY: u64 = 86_400_000_000_000;
    let log =
        std::env::var("SEKHMET_HELPER_LOG").context("no log of the helper; see cargo xtask with-helper")?;
    let log = std::fs::read_to_string(log)?;
    let line = log.lines().rfind(|line| line.contains("authorisation") && line.contains("block-add"));
    let time = line.and_then(|line| line.split_once('T')?.1.split_once('Z')).context("no moment")?.0;
    let mut of_day = 0.0;
    for part in time.split(':') {
        of_day = of_day * 60.0 + part.parse::<f64>()?;
    }
    let real = clock_gettime(ClockId::Realtime);
    let real = real.tv_sec.unsigned_abs() * 1_000_000_000 + real.tv_nsec.unsigned_abs();
    let ago = (real % DAY + DAY - (of_day * 1e9) as u64) % DAY;
    Ok(now() - ago)
}

/// The helper's name for a process.
fn process(ctl: &Path, pid: u32) -> Result<u64> {
    let output = Command::new(ctl).args(["ps", "--json"]).output().context("sekhmetctl ps")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let row = rows.into_iter().find(|row| row["pid"] == pid && row["exited_at"].is_null());
    row.and_then(|row| row["id"].as_u64()).with_context(|| format!("process {pid} is not listed"))
}
