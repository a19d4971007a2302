//! What was asked of the helper: what waits for an answer, what was done and can be undone, what to say about it.

use std::time::{Duration, Instant};

use sekhmet_common::{
    mirror::Mirror,
    rule::{Draft, Rule, RuleId, Subject, Wanted},
    watch::{Entry, EntryDraft, EntryId},
};

use super::tree::Node;
use crate::text::rule as words;

mod entries;

/// How long a notice stays.
pub const NOTICE: Duration = Duration::from_secs(10);
/// So many steps can be undone.
const STEPS_MAX: usize = 50;

/// Names one request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What is asked of the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A new rule.
    Block(Draft),
    /// One rule less.
    Unblock(RuleId),
    /// A new entry of the watchlist.
    Watch(EntryDraft),
    /// An entry, as it was when somebody opened it in the editor, made like this.
    Change(Box<Entry>, EntryDraft),
    /// One entry less.
    Unwatch(EntryId),
    /// An entry that was removed, once more.
    Restore(Box<Entry>),
    /// Entries switched on, or off: one, or a whole group.
    Switch(Vec<EntryId>, bool),
}

/// What the helper did: for a new rule its number.
pub type Done = Option<RuleId>;

/// A request on its way.
#[derive(Clone, Debug)]
struct Pending {
    ticket: Ticket,
    wish: Wish,
    /// The row that it was made on.
    node: Option<Node>,
    /// Whom it is about, in a word or two.
    name: String,
    /// Connections that a block closes.
    closes: usize,
    /// What takes it back, as far as that is known before it is done.
    back: Option<Wish>,
    /// Whether it takes back an earlier step.
    undoes: bool,
    /// The helper did it; the event that shows it has not come yet.
    answered: Option<Done>,
}

/// Something that can be undone, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it was, in a few words.
    pub name: String,
    /// What takes it back.
    pub back: Wish,
}

/// What is said about a request that came to its end.
#[derive(Clone, Debug)]
pub struct Notice {
    /// One or two sentences.
    pub text: String,
    /// Whether what was done can be undone.
    pub undo: bool,
    /// Whether it failed.
    pub failed: bool,
    /// When it goes.
    pub until: Instant,
}

/// Requests, steps and the last notice.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    issued: u64,
    pending: Vec<Pending>,
    steps: Vec<Step>,
    notice: Option<Notice>,
}

impl Requests {
    /// Notes a request to block.
    pub fn block(&mut self, node: &Node, name: &str, draft: Draft, closes: usize) -> (Ticket, Wish) {
        self.note(Some(node.clone()), name, Wish::Block(draft), closes, None, false)
    }

    /// Notes a request to remove a rule.
    pub fn unblock(&mut self, rule: &Rule) -> (Ticket, Wish) {
        let back = draft_of(rule).map(Wish::Block);
        self.note(None, &rule.subject.name(), Wish::Unblock(rule.id), 0, back, false)
    }

    /// Notes the request that takes back the last step, if there is one.
    pub fn undo(&mut self, mirror: &Mirror) -> Option<(Ticket, Wish)> {
        self.drop_lost_steps(mirror);
        let step = self.steps.pop()?;
        self.notice = None;
        Some(self.note(None, &step.name, step.back, 0, None, true))
    }

    fn note(
        &mut self,
        node: Option<Node>,
        name: &str,
        wish: Wish,
        closes: usize,
        back: Option<Wish>,
        undoes: bool,
    ) -> (Ticket, Wish) {
        self.issued += 1;
        let (ticket, name) = (Ticket(self.issued), name.to_owned());
        self.pending.push(Pending {
            ticket,
            wish: wish.clone(),
            node,
            name,
            closes,
            back,
            undoes,
            answered: None,
        });
        (ticket, wish)
    }

    /// Takes in what the helper answered, a failure as a sentence.
    pub fn answer(&mut self, ticket: Ticket, answer: Result<Done, String>) {
        let Some(at) = self.pending.iter().position(|p| p.ticket == ticket) else { return };
        match answer {
            Ok(done) => {
                if let Some(pending) = self.pending.get_mut(at) {
                    pending.answered = Some(done);
                }
            }
            Err(reason) => {
                self.pending.remove(at);
                self.say(reason, false, true);
            }
        }
    }

    /// Ends what the mirror shows to be done.
    pub fn settle(&mut self, mirror: &Mirror) {
        let is_done = |p: &Pending| match (&p.wish, p.answered) {
            (_, None) => false,
            (Wish::Block(_), Some(id)) => id.is_none_or(|id| mirror.rule(id).is_some()),
            (Wish::Unblock(id), Some(_)) => mirror.rule(*id).is_none(),
            (wish, Some(_)) => entries::is_done(wish, mirror),
        };
        while let Some(at) = self.pending.iter().position(is_done) {
            let pending = self.pending.remove(at);
            self.conclude(pending, mirror);
        }
    }

    fn conclude(&mut self, mut done: Pending, mirror: &Mirror) {
        let known = done.back.take();
        let (text, back) = match (&done.wish, done.answered.flatten()) {
            (Wish::Block(draft), id) => {
                (words::is_blocked(&done.name, draft.lifetime, done.closes), id.map(Wish::Unblock))
            }
            (Wish::Unblock(_), _) => (words::is_unblocked(&done.name), known),
            (wish, _) => (entries::is_said(wish, &done.name), known.or_else(|| entries::back(wish, mirror))),
        };
        // What takes back a step is not a step: pressing the key again goes further back.
        let back = back.filter(|_| !done.undoes);
        self.say(text, back.is_some(), false);
        if let Some(back) = back {
            self.steps.push(Step { name: done.name, back });
            let over = self.steps.len().saturating_sub(STEPS_MAX);
            self.steps.drain(..over);
        }
    }

    /// The helper went away: nobody will answer.
    pub fn abandon(&mut self) {
        if !self.pending.is_empty() {
            self.pending.clear();
            self.say(words::NO_ANSWER.to_owned(), false, true);
        }
    }

    /// Says something that was done here, or was not.
    pub fn tell(&mut self, text: String, failed: bool) {
        self.say(text, false, failed);
    }

    fn say(&mut self, text: String, undo: bool, failed: bool) {
        self.notice = Some(Notice { text, undo, failed, until: Instant::now() + NOTICE });
    }

    /// Whether a request that was made on a row waits.
    pub fn is_asking(&self, node: &Node) -> bool {
        self.pending.iter().any(|p| p.node.as_ref() == Some(node))
    }

    /// Whether a rule is about to go.
    pub fn is_removing(&self, id: RuleId) -> bool {
        self.pending.iter().any(|p| p.wish == Wish::Unblock(id))
    }

    /// The last step that can be undone.
    pub fn last_step(&self, mirror: &Mirror) -> Option<&Step> {
        self.steps.iter().rev().find(|step| is_possible(step, mirror))
    }

    /// A rule that ended by itself takes the step with it.
    fn drop_lost_steps(&mut self, mirror: &Mirror) {
        self.steps.retain(|step| is_possible(step, mirror));
    }

    /// What is to be said now.
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref().filter(|n| Instant::now() < n.until)
    }

    /// Takes the notice away.
    pub fn dismiss(&mut self) {
        self.notice = None;
    }

    /// Keeps the notice while the pointer is on it.
    pub fn keep_notice(&mut self) {
        if let Some(notice) = &mut self.notice {
            notice.until = notice.until.max(Instant::now() + Duration::from_secs(2));
        }
    }
}

fn is_possible(step: &Step, mirror: &Mirror) -> bool {
    match &step.back {
        Wish::Unblock(id) => mirror.rule(*id).is_some(),
        Wish::Block(Draft { wanted: Wanted::Process(id) | Wanted::ProgramOf(id), .. }) => {
            mirror.process(*id).is_some_and(|p| p.exited_at.is_none())
        }
        Wish::Block(_) => true,
        wish => entries::is_possible(wish, mirror),
    }
}

/// What makes a rule like this one; nothing if its process is no longer listed.
fn draft_of(rule: &Rule) -> Option<Draft> {
    let wanted = match &rule.subject {
        Subject::Process { process, .. } => Wanted::Process((*process)?),
        Subject::Program { exe } => Wanted::Path(exe.clone()),
    };
    let mut draft = Draft::new(wanted, rule.lifetime);
    (draft.ways, draft.answer, draft.extent) = (rule.ways, rule.answer, rule.extent);
    Some(draft)
}
