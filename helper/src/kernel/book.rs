//! The flows that were told to the engine, so that only changes are told and nothing stays open for ever.
//!
//! Pure: it is fed with records and dumps and answers with observations. Three things end a flow: its own
//! record; two dumps in a row that do not show its socket (its record was lost); and, for flows in the kernel's
//! flow map, a time without packets.

use std::collections::{HashMap, HashSet};

use sekhmet_common::{
    flow::{Counters, Direction},
    kernel::{
        self, FlowValue, PacketFlowRecord, SocketClosedRecord, SocketRow, TcpRecord, socket_flag, tcp_state,
    },
};

use super::{
    clock::Clock,
    decode::{counters, direction, endpoints, process, protocol},
};
use crate::engine::input::{FlowEnd, FlowKey, FlowPhase, FlowSight, Observation, QUIET_NS};

/// Stands in for [`QUIET_NS`] while the kernel's flow map is more than three quarters full.
const QUIET_CROWDED_NS: u64 = 20_000_000_000;

/// Dumps in a row that must miss a socket: a dump that is read while sockets come and go may skip one.
const MISSES: u8 = 2;

/// What is known of the flows that are open.
#[derive(Debug)]
pub(super) struct Book {
    clock: Clock,
    streams: HashMap<u64, Stream>,
    datagrams: HashMap<kernel::FlowKey, Datagram>,
    /// Flows of each socket without connections.
    by_cookie: HashMap<u64, Vec<kernel::FlowKey>>,
}

#[derive(Debug)]
struct Stream {
    sight: FlowSight,
    since_ns: u64,
    /// Kernel sockets are in no dump.
    dumped: bool,
    misses: u8,
}

#[derive(Debug)]
struct Datagram {
    value: FlowValue,
    /// When its counters last changed.
    moved_ns: u64,
    misses: u8,
}

impl Book {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, streams: HashMap::new(), datagrams: HashMap::new(), by_cookie: HashMap::new() }
    }

    /// Uses a new relation between the clocks from now on.
    pub(super) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// A TCP connection changed its state.
    pub(super) fn tcp(&mut self, record: &TcpRecord) -> Observation {
        let at = self.clock.wall(record.header.at_ns);
        let (local, remote) = endpoints(&record.tuple);
        let sight = FlowSight {
            at,
            key: FlowKey::Stream { cookie: record.cookie },
            owner: process(record.process),
            protocol: protocol(record.tuple.protocol, record.flags),
            direction: direction(record.flags),
            local,
            remote,
            net_ns: record.net_ns,
            phase: if record.new_state == tcp_state::SYN_SENT { FlowPhase::Opening } else { FlowPhase::Open },
            counters: counters(&record.counters),
        };
        if record.new_state == tcp_state::CLOSE {
            let known = self.streams.remove(&record.cookie);
            // A direction that was found out from a dump is not in the record.
            let direction = match (sight.direction, known) {
                (Direction::Unknown, Some(known)) => known.sight.direction,
                (told, _) => told,
            };
            let error = u16::try_from(record.error).unwrap_or(u16::MAX);
            let end = FlowEnd::Tcp { from: record.old_state, error };
            return Observation::FlowEnded { at, sight: FlowSight { direction, ..sight }, end };
        }
        let stream = Stream {
            sight: sight.clone(),
            since_ns: record.header.at_ns,
            dumped: sight.owner.is_some(),
            misses: 0,
        };
        self.streams.insert(record.cookie, stream);
        Observation::Flow(sight)
    }

    /// The first packet of a flow without connection.
    pub(super) fn packet_flow(&mut self, record: &PacketFlowRecord) -> Observation {
        let value = FlowValue {
            process: record.process,
            opened_ns: record.header.at_ns,
            counters: kernel::Counters::default(),
            net_ns: record.net_ns,
            flags: record.flags,
        };
        // A dump may have been faster and know more.
        let value = self.datagrams.get(&record.key).map_or(value, |known| known.value);
        self.enter(record.key, value, record.header.at_ns);
        Observation::Flow(self.datagram_sight(&record.key, &value, record.header.at_ns))
    }

    /// A socket without connections was released. `take` removes a flow from the kernel's map.
    pub(super) fn released(
        &mut self,
        record: &SocketClosedRecord,
        mut take: impl FnMut(&kernel::FlowKey) -> Option<FlowValue>,
    ) -> Vec<Observation> {
        let at_ns = record.header.at_ns;
        let first = (record.flags & socket_flag::FIRST != 0).then(|| first_of(record));
        if let Some((key, value)) = first
            && !self.datagrams.contains_key(&key)
        {
            // Its first record was lost, or no dump came between.
            self.enter(key, value, at_ns);
        }
        let mut take = |key: &kernel::FlowKey| match first {
            Some((its, value)) if its == *key => Some(value),
            _ => take(key),
        };
        let keys = self.by_cookie.remove(&record.cookie).unwrap_or_default();
        let mut out: Vec<Observation> =
            keys.iter().filter_map(|key| self.end(key, at_ns, FlowEnd::Released, &mut take)).collect();
        out.push(Observation::SocketReleased { at: self.clock.wall(at_ns), cookie: record.cookie });
        out
    }

    /// A read of the kernel's flow map: tells what moved.
    pub(super) fn flows(&mut self, read: &[(kernel::FlowKey, FlowValue)], now_ns: u64) -> Vec<Observation> {
        read.iter().filter_map(|(key, value)| self.counted(key, value, now_ns)).collect()
    }

    fn counted(&mut self, key: &kernel::FlowKey, value: &FlowValue, now_ns: u64) -> Option<Observation> {
        let known = self.datagrams.get(key);
        if known.is_some_and(|known| known.value.counters == value.counters) {
            return None;
        }
        // A flow whose record is still on its way, or was lost, begins when its first packet passed.
        let at_ns = if known.is_some() { now_ns } else { value.opened_ns };
        let sight = self.datagram_sight(key, value, at_ns);
        self.enter(*key, *value, now_ns);
        Some(Observation::Flow(sight))
    }

    /// A dump of all sockets: tells connections and first flows that are new here or have moved. `seeding` also tells connected
    /// sockets of other protocols that have had no packet yet.
    pub(super) fn rows(&mut self, rows: &[SocketRow], now_ns: u64, seeding: bool) -> Vec<Observation> {
        let listening: HashSet<(u32, u16)> = rows
            .iter()
            .filter(|row| row.state == tcp_state::LISTEN)
            .map(|row| (row.net_ns, row.tuple.local_port))
            .collect();
        let mut out = Vec::new();
        for row in rows {
            if u32::from(row.tuple.protocol) == TCP {
                out.extend(self.stream_row(row, now_ns, &listening).map(Observation::Flow));
            } else if row.flags & socket_flag::FIRST != 0 {
                let (key, value) = first_in(row);
                out.extend(self.counted(&key, &value, now_ns));
            } else if seeding && row.flags & socket_flag::SEEDED != 0 && row.tuple.remote_port != 0 {
                let key = kernel::FlowKey { cookie: row.cookie, tuple: row.tuple };
                if !self.datagrams.contains_key(&key) {
                    let value = FlowValue {
                        process: row.process,
                        opened_ns: row.opened_ns,
                        counters: kernel::Counters::default(),
                        net_ns: row.net_ns,
                        flags: row.flags,
                    };
                    out.push(Observation::Flow(self.datagram_sight(&key, &value, now_ns)));
                    self.enter(key, value, now_ns);
                }
            }
        }
        out
    }

    /// Ends what is over without having said so. `alive` are the cookies of the dump that was begun at
    /// `dump_ns`, nothing if there was none; the ring has been drained since.
    pub(super) fn settle(
        &mut self,
        alive: Option<&HashSet<u64>>,
        dump_ns: u64,
        crowded: bool,
        mut take: impl FnMut(&kernel::FlowKey) -> Option<FlowValue>,
    ) -> Vec<Observation> {
        let mut out = Vec::new();
        let at = self.clock.wall(dump_ns);
        if let Some(alive) = alive {
            self.streams.retain(|cookie, stream| {
                if !stream.dumped || stream.since_ns >= dump_ns || alive.contains(cookie) {
                    stream.misses = 0;
                    return true;
                }
                stream.misses += 1;
                if stream.misses >= MISSES {
                    let sight = stream.sight.clone();
                    out.push(Observation::FlowEnded { at, sight, end: FlowEnd::Vanished });
                }
                stream.misses < MISSES
            });
        }
        let quiet_ns = if crowded { QUIET_CROWDED_NS } else { QUIET_NS };
        let mut over = Vec::new();
        for (key, datagram) in &mut self.datagrams {
            let gone =
                alive.is_some_and(|alive| !alive.contains(&key.cookie)) && datagram.value.opened_ns < dump_ns;
            datagram.misses = if gone { datagram.misses + 1 } else { 0 };
            if datagram.misses >= MISSES {
                over.push((*key, FlowEnd::Vanished));
            } else if datagram.value.flags & socket_flag::FIRST == 0
                && dump_ns.saturating_sub(datagram.moved_ns) > quiet_ns
            {
                // A first flow takes no room from others; it lives with its socket, and the engine ages it.
                over.push((*key, FlowEnd::Quiet));
            }
        }
        for (key, end) in over {
            if let Some(keys) = self.by_cookie.get_mut(&key.cookie) {
                keys.retain(|other| *other != key);
                if keys.is_empty() {
                    self.by_cookie.remove(&key.cookie);
                }
            }
            out.extend(self.end(&key, dump_ns, end, &mut take));
        }
        out
    }

    fn stream_row(
        &mut self,
        row: &SocketRow,
        now_ns: u64,
        listening: &HashSet<(u32, u16)>,
    ) -> Option<FlowSight> {
        let phase = match row.state {
            tcp_state::ESTABLISHED => FlowPhase::Open,
            tcp_state::SYN_SENT => FlowPhase::Opening,
            tcp_state::FIN_WAIT1
            | tcp_state::FIN_WAIT2
            | tcp_state::CLOSE_WAIT
            | tcp_state::LAST_ACK
            | tcp_state::CLOSING => FlowPhase::Closing,
            // No connection, not yet, or no longer.
            _ => return None,
        };
        let known = self.streams.get(&row.cookie);
        let (local, remote) = endpoints(&row.tuple);
        let told = direction(row.flags);
        let direction = match known {
            _ if told != Direction::Unknown => told,
            Some(known) => known.sight.direction,
            // Nobody saw it open: if this end's port is one that listens, the other side came here.
            None if listening.contains(&(row.net_ns, row.tuple.local_port)) => Direction::Inbound,
            None => Direction::Unknown,
        };
        let sight = FlowSight {
            at: self.clock.wall(if known.is_some() { now_ns } else { row.opened_ns }),
            key: FlowKey::Stream { cookie: row.cookie },
            owner: process(row.process),
            protocol: protocol(row.tuple.protocol, row.flags),
            direction,
            local,
            remote,
            net_ns: row.net_ns,
            phase,
            counters: counters(&row.counters),
        };
        let since_ns = known.map_or(row.opened_ns, |known| known.since_ns);
        if known.is_some_and(|known| FlowSight { at: sight.at, ..known.sight.clone() } == sight) {
            return None;
        }
        self.streams.insert(row.cookie, Stream { sight: sight.clone(), since_ns, dumped: true, misses: 0 });
        Some(sight)
    }

    fn enter(&mut self, key: kernel::FlowKey, value: FlowValue, now_ns: u64) {
        let datagram = Datagram { value, moved_ns: now_ns, misses: 0 };
        if self.datagrams.insert(key, datagram).is_none() {
            self.by_cookie.entry(key.cookie).or_default().push(key);
        }
    }

    /// Ends a flow without connection with its last counters: those in the kernel's map, else those known here.
    fn end(
        &mut self,
        key: &kernel::FlowKey,
        at_ns: u64,
        end: FlowEnd,
        take: &mut impl FnMut(&kernel::FlowKey) -> Option<FlowValue>,
    ) -> Option<Observation> {
        let known = self.datagrams.remove(key)?;
        let value = take(key).unwrap_or(known.value);
        let sight = self.datagram_sight(key, &value, at_ns);
        Some(Observation::FlowEnded { at: sight.at, sight, end })
    }

    fn datagram_sight(&self, key: &kernel::FlowKey, value: &FlowValue, at_ns: u64) -> FlowSight {
        let (local, remote) = endpoints(&key.tuple);
        let protocol = protocol(key.tuple.protocol, value.flags);
        let counters: Counters = counters(&value.counters);
        FlowSight {
            at: self.clock.wall(at_ns),
            key: FlowKey::Datagram { cookie: key.cookie, protocol, local, remote },
            owner: process(value.process),
            protocol,
            direction: direction(value.flags),
            local,
            remote,
            net_ns: value.net_ns,
            phase: FlowPhase::Open,
            counters,
        }
    }
}

/// The first flow of a socket as its end tells it.
fn first_of(record: &SocketClosedRecord) -> (kernel::FlowKey, FlowValue) {
    let SocketClosedRecord { process, cookie, tuple, counters, opened_ns, net_ns, flags, .. } = *record;
    (kernel::FlowKey { cookie, tuple }, FlowValue { process, opened_ns, counters, net_ns, flags })
}

/// The first flow of a socket as a dump tells it.
fn first_in(row: &SocketRow) -> (kernel::FlowKey, FlowValue) {
    let SocketRow { process, cookie, tuple, counters, opened_ns, net_ns, flags, .. } = *row;
    (kernel::FlowKey { cookie, tuple }, FlowValue { process, opened_ns, counters, net_ns, flags })
}

/// `IPPROTO_TCP`.
const TCP: u32 = 6;

#[cfg(test)]
mod tests;
