//! Puts the helper together: sources, engine and bus, each on its thread, and ends them in order.

pub mod enforcer;
pub mod keeping;
mod links;
pub mod owner;
mod rules;
mod signals;
mod source;
mod watchlist;

use std::{io, thread, time::Duration};

use crossbeam_channel::{Receiver, bounded, select, tick};
use sd_notify::NotifyState;
use sekhmet_common::{display::escape, time::Timestamp};

use crate::{
    bus::{self, BusError, Notice, limits::Figures},
    engine::{
        Engine, Limits, OUTSTANDING_MAX, Start,
        input::{Effect, Input},
    },
    identify,
    kernel::{self, FileSource, Reader, TracepointIds, clock::Clock},
    rights::RightsError,
    run::{
        owner::{Edges, Fold},
        rules::Rules,
        watchlist::Watching,
    },
};

/// How many batches of observations may wait for the engine.
const SOURCES_MAX: usize = 1024;

/// How many wishes of clients, and how many answers about processes, may wait for the engine.
const INPUTS_MAX: usize = 256;

/// How many changes of rules may be under way; the engine asks for no more.
const CHANGES_MAX: usize = 64;

/// How much may wait to be written down of the watchlist. One change is under way at a time.
const KEEP_MAX: usize = 16;

/// How often the threads are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How the helper is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Leave the kernel programs out even where they would work.
    pub reduced: bool,
    /// Numbers of tracepoints, which only root can read.
    pub tracepoints: TracepointIds,
    /// Which source of opened files is used.
    pub file_source: FileSource,
    /// Another bus than the system's, for development.
    pub bus_address: Option<String>,
}

/// Why the helper ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system has no thread or descriptor left.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// It has rights that it should not have.
    #[error("{0}")]
    Rights(#[from] RightsError),
    /// It cannot be reached by anybody.
    #[error("{0}")]
    Bus(#[from] BusError),
    /// A thread ended that should not.
    #[error("the thread '{0}' has ended; its last words are in the log")]
    Thread(&'static str),
}

/// Runs the helper until it is told to end.
///
/// # Errors
/// [`RunError`] if it cannot begin or cannot go on.
pub fn run(settings: Settings) -> Result<(), RunError> {
    let left = keeping::receive();
    let (seen, sources) = bounded(SOURCES_MAX);
    // First, and before any thread: it gives rights back, and those belong to threads.
    let options = kernel::Options {
        tracepoints: settings.tracepoints,
        file_source: settings.file_source,
        ..kernel::Options::default()
    };
    let source = source::watch(settings.reduced, &options, &seen)?;
    let enforced = seen.clone();
    let ends = signals::listen()?;
    drop(seen);
    let (changes, ordered) = bounded(CHANGES_MAX);
    let (done, applied) = bounded(CHANGES_MAX);
    let rules = Rules::prepare(source.policies, left, &enforced)?;
    let watching = Watching::prepare();
    let first = rules.first.into_iter().chain(watching.first.iter().cloned()).collect();
    let (keep, to_keep) = bounded(KEEP_MAX);
    let watchlist = watching.start(to_keep, done.clone())?;
    let rules = rules.enforcer.map(|enforcer| enforcer::start(enforcer, ordered, done)).transpose()?;
    let (wishes, clients) = bounded(INPUTS_MAX);
    let (notices, heard) = bounded(16);
    let options =
        bus::Options { address: settings.bus_address, figures: Figures::default(), status: source.status };
    let (outlet, bus) = bus::start(options, wishes, notices)?;
    let (stop, stopped) = bounded(0);
    let (identify, requests) = bounded(OUTSTANDING_MAX);
    let (answers, identities) = bounded(INPUTS_MAX);
    let identifier = identify::spawn(identify::Paths::default(), requests, answers)?;
    let (watched, names) = (source.watched, source.names);
    let engine = start_engine(Edges {
        sources,
        clients,
        identities,
        identify,
        changes,
        applied,
        keep,
        first,
        outlet,
        watched,
        names,
        stop: stopped,
    })?;
    let mut threads =
        vec![("bus", bus), ("identify", identifier), ("engine", engine), ("watchlist", watchlist)];
    threads.extend(rules.map(|thread| ("rules", thread)));
    threads.extend(source.poller.map(|poller| ("reduced", poller)));
    let result = attend(&heard, &ends, source.reader.as_ref(), &threads);
    tell_manager(&[NotifyState::Stopping]);
    // With the engine go its ends of all channels, and so the others; the bus says good-bye to its clients.
    drop(stop);
    for (name, thread) in threads {
        if thread.join().is_err() {
            tracing::error!(name, "a thread had panicked");
        }
    }
    result
}

impl Fold for Engine {
    fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        Self::step(self, input, now)
    }
}

fn start_engine(edges: Edges) -> io::Result<thread::JoinHandle<()>> {
    let engine = Engine::new(Start {
        version: env!("CARGO_PKG_VERSION").into(),
        at: Timestamp::now(),
        booted_at: Clock::read().wall(0),
        limits: Limits::default(),
        host_mnt_ns: rules::host_mnt_ns(),
    });
    owner::start(engine, edges)
}

/// Tells the service manager how it goes, until a signal ends the helper or it cannot go on.
fn attend(
    heard: &Receiver<Notice>,
    ends: &Receiver<&'static str>,
    reader: Option<&Reader>,
    threads: &[(&'static str, thread::JoinHandle<()>)],
) -> Result<(), RunError> {
    let looks = tick(LOOK_EVERY);
    let mut is_ready = false;
    loop {
        select! {
            recv(ends) -> signal => {
                tracing::info!(signal = signal.unwrap_or("none"), "ending");
                return Ok(());
            }
            recv(heard) -> notice => match notice {
                Ok(Notice::Serving) => {
                    is_ready = true;
                    tracing::info!("serving");
                    tell_manager(&[NotifyState::Ready, NotifyState::Status("watching")]);
                }
                // A mistake in the set-up does not mend itself; a bus comes back.
                Ok(Notice::Lost(error @ (BusError::NameTaken | BusError::NotAllowed(_)))) if !is_ready => {
                    return Err(error.into());
                }
                Ok(Notice::Lost(error)) => {
                    tracing::warn!(error = %escape(error.to_string().as_bytes()), "nobody can reach the helper");
                    tell_manager(&[NotifyState::Status("watching; waiting for the message bus")]);
                }
                Err(_closed) => return Err(RunError::Thread("bus")),
            },
            recv(looks) -> _ => {
                let ended = threads.iter().find(|(_, thread)| thread.is_finished()).map(|(name, _)| *name);
                let kernel = reader.filter(|reader| !reader.is_running()).map(|_| "kernel");
                if let Some(name) = ended.or(kernel) {
                    return Err(RunError::Thread(name));
                }
                tell_manager(&[NotifyState::Watchdog]);
            }
        }
    }
}

fn tell_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
