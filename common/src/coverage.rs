//! What can be seen on this machine and what was lost on the way: sources and the balance of events.

use serde::{Deserialize, Serialize};

use crate::display::Text;

/// Which set of sources the helper runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The kernel tells every event.
    #[default]
    Full,
    /// Only polling: what lives shorter than a poll may be missed.
    Reduced,
}

/// How good the source in use is, compared with the best one known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceStatus {
    /// The best source there is.
    Best,
    /// Another source that sees the same.
    Equal,
    /// A source that sees less; `cost` says what is missed.
    Reduced,
    /// No source at all; `cost` says what is missed.
    Missing,
}

/// What clients look for among the sources ([`Source::capability`]); other names are for people alone.
pub mod capability {
    /// Opens of files that the watchlist names.
    pub const WATCHED_FILES: &str = "watched files";
    /// Whether blocks outlive a restart.
    pub const KEPT_BLOCKS: &str = "kept blocks";
    /// Whether changes of the watchlist outlive a restart.
    pub const KEPT_WATCHLIST: &str = "kept watchlist";
}

/// What clients look for in [`Source::cost`]: what holds now and could not be written down.
pub mod cost {
    /// Of [`super::capability::KEPT_BLOCKS`].
    pub const UNBLOCKED_UNTIL_RESTART: &str =
        "new blocks are refused, and what was unblocked is blocked again after a restart";
    /// Of [`super::capability::KEPT_WATCHLIST`].
    pub const UNWATCHED_UNTIL_RESTART: &str =
        "new entries are refused, and what was removed or switched off is watched again after a restart";
}

/// One thing that can be seen, and where it comes from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What it is for, in two or three words: `process start`, `TCP bytes`.
    pub capability: Text,
    /// What is in use: the hook's name, or the file that is polled. Empty when there is nothing.
    pub source: Text,
    /// How good that is.
    pub status: SourceStatus,
    /// What it costs the user that a better source is not in use. Empty when nothing.
    pub cost: Text,
    /// What the kernel answered when a better source was tried. Empty when nothing.
    pub reason: Text,
}

/// The kinds of records that are accounted for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A program was executed.
    Exec,
    /// A process was forked.
    Fork,
    /// A process ended.
    Exit,
    /// A TCP connection changed its state.
    TcpState,
    /// A first packet to or from a new remote on a socket without connections.
    PacketFlow,
    /// A socket was closed and told its last counters.
    SocketClosed,
    /// A rule refused something for the first time; repetitions are counted and told by number.
    Refused,
    /// A file was opened, or somebody tried, whose name may be a watched one.
    File,
    /// A message of the helper itself to one client.
    Stream,
}

impl RecordKind {
    /// Every kind, in the order of the discriminants.
    pub const ALL: [Self; 9] = [
        Self::Exec,
        Self::Fork,
        Self::Exit,
        Self::TcpState,
        Self::PacketFlow,
        Self::SocketClosed,
        Self::Refused,
        Self::File,
        Self::Stream,
    ];

    /// The word used in every output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::TcpState => "tcp_state",
            Self::PacketFlow => "packet_flow",
            Self::SocketClosed => "socket_closed",
            Self::Refused => "refused",
            Self::File => "file",
            Self::Stream => "stream",
        }
    }
}

/// The balance of one kind since the helper started. `made = delivered + lost + filtered` holds exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindBalance {
    /// Which kind.
    pub kind: RecordKind,
    /// Records made by the kernel and accounted for by now.
    pub made: u64,
    /// Records that reached the engine.
    pub delivered: u64,
    /// Records that found no room on the way.
    pub lost: u64,
    /// Records that are nobody's business: the helper's own, those of single threads.
    pub filtered: u64,
    /// Records made but not yet read at the moment of counting; not part of `made`.
    pub in_flight: u64,
}
