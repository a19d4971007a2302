//! Commands about rules and the watchlist: what there is to be done, what came of it, and why it was not done.
//!
//! A command that needs a password waits for the person who is asked; the helper gives up after two minutes.
//! [`crate::Link::command`] runs one while its stream goes on, [`run_blocking`] runs one and nothing else.

use sekhmet_common::{
    bus::error,
    display::escape,
    rule::{Draft, RuleId},
    watch::EntryId,
};
use tokio::runtime;
use zbus::{Connection, fdo};

use crate::{rules, status::connect, update::Reason, watchlist};

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Add a rule.
    Add(Draft),
    /// Remove one.
    Remove(RuleId),
    /// Remove all.
    Release,
    /// Change the watchlist.
    Watchlist(watchlist::Change),
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
    /// The watchlist has a new entry with this number, or this one was changed or removed.
    Entry(EntryId),
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
    /// There is no such rule or entry, or no such process runs any more.
    #[error("{0}")]
    UnknownId(String),
    /// No rule or entry can be like that.
    #[error("{0}")]
    Invalid(String),
    /// Somebody else changed the same at the same time, more than once.
    #[error("{0}")]
    Changed(String),
    /// There are as many rules, entries, calls or questions as there may be.
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
        Command::Add(draft) => Outcome::Added(rules::add(connection, draft, interactive).await?),
        Command::Remove(id) => {
            rules::remove(connection, *id, interactive).await?;
            Outcome::Removed(*id)
        }
        Command::Release => Outcome::Released(rules::release(connection, interactive).await?),
        Command::Watchlist(change) => {
            Outcome::Entry(watchlist::change(connection, change, interactive).await?)
        }
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
    blocking(address, async |connection| run(connection, command, interactive).await)
}

/// Does something over a connection of its own and waits for its end.
pub(crate) fn blocking<T>(
    address: Option<&str>,
    ask: impl AsyncFnOnce(&Connection) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|e| CommandError::Failed(format!("no event loop: {e}")))?;
    runtime.block_on(async {
        let connection = connect(address).await.map_err(CommandError::NoHelper)?;
        ask(&connection).await
    })
}

/// Text of the helper, in which foreign text is escaped already; doing it again would double the backslashes.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\\' => c.to_string(),
            c => escape(c.encode_utf8(&mut [0; 4]).as_bytes()),
        })
        .collect()
}

pub(crate) fn strange() -> CommandError {
    CommandError::Failed("the helper answers in a form that this program does not know".into())
}

/// What an error reply means.
pub(crate) fn judge(failure: zbus::Error) -> CommandError {
    use CommandError as E;
    match &failure {
        zbus::Error::MethodError(name, text, _reply) => {
            let text = text.as_deref().map(shown).unwrap_or_default();
            match name.as_str() {
                error::NOT_AUTHORIZED => E::NotAuthorized,
                error::INTERACTION_REQUIRED => E::InteractionRequired,
                error::UNKNOWN_ID => E::UnknownId(text),
                error::INVALID_ARGUMENT => E::Invalid(text),
                error::CHANGED => E::Changed(text),
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
                E::Failed("the helper left before it answered; the list shows whether it was done".into())
            }
            _ => E::NoHelper(failure.into()),
        },
        _ => E::NoHelper(failure.into()),
    }
}
