//! Packets that the firewall refused, told to the engine.

use super::Enforcer;
use crate::{
    engine::input::{Input, Observation, RefusedSight, SeenBy},
    firewall,
};

impl Enforcer {
    /// Reads which packets the table refused. Without it the table refuses all the same.
    pub(super) fn listen(&mut self) {
        if !self.listens || self.packets.as_ref().is_some_and(firewall::Reader::is_running) {
            return;
        }
        let seen = self.seen.clone();
        let started = firewall::Refusals::open().and_then(|refusals| {
            firewall::start(refusals, move |batch| {
                let told = batch.packets.iter().map(|p| Observation::Refused(sight(p))).collect();
                // What finds no room is missing in the counts of attempts; the kernel's own counters have it.
                !matches!(
                    seen.try_send(Input::Observed(told)),
                    Err(crossbeam_channel::TrySendError::Disconnected(_))
                )
            })
        });
        match started {
            Ok(reader) => self.packets = Some(reader),
            Err(error) => tracing::warn!(%error, "refused packets are counted, but not told"),
        }
    }
}

fn sight(packet: &firewall::RefusedPacket) -> RefusedSight {
    RefusedSight {
        at: packet.at,
        rule: packet.mark.rule(),
        owner: None,
        protocol: packet.protocol,
        direction: packet.direction,
        remote: packet.remote,
        attempts: 1,
        seen_by: SeenBy::Firewall,
    }
}
