//! The privileged half of Sekhmet: it owns the kernel programs, keeps the state and serves it to clients.

pub mod bus;
pub mod engine;
pub mod firewall;
pub mod identify;
pub mod kernel;
pub mod reduced;
pub mod rights;
pub mod run;
pub mod seed;
pub mod store;
pub mod watchlist;
