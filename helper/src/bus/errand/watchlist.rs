//! A call about the watchlist: whose entry it is about decides which right it needs.

use sekhmet_common::{
    bus::{
        ENTRY_ENABLED, ENTRY_EXPECTED, ENTRY_GROUP, ENTRY_ID, ENTRY_LABEL, ENTRY_OWNER, ENTRY_PATTERN,
        ENTRY_SEVERITY, ENTRY_UID,
    },
    display::{Text, cut_middle},
    watch::{Entry, EntryId, Owner},
};
use zbus::Variant;

use super::{Errand, TARGET_MAX};
use crate::{
    bus::{
        actions::{
            DETAIL_TARGET, ENTRY_OF_CALLER, ENTRY_OF_OTHERS, EntryAdd, EntryAddOwn, EntryRemove,
            EntryRemoveOwn, EntrySet, EntrySetOwn, Right,
        },
        authority::{Asking, Authority, Granted, allows_interaction},
        reply::CallError,
        rules::Row,
        watchlist::{Place, WatchlistRequest},
    },
    engine::input::{FrozenWatch, WatchDeed, WatchError, WatchRequest},
};

/// A right to change the watchlist.
trait ChangeList: Right + Sized {
    /// Whether the right is for this.
    fn covers(deed: &WatchDeed) -> bool;
    /// Whether it is for entries of the caller alone.
    const OWN: bool;
}

macro_rules! change_list {
    ($($right:ident($own:literal) => $deed:pat),+) => {
        $(impl ChangeList for $right {
            fn covers(deed: &WatchDeed) -> bool {
                matches!(deed, $deed)
            }
            const OWN: bool = $own;
        })+
    };
}

change_list!(
    EntryAddOwn(true) => WatchDeed::Add { .. },
    EntryAdd(false) => WatchDeed::Add { .. },
    EntryRemoveOwn(true) => WatchDeed::Remove(_),
    EntryRemove(false) => WatchDeed::Remove(_),
    EntrySetOwn(true) => WatchDeed::Set(..),
    EntrySet(false) => WatchDeed::Set(..)
);

/// Makes a wish of what was asked about. Nobody gets here without a grant.
fn wish<C: ChangeList>(granted: &Granted<C>, frozen: FrozenWatch) -> Result<FrozenWatch, CallError> {
    let is_own = frozen.owner == Owner::User(granted.caller().uid);
    if !C::covers(&frozen.request.deed) || (C::OWN && !is_own) {
        tracing::error!(operation = ?C::OPERATION, "the right is for something else");
        return Err(CallError::Failed("the helper mistook the request"));
    }
    Ok(frozen)
}

impl Errand {
    pub(super) async fn run_watchlist(self, request: WatchlistRequest) {
        match request {
            WatchlistRequest::Get => {
                let list = self.entries().await;
                self.answer(list).await;
            }
            WatchlistRequest::Add { revision, draft, place } => {
                let owner = match place {
                    Place::User => Owner::User(self.caller.uid),
                    Place::System => Owner::System,
                };
                let deed = WatchDeed::Add { draft, owner };
                let added = self.change_list::<EntryAddOwn, EntryAdd>(revision, deed).await;
                self.answer(added.map(|id| id.0)).await;
            }
            WatchlistRequest::Remove { revision, id } => {
                let deed = WatchDeed::Remove(id);
                let removed = self.change_list::<EntryRemoveOwn, EntryRemove>(revision, deed).await;
                self.answer(removed.map(|_id| ())).await;
            }
            WatchlistRequest::Set { revision, id, change } => {
                let deed = WatchDeed::Set(id, change);
                let set = self.change_list::<EntrySetOwn, EntrySet>(revision, deed).await;
                self.answer(set.map(|_id| ())).await;
            }
        }
    }

    /// The entries that the caller may see.
    async fn entries(&self) -> Result<(u64, Vec<Row>), CallError> {
        let scope = self.scope().await?;
        let (revision, entries) = self.questions.entries(scope).await?;
        Ok((revision, entries.iter().map(row).collect()))
    }

    /// Looks up whose entry it is, asks whether the caller may, and has it done. Until polkit has said yes nothing but
    /// reading has happened.
    async fn change_list<Own: ChangeList, Other: ChangeList>(
        &self,
        revision: u64,
        deed: WatchDeed,
    ) -> Result<EntryId, CallError> {
        match self.questions.freeze_watch(WatchRequest { revision, deed }).await {
            Ok(frozen) if frozen.owner == Owner::User(self.caller.uid) => {
                self.change_frozen::<Own>(frozen).await
            }
            Ok(frozen) => self.change_frozen::<Other>(frozen).await,
            // That there is no such entry is for those who could change any.
            Err(error @ CallError::Watch(WatchError::UnknownId)) => {
                let authority = Authority::new(self.connection.clone());
                Err(self.may_ask::<Other>(&authority).await.err().unwrap_or(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn change_frozen<C: ChangeList>(&self, frozen: FrozenWatch) -> Result<EntryId, CallError> {
        let authority = Authority::new(self.connection.clone());
        if let Some(problem) = frozen.problem {
            return Err(self.may_ask::<C>(&authority).await.err().unwrap_or(problem.into()));
        }
        let target = cut_middle(&frozen.target, TARGET_MAX);
        let details = [(DETAIL_TARGET, &*target)];
        // What a user may do without a password asks nobody, so there is nothing to say.
        let details = if C::OWN { &details[..0] } else { &details[..] };
        let asking = Asking { interactive: allows_interaction(&self.call), details };
        let (granted, _presence) =
            authority.check::<C>(&self.call, &self.caller, asking).await.map_err(CallError::Unchanged)?;
        let frozen = wish(&granted, frozen)?;
        self.questions.wish_watch(frozen).await
    }
}

/// The row of an entry. Its text is foreign, and for whoever shows it to escape.
fn row(entry: &Entry) -> Row {
    let owner = match entry.owner {
        Owner::Default => "default",
        Owner::System => ENTRY_OF_OTHERS,
        Owner::User(_) => ENTRY_OF_CALLER,
    };
    let expected: Vec<Vec<u8>> = entry.expected.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut row = Row::from([
        (ENTRY_ID, Variant::from(entry.id.0)),
        (ENTRY_PATTERN, Variant::from(entry.pattern.as_bytes().to_vec())),
        (ENTRY_LABEL, Variant::from(words(&entry.label))),
        (ENTRY_GROUP, Variant::from(words(&entry.group))),
        (ENTRY_SEVERITY, Variant::from(entry.severity.word())),
        (ENTRY_EXPECTED, Variant::from(expected)),
        (ENTRY_OWNER, Variant::from(owner)),
        (ENTRY_ENABLED, Variant::from(entry.enabled)),
    ]);
    if let Owner::User(uid) = entry.owner {
        row.insert(ENTRY_UID, Variant::from(uid));
    }
    row
}

/// A text as the bus can carry it: strings there are UTF-8 without zeros (D-Bus specification, "Basic types").
fn words(text: &Text) -> String {
    let plain = std::str::from_utf8(text.as_bytes()).ok().filter(|plain| !plain.contains('\0'));
    plain.map_or_else(|| text.shown(), str::to_owned)
}
