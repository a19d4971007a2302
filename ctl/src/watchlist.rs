//! `sekhmetctl watchlist`: which files are watched, and what is to be changed about that.

mod naming;

use std::{
    env,
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use sekhmet_client::{
    Command, Outcome,
    watchlist::{Change, List, Settings, get_blocking},
};
use sekhmet_common::{
    coverage::{capability::KEPT_WATCHLIST, cost::UNWATCHED_UNTIL_RESTART},
    display::Text,
    watch::{Entry, EntryDraft, EntryId, Owner, Severity},
};
use serde_json::json;

use self::naming::{Homes, names, resolved};
use crate::{
    command::{failure, patiently, run, tell_if_not_kept},
    output::{Failure, Output},
    sentence::entry_words,
    session::Access,
    table::{Align, Table},
};

/// What can be done with the watchlist.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Watchlist {
    /// Show every entry that concerns you
    List,
    /// Watch more files
    Add(Add),
    /// Remove an entry
    Remove {
        /// The entry's number
        id: u32,
    },
    /// Watch an entry's files again
    Enable {
        /// The entry's number
        id: u32,
    },
    /// Keep an entry, but do not watch its files
    Disable {
        /// The entry's number
        id: u32,
    },
    /// Show which entries name a file, which need not exist
    Test {
        /// The file's path
        path: PathBuf,
    },
}

/// What is to be watched.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Add {
    /// A file, a folder with all below it, or a pattern with *, ?, […] and **; absolute or below ~
    pattern: OsString,
    /// What these files are, in a few words [usual: the pattern]
    #[arg(long, default_value = "")]
    label: String,
    /// Under which heading they are listed
    #[arg(long, default_value = "")]
    group: String,
    /// low, medium or high
    #[arg(long, default_value = "medium")]
    severity: Severity,
    /// Who may read them without raising attention: a program's path, a pattern of such paths, or package:NAME for
    /// the programs of a Debian package
    #[arg(long = "expect", visible_alias = "reader", value_name = "READER")]
    expected: Vec<OsString>,
    /// In the home of every user; an administrator has to agree
    #[arg(long)]
    system: bool,
}

/// Does what was asked for.
pub(crate) fn watchlist(access: &Access, json: bool, what: &Watchlist) -> Result<(), Failure> {
    match what {
        Watchlist::List => list(access, json),
        Watchlist::Add(add) => change(access, json, added(add)?),
        Watchlist::Remove { id } => remove(access, json, EntryId(*id)),
        Watchlist::Enable { id } => change(access, json, switched(EntryId(*id), true)),
        Watchlist::Disable { id } => disable(access, json, EntryId(*id)),
        Watchlist::Test { path } => test(access, json, path),
    }
}

fn get(access: &Access) -> Result<List, Failure> {
    patiently(|| get_blocking(access.address.as_deref())).map_err(|error| failure(error, false))
}

fn list(access: &Access, json: bool) -> Result<(), Failure> {
    let list = get(access)?;
    let mut output = Output::new();
    if json {
        for entry in &list.entries {
            output.json(entry)?;
        }
    } else {
        output.table(&table(&list.entries))?;
    }
    output.flush()
}

fn switched(id: EntryId, enabled: bool) -> Change {
    Change::Set(id, Settings { enabled: Some(enabled), ..Settings::default() })
}

/// Switches an entry off, and says so if that could not be written down.
fn disable(access: &Access, json: bool, id: EntryId) -> Result<(), Failure> {
    change(access, json, switched(id, false))?;
    tell_if_not_kept(access, KEPT_WATCHLIST, UNWATCHED_UNTIL_RESTART, &format!("entry {id} is watched"));
    Ok(())
}

/// Makes a change and shows the entry as it is now.
fn change(access: &Access, json: bool, change: Change) -> Result<(), Failure> {
    let Outcome::Entry(id) = run(access, &Command::Watchlist(change))? else {
        return Err(Failure::Failed("the helper did something else".into()));
    };
    // It was done. That it cannot be shown, because somebody has just removed it, changes nothing.
    let list = get(access).unwrap_or_default();
    let mut output = Output::new();
    match (json, list.entries.iter().find(|entry| entry.id == id)) {
        (true, Some(entry)) => output.json(entry)?,
        (true, None) => output.json(&json!({ "id": id }))?,
        (false, Some(entry)) => output.line(&entry_words(entry))?,
        (false, None) => output.line(&format!("entry {id}"))?,
    }
    output.flush()
}

fn remove(access: &Access, json: bool, id: EntryId) -> Result<(), Failure> {
    run(access, &Command::Watchlist(Change::Remove(id)))?;
    let mut output = Output::new();
    if json {
        output.json(&json!({ "removed": 1 }))?;
    } else {
        output.line(&format!("entry {id} removed"))?;
    }
    output.flush()?;
    tell_if_not_kept(access, KEPT_WATCHLIST, UNWATCHED_UNTIL_RESTART, &format!("entry {id} is watched"));
    Ok(())
}

/// Shows the entries that name a path. The helper gives the list and is told nothing.
fn test(access: &Access, json: bool, path: &Path) -> Result<(), Failure> {
    let (homes, path) = (Homes::read(), resolved(path));
    let mut entries = get(access)?.entries;
    entries.retain(|entry| names(entry, &path, &homes));
    let mut output = Output::new();
    match (json, entries.as_slice()) {
        (true, all) => all.iter().try_for_each(|entry| output.json(entry))?,
        (false, []) => output.line(&format!("no entry names {}", Text::from(path.as_os_str().as_bytes())))?,
        (false, all) => all.iter().try_for_each(|entry| output.line(&entry_words(entry)))?,
    }
    output.flush()
}

fn added(add: &Add) -> Result<Change, Failure> {
    let bytes = |text: &OsString| Text::from(text.as_bytes());
    let pattern = if add.system { bytes(&add.pattern) } else { below_home(add.pattern.as_bytes()) };
    let draft = EntryDraft {
        pattern,
        label: add.label.as_str().into(),
        group: add.group.as_str().into(),
        severity: add.severity,
        expected: add.expected.iter().map(bytes).collect(),
    };
    draft.check().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Change::Add { draft, is_system: add.system })
}

/// The pattern with `~` for the own home, which a shell replaces by its path where nothing is quoted. Without `~` it
/// would be an entry for every user.
fn below_home(pattern: &[u8]) -> Text {
    let home = env::home_dir().unwrap_or_default();
    let home = home.as_os_str().as_bytes();
    match pattern.strip_prefix(home) {
        Some(rest) if home.len() > 1 && rest.starts_with(b"/") => [b"~", rest].concat().into(),
        _ => pattern.into(),
    }
}

fn table(entries: &[Entry]) -> Table {
    let mut table = Table::new(&[
        ("ID", Align::Right, 8),
        ("WATCHED", Align::Left, 7),
        ("SEVERITY", Align::Left, 8),
        ("FOR", Align::Left, 12),
        ("GROUP", Align::Left, 32),
        ("PATTERN", Align::Left, 80),
        ("WHAT", Align::Left, 60),
        ("EXPECTED READERS", Align::Left, 200),
    ]);
    for entry in entries {
        let whose = match entry.owner {
            Owner::Default | Owner::System => "everybody".into(),
            Owner::User(uid) => format!("user {uid}"),
        };
        table.row([
            entry.id.to_string(),
            if entry.enabled { "yes" } else { "no" }.into(),
            entry.severity.word().into(),
            whose,
            entry.group.shown(),
            entry.pattern.shown(),
            entry.label.shown(),
            entry.expected.iter().map(Text::shown).collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}
