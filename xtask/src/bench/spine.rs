//! The figures of the path from a kernel hook to a client's line, each beside its limit.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Figure, Limit};
use crate::with_helper::{self, Options};
use crate::{build, paths, shell};

/// Odd, so that a median is a measured value; on and off alternate, so that a warming machine favours neither.
const ROUNDS: usize = 5;

/// Where iperf3 listens; a free port is no concern, the server says when it cannot.
const IPERF_PORT: &str = "52017";

/// Measures everything.
pub(super) fn measure() -> Result<Vec<Figure>> {
    if !shell::can_become_root() {
        bail!("measuring the helper needs root");
    }
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet-testkit"], false)?;
    let mut figures = vec![object_size()?];
    figures.extend(start_to_ready()?);
    figures.extend(instructions()?);
    figures.extend(from_measure()?);
    figures.extend(costs()?);
    figures.push(throughput()?);
    Ok(figures)
}

fn object_size() -> Result<Figure> {
    let bytes = fs::metadata(paths::bpf_object()).context("the eBPF object is not built")?.len();
    Ok(Figure::new("eBPF object, KiB", bytes as f64 / 1024.0))
}

/// READY is said after everything is attached; with-helper tells how long that took.
fn start_to_ready() -> Result<Vec<Figure>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let argv = ["sh", "-c", "echo ready_ms=$SEKHMET_HELPER_READY_MS"].map(OsString::from);
        let text = beside_helper(argv.to_vec())?;
        let told =
            text.lines().find_map(|line| line.strip_prefix("ready_ms=")).context("no time to READY")?;
        times.push(told.trim().parse::<f64>()?);
    }
    Ok(vec![Figure::new("helper start to READY, ms (median)", median(times)).within(Limit::AtMost(300.0))])
}

/// One figure for each kernel program, where the client tells the verifier's count.
fn instructions() -> Result<Vec<Figure>> {
    let text = beside_helper(vec![release("sekhmetctl").into(), "coverage".into(), "--json".into()])?;
    let mut figures = Vec::new();
    for row in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let name = row["program"].as_str().or_else(|| row["name"].as_str());
        if let (Some(name), Some(count)) = (name, row["verified_instructions"].as_f64()) {
            figures.push(Figure::new(format!("{name}, verified instructions"), count));
        }
    }
    if figures.is_empty() {
        shell::say("verified instructions: not told by `sekhmetctl coverage --json`, left out");
    }
    Ok(figures)
}

fn from_measure() -> Result<Vec<Figure>> {
    let latency = measured(&["latency"], true)?;
    let idle = measured(&["idle"], true)?;
    let load = measured(&["load"], true)?;
    let number = |from: &Value, key: &str| from[key].as_f64().with_context(|| format!("no figure {key}"));
    Ok(vec![
        Figure::new("kernel event to watch line, ms (p50)", number(&latency, "p50_ms")?)
            .within(Limit::AtMost(200.0)),
        Figure::new("kernel event to watch line, ms (p99)", number(&latency, "p99_ms")?)
            .within(Limit::AtMost(350.0)),
        Figure::new("helper idle, % of a core", number(&idle, "cpu_percent_of_a_core")?)
            .within(Limit::AtMost(0.2)),
        Figure::new("helper idle, MB resident", number(&idle, "rss_mb")?).within(Limit::AtMost(40.0)),
        Figure::new("under load, connections/s", number(&load, "per_second")?).within(Limit::AtLeast(4900.0)),
        Figure::new("under load, helper % of a core", number(&load, "helper_cpu_percent_of_a_core")?)
            .within(Limit::AtMost(35.0)),
        Figure::new("under load, MB resident", number(&load, "helper_rss_mb")?),
        Figure::new("under load, unaccounted events", number(&load, "unaccounted")?)
            .within(Limit::AtMost(0.0)),
    ])
}

/// What a program pays, with the helper on against off.
fn costs() -> Result<Vec<Figure>> {
    let (mut connect, mut udp, mut extra) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (on, off) = (measured(&["costs"], true)?, measured(&["costs"], false)?);
        let pair =
            |key: &str| on[key].as_f64().zip(off[key].as_f64()).with_context(|| format!("no figure {key}"));
        let (on_ns, off_ns) = pair("connect_close_ns")?;
        connect.push(on_ns / off_ns);
        // A connection has two ends and both are on this machine.
        extra.push((on_ns - off_ns) / 2.0 / 1000.0);
        let (on_ns, off_ns) = pair("udp_ping_pong_ns")?;
        udp.push(off_ns / on_ns);
    }
    Ok(vec![
        Figure::new("connect and close on loopback, on/off", median(connect)).within(Limit::AtMost(1.10)),
        Figure::new("connect and close, µs more per end", median(extra)).within(Limit::AtMost(2.0)),
        Figure::new("UDP ping-pong rate, on/off", median(udp)).within(Limit::AtLeast(0.97)),
    ])
}

fn throughput() -> Result<Figure> {
    let _server = IperfServer::start()?;
    let client =
        ["iperf3", "-c", "127.0.0.1", "-p", IPERF_PORT, "-t", "3", "-J"].map(OsString::from).to_vec();
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let on = bits_per_second(&beside_helper(client.clone())?)?;
        let off = bits_per_second(&shell::output(Command::new(&client[0]).args(&client[1..]))?)?;
        ratios.push(on / off);
    }
    Ok(Figure::new("TCP throughput on loopback (iperf3), on/off", median(ratios))
        .within(Limit::AtLeast(0.97)))
}

/// The receiving end of iperf3, ended with the value.
struct IperfServer(Child);

impl IperfServer {
    fn start() -> Result<Self> {
        let mut child = Command::new("iperf3")
            .args(["-s", "-p", IPERF_PORT])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start iperf3")?;
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                bail!("iperf3 -s ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self(child))
    }
}

impl Drop for IperfServer {
    fn drop(&mut self) {
        let _it_may_be_gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn bits_per_second(json: &str) -> Result<f64> {
    let value: Value = serde_json::from_str(json).context("cannot read what iperf3 printed")?;
    value["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3 told no throughput")
}

fn measured(arguments: &[&str], is_on: bool) -> Result<Value> {
    let mut argv: Vec<OsString> = vec![release("measure").into()];
    argv.extend(arguments.iter().map(OsString::from));
    let text =
        if is_on { beside_helper(argv)? } else { shell::output(Command::new(&argv[0]).args(&argv[1..]))? };
    let line = text.lines().rfind(|line| line.starts_with('{')).context("measure printed no figures")?;
    serde_json::from_str(line).context("cannot read what measure printed")
}

fn beside_helper(argv: Vec<OsString>) -> Result<String> {
    shell::output(&mut with_helper::command(&Options::default(), argv)?)
}

fn release(program: &str) -> PathBuf {
    paths::target().join("release").join(program)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn reads_iperf3() {
        let json = "{\"end\":{\"sum_received\":{\"bits_per_second\":2.5e9}}}";
        assert_eq!(bits_per_second(json).unwrap(), 2.5e9);
        assert!(bits_per_second("{}").is_err());
    }
}
