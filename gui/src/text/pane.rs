//! Names of the window's fields, for those who hear them.

/// Search, rates, health.
pub const TOP: &str = "Top bar";
/// Lenses.
pub const LENSES: &str = "Lenses";
/// The table or the page in its place.
pub const TABLE: &str = "Table";
/// The selected row.
pub const INSPECTOR: &str = "Inspector pane";
/// The chart.
pub const TIMELINE: &str = "Timeline pane";
