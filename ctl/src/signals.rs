//! Signals that ask the program to end.

use std::{io, thread};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Calls `stop` at SIGINT and SIGTERM.
///
/// A second signal ends the program at once, because the first may find it stuck in writing to somebody who
/// does not read. One that holds the `terminal` is left to restore it; it hears SIGHUP, too.
pub(crate) fn on_stop(terminal: bool, stop: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Elsewhere what nohup(1) has set stays.
    let mut hung_up = terminal.then(|| signal(SignalKind::hangup())).transpose()?;
    drop(entered);
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let hangup = async {
                match &mut hung_up {
                    Some(hung_up) => hung_up.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup => {} }
        });
        // `stop` waits for room, for as long as the program is stuck.
        let told = thread::Builder::new().name("stop".into()).spawn(stop);
        if terminal && told.is_ok() {
            return;
        }
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        std::process::exit(1);
    })?;
    Ok(())
}
