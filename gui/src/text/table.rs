//! What the table tells those who hear it.

/// The order by name.
pub const BY_NAME: &str = "program";
/// The order by present download.
pub const BY_DOWN: &str = "download now";
/// The order by present upload.
pub const BY_UP: &str = "upload now";
/// The sparkline's column.
pub const SPARK: &str = "last minute";
/// The order by download in the window.
pub const BY_TOTAL_DOWN: &str = "download in 5 minutes";
/// The order by upload in the window.
pub const BY_TOTAL_UP: &str = "upload in 5 minutes";
/// The order by open connections.
pub const BY_OPEN: &str = "open connections";
/// The order by last activity.
pub const BY_SEEN: &str = "last activity";
/// The column that cannot be sorted by.
pub const RULE: &str = "rule";
/// A rate that is nothing.
pub const NO_RATE: &str = "none";
/// More than a quarter above the half minute before.
pub const RISING: &str = "rising";
/// About the same.
pub const STEADY: &str = "steady";
/// More than a quarter below.
pub const FALLING: &str = "falling";

/// The head that sorts.
pub fn sort_by(what: &str) -> String {
    format!("Sort by {what}")
}

/// The caret.
pub fn fold(unfolded: bool, name: &str) -> String {
    format!("{} {name}", if unfolded { "Fold" } else { "Unfold" })
}

/// The sparkline.
pub fn spark(name: &str, down: &str, up: &str) -> String {
    format!("{name}, last 60 seconds: download {down}; upload {up}.")
}

/// A rate and where it goes.
pub fn trend(rate: &str, trend: &str) -> String {
    format!("{rate}, {trend}")
}
