//! The thread `firewall`: it alone talks to the firewall, and puts the table back when somebody took it away.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, never, select, tick};

use super::{Counters, Error, Firewall, Hold, State, table::Watch};

/// How long a read of the watch waits, and so how long ending takes.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often a table that could not be put back is tried again, and one that is not watched is looked at.
const AGAIN: Duration = Duration::from_millis(500);

/// What the firewall is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Put the table in force and keep it there.
    Install,
    /// Take it away and leave it so.
    Release,
    /// Say what was refused.
    Count,
}

/// What the firewall says.
#[derive(Debug)]
pub enum Report {
    /// The table is in force, as ordered.
    Installed(Hold),
    /// It was gone or changed, and is in force again; how often that has happened by now.
    PutBack {
        /// What had become of it.
        was: State,
        /// How firmly it is held now.
        hold: Hold,
        /// Counted from the start of the thread.
        times: u64,
    },
    /// The table is away, as ordered.
    Released,
    /// What was refused.
    Counted(Counters),
    /// An order failed, or the table could not be put back; that is tried again, and told once.
    Failed(Error),
}

/// The running thread. Dropping it ends the thread; the table stays as long as its owner's socket is held.
#[derive(Debug)]
pub struct Keeper {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the thread. `installed` says whether the table is in force already (adopted from a former helper).
///
/// With `watched`, every change of the table in this network namespace is looked into at once. Reports that
/// find no room are left out: who cares leaves room. The thread ends when `orders` or `reports` are closed.
///
/// # Errors
/// If there are no threads or sockets left.
pub fn keep(
    firewall: Box<dyn Firewall>,
    installed: bool,
    watched: bool,
    orders: Receiver<Order>,
    reports: Sender<Report>,
) -> io::Result<Keeper> {
    let mut keeper = Keeper { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
    let touched = if watched { keeper.watch()? } else { never() };
    let keeping = Keeping { firewall, wanted: installed, complained: false, times: 0, reports };
    let stop = Arc::clone(&keeper.stop);
    let thread = thread::Builder::new()
        .name("firewall".to_owned())
        .spawn(move || keeping.run(&stop, &orders, &touched))?;
    keeper.threads.push(thread);
    Ok(keeper)
}

impl Keeper {
    /// Starts the thread that hears of changes; several at once are one for the other side.
    fn watch(&mut self) -> io::Result<Receiver<()>> {
        let mut watch = Watch::open(PATIENCE)?;
        let (sender, touched) = bounded(1);
        let stop = Arc::clone(&self.stop);
        let thread = thread::Builder::new().name("firewall-watch".to_owned()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match watch.wait() {
                    Ok(false) => {}
                    // Full: it will be looked into anyhow.
                    Ok(true) => drop(sender.try_send(())),
                    Err(error) => {
                        tracing::warn!(%error, "changes of the firewall are no longer heard");
                        return;
                    }
                }
            }
        })?;
        self.threads.push(thread);
        Ok(touched)
    }

    /// Whether it still works.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the firewall had panicked");
            }
        }
    }
}

struct Keeping {
    firewall: Box<dyn Firewall>,
    /// Whether the table should be there.
    wanted: bool,
    /// Whether it was told already that it cannot be put back.
    complained: bool,
    times: u64,
    reports: Sender<Report>,
}

impl Keeping {
    fn run(mut self, stop: &AtomicBool, orders: &Receiver<Order>, touched: &Receiver<()>) {
        let again = tick(AGAIN);
        let mut touched = touched.clone();
        while !stop.load(Ordering::Relaxed) {
            let report = select! {
                recv(orders) -> order => match order {
                    Ok(order) => Some(self.obey(order)),
                    Err(_closed) => return,
                },
                recv(touched) -> touch => {
                    if touch.is_err() {
                        touched = never();
                    }
                    self.look()
                }
                recv(again) -> _ => self.look(),
            };
            if let Some(report) = report
                && let Err(error) = self.reports.try_send(report)
            {
                if error.is_disconnected() {
                    return;
                }
                tracing::warn!("a report of the firewall found no room");
            }
        }
    }

    fn obey(&mut self, order: Order) -> Report {
        let result = match order {
            Order::Install => {
                self.wanted = true;
                self.firewall.install().map(Report::Installed)
            }
            Order::Release => {
                self.wanted = false;
                self.firewall.release().map(|()| Report::Released)
            }
            Order::Count => self.firewall.counters().map(Report::Counted),
        };
        result.unwrap_or_else(Report::Failed)
    }

    /// Puts the table back if it should be there and is not.
    fn look(&mut self) -> Option<Report> {
        if !self.wanted {
            return None;
        }
        let result = match self.firewall.check() {
            Ok(State::Intact) => {
                self.complained = false;
                return None;
            }
            Ok(was) => self.firewall.install().map(|hold| (was, hold)),
            Err(error) => Err(error),
        };
        match result {
            Ok((was, hold)) => {
                self.complained = false;
                self.times += 1;
                Some(Report::PutBack { was, hold, times: self.times })
            }
            Err(_) if self.complained => None,
            Err(error) => {
                self.complained = true;
                Some(Report::Failed(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::MemoryFirewall;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn the_table_is_put_back_until_it_is_released() {
        let elsewhere = MemoryFirewall::new();
        let (order, orders) = bounded(4);
        let (reports, heard) = bounded(16);
        let next = || heard.recv_timeout(SOON).unwrap();
        let keeper = keep(Box::new(elsewhere.clone()), false, false, orders, reports).unwrap();
        order.send(Order::Count).unwrap();
        assert!(matches!(next(), Report::Failed(Error::Refused(_))), "no table was wanted yet");
        order.send(Order::Install).unwrap();
        assert!(matches!(next(), Report::Installed(Hold::Shared)));
        elsewhere.remove();
        assert!(matches!(next(), Report::PutBack { was: State::Missing, times: 1, .. }));
        elsewhere.change();
        assert!(matches!(next(), Report::PutBack { was: State::Changed, times: 2, .. }));

        elsewhere.set_foreign(true);
        assert!(matches!(next(), Report::Failed(Error::Foreign)));
        assert!(heard.recv_timeout(3 * AGAIN).is_err(), "it is told once");
        elsewhere.set_foreign(false);
        order.send(Order::Release).unwrap();
        let mut released = next();
        if matches!(released, Report::PutBack { .. }) {
            released = next();
        }
        assert!(matches!(released, Report::Released));
        assert!(heard.recv_timeout(3 * AGAIN).is_err(), "and left so");
        assert!(keeper.is_running());
        drop(keeper);
        assert!(heard.recv().is_err());
    }
}
