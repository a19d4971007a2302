//! The interface `org.sekhmet.Helper1.Monitor`: what a request means, what the properties say.

use std::collections::HashMap;

use sekhmet_common::{
    bus::{
        API_MINOR, COVERAGE_KINDS, COVERAGE_SOURCES, COVERAGE_UPTIME_MS, MODE_FULL, MODE_REDUCED,
        OPTION_SCOPE, SCOPE_ALL, SCOPE_OWN,
    },
    coverage::{Mode, SourceStatus},
};
use zbus::{Message, Variant};

use crate::{
    bus::{
        actions::Operation,
        reply::{CallError, INVALID_ARGS},
    },
    engine::input::StatusReport,
};

/// The object as clients see it, with all its interfaces: the answer to `Introspect`.
pub const XML: &str = include_str!("../../../dbus/org.sekhmet.Helper1.xml");

/// A request, taken apart once, before anybody is asked whether it is allowed. It cannot change after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRequest {
    /// The caller's own processes.
    Own,
    /// Every process.
    All,
}

impl OpenRequest {
    /// Which right it needs.
    pub fn operation(self) -> Operation {
        match self {
            Self::Own => Operation::WatchOwn,
            Self::All => Operation::WatchAll,
        }
    }

    /// Reads the options of `OpenEventStream(a{sv})`. Unknown options are refused: a client that sends one
    /// means something that this helper would not do.
    ///
    /// # Errors
    /// [`CallError::Standard`] for another signature, [`CallError::Invalid`] for options or values that do
    /// not exist.
    pub fn parse(call: &Message) -> Result<Self, CallError> {
        let body = call.body();
        if body.signature() != "a{sv}" {
            return Err(CallError::Standard(INVALID_ARGS, "OpenEventStream takes a{sv}"));
        }
        let options: HashMap<&str, Variant<'_>> = body
            .deserialize()
            .map_err(|_malformed| CallError::Standard(INVALID_ARGS, "malformed options"))?;
        let mut scope = SCOPE_OWN;
        for (key, value) in &options {
            match (*key, value) {
                (OPTION_SCOPE, Variant::Str(value)) => scope = value.as_str(),
                (OPTION_SCOPE, _) => return Err(CallError::Invalid("the option scope is a string")),
                _ => return Err(CallError::Invalid("unknown option")),
            }
        }
        match scope {
            SCOPE_OWN => Ok(Self::Own),
            SCOPE_ALL => Ok(Self::All),
            _ => Err(CallError::Invalid("the option scope is own or all")),
        }
    }
}

/// The names of the properties.
pub const PROPERTIES: [&str; 4] = ["ApiMinor", "Coverage", "Mode", "Version"];

/// The value of a property, if there is one of that name.
pub fn property(name: &str, status: &StatusReport, uptime_ms: u64) -> Option<Variant<'static>> {
    match name {
        "ApiMinor" => Some(Variant::from(API_MINOR)),
        "Coverage" => Some(coverage(status, uptime_ms)),
        "Mode" => Some(Variant::from(mode_word(status.mode))),
        "Version" => Some(Variant::from(env!("CARGO_PKG_VERSION"))),
        _ => None,
    }
}

/// Every property with its value.
pub fn properties(status: &StatusReport, uptime_ms: u64) -> HashMap<&'static str, Variant<'static>> {
    PROPERTIES.into_iter().filter_map(|name| Some((name, property(name, status, uptime_ms)?))).collect()
}

/// The word for a set of sources.
pub fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => MODE_FULL,
        Mode::Reduced => MODE_REDUCED,
    }
}

fn coverage(status: &StatusReport, uptime_ms: u64) -> Variant<'static> {
    let sources: Vec<(String, String, String, String, String)> = status
        .sources
        .iter()
        .map(|s| {
            let word = match s.status {
                SourceStatus::Best => "best",
                SourceStatus::Equal => "equal",
                SourceStatus::Reduced => "reduced",
                SourceStatus::Missing => "missing",
            };
            (s.capability.shown(), s.source.shown(), word.to_owned(), s.cost.shown(), s.reason.shown())
        })
        .collect();
    let kinds: Vec<(String, u64, u64, u64, u64, u64)> = status
        .balance
        .iter()
        .map(|b| (b.kind.word().to_owned(), b.made, b.delivered, b.lost, b.filtered, b.in_flight))
        .collect();
    let dict: HashMap<String, Variant<'static>> = HashMap::from([
        (COVERAGE_UPTIME_MS.to_owned(), Variant::from(uptime_ms)),
        (COVERAGE_SOURCES.to_owned(), Variant::from(sources)),
        (COVERAGE_KINDS.to_owned(), Variant::from(kinds)),
    ]);
    Variant::from(dict)
}

#[cfg(test)]
mod tests {
    use sekhmet_common::bus::MONITOR;
    use zbus::message::Message;

    use super::*;

    fn call(options: &HashMap<&str, Variant<'_>>) -> Message {
        Message::method_call("/org/sekhmet/Helper1", "OpenEventStream").build(options).unwrap()
    }

    #[test]
    fn without_options_a_stream_is_for_ones_own_programs() {
        assert_eq!(OpenRequest::parse(&call(&HashMap::new())).unwrap(), OpenRequest::Own);
    }

    #[test]
    fn every_row_is_reached_by_its_scope() {
        for operation in Operation::ALL.into_iter().filter(|o| o.row().interface == MONITOR) {
            let options = HashMap::from([(OPTION_SCOPE, Variant::from(operation.row().scope))]);
            assert_eq!(OpenRequest::parse(&call(&options)).unwrap().operation(), operation);
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (key, value) in [
            (OPTION_SCOPE, Variant::from("everything")),
            (OPTION_SCOPE, Variant::from(1_u32)),
            (OPTION_SCOPE, Variant::new(Variant::from("all"))),
            ("uid", Variant::from(0_u32)),
            ("", Variant::from("")),
        ] {
            let parsed = OpenRequest::parse(&call(&HashMap::from([(key, value)])));
            assert!(matches!(parsed, Err(CallError::Invalid(_))), "{key}: {parsed:?}");
        }
        for body in [
            Message::method_call("/", "X").build(&()).unwrap(),
            Message::method_call("/", "X").build(&("own", 1)).unwrap(),
        ] {
            assert!(matches!(OpenRequest::parse(&body), Err(CallError::Standard(..))));
        }
    }

    #[test]
    fn every_property_has_a_value_and_no_other_has() {
        let status = StatusReport::default();
        for name in PROPERTIES {
            assert!(property(name, &status, 1).is_some(), "{name}");
        }
        assert!(property("Processes", &status, 1).is_none());
    }
}
