//! Reads what `sekhmetctl` shows and compares it with the truth.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use sekhmet_testkit::traffic::{Transport, Truth};
use serde_json::Value;

/// How long shown values may take to become true: a poll each second, a tick, and a busy machine.
const SETTLE: Duration = Duration::from_secs(8);

/// Reads what is shown and compares it.
pub(crate) struct Checker {
    pub(crate) ctl: PathBuf,
    pub(crate) tcp_slack: u64,
}

impl Checker {
    pub(crate) fn list(&self, what: &str) -> Result<Vec<Value>, String> {
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

    pub(crate) fn eventually(
        &self,
        truths: &[Truth],
        state: &str,
        reason: Option<&str>,
    ) -> Result<(), String> {
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
        if !t.direction.is_empty() {
            expect(flow, "direction", &t.direction)?;
        }
        expect(flow, "state", state)?;
        reason.map_or(Ok(()), |r| expect(flow, "end_reason", r))
    }
}

pub(crate) fn until_ok(mut check: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match check() {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() > deadline => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(150)),
        }
    }
}

pub(crate) fn expect(flow: &Value, field: &str, want: &str) -> Result<(), String> {
    if flow[field] == want {
        Ok(())
    } else {
        Err(format!("{field} is {}, true is {want}: {flow}", flow[field]))
    }
}

pub(crate) fn is_endpoint(shown: &Value, want: SocketAddr) -> bool {
    shown["addr"].as_str().and_then(|a| a.parse::<IpAddr>().ok()) == Some(want.ip().to_canonical())
        && shown["port"] == want.port()
}

pub(crate) fn has_argument(process: &Value, token: &str) -> bool {
    process["cmdline"]
        .as_array()
        .is_some_and(|args| args.iter().filter_map(Value::as_str).any(|a| a.contains(token)))
}
