//! What many rules cost those whom they do not concern, and what they change in nftables.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, chown},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sekhmet_common::bus::{OPTION_LIFETIME, OPTION_PROGRAM, PATH, RULES, SERVICE, error};
use sekhmet_testkit::namespace::Peer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use zbus::{Connection, OwnedVariant, Proxy, Variant};

use crate::costs;

/// Where iperf3 listens in the second host.
const PORT: &str = "5201";

/// Connections in one part of a phase.
const CONNECTIONS: u32 = 2_000;

/// A helper that is killed is started again, and has its rules in force, in a second or two.
const RESTART_WITHIN: Duration = Duration::from_secs(20);

/// Parts of a phase; the middle one counts.
const PARTS: usize = 5;

/// The helper's interface for rules, called by root, whom polkit allows everything without a question.
pub(crate) struct Rules {
    runtime: Runtime,
    proxy: Proxy<'static>,
}

impl Rules {
    pub(crate) fn open() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let proxy = runtime.block_on(async {
            let bus = Connection::system().await.context("the system bus")?;
            anyhow::Ok(Proxy::new_owned(bus, SERVICE, PATH, RULES).await?)
        })?;
        Ok(Self { runtime, proxy })
    }

    pub(crate) fn add(&self, options: &HashMap<&str, Variant<'_>>) -> Result<u64> {
        Ok(self.runtime.block_on(self.proxy.call("Add", options))?)
    }

    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        Ok(self.runtime.block_on(self.proxy.call("Remove", &id))?)
    }

    fn count(&self) -> Result<usize> {
        let rows: Vec<HashMap<String, OwnedVariant>> = self.runtime.block_on(self.proxy.call("List", &()))?;
        Ok(rows.len())
    }

    fn release(&self) -> Result<u64> {
        Ok(self.runtime.block_on(self.proxy.call("Release", &()))?)
    }

    /// A rule about a program of one's own making.
    fn about(&self, file: &Path) -> Result<u64> {
        fs::write(file, b"#!/bin/sh\n")?;
        let options = HashMap::from([
            (OPTION_PROGRAM, Variant::from(file.as_os_str().as_bytes().to_vec())),
            (OPTION_LIFETIME, Variant::from("until-restart")),
        ]);
        loop {
            match self.add(&options) {
                // The helper takes some tens of calls a second from one user.
                Err(refused) if is_full(&refused) => thread::sleep(Duration::from_millis(60)),
                added => return added,
            }
        }
    }

    /// A rule for each of so many programs. Gives how often the helper's table was changed
    /// for those after the first, with which it comes.
    fn fill(&self, folder: &Path, count: usize) -> Result<usize> {
        self.about(&folder.join("program"))?;
        let monitor = Monitor::start()?;
        for n in 1..count {
            self.about(&folder.join(format!("program-{n}")))?;
        }
        monitor.end()
    }
}

fn is_full(refused: &anyhow::Error) -> bool {
    matches!(refused.downcast_ref(),
        Some(zbus::Error::MethodError(name, _, _)) if name.as_str() == error::LIMITS_EXCEEDED)
}

/// Rules that the helper has on its disk, to have them in force again at once: one by one they come at the pace that
/// it allows to a caller, which is a minute for a thousand.
struct Saved {
    file: PathBuf,
    text: Vec<u8>,
    owner: (u32, u32),
}

impl Saved {
    fn now() -> Result<Self> {
        let folder =
            std::env::var_os("SEKHMET_HELPER_STATE").context("run this with `cargo xtask with-helper`")?;
        let file = PathBuf::from(folder).join("rules.toml");
        let owner = fs::metadata(&file).context("the file of rules")?;
        Ok(Self { text: fs::read(&file)?, owner: (owner.uid(), owner.gid()), file })
    }

    /// Has them in force with a new helper.
    fn put_back(&self, rules: &Rules, count: usize) -> Result<()> {
        fs::write(&self.file, &self.text)?;
        chown(&self.file, Some(self.owner.0), Some(self.owner.1))?;
        let pid_file = std::env::var_os("SEKHMET_HELPER_PID_FILE").context("no helper to be restarted")?;
        let pid = fs::read_to_string(pid_file)?.trim().parse().ok().and_then(Pid::from_raw);
        kill_process(pid.context("the helper's number")?, Signal::KILL)?;
        let end = Instant::now() + RESTART_WITHIN;
        while rules.count().ok() != Some(count) {
            ensure!(Instant::now() < end, "the rules are not in force again: {:?}", rules.count());
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// Phases without and with so many rules in pairs. The order within a pair changes from one to the next.
pub(crate) fn thousand(rules: &Rules, peer: &Peer, pairs: usize, count: usize) -> Result<Value> {
    let _server = Iperf::start(peer)?;
    let server = peer.address(false)?.to_string();
    let folder = tempfile::tempdir()?;
    let (mut told, mut changes, mut saved) = (Vec::new(), 0, None);
    // The first one finds everything cold.
    phase(&server)?;
    for pair in 0..pairs {
        if pair % 2 == 0 {
            let off = phase(&server)?;
            match &saved {
                None => {
                    changes = rules.fill(folder.path(), count)?;
                    saved = Some(Saved::now()?);
                }
                Some(saved) => saved.put_back(rules, count)?,
            }
            told.push((phase(&server)?, off));
        } else {
            let on = phase(&server)?;
            rules.release()?;
            told.push((on, phase(&server)?));
        }
    }
    rules.release()?;
    let ratios = |of: fn(&(Phase, Phase)) -> f64| -> Vec<f64> { told.iter().map(of).collect() };
    Ok(json!({
        "pairs": pairs, "rules": count,
        "connect": median(ratios(|(on, off)| on.connect / off.connect)),
        "connect_each": ratios(|(on, off)| on.connect / off.connect),
        "throughput": median(ratios(|(on, off)| on.throughput / off.throughput)),
        "throughput_each": ratios(|(on, off)| on.throughput / off.throughput),
        "nft_changes": changes,
    }))
}

/// What somebody experiences who is not concerned.
struct Phase {
    /// Nanoseconds of processor time for a connection, made and closed.
    connect: f64,
    /// Bits per second to the second host.
    throughput: f64,
}

fn phase(server: &str) -> Result<Phase> {
    let (mut connect, mut throughput) = (Vec::new(), Vec::new());
    for _ in 0..PARTS {
        connect.push(costs::connections(CONNECTIONS)?);
        let mut iperf = Command::new("iperf3");
        let output = iperf.args(["-c", server, "-p", PORT, "-t", "1", "-J"]).output().context("iperf3")?;
        let told: Value = serde_json::from_slice(&output.stdout)?;
        let rate = told["end"]["sum_received"]["bits_per_second"].as_f64();
        throughput.push(rate.with_context(|| format!("iperf3 told no throughput: {}", told["error"]))?);
    }
    Ok(Phase { connect: median(connect), throughput: median(throughput) })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// iperf3's receiving end in the second host.
struct Iperf(Child);

impl Iperf {
    fn start(peer: &Peer) -> Result<Self> {
        let mut command = peer.command(Path::new("iperf3"));
        command.args(["-s", "-p", PORT]).stdin(Stdio::null()).stdout(Stdio::null());
        let this = Self(command.spawn().context("iperf3")?);
        thread::sleep(Duration::from_millis(500));
        Ok(this)
    }
}

impl Drop for Iperf {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Whoever changes nftables meanwhile is heard (nft(8), `monitor`).
struct Monitor(Child);

impl Monitor {
    fn start() -> Result<Self> {
        let mut command = Command::new("nft");
        let child = command.arg("monitor").stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let this = Self(child.context("nft monitor")?);
        thread::sleep(Duration::from_millis(300));
        Ok(this)
    }

    /// How many changes of the helper's table there were, one a line.
    fn end(mut self) -> Result<usize> {
        self.0.kill()?;
        let mut text = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut text)?;
        Ok(text.lines().filter(|line| line.contains("sekhmet")).count())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Milliseconds for the helper's whole table in one transaction, in the second host, where nothing else is: what
/// nft(8) takes for its text, less what it takes for no text. The middle of many rounds.
pub(crate) fn table(rules: &Rules, peer: &Peer, rounds: usize) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    // It is there while a rule is.
    let rule = rules.about(&folder.path().join("program"))?;
    let listing = Command::new("nft").args(["list", "table", "inet", "sekhmet"]).output().context("nft")?;
    ensure!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    rules.remove(rule)?;
    let [full, empty] = ["full", "empty"].map(|name| folder.path().join(name));
    // With an owner the table would be taken away again before nft ends, and the time for that be in the figure.
    let text = String::from_utf8_lossy(&listing.stdout).into_owned();
    fs::write(
        &full,
        text.lines().filter(|l| l.trim() != "flags owner").map(|l| format!("{l}\n")).collect::<String>(),
    )?;
    fs::write(&empty, b"")?;
    let mut costs = Vec::new();
    for _ in 0..rounds {
        let time = |file: &Path| -> Result<f64> {
            let begun = Instant::now();
            let mut command = peer.command(Path::new("nft"));
            let output = command.arg("-f").arg(file).output()?;
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
            Ok(took)
        };
        costs.push(time(&full)? - time(&empty)?);
        peer.command(Path::new("nft")).args(["flush", "ruleset"]).output()?;
    }
    Ok(json!(median(costs)))
}
