//! One client's socket: what waits for it, and what happens when it does not read.
//!
//! A `SOCK_SEQPACKET` pair keeps message borders. It is one-way: the client's end cannot write. What the
//! socket does not take waits in a [`Queue`]. A client that falls too far behind loses its queue and gets a
//! fresh snapshot once it reads again; one that reads nothing for [`STALL`] is dropped.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair,
        sockopt::set_socket_send_buffer_size,
    },
};
use sekhmet_common::{
    coverage::{KindBalance, RecordKind},
    event::Event,
    time::Timestamp,
    wire::{self, WireError},
};

/// A client that reads nothing for this long while something waits for it is dropped.
pub const STALL: Duration = Duration::from_secs(5);

/// The most bytes of deltas that wait for one client; beyond it a fresh snapshot is cheaper.
const DELTAS_MAX: usize = 256 * 1024;

/// `SO_SNDBUF`; the kernel doubles it for its own overhead, so that one frame of 64 KiB fits (socket(7)).
const SEND_BUFFER: usize = 64 * 1024;

/// Frames that several clients share.
pub type Frames = Arc<[Vec<u8>]>;

/// Encodes events once for everybody who gets them.
///
/// # Errors
/// [`WireError`] if an event does not fit a frame.
pub fn frames(events: &[Event]) -> Result<Frames, WireError> {
    wire::encode(events).map(Into::into)
}

/// Makes the pair: the helper's end, which only writes, and the client's end, which only reads.
///
/// # Errors
/// What the kernel says, most likely that there are no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    shutdown(&theirs, Shutdown::Write)?;
    set_socket_send_buffer_size(&ours, SEND_BUFFER)?;
    Ok((ours, theirs))
}

/// Counts the messages to all clients. `made = delivered + lost + waiting` at any time.
#[derive(Debug, Default)]
pub struct Tally {
    made: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
}

impl Tally {
    /// The balance of [`RecordKind::Stream`]; messages that wait are `in_flight`.
    pub fn balance(&self) -> KindBalance {
        // Delivered and lost first: what is made in between only makes more seem to be in flight.
        let delivered = self.delivered.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Acquire);
        let made = self.made.load(Ordering::Acquire);
        let settled = delivered.saturating_add(lost);
        let kind = RecordKind::Stream;
        KindBalance {
            kind,
            made: settled,
            delivered,
            lost,
            filtered: 0,
            in_flight: made.saturating_sub(settled),
        }
    }
}

/// What became of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits any more.
    All,
    /// The socket is full.
    Some,
    /// The client closed its end.
    Closed,
}

/// What waits for one client.
#[derive(Debug)]
pub struct Queue {
    tally: Arc<Tally>,
    waiting: VecDeque<Batch>,
    delta_bytes: usize,
    state: State,
    lost: u64,
    progress: u64,
    is_full: bool,
}

/// Frames of which some are written already.
#[derive(Debug)]
struct Batch {
    frames: Frames,
    next: usize,
    is_delta: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A snapshot is on its way from the engine; deltas before it are part of it.
    AwaitsSnapshot,
    Live,
    /// The queue was given up; a snapshot is asked for as soon as the client reads.
    Behind,
}

impl Queue {
    /// Empty, waiting for the first snapshot.
    pub fn new(tally: Arc<Tally>) -> Self {
        let waiting = VecDeque::new();
        Self {
            tally,
            waiting,
            delta_bytes: 0,
            state: State::AwaitsSnapshot,
            lost: 0,
            progress: 0,
            is_full: false,
        }
    }

    /// Takes in a snapshot. It replaces whatever waits; if messages were lost before, it says so at its end.
    pub fn snapshot(&mut self, snapshot: Frames) {
        self.give_up_waiting();
        self.state = State::Live;
        self.push(snapshot, false);
        if self.lost > 0 {
            let lost = Event::Lost { at: Timestamp::now(), kind: RecordKind::Stream, count: self.lost };
            if let Ok(notice) = frames(&[lost]) {
                self.push(notice, false);
                self.lost = 0;
            }
        }
    }

    /// Takes in what was published. Before a snapshot nothing is queued: the snapshot contains it.
    pub fn delta(&mut self, delta: Frames) {
        if self.state != State::Live {
            return;
        }
        self.push(delta, true);
    }

    /// Gives up what waits: messages went missing on the way to this queue, or too many wait.
    pub fn fall_behind(&mut self) {
        self.give_up_waiting();
        self.state = State::Behind;
    }

    /// Whether something waits to be written, or to be asked for once writing is possible.
    pub fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty() || self.state == State::Behind
    }

    /// How many messages the client's socket has taken so far.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// The kernel says that the socket takes more.
    pub fn has_room(&mut self) {
        self.is_full = false;
    }

    /// Whether the client needs a fresh snapshot and its socket has room for one.
    pub fn needs_resync(&self) -> bool {
        self.state == State::Behind && !self.is_full
    }

    /// A fresh snapshot was asked for.
    pub fn resync_asked(&mut self) {
        self.state = State::AwaitsSnapshot;
    }

    /// Writes until nothing waits or the socket is full. If too much waits then, all of it is given up.
    pub fn write(&mut self, socket: impl AsFd) -> Written {
        while let Some(batch) = self.waiting.front_mut() {
            let Some(frame) = batch.frames.get(batch.next) else {
                self.waiting.pop_front();
                continue;
            };
            match send(socket.as_fd(), frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => {
                    batch.next += 1;
                    if batch.is_delta {
                        self.delta_bytes = self.delta_bytes.saturating_sub(frame.len());
                    }
                    self.progress += 1;
                    self.tally.delivered.fetch_add(1, Ordering::Release);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.is_full = true;
                    if self.delta_bytes > DELTAS_MAX {
                        self.fall_behind();
                    }
                    return Written::Some;
                }
                Err(_) => return Written::Closed,
            }
        }
        Written::All
    }

    fn push(&mut self, frames: Frames, is_delta: bool) {
        self.tally.made.fetch_add(count(frames.len()), Ordering::Release);
        if is_delta {
            self.delta_bytes += frames.iter().map(Vec::len).sum::<usize>();
        }
        self.waiting.push_back(Batch { frames, next: 0, is_delta });
    }

    fn give_up_waiting(&mut self) {
        let left = self.waiting.drain(..).map(|batch| batch.frames.len().saturating_sub(batch.next)).sum();
        self.tally.lost.fetch_add(count(left), Ordering::Release);
        self.lost += count(left);
        self.delta_bytes = 0;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.give_up_waiting();
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rustix::net::{RecvFlags, recv};
    use sekhmet_common::{display::Text, process::ProcessId, wire::FRAME_MAX};

    use super::*;

    fn read(socket: &OwnedFd) -> Option<Vec<Event>> {
        let mut buffer = vec![0; FRAME_MAX + 1];
        match recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(_) => None,
            Ok((n, _)) => Some(wire::decode(&buffer[..n]).unwrap()),
        }
    }

    fn gone(id: u64) -> Event {
        Event::ProcessGone { at: Timestamp(1), id: ProcessId(id) }
    }

    fn begin(len: usize) -> Event {
        let version = Text::from(vec![b'v'; len]);
        Event::SnapshotBegin {
            at: Timestamp(1),
            version,
            watching_since: Timestamp(1),
            mode: Default::default(),
        }
    }

    fn balanced(tally: &Tally) -> KindBalance {
        let b = tally.balance();
        assert_eq!(b.made, b.delivered + b.lost);
        assert_eq!(tally.made.load(Ordering::Acquire), b.made + b.in_flight);
        b
    }

    #[test]
    fn the_client_cannot_write() {
        let (_ours, theirs) = pair().unwrap();
        assert_eq!(send(&theirs, b"x", SendFlags::NOSIGNAL).unwrap_err(), Errno::PIPE);
    }

    #[test]
    fn a_frame_of_the_largest_size_passes() {
        let (ours, theirs) = pair().unwrap();
        let mut queue = Queue::new(Arc::default());
        queue.snapshot([vec![1; FRAME_MAX]].as_slice().into());
        assert_eq!(queue.write(&ours), Written::All);
        let mut buffer = vec![0; FRAME_MAX + 1];
        assert_eq!(recv(&theirs, &mut buffer, RecvFlags::DONTWAIT).unwrap().0, FRAME_MAX);
    }

    #[test]
    fn deltas_before_the_snapshot_are_part_of_it() {
        let (ours, theirs) = pair().unwrap();
        let mut queue = Queue::new(Arc::default());
        queue.delta(frames(&[gone(1)]).unwrap());
        queue.snapshot(frames(&[begin(1)]).unwrap());
        queue.delta(frames(&[gone(2)]).unwrap());
        assert_eq!(queue.write(&ours), Written::All);
        assert_eq!(read(&theirs), Some(vec![begin(1)]));
        assert_eq!(read(&theirs), Some(vec![gone(2)]));
        assert_eq!(read(&theirs), None);
    }

    #[test]
    fn a_large_snapshot_waits_and_is_not_given_up() {
        let (ours, theirs) = pair().unwrap();
        let mut queue = Queue::new(Arc::default());
        let events: Vec<Event> = (0..100).map(|_| begin(30_000)).collect();
        queue.snapshot(frames(&events).unwrap());
        let mut seen = Vec::new();
        while queue.write(&ours) == Written::Some {
            seen.extend(read(&theirs).unwrap());
        }
        while let Some(more) = read(&theirs) {
            seen.extend(more);
        }
        assert_eq!(seen, events);
    }

    #[test]
    fn a_client_that_falls_behind_gets_a_snapshot_and_is_told_its_loss() {
        let (ours, theirs) = pair().unwrap();
        let tally = Arc::new(Tally::default());
        let mut queue = Queue::new(Arc::clone(&tally));
        queue.snapshot(frames(&[begin(1)]).unwrap());
        let mut made = 1;
        while queue.state == State::Live {
            queue.delta(frames(&[begin(10_000)]).unwrap());
            made += 1;
            queue.write(&ours);
            assert!(made < 1_000, "never falls behind");
        }
        assert!(!queue.needs_resync(), "the socket is full");
        queue.has_room();
        assert!(queue.needs_resync());
        queue.resync_asked();
        let balance = balanced(&tally);
        assert!(balance.lost > 0);
        assert_eq!(balance.made, made);
        assert!(!queue.needs_resync(), "asks once");
        queue.delta(frames(&[gone(1)]).unwrap());
        while read(&theirs).is_some() {}
        queue.snapshot(frames(&[begin(2)]).unwrap());
        assert_eq!(queue.write(&ours), Written::All);
        assert_eq!(read(&theirs), Some(vec![begin(2)]));
        let told = read(&theirs).unwrap();
        assert!(
            matches!(told[..], [Event::Lost { kind: RecordKind::Stream, count, .. }] if count == balance.lost),
            "{told:?}"
        );
    }

    #[test]
    fn what_waits_for_a_client_that_leaves_is_lost() {
        let (ours, theirs) = pair().unwrap();
        let tally = Arc::new(Tally::default());
        let mut queue = Queue::new(Arc::clone(&tally));
        queue.snapshot(frames(&[begin(1)]).unwrap());
        drop(theirs);
        assert_eq!(queue.write(&ours), Written::Closed);
        assert_eq!(balanced(&tally).in_flight, 1);
        drop(queue);
        let balance = balanced(&tally);
        assert_eq!((balance.lost, balance.in_flight), (1, 0));
    }
}
