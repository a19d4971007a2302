//! `sekhmetctl` as a program on a private bus, with a player in the helper's place.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's own helpers fail the test, as the test does"
)]

mod files;
mod lists;
mod record;
mod rules;
mod scene;
mod streams;
mod terminal;
