//! Many opens, few of them of watched files: whether each of those is told, and what that costs the helper.

mod entries;
mod peer;
mod stream;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub(crate) use self::entries::entries;
use self::{peer::Peer, stream::Stream};
use crate::{costs, helper::Helper, load};

/// Files that nobody watches.
const PLAIN: usize = 64;

/// Watched files; each is opened several times a second, so that accesses are merged.
const WATCHED: usize = 25;

/// How long reports and the balance may take to know of everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is opened a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Files that nobody watches.
    pub(crate) plain: u64,
    /// Watched ones.
    pub(crate) watched: u64,
}

/// Opens files for so many seconds, looking at the helper, and at another program that reports opens.
pub(crate) fn load(ctl: &Path, rates: Rates, seconds: u64, peer: Option<&Path>) -> Result<Value> {
    let folder = tempfile::Builder::new().prefix("sekhmet-bench-").tempdir()?;
    let make = |name: &str, count: usize| -> Result<Vec<PathBuf>> {
        let folder = folder.path().join(name);
        fs::create_dir(&folder)?;
        let files: Vec<PathBuf> = (0..count).map(|n| folder.join(format!("{name}-{n}"))).collect();
        files.iter().try_for_each(|file| fs::write(file, b"x"))?;
        Ok(files)
    };
    let (plain, watched) = (make("plain", PLAIN)?, make("watched", WATCHED)?);
    // What made them is read by the helper by then, and is not taken for an open of a watched file.
    thread::sleep(Duration::from_millis(500));
    let helper = Helper::find()?;
    let place = folder.path().join("watched");
    let entry = watch(ctl, &place)?;
    let mut stream = Stream::start(ctl)?;
    let peer = peer.map(|program| Peer::start(program, folder.path())).transpose()?;
    let begun = Instant::now();
    let engine_ns = helper.thread_ns("engine")?;
    let (cpu, peer_cpu) = (helper.cpu_seconds()?, peer.as_ref().map_or(Ok(0.0), Peer::cpu_seconds)?);
    let (mut plain_opens, mut watched_opens) = (0_u64, 0_u64);
    let of = |files: &[PathBuf], n: u64| File::open(&files[n as usize % files.len()]).map(drop);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let passed = begun.elapsed().as_secs_f64();
        while plain_opens < (passed * rates.plain as f64) as u64 {
            of(&plain, plain_opens)?;
            plain_opens += 1;
        }
        while watched_opens < (passed * rates.watched as f64) as u64 {
            of(&watched, watched_opens)?;
            watched_opens += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed().as_secs_f64();
    let percent = |before: f64, now: f64| (now - before) / took * 100.0;
    let cpu = percent(cpu, helper.cpu_seconds()?);
    let peer_cpu =
        peer.as_ref().map(|peer| anyhow::Ok(percent(peer_cpu, peer.cpu_seconds()?))).transpose()?;
    let reported = stream.until(entry, watched_opens, PATIENCE)?;
    let peer = peer.map(|peer| peer.end(&place)).transpose()?;
    let balance = balance(ctl)?;
    let engine_ns = helper.thread_ns("engine")? - engine_ns;
    Ok(json!({
        "seconds": took, "plain_per_second": plain_opens as f64 / took,
        "watched_opens": watched_opens, "watched_reported": reported, "watched_missed": watched_opens.abs_diff(reported),
        // With all that the engine does besides, of which there is little.
        "engine_ns_per_watched": engine_ns / watched_opens as f64,
        "helper_cpu_percent_of_a_core": cpu, "helper_rss_mb": helper.rss_mb()?,
        "made": balance[0], "lost": balance[1], "unaccounted": balance[2],
        "peer_cpu_percent_of_a_core": peer_cpu,
        "peer_reported": peer.map(|told| told.opens), "peer_lost": peer.map(|told| told.lost),
        "peer_more": peer.map(|told| told.opens.saturating_sub(reported)),
    }))
}

/// One round of what programs pay: nanoseconds of processor time for an open and close of a file that nobody watches,
/// and for a system call that has nothing to do with files.
pub(crate) fn round(count: u32) -> Result<Value> {
    let folder = tempfile::Builder::new().prefix("sekhmet-bench-").tempdir()?;
    let path = folder.path().join("plain");
    fs::write(&path, b"x")?;
    costs::on_one_processor(|| {
        Ok(json!({
            "open_close_ns": costs::processor_time(count, || {
                drop(File::open(&path)?);
                Ok(())
            })?,
            "missing_ns": costs::processor_time(count, || {
                ensure!(File::open(folder.path().join("missing")).is_err(), "it is there");
                Ok(())
            })?,
            "getpid_ns": costs::processor_time(20 * count, || {
                std::hint::black_box(rustix::process::getpid());
                Ok(())
            })?,
        }))
    })
}

/// Has everything below a folder watched; gives the entry's number.
fn watch(ctl: &Path, folder: &Path) -> Result<u64> {
    let mut command = Command::new(ctl);
    let output =
        command.args(["watchlist", "add", "--json"]).arg(folder.join("**")).output().context("sekhmetctl")?;
    ensure!(output.status.success(), "watchlist add: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout)?["id"].as_u64().context("no number")
}

/// Records of file accesses that were made, that were lost, and that nobody accounts for.
fn balance(ctl: &Path) -> Result<[i64; 3]> {
    // Drawn once a second.
    thread::sleep(Duration::from_secs(2));
    let status = load::ask(ctl)?;
    let of = |part| load::number(&status, part, "file");
    let accounted = of("delivered") + of("lost") + of("filtered");
    Ok([of("made"), of("lost"), (of("made") - accounted).abs()])
}
