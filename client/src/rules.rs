//! The helper's interface for rules: add, remove, release, list.

use std::collections::HashMap;

use sekhmet_common::{
    bus::{
        OPTION_ANSWER, OPTION_EXTENT, OPTION_LIFETIME, OPTION_PROCESS, OPTION_PROGRAM, OPTION_PROGRAM_OF,
        OPTION_WAYS,
    },
    rule::{Draft, RuleId, Wanted},
    time::Timestamp,
};
use zbus::{Connection, OwnedVariant, Variant, proxy, proxy::CacheProperties};

use crate::command::{CommandError, judge, shown, strange};

/// The helper's interface for rules.
#[proxy(
    interface = "org.sekhmet.Helper1.Rules",
    default_service = "org.sekhmet.Helper1",
    default_path = "/org/sekhmet/Helper1"
)]
trait Rules {
    fn add(&self, options: &HashMap<&str, Variant<'_>>) -> zbus::Result<u64>;

    #[zbus(name = "Add", allow_interactive_auth)]
    fn add_interactively(&self, options: &HashMap<&str, Variant<'_>>) -> zbus::Result<u64>;

    fn remove(&self, id: u64) -> zbus::Result<()>;

    #[zbus(name = "Remove", allow_interactive_auth)]
    fn remove_interactively(&self, id: u64) -> zbus::Result<()>;

    fn release(&self) -> zbus::Result<u64>;

    #[zbus(name = "Release", allow_interactive_auth)]
    fn release_interactively(&self) -> zbus::Result<u64>;

    fn list(&self) -> zbus::Result<Vec<HashMap<String, OwnedVariant>>>;
}

/// A rule as the helper lists it to anybody. The event stream tells more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: RuleId,
    /// The whole rule in words. Safe to show, like every text here.
    pub sentence: String,
    /// Whom it blocks, in words.
    pub subject: String,
    /// See [`sekhmet_common::rule::Ways`].
    pub direction: String,
    /// See [`sekhmet_common::rule::Answer`].
    pub answer: String,
    /// See [`sekhmet_common::rule::Extent`].
    pub extent: String,
    /// See [`sekhmet_common::rule::Lifetime`].
    pub lifetime: String,
    /// When it came into force.
    pub added_at: Timestamp,
    /// The user who wanted it.
    pub added_by: u32,
    /// How many attempts it refused.
    pub hits: u64,
}

/// Adds a rule; it is in force when this returns. With `interactive`, polkit may ask the person at the screen.
///
/// # Errors
/// [`CommandError`].
pub async fn add(connection: &Connection, draft: &Draft, interactive: bool) -> Result<RuleId, CommandError> {
    let (rules, options) = (proxy(connection).await?, options(draft));
    let added = if interactive { rules.add_interactively(&options).await } else { rules.add(&options).await };
    RuleId::new(added.map_err(judge)?).ok_or_else(strange)
}

/// Removes a rule. With `interactive`, polkit may ask the person at the screen.
///
/// # Errors
/// [`CommandError`].
pub async fn remove(connection: &Connection, id: RuleId, interactive: bool) -> Result<(), CommandError> {
    let (rules, id) = (proxy(connection).await?, id.0.into());
    let removed = if interactive { rules.remove_interactively(id).await } else { rules.remove(id).await };
    removed.map_err(judge)
}

/// Removes every rule and says how many there were. With `interactive`, polkit may ask the person at the screen.
///
/// # Errors
/// [`CommandError`].
pub async fn release(connection: &Connection, interactive: bool) -> Result<u64, CommandError> {
    let rules = proxy(connection).await?;
    let removed = if interactive { rules.release_interactively().await } else { rules.release().await };
    removed.map_err(judge)
}

/// The rules in force that the caller may see. Nobody is asked for a password.
///
/// # Errors
/// [`CommandError`].
pub async fn list(connection: &Connection) -> Result<Vec<Listed>, CommandError> {
    let rows = proxy(connection).await?.list().await.map_err(judge)?;
    rows.into_iter().map(listed).collect()
}

async fn proxy(connection: &Connection) -> Result<RulesProxy<'static>, CommandError> {
    RulesProxy::builder(connection).cache_properties(CacheProperties::No).build().await.map_err(judge)
}

fn options(draft: &Draft) -> HashMap<&'static str, Variant<'static>> {
    let wanted = match &draft.wanted {
        Wanted::Process(id) => (OPTION_PROCESS, Variant::from(id.0)),
        Wanted::ProgramOf(id) => (OPTION_PROGRAM_OF, Variant::from(id.0)),
        Wanted::Path(path) => (OPTION_PROGRAM, Variant::from(path.as_bytes().to_vec())),
    };
    HashMap::from([
        wanted,
        (OPTION_LIFETIME, Variant::from(draft.lifetime.to_string())),
        (OPTION_WAYS, Variant::from(draft.ways.word())),
        (OPTION_ANSWER, Variant::from(draft.answer.word())),
        (OPTION_EXTENT, Variant::from(draft.extent.word())),
    ])
}

fn listed(mut row: HashMap<String, OwnedVariant>) -> Result<Listed, CommandError> {
    fn take<T: TryFrom<OwnedVariant>>(
        row: &mut HashMap<String, OwnedVariant>,
        key: &str,
    ) -> Result<T, CommandError> {
        row.remove(key).and_then(|value| T::try_from(value).ok()).ok_or_else(strange)
    }
    let mut text = |key| take::<String>(&mut row, key).map(|text| shown(&text));
    let (sentence, subject, direction) = (text("sentence")?, text("subject")?, text("direction")?);
    let (answer, extent, lifetime) = (text("answer")?, text("extent")?, text("lifetime")?);
    Ok(Listed {
        id: RuleId::new(take(&mut row, "id")?).ok_or_else(strange)?,
        sentence,
        subject,
        direction,
        answer,
        extent,
        lifetime,
        added_at: Timestamp(take(&mut row, "added_at")?),
        added_by: take(&mut row, "added_by")?,
        hits: take(&mut row, "hits")?,
    })
}
