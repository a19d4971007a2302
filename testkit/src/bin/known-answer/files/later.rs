//! Entries that come, go, and are switched while programs run: what changes, and how soon.

use std::{
    fs::File,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    place::{Place, unwatch},
    stream::Stream,
};
use crate::{checker::Checker, report::Report};

/// How soon a change, and the report of an open, have to come.
const SOON: Duration = Duration::from_secs(1);

/// Between two opens.
const PACE: Duration = Duration::from_millis(100);

/// For how long files are opened after a change.
const OPENING: Duration = Duration::from_millis(2000);

/// Whatever is told late is told by then.
const SETTLED: Duration = Duration::from_millis(1500);

/// An open, and when it was told.
struct Opened {
    /// After the change.
    after: Duration,
    /// After the open.
    told: Option<Duration>,
}

pub(super) fn later(checker: &Checker, report: &mut Report) -> Result<()> {
    let place = Place::create()?;
    let mut stream = Stream::start(checker)?;
    let silent = |opened: &[Opened], from: Duration| {
        let heard = opened.iter().find(|o| o.after > from && o.told.is_some());
        heard.map_or(Ok(()), |o| Err(format!("an open {:?} after the change was told", o.after)))
    };
    let before = opens(&place, &mut stream, "before")?;
    report.check("what nobody watches is not told", silent(&before, Duration::ZERO));

    let entry = place.watch(checker)?;
    let added = opens(&place, &mut stream, "added")?;
    report.check("an entry is in force within a second", all_from(&added, SOON));
    report.check("an open is told within a second", soon(&added));
    report.note(&first(&added));

    switch(checker, "disable", entry)?;
    let disabled = opens(&place, &mut stream, "disabled")?;
    report.check("switched off: silent within a second", silent(&disabled, SOON));
    switch(checker, "enable", entry)?;
    let enabled = opens(&place, &mut stream, "enabled")?;
    report.check("switched on: in force within a second", all_from(&enabled, SOON));

    unwatch(checker, entry)?;
    let removed = opens(&place, &mut stream, "removed")?;
    report.check("removed: silent within a second", silent(&removed, SOON));
    report.check("what happened stays listed", listed(checker, &place, added.len()));
    Ok(())
}

fn switch(checker: &Checker, how: &str, entry: u64) -> Result<()> {
    let output = Command::new(&checker.ctl).args(["watchlist", how, &entry.to_string()]).output()?;
    ensure!(output.status.success(), "watchlist {how}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Opens new names for a while, one after the other, and sees what is told of them. They need not be there.
fn opens(place: &Place, stream: &mut Stream, stage: &str) -> Result<Vec<Opened>> {
    let begun = Instant::now();
    let mut made = Vec::new();
    while begun.elapsed() < OPENING {
        let path = place.watched.join(format!("{stage}-{}", made.len()));
        let at = Instant::now();
        ensure!(File::open(&path).is_err(), "somebody made {}", path.display());
        made.push((at, path));
        thread::sleep(PACE);
    }
    thread::sleep(SETTLED);
    let told = stream.all();
    let is_of =
        |event: &Value, path: &str| event["type"] == "file_accessed" && event["access"]["path"] == path;
    let opened = made.iter().map(|(at, path)| {
        let path = path.to_string_lossy();
        let told =
            told.iter().find(|(_, event)| is_of(event, &path)).map(|(then, _)| then.duration_since(*at));
        Opened { after: at.duration_since(begun), told }
    });
    Ok(opened.collect())
}

fn all_from(opened: &[Opened], from: Duration) -> Result<(), String> {
    let missing = opened.iter().find(|o| o.after > from && o.told.is_none());
    missing.map_or(Ok(()), |o| Err(format!("an open {:?} after the change was not told", o.after)))
}

fn soon(opened: &[Opened]) -> Result<(), String> {
    let late = opened.iter().filter_map(|o| o.told).find(|told| *told > SOON);
    match late {
        Some(told) => Err(format!("told after {told:?}")),
        None if opened.iter().all(|o| o.told.is_none()) => Err("none was told".to_owned()),
        None => Ok(()),
    }
}

fn first(opened: &[Opened]) -> String {
    let first = opened.iter().find(|o| o.told.is_some()).map(|o| o.after);
    let slowest = opened.iter().filter_map(|o| o.told).max();
    format!("the first open that was told: {first:?} after the change; the slowest report took {slowest:?}")
}

fn listed(checker: &Checker, place: &Place, least: usize) -> Result<(), String> {
    let folder = place.watched.to_string_lossy().into_owned();
    let lines = checker.list("files")?;
    let count =
        lines.iter().filter(|l| l["path"].as_str().is_some_and(|path| path.starts_with(&folder))).count();
    (count >= least).then_some(()).ok_or_else(|| format!("{count} of at least {least}"))
}
