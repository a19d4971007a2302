//! Rates from totals: what has moved since about two seconds ago.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    hash::Hash,
    net::IpAddr,
    time::Instant,
};

use sekhmet_common::{
    display::Text,
    flow::{FlowId, FlowState},
    mirror::Mirror,
    process::ProcessId,
};

use crate::ps::user;

/// How many samples are kept; the oldest is what the newest is compared with. Two seconds at one a second.
const SAMPLES: usize = 3;

/// Bytes in both directions: amounts, or amounts per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pair<T> {
    pub(crate) rx: T,
    pub(crate) tx: T,
}

/// Totals at one moment.
#[derive(Debug)]
struct Sample {
    at: Instant,
    processes: HashMap<ProcessId, Pair<u64>>,
    flows: HashMap<FlowId, Pair<u64>>,
}

/// Some samples, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: VecDeque<Sample>,
}

/// A process as a row.
#[derive(Clone, Debug)]
pub(crate) struct ProcessRow {
    pub(crate) id: ProcessId,
    pub(crate) pid: u32,
    pub(crate) name: Text,
    pub(crate) user: String,
    pub(crate) rate: Pair<f64>,
    pub(crate) total: Pair<u64>,
    pub(crate) open_flows: usize,
}

/// A remote host as a row.
#[derive(Clone, Debug)]
pub(crate) struct HostRow {
    pub(crate) addr: IpAddr,
    pub(crate) name: Option<Text>,
    pub(crate) rate: Pair<f64>,
    pub(crate) total: Pair<u64>,
    pub(crate) open_flows: usize,
}

/// What is drawn: rows by rate, then by total.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) rate: Pair<f64>,
    pub(crate) total: Pair<u64>,
    pub(crate) running: usize,
    pub(crate) open_flows: usize,
    pub(crate) processes: Vec<ProcessRow>,
    pub(crate) hosts: Vec<HostRow>,
}

impl Rates {
    /// Notes the totals of this moment.
    pub(crate) fn take(&mut self, mirror: &Mirror, at: Instant) {
        let processes = mirror.processes().map(|p| (p.id, Pair { rx: p.rx_bytes, tx: p.tx_bytes }));
        let flows = mirror.flows().map(|f| (f.id, Pair { rx: f.counters.rx_bytes, tx: f.counters.tx_bytes }));
        self.samples.push_back(Sample { at, processes: processes.collect(), flows: flows.collect() });
        while self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Everything to draw, as of the newest sample.
    pub(crate) fn summary(&self, mirror: &Mirror) -> Summary {
        let mut summary =
            Summary { processes: self.processes(mirror), hosts: self.hosts(mirror), ..Summary::default() };
        for row in &summary.processes {
            summary.total = summary.total.plus(row.total);
            summary.rate.rx += row.rate.rx;
            summary.rate.tx += row.rate.tx;
        }
        summary.running = mirror.processes().filter(|p| p.exited_at.is_none()).count();
        summary.open_flows = mirror.flows().filter(|f| f.state != FlowState::Closed).count();
        summary
    }

    fn processes(&self, mirror: &Mirror) -> Vec<ProcessRow> {
        let mut rows: Vec<ProcessRow> = mirror
            .processes()
            .map(|p| ProcessRow {
                id: p.id,
                pid: p.pid,
                name: p.name.clone(),
                user: user(p),
                rate: self.rate(p.id, |s| &s.processes),
                total: Pair { rx: p.rx_bytes, tx: p.tx_bytes },
                open_flows: mirror.open_flows_of(p.id),
            })
            .filter(|row| row.open_flows > 0 || row.total.sum() > 0)
            .collect();
        rows.sort_by_key(|row| Reverse((row.rate.weight(), row.total.sum())));
        rows
    }

    fn hosts(&self, mirror: &Mirror) -> Vec<HostRow> {
        let mut hosts: HashMap<IpAddr, HostRow> = HashMap::new();
        for f in mirror.flows().filter(|f| !f.remote.addr.is_unspecified()) {
            let addr = f.remote.addr;
            let row = hosts.entry(addr).or_insert_with(|| HostRow {
                addr,
                name: None,
                rate: Pair::default(),
                total: Pair::default(),
                open_flows: 0,
            });
            let rate = self.rate(f.id, |s| &s.flows);
            row.rate = Pair { rx: row.rate.rx + rate.rx, tx: row.rate.tx + rate.tx };
            row.total = row.total.plus(Pair { rx: f.counters.rx_bytes, tx: f.counters.tx_bytes });
            row.open_flows += usize::from(f.state != FlowState::Closed);
            if let Some(name) = &f.remote_name {
                row.name = Some(name.name.clone());
            }
        }
        let mut rows: Vec<HostRow> = hosts.into_values().collect();
        rows.sort_by_key(|row| (Reverse((row.rate.weight(), row.total.sum())), row.addr));
        rows
    }

    /// Bytes per second between the oldest and the newest sample. What the oldest does not know began after it.
    fn rate<K: Eq + Hash>(&self, id: K, of: impl Fn(&Sample) -> &HashMap<K, Pair<u64>>) -> Pair<f64> {
        let (Some(old), Some(new)) = (self.samples.front(), self.samples.back()) else {
            return Pair::default();
        };
        let seconds = new.at.saturating_duration_since(old.at).as_secs_f64();
        let Some(now) = of(new).get(&id).copied().filter(|_| seconds > 0.0) else { return Pair::default() };
        let before = of(old).get(&id).copied().unwrap_or_default();
        Pair {
            rx: now.rx.saturating_sub(before.rx) as f64 / seconds,
            tx: now.tx.saturating_sub(before.tx) as f64 / seconds,
        }
    }
}

impl Pair<u64> {
    fn sum(self) -> u64 {
        self.rx.saturating_add(self.tx)
    }

    fn plus(self, other: Self) -> Self {
        Self { rx: self.rx.saturating_add(other.rx), tx: self.tx.saturating_add(other.tx) }
    }
}

impl Pair<f64> {
    /// Whole bytes per second in both directions together, to sort by.
    fn weight(self) -> u64 {
        (self.rx + self.tx) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sekhmet_common::{
        event::{Event, FlowCounters},
        flow::{Counters, Direction, Endpoint, Flow, Protocol},
        process::Process,
        time::Timestamp,
    };

    use super::*;

    const AT: Timestamp = Timestamp(1);

    fn process(id: u64) -> Event {
        let process = Process {
            id: ProcessId(id),
            pid: 7,
            parent_id: None,
            name: "x".into(),
            exe: Text::default(),
            cmdline: Vec::new(),
            cmdline_truncated: false,
            uid: 0,
            user: None,
            unit: None,
            container: None,
            application: None,
            application_name: None,
            net_ns: 1,
            started_at: AT,
            exited_at: None,
            exit_status: None,
            tx_bytes: 0,
            rx_bytes: 0,
        };
        Event::ProcessStarted { at: AT, process }
    }

    fn flow(id: u64, remote: &str) -> Event {
        let flow = Flow {
            id: FlowId(id),
            process: Some(ProcessId(1)),
            protocol: Protocol::Udp,
            direction: Direction::Unknown,
            local: Endpoint::new("192.0.2.1".parse().unwrap(), 1),
            remote: Endpoint::new(remote.parse().unwrap(), 2),
            remote_name: None,
            net_ns: 1,
            state: FlowState::Open,
            opened_at: AT,
            closed_at: None,
            end_reason: None,
            counters: Counters::default(),
        };
        Event::FlowOpened { at: AT, flow }
    }

    fn received(id: u64, rx_bytes: u64) -> Event {
        let counters = Counters { rx_bytes, tx_bytes: rx_bytes / 10, ..Counters::default() };
        Event::Traffic { at: AT, flows: vec![FlowCounters { id: FlowId(id), counters }] }
    }

    #[test]
    fn a_rate_is_the_mean_of_two_seconds() {
        let (mut mirror, mut rates) = (Mirror::new(), Rates::default());
        let start = Instant::now();
        let mut second = |n: u64, events: &[Event]| {
            events.iter().for_each(|event| mirror.apply(event));
            rates.take(&mirror, start + Duration::from_secs(n));
            rates.summary(&mirror)
        };
        let first =
            second(0, &[process(1), flow(1, "198.51.100.1"), flow(2, "198.51.100.2"), received(1, 500)]);
        assert_eq!((first.rate.rx, first.total.rx, first.open_flows), (0.0, 500, 2));
        // One sample tells no rate; two a second apart tell one.
        assert_eq!(second(1, &[received(1, 2_500)]).rate, Pair { rx: 2_000.0, tx: 200.0 });
        let third = second(2, &[received(2, 8_000)]);
        assert_eq!(third.rate.rx, 5_000.0);
        let hosts: Vec<(String, f64)> = third.hosts.iter().map(|h| (h.addr.to_string(), h.rate.rx)).collect();
        assert_eq!(hosts, [("198.51.100.2".into(), 4_000.0), ("198.51.100.1".into(), 1_000.0)]);
        second(3, &[]);
        assert_eq!(second(4, &[]).rate, Pair::default(), "nothing moved for two seconds");
    }

    #[test]
    fn what_began_between_two_samples_counts_from_nothing() {
        let (mut mirror, mut rates) = (Mirror::new(), Rates::default());
        let start = Instant::now();
        rates.take(&mirror, start);
        [process(1), flow(1, "198.51.100.1"), received(1, 3_000)].iter().for_each(|e| mirror.apply(e));
        rates.take(&mirror, start + Duration::from_secs(1));
        let summary = rates.summary(&mirror);
        assert_eq!((summary.rate.rx, summary.hosts[0].rate.rx), (3_000.0, 3_000.0));
    }
}
