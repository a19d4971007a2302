//! Turns absolute counters into bytes by second, for a flow and for every row above it.

use super::*;

impl Ledger {
    /// Takes in counters of many flows; rows above them are booked once for neighbours of one process.
    pub(super) fn count_all(&mut self, at: Timestamp, flows: &[FlowCounters]) {
        let mut pending: Option<Moved> = None;
        for FlowCounters { id, counters } in flows {
            let Some(moved) = self.count_flow(at, *id, *counters) else { continue };
            match &mut pending {
                Some(sum) if sum.member == moved.member && sum.reach == moved.reach => {
                    sum.down = sum.down.saturating_add(moved.down);
                    sum.up = sum.up.saturating_add(moved.up);
                }
                _ => {
                    if let Some(done) = pending.replace(moved) {
                        self.book(at, &done);
                    }
                }
            }
        }
        if let Some(done) = pending {
            self.book(at, &done);
        }
    }

    pub(super) fn count(&mut self, at: Timestamp, id: FlowId, now: Counters) {
        if let Some(moved) = self.count_flow(at, id, now) {
            self.book(at, &moved);
        }
    }

    /// Takes in the counters of one flow for itself and its host. Returns what is to be booked above them.
    fn count_flow(&mut self, at: Timestamp, id: FlowId, now: Counters) -> Option<Moved> {
        let c = self.connections.get_mut(&id)?;
        let old = c.flow.counters;
        let (down, up) =
            (now.rx_bytes.saturating_sub(old.rx_bytes), now.tx_bytes.saturating_sub(old.tx_bytes));
        c.flow.counters = Counters {
            tx_bytes: old.tx_bytes.max(now.tx_bytes),
            rx_bytes: old.rx_bytes.max(now.rx_bytes),
            tx_packets: old.tx_packets.max(now.tx_packets),
            rx_packets: old.rx_packets.max(now.rx_packets),
        };
        if down == 0 && up == 0 {
            return None;
        }
        c.side.add(at, down, up);
        let (reach, member) = (c.reach, c.flow.process);
        if let Some(tally) = c.slot.and_then(|slot| self.host_tallies.get_mut(slot)) {
            tally.side_mut(reach).add(at, down, up);
        }
        Some(Moved { member, reach, down, up })
    }

    /// Adds bytes to a process, its program, its user and the machine.
    fn book(&mut self, at: Timestamp, moved: &Moved) {
        let add = |tally: &mut Tally| tally.side_mut(moved.reach).add(at, moved.down, moved.up);
        add(&mut self.total);
        let Some(proc) = self.procs.get_mut(&moved.member) else { return };
        add(&mut proc.tally);
        for (groups, key) in [(&mut self.programs, &proc.program), (&mut self.users, &proc.user)] {
            if let Some(group) = groups.get_mut(key) {
                add(&mut group.tally);
            }
        }
    }

    /// Books what a process moved beyond its listed flows. Whom it talked to is not told: it counts as
    /// internet traffic unless the process is known to talk locally only.
    pub(super) fn count_unlisted(&mut self, at: Timestamp, id: ProcessId, rx: u64, tx: u64) {
        let Some(known) = self.mirror.process(id) else { return };
        let (down, up) = (rx.saturating_sub(known.rx_bytes), tx.saturating_sub(known.tx_bytes));
        let Some(proc) = self.procs.get(&Some(id)).filter(|_| !self.in_snapshot) else { return };
        let only_local = proc.tally.talked(true) && !proc.tally.talked(false);
        let reach = if only_local { Reach::Lan } else { Reach::Internet };
        self.book(at, &Moved { member: Some(id), reach, down, up });
    }

    /// Books what others moved since the last count, as one row without processes.
    pub(super) fn count_others(&mut self, at: Timestamp, rx: u64, tx: u64, open: u64) {
        let before = *self.mirror.others();
        let known = before.at != Timestamp::default() && !self.in_snapshot;
        let group = self.programs.entry(GroupKey::Others).or_default();
        let (down, up) = if known {
            (rx.saturating_sub(before.rx_bytes), tx.saturating_sub(before.tx_bytes))
        } else {
            (0, 0)
        };
        for side in [&mut group.tally.internet, &mut self.total.internet] {
            side.series.add(second_of(at), down, up);
        }
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        let side = &mut group.tally.internet;
        self.total.internet.open = self.total.internet.open.saturating_sub(side.open).saturating_add(open);
        (side.open, side.listed) = (open, open.max(1));
        if down + up > 0 {
            side.last = at;
        }
    }
}

/// Bytes that are to be booked for a process and the rows above it.
struct Moved {
    member: Member,
    reach: Reach,
    down: u64,
    up: u64,
}
