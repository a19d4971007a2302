//! One connection to the helper, as the commands see it: events in order, or a failure with its exit status.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

use sekhmet_client::{Link, Options, Reason, Refusal, Update};
use sekhmet_common::{event::Event, mirror::Mirror};

/// How long a snapshot may take. Longer than polkit gives a person in front of a dialog.
const SNAPSHOT_MAX: Duration = Duration::from_secs(150);

/// How many updates may wait. Beyond it the link does not read, and the helper sees that.
const UPDATES_MAX: usize = 256;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is nobody to ask.
    #[error("{0}")]
    NoHelper(Reason),
    /// The helper or the bus went wrong.
    #[error("{0}")]
    Failed(Reason),
    /// The helper does not want to.
    #[error("{}", advice(.0))]
    Refused(Refusal),
    /// Our own output.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// The log file.
    #[error("{0}")]
    File(String),
    /// The link's thread is gone.
    #[error("the link to the helper has failed")]
    Link,
}

impl Failure {
    /// 1 refused or failed, 3 no helper. 2, wrong usage, comes from the parser of the command line.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoHelper(_) => 3,
            _ => 1,
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoBus(_) | Reason::NoHelper => Self::NoHelper(reason),
            _ => Self::Failed(reason),
        }
    }
}

fn advice(refusal: &Refusal) -> String {
    match refusal {
        Refusal::InteractionRequired => {
            format!("{refusal} (--interactive lets polkit ask, --own shows your own programs)")
        }
        other => other.to_string(),
    }
}

/// What a session gives next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Events of one frame.
    Events(Vec<Event>),
    /// The stream broke; the link connects again by itself.
    Interrupted(Reason),
    /// The time is over.
    Timeout,
}

/// A link whose updates are taken one by one.
#[derive(Debug)]
pub(crate) struct Session {
    updates: Receiver<Update>,
    was_connected: bool,
    // Dropped with the session, which ends its thread.
    _link: Link,
}

impl Session {
    /// Begins to connect.
    pub(crate) fn open(options: Options) -> Result<Self, Failure> {
        let (sender, updates) = sync_channel(UPDATES_MAX);
        let link = Link::spawn(options, move |update| {
            if sender.send(update).is_err() {
                // The session is dropped; the link hears of it next.
            }
        })?;
        Ok(Self { updates, was_connected: false, _link: link })
    }

    /// What happens next, until `deadline`.
    ///
    /// Before the first connection every obstacle is a failure; after it only a refusal is.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Result<Next, Failure> {
        loop {
            let update = match deadline {
                None => self.updates.recv().map_err(|_closed| RecvTimeoutError::Disconnected),
                Some(at) => self.updates.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match update {
                Ok(Update::Events(events)) => return Ok(Next::Events(events)),
                Ok(Update::Connected { .. }) => self.was_connected = true,
                Ok(Update::Lost { reason, .. }) if self.was_connected => {
                    return Ok(Next::Interrupted(reason));
                }
                Ok(Update::Lost { reason, .. }) => return Err(reason.into()),
                Ok(Update::Refused { error }) => return Err(Failure::Refused(error)),
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Timeout),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Link),
            }
        }
    }

    /// Reads on until a whole snapshot is there.
    pub(crate) fn snapshot(&mut self) -> Result<Mirror, Failure> {
        let deadline = Instant::now() + SNAPSHOT_MAX;
        let mut mirror = Mirror::new();
        while !mirror.is_complete() {
            match self.next(Some(deadline))? {
                Next::Events(events) => events.iter().for_each(|event| mirror.apply(event)),
                Next::Interrupted(reason) => return Err(Failure::Failed(reason)),
                Next::Timeout => {
                    return Err(Failure::Failed(Reason::Other("the helper sends no snapshot".into())));
                }
            }
        }
        Ok(mirror)
    }
}
