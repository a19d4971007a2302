//! Watched files: what `sekhmetctl files` shows against what strace(1) says that programs did, and what comes after.

mod compare;
mod later;
mod others;
mod place;
mod strace;
mod stream;

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::{compare::compare, place::Place, strace::path};
use crate::{
    checker::{Checker, until_ok},
    report::Report,
};

/// Opens and changes in every way.
const OPENS: &str = include_str!("files/opens.py");

/// Removes, moves, and more.
const VANDAL: &str = "rm -f \"$1\"; mv \"$1\" \"$2\"; chmod 777 \"$1\"; truncate -s 0 \"$1\"; true";

/// The whole story. Needs root, so that it can be somebody else, and strace.
pub(crate) fn files(checker: &Checker, report: &mut Report) -> Result<()> {
    ensure!(rustix::process::getuid().is_root(), "only root can open files as somebody else");
    let place = Place::create()?;
    report.note(&format!("watched: {}", place.watched.display()));
    // What was opened before is not told afterwards.
    let before = strace::run(&place.beside, &["cat".into(), place.file("plain")])?;
    let added = place.watch(checker)?;
    programs(checker, &place, added, report)?;
    let shown = compare::of_processes(checker, &before);
    report.check("what was opened before it was watched is not told", shown.and_then(|lines| none(&lines)));
    ring(checker, &place, report)?;
    later::later(checker, report)?;
    others::others(checker, &place, added, report)?;
    others::reached(checker, &place, report)
}

fn none(lines: &[Value]) -> Result<(), String> {
    lines.first().map_or(Ok(()), |line| Err(format!("{} shown, one of them: {line}", lines.len())))
}

fn programs(checker: &Checker, place: &Place, entry: u64, report: &mut Report) -> Result<()> {
    let python = strace::python()?;
    let as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(OsString::from);
    let [watched, beside] = [&place.watched, &place.beside].map(|folder| folder.clone().into_os_string());
    let key = place.file("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key);
    ensure!(keygen.status().context("ssh-keygen")?.success(), "no key was made");
    let cases: [(&str, Vec<OsString>); 6] = [
        ("cat, one file three times and another", {
            let (one, two) = (place.file("plain"), place.file("sub/deep"));
            vec!["cat".into(), one.clone(), one.clone(), one, two]
        }),
        ("ssh-keygen -y", vec!["ssh-keygen".into(), "-y".into(), "-f".into(), key]),
        (
            "a Python script that opens and changes in every way",
            vec![python, "-c".into(), OPENS.into(), watched, beside],
        ),
        (
            "another user, who may not",
            [
                &as_nobody[..],
                &["sh".into(), "-c".into(), "cat \"$@\"; true".into(), "sh".into(), place.file("secret")],
            ]
            .concat(),
        ),
        (
            "another user, who may change nothing",
            [
                &as_nobody[..],
                &[
                    "sh".into(),
                    "-c".into(),
                    VANDAL.into(),
                    "sh".into(),
                    place.file("plain"),
                    place.file("away"),
                ],
            ]
            .concat(),
        ),
        (
            "another user, who may",
            [&as_nobody[..], &["cat".into(), place.file("plain"), path(b"/etc/hostname")]].concat(),
        ),
    ];
    for (name, argv) in cases {
        let truth = strace::run(&place.beside, &argv)?;
        compare(checker, place, entry, name, &truth, report);
    }
    Ok(())
}

/// Opens that no tracepoint of a system call sees are counted, and the coverage says that they are not resolved.
fn ring(checker: &Checker, place: &Place, report: &mut Report) -> Result<()> {
    let unresolved = || -> Result<u64, String> {
        let lines = checker.list("coverage")?;
        let line = lines.iter().find(|line| line["capability"] == "watched files");
        let said =
            line.and_then(|line| line["cost"].as_str()).ok_or("the coverage tells nothing of files")?;
        let mut parts = said.split("; ");
        let part = parts.find(|part| part.contains("opens by io_uring")).ok_or_else(|| said.to_owned())?;
        let number = part.strip_suffix(" opens by io_uring could not be resolved").unwrap_or("0");
        number.parse().map_err(|_none| said.to_owned())
    };
    let before = unresolved();
    let mut python = Command::new(strace::python()?);
    let output = python.args(["-c", include_str!("files/ring.py")]).arg(place.file("plain")).output()?;
    ensure!(output.status.success(), "io_uring: {}", String::from_utf8_lossy(&output.stderr));
    let more = before.and_then(|before| {
        until_ok(|| match unresolved()? {
            now if now > before => Ok(()),
            now => Err(format!("{now} after it, {before} before")),
        })
    });
    report.check("an open through io_uring is counted as not resolved", more);
    Ok(())
}
