//! The words of the page on what can be seen here.

use super::{number_of, numbers};

/// Nothing was made yet.
pub const NOTHING_COUNTED: &str = "Nothing has been counted yet";
/// Heading of what is weak or missing.
pub const COSTS: &str = "What cannot be seen here";
/// Heading of the sources in use.
pub const SOURCES: &str = "How it is seen";
/// Heading of the accounts.
pub const BALANCE: &str = "Nothing lost without a count";
/// Head: what is seen, or is not.
pub const WHAT: &str = "What";
/// Head: what follows from it.
pub const COST: &str = "What it costs";
/// Head: the source.
pub const SOURCE: &str = "Source in use";
/// Head: how good it is.
pub const STATE: &str = "State";
/// Head: why a better one is not in use.
pub const REASON: &str = "Why no better one";
/// Head: kinds of records.
pub const RECORDS: &str = "Records";
/// Heads of the accounts, from the left.
pub const ACCOUNTS: [&str; 4] = ["Made", "Delivered", "Filtered", "Lost"];

/// The heading: tenths of a percent that arrived.
pub fn heading(permille: u64) -> String {
    format!("{} of what happened arrived here", numbers::percent(permille))
}

/// What the heading is made of.
pub fn sentence(made: u64, lost: u64) -> String {
    format!(
        "Of {} records that the kernel made, {} were received or are nobody's business, {} were lost.",
        numbers::count(made),
        numbers::count(made.saturating_sub(lost)),
        numbers::count(lost)
    )
}

/// How much is weak or missing.
pub fn weak(n: usize) -> String {
    if n == 0 { "nothing known".to_owned() } else { number_of(n, "thing", "things") }
}

/// Who chose the sources.
pub fn chosen_by(version: &str) -> String {
    format!("helper {version}, chosen by trying")
}

/// The equation of the accounts, and since when they are kept.
pub fn equation(since: &str) -> String {
    format!("made = delivered + filtered + lost, since {since}")
}

/// A line of the accounts, for those who hear it.
pub fn account(name: &str, [made, delivered, filtered, lost]: [u64; 4]) -> String {
    format!("{name}: made {made}, delivered {delivered}, filtered {filtered}, lost {lost}")
}
