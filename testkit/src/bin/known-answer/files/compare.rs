//! Holds what is shown against what strace saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt,
};

use sekhmet_common::display::escape;
use serde_json::Value;

use super::{place::Place, strace::Call};
use crate::{
    checker::{Checker, until_ok},
    report::Report,
};

/// One access as it is shown: process, path, access, result.
type Key = (u64, String, String, String);

/// What is known of it: how often, under which paths it was asked for, by which program.
#[derive(Debug, Default)]
struct Known {
    count: u64,
    requested: BTreeSet<String>,
    name: String,
}

/// Other names of a watched file, in the folder that nobody watches: it is known by the time that they are opened.
const LINKS: [&str; 2] = ["hard", "hard-later"];

/// What a run of programs has to be shown as, and nothing else.
pub(super) fn compare(
    checker: &Checker,
    place: &Place,
    entry: u64,
    what: &str,
    truth: &[Call],
    report: &mut Report,
) {
    let folder = [place.watched.as_os_str().as_bytes(), b"/"].concat();
    let links = LINKS.map(|name| place.beside.join(name));
    let is_link = |path: &[u8]| links.iter().any(|link| link.as_os_str().as_bytes() == path);
    let is_watched = |call: &&Call| call.path.starts_with(&folder) || is_link(&call.path);
    let wanted = known(&truth.iter().filter(is_watched).collect::<Vec<_>>());
    let pids: BTreeSet<u64> = truth.iter().map(|call| call.pid.into()).collect();
    let result = until_ok(|| {
        let shown = checker.list("files")?;
        let shown: Vec<&Value> = shown
            .iter()
            .filter(|line| line["process"]["pid"].as_u64().is_some_and(|pid| pids.contains(&pid)))
            .collect();
        differences(&shown, entry, &wanted)
    });
    let total: u64 = wanted.values().map(|known| known.count).sum();
    report.check(&format!("{what}: {total} accesses of {} kinds, and nothing else", wanted.len()), result);
}

/// What is shown of these processes.
pub(super) fn of_processes(checker: &Checker, calls: &[Call]) -> Result<Vec<Value>, String> {
    let is_theirs = |line: &Value| calls.iter().any(|call| line["process"]["pid"] == call.pid);
    Ok(checker.list("files")?.into_iter().filter(is_theirs).collect())
}

fn known(calls: &[&Call]) -> BTreeMap<Key, Known> {
    let mut all = BTreeMap::<Key, Known>::new();
    for call in calls {
        let key = (call.pid.into(), escape(&call.path), call.access.into(), call.result.clone());
        let known = all.entry(key).or_default();
        known.count += 1;
        known.requested.insert(escape(&call.requested));
        known.name = escape(&call.name);
    }
    all
}

fn key(line: &Value) -> Key {
    let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    (line["process"]["pid"].as_u64().unwrap_or_default(), word("path"), word("access"), word("result"))
}

fn differences(shown: &[&Value], entry: u64, wanted: &BTreeMap<Key, Known>) -> Result<(), String> {
    let mut counts = BTreeMap::<Key, u64>::new();
    let mut wrong = Vec::new();
    for line in shown {
        let key = key(line);
        let Some(known) = wanted.get(&key) else {
            wrong.push(format!("did not happen: {line}"));
            continue;
        };
        *counts.entry(key).or_default() += line["count"].as_u64().unwrap_or_default();
        let requested = line["requested_path"].as_str();
        if requested.is_some_and(|path| !known.requested.contains(path)) {
            wrong.push(format!("asked for otherwise ({:?}): {line}", known.requested));
        }
        if line["process"]["name"] != known.name.as_str() {
            wrong.push(format!("another program ({}): {line}", known.name));
        }
        if line["entry"] != entry || line["severity"] != "high" || line["label"] != "of the test" {
            wrong.push(format!("another entry ({entry}): {line}"));
        }
    }
    for (key, known) in wanted {
        match counts.get(key) {
            Some(count) if *count == known.count => {}
            count => wrong.push(format!("{} times, shown {}: {key:?}", known.count, count.unwrap_or(&0))),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let total = wrong.len();
    wrong.truncate(12);
    Err(format!("{total} differences\n{}", wrong.join("\n")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(path: &str) -> Call {
        Call {
            pid: 7,
            name: b"cat".into(),
            path: path.into(),
            requested: b"a".into(),
            access: "read",
            result: "ok".into(),
        }
    }

    fn line(path: &str, count: u64) -> Value {
        json!({
            "process": { "pid": 7, "name": "cat" }, "path": path, "requested_path": "a", "entry": 3,
            "severity": "high", "label": "of the test", "access": "read", "result": "ok", "count": count,
        })
    }

    #[test]
    fn what_is_missing_double_or_invented_is_found() {
        let calls = [call("/w/a"), call("/w/a"), call("/w/b")];
        let truth = known(&calls.iter().collect::<Vec<_>>());
        let judge = |shown: &[Value]| differences(&shown.iter().collect::<Vec<_>>(), 3, &truth);
        assert_eq!(judge(&[line("/w/a", 2), line("/w/b", 1)]), Ok(()));
        assert_eq!(judge(&[line("/w/a", 1), line("/w/b", 1), line("/w/a", 1)]), Ok(()), "apart by a second");
        assert!(judge(&[line("/w/a", 2)]).unwrap_err().contains("1 times, shown 0"));
        assert!(judge(&[line("/w/a", 3), line("/w/b", 1)]).unwrap_err().contains("2 times, shown 3"));
        assert!(
            judge(&[line("/w/a", 2), line("/w/b", 1), line("/x", 1)]).unwrap_err().contains("did not happen")
        );
        for (key, value) in [("entry", json!(4)), ("requested_path", json!("b")), ("severity", json!("low"))]
        {
            let mut wrong = line("/w/b", 1);
            wrong[key] = value;
            assert!(judge(&[line("/w/a", 2), wrong]).is_err(), "{key}");
        }
    }
}
