//! The bus side of the helper against a real message bus, with a polkit that answers as it is told.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod authority;
mod hostile;
mod interface;
mod lease;
mod policy;
mod rules;
mod rules_malformed;
mod stage;
mod watchlist;
