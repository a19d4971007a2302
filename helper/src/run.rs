//! Puts the helper together: sources, engine and bus, each on its thread, and ends them in order.

pub mod owner;
mod signals;

use std::{io, thread, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded, select, tick};
use sd_notify::NotifyState;
use sekhmet_common::{
    coverage::{Mode, SourceStatus},
    display::escape,
    time::Timestamp,
};

use crate::{
    bus::{self, BusError, Notice, limits::Figures},
    engine::{
        Engine, Limits, OUTSTANDING_MAX, Start,
        input::{Effect, Input, StatusReport},
    },
    identify,
    kernel::{self, INTERVAL_ALONE, INTERVAL_WATCHED, Kernel, Reader, clock::Clock},
    run::owner::{Edges, Fold},
};

/// How many batches of observations may wait for the engine.
const SOURCES_MAX: usize = 1024;

/// How many wishes of clients, and how many answers about processes, may wait for the engine.
const INPUTS_MAX: usize = 256;

/// How often the threads are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How the helper is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Leave the kernel programs out even where they would work.
    pub reduced: bool,
    /// Another bus than the system's, for development.
    pub bus_address: Option<String>,
}

/// Why the helper ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system has no thread or descriptor left.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
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
    let ends = signals::listen()?;
    let (seen, sources) = bounded(SOURCES_MAX);
    let source = watch(settings.reduced, &seen)?;
    let (wishes, clients) = bounded(INPUTS_MAX);
    let (notices, heard) = bounded(16);
    let options =
        bus::Options { address: settings.bus_address, figures: Figures::default(), status: source.status };
    let (outlet, bus) = bus::start(options, wishes, notices)?;
    let (stop, stopped) = bounded(0);
    let (identify, requests) = bounded(OUTSTANDING_MAX);
    let (answers, identities) = bounded(INPUTS_MAX);
    let identifier = identify::spawn(identify::Paths::default(), requests, answers)?;
    let watched = source.interval;
    let engine =
        start_engine(Edges { sources, clients, identities, identify, outlet, watched, stop: stopped })?;
    let threads = [("bus", bus), ("identify", identifier), ("engine", engine)];
    let result = attend(&heard, &ends, source.reader.as_ref(), &threads);
    tell_manager(&[NotifyState::Stopping]);
    // The engine first: with it go the outlet and so the others: the bus says good-bye to its clients.
    drop(stop);
    for (name, thread) in threads.into_iter().rev() {
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

/// What feeds the engine.
struct Source {
    reader: Option<Reader>,
    /// What can be seen with it.
    status: StatusReport,
    /// Told whether anybody watches.
    interval: Box<dyn FnMut(bool) + Send>,
}

/// Starts the best source there is.
fn watch(reduced: bool, seen: &Sender<Input>) -> io::Result<Source> {
    let loaded = if reduced {
        tracing::info!("kernel programs are left out as asked");
        None
    } else {
        let options = kernel::Options::default();
        kernel::load(&options)
            .inspect_err(|error| {
                tracing::warn!(error = %escape(error.to_string().as_bytes()), "no kernel programs");
            })
            .ok()
    };
    let Some(kernel) = loaded else {
        let status = announce(seen, Mode::Reduced, Vec::new());
        return Ok(Source { reader: None, status, interval: Box::new(|_| {}) });
    };
    let status = announce(seen, mode(&kernel), kernel.sources());
    let reader = kernel::start(kernel, seen.clone())?;
    let pace = reader.pace();
    let interval = move |watched| pace.set(if watched { INTERVAL_WATCHED } else { INTERVAL_ALONE });
    Ok(Source { reader: Some(reader), status, interval: Box::new(interval) })
}

/// A program that was refused and has no replacement means that something is not seen.
fn mode(kernel: &Kernel) -> Mode {
    let misses = kernel.sources().iter().any(|source| source.status == SourceStatus::Missing);
    if misses { Mode::Reduced } else { Mode::Full }
}

fn announce(
    seen: &Sender<Input>,
    mode: Mode,
    sources: Vec<sekhmet_common::coverage::Source>,
) -> StatusReport {
    let status = StatusReport { mode, sources: sources.clone(), balance: Vec::new() };
    // The channel is empty and its receiver is held by the caller.
    if seen.try_send(Input::Coverage { mode, sources }).is_err() {
        tracing::error!("no room for the first word");
    }
    status
}

fn start_engine(edges: Edges) -> io::Result<thread::JoinHandle<()>> {
    let engine = Engine::new(Start {
        version: env!("CARGO_PKG_VERSION").into(),
        at: Timestamp::now(),
        booted_at: Clock::read().wall(0),
        limits: Limits::default(),
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
