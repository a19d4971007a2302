//! The thread that writes the watchlist down, and that looks where users live.

mod homes;

use std::{io, thread, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use sekhmet_common::display::escape;

use self::homes::Passwd;
use crate::{
    engine::input::{Input, Keep},
    store::{
        self,
        watchlist::{WatchStore, untouched},
    },
    watchlist,
};

/// How often it is looked whether users moved.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What was kept, and what is needed to keep more.
pub(super) struct Watching {
    store: Option<WatchStore>,
    passwd: Passwd,
    /// The engine's first words.
    pub(super) first: Vec<Input>,
}

impl Watching {
    /// Reads the watchlist. Without a state folder it is as it comes with Sekhmet, and changes end with the helper.
    pub(super) fn prepare() -> Self {
        let defaults = watchlist::defaults().unwrap_or_else(|reason| {
            tracing::error!(reason, "the watchlist that comes with Sekhmet cannot be read");
            Vec::new()
        });
        let mut passwd = Passwd::default();
        let homes = passwd.changed().unwrap_or_default();
        let mut first = vec![Input::Homes(homes)];
        let store = store::state_dir().and_then(|dir| {
            let opened = WatchStore::open(&dir, defaults.clone());
            opened.inspect_err(|error| tell("the watchlist is not kept", error)).ok()
        });
        match &store {
            Some(store) => {
                let kept = store.load();
                for warning in &kept.warnings {
                    tracing::warn!(warning = %escape(warning.as_bytes()), "the watchlist that was kept");
                }
                first.extend([Input::SeenBefore(kept.seen), Input::WatchlistKept(kept.list)]);
            }
            None => first.push(Input::WatchlistKept(untouched(&defaults))),
        }
        Self { store, passwd, first }
    }

    /// Starts the thread. It ends when nothing can be told to it any more.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start(
        mut self,
        orders: Receiver<Keep>,
        done: Sender<Input>,
    ) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("watchlist".into()).spawn(move || {
            loop {
                let told = match orders.recv_timeout(LOOK_EVERY) {
                    Ok(order) => self.keep(order),
                    Err(RecvTimeoutError::Timeout) => self.passwd.changed().map(Input::Homes),
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if told.is_some_and(|told| done.send(told).is_err()) {
                    return;
                }
            }
        })
    }

    fn keep(&self, order: Keep) -> Option<Input> {
        match order {
            Keep::Watchlist { change, list } => {
                let result = self.store.as_ref().map_or(Ok(()), |store| store.keep(&list));
                let result = result.inspect_err(|error| tell("a change of the watchlist was undone", error));
                let result = result.map_err(|error| escape(error.to_string().as_bytes()));
                Some(Input::WatchlistSaved { change, result })
            }
            Keep::Seen(seen) => {
                let kept = self.store.as_ref().map_or(Ok(()), |store| store.keep_seen(&seen));
                if let Err(error) = kept {
                    tell("which programs were seen is not kept", &error);
                }
                None
            }
        }
    }
}

fn tell(what: &'static str, error: &store::StoreError) {
    tracing::warn!(error = %escape(error.to_string().as_bytes()), "{what}");
}
