//! Tells the desktop of unexpected readers, on a thread of its own: `org.freedesktop.Notifications` on the session bus
//! (Desktop Notifications Specification 1.2).

use std::{collections::HashMap, io, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use sekhmet_common::display::cut_middle;
use tokio::{runtime::Builder, time::timeout};
use zbus::{Connection, Variant, proxy, proxy::CacheProperties};

/// How long the desktop may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// More than this many that wait are dropped: the desktop does not take them in.
const WAITING_MAX: usize = 8;
/// The longest line of a notification, in characters as people see them.
const LINE_MAX: usize = 160;

#[proxy(
    interface = "org.freedesktop.Notifications",
    default_service = "org.freedesktop.Notifications",
    default_path = "/org/freedesktop/Notifications"
)]
trait Notifications {
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
}

/// Where notifications go.
pub trait Desktop {
    /// Hands one over. Never waits.
    fn notify(&mut self, notification: Notification);
}

/// Nobody is told.
#[derive(Debug, Default)]
pub struct Silent;

impl Desktop for Silent {
    fn notify(&mut self, _: Notification) {}
}

/// The desktop of this session.
pub struct Session {
    outbox: Sender<Notification>,
}

impl Session {
    /// Starts the thread. The bus is looked for when there is something to tell.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn spawn() -> io::Result<Self> {
        let (outbox, inbox) = bounded(WAITING_MAX);
        std::thread::Builder::new().name("notify".into()).spawn(move || run(&inbox))?;
        Ok(Self { outbox })
    }
}

impl Desktop for Session {
    fn notify(&mut self, notification: Notification) {
        if self.outbox.try_send(notification).is_err() {
            tracing::warn!("the desktop does not take in notifications; one was dropped");
        }
    }
}

fn run(inbox: &Receiver<Notification>) {
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::warn!(%error, "no event loop for notifications"),
    };
    // The same one is replaced, so that a heap of them does not stay behind.
    let mut connection = None;
    while let Ok(notification) = inbox.recv() {
        let told = runtime.block_on(async {
            timeout(ANSWER_MAX, tell(&mut connection, &notification)).await.unwrap_or_else(|_| {
                Err(zbus::Error::InputOutput(std::sync::Arc::new(io::ErrorKind::TimedOut.into())))
            })
        });
        if let Err(error) = told {
            connection = None;
            tracing::warn!(%error, "the desktop could not be told");
        }
    }
}

async fn tell(connection: &mut Option<Connection>, notification: &Notification) -> zbus::Result<()> {
    let bus = match connection {
        Some(bus) => bus.clone(),
        None => connection.insert(Connection::session().await?).clone(),
    };
    let proxy = NotificationsProxy::builder(&bus).cache_properties(CacheProperties::No).build().await?;
    let hints = HashMap::from([
        ("desktop-entry", Variant::from(sekhmet_common::bus::APP_ID)),
        ("category", Variant::from("device")),
        // 1 is normal: unexpected is not yet an emergency.
        ("urgency", Variant::from(1_u8)),
    ]);
    let (summary, body) = (cut_middle(&notification.summary, LINE_MAX), markup(&notification.body));
    let id = sekhmet_common::bus::APP_ID;
    proxy.notify(crate::text::TITLE, 0, id, &summary, &body, &[], hints, -1).await?;
    Ok(())
}

/// The body is markup by the specification: foreign text must not become any.
fn markup(text: &str) -> String {
    let mut out = String::new();
    for c in cut_middle(text, LINE_MAX).chars() {
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
    fn foreign_text_is_no_markup_and_not_endless() {
        assert_eq!(markup("<b>a&b</b> \"'"), "&lt;b&gt;a&amp;b&lt;/b&gt; &quot;&apos;");
        assert!(markup(&"<".repeat(10_000)).len() <= LINE_MAX * 4 + 3);
    }
}
