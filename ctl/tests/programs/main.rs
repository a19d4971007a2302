//! `sekhmetctl` as a program on a private bus, with a player in the helper's place.

mod lists;
mod scene;
mod streams;
