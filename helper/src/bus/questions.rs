//! Calls that wait for the engine's word: each question has a ticket, each answer finds its way back.
//!
//! The engine's other effects may be dropped and made up for by a snapshot; these may not. Each question brings
//! the place for its answer along, so there is always room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crossbeam_channel::Sender;
use sekhmet_common::{
    rule::{Rule, RuleId},
    watch::{Entry, EntryId},
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    bus::{limits::Exceeded, reply::CallError},
    engine::input::{
        Effect, FreezeResult, FreezeWatchResult, Frozen, FrozenWatch, Input, Request, Scope, Ticket,
        WatchRequest, WatchResult, Wish, WishResult,
    },
};

/// How long the engine may take to say what it knows.
const KNOWLEDGE_MAX: Duration = Duration::from_secs(10);

/// How long a change may take until it is enforced.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// What the engine said.
#[derive(Debug)]
enum Word {
    Frozen(FreezeResult),
    Rules(Vec<Rule>),
    Answer(WishResult),
    WatchFrozen(FreezeWatchResult),
    Entries(u64, Vec<Entry>),
    WatchAnswer(WatchResult),
}

/// The way to the engine and back. Copies share the questions that are open.
#[derive(Clone, Debug)]
pub struct Questions {
    engine: Sender<Input>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    waiting: HashMap<Ticket, oneshot::Sender<Word>>,
}

impl Questions {
    /// No question yet.
    pub fn new(engine: Sender<Input>) -> Self {
        Self { engine, open: Arc::default() }
    }

    /// What a request means as things stand. Nobody is authorised yet.
    ///
    /// # Errors
    /// [`CallError`] if the request cannot be, or the engine does not say.
    pub(super) async fn freeze(&self, request: Request) -> Result<Frozen, CallError> {
        match self.ask(KNOWLEDGE_MAX, |ticket| Input::Freeze { ticket, request }).await? {
            Word::Frozen(result) => Ok(result?),
            _ => Err(OTHER_WORD),
        }
    }

    /// The rules in force that a scope may see.
    ///
    /// # Errors
    /// [`CallError`] if the engine does not say.
    pub(super) async fn list(&self, scope: Scope) -> Result<Vec<Rule>, CallError> {
        match self.ask(KNOWLEDGE_MAX, |ticket| Input::ListRules { ticket, scope }).await? {
            Word::Rules(rules) => Ok(rules),
            _ => Err(OTHER_WORD),
        }
    }

    /// Has a wish done. It goes on if nobody waits any more.
    ///
    /// # Errors
    /// [`CallError`] if it was not done, or takes too long.
    pub(super) async fn wish(&self, wish: Wish) -> Result<Vec<RuleId>, CallError> {
        match self.ask(CHANGE_MAX, |ticket| Input::Wish { ticket, wish }).await {
            Ok(Word::Answer(result)) => Ok(result?),
            Ok(_) => Err(OTHER_WORD),
            Err(CallError::Failed(_)) => {
                Err(CallError::Failed("the change is still under way; the rules will show whether it comes"))
            }
            Err(error) => Err(error),
        }
    }

    /// What a request about the watchlist means as things stand. Nobody is authorised yet.
    ///
    /// # Errors
    /// [`CallError`] if there is no such entry, or the engine does not say.
    pub(super) async fn freeze_watch(&self, request: WatchRequest) -> Result<FrozenWatch, CallError> {
        match self.ask(KNOWLEDGE_MAX, |ticket| Input::FreezeWatch { ticket, request }).await? {
            Word::WatchFrozen(result) => Ok(result?),
            _ => Err(OTHER_WORD),
        }
    }

    /// The watchlist as a scope may see it, and which one it is.
    ///
    /// # Errors
    /// [`CallError`] if the engine does not say.
    pub(super) async fn entries(&self, scope: Scope) -> Result<(u64, Vec<Entry>), CallError> {
        match self.ask(KNOWLEDGE_MAX, |ticket| Input::ListEntries { ticket, scope }).await? {
            Word::Entries(revision, entries) => Ok((revision, entries)),
            _ => Err(OTHER_WORD),
        }
    }

    /// Has the watchlist changed. It goes on if nobody waits any more.
    ///
    /// # Errors
    /// [`CallError`] if it was not done, or takes too long.
    pub(super) async fn wish_watch(&self, frozen: FrozenWatch) -> Result<EntryId, CallError> {
        match self.ask(CHANGE_MAX, |ticket| Input::WishWatch { ticket, frozen }).await {
            Ok(Word::WatchAnswer(result)) => Ok(result?),
            Ok(_) => Err(OTHER_WORD),
            Err(CallError::Failed(_)) => Err(CallError::Failed(
                "the change is still under way; the watchlist will show whether it comes",
            )),
            Err(error) => Err(error),
        }
    }

    /// Hands the engine's word to whoever asked. Everything else is given back.
    pub(super) fn answer(&self, effect: Effect) -> Option<Effect> {
        let (ticket, word) = match effect {
            Effect::Frozen { ticket, result } => (ticket, Word::Frozen(result)),
            Effect::Rules { ticket, rules } => (ticket, Word::Rules(rules)),
            Effect::Answer { ticket, result } => (ticket, Word::Answer(result)),
            Effect::WatchFrozen { ticket, result } => (ticket, Word::WatchFrozen(result)),
            Effect::Entries { ticket, revision, entries } => (ticket, Word::Entries(revision, entries)),
            Effect::WatchAnswer { ticket, result } => (ticket, Word::WatchAnswer(result)),
            other => return Some(other),
        };
        let asker = self.lock().waiting.remove(&ticket);
        if asker.is_none_or(|asker| asker.send(word).is_err()) {
            tracing::debug!(ticket = ticket.0, "nobody waits for this answer any more");
        }
        None
    }

    async fn ask(
        &self,
        patience: Duration,
        question: impl FnOnce(Ticket) -> Input,
    ) -> Result<Word, CallError> {
        let (sender, answer) = oneshot::channel();
        let place = self.open_place(sender);
        // An engine that is behind is not waited for: nothing was changed yet, and the caller learns it.
        if self.engine.try_send(question(place.ticket)).is_err() {
            return Err(Exceeded("changes under way").into());
        }
        match timeout(patience, answer).await {
            Ok(Ok(word)) => Ok(word),
            _ => Err(CallError::Failed("the helper does not know just now")),
        }
    }

    fn open_place(&self, sender: oneshot::Sender<Word>) -> Place<'_> {
        let mut open = self.lock();
        open.last += 1;
        let ticket = Ticket(open.last);
        open.waiting.insert(ticket, sender);
        Place { questions: self, ticket }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const OTHER_WORD: CallError = CallError::Failed("the helper answered another question");

/// A question's place, given back when nobody waits any more.
struct Place<'a> {
    questions: &'a Questions,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.questions.lock().waiting.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};
    use sekhmet_common::{
        rule::{Answer, Extent, Lifetime, Subject, Ways},
        time::Timestamp,
    };

    use super::*;

    fn rule() -> Rule {
        Rule {
            id: RuleId(1),
            subject: Subject::Program { exe: "/usr/bin/curl".into() },
            ways: Ways::Both,
            answer: Answer::Reject,
            extent: Extent::Outside,
            lifetime: Lifetime::Always,
            added_at: Timestamp(1),
            expires_at: None,
            added_by: 1,
            added_by_user: None,
            hits: 0,
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    fn tickets(inputs: &Receiver<Input>) -> Vec<Ticket> {
        let ticket = |input| match input {
            Input::ListRules { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        };
        inputs.try_iter().map(ticket).collect()
    }

    #[test]
    fn each_answer_finds_its_question_whatever_the_order() {
        let (engine, inputs) = bounded(8);
        let questions = Questions::new(engine);
        let (one, two) = runtime().block_on(async {
            let asked = async { tokio::join!(questions.list(Scope::Own(1)), questions.list(Scope::Own(2))) };
            let answered = async {
                for ticket in tickets(&inputs).into_iter().rev() {
                    let rules = (0..ticket.0).map(|_| rule()).collect();
                    assert!(questions.answer(Effect::Rules { ticket, rules }).is_none());
                }
            };
            tokio::join!(asked, answered).0
        });
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 2));
        assert!(questions.lock().waiting.is_empty());
    }

    #[test]
    fn a_caller_that_leaves_gives_its_place_back() {
        let (engine, inputs) = bounded(8);
        let questions = Questions::new(engine);
        let left = runtime().block_on(async { timeout(Duration::ZERO, questions.list(Scope::All)).await });
        assert!(left.is_err());
        assert!(questions.lock().waiting.is_empty());
        let ticket = tickets(&inputs)[0];
        assert!(questions.answer(Effect::Rules { ticket, rules: Vec::new() }).is_none(), "late");
        assert!(questions.answer(Effect::Watched(true)).is_some(), "not ours");
    }

    #[test]
    fn an_engine_that_is_behind_is_not_waited_for() {
        let (engine, _inputs) = bounded(0);
        let questions = Questions::new(engine);
        let result = runtime().block_on(questions.list(Scope::All));
        assert!(matches!(result, Err(CallError::Limit(_))), "{result:?}");
        assert!(questions.lock().waiting.is_empty());
    }
}
