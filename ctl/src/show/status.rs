//! `status` and `coverage`: what anybody may know, without authorisation.

use sekhmet_client::{
    Status,
    status::{KindLine, SourceLine},
};
use serde_json::{Map, Value, json};

use crate::{
    arguments::Common,
    output::{Cell, Output},
    session::Failure,
};

fn ask(common: &Common) -> Result<Status, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    Ok(runtime.block_on(sekhmet_client::status(common.bus_address.as_deref()))?)
}

/// `sekhmetctl status`.
pub(crate) fn status(common: &Common) -> Result<(), Failure> {
    let status = ask(common)?;
    let mut out = Output::new();
    if common.json {
        out.json(&object(&status))?;
    } else {
        out.line(&format!("helper    {} ({})", status.version, view(&status.mode)))?;
        out.line(&format!("watching  for {}", uptime(status.uptime_ms)))?;
        let seen = status.sources.iter().filter(|s| s.status != "missing").count();
        out.line(&format!("sources   {seen} of {} at work", status.sources.len()))?;
        out.line("")?;
        let number = |n: u64| Cell::Number(n.to_string());
        let row = |k: &KindLine| {
            vec![
                Cell::Text(k.kind.clone()),
                number(k.made),
                number(k.delivered),
                number(k.lost),
                number(k.filtered),
                number(k.in_flight),
            ]
        };
        let rows: Vec<Vec<Cell>> = status.kinds.iter().map(row).collect();
        out.table(&["RECORDS", "MADE", "DELIVERED", "LOST", "FILTERED", "IN FLIGHT"], &rows)?;
    }
    out.flush()
}

/// `sekhmetctl coverage`.
pub(crate) fn coverage(common: &Common) -> Result<(), Failure> {
    let status = ask(common)?;
    let mut out = Output::new();
    if common.json {
        for s in &status.sources {
            let (capability, line) = (&s.capability, source(s));
            out.json(&json!({"capability": capability, "source": line["source"], "status": line["status"],
                "cost": line["cost"], "reason": line["reason"]}))?;
        }
    } else {
        out.line(view(&status.mode))?;
        let row = |s: &SourceLine| {
            let cost = [s.cost.as_str(), s.reason.as_str()].into_iter().filter(|t| !t.is_empty());
            [&s.capability, &s.status, &s.source, &cost.collect::<Vec<_>>().join(": ")]
                .map(|text| Cell::Text(text.clone()))
                .into()
        };
        let rows: Vec<Vec<Cell>> = status.sources.iter().map(row).collect();
        out.table(&["CAPABILITY", "STATUS", "SOURCE", "COST"], &rows)?;
    }
    out.flush()
}

fn object(status: &Status) -> Value {
    let mut sources = Map::new();
    for s in &status.sources {
        // Two sources for one capability: the worse one decides what can be relied on.
        let known = sources.get(&s.capability).map_or(0, |known| badness(&known["status"]));
        let line = source(s);
        if badness(&line["status"]) > known {
            sources.insert(s.capability.clone(), line);
        }
    }
    let counts = |of: fn(&KindLine) -> u64| -> Map<String, Value> {
        status.kinds.iter().map(|k| (k.kind.clone(), of(k).into())).collect()
    };
    json!({
        "version": status.version,
        "mode": status.mode,
        "uptime_ms": status.uptime_ms,
        "sources": sources,
        "made": counts(|k| k.made),
        "delivered": counts(|k| k.delivered),
        "lost": counts(|k| k.lost),
        "filtered": counts(|k| k.filtered),
    })
}

fn source(s: &SourceLine) -> Value {
    json!({"source": s.source, "status": s.status, "cost": s.cost, "reason": s.reason})
}

fn badness(status: &Value) -> u8 {
    match status.as_str() {
        Some("best") => 1,
        Some("equal") => 2,
        Some("reduced") => 3,
        _ => 4,
    }
}

fn view(mode: &str) -> &'static str {
    match mode {
        "full" => "full view: the kernel tells every event",
        _ => "reduced view: what lives shorter than a poll may be missed",
    }
}

fn uptime(ms: u64) -> String {
    let s = ms / 1000;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (ms, text) in
            [(999, "0 s"), (61_000, "1 min 1 s"), (3_660_000, "1 h 1 min"), (90_000_000, "1 d 1 h")]
        {
            assert_eq!(uptime(ms), text);
        }
    }
}
