//! One call about rules or the watchlist, from its admission to its answer: look up, ask polkit, have it done, answer.

mod watchlist;

use sekhmet_common::{bus::WATCHLIST, display::cut_middle, rule::RuleId};
use zbus::{Connection, Message};

use crate::{
    bus::{
        actions::{
            BlockAdd, BlockRelease, BlockRemove, DETAIL_DURATION, DETAIL_TARGET, Right, WatchAll, WatchOwn,
        },
        authority::{Asking, Authority, Caller, Granted, Refusal, allows_interaction},
        lease::{CallPlace, Watch},
        questions::Questions,
        reply::{CallError, answer},
        rules::{Row, RulesRequest, row},
        watchlist::WatchlistRequest,
    },
    engine::input::{Deed, Frozen, Request, Scope, Wish},
};

/// The most graphemes of a target that a dialog shows. A path of four thousand bytes would push the rest of the
/// question off the screen.
const TARGET_MAX: usize = 200;

/// A right to change rules.
pub trait Change: Right + Sized {
    /// Whether the right is for what will be done.
    fn covers(deed: &Deed) -> bool;
}

impl Change for BlockAdd {
    fn covers(deed: &Deed) -> bool {
        matches!(deed, Deed::Add(_))
    }
}

impl Change for BlockRemove {
    fn covers(deed: &Deed) -> bool {
        matches!(deed, Deed::Remove(ids) if ids.len() == 1)
    }
}

impl Change for BlockRelease {
    fn covers(deed: &Deed) -> bool {
        matches!(deed, Deed::Remove(_))
    }
}

/// Makes a wish of what was asked about. Nobody gets here without a grant.
fn wish<C: Change>(granted: &Granted<C>, frozen: Frozen) -> Result<Wish, CallError> {
    if !C::covers(&frozen.deed) {
        tracing::error!(operation = ?C::OPERATION, "the right is for something else");
        return Err(CallError::Failed("the helper mistook the request"));
    }
    Ok(Wish { deed: frozen.deed, by: granted.caller().uid })
}

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Something about rules.
    Rules(RulesRequest),
    /// Something about the watchlist.
    Watchlist(WatchlistRequest),
}

impl Task {
    /// Reads a call of one of the methods of an interface; nothing for another method. Without an interface it is one
    /// about rules.
    ///
    /// # Errors
    /// [`CallError`] for arguments that the method does not take.
    pub fn parse(interface: &str, member: &str, call: &Message) -> Option<Result<Self, CallError>> {
        if interface == WATCHLIST {
            return Some(WatchlistRequest::parse(member, call)?.map(Self::Watchlist));
        }
        Some(RulesRequest::parse(member, call)?.map(Self::Rules))
    }
}

/// A call that was admitted and taken apart.
#[derive(Debug)]
pub struct Errand {
    /// The connection to answer on.
    pub connection: Connection,
    /// The call.
    pub call: Message,
    /// Who calls.
    pub caller: Caller,
    /// The way to the engine.
    pub questions: Questions,
    /// The places among the calls, given back with the answer.
    pub call_places: Vec<CallPlace>,
}

impl Errand {
    /// Does what the call asks for, if that is allowed, and answers.
    pub async fn run(self, task: Task) {
        match task {
            Task::Rules(request) => self.run_rules(request).await,
            Task::Watchlist(request) => self.run_watchlist(request).await,
        }
    }

    async fn run_rules(self, request: RulesRequest) {
        match request {
            RulesRequest::Add(draft) => {
                let added = self.change::<BlockAdd>(Request::Add(draft)).await;
                let first = |ids: Vec<RuleId>| ids.first().map(|id| u64::from(id.0));
                let number =
                    added.map(first).and_then(|id| id.ok_or(CallError::Failed("a rule without number")));
                self.answer(number).await;
            }
            RulesRequest::Remove(id) => {
                let removed = self.change::<BlockRemove>(Request::Remove(id)).await;
                self.answer(removed.map(|_ids| ())).await;
            }
            RulesRequest::Release => {
                let removed = self.change::<BlockRelease>(Request::Release).await;
                self.answer(removed.map(|ids| u64::try_from(ids.len()).unwrap_or(u64::MAX))).await;
            }
            RulesRequest::List => {
                let rows = self.list().await;
                self.answer(rows).await;
            }
        }
    }

    /// The rules that the caller may see.
    async fn list(&self) -> Result<Vec<Row>, CallError> {
        let scope = self.scope().await?;
        Ok(self.questions.list(scope).await?.iter().map(row).collect())
    }

    /// Looks up what is meant, asks whether the caller may, and has it done. Until polkit has said yes nothing
    /// but reading has happened.
    async fn change<C: Change>(&self, request: Request) -> Result<Vec<RuleId>, CallError> {
        let authority = Authority::new(self.connection.clone());
        let frozen = match self.questions.freeze(request).await {
            Ok(frozen) => frozen,
            // Why not is told to those alone who could have it done.
            Err(error) => return Err(self.may_ask::<C>(&authority).await.err().unwrap_or(error)),
        };
        if matches!(&frozen.deed, Deed::Remove(ids) if ids.is_empty()) {
            // Nobody is asked for a password for nothing.
            return self.may_ask::<C>(&authority).await.map(|()| Vec::new());
        }
        let target = cut_middle(&frozen.target, TARGET_MAX);
        let details = [(DETAIL_TARGET, &*target), (DETAIL_DURATION, frozen.duration.as_str())];
        let asking = Asking { interactive: allows_interaction(&self.call), details: &details };
        let (granted, _presence) =
            authority.check::<C>(&self.call, &self.caller, asking).await.map_err(CallError::Unchanged)?;
        let wish = wish(&granted, frozen)?;
        self.questions.wish(wish).await
    }

    /// Whether the caller could have it done, perhaps with a password; nobody is asked for one.
    async fn may_ask<R: Right>(&self, authority: &Authority) -> Result<(), CallError> {
        match authority.check::<R>(&self.call, &self.caller, Asking::SILENTLY).await {
            Ok(_) => Ok(()),
            Err(Refusal::InteractionRequired) if allows_interaction(&self.call) => Ok(()),
            Err(refusal) => Err(CallError::Unchanged(refusal)),
        }
    }

    /// What the caller may see without being asked for a password.
    async fn scope(&self) -> Result<Scope, CallError> {
        let authority = Authority::new(self.connection.clone());
        if let Ok((all, _)) = authority.check::<WatchAll>(&self.call, &self.caller, Asking::SILENTLY).await {
            return Ok(WatchAll::scope(&all));
        }
        let asking = Asking::plainly(&self.call);
        let (own, _presence) = authority.check::<WatchOwn>(&self.call, &self.caller, asking).await?;
        Ok(WatchOwn::scope(&own))
    }

    async fn answer<B: serde::Serialize + zbus::Type + Sync>(self, result: Result<B, CallError>) {
        if let Err(error) = answer(&self.connection, &self.call, result).await {
            tracing::debug!(%error, "the bus left before an answer");
        }
    }
}
