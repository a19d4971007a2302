//! The privileged half of Sekhmet: it owns the kernel programs, keeps the state and serves it to clients.

pub mod bus;
pub mod engine;
pub mod kernel;
pub mod seed;
pub mod run;
