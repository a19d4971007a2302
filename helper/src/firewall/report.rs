//! The counts, as libnftables-json(5) lists them.

use serde::Deserialize;

use sekhmet_common::{display::escape, kernel::mark::Mark};

use super::{Count, Counters, Error};

/// Asks for the named counters and for the counts of each mark.
pub(super) const QUESTION: &str = r#"{"nftables": [
    {"list": {"counters": {"family": "inet", "table": "sekhmet"}}},
    {"list": {"set": {"family": "inet", "table": "sekhmet", "name": "hits"}}}
]}"#;

#[derive(Deserialize)]
struct Answer {
    nftables: Vec<Object>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    counter: Option<Named>,
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    count: Amount,
}

#[derive(Deserialize)]
struct Amount {
    packets: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Set {
    #[serde(default)]
    elem: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    elem: Hit,
}

#[derive(Deserialize)]
struct Hit {
    val: u32,
    counter: Amount,
}

impl From<Amount> for Count {
    fn from(amount: Amount) -> Self {
        Self { packets: amount.packets, bytes: amount.bytes }
    }
}

/// Reads the answer to [`QUESTION`].
///
/// # Errors
/// [`Error::Unreadable`] if it is none, or a counter is missing.
pub(super) fn read(text: &str) -> Result<Counters, Error> {
    let mut counters = Counters::default();
    let mut named = 0;
    let mut objects = Vec::new();
    // One document for each command.
    for answer in serde_json::Deserializer::from_str(text).into_iter::<Answer>() {
        let answer = answer.map_err(|error| Error::Unreadable(escape(error.to_string().as_bytes())))?;
        objects.extend(answer.nftables);
    }
    for object in objects {
        if let Some(counter) = object.counter {
            let place = match counter.name.as_str() {
                "outbound_rejected" => &mut counters.outbound_rejected,
                "outbound_dropped" => &mut counters.outbound_dropped,
                "inbound_rejected" => &mut counters.inbound_rejected,
                "inbound_dropped" => &mut counters.inbound_dropped,
                _ => continue,
            };
            *place = counter.count.into();
            named += 1;
        }
        for hit in object.set.into_iter().flat_map(|set| set.elem) {
            let Some(mark) = Mark::from_bits(hit.elem.val) else { continue };
            let count = counters.by_rule.entry(mark.rule()).or_default();
            count.packets = count.packets.saturating_add(hit.elem.counter.packets);
            count.bytes = count.bytes.saturating_add(hit.elem.counter.bytes);
        }
    }
    if named == 4 { Ok(counters) } else { Err(Error::Unreadable(format!("{named} counters of 4"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 prints it.
    const ANSWER: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"counter": {"family": "inet", "name": "outbound_rejected", "table": "sekhmet", "handle": 2, "packets": 5, "bytes": 300}},
        {"counter": {"family": "inet", "name": "outbound_dropped", "table": "sekhmet", "handle": 3, "packets": 1, "bytes": 60}},
        {"counter": {"family": "inet", "name": "inbound_rejected", "table": "sekhmet", "handle": 4, "packets": 0, "bytes": 0}},
        {"counter": {"family": "inet", "name": "inbound_dropped", "table": "sekhmet", "handle": 5, "packets": 0, "bytes": 0}}]}
        {"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"family": "inet", "name": "hits", "table": "sekhmet", "type": "mark", "handle": 6, "size": 16384, "flags": "dynamic",
            "elem": [{"elem": {"val": 1577058305, "counter": {"packets": 4, "bytes": 240}}},
                     {"elem": {"val": 1581252609, "counter": {"packets": 1, "bytes": 60}}},
                     {"elem": {"val": 1577058311, "counter": {"packets": 1, "bytes": 60}}}],
            "stmt": [{"counter": null}]}}]}"#;

    #[test]
    fn marks_of_one_rule_are_counted_together() {
        let counters = read(ANSWER).unwrap();
        assert_eq!(counters.outbound_rejected, Count { packets: 5, bytes: 300 });
        assert_eq!(counters.outbound_dropped, Count { packets: 1, bytes: 60 });
        let rules: Vec<_> = counters.by_rule.iter().map(|(rule, count)| (*rule, count.packets)).collect();
        assert_eq!(rules, [(1, 5), (7, 1)]);
    }

    #[test]
    fn half_an_answer_is_none() {
        for text in ["", "{}", r#"{"nftables": []}"#, &ANSWER.replace("inbound_dropped", "other")] {
            assert!(matches!(read(text), Err(Error::Unreadable(_))), "{text}");
        }
    }
}
