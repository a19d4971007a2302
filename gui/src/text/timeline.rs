//! The words of the timeline.

/// Everybody, where no row is selected.
pub const ALL_PROGRAMS: &str = "All programs";
/// No peak at all.
pub const NO_PEAK: &str = "none";
/// A side that is drawn ten times as high.
pub const TIMES_TEN: &str = "× 10";
/// Only the selection is drawn.
pub const ALONE: &str = "Selection alone";
/// Head of the chart as a table: when a step began.
pub const FROM: &str = "From";
/// Head of the chart as a table: everybody.
pub const EVERYBODY: &str = "All programs";

/// The smallest unit of the scale.
pub const UNIT: &str = "kB/s";
/// The larger units, each a thousand of the one before.
pub const LARGER_UNITS: [&str; 3] = ["MB/s", "GB/s", "TB/s"];

/// How far the chart reaches back.
pub fn last(window: &str) -> String {
    format!("Last {window}")
}

/// The highest rate and when it was.
pub fn peak(rate: &str, at: &str) -> String {
    format!("peak {rate} at {at}")
}

/// The chart as a sentence.
pub fn sentence(who: &str, [from, to]: [&str; 2], down: &str, up: &str) -> String {
    format!("{who}, {from} to {to}: download {down}; upload {up}.")
}

/// A step of the chart as a row of its table, for those who hear it.
pub fn step(from: &str, who: &str, down: &str, up: &str) -> String {
    format!("{from}, {who}: download {down}, upload {up}")
}
