//! A polkit that answers as a test tells it: yes, no, only with a dialog, late, or never.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use zbus::{Connection, OwnedVariant, interface, object_server::SignalEmitter};

use crate::bus::TestBus;

const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";

/// What polkit says to one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Authorised.
    Allow,
    /// Refused.
    Deny,
    /// A dialog would be needed; with one, the person says yes.
    Ask,
    /// A dialog would be needed; with one, the person dismisses it.
    AskDismissed,
    /// An error instead of an answer.
    Error,
    /// Allowed after a while.
    AllowAfter(Duration),
    /// No answer at all.
    Silent,
}

/// One check as polkit saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The kind of subject.
    pub subject_kind: String,
    /// The subject's bus name, if it is one.
    pub subject_name: Option<String>,
    /// Which action.
    pub action: String,
    /// Whether a dialog is allowed.
    pub interactive: bool,
    /// What the action's message would say where it names these keys.
    pub details: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    verdicts: HashMap<String, Verdict>,
    checks: Vec<Check>,
    cancelled: Vec<String>,
}

/// The mock. It leaves the bus when it is dropped.
#[derive(Debug)]
pub struct MockPolkit {
    state: Arc<Mutex<State>>,
    connection: Connection,
}

impl MockPolkit {
    /// Puts a polkit on the bus that refuses everything.
    ///
    /// # Errors
    /// If the bus does not answer.
    pub async fn start(bus: &TestBus) -> Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let connection = zbus::conn::Builder::address(bus.address())
            .serve_at(PATH, Authority(Arc::clone(&state)))
            .name("org.freedesktop.PolicyKit1")
            .build()
            .await?;
        Ok(Self { state, connection })
    }

    /// From now on an action is answered so.
    pub fn set(&self, action: &str, verdict: Verdict) {
        lock(&self.state).verdicts.insert(action.to_owned(), verdict);
    }

    /// How an action is answered.
    pub fn verdict(&self, action: &str) -> Verdict {
        lock(&self.state).verdicts.get(action).cloned().unwrap_or(Verdict::Deny)
    }

    /// Forgets the last check.
    pub fn forget_check(&self) {
        lock(&self.state).checks.pop();
    }

    /// The checks that were asked for so far.
    pub fn checks(&self) -> Vec<Check> {
        lock(&self.state).checks.clone()
    }

    /// The cancellation ids that were given up.
    pub fn cancelled(&self) -> Vec<String> {
        lock(&self.state).cancelled.clone()
    }

    /// Tells everybody that the rules have changed.
    ///
    /// # Errors
    /// If the bus is gone.
    pub async fn tell_changed(&self) -> Result<()> {
        let interface = self.connection.object_server().interface::<_, Authority>(PATH).await?;
        Ok(Authority::changed(interface.signal_emitter()).await?)
    }

    /// Leaves the bus.
    ///
    /// # Errors
    /// If the bus is gone.
    pub async fn stop(&self) -> Result<()> {
        Ok(self.connection.clone().close().await?)
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Authority(Arc<Mutex<State>>);

type Answer = (bool, bool, HashMap<String, String>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority", introspection_docs = false)]
impl Authority {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action_id: String,
        details: HashMap<String, String>,
        flags: u32,
        _cancellation_id: String,
    ) -> zbus::fdo::Result<(Answer,)> {
        let interactive = flags & 1 != 0;
        let subject_name = subject.1.get("name").and_then(|v| String::try_from(v.clone()).ok());
        let verdict = {
            let mut state = lock(&self.0);
            let action = action_id.clone();
            state.checks.push(Check { subject_kind: subject.0, subject_name, action, interactive, details });
            state.verdicts.get(&action_id).cloned().unwrap_or(Verdict::Deny)
        };
        let (authorized, challenge) = match verdict {
            Verdict::Allow => (true, false),
            Verdict::Deny => (false, false),
            Verdict::Ask => (interactive, !interactive),
            Verdict::AskDismissed => (false, true),
            Verdict::Error => return Err(zbus::fdo::Error::Failed("no such action".into())),
            Verdict::AllowAfter(delay) => {
                tokio::time::sleep(delay).await;
                (true, false)
            }
            Verdict::Silent => std::future::pending().await,
        };
        Ok(((authorized, challenge, HashMap::new()),))
    }

    async fn cancel_check_authorization(&self, cancellation_id: String) {
        lock(&self.0).cancelled.push(cancellation_id);
    }

    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}
