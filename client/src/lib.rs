//! The library of every client: the helper's proxy, and a link that keeps itself connected.
//!
//! [`Link`] runs on a thread of its own and tells everything through one callback, in order: first
//! [`Update::Connected`], then [`Update::Events`] with a snapshot and what follows. After an interruption it
//! connects again by itself and starts with a fresh snapshot; what the client shows meanwhile stays true to
//! its time. [`Link::command`] sends a command about rules or the watchlist and tells its result as
//! [`Update::CommandDone`]. [`status()`] reads what anybody may read, without a stream.

pub mod command;
mod frames;
pub mod link;
pub mod monitor;
pub mod rules;
pub mod status;
pub mod update;
pub mod watchlist;

pub use command::{Command, CommandError, Outcome};
pub use link::Link;
pub use status::{Status, status};
pub use update::{CommandId, Options, Reason, Refusal, Request, Update, View};
