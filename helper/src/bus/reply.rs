//! How answers go back over the bus: error names, error replies, the next message of a stream.

use std::{future::poll_fn, pin::Pin};

use futures_core::Stream;
use sekhmet_common::bus::error;
use zbus::{Connection, Message, MessageStream, message::Flags};

use crate::bus::{authority::Refusal, limits::Exceeded};

/// Why a call is answered with an error. The text is for a developer's eyes and repeats nothing of the call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// polkit did not allow it.
    #[error("{0}")]
    Refused(#[from] Refusal),
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
            Self::Refused(Refusal::InteractionRequired) => error::INTERACTION_REQUIRED,
            Self::Refused(_) => error::NOT_AUTHORIZED,
            Self::Invalid(_) => error::INVALID_ARGUMENT,
            Self::Limit(_) => error::LIMITS_EXCEEDED,
            Self::Failed(_) => error::FAILED,
            Self::Standard(name, _) => name,
        }
    }
}

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
