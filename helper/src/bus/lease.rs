//! One client's right to its stream: from the check through the last byte.
//!
//! Each open stream is one task. It ends when the client leaves the bus, closes its end, reads nothing for
//! five seconds, or when polkit's rules change and now say no. Ending shuts the socket, and with it every
//! copy of the client's end.

use std::{io, os::unix::net, sync::Arc, time::Duration};

use rustix::net::{Shutdown, shutdown};
use tokio::{
    io::Interest,
    net::UnixStream,
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use zbus::{Connection, Message};

use crate::{
    bus::{
        actions::{Right, WatchAll, WatchOwn},
        authority::{Asking, Authority, Caller, Granted, Presence},
        limits::Permit,
        reply::{CallError, answer},
        stream::{self, Frames, Queue, Tally, Written},
    },
    engine::input::{ClientId, Scope},
};

/// How many orders may wait for a task that is asking polkit something.
const ORDERS_MAX: usize = 64;

/// How long polkit may take to say whether a right still stands.
const RECHECK_MAX: Duration = Duration::from_secs(10);

/// What the owner of all streams tells one of them.
#[derive(Debug)]
pub enum Order {
    /// A snapshot for this client alone.
    Snapshot(Frames),
    /// What was published to everybody with this scope.
    Delta(Frames),
    /// Something was published that did not find its way here.
    Missed,
}

/// What one stream tells the owner of all.
#[derive(Debug)]
pub enum Report {
    /// It is open.
    Opened {
        /// Which.
        client: ClientId,
        /// What it may see.
        scope: Scope,
        /// Where to send what it should write.
        orders: mpsc::Sender<Order>,
    },
    /// It needs a fresh snapshot.
    Resync(ClientId),
    /// It is over.
    Ended(ClientId),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    CallerLeft,
    Closed,
    NotReading,
    Revoked,
    HelperStops,
}

/// A right that opens a stream says what can be seen with it.
pub trait Watch: Right + Sized {
    /// What the holder of the grant may see.
    fn scope(granted: &Granted<Self>) -> Scope;
}

impl Watch for WatchOwn {
    fn scope(granted: &Granted<Self>) -> Scope {
        Scope::Own(granted.caller().uid)
    }
}

impl Watch for WatchAll {
    fn scope(_granted: &Granted<Self>) -> Scope {
        Scope::All
    }
}

/// A call of `OpenEventStream` that was admitted and taken apart.
#[derive(Debug)]
pub struct Opening {
    /// The connection to answer on.
    pub connection: Connection,
    /// The call.
    pub call: Message,
    /// Who calls.
    pub caller: Caller,
    /// The name of the stream to be.
    pub client: ClientId,
    /// Where to report.
    pub reports: mpsc::Sender<Report>,
    /// Counts messages.
    pub tally: Arc<Tally>,
    /// Changes whenever polkit's rules do.
    pub rules: watch::Receiver<u64>,
    /// The place among the streams.
    pub place: Permit,
    /// The places among the calls, given back with the answer.
    pub call_places: Vec<CallPlace>,
}

/// A place that is held until the call is answered.
pub type CallPlace = Box<dyn Send + Sync + std::fmt::Debug>;

impl Opening {
    /// Asks for the right, answers the call, and serves the stream until it ends.
    pub async fn run<W: Watch>(mut self) {
        let authority = Authority::new(self.connection.clone());
        let opened = match authority.check::<W>(&self.call, &self.caller, Asking::plainly(&self.call)).await {
            Ok((granted, presence)) => self.open(&granted).await.map(|lease| (lease, presence)),
            Err(refusal) => Err(refusal.into()),
        };
        self.call_places.clear();
        match opened {
            Ok((lease, presence)) => lease.serve::<W>(self, authority, presence).await,
            Err(error) => {
                if let Err(error) = answer::<()>(&self.connection, &self.call, Err(error)).await {
                    tracing::debug!(%error, "the bus left before an answer");
                }
            }
        }
    }

    /// Makes the socket and hands one end to the caller. Nobody gets here without a grant.
    async fn open<W: Watch>(&self, granted: &Granted<W>) -> Result<Lease, CallError> {
        let failed = |error: io::Error| {
            tracing::warn!(%error, "no socket for a stream");
            CallError::Failed("no socket for a stream")
        };
        let (ours, theirs) = stream::pair().map_err(failed)?;
        // tokio has no type for packet sockets. Its stream type waits for readiness just as well; what is
        // written goes through `stream::Queue`.
        let socket = UnixStream::from_std(net::UnixStream::from(ours)).map_err(failed)?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (client, scope) = (self.client, W::scope(granted));
        let lease = Lease { client, socket, inbox, queue: Queue::new(Arc::clone(&self.tally)) };
        self.reports
            .send(Report::Opened { client, scope, orders })
            .await
            .map_err(|_stopped| CallError::Failed("the helper stops"))?;
        if let Err(error) = answer(&self.connection, &self.call, Ok(zbus::Fd::from(&theirs))).await {
            tracing::debug!(%error, "the bus left before an answer");
        }
        Ok(lease)
    }
}

/// An open stream.
#[derive(Debug)]
struct Lease {
    client: ClientId,
    socket: UnixStream,
    inbox: mpsc::Receiver<Order>,
    queue: Queue,
}

impl Lease {
    async fn serve<W: Watch>(mut self, opening: Opening, authority: Authority, mut presence: Presence) {
        let Opening { call, caller, reports, mut rules, place, .. } = opening;
        rules.mark_unchanged();
        let end = loop {
            tokio::select! {
                () = presence.ends() => break End::CallerLeft,
                changed = rules.changed() => {
                    let still = authority.still_allows::<W>(&call, &caller);
                    if changed.is_err() {
                        break End::HelperStops;
                    }
                    if !timeout(RECHECK_MAX, still).await.unwrap_or(false) {
                        break End::Revoked;
                    }
                }
                end = self.write(&reports) => break end,
            }
        };
        tracing::info!(sender = %caller.name, uid = caller.uid, ?end, "stream ended");
        if let Err(error) = shutdown(&self.socket, Shutdown::Both) {
            tracing::debug!(%error, "the client's end was closed before");
        }
        drop(place);
        if reports.send(Report::Ended(self.client)).await.is_err() {
            tracing::debug!("the bus thread stops");
        }
    }

    /// Writes what is ordered until the client closes its end or stops reading. Gives up nothing when it is
    /// dropped in between and called again.
    async fn write(&mut self, reports: &mpsc::Sender<Report>) -> End {
        let mut progress = self.queue.progress();
        let mut deadline = Instant::now() + stream::STALL;
        loop {
            if progress != self.queue.progress() || !self.queue.wants_to_write() {
                progress = self.queue.progress();
                deadline = Instant::now() + stream::STALL;
            }
            let written = tokio::select! {
                order = self.inbox.recv() => {
                    match order {
                        None => return End::HelperStops,
                        Some(Order::Snapshot(frames)) => self.queue.snapshot(frames),
                        Some(Order::Delta(frames)) => self.queue.delta(frames),
                        Some(Order::Missed) => self.queue.fall_behind(),
                    }
                    self.queue.write(&self.socket)
                }
                ready = self.socket.ready(Interest::WRITABLE) => {
                    if ready.map_or(true, |ready| ready.is_write_closed()) {
                        return End::Closed;
                    }
                    self.queue.has_room();
                    let mut written = Written::All;
                    // "Would block" makes tokio wait for the kernel's next word. It is said in any case, for
                    // with nothing to write the socket would be ready for ever.
                    let waits = self.socket.try_io(Interest::WRITABLE, || {
                        written = self.queue.write(&self.socket);
                        io::Result::<()>::Err(io::ErrorKind::WouldBlock.into())
                    });
                    debug_assert!(waits.is_err());
                    written
                }
                () = sleep_until(deadline), if self.queue.wants_to_write() => return End::NotReading,
            };
            if written == Written::Closed {
                return End::Closed;
            }
            if self.queue.needs_resync() {
                let Ok(report) = reports.reserve().await else { return End::HelperStops };
                self.queue.resync_asked();
                report.send(Report::Resync(self.client));
            }
        }
    }
}
