//! Names of keys as they stand on their caps.

/// Steps back.
pub const ESC: &str = "Esc";
/// Does the primary thing.
pub const ENTER: &str = "Enter";
/// Pauses.
pub const SPACE: &str = "Space";
/// Goes to the search.
pub const SLASH: &str = "/";
/// Shows local traffic.
pub const L: &str = "L";
/// Takes back.
pub const U: &str = "U";
