//! Puts the helper together: sources, engine and bus, each on its thread.

pub mod owner;
