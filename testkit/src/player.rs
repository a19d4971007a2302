//! A log player: stands in for the helper on a test bus and tells recorded events to whoever asks.

mod rules;
mod watchlist;

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use sekhmet_common::{
    bus::{API_MINOR, MODE_FULL, PATH, SERVICE, error},
    event::Event,
    log,
    rule::Rule,
    wire,
};
use zbus::{Connection, Message, OwnedVariant, Variant, interface, message::Header};

use self::{
    rules::Rules,
    watchlist::{List, Watchlist},
};
use crate::bus::TestBus;

/// Whom the player refuses.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// Error name for the scope `own`.
    pub own: Option<&'static str>,
    /// Error name for the scope `all`, unless the caller allows interaction.
    pub all: Option<&'static str>,
}

/// The stand-in. It leaves the bus when it is dropped.
#[derive(Debug)]
pub struct Player {
    stage: Arc<Mutex<Stage>>,
    connection: Connection,
}

#[derive(Debug)]
struct Stage {
    /// What new clients are told, as it was given; the last one is the snapshot's end.
    events: Vec<Event>,
    told: Vec<Vec<u8>>,
    streams: Vec<OwnedFd>,
    refusals: Refusals,
    calls: Vec<String>,
    to_add: Vec<Rule>,
    no_commands: Option<&'static str>,
    is_asked: bool,
    commands: Vec<String>,
    watchlist: List,
    owed: Vec<Line>,
}

/// A source of the coverage: capability, source, status, cost, reason.
type Line = (&'static str, &'static str, &'static str, &'static str, &'static str);

impl Player {
    /// Takes the helper's name on this bus. The events are what every new client is told first.
    ///
    /// # Errors
    /// If the bus does not answer or the events fit no frames.
    pub async fn start(bus: &TestBus, events: &[Event]) -> Result<Self> {
        let told = wire::encode(events)?;
        let stage = Stage {
            events: events.to_vec(),
            told,
            streams: Vec::new(),
            refusals: Refusals::default(),
            calls: Vec::new(),
            to_add: Vec::new(),
            no_commands: None,
            is_asked: false,
            commands: Vec::new(),
            watchlist: List::of(events),
            owed: Vec::new(),
        };
        let stage = Arc::new(Mutex::new(stage));
        let connection = zbus::conn::Builder::address(bus.address())
            .serve_at(PATH, Monitor(Arc::clone(&stage)))
            .serve_at(PATH, Rules(Arc::clone(&stage)))
            .serve_at(PATH, Watchlist(Arc::clone(&stage)))
            .name(SERVICE)
            .build()
            .await?;
        Ok(Self { stage, connection })
    }

    /// From now on the coverage says that something which holds could not be written down.
    pub fn owe(&self, capability: &'static str, cost: &'static str, reason: &'static str) {
        lock(&self.stage).owed.push((capability, "a file", "reduced", cost, reason));
    }

    /// From now on these are refused.
    pub fn refuse(&self, refusals: Refusals) {
        lock(&self.stage).refusals = refusals;
    }

    /// The scopes that were asked for, in order.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.stage).calls.clone()
    }

    /// Tells more to every open stream, and to those that open later.
    ///
    /// # Errors
    /// If the events fit no frames.
    pub fn tell(&self, events: &[Event]) -> Result<()> {
        let mut stage = lock(&self.stage);
        for frame in wire::encode(events)? {
            stage.streams.retain(|stream| send(stream, &frame, SendFlags::NOSIGNAL).is_ok());
            stage.told.push(frame);
        }
        Ok(())
    }

    /// Sends bytes that need not be a frame to every open stream.
    pub fn tell_raw(&self, bytes: &[u8]) {
        lock(&self.stage).streams.retain(|stream| send(stream, bytes, SendFlags::NOSIGNAL).is_ok());
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        lock(&self.stage).streams.len()
    }

    /// Ends every stream and stays on the bus.
    pub fn end_streams(&self) {
        lock(&self.stage).streams.clear();
    }

    /// Leaves the bus, as if killed.
    ///
    /// # Errors
    /// If the bus is gone.
    pub async fn stop(self) -> Result<()> {
        self.end_streams();
        Ok(self.connection.close().await?)
    }
}

/// Reads a recorded log.
///
/// # Errors
/// If a line is no event.
pub fn read_log(text: &str) -> Result<Vec<Event>> {
    let lines = text.lines().enumerate();
    lines.map(|(n, line)| log::from_line(line).with_context(|| format!("line {}", n + 1))).collect()
}

fn lock(stage: &Mutex<Stage>) -> std::sync::MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Monitor(Arc<Mutex<Stage>>);

impl Monitor {
    fn open(&self, options: &HashMap<String, OwnedVariant>, header: &Header<'_>) -> Result<OwnedFd, Named> {
        let scope = options.get("scope").and_then(|v| String::try_from(v.clone()).ok());
        let scope = scope.unwrap_or_else(|| "own".into());
        let interactive = header.primary().flags().contains(zbus::message::Flags::ALLOW_INTERACTIVE_AUTH);
        let mut stage = lock(&self.0);
        stage.calls.push(if interactive { format!("{scope} interactive") } else { scope.clone() });
        let refusal = match scope.as_str() {
            "all" if !interactive => stage.refusals.all,
            "own" => stage.refusals.own,
            _ => None,
        };
        if let Some(name) = refusal {
            return Err(Named(name));
        }
        let mut open = || -> Result<OwnedFd> {
            let (ours, theirs) =
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            for frame in &stage.told {
                if send(&ours, frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
                    bail!("the log is longer than a socket takes");
                }
            }
            stage.streams.push(ours);
            Ok(theirs)
        };
        open().map_err(|_reason| Named(error::FAILED))
    }
}

#[interface(name = "org.sekhmet.Helper1.Monitor", introspection_docs = false)]
impl Monitor {
    async fn open_event_stream(
        &self,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<zbus::OwnedFd, Named> {
        self.open(&options, &header).map(Into::into)
    }

    #[zbus(property)]
    async fn version(&self) -> String {
        "0.0.0-player".into()
    }

    #[zbus(property)]
    async fn api_minor(&self) -> u32 {
        API_MINOR
    }

    #[zbus(property)]
    async fn mode(&self) -> String {
        MODE_FULL.into()
    }

    #[zbus(property)]
    async fn coverage(&self) -> HashMap<String, Variant<'static>> {
        let mut sources: Vec<Line> = vec![
            ("process start", "tp_btf sched_process_exec", "best", "", ""),
            ("TCP bytes", "", "missing", "all", "EPERM"),
        ];
        sources.extend_from_slice(&lock(&self.0).owed);
        let kinds = vec![("exec", 7_u64, 5_u64, 1_u64, 1_u64, 0_u64)];
        HashMap::from([
            ("uptime_ms".to_owned(), Variant::from(1_500_u64)),
            ("sources".to_owned(), Variant::from(sources)),
            ("kinds".to_owned(), Variant::from(kinds)),
        ])
    }
}

/// A D-Bus error of any name.
#[derive(Debug)]
struct Named(&'static str);

impl zbus::DBusError for Named {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.0).build(&"refused by the player")
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        zbus::names::ErrorName::from_static_str_unchecked(self.0)
    }

    fn description(&self) -> Option<&str> {
        Some("refused by the player")
    }
}
