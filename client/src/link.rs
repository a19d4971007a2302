//! The link to the helper: one thread that connects, reads, and connects again.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use futures_core::Stream;
use sekhmet_common::{
    bus::{OPTION_SCOPE, SCOPE_ALL, SCOPE_OWN, SERVICE, error},
    display::escape,
    event::Event,
    wire::{self, WireError},
};
use tokio::{sync::mpsc, time::sleep};
use zbus::{Connection, MatchRule, MessageStream, Variant, fdo, message::Type, proxy::CacheProperties};

use crate::{
    command::{self, Command, CommandError, Outcome},
    frames::Frames,
    monitor::MonitorProxy,
    status::connect,
    update::{CommandId, Options, Reason, Refusal, Request, Update, View},
};

/// The first and the longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How many orders may wait, and how many results.
const ORDERS_MAX: usize = 16;

enum Order {
    Ask(Request),
    TryNow,
    Command { id: CommandId, command: Command, interactive: bool },
}

/// A running link. Dropping it stops the thread.
#[derive(Debug)]
pub struct Link {
    orders: Option<mpsc::Sender<Order>>,
    last_command: AtomicU64,
    thread: Option<thread::JoinHandle<()>>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(request) => request.fmt(f),
            Self::TryNow => f.write_str("TryNow"),
            Self::Command { command, .. } => command.fmt(f),
        }
    }
}

impl Link {
    /// Starts a thread that calls `tell` with everything that happens. `tell` runs on that thread; while it
    /// runs nothing is read.
    ///
    /// # Errors
    /// If there can be no thread or no event loop.
    pub fn spawn(options: Options, tell: impl FnMut(Update) + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let thread = thread::Builder::new().name("link".into()).spawn(move || {
            let done = mpsc::channel(ORDERS_MAX);
            let driver =
                Driver { tell, inbox, request: options.request, pause: PAUSE.0, connection: None, done };
            runtime.block_on(driver.run(options.address.as_deref()));
        })?;
        Ok(Self { orders: Some(orders), last_command: AtomicU64::new(0), thread: Some(thread) })
    }

    /// Asks for another stream in place of the present one.
    pub fn ask(&self, request: Request) {
        self.order(Order::Ask(request));
    }

    /// Tries again at once if there is no stream.
    pub fn try_now(&self) {
        self.order(Order::TryNow);
    }

    /// Sends a command while the stream goes on; its result comes as [`Update::CommandDone`]. With
    /// `interactive`, polkit may ask the person at the screen. Nothing if the link is too busy to take it.
    pub fn command(&self, command: Command, interactive: bool) -> Option<CommandId> {
        let id = CommandId(self.last_command.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        self.order(Order::Command { id, command, interactive }).then_some(id)
    }

    /// Stops the link and waits until its thread has ended. Not to be called from `tell`.
    pub fn stop(mut self) {
        self.orders = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the link's thread panicked");
        }
    }

    fn order(&self, order: Order) -> bool {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok());
        if !sent {
            tracing::debug!("the link is busy; an order is dropped");
        }
        sent
    }
}

/// Why one try came to its end.
enum End {
    /// Nobody holds the [`Link`] any more.
    Stopped,
    /// The bus is gone; another connection is needed.
    NoBus,
    /// There is another request.
    Asked,
    Lost(Reason),
    Refused(Refusal),
}

/// What follows a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Try,
    Stop,
    NoBus,
}

struct Driver<T> {
    tell: T,
    inbox: mpsc::Receiver<Order>,
    request: Request,
    pause: Duration,
    /// The way to the bus, while there is one.
    connection: Option<Connection>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
}

/// A command's result.
type Done = (CommandId, Result<Outcome, CommandError>);

impl<T: FnMut(Update)> Driver<T> {
    async fn run(mut self, address: Option<&str>) {
        loop {
            let end = match connect(address).await {
                Ok(connection) => {
                    self.connection = Some(connection.clone());
                    self.on_bus(&connection).await
                }
                Err(reason) => End::Lost(reason),
            };
            self.connection = None;
            let lost = match end {
                End::Stopped => return,
                End::Lost(reason) => reason,
                _ => Reason::NoBus("the bus has closed the connection".into()),
            };
            if self.wait(lost, None).await == Next::Stop {
                return;
            }
        }
    }

    /// Keeps a stream open over one connection to the bus, as long as that lasts.
    async fn on_bus(&mut self, connection: &Connection) -> End {
        let Ok(mut owners) = owner_changes(connection).await else { return End::NoBus };
        loop {
            let end = self.try_once(connection).await;
            // A dialog is for the try that it was asked for.
            if !matches!(end, End::Asked) {
                self.request.interactive = false;
            }
            let next = match end {
                End::Stopped | End::NoBus => return end,
                End::Asked => Next::Try,
                _ if connection.is_closed() => return End::NoBus,
                End::Lost(reason) => self.wait(reason, Some(&mut owners)).await,
                End::Refused(Refusal::LimitsExceeded) => {
                    (self.tell)(Update::Refused { error: Refusal::LimitsExceeded });
                    self.pause_for(PAUSE.1, Some(&mut owners)).await
                }
                End::Refused(error) => {
                    (self.tell)(Update::Refused { error });
                    self.pause_for(Duration::MAX, Some(&mut owners)).await
                }
            };
            match next {
                Next::Try => {}
                Next::Stop => return End::Stopped,
                Next::NoBus => return End::NoBus,
            }
        }
    }

    /// Opens a stream and reads it to its end.
    async fn try_once(&mut self, connection: &Connection) -> End {
        let mut opening = pin!(open(connection, self.request));
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                order = self.order() => match order {
                    Some(Order::TryNow) => {}
                    order => return self.heed(order),
                },
            }
        };
        let mut frames = match opened {
            Ok(frames) => frames,
            Err(end) => return end,
        };
        let mut is_new = true;
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                order = self.order() => match order {
                    Some(Order::TryNow) => continue,
                    order => return self.heed(order),
                },
            };
            match frame {
                Err(error) => return End::Lost(Reason::Other(error.to_string())),
                Ok(None) => return End::Lost(Reason::Ended),
                Ok(Some(frame)) => match wire::decode(frame) {
                    Ok(events) => self.pass_on(events, &mut is_new),
                    Err(WireError::UnknownVersion(version)) => {
                        return End::Refused(Refusal::OtherVersion(version));
                    }
                    Err(error) => return End::Lost(Reason::BadFrame(error.to_string())),
                },
            }
        }
    }

    fn pass_on(&mut self, events: Vec<Event>, is_new: &mut bool) {
        if let (true, Some(Event::SnapshotBegin { version, mode, .. })) = (*is_new, events.first()) {
            *is_new = false;
            self.pause = PAUSE.0;
            (self.tell)(Update::Connected { version: version.clone(), mode: *mode });
        }
        (self.tell)(Update::Events(events));
    }

    /// The next order about the stream. Commands, which leave it alone, are dealt with meanwhile.
    async fn order(&mut self) -> Option<Order> {
        loop {
            tokio::select! {
                Some((id, result)) = self.done.1.recv() => (self.tell)(Update::CommandDone { id, result }),
                order = self.inbox.recv() => match order {
                    Some(Order::Command { id, command, interactive }) => self.start(id, command, interactive),
                    order => return order,
                },
            }
        }
    }

    fn start(&mut self, id: CommandId, command: Command, interactive: bool) {
        let Some(connection) = self.connection.clone() else {
            let result = Err(CommandError::NoHelper(Reason::NoBus("there is no connection just now".into())));
            return (self.tell)(Update::CommandDone { id, result });
        };
        let done = self.done.0.clone();
        tokio::spawn(async move {
            let result = command::run(&connection, &command, interactive).await;
            if done.send((id, result)).await.is_err() {
                tracing::debug!("the link stops before a command's result");
            }
        });
    }

    /// What an order means for a try that is under way.
    fn heed(&mut self, order: Option<Order>) -> End {
        match order {
            None => return End::Stopped,
            // Commands do not come this far.
            Some(Order::TryNow | Order::Command { .. }) => {}
            Some(Order::Ask(request)) => self.request = request,
        }
        End::Asked
    }

    /// Tells of a loss and waits for the next try.
    async fn wait(&mut self, reason: Reason, owners: Option<&mut MessageStream>) -> Next {
        let retry_in = self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
        (self.tell)(Update::Lost { reason, retry_in });
        self.pause_for(retry_in, owners).await
    }

    /// Waits until the time is over, the helper appears, or somebody asks.
    async fn pause_for(&mut self, time: Duration, owners: Option<&mut MessageStream>) -> Next {
        let appeared = async {
            match owners {
                Some(owners) => helper_appears(owners).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(time), if time < Duration::MAX => Next::Try,
            appeared = appeared => if appeared { Next::Try } else { Next::NoBus },
            order = self.order() => match self.heed(order) {
                End::Stopped => Next::Stop,
                _ => Next::Try,
            },
        }
    }
}

async fn open(connection: &Connection, request: Request) -> Result<Frames, End> {
    let helper = MonitorProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .map_err(|error| End::Lost(error.into()))?;
    let scope = match request.view {
        View::Own => SCOPE_OWN,
        View::All => SCOPE_ALL,
    };
    let options = HashMap::from([(OPTION_SCOPE, Variant::from(scope))]);
    let opened = if request.interactive {
        helper.open_event_stream_interactively(&options).await
    } else {
        helper.open_event_stream(&options).await
    };
    let fd = opened.map_err(judge)?;
    Frames::new(fd).map_err(|error| End::Lost(Reason::Other(error.to_string())))
}

/// What an error reply means.
fn judge(failure: zbus::Error) -> End {
    match &failure {
        zbus::Error::MethodError(name, _text, _reply) => match name.as_str() {
            error::NOT_AUTHORIZED => End::Refused(Refusal::NotAuthorized),
            error::INTERACTION_REQUIRED => End::Refused(Refusal::InteractionRequired),
            error::LIMITS_EXCEEDED => End::Refused(Refusal::LimitsExceeded),
            error::FAILED => End::Lost(Reason::Other("the helper cannot open a stream".into())),
            other => End::Refused(Refusal::Other(escape(other.as_bytes()))),
        },
        zbus::Error::FDO(error) => match &**error {
            fdo::Error::AccessDenied(_) => End::Refused(Refusal::Other("the bus's policy forbids it".into())),
            fdo::Error::UnknownMethod(_)
            | fdo::Error::UnknownInterface(_)
            | fdo::Error::UnknownObject(_)
            | fdo::Error::InvalidArgs(_) => {
                End::Refused(Refusal::Other("the helper is older than this program".into()))
            }
            _ => End::Lost(failure.into()),
        },
        _ => End::Lost(failure.into()),
    }
}

impl From<zbus::Error> for Reason {
    fn from(failure: zbus::Error) -> Self {
        use fdo::Error as E;
        match &failure {
            zbus::Error::FDO(error) => match &**error {
                E::ServiceUnknown(_)
                | E::NameHasNoOwner(_)
                | E::NoReply(_)
                | E::SpawnExecFailed(_)
                | E::SpawnChildExited(_)
                | E::SpawnChildSignaled(_)
                | E::SpawnFailed(_)
                | E::SpawnServiceNotFound(_)
                | E::TimedOut(_) => Self::NoHelper,
                _ => Self::Other(escape(error.to_string().as_bytes())),
            },
            zbus::Error::InputOutput(error) => Self::NoBus(error.to_string()),
            other => Self::Other(escape(other.to_string().as_bytes())),
        }
    }
}

async fn owner_changes(connection: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(0, SERVICE)
        .build()?;
    MessageStream::for_match_rule(rule, connection, None).await
}

/// Returns true when somebody has taken the helper's name, false when the bus is gone.
async fn helper_appears(owners: &mut MessageStream) -> bool {
    while let Some(message) = poll_fn(|context| Pin::new(&mut *owners).poll_next(context)).await {
        let Ok(message) = message else { return false };
        let body = message.body();
        if body.deserialize::<(&str, &str, &str)>().is_ok_and(|(_name, _old, new)| !new.is_empty()) {
            return true;
        }
    }
    false
}
