//! Turns the signals that end the helper into messages.

use std::{io, thread};

use crossbeam_channel::{Receiver, bounded};
use tokio::signal::unix::{SignalKind, signal};

/// Catches SIGTERM and SIGINT from now on. Each gives a message with its name.
///
/// # Errors
/// If there can be no thread, no event loop or no handler.
pub(super) fn listen() -> io::Result<Receiver<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let (sender, receiver) = bounded(1);
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                // A second signal while the first is being heeded changes nothing.
                if sender.try_send(name).is_err() {
                    tracing::debug!(name, "ending already");
                }
            }
        });
    })?;
    Ok(receiver)
}
