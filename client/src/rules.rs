//! Commands about rules: add, remove, release, list.
//!
//! A command that needs a password waits for the person who is asked; the helper gives up after two minutes.
//! [`crate::Link::command`] runs one while its stream goes on, [`run_blocking`] runs one and nothing else.

use std::collections::HashMap;

use sekhmet_common::{
    bus::{
        OPTION_ANSWER, OPTION_EXTENT, OPTION_LIFETIME, OPTION_PROCESS, OPTION_PROGRAM, OPTION_PROGRAM_OF,
        OPTION_WAYS, error,
    },
    display::escape,
    rule::{Draft, RuleId, Wanted},
    time::Timestamp,
};
use tokio::runtime;
use zbus::{Connection, OwnedVariant, Variant, fdo, proxy, proxy::CacheProperties};

use crate::{status::connect, update::Reason};

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

/// Something to be done about rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Add a rule.
    Add(Draft),
    /// Remove one.
    Remove(RuleId),
    /// Remove all.
    Release,
}

/// What a command has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A rule with this number is in force.
    Added(RuleId),
    /// This one no longer is.
    Removed(RuleId),
    /// So many no longer are.
    Released(u64),
}

/// Why a command was not done. Texts of the helper are safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// polkit said no, the person did, or nobody could be asked. Nothing was changed.
    #[error("not authorised; nothing was changed")]
    NotAuthorized,
    /// polkit would have to ask, which the command did not allow. Nothing was changed.
    #[error("not authorised: an administrator would have to authenticate; nothing was changed")]
    InteractionRequired,
    /// There is no such rule, or no such process runs any more.
    #[error("{0}")]
    UnknownId(String),
    /// No rule can be like that.
    #[error("{0}")]
    Invalid(String),
    /// There are as many rules, calls or questions as there may be.
    #[error("{0}")]
    LimitsExceeded(String),
    /// This machine cannot do it.
    #[error("{0}")]
    Unavailable(String),
    /// Something went wrong; the text says how far it came.
    #[error("{0}")]
    Failed(String),
    /// The bus does not let us talk to the helper, or the helper does not know the command.
    #[error("refused: {0}")]
    Refused(String),
    /// There is nobody to ask.
    #[error("{0}")]
    NoHelper(Reason),
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

/// Runs a command.
///
/// # Errors
/// [`CommandError`].
pub async fn run(
    connection: &Connection,
    command: &Command,
    interactive: bool,
) -> Result<Outcome, CommandError> {
    Ok(match command {
        Command::Add(draft) => Outcome::Added(add(connection, draft, interactive).await?),
        Command::Remove(id) => {
            remove(connection, *id, interactive).await?;
            Outcome::Removed(*id)
        }
        Command::Release => Outcome::Released(release(connection, interactive).await?),
    })
}

/// Runs a command over a connection of its own and waits for its end. `address` names another bus than the
/// system's.
///
/// # Errors
/// [`CommandError`].
pub fn run_blocking(
    address: Option<&str>,
    command: &Command,
    interactive: bool,
) -> Result<Outcome, CommandError> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|e| CommandError::Failed(format!("no event loop: {e}")))?;
    runtime.block_on(async {
        let connection = connect(address).await.map_err(CommandError::NoHelper)?;
        run(&connection, command, interactive).await
    })
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

/// Text of the helper, in which foreign text is escaped already; doing it again would double the backslashes.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\\' => c.to_string(),
            c => escape(c.encode_utf8(&mut [0; 4]).as_bytes()),
        })
        .collect()
}

fn strange() -> CommandError {
    CommandError::Failed("the helper answers in a form that this program does not know".into())
}

/// What an error reply means.
fn judge(failure: zbus::Error) -> CommandError {
    use CommandError as E;
    match &failure {
        zbus::Error::MethodError(name, text, _reply) => {
            let text = text.as_deref().map(shown).unwrap_or_default();
            match name.as_str() {
                error::NOT_AUTHORIZED => E::NotAuthorized,
                error::INTERACTION_REQUIRED => E::InteractionRequired,
                error::UNKNOWN_ID => E::UnknownId(text),
                error::INVALID_ARGUMENT => E::Invalid(text),
                error::LIMITS_EXCEEDED => E::LimitsExceeded(text),
                error::UNAVAILABLE => E::Unavailable(text),
                error::FAILED => E::Failed(text),
                other => E::Refused(escape(other.as_bytes())),
            }
        }
        zbus::Error::FDO(error) => match &**error {
            fdo::Error::AccessDenied(_) => E::Refused("the bus's policy forbids it".into()),
            fdo::Error::UnknownMethod(_)
            | fdo::Error::UnknownInterface(_)
            | fdo::Error::UnknownObject(_)
            | fdo::Error::InvalidArgs(_) => E::Refused("the helper is older than this program".into()),
            fdo::Error::NoReply(_) => {
                E::Failed("the helper left before it answered; the rules show whether it was done".into())
            }
            _ => E::NoHelper(failure.into()),
        },
        _ => E::NoHelper(failure.into()),
    }
}
