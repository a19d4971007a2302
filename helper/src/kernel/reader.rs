//! The thread `kernel`: drains the ring, polls the counters, and hands observations to the engine.

mod files;
mod gaps;

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sekhmet_common::{
    flow::Counters,
    kernel::{FlowKey, FlowValue, ProcessKey, Residue, policy::REFUSALS_MAX, stat},
};

use self::{files::tell_files, gaps::GAPS};
use super::{
    balance::{KernelCounts, PerKind},
    book::Book,
    clock::{Clock, boot_ns},
    decode::{KINDS, Record, decode_record, executed, image, process},
    load::Kernel,
    log::KernelLog,
    outbox::Outbox,
    reading::take_flow,
    refusals::Told,
    sys,
};
use crate::{
    engine::input::{Input, Observation, ProcessKey as EngineKey},
    seed::seed,
};

/// The longest time a record waits in a ring that is far from full.
const RING_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Polls between two looks whether the processes that have residues are still there.
const RESIDUES_KEPT: u32 = 10;

/// Time between two polls of the counters while a client watches.
pub const INTERVAL_WATCHED: Duration = Duration::from_secs(1);

/// The same while nobody does.
pub const INTERVAL_ALONE: Duration = Duration::from_secs(5);

/// The running thread. Dropping it stops the thread and detaches the programs.
#[derive(Debug)]
pub struct Reader {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Control {
    interval_ms: AtomicU64,
    stop: AtomicBool,
}

/// Starts the thread: it tells first what existed before, then what happens.
///
/// `sender` gets [`Input::Observed`] and, after each poll, [`Input::Balance`]. It is never waited for: what finds
/// no room is kept for a while, then counted as lost.
///
/// # Errors
/// The system has no thread left.
pub fn start(kernel: Kernel, sender: Sender<Input>) -> io::Result<Reader> {
    let interval_ms = AtomicU64::new(u64::try_from(INTERVAL_ALONE.as_millis()).unwrap_or(u64::MAX));
    let control = Arc::new(Control { interval_ms, stop: AtomicBool::new(false) });
    let worker = Worker::new(kernel, sender, Arc::clone(&control));
    let thread = std::thread::Builder::new().name("kernel".into()).spawn(move || worker.run())?;
    Ok(Reader { control, thread: Some(thread) })
}

/// Sets how often the counters are polled, from another thread than the one that holds the [`Reader`].
#[derive(Clone, Debug)]
pub struct Pace(Arc<Control>);

impl Pace {
    /// Changes the time between two polls of the counters; takes effect within 100 ms.
    pub fn set(&self, interval: Duration) {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.0.interval_ms.store(millis, Ordering::Relaxed);
    }
}

impl Reader {
    /// A handle by which another thread sets the interval.
    pub fn pace(&self) -> Pace {
        Pace(Arc::clone(&self.control))
    }

    /// Changes the time between two polls of the counters; takes effect within 100 ms.
    pub fn set_interval(&self, interval: Duration) {
        self.pace().set(interval);
    }

    /// Whether the thread is still at work; it ends by itself when nobody receives any more.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops the thread after a last poll.
    pub fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.control.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the kernel reader had panicked");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.join();
    }
}

struct Worker {
    kernel: Kernel,
    control: Arc<Control>,
    log: KernelLog,
    book: Book,
    outbox: Outbox,
    clock: Clock,
    /// Residues that were told.
    residues: HashMap<ProcessKey, Residue>,
    refusals: Told,
    /// Of each of [`GAPS`], how much was warned of.
    gaps: [u64; GAPS.len()],
    polls: u32,
    /// Losses that were told.
    lost: PerKind,
    malformed: u64,
    /// Events that no program was run for, as told on the coverage panel.
    missed: PerKind,
    /// Opens by io_uring that could not be resolved, as told there.
    by_uring: u64,
}

impl Worker {
    fn new(mut kernel: Kernel, sender: Sender<Input>, control: Arc<Control>) -> Self {
        let clock = Clock::read();
        Self {
            log: KernelLog::open(&mut kernel.ebpf),
            kernel,
            control,
            book: Book::new(clock),
            outbox: Outbox::new(sender),
            clock,
            residues: HashMap::new(),
            refusals: Told::default(),
            gaps: [0; GAPS.len()],
            polls: 0,
            lost: PerKind::default(),
            malformed: 0,
            missed: PerKind::default(),
            by_uring: 0,
        }
    }

    fn run(mut self) {
        match seed(&self.kernel) {
            Ok(seen) => self.outbox.extend(seen),
            Err(error) => tracing::warn!(%error, "cannot list what existed before"),
        }
        self.poll(true);
        self.outbox.push(Observation::SeedComplete);
        let mut last_poll = Instant::now();
        while self.outbox.flush() && !self.control.stop.load(Ordering::Relaxed) {
            self.wait();
            self.drain();
            self.log.flush();
            let interval = Duration::from_millis(self.control.interval_ms.load(Ordering::Relaxed));
            if last_poll.elapsed() >= interval {
                last_poll = Instant::now();
                self.poll(false);
            }
        }
        self.drain();
        self.poll(false);
        self.outbox.flush();
    }

    /// Until the ring wants to be read, at most [`RING_WAIT`].
    fn wait(&self) {
        let mut ready =
            [&self.kernel.events, &self.kernel.files].map(|ring| PollFd::new(ring, PollFlags::IN));
        match poll(&mut ready, Some(&RING_WAIT)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for the ring");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Reads both rings. What happened to files was in its ring before the other one is read, so whatever came
    /// before it in a process's life is told before it, and in the order of time.
    fn drain(&mut self) {
        let mut accesses = self.read_files();
        let Self { kernel, book, outbox, clock, malformed, refusals, .. } = self;
        let flows = kernel.flows.fd().as_fd();
        while let Some(bytes) = kernel.events.next() {
            match decode_record(&bytes) {
                Ok(record) => {
                    tell_files(&mut accesses, record.at_ns(), *clock, outbox);
                    observe(&record, *clock, book, refusals, outbox, |key| take(flows, key));
                }
                Err(error) => {
                    outbox.lose(error.kind());
                    if *malformed == 0 {
                        tracing::error!(%error, "the kernel programs made a malformed record");
                    }
                    *malformed += 1;
                }
            }
        }
        tell_files(&mut accesses, u64::MAX, *clock, outbox);
    }

    /// Reads all counters and tells what moved.
    ///
    /// Dumps first, then the ring, then conclusions: whatever a dump still shows and is over by now has its end
    /// in the ring, behind it.
    fn poll(&mut self, seeding: bool) {
        self.drain();
        self.clock = Clock::read();
        self.book.set_clock(self.clock);
        let now_ns = boot_ns();
        let flows = or_warn(self.kernel.read_flows(), "cannot read the flow map").unwrap_or_default();
        let rows = or_warn(self.kernel.dump_sockets(), "cannot dump the sockets").flatten();
        self.outbox.extend(self.book.flows(&flows, now_ns));
        self.outbox.extend(self.book.rows(rows.as_deref().unwrap_or_default(), now_ns, seeding));
        self.drain();
        let alive: Option<HashSet<u64>> = rows.map(|rows| rows.iter().map(|row| row.cookie).collect());
        let crowded = flows.len() > self.kernel.flows_max / 4 * 3;
        let map = self.kernel.flows.fd().as_fd();
        let over = self.book.settle(alive.as_ref(), now_ns, crowded, |key| take(map, key));
        self.outbox.extend(over);
        self.tell_residues();
        self.tell_refusals(now_ns);
        self.warn_of_gaps();
        self.outbox.push(Observation::PollComplete { at: self.clock.wall(now_ns) });
        self.tell_losses(now_ns);
    }

    fn tell_residues(&mut self) {
        let Some(residues) = or_warn(self.kernel.read_residues(), "cannot read the residue map") else {
            return;
        };
        for (key, residue) in &residues {
            self.tell_residue(*key, *residue);
        }
        self.residues = residues;
        self.polls = self.polls.wrapping_add(1);
        if self.residues.is_empty() || !self.polls.is_multiple_of(RESIDUES_KEPT) {
            return;
        }
        // A connection that outlives its process may still leave something; then the entry begins anew.
        let over = or_warn(self.kernel.take_residues_of_gone(), "cannot forget residues").unwrap_or_default();
        for (key, residue) in over {
            self.tell_residue(key, residue);
            self.residues.remove(&key);
        }
    }

    fn tell_residue(&mut self, key: ProcessKey, residue: Residue) {
        let told = self.residues.get(&key).copied().unwrap_or_default();
        let counters = Counters {
            tx_bytes: residue.tx_bytes.saturating_sub(told.tx_bytes),
            rx_bytes: residue.rx_bytes.saturating_sub(told.rx_bytes),
            ..Counters::default()
        };
        if let Some(owner) = process(key)
            && counters != Counters::default()
        {
            self.outbox.push(Observation::Residue { owner, counters });
        }
    }

    fn tell_refusals(&mut self, now_ns: u64) {
        let Some(entries) = or_warn(self.kernel.read_refusals(), "cannot read the refusals") else { return };
        let map = self.kernel.refusals.fd().as_fd();
        let take = |key: &_| or_warn(sys::take(map, key), "cannot take a refusal").flatten();
        let sights = self.refusals.read(&entries, REFUSALS_MAX, now_ns, self.clock, take);
        self.outbox.extend(sights);
    }

    fn tell_losses(&mut self, now_ns: u64) {
        let counts = match self.kernel.counts() {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!(%error, "cannot read the record counters");
                KernelCounts::default()
            }
        };
        let balance = self.outbox.balance(&counts);
        for ((number, kind), line) in KINDS.iter().zip(&balance) {
            let Some(told) = self.lost.get_mut(*number as usize) else { continue };
            let count = line.lost.saturating_sub(*told);
            if count > 0 {
                *told = line.lost;
                self.outbox.push(Observation::Lost { at: self.clock.wall(now_ns), kind: *kind, count });
            }
        }
        self.outbox.set_balance(balance);
        let by_uring = self.kernel.stat(stat::FILE_URING).unwrap_or(self.by_uring);
        if counts.missed != self.missed || by_uring != self.by_uring {
            self.missed = counts.missed;
            self.by_uring = by_uring;
            let (mode, sources) = (self.kernel.mode(), self.kernel.sources());
            self.outbox.set_coverage(mode, sources);
        }
    }
}

/// Makes observations of one record.
fn observe(
    record: &Record,
    clock: Clock,
    book: &mut Book,
    refusals: &mut Told,
    outbox: &mut Outbox,
    take: impl FnMut(&FlowKey) -> Option<FlowValue>,
) {
    let at = clock.wall(record.at_ns());
    let observation = match record {
        Record::Exec(exec) => Observation::Executed { at, image: executed(exec) },
        Record::Fork(fork) => Observation::Forked { at, image: image(&fork.task) },
        Record::Exit(exit) => {
            let key = EngineKey { tgid: exit.process.tgid, start_ns: exit.process.start_ns };
            Observation::Exited { at, key, status: Some(exit.status) }
        }
        Record::Tcp(tcp) => book.tcp(tcp),
        Record::PacketFlow(packet) => book.packet_flow(packet),
        Record::Refused(refused) => refusals.first(refused, clock),
        // These have a ring of their own.
        Record::File(_) => return outbox.lose(Some(record.kind())),
        Record::SocketClosed(closed) => {
            let mut ended = book.released(closed, take);
            let last = ended.pop();
            outbox.extend(ended);
            match last {
                Some(last) => last,
                None => return,
            }
        }
    };
    outbox.push_record(record.kind(), observation);
}

fn take(flows: std::os::fd::BorrowedFd<'_>, key: &FlowKey) -> Option<FlowValue> {
    or_warn(take_flow(flows, key), "cannot take a flow").flatten()
}

fn or_warn<T>(result: io::Result<T>, what: &'static str) -> Option<T> {
    result.map_err(|error| tracing::warn!(%error, what)).ok()
}
