//! What the window knows and what the person chose, made into rows. Views read it, commands change it.

pub mod alerts;
pub mod block;
pub mod describe;
pub mod ids;
pub mod key;
pub mod ledger;
pub mod requests;
pub mod screen;
pub mod search;
pub mod secrets;
pub mod series;
pub mod status;
pub mod tally;
pub mod tree;
pub mod verdict;
pub mod watch;

use std::{collections::HashMap, path::PathBuf, time::Instant};

use jiff::tz::TimeZone;
use sekhmet_common::{display::Text, event::Event, file::AccessId, time::Timestamp, watch::EntryId};

use crate::{notify::Notification, text::secrets as words};

use self::{
    alerts::{Alert, Alerts},
    ledger::Ledger,
    requests::Requests,
    screen::{Lens, Screen},
    secrets::rows::{self, Rows},
    status::{Health, Status},
    tree::{Node, Order, Tree},
    watch::Preview,
};

/// Everything the views read.
pub struct Model {
    /// The choices.
    pub screen: Screen,
    /// The way to the data.
    pub status: Status,
    /// The zone of the clock on the wall.
    pub zone: TimeZone,
    /// What was asked of the helper.
    pub requests: Requests,
    /// What the pattern in the editor of the watchlist would match.
    pub preview: Preview,
    /// What the desktop was told of, so that it stays quiet.
    pub alerts: Alerts,
    /// The user in front of the window.
    pub uid: u32,
    /// The home of the person in front of the window: paths below it are shown with `~`.
    pub home: Option<String>,
    /// Where evidence is saved.
    pub saves_to: Option<PathBuf>,
    live: Ledger,
    paused: Option<Box<Paused>>,
    tree: Tree,
    secrets: Rows,
    /// The order that is held, from the moment on that it is.
    order: Option<Order>,
    holding: bool,
    hold_until: Option<Instant>,
    built: Option<Stamp>,
    pruned_at: u32,
    builds: u64,
}

/// The picture as it stood when it was paused.
struct Paused {
    ledger: Ledger,
    events: u64,
}

/// What rows were built from; as long as it is the same, they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    generation: u64,
    second: u32,
    paused: bool,
    holding: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self::new(TimeZone::system())
    }
}

impl Model {
    /// A model that knows nothing, with a zone for its clock times.
    pub fn new(zone: TimeZone) -> Self {
        Self {
            screen: Screen::default(),
            status: Status::default(),
            zone,
            requests: Requests::default(),
            preview: Preview::default(),
            alerts: Alerts::default(),
            uid: 0,
            home: None,
            saves_to: None,
            live: Ledger::new(),
            paused: None,
            tree: Tree::default(),
            secrets: Rows::default(),
            order: None,
            holding: false,
            hold_until: None,
            built: None,
            pruned_at: 0,
            builds: 0,
        }
    }

    /// Takes in events.
    pub fn apply<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>) {
        events.into_iter().for_each(|event| self.live.apply(event));
    }

    /// Moves the present forward. While the helper is away, time stands still.
    pub fn set_now(&mut self, now: Timestamp) {
        if self.status.is_current() {
            self.live.set_now(now);
        }
        self.requests.settle(self.live.mirror());
        let second = self.live.second();
        if second != self.pruned_at && !self.live.in_snapshot() {
            self.live.prune();
            self.pruned_at = second;
        }
    }

    /// What is shown: the present, or the picture that was paused.
    pub fn ledger(&self) -> &Ledger {
        self.paused.as_ref().map_or(&self.live, |paused| &paused.ledger)
    }

    /// The present, paused or not.
    pub fn live(&self) -> &Ledger {
        &self.live
    }

    /// When the picture was paused and how many events came since.
    pub fn paused(&self) -> Option<(Timestamp, u64)> {
        let paused = self.paused.as_ref()?;
        Some((paused.ledger.now(), self.live.events() - paused.events))
    }

    /// Pauses the picture, or lets it go on.
    pub fn set_paused(&mut self, paused: bool) {
        if paused == self.paused.is_some() {
            return;
        }
        self.paused =
            paused.then(|| Box::new(Paused { ledger: self.live.clone(), events: self.live.events() }));
        self.invalidate();
    }

    /// The rows.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How often rows were built; tests and measurements read it.
    pub fn builds(&self) -> u64 {
        self.builds
    }

    /// Whether there is a helper that rules can be asked of.
    pub fn can_block(&self) -> bool {
        self.status == Status::Live
    }

    /// Notes the request that takes back the last step, if there is one.
    pub fn undo(&mut self) -> Option<(requests::Ticket, requests::Wish)> {
        self.requests.undo(self.live.mirror())
    }

    /// How much of what happened arrived.
    pub fn health(&self) -> Health {
        let mirror = self.live.mirror();
        let mode = mirror.header().map(|h| h.mode).unwrap_or_default();
        Health::of(mode, mirror.balance(), mirror.coverage())
    }

    /// Whether this user sees only a part, the rest as one total.
    pub fn own_only(&self) -> bool {
        self.live.mirror().others().at != Timestamp::default()
    }

    /// Whether rows keep their order now.
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// Holds the order of rows, or lets go of it. The pointer over the table holds it.
    pub fn hold(&mut self, pointing: bool) {
        let by_key = self.hold_until.is_some_and(|until| Instant::now() < until);
        self.holding = pointing || by_key;
    }

    /// Holds the order for a while after a key moved the selection.
    pub fn hold_for_key(&mut self) {
        self.hold_until = Some(Instant::now() + std::time::Duration::from_secs(3));
        self.holding = true;
    }

    /// Lets the next [`Model::refresh`] build the rows, whatever was built before.
    pub fn invalidate(&mut self) {
        self.built = None;
    }

    /// Builds the rows if what they are built from has changed. Returns whether it did.
    pub fn refresh(&mut self) -> bool {
        if self.live.in_snapshot() && self.paused.is_none() && !self.tree.rows.is_empty() {
            return false;
        }
        let ledger = self.paused.as_ref().map_or(&self.live, |paused| &paused.ledger);
        let stamp = Stamp {
            generation: ledger.generation(),
            second: ledger.second(),
            paused: self.paused.is_some(),
            holding: self.holding,
        };
        let same = self.built == Some(stamp);
        // Within one second only new or gone rows matter; rates change once a second.
        if same {
            return false;
        }
        if !self.holding {
            self.order = None;
        } else if self.order.is_none() {
            self.order = Some(Order::of(&self.tree.rows));
        }
        self.tree = tree::build(ledger, &self.screen, self.order.as_ref());
        let secrets = (self.screen.lens == Lens::Secrets).then(|| self.build_secrets(ledger));
        if let Some(order) = &mut self.order {
            order.extend(&self.tree.rows);
        }
        if let Some(node) = &self.screen.selected
            && !exists(ledger, node)
        {
            self.screen.selected = None;
        }
        if let Some(menu) = &self.screen.menu
            && !block::is_offered(ledger, menu.node())
        {
            self.screen.menu = None;
        }
        self.secrets = secrets.unwrap_or_default();
        self.built = Some(stamp);
        self.builds += 1;
        true
    }

    fn build_secrets(&self, ledger: &Ledger) -> Rows {
        let places = || self.secrets.rows.iter().enumerate().map(|(i, row)| (row.key.clone(), i)).collect();
        let held: Option<HashMap<_, _>> = self.holding.then(places);
        let asked = rows::Asked {
            search: &self.screen.search,
            turned: &self.screen.secrets_turned,
            held: held.as_ref(),
        };
        rows::build(ledger.secrets(), &asked, |id| label_of(ledger, id))
    }

    /// The rows of the Secrets lens.
    pub fn secrets(&self) -> &Rows {
        &self.secrets
    }

    /// What an entry of the watchlist calls its files.
    pub fn entry_label(&self, id: EntryId) -> String {
        label_of(self.ledger(), id)
    }

    /// What the desktop is to be told of an access that was just heard of.
    pub fn alert(&mut self, id: AccessId, now: Timestamp) -> Option<Notification> {
        let opening = self.live.secrets().opening(id)?;
        Some(match self.alerts.consider(opening, now)? {
            Alert::More => Notification {
                summary: words::ALERT_MORE.to_owned(),
                body: words::ALERT_MORE_BODY.to_owned(),
                about: None,
            },
            Alert::Access => {
                let (access, reader) = (&opening.access, &opening.reader);
                let path = self.path(&access.path);
                Notification {
                    summary: words::alert(&reader.name, &label_of(&self.live, access.entry)),
                    body: words::alert_body(access.access, &path, reader.pid, access.first_time),
                    about: Some(id),
                }
            }
        })
    }

    /// A path as it is shown: below the own home with `~`, and safe.
    pub fn path(&self, path: &Text) -> String {
        let shown = path.shown();
        let below = self.home.as_deref().and_then(|home| shown.strip_prefix(home));
        match below {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
            _ => shown,
        }
    }

    /// The first row of that name, the deepest of several that stand for the same.
    pub fn find(&self, name: &str) -> Option<Node> {
        let rows = self.tree.rows.iter().filter(|row| self.words(&row.node).name == name);
        rows.max_by_key(|row| row.level).map(|row| row.node.clone())
    }

    /// Where the selected row stands.
    pub fn selected_index(&self) -> Option<usize> {
        let selected = self.screen.selected.as_ref()?;
        self.tree.rows.iter().position(|row| row.node == *selected)
    }
}

fn label_of(ledger: &Ledger, id: EntryId) -> String {
    ledger.mirror().entry(id).map(|entry| entry.label.shown()).unwrap_or_default()
}

/// Whether the ledger still knows what a row was about.
fn exists(ledger: &Ledger, node: &Node) -> bool {
    match node {
        Node::Group(key) => ledger.group(key).is_some(),
        Node::Exited => true,
        Node::Process(_, member) => ledger.proc(*member).is_some(),
        Node::Host(_, member, host) => {
            ledger.host(*member, host).is_some()
                || ledger.mirror().refusals_of(*member).any(|r| verdict::host_of(r) == *host)
        }
        Node::Flow(_, _, _, id) => ledger.connection(*id).is_some(),
    }
}
