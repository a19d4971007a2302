//! How soon a block holds, and what a thousand of them cost those whom they do not concern.

use anyhow::Result;

use super::spine::{build, measured, number};
use super::{Figure, Limit};

/// Measures every figure of this part.
pub(super) fn measure() -> Result<Vec<Figure>> {
    build()?;
    let told = measured("block")?;
    let thousand = &told["thousand"];
    Ok(vec![
        Figure::new("polkit's yes to last byte, 100 sockets, ms (p50)", number(&told, "allowed_p50_ms")?),
        Figure::new("polkit's yes to last byte, 100 sockets, ms (p99)", number(&told, "allowed_p99_ms")?)
            .within(Limit::AtMost(50.0)),
        Figure::new("polkit's yes to last byte, 100 sockets, ms (worst)", number(&told, "allowed_max_ms")?),
        Figure::new("call to last byte, 100 sockets, ms (p99)", number(&told, "stopped_p99_ms")?),
        Figure::new(
            "call to answer, root's authorisation included, ms (p99)",
            number(&told, "answered_p99_ms")?,
        ),
        Figure::new("bytes of sockets made after the answer", number(&told, "late_bytes")?)
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
        Figure::new("the whole table into nftables, ms (median)", number(&told, "table_ms")?),
    ])
}
