//! How soon a block holds, and what a thousand of them cost those whom they do not concern.

use anyhow::Result;
use serde_json::Value;

use super::spine::{build, measured, number};
use super::{Figure, Limit};

/// Measures every figure of this part.
pub(super) fn measure() -> Result<Vec<Figure>> {
    build()?;
    figures(&measured("block")?)
}

fn figures(told: &Value) -> Result<Vec<Figure>> {
    let thousand = &told["thousand"];
    Ok(vec![
        Figure::new("polkit's yes to last byte, 100 sockets, ms (p50)", number(told, "allowed_p50_ms")?),
        Figure::new("polkit's yes to last byte, 100 sockets, ms (p99)", number(told, "allowed_p99_ms")?)
            .within(Limit::AtMost(50.0)),
        Figure::new("polkit's yes to last byte, 100 sockets, ms (worst)", number(told, "allowed_max_ms")?),
        Figure::new("call to last byte, 100 sockets, ms (p99)", number(told, "stopped_p99_ms")?),
        Figure::new(
            "call to answer, root's authorisation included, ms (p99)",
            number(told, "answered_p99_ms")?,
        ),
        Figure::new("bytes of sockets made after the answer", number(told, "late_bytes")?)
            .within(Limit::AtMost(0.0)),
        Figure::new("connect and close, 1,000 rules/none", number(thousand, "connect")?)
            .within(Limit::AtMost(1.10)),
        Figure::new("TCP throughput to another host, 1,000 rules/none", number(thousand, "throughput")?)
            .within(Limit::AtLeast(0.98)),
        Figure::new(
            "changes in nftables for each rule after the first, sum",
            number(thousand, "nft_changes")?,
        )
        .within(Limit::AtMost(0.0)),
        // Only the first rule brings the table, only the last one takes it away.
        Figure::new("the whole table into nftables, ms (median)", number(told, "table_ms")?),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_measure_tells_is_held_against_the_limits() {
        let told = json!({
            "stopped_p99_ms": 60.0, "allowed_p50_ms": 14.0, "allowed_p99_ms": 51.0, "allowed_max_ms": 52.0,
            "answered_p99_ms": 70.0, "late_bytes": 8, "table_ms": 4.2,
            "thousand": { "connect": 1.2, "throughput": 0.9, "nft_changes": 1 },
        });
        let missed = |told: &Value| {
            let figures = figures(told).unwrap();
            figures.iter().filter(|figure| figure.line().ends_with("MISSED")).count()
        };
        assert_eq!(missed(&told), 5);
        let mut good = told;
        for (key, value) in [("allowed_p99_ms", 50.0), ("late_bytes", 0.0)] {
            good[key] = value.into();
        }
        good["thousand"] = json!({ "connect": 1.1, "throughput": 0.98, "nft_changes": 0 });
        assert_eq!(missed(&good), 0);
        assert_eq!(figures(&json!({})).unwrap_err().to_string(), "no figure allowed_p50_ms");
    }
}
