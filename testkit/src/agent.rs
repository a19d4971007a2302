//! A polkit authentication agent whose person answers as a test tells it, and keeps what was asked.
//!
//! It speaks the protocol of a desktop's dialog: registered for a process by the user who owns it, called by polkit
//! with the sentence to show. What `polkit-agent-helper-1` does after a right password, the last step, is done by
//! the test over a connection of root's: polkit believes nobody else (`AuthenticationAgentResponse2`, polkit 0.114).

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use zbus::{Connection, DBusError, OwnedVariant, interface};
use zbus_polkit::policykit1::{AuthorityProxy, Identity, Subject};

use crate::bus::connect_as;

const PATH: &str = "/org/sekhmet/TestAgent";

/// How long polkit may take to ask. A busy machine is slow.
const ASKED_WITHIN: Duration = Duration::from_secs(20);

/// Questions that the test has not read; more wait for it.
const OPEN_MAX: usize = 16;

/// An agent of one user. It is off the bus, and polkit knows it no more, when it is dropped.
#[derive(Debug)]
pub struct Agent {
    uid: u32,
    connection: Connection,
    root: Connection,
    prompts: mpsc::Receiver<Prompt>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

/// One question, open until it is answered or taken back.
#[derive(Debug)]
pub struct Prompt {
    /// Which action.
    pub action: String,
    /// The sentence that a dialog shows.
    pub message: String,
    /// What the caller of polkit and polkit itself say besides.
    pub details: HashMap<String, String>,
    /// Names the question.
    pub cookie: String,
    /// The users who may answer.
    pub users: Vec<u32>,
    person: oneshot::Sender<Ended>,
}

/// How the conversation ends towards polkit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The agent is done; whether somebody authenticated polkit knows from root.
    Over,
    Dismissed,
}

impl Agent {
    /// An agent of this user on the bus behind this socket. `root` is a connection of root's on the same bus.
    ///
    /// # Errors
    /// If the bus does not answer, or the test does not run as root.
    pub async fn start(socket: &Path, uid: u32, root: Connection) -> Result<Self> {
        let (sender, prompts) = mpsc::channel(OPEN_MAX);
        let cancelled = Arc::<Mutex<Vec<String>>>::default();
        let connection = connect_as(socket, uid).await?;
        let dialog = Dialog { prompts: sender, cancelled: Arc::clone(&cancelled) };
        connection.object_server().at(PATH, dialog).await?;
        Ok(Self { uid, connection, root, prompts, cancelled })
    }

    /// From now on polkit turns to this agent with questions about this process, one of the agent's user.
    ///
    /// # Errors
    /// If polkit refuses.
    pub async fn register(&self, pid: u32) -> Result<()> {
        let subject = Subject::new_for_pid(pid, None, Some(self.uid))?;
        let polkit = AuthorityProxy::new(&self.connection).await?;
        polkit.register_authentication_agent(&subject, "C", PATH).await.context("polkit takes no agent")
    }

    /// The next question.
    ///
    /// # Errors
    /// If none comes within twenty seconds.
    pub async fn prompt(&mut self) -> Result<Prompt> {
        let prompt = timeout(ASKED_WITHIN, self.prompts.recv()).await.context("polkit does not ask")?;
        prompt.context("the agent is off the bus")
    }

    /// Whether nothing was asked that was not read yet.
    pub fn is_quiet(&self) -> bool {
        self.prompts.is_empty()
    }

    /// The cookies of the questions that polkit has taken back.
    pub fn cancelled(&self) -> Vec<String> {
        lock(&self.cancelled).clone()
    }

    /// The person authenticates as the first of the users who may.
    ///
    /// # Errors
    /// If polkit does not believe it.
    pub async fn say_yes(&self, prompt: Prompt) -> Result<()> {
        let Some(uid) = prompt.users.first() else { bail!("nobody may answer") };
        let details = HashMap::from([("uid", zbus::Variant::from(*uid))]);
        let identity = Identity { identity_kind: "unix-user", identity_details: &details };
        let polkit = AuthorityProxy::new(&self.root).await?;
        polkit.authentication_agent_response2(self.uid, &prompt.cookie, &identity).await?;
        prompt.end(Ended::Over)
    }
}

impl Prompt {
    /// The person does not know the password: the agent gives up.
    ///
    /// # Errors
    /// If polkit waits no more.
    pub fn say_no(self) -> Result<()> {
        self.end(Ended::Over)
    }

    /// The person closes the dialog.
    ///
    /// # Errors
    /// If polkit waits no more.
    pub fn dismiss(self) -> Result<()> {
        self.end(Ended::Dismissed)
    }

    fn end(self, how: Ended) -> Result<()> {
        ensure!(self.person.send(how).is_ok(), "the question was taken back");
        Ok(())
    }
}

/// What polkit calls.
struct Dialog {
    prompts: mpsc::Sender<Prompt>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

/// Names that polkit knows (`polkit_error_get_type`).
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.PolicyKit1.Error")]
enum Refused {
    #[zbus(error)]
    Bus(zbus::Error),
    Cancelled(String),
    Failed(String),
}

type Identities = Vec<(String, HashMap<String, OwnedVariant>)>;

#[interface(name = "org.freedesktop.PolicyKit1.AuthenticationAgent", introspection_docs = false)]
impl Dialog {
    async fn begin_authentication(
        &self,
        action: String,
        message: String,
        _icon: String,
        details: HashMap<String, String>,
        cookie: String,
        identities: Identities,
    ) -> Result<(), Refused> {
        let users = identities.iter().filter(|(kind, _)| kind == "unix-user");
        let users = users.filter_map(|(_, of)| u32::try_from(of.get("uid")?.clone()).ok()).collect();
        let (person, answer) = oneshot::channel();
        let prompt = Prompt { action, message, details, cookie, users, person };
        self.prompts.send(prompt).await.map_err(|_gone| Refused::Failed("the test is over".into()))?;
        match answer.await {
            Ok(Ended::Over) => Ok(()),
            Ok(Ended::Dismissed) => Err(Refused::Cancelled("dismissed".into())),
            Err(_) => Err(Refused::Failed("the test forgot the question".into())),
        }
    }

    async fn cancel_authentication(&self, cookie: String) {
        lock(&self.cancelled).push(cookie);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
