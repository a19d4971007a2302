//! The privileged half of Sekhmet: it owns the kernel programs, keeps the state and serves it to clients.

pub mod engine;
