//! `sekhmetctl block`, `unblock` and `release`: adds and removes rules.

use std::{fs, os::unix::ffi::OsStrExt, path::PathBuf};

use sekhmet_client::{Command, Outcome, View};
use sekhmet_common::{
    coverage::{capability::KEPT_BLOCKS, cost::UNBLOCKED_UNTIL_RESTART},
    display::Text,
    mirror::Mirror,
    process::ProcessId,
    rule::{Answer, Draft, Extent, Lifetime, Rule, RuleId, Wanted, Ways},
};
use serde_json::json;

use crate::{
    command::{run, tell_if_not_kept},
    output::{Failure, Output},
    session::Access,
};

/// What `block` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Block {
    #[command(flatten)]
    subject: Subject,
    /// With --pid: its program, whichever process runs it
    #[arg(long)]
    program: bool,
    /// 90s, 15m, 1h, 7d, until-exit, until-restart or always [usual: until-exit with --pid, always with --exe]
    #[arg(long = "for", value_name = "LIFETIME")]
    lifetime: Option<Lifetime>,
    /// Drop silently; otherwise the program gets an error at once
    #[arg(long)]
    drop: bool,
    /// On this machine, too, and not only towards the outside
    #[arg(long)]
    also_local: bool,
    /// both, outbound or inbound
    #[arg(long, value_name = "WAY", default_value = "both")]
    direction: Ways,
}

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Subject {
    /// This process and what it starts
    #[arg(long)]
    pid: Option<u32>,
    /// Every run of the program with this path, and what it starts
    #[arg(long, value_name = "PATH")]
    exe: Option<PathBuf>,
}

/// Adds a rule and shows it.
pub(crate) fn add(access: &Access, json: bool, block: &Block) -> Result<(), Failure> {
    let draft = draft(access, block)?;
    draft.check().map_err(|unknown| Failure::Usage(unknown.0.to_owned()))?;
    let Outcome::Added(id) = run(access, &Command::Add(draft))? else {
        return Err(Failure::Failed("the helper did something else".into()));
    };
    let rule = rule(access, id);
    let mut output = Output::new();
    match (json, rule) {
        (true, Some(rule)) => output.json(&rule)?,
        (true, None) => output.json(&json!({ "id": id }))?,
        (false, Some(rule)) => output.line(&format!("rule {id}: {}", rule.sentence()))?,
        (false, None) => output.line(&format!("rule {id}"))?,
    }
    output.flush()
}

/// Removes one rule.
pub(crate) fn remove(access: &Access, json: bool, id: RuleId) -> Result<(), Failure> {
    run(access, &Command::Remove(id))?;
    told(json, 1, &format!("rule {id} removed"))?;
    tell_if_not_kept(access, KEPT_BLOCKS, UNBLOCKED_UNTIL_RESTART, &format!("rule {id} blocks"));
    Ok(())
}

/// Removes every rule.
pub(crate) fn release(access: &Access, json: bool) -> Result<(), Failure> {
    let Outcome::Released(count) = run(access, &Command::Release)? else {
        return Err(Failure::Failed("the helper did something else".into()));
    };
    let line = match count {
        0 => "there was no rule".to_owned(),
        1 => "1 rule removed".to_owned(),
        n => format!("{n} rules removed"),
    };
    told(json, count, &line)?;
    if count > 0 {
        tell_if_not_kept(access, KEPT_BLOCKS, UNBLOCKED_UNTIL_RESTART, "the rules block");
    }
    Ok(())
}

/// A number as it can stand on the command line.
pub(crate) fn rule_id(text: &str) -> Result<RuleId, String> {
    let id = text.parse().ok().and_then(RuleId::new);
    id.ok_or_else(|| "a rule's number stands in the list of rules".to_owned())
}

fn told(json: bool, removed: u64, line: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        output.json(&json!({ "removed": removed }))?
    } else {
        output.line(line)?
    }
    output.flush()
}

fn draft(access: &Access, block: &Block) -> Result<Draft, Failure> {
    let (wanted, usual) = match (block.subject.pid, &block.subject.exe) {
        (Some(pid), _) => {
            let id = process(&access.snapshot()?, pid, access)?;
            (if block.program { Wanted::ProgramOf(id) } else { Wanted::Process(id) }, Lifetime::UntilExit)
        }
        (None, Some(exe)) => {
            // The kernel names a program by the path without links, and so do rules.
            let path = fs::canonicalize(exe).unwrap_or_else(|_missing| exe.clone());
            (Wanted::Path(Text::from(path.as_os_str().as_bytes())), Lifetime::Always)
        }
        (None, None) => return Err(Failure::Usage("name a process or a program".into())),
    };
    let mut draft = Draft::new(wanted, block.lifetime.unwrap_or(usual));
    draft.ways = block.direction;
    draft.answer = if block.drop { Answer::Drop } else { Answer::Reject };
    draft.extent = if block.also_local { Extent::Everywhere } else { Extent::Outside };
    Ok(draft)
}

fn process(mirror: &Mirror, pid: u32, access: &Access) -> Result<ProcessId, Failure> {
    let running = mirror.processes().find(|p| p.pid == pid && p.exited_at.is_none());
    running.map(|p| p.id).ok_or_else(|| {
        Failure::Failed(match access.request.view {
            View::All => format!("no process with the PID {pid} runs"),
            View::Own => {
                format!("no process of yours with the PID {pid} runs; --all looks among those of others, too")
            }
        })
    })
}

/// The rule as the helper tells it to whoever watches; nothing if we may not watch, or it is over already.
fn rule(access: &Access, id: RuleId) -> Option<Rule> {
    let mut access = access.clone();
    access.request.interactive = false;
    access.snapshot().ok()?.rule(id).cloned()
}
