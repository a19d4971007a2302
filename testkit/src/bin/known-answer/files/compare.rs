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

/// How accesses are told that change names and modes: by sources that can see them.
const CHANGES: [&str; 3] = ["unlink", "rename", "chmod"];

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
    let other = place.beside.join("hard");
    let is_watched = |call: &&Call| call.path.starts_with(&folder);
    let opens: Vec<&Call> = truth.iter().filter(is_watched).filter(|c| is_open(c)).collect();
    // What a source may see or not; the coverage says which.
    let more: Vec<&Call> = truth
        .iter()
        .filter(|c| is_watched(c) && !is_open(c) || c.path == other.as_os_str().as_bytes())
        .collect();
    let (opens, more) = (known(&opens), known(&more));
    let pids: BTreeSet<u64> = truth.iter().map(|call| call.pid.into()).collect();
    let mut told = 0;
    let result = until_ok(|| {
        let shown = checker.list("files")?;
        let shown: Vec<&Value> = shown
            .iter()
            .filter(|line| line["process"]["pid"].as_u64().is_some_and(|pid| pids.contains(&pid)))
            .collect();
        told = shown.iter().filter(|line| more.contains_key(&key(line))).count();
        differences(&shown, entry, &opens, &more)
    });
    let total: u64 = opens.values().map(|known| known.count).sum();
    report.check(&format!("{what}: {total} opens of {} kinds, and nothing else", opens.len()), result);
    if !more.is_empty() {
        report.note(&format!(
            "changes of names and modes, and opens under other names, that were told: {told} of {}",
            more.len()
        ));
    }
}

/// What is shown of these processes.
pub(super) fn of_processes(checker: &Checker, calls: &[Call]) -> Result<Vec<Value>, String> {
    let is_theirs = |line: &Value| calls.iter().any(|call| line["process"]["pid"] == call.pid);
    Ok(checker.list("files")?.into_iter().filter(is_theirs).collect())
}

fn is_open(call: &Call) -> bool {
    // A file that is emptied by its path was not opened; strace says so, the list says the same word for both.
    !(CHANGES.contains(&call.access) || call.is_by_path)
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

fn differences(
    shown: &[&Value],
    entry: u64,
    opens: &BTreeMap<Key, Known>,
    more: &BTreeMap<Key, Known>,
) -> Result<(), String> {
    let mut counts = BTreeMap::<Key, u64>::new();
    let mut wrong = Vec::new();
    for line in shown {
        let key = key(line);
        let Some(known) = opens.get(&key).or_else(|| more.get(&key)) else {
            wrong.push(format!("did not happen: {line}"));
            continue;
        };
        if opens.contains_key(&key) {
            *counts.entry(key).or_default() += line["count"].as_u64().unwrap_or_default();
        }
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
    for (key, known) in opens {
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
            is_by_path: false,
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
        let judge =
            |shown: &[Value]| differences(&shown.iter().collect::<Vec<_>>(), 3, &truth, &BTreeMap::new());
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
