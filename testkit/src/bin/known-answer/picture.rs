//! The window beside the terminal client: both name the same flows of a program that downloads from another host.

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sekhmet_testkit::namespace::Peer;
use serde_json::Value;

use crate::{checker::Checker, report::Report};

/// Bytes of one answer of the server: enough to be seen in a rate.
const BODY: usize = 200_000;

/// A web server on another host and a loop of `curl`. Ends when dropped.
pub(crate) struct Web {
    children: Vec<Child>,
    _peer: Peer,
    /// The server's address.
    pub(crate) server: SocketAddr,
}

impl Web {
    pub(crate) fn start() -> Result<Self> {
        let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
        let server = SocketAddr::new(peer.address(false)?, 8000);
        let program = std::env::current_exe()?;
        let mut command = peer.command(&program);
        let serving = command.args(["http", &server.to_string()]).stdin(Stdio::null()).spawn()?;
        let fetch = format!(
            "while :; do curl -s -o /dev/null --retry 5 --retry-connrefused http://{server}/; sleep 0.2; done"
        );
        let fetching = Command::new("sh").args(["-c", &fetch]).stdin(Stdio::null()).spawn()?;
        Ok(Self { children: vec![fetching, serving], _peer: peer, server })
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        for child in &mut self.children {
            if let Err(error) = child.kill().and_then(|()| child.wait().map(|_| ())) {
                eprintln!("known-answer: {error}");
            }
        }
    }
}

/// Answers every request with the same body, one connection each, until it is killed.
pub(crate) fn http(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n");
    for mut stream in listener.incoming().flatten() {
        let asked = stream.read(&mut [0; 4096]);
        let answered = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![0x77; BODY]));
        if let Err(error) = asked.map(|_| ()).and(answered) {
            eprintln!("http: {error}");
        }
    }
    Ok(())
}

/// Runs `command`, which draws the window into `picture`, and compares what the picture says with what
/// `sekhmetctl` says.
pub(crate) fn picture(
    checker: &Checker,
    picture: &Path,
    command: &[OsString],
    report: &mut Report,
) -> Result<()> {
    let web = Web::start()?;
    let (program, arguments) = command.split_first().context("what draws the window?")?;
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).status().context("the window")?;
    ensure!(status.success(), "the window: {status}");
    let mut dump = picture.as_os_str().to_owned();
    dump.push(".json");
    let shown: Value = serde_json::from_slice(&std::fs::read(&dump).context("the list beside the picture")?)?;
    let rows = shown["rows"].as_array().context("rows")?;
    let flows = checker.list("flows").map_err(anyhow::Error::msg)?;
    report.check("curl is shown with a moving rate", moving(rows));
    report.check("its host is shown", host(rows, web.server));
    report.check("the window and sekhmetctl name the same flows", same(rows, &flows, web.server));
    Ok(())
}

fn moving(rows: &[Value]) -> Result<(), String> {
    let moves = |r: &&Value| r["label"] == "curl" && r["rx_rate"].as_f64().is_some_and(|rate| rate > 0.0);
    rows.iter().find(moves).map(|_| ()).ok_or_else(|| format!("rows: {rows:?}"))
}

fn host(rows: &[Value], server: SocketAddr) -> Result<(), String> {
    let address = server.ip().to_string();
    let is_host =
        |r: &&Value| r["kind"] == "host" && r["label"].as_str().is_some_and(|l| l.contains(&address));
    rows.iter().find(is_host).map(|_| ()).ok_or_else(|| format!("no row for {address}: {rows:?}"))
}

fn same(rows: &[Value], flows: &[Value], server: SocketAddr) -> Result<(), String> {
    let ids: Vec<&Value> = rows.iter().map(|r| &r["flow_id"]).filter(|id| id.is_u64()).collect();
    let mut compared = 0;
    for row in rows.iter().filter(|r| r["flow_id"].is_u64()) {
        let flow = flows
            .iter()
            .find(|f| f["id"] == row["flow_id"])
            .ok_or_else(|| format!("sekhmetctl does not know {row}"))?;
        if flow["process"]["id"] != row["process_id"] {
            return Err(format!("another process: {row} and {flow}"));
        }
        compared += u32::from(flow["remote"]["addr"] == server.ip().to_string());
    }
    if compared > 0 { Ok(()) } else { Err(format!("no flow to the server among {ids:?}")) }
}
