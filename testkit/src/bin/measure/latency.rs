//! From an event in the kernel to the line that tells it.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Opens `count` connections at uneven distances and waits for each to be told.
pub(crate) fn latency(ctl: &Path, count: usize) -> Result<Value> {
    let mut watch = Command::new(ctl)
        .args(["watch", "--json", "--for", "600s"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .context("sekhmetctl watch")?;
    let lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
    let (tell, told) = mpsc::sync_channel(1 << 16);
    std::thread::Builder::new().name("lines".into()).spawn(move || {
        for line in lines.map_while(Result::ok) {
            if tell.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    })?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    std::thread::sleep(Duration::from_secs(2));
    let mut opened = HashMap::new();
    for n in 0..count {
        let before = Instant::now();
        let stream = TcpStream::connect(server)?;
        opened.insert(stream.local_addr()?.port(), before);
        drop((listener.accept()?, stream));
        // Uneven, so that the moments do not fall into step with the helper's tick.
        std::thread::sleep(Duration::from_micros(17_000 + (n as u64 * 7919) % 23_000));
    }
    let mut found: Vec<f64> = Vec::with_capacity(count);
    let mut first = HashMap::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !opened.is_empty() {
        let Ok((at, line)) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            break;
        };
        let event: Value = serde_json::from_str(&line)?;
        let is_opening = event["type"] == "flow_opened";
        // A connection gets its local port after its first event; that one says only the remote side.
        let (id, flow) =
            if is_opening { (&event["flow"]["id"], &event["flow"]) } else { (&event["id"], &event) };
        if flow["remote"]["port"] != server.port() {
            continue;
        }
        if is_opening {
            first.insert(id.to_string(), at);
        }
        let port = flow["local"]["port"].as_u64().and_then(|p| u16::try_from(p).ok());
        if let (Some(before), Some(at)) = (port.and_then(|p| opened.remove(&p)), first.get(&id.to_string())) {
            found.push(at.duration_since(before).as_secs_f64() * 1000.0);
        }
    }
    watch.kill()?;
    watch.wait()?;
    ensure!(opened.is_empty(), "{} of {count} connections were never told", opened.len());
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found[((found.len() - 1) as f64 * share) as usize];
    Ok(json!({ "count": count, "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) }))
}
