//! What programs pay for the helper: rounds with and without it in pairs, and the medians of their ratios.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Figure, Limit, median};
use crate::with_helper::{self, Options};
use crate::{paths, shell};

/// Pairs of rounds. The order within a pair changes from one to the next, so that a machine that grows warm or busy
/// favours neither side.
const PAIRS: usize = 15;

/// Where iperf3 listens; a free port is no concern, the server says when it cannot.
const IPERF_PORT: &str = "52017";

/// The helper has seeded and identified what it found by then.
const SETTLING: Duration = Duration::from_millis(800);

/// Measures every figure of this part. The programs are built.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let _server = IperfServer::start()?;
    let mut generator = Generator::start("costs")?;
    figures(&paired(PAIRS, || {
        let mut told = generator.round()?;
        told["iperf"] = iperf()?.into();
        Ok(told)
    })?)
}

/// One round's values by name, the larger the slower but for `iperf`.
pub(super) type Round = Value;

/// So many pairs of rounds, the first of each beside a helper that was started for it.
pub(super) fn paired(count: usize, mut round: impl FnMut() -> Result<Round>) -> Result<Vec<(Round, Round)>> {
    warn_of_others()?;
    // The first round finds everything cold.
    round()?;
    let mut pairs = Vec::new();
    for pair in 0..count {
        let (on, off);
        if pair % 2 == 0 {
            on = with_helper(&mut round)?;
            off = round()?;
        } else {
            off = round()?;
            on = with_helper(&mut round)?;
        }
        pairs.push((on, off));
    }
    Ok(pairs)
}

/// The middle of what both rounds of each pair say together.
pub(super) fn over(pairs: &[(Round, Round)], key: &str, of: fn(f64, f64) -> f64) -> Result<f64> {
    let values = pairs.iter().map(|(on, off)| Some(of(on[key].as_f64()?, off[key].as_f64()?)));
    Ok(median(values.collect::<Option<Vec<f64>>>().with_context(|| format!("no figure {key}"))?))
}

fn figures(pairs: &[(Round, Round)]) -> Result<Vec<Figure>> {
    let over = |key: &str, of| over(pairs, key, of);
    let slower = |on: f64, off: f64| on / off;
    let rate = |on: f64, off: f64| off / on;
    let more = |on: f64, off: f64| on - off;
    // A connection has two ends, and a question and its answer are two datagrams with two ends each.
    Ok(vec![
        Figure::new("connect and close on loopback, on/off", over("connect_close_ns", slower)?)
            .within(Limit::AtMost(1.10)),
        Figure::new("connect and close, µs more per end", over("connect_close_ns", more)? / 2.0 / 1000.0)
            .within(Limit::AtMost(2.0)),
        Figure::new("UDP ping-pong rate, two processors, on/off", over("udp_ping_pong_ns", rate)?)
            .within(Limit::AtLeast(0.97)),
        Figure::new("UDP ping-pong rate, one processor, on/off", over("udp_ping_pong_near_ns", rate)?),
        Figure::new("UDP, processor time without waiting, on/off", over("udp_ns", slower)?),
        Figure::new("UDP, ns more per datagram and end", over("udp_ns", more)? / 4.0),
        Figure::new("TCP throughput on loopback (iperf3), on/off", over("iperf", slower)?)
            .within(Limit::AtLeast(0.97)),
    ])
}

/// One round beside a helper that was started for it.
fn with_helper(round: &mut impl FnMut() -> Result<Round>) -> Result<Round> {
    let argv = ["sh", "-c", "echo ready; read _"].map(OsString::from);
    let mut command = with_helper::command(&Options::default(), argv)?;
    let mut stage = Talk::start(command.stderr(Stdio::null()))?;
    stage.hear().context("the helper does not start")?;
    std::thread::sleep(SETTLING);
    let told = round();
    // The end of its input ends the command, and with it the helper.
    stage.finish()?;
    told
}

/// Its hooks would be in every figure, on and off.
fn warn_of_others() -> Result<()> {
    for entry in std::fs::read_dir("/proc")? {
        // A process may end while the folder is read; then it is not the one.
        let comm = std::fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        if comm.trim() == "sekhmet-helper" {
            shell::say("another helper runs on this machine: what programs pay for it is in every figure");
            break;
        }
    }
    Ok(())
}

/// A program with which one talks line by line.
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Talk {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", shell::shown(command)))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input.as_mut().context("no input")?, "{line}").context("it does not listen")
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("it ended: {}", self.child.wait()?);
        }
        Ok(line)
    }

    fn finish(mut self) -> Result<()> {
        drop(self.input.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.input.take());
        let _it_may_be_gone = self.child.wait();
    }
}

/// `measure costs` and the like: the same process for all rounds.
pub(super) struct Generator(Talk);

impl Generator {
    pub(super) fn start(what: &str) -> Result<Self> {
        let program = paths::target().join("release/measure");
        Ok(Self(Talk::start(Command::new(program).arg(what))?))
    }

    pub(super) fn round(&mut self) -> Result<Value> {
        self.0.say("round")?;
        serde_json::from_str(&self.0.hear()?).context("cannot read what measure printed")
    }
}

/// Bits per second through a connection whose ends have a processor each.
fn iperf() -> Result<f64> {
    let arguments = ["-c", "127.0.0.1", "-p", IPERF_PORT, "-t", "1", "-A", "0,1", "-J"];
    bits_per_second(&shell::output(Command::new("iperf3").args(arguments))?)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_iperf3() {
        let json = "{\"end\":{\"sum_received\":{\"bits_per_second\":2.5e9}}}";
        assert_eq!(bits_per_second(json).unwrap(), 2.5e9);
        assert!(bits_per_second("{}").is_err());
    }

    #[test]
    fn figures_are_medians_of_paired_ratios() {
        let round = |ns: f64, iperf: f64| {
            json!({ "connect_close_ns": ns, "udp_ns": ns, "udp_ping_pong_ns": ns,
                    "udp_ping_pong_near_ns": ns, "iperf": iperf })
        };
        // The third pair was disturbed, both rounds of the second ran on a slower machine.
        let pairs = [
            (round(10_400.0, 9.9), round(10_000.0, 10.0)),
            (round(20_800.0, 4.95), round(20_000.0, 5.0)),
            (round(50_000.0, 9.9), round(10_000.0, 10.0)),
        ];
        let figures = figures(&pairs).unwrap();
        let of = |name: &str| figures.iter().find(|f| f.name.starts_with(name)).unwrap().value;
        assert!((of("connect and close on loopback") - 1.04).abs() < 1e-9);
        assert!((of("connect and close, µs") - 0.4).abs() < 1e-9);
        assert!((of("UDP ping-pong rate, two") - 1.0 / 1.04).abs() < 1e-9);
        assert!((of("TCP throughput") - 0.99).abs() < 1e-9);
        assert!(figures.iter().all(|figure| figure.value.is_finite()));
    }

    #[test]
    fn a_missing_figure_is_named() {
        let empty = json!({});
        let error = figures(&[(empty.clone(), empty)]).unwrap_err().to_string();
        assert_eq!(error, "no figure connect_close_ns");
    }
}
