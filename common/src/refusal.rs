//! What a rule refused: who tried to reach whom, and how often.

use serde::{Deserialize, Serialize};

use crate::{
    flow::{Direction, Endpoint, Protocol, RemoteName},
    process::ProcessId,
    rule::RuleId,
    time::Timestamp,
};

/// The most refusals that are listed; the oldest leaves, its attempts stay in its rule's hits.
pub const REFUSALS_MAX: usize = 4096;

/// Names one refusal for as long as the helper lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefusalId(pub u64);

/// All attempts of one process to exchange something with one remote that one rule refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The helper's name for it.
    pub id: RefusalId,
    /// The rule that refused.
    pub rule: RuleId,
    /// Who tried, or to whom it was addressed; nothing if nobody knows.
    pub process: Option<ProcessId>,
    /// The protocol.
    pub protocol: Protocol,
    /// Which way it would have gone.
    pub direction: Direction,
    /// The other side. The port is 0 for inbound attempts, whose ports differ each time.
    pub remote: Endpoint,
    /// The other side's name, if known.
    pub remote_name: Option<RemoteName>,
    /// The first attempt.
    pub first_at: Timestamp,
    /// The last one so far.
    pub last_at: Timestamp,
    /// How many there were: connections tried, datagrams sent, packets received.
    pub attempts: u64,
}
