//! The kernel programs seen from user space: loading, reading, and making observations of what they tell.

mod attach;
mod balance;
mod book;
mod bring_up;
pub mod btf;
pub mod clock;
pub mod decode;
mod files;
mod load;
mod log;
mod missed;
mod object;
mod offsets;
mod outbox;
mod perf;
pub mod policy;
mod probes;
mod reader;
mod reading;
mod refusals;
mod sys;

pub use balance::KernelCounts;
pub use decode::decode_record;
pub use files::{FileProbe, FileSource, Names, NamesError, tracefs::TracepointIds};
pub use load::{Kernel, LoadError, Options, load, load_object};
pub use object::has_log;
pub use probes::{Hook, Outcome, PROBES, Probe};
pub use reader::{INTERVAL_ALONE, INTERVAL_WATCHED, Pace, Reader, start};
