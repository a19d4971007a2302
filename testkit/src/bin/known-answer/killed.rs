//! A helper that is killed and started again: a client is back within two seconds, without being told.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use sekhmet_common::bus::SERVICE;
use serde_json::Value;

use crate::{checker::Checker, report::Report};

/// From the new helper's READY to a client's fresh snapshot.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// How long the supervisor may take to start another one.
const RESTART_WITHIN: Duration = Duration::from_secs(20);

/// Kills the helper that `with-helper` started, which starts another one.
pub(crate) fn killed(checker: &Checker, report: &mut Report) -> Result<()> {
    let mut watch = Command::new(&checker.ctl)
        .args(["watch", "--json", "--snapshot", "--for", "60s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("sekhmetctl watch")?;
    let lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
    let (tell, told) = mpsc::sync_channel(64);
    std::thread::Builder::new().name("lines".into()).spawn(move || {
        for line in lines.map_while(Result::ok) {
            let is_whole = serde_json::from_str::<Value>(&line).is_ok_and(|e| e["type"] == "snapshot_end");
            if is_whole && tell.send(Instant::now()).is_err() {
                return;
            }
        }
    })?;
    told.recv_timeout(Duration::from_secs(10)).context("no first snapshot")?;
    let before = helper_pid()?;
    let pid = Pid::from_raw(before).context("the helper's pid")?;
    kill_process(pid, Signal::KILL).context("killing the helper")?;
    let ready = wait_for_another(before)?;
    report.check("a fresh snapshot within 2 s of the new helper", back(&told, ready));
    report.check("one-shot commands work again", checker.list("ps").map(|_| ()));
    watch.kill()?;
    watch.wait()?;
    Ok(())
}

fn back(told: &mpsc::Receiver<Instant>, ready: Instant) -> Result<(), String> {
    let at = told
        .recv_timeout(BACK_WITHIN + RESTART_WITHIN)
        .map_err(|error| format!("no second snapshot: {error}"))?;
    let took = at.saturating_duration_since(ready);
    if took <= BACK_WITHIN { Ok(()) } else { Err(format!("took {took:?}")) }
}

pub(crate) fn helper_pid() -> Result<i32> {
    let file =
        std::env::var_os("SEKHMET_HELPER_PID_FILE").context("run this with `cargo xtask with-helper`")?;
    Ok(std::fs::read_to_string(file)?.trim().parse()?)
}

/// When another helper owns the name on the bus.
pub(crate) fn wait_for_another(before: i32) -> Result<Instant> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bus = zbus::Connection::system().await.context("the system bus")?;
        let names = zbus::fdo::DBusProxy::new(&bus).await?;
        let deadline = Instant::now() + RESTART_WITHIN;
        while Instant::now() < deadline {
            let is_another = helper_pid().is_ok_and(|pid| pid != before);
            if is_another && names.name_has_owner(SERVICE.try_into()?).await? {
                return Ok(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the helper was not started again")
    })
}
