//! What a client asks of the link and what the link tells it.

use std::time::Duration;

use sekhmet_common::{coverage::Mode, display::Text, event::Event};

use crate::command::{CommandError, Outcome};

/// What a client wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The caller's own processes.
    #[default]
    Own,
    /// Every process.
    All,
}

/// One wish to be connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What to see.
    pub view: View,
    /// Whether polkit may ask the person at the screen. It holds for one try: no dialog is ever raised by a
    /// reconnection that nobody asked for.
    pub interactive: bool,
}

/// Where and what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another bus than the system's.
    pub address: Option<String>,
    /// The first request.
    pub request: Request,
}

/// Why there is no stream just now. It will be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no message bus.
    #[error("the message bus cannot be reached: {0}")]
    NoBus(String),
    /// Nobody owns the helper's name, and the bus cannot start it.
    #[error("the helper does not run")]
    NoHelper,
    /// The stream ended.
    #[error("the helper has closed the stream")]
    Ended,
    /// A frame made no sense.
    #[error("the helper sent something that cannot be read: {0}")]
    BadFrame(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Why there will be no stream until something changes: another request, or another helper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// polkit said no, or the person did.
    #[error("not authorised")]
    NotAuthorized,
    /// polkit would have to ask, which the request did not allow.
    #[error("not authorised: an administrator would have to authenticate")]
    InteractionRequired,
    /// Too many streams are open.
    #[error("the helper has too many clients")]
    LimitsExceeded,
    /// The bus does not let us talk to the helper, or the helper cannot serve.
    #[error("refused: {0}")]
    Other(String),
    /// The helper writes frames of another version.
    #[error("the helper is of another version (frame version {0}); update both")]
    OtherVersion(u8),
}

/// Names one command from its sending to its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What the link tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// A stream is open and its snapshot begins.
    Connected {
        /// The helper's version.
        version: Text,
        /// Which set of sources it runs on.
        mode: Mode,
    },
    /// Events of one frame, in order.
    Events(Vec<Event>),
    /// No stream; it is tried again after `retry_in`, or sooner if the helper appears.
    Lost {
        /// Why.
        reason: Reason,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Refused; tried again when asked, or when another helper appears.
    Refused {
        /// Why.
        error: Refusal,
    },
    /// A command was done, or was not. Events tell of its effects, perhaps a little later.
    CommandDone {
        /// Which.
        id: CommandId,
        /// What came of it.
        result: Result<Outcome, CommandError>,
    },
}
