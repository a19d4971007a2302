//! The interface `org.sekhmet.Helper1.Watchlist`: what a call means.

use std::collections::HashMap;

use sekhmet_common::{
    bus::{
        ENTRY_ENABLED, ENTRY_EXPECTED, ENTRY_GROUP, ENTRY_ID, ENTRY_LABEL, ENTRY_OWNER, ENTRY_PATTERN,
        ENTRY_SEVERITY, ENTRY_UID,
    },
    display::Text,
    watch::{EntryDraft, EntryId},
};
use zbus::{Message, Variant};

use crate::{
    bus::{
        actions::{ENTRY_OF_CALLER, ENTRY_OF_OTHERS},
        reply::{CallError, INVALID_ARGS, WRONG_ARGS},
    },
    engine::input::EntryChange,
};

/// Whose entry a new one will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The caller's, in the caller's home.
    User,
    /// Everybody's.
    System,
}

/// A call about the watchlist, taken apart once, before anybody is asked whether it is allowed. It cannot change
/// after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchlistRequest {
    /// The list.
    Get,
    /// One entry more.
    Add {
        /// The list that the caller has seen.
        revision: u64,
        /// What is to be watched.
        draft: EntryDraft,
        /// Whose it will be.
        place: Place,
    },
    /// One entry less.
    Remove {
        /// The list that the caller has seen.
        revision: u64,
        /// Which entry.
        id: EntryId,
    },
    /// Another entry than before.
    Set {
        /// The list that the caller has seen.
        revision: u64,
        /// Which entry.
        id: EntryId,
        /// What is to be different.
        change: EntryChange,
    },
}

impl WatchlistRequest {
    /// Reads a call of one of the interface's methods; nothing for another method.
    ///
    /// # Errors
    /// [`CallError::Standard`] for another signature, [`CallError::Invalid`] for keys or values that do not exist.
    pub fn parse(member: &str, call: &Message) -> Option<Result<Self, CallError>> {
        let parsed = match member {
            "Get" if call.body().is_empty() => Ok(Self::Get),
            "Get" => Err(WRONG_ARGS),
            "Add" => add(call),
            "Remove" => remove(call),
            "Set" => set(call),
            _ => return None,
        };
        Some(parsed)
    }
}

/// What a caller says about an entry.
type Said<'a> = HashMap<&'a str, Variant<'a>>;

fn add(call: &Message) -> Result<WatchlistRequest, CallError> {
    let body = call.body();
    if body.signature() != "ta{sv}" {
        return Err(CallError::Standard(INVALID_ARGS, "Add takes a revision and an entry, ta{sv}"));
    }
    let (revision, mut said): (u64, Said<'_>) = body.deserialize().map_err(|_malformed| WRONG_ARGS)?;
    let owner = said.remove(ENTRY_OWNER);
    let EntryChange { pattern, label, group, severity, expected, enabled } = change(said)?;
    let pattern = pattern.ok_or(CallError::Invalid("an entry has a pattern"))?;
    if enabled.is_some() {
        return Err(CallError::Invalid("a new entry is watched; it is switched off with Set"));
    }
    let place = match &owner {
        None if pattern.as_bytes().starts_with(b"~/") => Place::User,
        None => Place::System,
        Some(Variant::Str(word)) if word.as_str() == ENTRY_OF_CALLER => Place::User,
        Some(Variant::Str(word)) if word.as_str() == ENTRY_OF_OTHERS => Place::System,
        Some(_) => return Err(CallError::Invalid("the owner of a new entry is user or system")),
    };
    let draft = EntryDraft {
        pattern,
        label: label.unwrap_or_default(),
        group: group.unwrap_or_default(),
        severity: severity.unwrap_or_default(),
        expected: expected.unwrap_or_default(),
    };
    Ok(WatchlistRequest::Add { revision, draft, place })
}

fn remove(call: &Message) -> Result<WatchlistRequest, CallError> {
    let body = call.body();
    if body.signature() != "tu" {
        return Err(CallError::Standard(INVALID_ARGS, "Remove takes a revision and a number, tu"));
    }
    let (revision, id) = body.deserialize().map_err(|_malformed| WRONG_ARGS)?;
    Ok(WatchlistRequest::Remove { revision, id: EntryId(id) })
}

fn set(call: &Message) -> Result<WatchlistRequest, CallError> {
    let body = call.body();
    if body.signature() != "tua{sv}" {
        return Err(CallError::Standard(INVALID_ARGS, "Set takes a revision, a number and changes, tua{sv}"));
    }
    let (revision, id, said): (u64, u32, Said<'_>) = body.deserialize().map_err(|_malformed| WRONG_ARGS)?;
    let change = change(said)?;
    if change == EntryChange::default() {
        return Err(CallError::Invalid("nothing is to be different"));
    }
    Ok(WatchlistRequest::Set { revision, id: EntryId(id), change })
}

fn change(said: Said<'_>) -> Result<EntryChange, CallError> {
    let mut change = EntryChange::default();
    for (key, value) in said {
        match (key, value) {
            (ENTRY_PATTERN, value @ Variant::Array(_)) => {
                let bytes = Vec::<u8>::try_from(value)
                    .map_err(|_other| CallError::Invalid("the pattern is an array of bytes"))?;
                change.pattern = Some(Text::from(bytes));
            }
            (ENTRY_EXPECTED, value @ Variant::Array(_)) => {
                let readers = Vec::<Vec<u8>>::try_from(value).map_err(|_other| {
                    CallError::Invalid("the expected readers are an array of arrays of bytes")
                })?;
                change.expected = Some(readers.into_iter().map(Text::from).collect());
            }
            (ENTRY_LABEL, Variant::Str(label)) => change.label = Some(label.as_str().into()),
            (ENTRY_GROUP, Variant::Str(group)) => change.group = Some(group.as_str().into()),
            (ENTRY_SEVERITY, Variant::Str(word)) => {
                let severity = word.as_str().parse();
                change.severity = Some(
                    severity
                        .map_err(|unknown: sekhmet_common::rule::Unknown| CallError::Invalid(unknown.0))?,
                );
            }
            (ENTRY_ENABLED, Variant::Bool(enabled)) => change.enabled = Some(enabled),
            (key, _) => return Err(misfit(key)),
        }
    }
    Ok(change)
}

/// Why something about an entry was not taken: its value has another type, or it cannot be said.
fn misfit(key: &str) -> CallError {
    CallError::Invalid(match key {
        ENTRY_PATTERN => "the pattern is an array of bytes",
        ENTRY_EXPECTED => "the expected readers are an array of arrays of bytes",
        ENTRY_LABEL | ENTRY_GROUP | ENTRY_SEVERITY => "label, group and severity are strings",
        ENTRY_ENABLED => "whether an entry is watched is a boolean",
        ENTRY_ID | ENTRY_UID => "the helper says the number of an entry, and the bus whose it is",
        ENTRY_OWNER => "an entry keeps its owner",
        _ => "nothing of this name can be said about an entry",
    })
}

#[cfg(test)]
mod tests {
    use sekhmet_common::watch::Severity;

    use super::*;

    fn parsed<B: serde::Serialize + zbus::Type>(
        member: &str,
        body: &B,
    ) -> Result<WatchlistRequest, CallError> {
        let call = Message::method_call("/org/sekhmet/Helper1", member).build(body).unwrap();
        WatchlistRequest::parse(member, &call).unwrap()
    }

    fn entry() -> HashMap<&'static str, Variant<'static>> {
        HashMap::from([
            (ENTRY_PATTERN, Variant::from(b"~/\xff.key".to_vec())),
            (ENTRY_LABEL, Variant::from("keys")),
            (ENTRY_GROUP, Variant::from("mine")),
            (ENTRY_SEVERITY, Variant::from("high")),
            (ENTRY_EXPECTED, Variant::from(vec![b"/usr/bin/a".to_vec()])),
        ])
    }

    #[test]
    fn everything_about_an_entry_is_read() {
        let WatchlistRequest::Add { revision: 7, draft, place: Place::User } =
            parsed("Add", &(7_u64, entry())).unwrap()
        else {
            panic!()
        };
        let expected = EntryDraft {
            pattern: Text::from(&b"~/\xff.key"[..]),
            label: "keys".into(),
            group: "mine".into(),
            severity: Severity::High,
            expected: vec!["/usr/bin/a".into()],
        };
        assert_eq!(draft, expected);
        let mut said = entry();
        said.insert(ENTRY_ENABLED, Variant::from(false));
        let WatchlistRequest::Set { revision: 7, id: EntryId(3), change } =
            parsed("Set", &(7_u64, 3_u32, said)).unwrap()
        else {
            panic!()
        };
        assert_eq!((change.pattern, change.enabled), (Some(expected.pattern), Some(false)));
        let removed = parsed("Remove", &(7_u64, 3_u32)).unwrap();
        assert_eq!(removed, WatchlistRequest::Remove { revision: 7, id: EntryId(3) });
        assert_eq!(parsed("Get", &()).unwrap(), WatchlistRequest::Get);
    }

    #[test]
    fn the_owner_is_the_caller_or_everybody() {
        let place = |owner: Option<&'static str>, pattern: &str| {
            let mut said = HashMap::from([(ENTRY_PATTERN, Variant::from(pattern.as_bytes().to_vec()))]);
            said.extend(owner.map(|owner| (ENTRY_OWNER, Variant::from(owner))));
            match parsed("Add", &(1_u64, said)) {
                Ok(WatchlistRequest::Add { place, .. }) => Some(place),
                _ => None,
            }
        };
        assert_eq!(place(None, "~/x.key"), Some(Place::User));
        assert_eq!(place(None, "/etc/x"), Some(Place::System));
        assert_eq!(place(Some("system"), "~/x.key"), Some(Place::System));
        assert_eq!(place(Some("user"), "/etc/x"), Some(Place::User), "the engine refuses it");
        assert_eq!(place(Some("default"), "/etc/x"), None);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for (key, values) in [
            (ENTRY_PATTERN, vec![Variant::from("/etc/x"), Variant::from(vec![1_u32])]),
            (ENTRY_EXPECTED, vec![Variant::from(b"/x".to_vec()), Variant::from(vec!["/x"])]),
            (ENTRY_LABEL, vec![Variant::from(b"x".to_vec())]),
            (ENTRY_SEVERITY, vec![Variant::from("grave"), Variant::from(1_u32)]),
            (ENTRY_ENABLED, vec![Variant::from(true), Variant::from("true")]),
            (ENTRY_OWNER, vec![Variant::from("root"), Variant::from(0_u32)]),
            (ENTRY_ID, vec![Variant::from(1_u32)]),
            (ENTRY_UID, vec![Variant::from(0_u32)]),
            ("colour", vec![Variant::from("red")]),
        ] {
            for value in values {
                let mut said = entry();
                said.insert(key, value);
                let refused = parsed("Add", &(1_u64, &said));
                assert!(matches!(refused, Err(CallError::Invalid(_))), "{said:?}");
            }
        }
        let empty: Said<'_> = HashMap::new();
        assert!(matches!(parsed("Add", &(1_u64, &empty)), Err(CallError::Invalid(_))));
        assert!(matches!(parsed("Set", &(1_u64, 1_u32, &empty)), Err(CallError::Invalid(_))));
        let owner = HashMap::from([(ENTRY_OWNER, Variant::from("user"))]);
        assert!(matches!(parsed("Set", &(1_u64, 1_u32, &owner)), Err(CallError::Invalid(_))));
    }

    #[test]
    fn other_signatures_are_refused() {
        let standard = |result| matches!(result, Err(CallError::Standard(INVALID_ARGS, _)));
        assert!(standard(parsed("Get", &1_u64)));
        assert!(standard(parsed("Add", &entry())) && standard(parsed("Add", &(1_u32, entry()))));
        assert!(standard(parsed("Remove", &1_u64)) && standard(parsed("Remove", &(1_u64, 1_u64))));
        assert!(standard(parsed("Set", &(1_u64, entry()))));
    }
}
