//! The kernel programs seen from user space: loading, reading, and making observations of what they tell.

pub mod btf;
mod load;
mod object;
mod offsets;
mod probes;
mod sys;

pub use load::{Kernel, LoadError, Options, load, load_object};
pub use probes::{Hook, Outcome, PROBES, Probe};
