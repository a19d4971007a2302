//! The helper's interface for the watchlist: get, add, remove, set.
//!
//! Each change names the revision of the list that it is about. Entries keep their numbers, so that a change about a
//! number means the same after somebody else's change: [`change`] then looks once more and says it again, once.

use std::{collections::HashMap, time::Duration};

use sekhmet_common::{
    bus::{
        ENTRY_ENABLED, ENTRY_EXPECTED, ENTRY_GROUP, ENTRY_ID, ENTRY_LABEL, ENTRY_OWNER, ENTRY_PATTERN,
        ENTRY_SEVERITY, ENTRY_UID,
    },
    display::Text,
    watch::{Entry, EntryDraft, EntryId, Owner, Severity},
};
use tokio::time::sleep;
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
    /// Make the same of several, one after the other. The first that is refused ends it; what was done before stays.
    SetAll(Vec<EntryId>, Settings),
    /// Bring back one that was removed, under a new number. It becomes the caller's own unless it was everybody's.
    Restore(Entry),
}

/// How often a helper that has too much to do is asked again, and after which pause.
const AGAIN: (u32, Duration) = (20, Duration::from_millis(250));

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
/// the screen. Gives the number of the entry that it was about, of several the last one.
///
/// # Errors
/// [`CommandError`]; of several changes [`CommandError::Failed`] if some were done.
pub async fn change(
    connection: &Connection,
    change: &Change,
    interactive: bool,
) -> Result<EntryId, CommandError> {
    let helper = proxy(connection).await?;
    let mut revision = list(&helper).await?.revision;
    let steps = steps(change);
    let all = steps.len();
    let mut last = None;
    for (done, step) in steps.into_iter().enumerate() {
        match change_patiently(&helper, &mut revision, &step, interactive).await {
            Ok(id) => last = Some(id),
            Err(error) if done == 0 => return Err(error),
            Err(error) => {
                let text = format!("{done} of {all} entries were changed and the others were not: {error}");
                return Err(CommandError::Failed(text));
            }
        }
    }
    let last = last.ok_or_else(|| CommandError::Invalid("there is nothing to be changed".into()))?;
    if let Change::Restore(Entry { enabled: false, .. }) = change {
        let off = Change::Set(last, Settings { enabled: Some(false), ..Settings::default() });
        change_patiently(&helper, &mut revision, &off, interactive)
            .await
            .map_err(|error| CommandError::Failed(format!("it is back, and switched on: {error}")))?;
    }
    Ok(last)
}

/// What is asked of the helper, one by one.
fn steps(change: &Change) -> Vec<Change> {
    match change {
        Change::SetAll(ids, wanted) => ids.iter().map(|id| Change::Set(*id, wanted.clone())).collect(),
        Change::Restore(entry) => {
            let draft = EntryDraft {
                pattern: entry.pattern.clone(),
                label: entry.label.clone(),
                group: entry.group.clone(),
                severity: entry.severity,
                expected: entry.expected.clone(),
            };
            vec![Change::Add { draft, is_system: !matches!(entry.owner, Owner::User(_)) }]
        }
        one => vec![one.clone()],
    }
}

/// One change. Somebody else's change in between is looked at once; a helper with too much to do gets time.
async fn change_patiently(
    helper: &WatchlistProxy<'_>,
    revision: &mut u64,
    change: &Change,
    interactive: bool,
) -> Result<EntryId, CommandError> {
    let (mut left, mut is_first) = (AGAIN.0, true);
    loop {
        match change_at(helper, *revision, change, interactive).await {
            // Each change makes the next revision; if it does not, the helper says so.
            Ok(id) => {
                *revision = revision.saturating_add(1);
                return Ok(id);
            }
            Err(CommandError::Changed(_)) if is_first => {
                is_first = false;
                *revision = list(helper).await?.revision;
            }
            // An entry more than there may be is too much after a pause, too.
            Err(CommandError::LimitsExceeded(_)) if left > 0 && matches!(change, Change::Set(..)) => {
                left -= 1;
                sleep(AGAIN.1).await;
            }
            result => return result,
        }
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
        // Taken apart before it comes to this.
        (Change::SetAll(..) | Change::Restore(_), _) => return Err(strange()),
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
