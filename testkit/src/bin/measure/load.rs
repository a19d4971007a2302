//! Many short connections, and whether each of them is told.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::helper::Helper;

/// Servers on as many loopback addresses, so that the client's ports do not run out.
const SERVERS: u8 = 16;

/// How long the balance may take to know of everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens and closes `rate` connections a second for `seconds`, looking at the helper meanwhile.
pub(crate) fn load(ctl: &Path, rate: u64, seconds: u64) -> Result<Value> {
    let helper = Helper::find()?;
    let taken = Arc::new(AtomicU64::new(0));
    let servers = listen(&taken)?;
    let cpu_before = helper.cpu_seconds()?;
    let start = Instant::now();
    let mut made = 0_u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        while made < due {
            let server = servers[(made % u64::from(SERVERS)) as usize];
            drop(TcpStream::connect(server).context("connect")?);
            made += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = start.elapsed().as_secs_f64();
    let percent = (helper.cpu_seconds()? - cpu_before) / took * 100.0;
    // A connection is told when it opens, is established and closes, and its server's side, unless the queue of
    // the listener was full, when it is established and closes.
    let accepted = taken.load(Ordering::Relaxed);
    let least = i64::try_from(3 * made + 2 * accepted)?;
    let deadline = Instant::now() + PATIENCE;
    // Unwatched, the helper draws its balance every few seconds; on a busy machine it may be behind.
    let (status, told) = loop {
        std::thread::sleep(Duration::from_secs(1));
        let status = ask(ctl)?;
        let told = number(&status, "made", "tcp_state");
        if told >= least || Instant::now() > deadline {
            break (status, told);
        }
    };
    let kinds = status["made"].as_object().context("made")?;
    let unaccounted: i64 = kinds
        .keys()
        .map(|k| {
            let parts = ["delivered", "lost", "filtered"].map(|part| number(&status, part, k));
            (number(&status, "made", k) - parts.iter().sum::<i64>()).abs()
        })
        .sum();
    let lost: i64 = kinds.keys().map(|k| number(&status, "lost", k)).sum();
    // Nobody can have told the end of these.
    let still_open = still_open(&servers)?;
    // What the kernel made and the helper's own balance does not know of; the generator does.
    let never_made = (least - still_open - told).max(0);
    Ok(json!({
        "connections": made, "accepted": accepted, "per_second": made as f64 / took,
        "helper_cpu_percent_of_a_core": percent, "helper_rss_mb": helper.rss_mb()?,
        "lost": lost, "unaccounted": unaccounted + never_made, "never_made": never_made,
        "still_open": still_open,
    }))
}

/// Ends of connections of these servers that the kernel has not closed yet (proc_net_tcp in the kernel's documentation).
fn still_open(servers: &[SocketAddr]) -> Result<i64> {
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    let text = std::fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
    let is_server = |end: &str| {
        let port = end.split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        servers.iter().any(|server| Some(server.port()) == port)
    };
    let is_open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(fields[..], [_, local, remote, state]
            if (is_server(local) || is_server(remote)) && state != LISTEN && state != TIME_WAIT)
    };
    Ok(i64::try_from(text.lines().filter(is_open).count())?)
}

/// What `sekhmetctl status` says.
pub(crate) fn ask(ctl: &Path) -> Result<Value> {
    let output = Command::new(ctl).args(["status", "--json"]).output().context("sekhmetctl status")?;
    ensure!(output.status.success(), "sekhmetctl status: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// One number of it.
pub(crate) fn number(status: &Value, part: &str, kind: &str) -> i64 {
    status[part][kind].as_i64().unwrap_or(0)
}

fn listen(taken: &Arc<AtomicU64>) -> Result<Vec<SocketAddr>> {
    (1..=SERVERS)
        .map(|n| {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, n), 0))?;
            let address = listener.local_addr()?;
            let taken = Arc::clone(taken);
            std::thread::Builder::new().name("server".into()).spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    // The client closes first: its end is what this read waits for.
                    if stream.read(&mut [0; 1]).is_ok() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })?;
            Ok(address)
        })
        .collect()
}
