//! What was refused so far, so that each refusal is told once, at once the first time and by number afterwards.
//!
//! Pure: it is fed with records and with reads of the kernel's map, and answers with observations.

use std::{collections::HashMap, net::Ipv6Addr};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    kernel::{RefusalKey, RefusalValue, RefusedRecord, policy::refusal_flag},
};

use super::{clock::Clock, decode::process};
use crate::engine::input::{Observation, RefusedSight, SeenBy};

/// Time without a refusal after which an entry is taken out of the kernel's map.
const IDLE_NS: u64 = 60_000_000_000;

/// The same while the map is more than three quarters full.
const IDLE_CROWDED_NS: u64 = 2_000_000_000;

/// How much of each entry in the kernel's map was told.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<RefusalKey, u64>);

impl Told {
    /// A first refusal. Its entry is in the map before its record is in the ring, so a read of the map may have
    /// told it already: then it is told as no further one.
    pub(super) fn first(&mut self, record: &RefusedRecord, clock: Clock) -> Observation {
        let is_new = !self.0.contains_key(&record.key);
        if is_new {
            self.0.insert(record.key, 1);
        }
        observation(&record.key, record.header.at_ns, u64::from(is_new), clock)
    }

    /// A read of the map: tells what moved, and takes out what has not for a while.
    pub(super) fn read(
        &mut self,
        entries: &[(RefusalKey, RefusalValue)],
        room: usize,
        now_ns: u64,
        clock: Clock,
        mut take: impl FnMut(&RefusalKey) -> Option<RefusalValue>,
    ) -> Vec<Observation> {
        let idle_ns = if entries.len() > room / 4 * 3 { IDLE_CROWDED_NS } else { IDLE_NS };
        let mut out = Vec::new();
        for (key, value) in entries {
            self.tell(key, value, clock, &mut out);
            if now_ns.saturating_sub(value.last_ns) > idle_ns {
                // It may have moved since it was read.
                if let Some(last) = take(key) {
                    self.tell(key, &last, clock, &mut out);
                }
                self.0.remove(key);
            }
        }
        out
    }

    fn tell(&mut self, key: &RefusalKey, value: &RefusalValue, clock: Clock, out: &mut Vec<Observation>) {
        let told = self.0.entry(*key).or_default();
        let more = value.count.saturating_sub(*told);
        *told = value.count.max(*told);
        if more > 0 {
            out.push(observation(key, value.last_ns, more, clock));
        }
    }
}

fn observation(key: &RefusalKey, at_ns: u64, attempts: u64, clock: Clock) -> Observation {
    let has = |flag| key.flags & flag != 0;
    let sight = RefusedSight {
        at: clock.wall(at_ns),
        rule: key.rule,
        owner: process(key.process),
        protocol: Protocol::from_ip(key.protocol),
        direction: if has(refusal_flag::INBOUND) { Direction::Inbound } else { Direction::Outbound },
        remote: Endpoint::new(Ipv6Addr::from(key.remote).into(), key.remote_port),
        attempts,
        seen_by: SeenBy::Programs,
    };
    if has(refusal_flag::ATTEMPT) { Observation::Attempted(sight) } else { Observation::Refused(sight) }
}

#[cfg(test)]
mod tests {
    use sekhmet_common::kernel::{Header, ProcessKey, kind};

    use super::*;

    const KEY: RefusalKey = RefusalKey {
        process: ProcessKey { tgid: 7, reserved: 0, start_ns: 9 },
        remote: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1],
        rule: 3,
        remote_port: 443,
        protocol: 6,
        flags: 0,
    };

    fn record() -> RefusedRecord {
        let header = Header { kind: kind::REFUSED, length: size_of::<RefusedRecord>() as u32, at_ns: 5 };
        RefusedRecord { header, key: KEY, net_ns: 0, reserved: 0 }
    }

    fn value(count: u64, last_ns: u64) -> RefusalValue {
        RefusalValue { count, last_ns, ..RefusalValue::default() }
    }

    fn sum(observations: &[Observation]) -> u64 {
        observations
            .iter()
            .map(|o| match o {
                Observation::Refused(sight) => sight.attempts,
                other => panic!("{other:?}"),
            })
            .sum()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_by_number() {
        let (mut told, clock) = (Told::default(), Clock::read());
        let first = told.first(&record(), clock);
        assert_eq!(sum(std::slice::from_ref(&first)), 1);
        let Observation::Refused(sight) = first else { panic!() };
        assert_eq!(sight.remote.to_string(), "192.0.2.1:443");
        assert_eq!((sight.rule, sight.protocol), (3, Protocol::Tcp));
        assert_eq!(sum(&told.read(&[(KEY, value(5, 10))], 100, 20, clock, |_| None)), 4);
        assert_eq!(told.read(&[(KEY, value(5, 10))], 100, 20, clock, |_| None), []);
    }

    #[test]
    fn a_record_behind_a_read_adds_nothing() {
        let (mut told, clock) = (Told::default(), Clock::read());
        assert_eq!(sum(&told.read(&[(KEY, value(3, 10))], 100, 20, clock, |_| None)), 3);
        assert_eq!(sum(&[told.first(&record(), clock)]), 0);
    }

    #[test]
    fn what_rests_is_taken_out_with_its_last_count_and_begins_anew() {
        let (mut told, clock) = (Told::default(), Clock::read());
        let late = 10 + IDLE_NS + 1;
        assert_eq!(sum(&told.read(&[(KEY, value(3, 10))], 100, late, clock, |_| Some(value(4, late)))), 4);
        assert_eq!(sum(&[told.first(&record(), clock)]), 1);
        // A crowded map is emptied sooner.
        let soon = 10 + IDLE_CROWDED_NS + 1;
        assert_eq!(sum(&told.read(&[(KEY, value(2, 10))], 1, soon, clock, |_| Some(value(2, 10)))), 1);
        assert!(told.0.is_empty());
    }
}
