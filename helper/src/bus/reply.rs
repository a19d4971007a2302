//! How answers go back over the bus: error names, error replies, the next message of a stream.

use std::{future::poll_fn, pin::Pin};

use futures_core::Stream;
use sekhmet_common::bus::error;
use zbus::{Connection, Message, MessageStream, message::Flags};

use crate::{
    bus::{authority::Refusal, limits::Exceeded},
    engine::input::{WatchError, WishError},
};

/// Why a call is answered with an error. The text is for a developer's eyes and repeats nothing of the call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// polkit did not allow it.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// polkit did not allow a change.
    #[error("{0}; nothing was changed")]
    Unchanged(Refusal),
    /// The engine, or what enforces rules, could not do it.
    #[error("{0}")]
    Wish(#[from] WishError),
    /// The engine, or what keeps the watchlist, could not do it.
    #[error("{0}")]
    Watch(#[from] WatchError),
    /// An argument is not what the method takes.
    #[error("{0}")]
    Invalid(&'static str),
    /// Too much at once.
    #[error("{0}")]
    Limit(#[from] Exceeded),
    /// The helper could not do it.
    #[error("{0}")]
    Failed(&'static str),
    /// One of the errors that D-Bus itself names.
    #[error("{1}")]
    Standard(&'static str, &'static str),
}

impl CallError {
    /// The error's name in the reply.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::InteractionRequired) | Self::Unchanged(Refusal::InteractionRequired) => {
                error::INTERACTION_REQUIRED
            }
            Self::Refused(_) | Self::Unchanged(_) => error::NOT_AUTHORIZED,
            Self::Wish(error) => match error {
                WishError::UnknownId(_) => error::UNKNOWN_ID,
                WishError::Invalid(_) => error::INVALID_ARGUMENT,
                WishError::TooMany(_) => error::LIMITS_EXCEEDED,
                WishError::Unavailable(_) => error::UNAVAILABLE,
                WishError::Failed(_) => error::FAILED,
            },
            Self::Watch(error) => match error {
                WatchError::UnknownId => error::UNKNOWN_ID,
                WatchError::Invalid(_) => error::INVALID_ARGUMENT,
                WatchError::Changed => error::CHANGED,
                WatchError::TooMany(_) => error::LIMITS_EXCEEDED,
                WatchError::Failed(_) => error::FAILED,
            },
            Self::Invalid(_) => error::INVALID_ARGUMENT,
            Self::Limit(_) => error::LIMITS_EXCEEDED,
            Self::Failed(_) => error::FAILED,
            Self::Standard(name, _) => name,
        }
    }
}

pub(super) const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
pub(super) const UNKNOWN_INTERFACE: &str = "org.freedesktop.DBus.Error.UnknownInterface";
pub(super) const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
pub(super) const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
pub(super) const INVALID_ARGS: &str = "org.freedesktop.DBus.Error.InvalidArgs";

/// The answer to a method that there is not.
pub(super) const NO_METHOD: CallError =
    CallError::Standard("org.freedesktop.DBus.Error.UnknownMethod", "no such method");

/// The answer to arguments of another signature.
pub(super) const WRONG_ARGS: CallError =
    CallError::Standard(INVALID_ARGS, "the arguments have another signature");

/// Answers a call with what it returns, or with an error. Says nothing if the caller wants no answer.
///
/// # Errors
/// If the bus is gone.
pub async fn answer<B>(
    connection: &Connection,
    call: &Message,
    result: Result<B, CallError>,
) -> zbus::Result<()>
where
    B: serde::Serialize + zbus::Type + Sync,
{
    if call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return Ok(());
    }
    let header = call.header();
    match result {
        Ok(body) => connection.reply(&header, &body).await,
        Err(error) => connection.reply_error(&header, error.name(), &error.to_string()).await,
    }
}

/// The next message, or nothing when the connection is closed.
pub async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}
