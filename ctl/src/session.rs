//! A command's session with the helper: one snapshot, or a stream until the user has seen enough.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use sekhmet_client::{Link, Options, Reason, Refusal, Request, Status, Update, View};
use sekhmet_common::{display::Text, event::Event, mirror::Mirror};
use tokio::runtime;

use crate::{
    output::{self, Failure},
    signals,
};

/// How long a command waits for a helper that is just starting, or that has no room just now.
pub(crate) const HELPER_MAX: Duration = Duration::from_secs(3);

/// How long the helper may keep silent before its snapshot is complete.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Pause between two tries to reach the helper.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// How often a quiet session looks whether anybody still reads.
const GLANCE: Duration = Duration::from_secs(1);

/// How many updates may wait; the link reads no further meanwhile.
const UPDATES_MAX: usize = 64;

/// Whom to ask, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Another bus than the system's.
    pub(crate) address: Option<String>,
    /// Whose processes, and whether polkit may ask.
    pub(crate) request: Request,
}

impl Access {
    /// What the helper lists just now.
    pub(crate) fn snapshot(&self) -> Result<Mirror, Failure> {
        let (sender, updates) = sync_channel(UPDATES_MAX);
        let _link = self.link(move |update| {
            // Nobody listens once the snapshot is there.
            let _heard = sender.send(update);
        })?;
        let mut mirror = Mirror::new();
        let begun = Instant::now();
        // What to say if it does not get better.
        let mut trouble = None;
        let mut connected = false;
        loop {
            let limit = match trouble {
                Some(_) => HELPER_MAX.saturating_sub(begun.elapsed()),
                // A person may need any time to find the password.
                None if self.request.interactive && !connected => Duration::MAX,
                None => SILENCE_MAX,
            };
            match (updates.recv_timeout(limit), trouble.take()) {
                (Ok(Update::Connected { .. }), _) => connected = true,
                (Ok(Update::Events(events)), _) => {
                    events.iter().for_each(|event| mirror.apply(event));
                    if mirror.is_complete() {
                        return Ok(mirror);
                    }
                }
                // Somebody may just be leaving.
                (Ok(Update::Refused { error: error @ Refusal::LimitsExceeded }), _) => {
                    trouble = Some(Failure::Refused(error));
                }
                (Ok(Update::Refused { error }), _) => return Err(Failure::Refused(error)),
                (Ok(Update::Lost { reason, .. }), _) => trouble = Some(absence(reason)),
                (Ok(Update::CommandDone { .. }), before) => trouble = before,
                (Err(_), Some(failure)) => return Err(failure),
                (Err(_), None) => return Err(Failure::Failed("the helper does not answer".into())),
            }
        }
    }

    /// How the helper is, which needs no authorisation.
    pub(crate) fn status(&self) -> Result<Status, Failure> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::Failed(format!("no event loop: {e}")))?;
        let begun = Instant::now();
        loop {
            match runtime.block_on(sekhmet_client::status(self.address.as_deref())) {
                Ok(status) => return Ok(status),
                Err(Reason::NoHelper | Reason::NoBus(_)) if begun.elapsed() + PAUSE < HELPER_MAX => {
                    std::thread::sleep(PAUSE);
                }
                Err(reason) => return Err(absence(reason)),
            }
        }
    }

    /// Opens a stream that keeps itself open.
    pub(crate) fn live(&self, time: Option<Duration>, asks: Asks) -> Result<Live, Failure> {
        let (sender, inbox) = sync_channel(UPDATES_MAX);
        let stop = sender.clone();
        let stopped = move || stop.send(Said::Stop).is_ok();
        signals::on_stop(asks.terminal, stopped)
            .map_err(|e| Failure::Failed(format!("signals cannot be received: {e}")))?;
        let stop = sender.clone();
        let link = self.link(move |update| {
            let _heard = sender.send(Said::Update(update));
        })?;
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Ok(Live { inbox, stop, deadline, asks, absent: None, connected: false, _link: link })
    }

    fn link(&self, tell: impl FnMut(Update) + Send + 'static) -> Result<Link, Failure> {
        let options = Options { address: self.address.clone(), request: self.request };
        Link::spawn(options, tell).map_err(|e| Failure::Failed(format!("no thread: {e}")))
    }
}

/// Peculiarities of one command's stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    /// Whether the command holds the terminal, which only an end in order restores.
    pub(crate) terminal: bool,
    /// Whether all is for the reader of standard output, so that nothing is left to do without one.
    pub(crate) reader: bool,
}

impl Default for Asks {
    fn default() -> Self {
        Self { terminal: false, reader: true }
    }
}

enum Said {
    Update(Update),
    Stop,
}

/// What a command on a stream hears.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A stream is open, its snapshot follows; `again` if there was one before.
    Connected { version: Text, again: bool },
    /// Events of one batch, in order.
    Events(Vec<Event>),
    /// The stream is gone; told once until another is open.
    Lost(Reason),
    /// Nothing, for a while.
    Quiet,
}

/// A stream until it is stopped by time, by a signal, or because nobody reads.
#[derive(Debug)]
pub(crate) struct Live {
    inbox: Receiver<Said>,
    stop: SyncSender<Said>,
    deadline: Option<Instant>,
    asks: Asks,
    absent: Option<Reason>,
    connected: bool,
    _link: Link,
}

impl Live {
    /// What happens next; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Happening>, Failure> {
        self.next_before(Instant::now() + GLANCE)
    }

    /// What happens next, [`Happening::Quiet`] if that is nothing until `due`.
    pub(crate) fn next_before(&mut self, due: Instant) -> Result<Option<Happening>, Failure> {
        loop {
            let now = Instant::now();
            // A busy stream must not outlive its time.
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return self.end();
            }
            let until = self.deadline.map_or(due, |deadline| deadline.min(due));
            match self.inbox.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Said::Stop) => return self.end(),
                Ok(Said::Update(update)) => {
                    if let Some(happening) = self.judge(update)? {
                        return Ok(Some(happening));
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.asks.reader && output::is_closed() => {
                    return Err(Failure::OutputClosed);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(Some(Happening::Quiet)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Failed("the link to the helper has stopped".into()));
                }
            }
        }
    }

    /// A way to end this stream from another thread; it returns false when that is pointless.
    pub(crate) fn stopper(&self) -> impl Fn() -> bool + Send + 'static {
        let stop = self.stop.clone();
        move || stop.send(Said::Stop).is_ok()
    }

    fn judge(&mut self, update: Update) -> Result<Option<Happening>, Failure> {
        Ok(match update {
            Update::Connected { version, .. } => {
                let again = std::mem::replace(&mut self.connected, true);
                self.absent = None;
                Some(Happening::Connected { version, again })
            }
            Update::Events(events) => Some(Happening::Events(events)),
            Update::Lost { reason, .. } => {
                let is_news = self.absent.is_none();
                self.absent = Some(reason.clone());
                is_news.then_some(Happening::Lost(reason))
            }
            // The link tries again by itself.
            Update::Refused { error: Refusal::LimitsExceeded } if self.connected => None,
            Update::Refused { error } => return Err(Failure::Refused(error)),
            Update::CommandDone { .. } => None,
        })
    }

    fn end(&mut self) -> Result<Option<Happening>, Failure> {
        match self.absent.take() {
            Some(reason) if !self.connected => Err(absence(reason)),
            _ => Ok(None),
        }
    }
}

/// Tells on standard error what has become of the stream.
pub(crate) fn announce(happening: &Happening) {
    match happening {
        Happening::Lost(reason) => output::complain(format_args!("{reason}; trying again")),
        Happening::Connected { again: true, version, .. } => {
            output::complain(format_args!("connected again, helper {version}"));
        }
        _ => {}
    }
}

/// The view that a user gets without asking for one.
pub(crate) fn usual_view() -> View {
    if rustix::process::geteuid().is_root() { View::All } else { View::Own }
}

fn absence(reason: Reason) -> Failure {
    match reason {
        Reason::NoHelper | Reason::NoBus(_) | Reason::Ended => Failure::NoHelper(reason),
        other => Failure::Failed(other.to_string()),
    }
}
