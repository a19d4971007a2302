//! What the bus thread keeps when its connection ends and another one begins.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use crossbeam_channel::Sender;

use crate::{
    bus::{questions::Questions, stream::Tally},
    engine::input::{Input, StatusReport},
};

/// What outlives a connection.
#[derive(Debug)]
pub struct Shared {
    /// Tells the engine about clients.
    pub engine: Sender<Input>,
    /// Asks the engine about rules.
    pub questions: Questions,
    /// When the helper began to watch.
    pub since: Instant,
    /// The last report of the engine.
    pub status: StatusReport,
    /// Counts the messages to all clients.
    pub tally: Arc<Tally>,
    /// The number of the next client.
    pub next_client: u64,
    /// Inputs that found no room.
    pub unsent: Vec<Input>,
    /// Set when effects found no room on the way here.
    pub missed: Arc<AtomicBool>,
}

impl Shared {
    /// Milliseconds since the helper began to watch.
    pub(super) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells the engine something. What finds no room waits: a forgotten `Unsubscribe` would leave a client
    /// in the engine for ever. There can be no more of these than streams are opened.
    pub(super) fn tell(&mut self, input: Input) {
        self.unsent.push(input);
        let mut sent = 0;
        for input in &self.unsent {
            match self.engine.try_send(input.clone()) {
                Ok(()) => sent += 1,
                Err(_full) => break,
            }
        }
        self.unsent.drain(..sent);
        // The balance is told anew every second; old ones need not wait.
        self.unsent.retain(|input| !matches!(input, Input::Balance(_)));
    }
}
