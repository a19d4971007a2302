//! Recorded event logs: one JSON object per line, the fields of `sekhmetctl watch --json`.
//!
//! A log outlives the wire format: fields have names, times are RFC 3339, foreign text is escaped reversibly.

use serde_json::{Map, Value};

use crate::event::Event;

/// The most bytes that one line may have; longer lines are refused before they are parsed.
pub const LINE_MAX: usize = 1024 * 1024;

/// Why a line is not an event.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The line is longer than [`LINE_MAX`].
    #[error("line of {0} bytes is over the limit of {LINE_MAX}")]
    TooLong(usize),
    /// The line is not JSON, or not an event of this version.
    #[error("not an event: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The line is JSON, but not an object with a `type`.
    #[error("not an event: no object with a type")]
    NoType,
}

/// One event as a JSON object with `type` and `at` first.
///
/// # Errors
/// If an event cannot be told in JSON, which is a fault of this program.
pub fn to_json(event: &Event) -> Result<Value, serde_json::Error> {
    let Value::Object(outer) = serde_json::to_value(event)? else { return Ok(Value::Null) };
    let mut flat = Map::new();
    for (kind, fields) in outer {
        flat.insert("type".into(), Value::String(kind));
        if let Value::Object(fields) = fields {
            flat.extend(fields);
        }
    }
    Ok(Value::Object(flat))
}

/// Reads back one line that [`to_json`] made.
///
/// # Errors
/// [`LogError`] if the line is too long, not JSON, or not an event that this version knows.
pub fn from_line(line: &str) -> Result<Event, LogError> {
    if line.len() > LINE_MAX {
        return Err(LogError::TooLong(line.len()));
    }
    let Value::Object(mut fields) = serde_json::from_str(line)? else { return Err(LogError::NoType) };
    let Some(Value::String(kind)) = fields.remove("type") else { return Err(LogError::NoType) };
    let mut outer = Map::new();
    outer.insert(kind, Value::Object(fields));
    Ok(serde_json::from_value(Value::Object(outer))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{coverage::RecordKind, display::Text, process::ProcessId, time::Timestamp};

    #[test]
    fn an_event_is_one_flat_object_and_comes_back() {
        let event = Event::ProcessExited { at: Timestamp(0), id: ProcessId(7), exit_status: Some(256) };
        let json = to_json(&event).unwrap();
        assert_eq!(json["type"], "process_exited");
        assert_eq!(json["at"], "1970-01-01T00:00:00Z");
        assert_eq!(json["id"], 7);
        assert_eq!(from_line(&json.to_string()).unwrap(), event);
    }

    #[test]
    fn foreign_bytes_survive_a_log() {
        let event = Event::SnapshotBegin {
            at: Timestamp(1),
            version: Text::from(&b"\xff\x1b[2J\"\\"[..]),
            watching_since: Timestamp(0),
            mode: Default::default(),
        };
        let line = to_json(&event).unwrap().to_string();
        assert!(!line.contains('\x1b'));
        assert_eq!(from_line(&line).unwrap(), event);
    }

    #[test]
    fn refuses_what_is_not_an_event() {
        for bad in [
            "",
            "7",
            "{}",
            "{\"type\":7}",
            "{\"type\":\"nonsense\",\"at\":\"1970-01-01T00:00:00Z\"}",
            "{\"type\":\"lost\"}",
        ] {
            assert!(from_line(bad).is_err(), "{bad}");
        }
        assert!(matches!(from_line(&" ".repeat(LINE_MAX + 1)), Err(LogError::TooLong(_))));
        let lost = Event::Lost { at: Timestamp(0), kind: RecordKind::Exec, count: 1 };
        assert!(from_line(&to_json(&lost).unwrap().to_string()).is_ok());
    }
}
