//! A flow as sources tell of it: its name, its state, its end.

use sekhmet_common::{
    flow::{Counters, Direction, Endpoint, Protocol},
    time::Timestamp,
};

use super::ProcessKey;

/// A flow as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowKey {
    /// A connected stream socket: the socket is the flow.
    Stream {
        /// The socket's cookie (`SO_COOKIE`), unique while the kernel runs.
        cookie: u64,
    },
    /// One remote of a socket without connections.
    Datagram {
        /// The socket's cookie.
        cookie: u64,
        /// The protocol.
        protocol: Protocol,
        /// This machine's side.
        local: Endpoint,
        /// The other side.
        remote: Endpoint,
    },
}

impl FlowKey {
    /// The socket's cookie.
    pub fn cookie(&self) -> u64 {
        match *self {
            Self::Stream { cookie } | Self::Datagram { cookie, .. } => cookie,
        }
    }
}

/// Where a flow is in the kernel's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowPhase {
    /// `SYN_SENT`: the handshake is under way.
    Opening,
    /// Established, or a datagram was exchanged.
    Open,
    /// The socket is closing but still carries data (`FIN_WAIT*`, `CLOSE_WAIT`, …).
    Closing,
}

/// A flow that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSight {
    /// When this was seen.
    pub at: Timestamp,
    /// Which flow.
    pub key: FlowKey,
    /// The owner of the socket; nothing for the kernel's own sockets.
    pub owner: Option<ProcessKey>,
    /// The protocol.
    pub protocol: Protocol,
    /// Who spoke first, as far as this source knows.
    pub direction: Direction,
    /// This machine's side.
    pub local: Endpoint,
    /// The other side.
    pub remote: Endpoint,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Where it is in its life.
    pub phase: FlowPhase,
    /// What has passed so far.
    pub counters: Counters,
}

/// How a flow ended, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// TCP went to `CLOSE` from the state `from` (`include/net/tcp_states.h`) with this pending `sk_err`.
    Tcp {
        /// The state before.
        from: u8,
        /// `sk_err`: 0 or a positive errno.
        error: u16,
    },
    /// The socket was released.
    Released,
    /// A flow without connection had no packet for the whole quiet period; its counters begin anew if it has one.
    Quiet,
    /// Polling no longer finds it.
    Vanished,
}
