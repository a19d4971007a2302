//! Processes that live a few milliseconds, and processes that are older than the helper.

use std::{
    io::{BufRead, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use sekhmet_testkit::traffic::{Ending, Plan, Transport, Truth};
use serde_json::Value;

use crate::{
    checker::{Checker, expect, has_argument, is_endpoint, until_ok},
    dice::Dice,
    pair::Pair,
    report::Report,
};

pub(crate) fn short_lived(checker: &Checker, count: usize, report: &mut Report) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("sink".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // The client's own count is the truth; here the bytes only have to be taken in.
            if let Err(error) = std::io::copy(&mut { stream }, &mut std::io::sink()) {
                eprintln!("sink: {error}");
            }
        }
    })?;
    let mut dice = Dice::new();
    let tag = format!("blip-{:x}", dice.below(usize::MAX));
    let program = std::env::current_exe()?;
    let mut truth = Vec::with_capacity(count);
    let mut lifetimes = Vec::with_capacity(count);
    for n in 0..count {
        let (bytes, token) = (1 + dice.below(5_000), format!("{tag}-{n}."));
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(["blip", &address.to_string(), &bytes.to_string(), &token])
            .spawn()?;
        let pid = child.id();
        ensure!(child.wait()?.success(), "a client failed");
        lifetimes.push(started.elapsed());
        truth.push((pid, bytes as u64, token));
    }
    lifetimes.sort();
    writeln!(
        std::io::stdout(),
        "# spawn to exit: median {:?}, longest {:?}",
        lifetimes[count / 2],
        lifetimes[count - 1]
    )?;
    let check = || {
        let shown = checker.list("ps")?;
        let mut missing = Vec::new();
        for (pid, bytes, token) in &truth {
            let good = shown.iter().any(|p| {
                p["pid"] == *pid
                    && p["name"] == "known-answer"
                    && has_argument(p, token)
                    && p["tx_bytes"].as_u64().is_some_and(|tx| tx.abs_diff(*bytes) <= checker.tcp_slack)
                    && p["exited_at"].is_string()
            });
            if !good {
                let near = shown.iter().find(|p| p["pid"] == *pid);
                missing.push(format!("pid {pid}, {bytes} bytes, {token}: {near:?}"));
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of {count} wrong, first: {}", missing.len(), missing[0]))
        }
    };
    report.check(&format!("{count} short-lived clients have name, command line and bytes"), until_ok(check));
    Ok(())
}

fn hold_plan() -> Plan {
    let token = format!("ka-before-{}", std::process::id());
    Plan { token, transport: Transport::Tcp, up: vec![70_000], down: vec![1_234], ending: Ending::Hold }
}

pub(crate) fn hold(file: &Path) -> Result<()> {
    let pair = Pair::run(&hold_plan(), "127.0.0.1:0".parse()?, None)?;
    let lines: Vec<String> = pair.truths.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, lines.join("\n") + "\n")?;
    std::fs::rename(&fresh, file)?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    pair.release()
}

pub(crate) fn pre_existing(checker: &Checker, file: &Path, report: &mut Report) -> Result<()> {
    let text = std::fs::read_to_string(file).context("what `hold` wrote")?;
    for line in text.lines() {
        let truth: Truth = serde_json::from_str(line)?;
        let name = format!("{} end of a connection older than the helper", truth.direction);
        let check = || {
            let flows = checker.list("flows")?;
            let mine: Vec<&Value> = flows
                .iter()
                .filter(|f| is_endpoint(&f["local"], truth.local) && is_endpoint(&f["remote"], truth.remote))
                .collect();
            match mine.as_slice() {
                [f] if f["process"]["pid"] == truth.pid && has_argument(&f["process"], &truth.token) => {
                    expect(f, "state", "open")
                }
                other => Err(format!("expected one flow of {}: {other:?}", truth.pid)),
            }
        };
        report.check(&name, until_ok(check));
    }
    Ok(())
}
