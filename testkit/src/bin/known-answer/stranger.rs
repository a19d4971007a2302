//! What a user without rights may see, and what the helper answers to calls that make no sense.

use std::process::Command;

use anyhow::{Context, Result};
use sekhmet_common::bus;
use zbus::Connection;

use crate::{
    checker::{Checker, until_ok},
    report::Report,
};

/// Runs as the stranger. Root's processes exist, this one included in nobody else's view.
pub(crate) fn stranger(checker: &Checker, report: &mut Report) -> Result<()> {
    let me = rustix::process::getuid().as_raw();
    let only_own = || {
        let shown = checker.list("ps")?;
        if let Some(foreign) = shown.iter().find(|p| p["uid"] != me) {
            return Err(format!("a process of somebody else is shown: {foreign}"));
        }
        let mine = std::process::id();
        let seen = shown.iter().any(|p| p["pid"] == mine);
        seen.then_some(()).ok_or_else(|| format!("this process ({mine}) is not among {} shown", shown.len()))
    };
    report.check("own processes, and only those", until_ok(only_own));
    report.check("everybody's processes without a prompt: not authorised", refused(checker));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (name, result) in runtime.block_on(nonsense())? {
        report.check(name, result);
    }
    report.check("the helper is still there", checker.list("status").map(|_| ()));
    Ok(())
}

fn refused(checker: &Checker) -> Result<(), String> {
    let output = Command::new(&checker.ctl)
        .args(["ps", "--all", "--json"])
        .output()
        .map_err(|e| format!("sekhmetctl: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    match output.status.code() {
        Some(1) if said.contains("not authorised") && output.stdout.is_empty() => Ok(()),
        code => Err(format!("code {code:?}, said: {said}")),
    }
}

type Outcome = (&'static str, Result<(), String>);

async fn nonsense() -> Result<Vec<Outcome>> {
    let bus = Connection::system().await.context("the system bus")?;
    let call = async |method: &str, interface: &str, refusal: &[&str], text: Option<&str>| {
        let reply = match text {
            Some(text) => {
                bus.call_method(Some(bus::SERVICE), bus::PATH, Some(interface), method, &text).await
            }
            None => bus.call_method(Some(bus::SERVICE), bus::PATH, Some(interface), method, &()).await,
        };
        match reply {
            // The library tells standard errors as variants of its own; all of them are shown by their names.
            Err(error) if refusal.iter().any(|name| error.to_string().starts_with(name)) => Ok(()),
            Err(other) => Err(format!("answered {other}")),
            Ok(_) => Err("answered as if that were a call".to_owned()),
        }
    };
    const UNKNOWN: &[&str] =
        &["org.freedesktop.DBus.Error.UnknownMethod", "org.freedesktop.DBus.Error.AccessDenied"];
    const ARGUMENTS: &[&str] = &[
        "org.freedesktop.DBus.Error.InvalidArgs",
        bus::error::INVALID_ARGUMENT,
        "org.freedesktop.DBus.Error.UnknownMethod",
    ];
    Ok(vec![
        ("an unknown method is refused", call("Explode", bus::MONITOR, UNKNOWN, None).await),
        ("an unknown interface is refused", call("Add", "org.sekhmet.Helper1.Nonsense", UNKNOWN, None).await),
        (
            "a call without its argument is refused",
            call("OpenEventStream", bus::MONITOR, ARGUMENTS, None).await,
        ),
        (
            "a call with a wrong argument is refused",
            call("OpenEventStream", bus::MONITOR, ARGUMENTS, Some("x")).await,
        ),
    ])
}
