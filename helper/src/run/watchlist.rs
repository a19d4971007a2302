//! The thread that writes the watchlist down, and that looks where users live and what belongs to packages.

mod disk;
mod dpkg;
mod homes;

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use sekhmet_common::display::escape;

use self::{disk::Disk, dpkg::Dpkg, homes::Passwd};
use crate::{
    engine::input::{Input, Keep},
    store::{
        self,
        watchlist::{WatchStore, untouched},
    },
    watchlist,
};

/// How often it is looked whether users moved, and whether packages were installed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What was kept, and what is needed to keep more.
pub(super) struct Watching {
    disk: Disk,
    passwd: Passwd,
    dpkg: Dpkg,
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
        let mut found = Vec::new();
        let store = match store::state_dir().map(|dir| WatchStore::open(&dir, defaults.clone())) {
            Some(Ok(store)) => Some(store),
            Some(Err(error)) => {
                found.push(escape(error.to_string().as_bytes()));
                tracing::warn!(error = found[0], "the watchlist is not kept");
                None
            }
            None => {
                found.push("the helper was given no state folder".into());
                None
            }
        };
        let mut first = Vec::new();
        let list = match &store {
            Some(store) => {
                let kept = store.load();
                for warning in kept.warnings {
                    let warning = escape(warning.as_bytes());
                    tracing::warn!(warning, "the watchlist that was kept");
                    found.push(warning);
                }
                first.push(Input::SeenBefore(kept.seen));
                kept.list
            }
            None => untouched(&defaults),
        };
        let (mut passwd, mut dpkg) = (Passwd::default(), Dpkg::default());
        first.push(Input::Homes(passwd.changed().unwrap_or_default()));
        dpkg.want(&list.entries);
        first.extend(dpkg.changed().map(Input::Packages));
        let mut disk = Disk::new(store, found, list.clone());
        first.push(Input::WatchlistKept(list));
        first.extend(disk.news().map(Input::Keeping));
        Self { disk, passwd, dpkg, first }
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
            let mut next_look = Instant::now() + LOOK_EVERY;
            loop {
                // Orders do not put the look off.
                let told = match orders.recv_deadline(next_look) {
                    Ok(order) => self.keep(order),
                    Err(RecvTimeoutError::Timeout) => {
                        next_look = Instant::now() + LOOK_EVERY;
                        self.look()
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if told.into_iter().any(|told| done.send(told).is_err()) {
                    return;
                }
            }
        })
    }

    /// Does what the engine asks for; gives what it is to be told, in order.
    fn keep(&mut self, order: Keep) -> Vec<Input> {
        match order {
            Keep::Watchlist { change, list, holds_anyway } => {
                // Known before the first access that is judged by it.
                self.dpkg.want(&list.entries);
                let packages = self.dpkg.changed().map(Input::Packages);
                let result = self.disk.keep(list, holds_anyway);
                if let Err(reason) = &result {
                    tracing::warn!(reason, holds_anyway, "a change of the watchlist is not on the disk");
                }
                // First, so that whoever hears that it is done can learn that it would not outlive a restart.
                let keeping = self.disk.news().map(Input::Keeping);
                packages
                    .into_iter()
                    .chain(keeping)
                    .chain([Input::WatchlistSaved { change, result }])
                    .collect()
            }
            Keep::Seen(seen) => {
                self.disk.keep_seen(&seen);
                Vec::new()
            }
        }
    }

    fn look(&mut self) -> Vec<Input> {
        self.disk.make_up();
        let homes = self.passwd.changed().map(Input::Homes);
        let packages = self.dpkg.changed().map(Input::Packages);
        homes.into_iter().chain(packages).chain(self.disk.news().map(Input::Keeping)).collect()
    }
}
