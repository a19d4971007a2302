//! The bus thread's loop over one connection: admits calls, answers them, and owns the list of streams.
//!
//! zbus's own object server makes a task for each call before the called object sees it. Calls are taken
//! from the message stream instead, so that size, descriptors and limits are judged first and a flood costs
//! one short reply per message.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use sekhmet_common::bus::{MONITOR, PATH, RULES, WATCHLIST};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use zbus::{Connection, Message, MessageStream, Variant, names::OwnedUniqueName};

use crate::{
    bus::{
        actions::{WatchAll, WatchOwn},
        authority::{Caller, Refusal, allows_interaction, user_of},
        errand::{Errand, Task},
        lease::{CallPlace, Opening, Order, Report},
        limits::{Exceeded, Limits, Permit},
        monitor::{self, OpenRequest},
        reply::{
            CallError, NO_METHOD, READ_ONLY, UNKNOWN_INTERFACE, UNKNOWN_OBJECT, UNKNOWN_PROPERTY, WRONG_ARGS,
            answer, next,
        },
        shared::Shared,
        stream::frames,
    },
    engine::input::{ClientId, Effect, Input, Scope},
};

/// How many callers' users are remembered. The bus never gives a unique name to a second connection.
const CALLERS_MAX: usize = 1024;

/// How many reports of streams and look-ups may wait.
const REPORTS_MAX: usize = 256;

/// How often the balance of the streams is told.
const BALANCE_EVERY: Duration = Duration::from_secs(1);

/// The service on one connection.
#[derive(Debug)]
pub struct Service<'a> {
    connection: Connection,
    shared: &'a mut Shared,
    limits: Limits,
    callers: HashMap<OwnedUniqueName, KnownCaller>,
    streams: HashMap<ClientId, Stream>,
    reports: mpsc::Sender<Report>,
    inbox: mpsc::Receiver<Report>,
    looked_up: (mpsc::Sender<LookedUp>, mpsc::Receiver<LookedUp>),
    rules: watch::Sender<u64>,
}

#[derive(Debug)]
struct KnownCaller {
    uid: u32,
    /// One dialog at a time for one connection.
    prompt: Arc<Semaphore>,
}

#[derive(Debug)]
struct Stream {
    scope: Scope,
    orders: mpsc::Sender<Order>,
    /// Something was published that found no room in `orders`.
    missed: bool,
}

#[derive(Debug)]
struct LookedUp {
    call: Message,
    name: OwnedUniqueName,
    uid: Result<u32, Refusal>,
    _place: OwnedSemaphorePermit,
}

impl<'a> Service<'a> {
    /// A service without callers and streams.
    pub fn new(connection: Connection, shared: &'a mut Shared, limits: Limits) -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS_MAX);
        let (callers, streams) = (HashMap::new(), HashMap::new());
        let looked_up = mpsc::channel(REPORTS_MAX);
        let rules = watch::Sender::new(0);
        Self { connection, shared, limits, callers, streams, reports, inbox, looked_up, rules }
    }

    /// Serves until the bus goes away or the engine does. Every stream ends with it. Returns whether the
    /// engine is still there.
    pub async fn run(
        mut self,
        mut calls: MessageStream,
        mut rules: MessageStream,
        effects: &mut mpsc::Receiver<Effect>,
    ) -> bool {
        let mut balance = tokio::time::interval(BALANCE_EVERY);
        let goes_on = loop {
            tokio::select! {
                call = next(&mut calls) => match call {
                    Some(Ok(call)) => self.receive(call).await,
                    Some(Err(error)) => tracing::debug!(%error, "a message that cannot be read"),
                    None => break true,
                },
                changed = next(&mut rules) => match changed {
                    Some(_) => self.rules.send_modify(|n| *n += 1),
                    None => break true,
                },
                Some(done) = self.looked_up.1.recv() => self.recognise(done).await,
                Some(report) = self.inbox.recv() => self.heed(report),
                effect = effects.recv() => match effect {
                    Some(effect) => self.route(effect).await,
                    None => break false,
                },
                _ = balance.tick() => {
                    let balance = self.shared.tally.balance();
                    self.shared.tell(Input::Balance(vec![balance]));
                }
            }
        };
        for client in self.streams.keys() {
            self.shared.tell(Input::Unsubscribe { client: *client });
        }
        goes_on
    }

    /// Judges a message by what can be judged cheaply: its form, then who sent it.
    async fn receive(&mut self, call: Message) {
        let header = call.header();
        let Some(sender) = header.sender().map(|s| OwnedUniqueName::from(s.to_owned())) else { return };
        if header.unix_fds().unwrap_or(0) > 0 || call.body().len() > self.limits.body_bytes() {
            return self
                .refuse(&call, CallError::Invalid("the message is too large or carries descriptors"))
                .await;
        }
        let now = Instant::now();
        if let Some(known) = self.callers.get(&sender) {
            let caller = Caller { name: sender, uid: known.uid };
            return self.admit(call, caller, now).await;
        }
        match self.limits.newcomer(now) {
            Err(exceeded) => self.refuse(&call, exceeded.into()).await,
            Ok(place) => {
                let (connection, done) = (self.connection.clone(), self.looked_up.0.clone());
                tokio::spawn(async move {
                    let uid = user_of(&connection, &sender).await;
                    let answer = LookedUp { call, name: sender, uid, _place: place };
                    if done.send(answer).await.is_err() {
                        tracing::debug!("the bus thread stops");
                    }
                });
            }
        }
    }

    async fn recognise(&mut self, done: LookedUp) {
        let LookedUp { call, name, uid, _place } = done;
        match uid {
            Err(refusal) => self.refuse(&call, refusal.into()).await,
            Ok(uid) => {
                if self.callers.len() >= CALLERS_MAX {
                    self.callers.clear();
                }
                let prompt = Arc::new(Semaphore::new(1));
                self.callers.entry(name.clone()).or_insert(KnownCaller { uid, prompt });
                self.admit(call, Caller { name, uid }, Instant::now()).await;
            }
        }
    }

    async fn admit(&mut self, call: Message, caller: Caller, now: Instant) {
        let result = match self.limits.call(caller.uid, now) {
            Err(exceeded) => Err(exceeded.into()),
            Ok(place) => self.dispatch(&call, &caller, place, now).await,
        };
        if let Err(error) = result {
            self.refuse(&call, error).await;
        }
    }

    /// Finds what is called. Answers at once, except for streams, rules and the watchlist, which get a task.
    async fn dispatch(
        &mut self,
        call: &Message,
        caller: &Caller,
        place: Permit,
        now: Instant,
    ) -> Result<(), CallError> {
        let header = call.header();
        let member = header.member().map_or("", |m| m.as_str());
        let interface = header.interface().map_or("", |i| i.as_str());
        if (interface, member) == ("org.freedesktop.DBus.Peer", "Ping") {
            self.answer(call, ()).await;
            return Ok(());
        }
        if header.path().is_none_or(|p| p.as_str() != PATH) {
            return Err(CallError::Standard(UNKNOWN_OBJECT, "no such object"));
        }
        match (interface, member) {
            // The specification lets a caller leave the interface out.
            (MONITOR | "", "OpenEventStream") => self.open(call, caller, place, now)?,
            ("org.freedesktop.DBus.Introspectable" | "", "Introspect") => {
                self.answer(call, monitor::XML).await
            }
            ("org.freedesktop.DBus.Properties" | "", "Get") => {
                let value = self.get(call)?;
                self.answer(call, value).await;
            }
            ("org.freedesktop.DBus.Properties" | "", "GetAll") => {
                let values = self.get_all(call)?;
                self.answer(call, values).await;
            }
            ("org.freedesktop.DBus.Properties" | "", "Set") => {
                return Err(CallError::Standard(READ_ONLY, "every property is read-only"));
            }
            (RULES | WATCHLIST | "", _) => {
                let task = Task::parse(interface, member, call).ok_or(NO_METHOD)??;
                self.run_errand(task, call, caller, place, now)?;
            }
            _ => return Err(NO_METHOD),
        }
        Ok(())
    }

    fn open(
        &mut self,
        call: &Message,
        caller: &Caller,
        place: Permit,
        now: Instant,
    ) -> Result<(), CallError> {
        let request = OpenRequest::parse(call)?;
        let call_places = self.call_places(call, caller, place, now)?;
        let client = ClientId(self.shared.next_client);
        self.shared.next_client += 1;
        let opening = Opening {
            connection: self.connection.clone(),
            call: call.clone(),
            caller: caller.clone(),
            client,
            reports: self.reports.clone(),
            tally: Arc::clone(&self.shared.tally),
            rules: self.rules.subscribe(),
            place: self.limits.stream(caller.uid, now)?,
            call_places,
        };
        match request {
            OpenRequest::Own => tokio::spawn(opening.run::<WatchOwn>()),
            OpenRequest::All => tokio::spawn(opening.run::<WatchAll>()),
        };
        Ok(())
    }

    fn run_errand(
        &mut self,
        task: Task,
        call: &Message,
        caller: &Caller,
        place: Permit,
        now: Instant,
    ) -> Result<(), CallError> {
        let errand = Errand {
            connection: self.connection.clone(),
            call: call.clone(),
            caller: caller.clone(),
            questions: self.shared.questions.clone(),
            call_places: self.call_places(call, caller, place, now)?,
        };
        tokio::spawn(errand.run(task));
        Ok(())
    }

    /// What a call holds until it is answered: its place among the calls, and one among the dialogs if it allows
    /// one.
    fn call_places(
        &mut self,
        call: &Message,
        caller: &Caller,
        place: Permit,
        now: Instant,
    ) -> Result<Vec<CallPlace>, CallError> {
        let mut places: Vec<CallPlace> = vec![Box::new(place)];
        if allows_interaction(call) {
            let prompt = self.callers.get(&caller.name).map(|known| Arc::clone(&known.prompt));
            let prompt = prompt.and_then(|p| p.try_acquire_owned().ok());
            places.push(Box::new(prompt.ok_or(Exceeded("pending authentications"))?));
            places.push(Box::new(self.limits.prompt(caller.uid, now)?));
        }
        Ok(places)
    }

    fn get(&self, call: &Message) -> Result<Variant<'static>, CallError> {
        let body = call.body();
        let (interface, name) = body.deserialize::<(&str, &str)>().map_err(|_wrong| WRONG_ARGS)?;
        if interface != MONITOR {
            return Err(CallError::Standard(UNKNOWN_INTERFACE, "no such interface"));
        }
        let value = monitor::property(name, &self.shared.status, self.shared.uptime_ms());
        value.ok_or(CallError::Standard(UNKNOWN_PROPERTY, "no such property"))
    }

    fn get_all(&self, call: &Message) -> Result<HashMap<&'static str, Variant<'static>>, CallError> {
        let body = call.body();
        let interface = body.deserialize::<&str>().map_err(|_wrong| WRONG_ARGS)?;
        if interface != MONITOR {
            return Ok(HashMap::new());
        }
        Ok(monitor::properties(&self.shared.status, self.shared.uptime_ms()))
    }

    /// Passes on what the engine asks for.
    async fn route(&mut self, effect: Effect) {
        if self.shared.missed.swap(false, Ordering::AcqRel) {
            tracing::warn!("effects found no room; every stream starts afresh");
            self.streams.values_mut().for_each(|stream| stream.missed = true);
        }
        match effect {
            Effect::Snapshot { client, events } => {
                if let Some(stream) = self.streams.get_mut(&client) {
                    stream.order(encoded(&events).map(Order::Snapshot));
                }
            }
            Effect::Publish { scope, events } => {
                let mut receivers = self.streams.values_mut().filter(|s| s.scope == scope).peekable();
                if receivers.peek().is_none() {
                    return;
                }
                let frames = encoded(&events);
                receivers.for_each(|stream| stream.order(frames.clone().map(Order::Delta)));
            }
            Effect::Status(status) => {
                let mode_changed = status.mode != self.shared.status.mode;
                self.shared.status = status;
                if mode_changed {
                    self.tell_mode().await;
                }
            }
            // Other edges' business, or handed over by `Outlet::send` already.
            _ => {}
        }
    }

    fn heed(&mut self, report: Report) {
        match report {
            Report::Opened { client, scope, orders } => {
                self.streams.insert(client, Stream { scope, orders, missed: false });
                self.shared.tell(Input::Subscribe { client, scope });
            }
            Report::Resync(client) => self.shared.tell(Input::Resync { client }),
            Report::Ended(client) => {
                if self.streams.remove(&client).is_some() {
                    self.shared.tell(Input::Unsubscribe { client });
                }
            }
        }
    }

    /// The one signal there is. Signals reach everybody, so it names no process and no peer.
    async fn tell_mode(&self) {
        let changed = HashMap::from([("Mode", Variant::from(monitor::mode_word(self.shared.status.mode)))]);
        let body = (MONITOR, changed, Vec::<&str>::new());
        let properties = "org.freedesktop.DBus.Properties";
        let none = None::<&str>;
        let sent = self.connection.emit_signal(none, PATH, properties, "PropertiesChanged", &body).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "the bus left before a signal");
        }
    }

    async fn answer<B: serde::Serialize + zbus::Type + Sync>(&self, call: &Message, body: B) {
        if let Err(error) = answer(&self.connection, call, Ok(body)).await {
            tracing::debug!(%error, "the bus left before an answer");
        }
    }

    async fn refuse(&self, call: &Message, error: CallError) {
        if let Err(error) = answer::<()>(&self.connection, call, Err(error)).await {
            tracing::debug!(%error, "the bus left before an answer");
        }
    }
}

impl Stream {
    fn order(&mut self, order: Option<Order>) {
        if self.missed && self.orders.try_send(Order::Missed).is_ok() {
            self.missed = false;
        }
        let sent = order.is_some_and(|order| self.orders.try_send(order).is_ok());
        self.missed |= !sent;
    }
}

fn encoded(events: &[sekhmet_common::event::Event]) -> Option<crate::bus::stream::Frames> {
    frames(events).inspect_err(|error| tracing::error!(%error, "events that fit no frame")).ok()
}
