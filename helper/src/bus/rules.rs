//! The interface `org.sekhmet.Helper1.Rules`: what a call means, what its answer says.

use std::collections::HashMap;

use sekhmet_common::{
    bus::{
        OPTION_ANSWER, OPTION_EXTENT, OPTION_LIFETIME, OPTION_PROCESS, OPTION_PROGRAM, OPTION_PROGRAM_OF,
        OPTION_WAYS,
    },
    display::Text,
    process::ProcessId,
    rule::{Draft, Lifetime, Rule, RuleId, Unknown, Wanted},
};
use zbus::{Message, Variant};

use crate::{
    bus::reply::{CallError, INVALID_ARGS, WRONG_ARGS},
    engine::input::WishError,
};

/// A call about rules, taken apart once, before anybody is asked whether it is allowed. It cannot change after
/// that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesRequest {
    /// A new rule.
    Add(Draft),
    /// One rule less.
    Remove(RuleId),
    /// No rule any more.
    Release,
    /// The rules in force.
    List,
}

impl RulesRequest {
    /// Reads a call of one of the interface's methods; nothing for another method.
    ///
    /// # Errors
    /// [`CallError::Standard`] for another signature, [`CallError::Invalid`] for options or values that do
    /// not exist, [`CallError::Wish`] for a number that no rule can have.
    pub fn parse(member: &str, call: &Message) -> Option<Result<Self, CallError>> {
        let parsed = match member {
            "Add" => draft(call).map(Self::Add),
            "Remove" => number(call).map(Self::Remove),
            "Release" => nothing(call).map(|()| Self::Release),
            "List" => nothing(call).map(|()| Self::List),
            _ => return None,
        };
        Some(parsed)
    }
}

fn draft(call: &Message) -> Result<Draft, CallError> {
    let body = call.body();
    if body.signature() != "a{sv}" {
        return Err(CallError::Standard(INVALID_ARGS, "Add takes a{sv}"));
    }
    let options: HashMap<&str, Variant<'_>> =
        body.deserialize().map_err(|_malformed| CallError::Standard(INVALID_ARGS, "malformed options"))?;
    let mut wanted = Vec::new();
    let mut lifetime = None;
    // What is left out is as `Draft::new` has it.
    let mut draft = Draft::new(Wanted::Process(ProcessId(0)), Lifetime::UntilExit);
    for (key, value) in options {
        match (key, value) {
            (OPTION_PROCESS, Variant::U64(id)) => wanted.push(Wanted::Process(ProcessId(id))),
            (OPTION_PROGRAM_OF, Variant::U64(id)) => wanted.push(Wanted::ProgramOf(ProcessId(id))),
            (OPTION_PROGRAM, value @ Variant::Array(_)) => {
                let path = Vec::<u8>::try_from(value)
                    .map_err(|_other| CallError::Invalid("the option program is an array of bytes"))?;
                wanted.push(Wanted::Path(Text::from(path)));
            }
            (OPTION_LIFETIME, Variant::Str(word)) => lifetime = Some(word.parse().map_err(no_word)?),
            (OPTION_WAYS, Variant::Str(word)) => draft.ways = word.parse().map_err(no_word)?,
            (OPTION_ANSWER, Variant::Str(word)) => draft.answer = word.parse().map_err(no_word)?,
            (OPTION_EXTENT, Variant::Str(word)) => draft.extent = word.parse().map_err(no_word)?,
            (key, _) => return Err(misfit(key)),
        }
    }
    let mut wanted = wanted.into_iter();
    draft.wanted = match (wanted.next(), wanted.next()) {
        (Some(one), None) => one,
        _ => return Err(CallError::Invalid("exactly one of process, program-of and program is given")),
    };
    draft.lifetime = lifetime.ok_or(CallError::Invalid("the option lifetime has to be given"))?;
    draft.check().map_err(no_word)?;
    Ok(draft)
}

fn no_word(unknown: Unknown) -> CallError {
    CallError::Invalid(unknown.0)
}

/// Why an option was not taken: its value has another type, or there is no such option.
fn misfit(key: &str) -> CallError {
    CallError::Invalid(match key {
        OPTION_PROCESS | OPTION_PROGRAM_OF => "a process is named by the helper's id, a 64-bit number",
        OPTION_PROGRAM => "the option program is an array of bytes",
        OPTION_LIFETIME | OPTION_WAYS | OPTION_ANSWER | OPTION_EXTENT => "the option is a string",
        _ => "unknown option",
    })
}

fn number(call: &Message) -> Result<RuleId, CallError> {
    let body = call.body();
    if body.signature() != "t" {
        return Err(CallError::Standard(INVALID_ARGS, "Remove takes the number of a rule, t"));
    }
    let number: u64 = body.deserialize().map_err(|_malformed| WRONG_ARGS)?;
    RuleId::new(number).ok_or(CallError::Wish(WishError::UnknownId("no rule can have this number")))
}

fn nothing(call: &Message) -> Result<(), CallError> {
    if call.body().is_empty() { Ok(()) } else { Err(WRONG_ARGS) }
}

/// A rule as `List` tells it.
pub type Row = HashMap<&'static str, Variant<'static>>;

/// The row of a rule. All text is safe to show.
pub fn row(rule: &Rule) -> Row {
    HashMap::from([
        ("id", Variant::from(u64::from(rule.id.0))),
        ("sentence", Variant::from(rule.sentence())),
        ("subject", Variant::from(rule.target())),
        ("direction", Variant::from(rule.ways.word())),
        ("answer", Variant::from(rule.answer.word())),
        ("extent", Variant::from(rule.extent.word())),
        ("lifetime", Variant::from(rule.lifetime.to_string())),
        ("added_at", Variant::from(rule.added_at.0)),
        ("added_by", Variant::from(rule.added_by)),
        ("hits", Variant::from(rule.hits)),
    ])
}

#[cfg(test)]
mod tests {
    use sekhmet_common::rule::{Answer, Extent, Ways};

    use super::*;

    fn call(options: &HashMap<&str, Variant<'_>>) -> Message {
        Message::method_call("/org/sekhmet/Helper1", "Add").build(options).unwrap()
    }

    fn parsed(options: &HashMap<&str, Variant<'_>>) -> Result<Draft, CallError> {
        match RulesRequest::parse("Add", &call(options)).unwrap()? {
            RulesRequest::Add(draft) => Ok(draft),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_option_is_read() {
        let path = Wanted::Path("/usr/bin/curl".into());
        let options = HashMap::from([
            (OPTION_PROGRAM, Variant::from(b"/usr/bin/curl".to_vec())),
            (OPTION_LIFETIME, Variant::from("1h")),
            (OPTION_WAYS, Variant::from("inbound")),
            (OPTION_ANSWER, Variant::from("drop")),
            (OPTION_EXTENT, Variant::from("everywhere")),
        ]);
        let expected = Draft {
            ways: Ways::Inbound,
            answer: Answer::Drop,
            extent: Extent::Everywhere,
            ..Draft::new(path, Lifetime::Seconds(3600))
        };
        assert_eq!(parsed(&options).unwrap(), expected);
        for (key, wanted) in [
            (OPTION_PROCESS, Wanted::Process(ProcessId(7))),
            (OPTION_PROGRAM_OF, Wanted::ProgramOf(ProcessId(7))),
        ] {
            let options =
                HashMap::from([(key, Variant::from(7_u64)), (OPTION_LIFETIME, Variant::from("until-exit"))]);
            assert_eq!(parsed(&options).unwrap(), Draft::new(wanted, Lifetime::UntilExit));
        }
    }

    #[test]
    fn one_subject_and_a_lifetime_have_to_be_given() {
        let process = (OPTION_PROCESS, Variant::from(7_u64));
        let program = (OPTION_PROGRAM, Variant::from(b"/usr/bin/curl".to_vec()));
        let lifetime = (OPTION_LIFETIME, Variant::from("1h"));
        for options in [
            HashMap::new(),
            HashMap::from([process.clone()]),
            HashMap::from([lifetime.clone()]),
            HashMap::from([process, program, lifetime]),
        ] {
            assert!(matches!(parsed(&options), Err(CallError::Invalid(_))), "{options:?}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let good = [
            (OPTION_PROCESS, Variant::from(7_u64)),
            (OPTION_LIFETIME, Variant::from("1h")),
            (OPTION_WAYS, Variant::from("both")),
            (OPTION_ANSWER, Variant::from("drop")),
            (OPTION_EXTENT, Variant::from("outside")),
        ];
        assert!(parsed(&HashMap::from(good.clone())).is_ok());
        for (key, _) in &good {
            for value in [
                Variant::from(7_u32),
                Variant::from(-1_i64),
                Variant::from("7"),
                Variant::from(true),
                Variant::from(vec!["both"]),
                Variant::new(Variant::from("both")),
            ] {
                let mut options = HashMap::from(good.clone());
                options.insert(key, value);
                assert!(matches!(parsed(&options), Err(CallError::Invalid(_))), "{key}: {options:?}");
            }
        }
        for value in [Variant::from("/usr/bin/curl"), Variant::from(vec![1_u32]), Variant::from(vec!["/"])] {
            let options = HashMap::from([(OPTION_PROGRAM, value), (OPTION_LIFETIME, Variant::from("1h"))]);
            assert!(matches!(parsed(&options), Err(CallError::Invalid(_))), "{options:?}");
        }
    }
}
