//! What existed before the helper: processes and sockets.
//!
//! The programs are attached first and this runs second, so that nothing falls between: what begins meanwhile is
//! told twice, under the same key.

use std::io;

use crate::{
    engine::input::Observation,
    kernel::{Kernel, decode::image},
};

/// Gives the sockets that are already open their owners, and tells the processes that run.
///
/// The sockets themselves come with the first dump. Executables and command lines are read from `/proc` by
/// whoever identifies processes.
///
/// # Errors
/// An iterator broke off; what it told before is lost.
pub fn seed(kernel: &Kernel) -> io::Result<Vec<Observation>> {
    kernel.adopt_sockets()?;
    let tasks = kernel.dump_tasks()?.unwrap_or_default();
    Ok(tasks.iter().map(|task| Observation::Seen(image(task))).collect())
}
