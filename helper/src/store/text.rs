//! The rules as TOML: what a person may read and change, and the parser that takes nothing for granted.

use std::collections::BTreeSet;

use sekhmet_common::{
    display::Text,
    kernel::policy,
    rule::{Draft, Lifetime, RULES_MAX, Rule, RuleId, Subject, Wanted},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::engine::input::{KeptRule, ProcessKey, ProgramKey};

/// The version of the layout. A file of a newer one is set aside, not misread.
const VERSION: u32 = 1;

/// The kernel has this many slots for rules; two rules whose numbers share one cannot stand together.
const SLOTS: u32 = policy::RULES_MAX as u32;

const HEAD: &str =
    "# What Sekhmet blocks. Written anew with each change; `sekhmetctl rules list` shows the same.\n";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// The run of the machine that wrote it; numbers of processes and devices mean nothing in another one.
    boot: String,
    /// The highest number that a rule of that run had. Marks of rules that are gone may still be about.
    #[serde(default)]
    last: u32,
    #[serde(default)]
    rule: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: u32,
    block: Block,
    exe: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_ns: Option<u64>,
    /// The path is one of the system's own file tree.
    #[serde(default)]
    by_path: bool,
    direction: String,
    answer: String,
    extent: String,
    lifetime: String,
    added_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    added_by: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    added_by_user: Option<Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileKey>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Block {
    Process,
    Program,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    device: u32,
    /// In quotes: TOML has no numbers above 2^63.
    inode: String,
}

/// The text for these rules.
pub(super) fn write(rules: &[KeptRule], boot: &str, last: u32) -> Result<String, String> {
    let document =
        Document { version: VERSION, boot: boot.to_owned(), last, rule: rules.iter().map(row).collect() };
    toml::to_string(&document).map(|text| format!("{HEAD}\n{text}")).map_err(|error| error.to_string())
}

/// The rules in a text that still hold: of this run of the machine, or lasting longer; not yet expired. And the
/// highest number of a rule of this run.
///
/// # Errors
/// In words, with the place where they can be told. One bad rule makes the whole text bad: who wrote it has to
/// know.
pub(super) fn parse(text: &str, boot: &str, now: Timestamp) -> Result<(Vec<KeptRule>, u32), String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("version {} is not {VERSION}", document.version));
    }
    if document.rule.len() > RULES_MAX {
        return Err(format!("more than {RULES_MAX} rules"));
    }
    let same_boot = !boot.is_empty() && document.boot == boot;
    let (mut rules, mut slots) = (Vec::new(), BTreeSet::new());
    for row in document.rule {
        let id = row.id;
        let kept = kept(row, same_boot).map_err(|reason| format!("rule {id}: {reason}"))?;
        if !slots.insert(id % SLOTS) {
            return Err(format!("rule {id}: its number cannot stand beside those before it"));
        }
        let ends_with_boot = kept.process.is_some() || kept.rule.lifetime == Lifetime::UntilRestart;
        let expired = kept.rule.expires_at.is_some_and(|at| at <= now);
        if !expired && (same_boot || !ends_with_boot) {
            rules.push(kept);
        }
    }
    let last = if same_boot { document.last.min(RuleId::MAX.0) } else { 0 };
    Ok((rules, last))
}

fn row(kept: &KeptRule) -> Row {
    let rule = &kept.rule;
    let (block, exe, name, pid) = match &rule.subject {
        Subject::Process { pid, name, exe, .. } => (Block::Process, exe, Some(name.clone()), Some(*pid)),
        Subject::Program { exe } => (Block::Program, exe, None, None),
    };
    Row {
        id: rule.id.0,
        block,
        exe: exe.clone(),
        name,
        pid,
        start_ns: kept.process.map(|key| key.start_ns),
        by_path: kept.by_path,
        direction: rule.ways.word().to_owned(),
        answer: rule.answer.word().to_owned(),
        extent: rule.extent.word().to_owned(),
        lifetime: rule.lifetime.to_string(),
        added_at: rule.added_at,
        expires_at: rule.expires_at,
        added_by: rule.added_by,
        added_by_user: rule.added_by_user.clone(),
        files: kept
            .programs
            .iter()
            .map(|p| FileKey { device: p.device, inode: p.inode.to_string() })
            .collect(),
    }
}

fn kept(row: Row, same_boot: bool) -> Result<KeptRule, String> {
    let id = RuleId::new(row.id.into()).ok_or("no such number")?;
    let lifetime: Lifetime = row.lifetime.parse().map_err(text)?;
    let (subject, process) = match (row.block, row.pid, row.start_ns, row.name) {
        (Block::Process, Some(pid), Some(start_ns), Some(name)) => {
            if lifetime == Lifetime::Always {
                return Err("a process is not blocked for ever".into());
            }
            let subject = Subject::Process { process: None, pid, name, exe: row.exe };
            (subject, Some(ProcessKey { tgid: pid, start_ns }))
        }
        (Block::Process, ..) => return Err("a process has a pid, a start_ns and a name".into()),
        (Block::Program, None, None, None) => {
            if row.by_path {
                Draft::new(Wanted::Path(row.exe.clone()), lifetime).check().map_err(text)?;
            }
            (Subject::Program { exe: row.exe }, None)
        }
        (Block::Program, ..) => return Err("a program has no pid, start_ns or name".into()),
    };
    if matches!(lifetime, Lifetime::Seconds(_)) != row.expires_at.is_some() {
        return Err("expires_at belongs to a lifetime that is a time".into());
    }
    // After a restart another disk may have this number.
    let files = if same_boot { row.files } else { Vec::new() };
    let programs = files.iter().map(|file| {
        let inode = file.inode.parse().map_err(|_not| format!("{:?} is no inode", file.inode))?;
        Ok(ProgramKey { device: file.device, inode })
    });
    Ok(KeptRule {
        rule: Rule {
            id,
            subject,
            ways: row.direction.parse().map_err(text)?,
            answer: row.answer.parse().map_err(text)?,
            extent: row.extent.parse().map_err(text)?,
            lifetime,
            added_at: row.added_at,
            expires_at: row.expires_at,
            added_by: row.added_by,
            added_by_user: row.added_by_user,
            hits: 0,
        },
        process,
        programs: programs.collect::<Result<_, String>>()?,
        by_path: row.by_path,
    })
}

fn text(unknown: sekhmet_common::rule::Unknown) -> String {
    unknown.0.to_owned()
}
