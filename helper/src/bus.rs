//! The bus thread: connects, takes the helper's name, serves, and connects again when the bus goes away.

pub mod actions;
pub mod authority;
pub mod errand;
pub mod lease;
pub mod limits;
pub mod monitor;
pub mod questions;
pub mod reply;
pub mod rules;
pub mod service;
pub mod shared;
pub mod stream;
pub mod watchlist;

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use sekhmet_common::bus::SERVICE;
use tokio::sync::mpsc;
use zbus::{
    Connection, MatchRule, MessageStream,
    connection::Builder,
    fdo::{RequestNameFlags, RequestNameReply},
    message::Type,
};

use crate::{
    bus::{
        limits::{Figures, Limits},
        questions::Questions,
        service::Service,
        shared::Shared,
    },
    engine::input::{Effect, Input, StatusReport},
};

/// How many effects may wait for the bus thread.
const EFFECTS_MAX: usize = 256;

/// How many messages zbus may have read that were not looked at yet.
const CALLS_MAX: usize = 64;

/// The longest pause between two tries to reach the bus.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How the bus thread is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another bus than the system's, for development.
    pub address: Option<String>,
    /// What clients may take up.
    pub figures: Figures,
    /// What is said about sources until the engine says something.
    pub status: StatusReport,
}

/// Why the helper cannot be reached under its name.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus is not there, or not reachable.
    #[error("the bus cannot be reached: {0}")]
    Unreachable(zbus::Error),
    /// Somebody else has the name.
    #[error("another helper is running: the name {SERVICE} is taken")]
    NameTaken,
    /// The bus's policy does not let this user have the name.
    #[error("this user may not own {SERVICE}: is dbus/org.sekhmet.Helper1.conf installed? ({0})")]
    NotAllowed(zbus::Error),
}

/// What the bus thread tells about itself.
#[derive(Debug)]
pub enum Notice {
    /// The helper has its name and answers.
    Serving,
    /// It has not, or no longer; it goes on trying.
    Lost(BusError),
}

/// The engine's way to the bus thread.
#[derive(Clone, Debug)]
pub struct Outlet {
    effects: mpsc::Sender<Effect>,
    missed: Arc<AtomicBool>,
    questions: Questions,
}

impl Outlet {
    /// Passes an effect on without waiting. An answer reaches the call that waits for it, always; other effects
    /// that find no room are made up for by fresh snapshots.
    pub fn send(&self, effect: Effect) {
        let Some(effect) = self.questions.answer(effect) else { return };
        if self.effects.try_send(effect).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

/// Starts the thread. It ends when every [`Outlet`] is dropped.
///
/// # Errors
/// If there can be no thread or no event loop.
pub fn start(
    options: Options,
    engine: Sender<Input>,
    notices: Sender<Notice>,
) -> io::Result<(Outlet, thread::JoinHandle<()>)> {
    let (sender, effects) = mpsc::channel(EFFECTS_MAX);
    let missed = Arc::new(AtomicBool::new(false));
    let questions = Questions::new(engine.clone());
    let outlet = Outlet { effects: sender, missed: Arc::clone(&missed), questions: questions.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let shared = Shared {
        engine,
        questions,
        since: Instant::now(),
        status: options.status.clone(),
        tally: Arc::default(),
        next_client: 1,
        unsent: Vec::new(),
        missed,
    };
    let thread = thread::Builder::new()
        .name("bus".into())
        .spawn(move || runtime.block_on(serve_for_ever(options, shared, effects, notices)))?;
    Ok((outlet, thread))
}

async fn serve_for_ever(
    options: Options,
    mut shared: Shared,
    mut effects: mpsc::Receiver<Effect>,
    notices: Sender<Notice>,
) {
    let notify = |notice| {
        if notices.try_send(notice).is_err() {
            tracing::debug!("nobody hears about the bus");
        }
    };
    let mut pause = Duration::from_millis(50);
    loop {
        match connect(&options).await {
            Ok(ready) => {
                pause = Duration::from_millis(50);
                notify(Notice::Serving);
                let limits = Limits::new(options.figures.clone(), Instant::now());
                let service = Service::new(ready.connection.clone(), &mut shared, limits);
                if !service.run(ready.calls, ready.rules, &mut effects).await {
                    ready.connection.graceful_shutdown().await;
                    return;
                }
                tracing::warn!("the bus went away; watching goes on");
            }
            Err(error) => notify(Notice::Lost(error)),
        }
        // Effects are for clients, and there are none without a bus; but the status must not grow old.
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                effect = effects.recv() => match effect {
                    None => return,
                    Some(Effect::Status(status)) => shared.status = status,
                    Some(_) => {}
                },
            }
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// A connection that owns the name. Calls that came in since are in `calls`.
struct Ready {
    connection: Connection,
    calls: MessageStream,
    rules: MessageStream,
}

async fn connect(options: &Options) -> Result<Ready, BusError> {
    let builder = match &options.address {
        Some(address) => Builder::address(address.as_str()),
        None => Builder::system(),
    };
    let connection = builder.build().await.map_err(BusError::Unreachable)?;
    let streams = async {
        let rule = MatchRule::builder().msg_type(Type::MethodCall).build()?;
        let calls = MessageStream::for_match_rule(rule, &connection, NonZeroUsize::new(CALLS_MAX)).await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.PolicyKit1")
            .interface("org.freedesktop.PolicyKit1.Authority")
            .member("Changed")
            .build()?;
        let rules = MessageStream::for_match_rule(rule, &connection, None).await?;
        zbus::Result::Ok((calls, rules))
    };
    let (calls, rules) = streams.await.map_err(BusError::Unreachable)?;
    // Whoever can call us finds us listening: the name comes last.
    let flags = RequestNameFlags::DO_NOT_QUEUE;
    match connection.request_name_with_flags(SERVICE, flags).await {
        Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => {}
        Ok(_) | Err(zbus::Error::NameTaken) => return Err(BusError::NameTaken),
        Err(error @ zbus::Error::FDO(_)) => return Err(BusError::NotAllowed(error)),
        Err(error) => return Err(BusError::Unreachable(error)),
    }
    Ok(Ready { connection, calls, rules })
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::engine::input::Scope;

    #[test]
    fn an_answer_finds_its_way_where_other_effects_find_no_room() {
        let (engine, inputs) = bounded(1);
        let (sender, mut effects) = mpsc::channel(1);
        let questions = Questions::new(engine);
        let missed = Arc::new(AtomicBool::new(false));
        let outlet = Outlet { effects: sender, missed: Arc::clone(&missed), questions: questions.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let engine = async {
                for _ in 0..2 {
                    outlet.send(Effect::Status(StatusReport::default()));
                }
                let Ok(Input::ListRules { ticket, .. }) = inputs.try_recv() else { panic!("nobody asked") };
                outlet.send(Effect::Rules { ticket, rules: Vec::new() });
            };
            let (rules, ()) = tokio::join!(questions.list(Scope::All), engine);
            assert!(rules.is_ok(), "{rules:?}");
        });
        assert!(missed.load(Ordering::Acquire), "there was no room");
        assert!(matches!(effects.try_recv(), Ok(Effect::Status(_))));
        assert!(effects.try_recv().is_err());
    }
}
