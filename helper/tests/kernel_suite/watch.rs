//! The reader at work, and everything that it has told so far.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use sekhmet_common::coverage::{KindBalance, Source};
use sekhmet_helper::{
    engine::input::{FlowEnd, FlowSight, Input, Observation, ProcessKey},
    kernel::{Kernel, Reader, clock::boot_ns, start},
};

/// An emulated machine is slow; a test that passes never waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Watch {
    reader: Reader,
    receiver: Receiver<Input>,
    pub(crate) seen: Vec<Observation>,
    balance: Vec<KindBalance>,
    balances: usize,
    sources: Vec<Source>,
}

impl Watch {
    pub(crate) fn start(kernel: Kernel) -> Self {
        let (sender, receiver) = bounded(64);
        let reader = start(kernel, sender).unwrap();
        reader.set_interval(Duration::from_millis(100));
        Self { reader, receiver, seen: Vec::new(), balance: Vec::new(), balances: 0, sources: Vec::new() }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.reader.is_running()
    }

    /// Waits until `found` finds something in all that was told.
    pub(crate) fn until<T>(&mut self, found: impl Fn(&[Observation]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(result) = found(&self.seen) {
                return Some(result);
            }
            if !self.pump(end) {
                return None;
            }
        }
    }

    /// The first flow that ended between these two ports, with its end.
    pub(crate) fn ended(&mut self, local: u16, remote: u16) -> Option<(FlowSight, FlowEnd)> {
        self.until(|seen| {
            seen.iter().find_map(|o| match o {
                Observation::FlowEnded { sight, end, .. } if between(sight, local, remote) => {
                    Some((sight.clone(), *end))
                }
                _ => None,
            })
        })
    }

    /// Waits for a flow between these two ports for which `good` holds.
    pub(crate) fn flow(
        &mut self,
        local: u16,
        remote: u16,
        good: impl Fn(&FlowSight) -> bool,
    ) -> Option<FlowSight> {
        self.until(|seen| flows(seen, local, remote).find(|sight| good(sight)).cloned())
    }

    /// All that was told of the flows between two ports, to say what was found instead.
    pub(crate) fn told(&self, local: u16, remote: u16) -> String {
        let lines: Vec<String> = self
            .seen
            .iter()
            .filter(|o| match o {
                Observation::Flow(sight) | Observation::FlowEnded { sight, .. } => {
                    between(sight, local, remote)
                }
                _ => false,
            })
            .map(|o| format!("{o:?}"))
            .collect();
        if lines.is_empty() { "nothing was told of it".into() } else { lines.join("\n") }
    }

    /// Waits until the line of this capability on the coverage panel says these words.
    pub(crate) fn coverage(&mut self, capability: &str, words: &str) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut lines = self.sources.iter().filter(|line| line.capability.to_string() == capability);
            if lines
                .any(|line| [&line.cost, &line.reason].iter().any(|said| said.to_string().contains(words)))
            {
                return true;
            }
            if !self.pump(end) {
                return false;
            }
        }
    }

    /// The balance once nothing is in flight.
    pub(crate) fn settled_balance(&mut self) -> Vec<KindBalance> {
        let end = Instant::now() + PATIENCE;
        // What waited in the channel is from before.
        while self.pump(Instant::now()) {}
        let first = self.balances + 2;
        while self.balances < first || self.balance.iter().any(|line| line.in_flight > 0) {
            if !self.pump(end) {
                break;
            }
        }
        self.balance.clone()
    }

    fn pump(&mut self, end: Instant) -> bool {
        match self.receiver.recv_deadline(end) {
            Ok(Input::Observed(observations)) => self.seen.extend(observations),
            Ok(Input::Balance(balance)) => {
                self.balance = balance;
                self.balances += 1;
            }
            Ok(Input::Coverage { sources, .. }) => self.sources = sources,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
        true
    }
}

pub(crate) fn between(sight: &FlowSight, local: u16, remote: u16) -> bool {
    sight.local.port == local && sight.remote.port == remote
}

fn flows(seen: &[Observation], local: u16, remote: u16) -> impl Iterator<Item = &FlowSight> {
    seen.iter().filter_map(move |o| match o {
        Observation::Flow(sight) if between(sight, local, remote) => Some(sight),
        _ => None,
    })
}

/// This process's PID and start, the latter in clock ticks as `/proc` has it.
pub(crate) fn me() -> (u32, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    (std::process::id(), fields.split(' ').nth(19).unwrap().parse().unwrap())
}

/// Whether a key is this process.
pub(crate) fn is_me(key: Option<ProcessKey>) -> bool {
    // USER_HZ is 100 on every architecture that this runs on.
    let (pid, ticks) = me();
    key.is_some_and(|key| key.tgid == pid && key.start_ns / 10_000_000 == ticks && key.start_ns < boot_ns())
}
