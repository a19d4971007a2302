//! The helper's interface for the watchlist: get, add, remove, set.
//!
//! Each change names the revision of the list that it is about. Entries keep their numbers, so that a change about a
//! number means the same after somebody else's change: [`change`] then looks once more and says it again, once.

use std::collections::HashMap;

use sekhmet_common::{
    bus::{
        ENTRY_ENABLED, ENTRY_EXPECTED, ENTRY_GROUP, ENTRY_ID, ENTRY_LABEL, ENTRY_OWNER, ENTRY_PATTERN,
        ENTRY_SEVERITY, ENTRY_UID,
    },
    display::Text,
    watch::{Entry, EntryDraft, EntryId, Owner, Severity},
};
use zbus::{Connection, OwnedVariant, Variant, proxy, proxy::CacheProperties};

use crate::command::{CommandError, blocking, judge, strange};

/// The helper's interface for the watchlist.
#[proxy(
    interface = "org.sekhmet.Helper1.Watchlist",
    default_service = "org.sekhmet.Helper1",
    default_path = "/org/sekhmet/Helper1"
)]
trait Watchlist {
    fn get(&self) -> zbus::Result<(u64, Vec<HashMap<String, OwnedVariant>>)>;

    fn add(&self, revision: u64, entry: &HashMap<&str, Variant<'_>>) -> zbus::Result<u32>;

    #[zbus(name = "Add", allow_interactive_auth)]
    fn add_interactively(&self, revision: u64, entry: &HashMap<&str, Variant<'_>>) -> zbus::Result<u32>;

    fn remove(&self, revision: u64, id: u32) -> zbus::Result<()>;

    #[zbus(name = "Remove", allow_interactive_auth)]
    fn remove_interactively(&self, revision: u64, id: u32) -> zbus::Result<()>;

    fn set(&self, revision: u64, id: u32, entry: &HashMap<&str, Variant<'_>>) -> zbus::Result<()>;

    #[zbus(name = "Set", allow_interactive_auth)]
    fn set_interactively(
        &self,
        revision: u64,
        id: u32,
        entry: &HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<()>;
}

/// Something to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Watch this as well.
    Add {
        /// What.
        draft: EntryDraft,
        /// For every user, which is for an administrator to say, although the pattern begins with `~/`. A pattern that
        /// does not is for every user anyhow.
        is_system: bool,
    },
    /// Remove an entry.
    Remove(EntryId),
    /// Make an entry another one.
    Set(EntryId, Settings),
}

/// What is to be different about an entry; what is nothing stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which files.
    pub pattern: Option<Text>,
    /// What they are.
    pub label: Option<Text>,
    /// Under which heading.
    pub group: Option<Text>,
    /// How grave.
    pub severity: Option<Severity>,
    /// Who may.
    pub expected: Option<Vec<Text>>,
    /// Whether it is watched.
    pub enabled: Option<bool>,
}

/// The watchlist as the caller may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Grows with each change.
    pub revision: u64,
    /// In the helper's order.
    pub entries: Vec<Entry>,
}

/// The watchlist. Nobody is asked for a password.
///
/// # Errors
/// [`CommandError`].
pub async fn get(connection: &Connection) -> Result<List, CommandError> {
    list(&proxy(connection).await?).await
}

/// The watchlist, over a connection of its own. `address` names another bus than the system's.
///
/// # Errors
/// [`CommandError`].
pub fn get_blocking(address: Option<&str>) -> Result<List, CommandError> {
    blocking(address, get)
}

/// Changes the watchlist; the change is in force when this returns. With `interactive`, polkit may ask the person at
/// the screen. Gives the number of the entry that it was about.
///
/// # Errors
/// [`CommandError`].
pub async fn change(
    connection: &Connection,
    change: &Change,
    interactive: bool,
) -> Result<EntryId, CommandError> {
    let helper = proxy(connection).await?;
    let revision = list(&helper).await?.revision;
    match change_at(&helper, revision, change, interactive).await {
        Err(CommandError::Changed(_)) => {
            let revision = list(&helper).await?.revision;
            change_at(&helper, revision, change, interactive).await
        }
        result => result,
    }
}

async fn change_at(
    helper: &WatchlistProxy<'_>,
    revision: u64,
    change: &Change,
    interactive: bool,
) -> Result<EntryId, CommandError> {
    let done = match (change, interactive) {
        (Change::Add { draft, is_system }, false) => helper.add(revision, &drafted(draft, *is_system)).await,
        (Change::Add { draft, is_system }, true) => {
            helper.add_interactively(revision, &drafted(draft, *is_system)).await
        }
        (Change::Remove(id), false) => helper.remove(revision, id.0).await.map(|()| id.0),
        (Change::Remove(id), true) => helper.remove_interactively(revision, id.0).await.map(|()| id.0),
        (Change::Set(id, wanted), false) => helper.set(revision, id.0, &set(wanted)).await.map(|()| id.0),
        (Change::Set(id, wanted), true) => {
            helper.set_interactively(revision, id.0, &set(wanted)).await.map(|()| id.0)
        }
    };
    done.map(EntryId).map_err(judge)
}

async fn proxy(connection: &Connection) -> Result<WatchlistProxy<'static>, CommandError> {
    WatchlistProxy::builder(connection).cache_properties(CacheProperties::No).build().await.map_err(judge)
}

async fn list(helper: &WatchlistProxy<'_>) -> Result<List, CommandError> {
    let (revision, rows) = helper.get().await.map_err(judge)?;
    Ok(List { revision, entries: rows.into_iter().map(entry).collect::<Result<_, _>>()? })
}

fn drafted(draft: &EntryDraft, is_system: bool) -> HashMap<&'static str, Variant<'static>> {
    let mut all = set(&Settings {
        pattern: Some(draft.pattern.clone()),
        label: (!draft.label.is_empty()).then(|| draft.label.clone()),
        group: (!draft.group.is_empty()).then(|| draft.group.clone()),
        severity: Some(draft.severity),
        expected: Some(draft.expected.clone()),
        enabled: None,
    });
    if is_system {
        all.insert(ENTRY_OWNER, Variant::from("system"));
    }
    all
}

fn set(wanted: &Settings) -> HashMap<&'static str, Variant<'static>> {
    let bytes = |text: &Text| text.as_bytes().to_vec();
    // Labels and groups are strings on the bus, which hold nothing but text.
    let words = |text: &Text| Variant::from(String::from_utf8_lossy(text.as_bytes()).into_owned());
    let all = [
        (ENTRY_PATTERN, wanted.pattern.as_ref().map(|text| Variant::from(bytes(text)))),
        (ENTRY_LABEL, wanted.label.as_ref().map(words)),
        (ENTRY_GROUP, wanted.group.as_ref().map(words)),
        (ENTRY_SEVERITY, wanted.severity.map(|severity| Variant::from(severity.word()))),
        (
            ENTRY_EXPECTED,
            wanted.expected.as_ref().map(|all| Variant::from(all.iter().map(bytes).collect::<Vec<_>>())),
        ),
        (ENTRY_ENABLED, wanted.enabled.map(Variant::from)),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn entry(mut row: HashMap<String, OwnedVariant>) -> Result<Entry, CommandError> {
    fn take<T: TryFrom<OwnedVariant>>(
        row: &mut HashMap<String, OwnedVariant>,
        key: &str,
    ) -> Result<T, CommandError> {
        row.remove(key).and_then(|value| T::try_from(value).ok()).ok_or_else(strange)
    }
    let owner = match take::<String>(&mut row, ENTRY_OWNER)?.as_str() {
        "default" => Owner::Default,
        "system" => Owner::System,
        "user" => Owner::User(take(&mut row, ENTRY_UID)?),
        _ => return Err(strange()),
    };
    let severity = take::<String>(&mut row, ENTRY_SEVERITY)?.parse::<Severity>();
    Ok(Entry {
        id: EntryId(take(&mut row, ENTRY_ID)?),
        pattern: take::<Vec<u8>>(&mut row, ENTRY_PATTERN)?.into(),
        label: take::<String>(&mut row, ENTRY_LABEL)?.into(),
        group: take::<String>(&mut row, ENTRY_GROUP)?.into(),
        severity: severity.map_err(|_unknown| strange())?,
        expected: take::<Vec<Vec<u8>>>(&mut row, ENTRY_EXPECTED)?.into_iter().map(Text::from).collect(),
        owner,
        enabled: take(&mut row, ENTRY_ENABLED)?,
    })
}
