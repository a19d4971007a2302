//! The engine's thread: feeds the one owner of state and carries its effects to the edges.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, after, never, select_biased};
use sekhmet_common::time::Timestamp;

use crate::{
    bus::Outlet,
    engine::input::{Change, Effect, IdentityRequest, Input, Keep, NameFilter, ProgramKey},
};

/// How often what has gathered is published.
pub const TICK: Duration = Duration::from_millis(250);

/// The pure core: the only owner of state.
pub trait Fold: Send + 'static {
    /// Takes in one input and says what should be done.
    fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect>;
}

/// What the source of opened files is to look for.
#[derive(Debug)]
pub enum LookFor {
    /// These names, and no others.
    Names(Arc<[NameFilter]>),
    /// These files by all their names, or no longer.
    Links(Vec<(ProgramKey, bool)>),
}

/// The ends of every channel between the engine and the rest of the helper.
pub struct Edges {
    /// What the sources saw.
    pub sources: Receiver<Input>,
    /// What clients want.
    pub clients: Receiver<Input>,
    /// What was found out about processes.
    pub identities: Receiver<Input>,
    /// What should be found out.
    pub identify: Sender<IdentityRequest>,
    /// What should be enforced. Without anybody at the other end nothing can be.
    pub changes: Sender<Change>,
    /// What came of it.
    pub applied: Receiver<Input>,
    /// What should be written down of the watchlist. What came of it is told like what is enforced.
    pub keep: Sender<Keep>,
    /// Told before anything else.
    pub first: Vec<Input>,
    /// The way to the clients.
    pub outlet: Outlet,
    /// Told whether anybody watches.
    pub watched: Box<dyn FnMut(bool) + Send>,
    /// Told which names to look for in the paths of opened files, and which files.
    pub names: Box<dyn FnMut(LookFor) + Send>,
    /// Closed when the helper should end.
    pub stop: Receiver<()>,
}

/// Starts the thread. It ends when `stop` is closed.
///
/// # Errors
/// If there can be no thread.
pub fn start(engine: impl Fold, edges: Edges) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("engine".into()).spawn(move || own(engine, edges))
}

fn own(mut engine: impl Fold, mut edges: Edges) {
    for input in std::mem::take(&mut edges.first) {
        for effect in engine.step(input, Timestamp::now()) {
            edges.carry(effect);
        }
    }
    let mut next_tick = Instant::now() + TICK;
    loop {
        // A busy source must not keep the tick, or a client, waiting: those come first.
        let until_tick = next_tick.saturating_duration_since(Instant::now());
        let input = select_biased! {
            recv(edges.stop) -> _ => return,
            recv(after(until_tick)) -> _ => {
                // Ticks that were missed, in a suspended machine for instance, are not made up for.
                next_tick = (next_tick + TICK).max(Instant::now());
                Some(Input::Tick)
            }
            recv(edges.clients) -> input => open(input, &mut edges.clients),
            recv(edges.applied) -> input => open(input, &mut edges.applied),
            recv(edges.identities) -> input => open(input, &mut edges.identities),
            recv(edges.sources) -> input => open(input, &mut edges.sources),
        };
        let Some(input) = input else { continue };
        for effect in engine.step(input, Timestamp::now()) {
            edges.carry(effect);
        }
    }
}

/// What was received; a channel without senders is replaced by one that stays silent.
fn open(
    received: Result<Input, crossbeam_channel::RecvError>,
    channel: &mut Receiver<Input>,
) -> Option<Input> {
    received.inspect_err(|_closed| *channel = never()).ok()
}

impl Edges {
    fn carry(&mut self, effect: Effect) {
        match effect {
            Effect::Identify(request) => match self.identify.try_send(request) {
                Ok(()) => {}
                // The process keeps the name that the kernel gave; its next exec asks again.
                Err(TrySendError::Full(request)) => {
                    tracing::debug!(id = request.id.0, "too many processes wait for identification");
                }
                Err(TrySendError::Disconnected(_)) => tracing::trace!("nobody identifies processes"),
            },
            Effect::Watched(watched) => (self.watched)(watched),
            Effect::WatchNames(names) => (self.names)(LookFor::Names(names)),
            Effect::WatchLinks(links) => (self.names)(LookFor::Links(links)),
            // There is room for as many as the engine has under way.
            Effect::Change(change) => {
                if self.changes.try_send(change).is_err() {
                    tracing::error!("nobody enforces a change of rules");
                }
            }
            Effect::Keep(keep) => self.write_down(keep),
            Effect::WatchFrozen { .. } | Effect::Entries { .. } | Effect::WatchAnswer { .. } => {
                self.outlet.send(effect);
            }
            Effect::Frozen { .. } | Effect::Rules { .. } | Effect::Answer { .. } => self.outlet.send(effect),
            Effect::Snapshot { .. } | Effect::Publish { .. } | Effect::Status(_) => self.outlet.send(effect),
        }
    }
    /// There is room for the one change that the engine has under way. Programs that were seen are told whole with the
    /// next new one.
    fn write_down(&mut self, keep: Keep) {
        if let Err(error) = self.keep.try_send(keep) {
            match error.into_inner() {
                Keep::Watchlist { .. } => tracing::error!("nobody writes a change of the watchlist down"),
                Keep::Seen(_) => tracing::debug!("which programs were seen is written down later"),
            }
        }
    }
}
