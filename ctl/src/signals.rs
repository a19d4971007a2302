//! Signals that ask the program to end.

use std::{io, thread};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Calls `stop` at SIGINT and SIGTERM, with `hangup` at SIGHUP, too. The second signal ends the program at
/// once, because the first may find it stuck in writing to somebody who does not read.
pub(crate) fn on_stop(hangup: bool, stop: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Without `hangup` what nohup(1) has set stays.
    let mut hung_up = hangup.then(|| signal(SignalKind::hangup())).transpose()?;
    drop(entered);
    let wait = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = async { match &mut hung_up {
                Some(hung_up) => { hung_up.recv().await; }
                None => std::future::pending().await,
            } } => {}
        }
        (interrupt, terminate)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        let (mut interrupt, mut terminate) = runtime.block_on(wait);
        thread::Builder::new().name("stop".into()).spawn(stop).ok();
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        std::process::exit(1);
    })?;
    Ok(())
}
