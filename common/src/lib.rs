//! What every side of Sekhmet means by a word: kernel records, processes, flows, events and the way they travel.
//!
//! Without features this is the `no_std` core that the eBPF programs share with the loader ([`kernel`]).
//! With feature `user` it is the whole contract between helper and clients. Nothing in here does I/O.
//!
//! Promises of the contract:
//! * A client learns everything from one ordered stream of [`event::Event`]. The stream opens with a
//!   snapshot, told as events between `SnapshotBegin` and `SnapshotEnd`; deltas follow.
//! * [`mirror::Mirror`] is the fold of that stream. Two mirrors that saw a snapshot and the same deltas are equal.
//! * Ids are issued by the helper, stay below 2^53, and are never used twice while the helper lives.
//! * Later versions add fields and variants; they never change the meaning of what is here.
#![cfg_attr(not(feature = "user"), no_std)]

pub mod kernel;

#[cfg(feature = "user")]
pub mod bus;
#[cfg(feature = "user")]
pub mod coverage;
#[cfg(feature = "user")]
pub mod display;
#[cfg(feature = "user")]
pub mod event;
#[cfg(feature = "user")]
pub mod figures;
#[cfg(feature = "user")]
pub mod file;
#[cfg(feature = "user")]
pub mod flow;
#[cfg(feature = "user")]
pub mod lines;
#[cfg(feature = "user")]
pub mod log;
#[cfg(feature = "user")]
pub mod mirror;
#[cfg(feature = "user")]
pub mod pattern;
#[cfg(feature = "user")]
pub mod process;
#[cfg(feature = "user")]
pub mod refusal;
#[cfg(feature = "user")]
pub mod rule;
#[cfg(feature = "user")]
pub mod time;
#[cfg(feature = "user")]
pub mod watch;
#[cfg(feature = "user")]
pub mod wire;
#[cfg(feature = "user")]
mod words;
