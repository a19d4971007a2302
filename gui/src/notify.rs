//! Tells the desktop of unexpected readers, on a thread of its own: `org.freedesktop.Notifications` on the session bus
//! (Desktop Notifications Specification 1.2).

use std::{
    collections::{HashMap, VecDeque},
    future::{pending, poll_fn},
    io,
    pin::Pin,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_core::Stream as _;
use sekhmet_common::{display::cut_middle, file::AccessId};
use tokio::{runtime::Builder, sync::mpsc, time::timeout};
use zbus::{
    Connection, MatchRule, Message, MessageStream, Variant, message::Type, proxy, proxy::CacheProperties,
};

/// How long the desktop may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// More than this many that wait are dropped: the desktop does not take them in.
const WAITING_MAX: usize = 8;
/// So many are remembered, should somebody click on them.
const SHOWN_MAX: usize = 64;
/// The longest line of a notification, in characters as people see them.
const LINE_MAX: usize = 160;
/// The interface, and the name under which it is found.
const INTERFACE: &str = "org.freedesktop.Notifications";
/// The only object that has it.
const OBJECT: &str = "/org/freedesktop/Notifications";
/// A click on the notification itself, and the button below it.
const ACTIONS: [&str; 2] = ["default", "show"];

#[proxy(
    interface = "org.freedesktop.Notifications",
    default_service = "org.freedesktop.Notifications",
    default_path = "/org/freedesktop/Notifications"
)]
trait Notifications {
    fn get_capabilities(&self) -> zbus::Result<Vec<String>>;

    #[expect(clippy::too_many_arguments, reason = "as the specification has it")]
    fn notify(
        &self,
        app_name: &str,
        replaces_id: u32,
        app_icon: &str,
        summary: &str,
        body: &str,
        actions: &[&str],
        hints: HashMap<&str, Variant<'_>>,
        expire_timeout: i32,
    ) -> zbus::Result<u32>;
}

/// What the desktop shows. Both are safe to show and not yet markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The heading.
    pub summary: String,
    /// The sentence below it.
    pub body: String,
    /// The access that it tells of; nothing if it tells of several.
    pub about: Option<AccessId>,
}

/// A click on a notification: the person wants to see what it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen(pub Option<AccessId>);

/// Where notifications go.
pub trait Desktop {
    /// Hands one over. Never waits.
    fn notify(&mut self, notification: Notification);

    /// What the person clicked on since the last call. Never waits.
    fn chosen(&mut self) -> Vec<Chosen> {
        Vec::new()
    }
}

/// Nobody is told.
#[derive(Debug, Default)]
pub struct Silent;

impl Desktop for Silent {
    fn notify(&mut self, _: Notification) {}
}

/// The desktop of this session.
pub struct Session {
    outbox: mpsc::Sender<Notification>,
    clicks: Receiver<Chosen>,
}

impl Session {
    /// Starts the thread. The bus is looked for when there is something to tell; `address` names another than the
    /// session's. `wake` is called when the person has clicked.
    ///
    /// # Errors
    /// If the thread or its event loop cannot be started.
    pub fn spawn(address: Option<String>, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (outbox, inbox) = mpsc::channel(WAITING_MAX);
        let (clicked, clicks) = bounded(WAITING_MAX);
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let teller = Teller { address, way: None, shown: VecDeque::new(), clicked, wake, is_away: false };
        std::thread::Builder::new()
            .name("notify".into())
            .spawn(move || runtime.block_on(teller.run(inbox)))?;
        Ok(Self { outbox, clicks })
    }
}

impl Desktop for Session {
    fn notify(&mut self, notification: Notification) {
        if self.outbox.try_send(notification).is_err() {
            tracing::warn!("the desktop does not take in notifications; one was dropped");
        }
    }

    fn chosen(&mut self) -> Vec<Chosen> {
        self.clicks.try_iter().collect()
    }
}

/// The way to the desktop, and what it says by itself.
struct Way {
    connection: Connection,
    signals: MessageStream,
}

struct Teller<W> {
    address: Option<String>,
    way: Option<Way>,
    /// What the desktop shows, by its numbers, the newest last.
    shown: VecDeque<(u32, Option<AccessId>)>,
    clicked: Sender<Chosen>,
    wake: W,
    /// Whether the last one could not be told; it is said once.
    is_away: bool,
}

impl<W: Fn()> Teller<W> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Notification>) {
        loop {
            tokio::select! {
                notification = inbox.recv() => match notification {
                    Some(notification) => self.pass_on(&notification).await,
                    None => return,
                },
                signal = next(&mut self.way) => match signal {
                    Some(Ok(message)) => self.heed(&message),
                    // The session's bus is gone; the next notification looks for it again.
                    Some(Err(_)) | None => self.way = None,
                },
            }
        }
    }

    async fn pass_on(&mut self, notification: &Notification) {
        let told = timeout(ANSWER_MAX, self.tell(notification)).await;
        let error = match told {
            Ok(Ok(id)) => {
                self.is_away = false;
                self.shown.push_back((id, notification.about));
                let over = self.shown.len().saturating_sub(SHOWN_MAX);
                self.shown.drain(..over);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        if self.way.as_ref().is_some_and(|way| way.connection.is_closed()) {
            self.way = None;
        }
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(error, "the desktop cannot be told of unexpected readers");
        }
    }

    async fn tell(&mut self, notification: &Notification) -> zbus::Result<u32> {
        let bus = match &self.way {
            Some(way) => way.connection.clone(),
            None => self.way.insert(way(self.address.as_deref()).await?).connection.clone(),
        };
        let proxy = NotificationsProxy::builder(&bus).cache_properties(CacheProperties::No).build().await?;
        // Asked each time: another server may have taken over.
        let can = proxy.get_capabilities().await?;
        let can = |what: &str| can.iter().any(|one| one == what);
        let hints = HashMap::from([
            ("desktop-entry", Variant::from(sekhmet_common::bus::APP_ID)),
            ("category", Variant::from("device")),
            // 1 is normal: unexpected is not yet an emergency.
            ("urgency", Variant::from(1_u8)),
        ]);
        let summary = cut_middle(&notification.summary, LINE_MAX);
        let body = cut_middle(&notification.body, LINE_MAX);
        let body = if can("body-markup") { markup(&body) } else { body.into_owned() };
        let show = crate::text::secrets::ALERT_SHOW;
        let actions = ACTIONS.map(|action| [action, show]);
        let actions = if can("actions") { actions.as_flattened() } else { &[] };
        let icon = sekhmet_common::bus::APP_ID;
        proxy.notify(crate::text::TITLE, 0, icon, &summary, &body, actions, hints, -1).await
    }

    /// The person clicked, or a notification went away. Numbers of other programs' notifications are not ours.
    fn heed(&mut self, message: &Message) {
        let header = message.header();
        let body = message.body();
        match header.member().map(|member| member.as_str()) {
            Some("ActionInvoked") => {
                let Ok((id, action)) = body.deserialize::<(u32, &str)>() else { return };
                let about = self.shown.iter().find(|(shown, _)| *shown == id).map(|(_, about)| *about);
                if let Some(about) = about.filter(|_| ACTIONS.contains(&action))
                    && self.clicked.try_send(Chosen(about)).is_ok()
                {
                    (self.wake)();
                }
            }
            Some("NotificationClosed") => {
                if let Ok((id, _reason)) = body.deserialize::<(u32, u32)>() {
                    self.shown.retain(|(shown, _)| *shown != id);
                }
            }
            _ => {}
        }
    }
}

async fn way(address: Option<&str>) -> zbus::Result<Way> {
    let connection = match address {
        Some(address) => zbus::conn::Builder::address(address).build().await?,
        None => Connection::session().await?,
    };
    let rule = MatchRule::builder().msg_type(Type::Signal).interface(INTERFACE).path(OBJECT).build()?;
    let signals = MessageStream::for_match_rule(rule, &connection, None).await?;
    Ok(Way { connection, signals })
}

/// What the desktop says next; nothing as long as there is no way to it.
async fn next(way: &mut Option<Way>) -> Option<zbus::Result<Message>> {
    match way {
        Some(way) => poll_fn(|context| Pin::new(&mut way.signals).poll_next(context)).await,
        None => pending().await,
    }
}

/// The body is markup by the specification: foreign text must not become any.
fn markup(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_no_markup() {
        assert_eq!(markup("<b>a&b</b> \"'"), "&lt;b&gt;a&amp;b&lt;/b&gt; &quot;&apos;");
    }
}
