//! Notifications against a server on a real bus that does what the Desktop Notifications Specification 1.2 says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sekhmet_common::file::AccessId;
use sekhmet_gui::notify::{Chosen, Desktop as _, Notification, Session};
use sekhmet_testkit::bus::TestBus;
use zbus::{Connection, OwnedVariant, interface};

const NAME: &str = "org.freedesktop.Notifications";
const OBJECT: &str = "/org/freedesktop/Notifications";
const PATIENCE: Duration = Duration::from_secs(10);

/// One call of `Notify`.
#[derive(Clone, Debug)]
struct Shown {
    app: String,
    summary: String,
    body: String,
    actions: Vec<String>,
    hints: Vec<String>,
}

#[derive(Clone)]
struct Server {
    can: &'static [&'static str],
    shown: Arc<Mutex<Vec<Shown>>>,
}

#[interface(name = "org.freedesktop.Notifications", introspection_docs = false)]
impl Server {
    async fn get_capabilities(&self) -> Vec<String> {
        self.can.iter().map(ToString::to_string).collect()
    }

    #[expect(clippy::too_many_arguments, reason = "as the specification has it")]
    async fn notify(
        &self,
        app_name: String,
        _replaces_id: u32,
        _app_icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        hints: HashMap<String, OwnedVariant>,
        _expire_timeout: i32,
    ) -> u32 {
        let mut hints: Vec<String> = hints.into_keys().collect();
        hints.sort();
        let mut shown = self.shown.lock().unwrap();
        shown.push(Shown { app: app_name, summary, body, actions, hints });
        u32::try_from(shown.len()).unwrap()
    }
}

impl Server {
    fn new(can: &'static [&'static str]) -> Self {
        Self { can, shown: Arc::default() }
    }

    async fn serve(&self, bus: &TestBus) -> Connection {
        let builder = zbus::conn::Builder::address(bus.address()).serve_at(OBJECT, self.clone());
        builder.name(NAME).build().await.unwrap()
    }

    async fn nth(&self, n: usize) -> Shown {
        let begun = Instant::now();
        loop {
            if let Some(shown) = self.shown.lock().unwrap().get(n).cloned() {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "not told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn notification(about: u64) -> Notification {
    Notification {
        summary: format!("npm opened: <i>{about}</i>"),
        body: "Read /home/<b>x</b> & more.".into(),
        about: Some(AccessId(about)),
    }
}

async fn said<B: serde::Serialize + zbus::Type + Sync>(server: &Connection, signal: &str, body: &B) {
    server.emit_signal(None::<&str>, OBJECT, NAME, signal, body).await.unwrap();
}

async fn chosen(session: &mut Session) -> Vec<Chosen> {
    let begun = Instant::now();
    loop {
        let chosen = session.chosen();
        if !chosen.is_empty() || begun.elapsed() > PATIENCE {
            return chosen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_leads_to_what_was_told_and_to_nothing_else() {
    let bus = TestBus::start().unwrap();
    let server = Server::new(&["body", "body-markup", "actions"]);
    let connection = server.serve(&bus).await;
    let (woken, wakes) = std::sync::mpsc::channel();
    let address = Some(bus.address().to_owned());
    let mut session = Session::spawn(address, move || woken.send(()).unwrap()).unwrap();
    session.notify(notification(7));
    session.notify(notification(8));
    server.nth(1).await;
    let shown = server.nth(0).await;
    assert_eq!((shown.app.as_str(), shown.summary.as_str()), ("Sekhmet", "npm opened: <i>7</i>"));
    assert_eq!(shown.body, "Read /home/&lt;b&gt;x&lt;/b&gt; &amp; more.", "markup comes only from us");
    assert_eq!(shown.actions, ["default", "Show", "show", "Show"]);
    assert_eq!(shown.hints, ["category", "desktop-entry", "urgency"]);
    // Another program's notification, another action, and one that is gone lead nowhere.
    said(&connection, "ActionInvoked", &(99_u32, "default")).await;
    said(&connection, "ActionInvoked", &(1_u32, "inline-reply")).await;
    said(&connection, "ActionInvoked", &("nonsense",)).await;
    said(&connection, "NotificationClosed", &(2_u32, 2_u32)).await;
    said(&connection, "ActionInvoked", &(2_u32, "default")).await;
    said(&connection, "ActionInvoked", &(1_u32, "default")).await;
    assert_eq!(chosen(&mut session).await, [Chosen(Some(AccessId(7)))]);
    assert_eq!(wakes.try_iter().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_markup_and_actions_gets_neither() {
    let bus = TestBus::start().unwrap();
    let server = Server::new(&["body"]);
    let _connection = server.serve(&bus).await;
    let mut session = Session::spawn(Some(bus.address().to_owned()), || {}).unwrap();
    session.notify(notification(7));
    let shown = server.nth(0).await;
    assert_eq!(shown.body, "Read /home/<b>x</b> & more.");
    assert!(shown.actions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_nothing_breaks_and_a_later_one_is_told() {
    let mut bus = TestBus::start().unwrap();
    let mut session = Session::spawn(Some(bus.address().to_owned()), || {}).unwrap();
    session.notify(notification(1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server = Server::new(&["body"]);
    let connection = server.serve(&bus).await;
    session.notify(notification(2));
    assert_eq!(server.nth(0).await.summary, "npm opened: <i>2</i>", "what nobody took is not told late");
    // The bus goes, and comes back.
    drop(connection);
    bus.kill().unwrap();
    session.notify(notification(3));
    tokio::time::sleep(Duration::from_millis(300)).await;
    bus.restart().unwrap();
    let again = Server::new(&["body"]);
    let _connection = again.serve(&bus).await;
    session.notify(notification(4));
    assert_eq!(again.nth(0).await.summary, "npm opened: <i>4</i>");
}
