//! What a long watchlist costs: memory, time to start, time until a change is in force.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};
use sekhmet_common::bus::{ENTRY_LABEL, ENTRY_PATTERN, PATH, SERVICE, WATCHLIST, error};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use zbus::{Connection, OwnedVariant, Proxy, Variant, fdo::DBusProxy};

use super::{Stream, watch};
use crate::helper::{self, Helper};

/// How long another helper may take to be there.
const RESTART_WITHIN: Duration = Duration::from_secs(30);

/// Between two opens after a change, and how many there are.
const PACE: (Duration, u32) = (Duration::from_millis(20), 100);

/// After a refusal because of too many calls.
const SLOWED: Duration = Duration::from_millis(200);

/// Memory settles after a start or a change.
const SETTLING: Duration = Duration::from_secs(3);

/// Starts the helper anew without and with so many entries besides its own, and compares.
pub(crate) fn entries(ctl: &Path, count: usize) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start_without = restart(&runtime)?;
    thread::sleep(SETTLING);
    let rss_without = Helper::find()?.rss_mb()?;
    let mut calls = runtime.block_on(add(count))?;
    calls.sort_by(f64::total_cmp);
    thread::sleep(SETTLING);
    let rss_added = Helper::find()?.rss_mb()?;
    let applied = applied(ctl)?;
    let start_with = restart(&runtime)?;
    thread::sleep(SETTLING);
    let rss_with = Helper::find()?.rss_mb()?;
    let applied_again = self::applied(ctl)?;
    let at = |share: f64| calls[((calls.len() - 1) as f64 * share).ceil() as usize];
    Ok(json!({
        "entries": count, "add_p50_ms": at(0.5), "add_max_ms": at(1.0),
        "start_without_ms": start_without, "start_with_ms": start_with, "start_more_ms": start_with - start_without,
        "rss_without_mb": rss_without, "rss_added_mb": rss_added, "rss_with_mb": rss_with,
        "rss_more_mb": (rss_with - rss_without).max(rss_added - rss_without),
        "applied_ms": applied.max(applied_again),
    }))
}

/// Adds entries of every form; gives the milliseconds that each took. Root is asked nothing.
async fn add(count: usize) -> Result<Vec<f64>> {
    let bus = Connection::system().await.context("the system bus")?;
    let list = Proxy::new(&bus, SERVICE, PATH, WATCHLIST).await?;
    let mut revision = revision(&list).await?;
    let mut took = Vec::with_capacity(count);
    for n in 0..count {
        let pattern = match n % 5 {
            0 => format!("/srv/bench-{n}"),
            1 => format!("~/.bench-{n}/id_*"),
            2 => format!("/home/*/.bench-{n}/**/logins.json"),
            3 => format!("**/.bench-{n}.env"),
            _ => format!("/var/lib/bench-{n}/**/[a-m]*.bench{n}"),
        };
        let entry = HashMap::from([
            (ENTRY_PATTERN, Variant::from(pattern.clone().into_bytes())),
            (ENTRY_LABEL, Variant::from("of the bench")),
            ("owner", Variant::from("system")),
        ]);
        let begun = loop {
            let begun = Instant::now();
            match list.call::<_, _, u32>("Add", &(revision, &entry)).await {
                Ok(_id) => break begun,
                Err(zbus::Error::MethodError(name, _, _)) if name.as_str() == error::CHANGED => {
                    revision = self::revision(&list).await?;
                }
                // Callers are slowed down; that is not what is measured.
                Err(zbus::Error::MethodError(name, _, _)) if name.as_str() == error::LIMITS_EXCEEDED => {
                    tokio::time::sleep(SLOWED).await;
                }
                Err(other) => return Err(other).with_context(|| pattern.clone()),
            }
        };
        // How far a revision grows is the helper's business; mostly it is this.
        revision += 1;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    ensure!(!took.is_empty(), "no entries were asked for");
    Ok(took)
}

async fn revision(list: &Proxy<'_>) -> Result<u64> {
    let (revision, _entries): (u64, Vec<HashMap<String, OwnedVariant>>) = list.call("Get", &()).await?;
    Ok(revision)
}

/// Milliseconds from an entry's addition to the first open that is told because of it. What is opened need not exist.
fn applied(ctl: &Path) -> Result<f64> {
    let folder = tempfile::Builder::new().prefix("sekhmet-bench-").tempdir()?;
    let mut stream = Stream::start(ctl)?;
    let begun = Instant::now();
    watch(ctl, folder.path())?;
    let mut opens = Vec::new();
    for n in 0..PACE.1 {
        let path = folder.path().join(n.to_string());
        opens.push((begun.elapsed().as_secs_f64() * 1000.0, path.clone()));
        ensure!(File::open(path).is_err(), "it is there");
        thread::sleep(PACE.0);
    }
    thread::sleep(Duration::from_secs(2));
    for (after, path) in opens {
        if stream.has(&path)? {
            return Ok(after);
        }
    }
    anyhow::bail!("no open was told")
}

/// Ends the helper, which `with-helper` starts again; gives the milliseconds from its start to its name on the bus.
fn restart(runtime: &Runtime) -> Result<f64> {
    let before = pid()?;
    kill_process(Pid::from_raw(before).context("its id")?, Signal::TERM)?;
    runtime.block_on(async {
        let bus = Connection::system().await.context("the system bus")?;
        let names = DBusProxy::new(&bus).await?;
        let deadline = Instant::now() + RESTART_WITHIN;
        while Instant::now() < deadline {
            if let Ok(now) = pid()
                && now != before
                && names.name_has_owner(SERVICE.try_into()?).await?
            {
                let time = clock_gettime(ClockId::Boottime);
                let up = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
                return Ok((up - helper::started(now)?) * 1000.0);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("the helper was not started again")
    })
}

fn pid() -> Result<i32> {
    let file =
        std::env::var_os("SEKHMET_HELPER_PID_FILE").context("run this with `cargo xtask with-helper`")?;
    Ok(std::fs::read_to_string(file)?.trim().parse()?)
}
