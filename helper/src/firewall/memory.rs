//! A firewall that only remembers, for tests of what stands on top of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Counters, Error, Firewall, Hold, Shape, State};

/// Behaves as the real one towards its user; a clone is another hand on the same table.
#[derive(Clone, Debug, Default)]
pub struct MemoryFirewall {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Option<Counters>,
    changed: bool,
    foreign: bool,
    refuses: Option<String>,
    installs: u64,
}

impl MemoryFirewall {
    /// A machine without the table.
    pub fn new() -> Self {
        Self::default()
    }

    /// What another privileged process does to a table without an owner.
    pub fn remove(&self) {
        self.lock().table = None;
    }

    /// As [`MemoryFirewall::remove`], but it only changes a line.
    pub fn change(&self) {
        self.lock().changed = true;
    }

    /// Whether another process owns a table of that name.
    pub fn set_foreign(&self, foreign: bool) {
        self.lock().foreign = foreign;
    }

    /// Every command fails with these words from now on, or works again.
    pub fn refuse(&self, words: Option<&str>) {
        self.lock().refuses = words.map(str::to_owned);
    }

    /// What [`Firewall::counters`] will say, if the table is there.
    pub fn count(&self, counters: Counters) {
        if let Some(table) = &mut self.lock().table {
            *table = counters;
        }
    }

    /// How often the table was installed.
    pub fn installs(&self) -> u64 {
        self.lock().installs
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self) -> Result<MutexGuard<'_, Shared>, Error> {
        let shared = self.lock();
        match &shared.refuses {
            Some(words) => Err(Error::Refused(words.clone())),
            None => Ok(shared),
        }
    }
}

impl Firewall for MemoryFirewall {
    fn install(&mut self) -> Result<Shape, Error> {
        let mut shared = self.command()?;
        if shared.foreign {
            return Err(Error::Foreign);
        }
        shared.table = Some(Counters::default());
        shared.changed = false;
        shared.installs += 1;
        // Its user has to look after it.
        Ok(Shape { hold: Hold::Shared, logs: true, inbound: true })
    }

    fn check(&mut self) -> Result<State, Error> {
        let shared = self.command()?;
        Ok(match (&shared.table, shared.foreign, shared.changed) {
            (_, true, _) => State::Foreign,
            (None, ..) => State::Missing,
            (Some(_), _, true) => State::Changed,
            (Some(_), ..) => State::Intact,
        })
    }

    fn release(&mut self) -> Result<(), Error> {
        self.command()?.table = None;
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        self.command()?.table.clone().ok_or_else(|| Error::Refused("no such table".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_through_every_state() {
        let elsewhere = MemoryFirewall::new();
        let mut firewall = elsewhere.clone();
        assert_eq!(firewall.check().unwrap(), State::Missing);
        assert!(firewall.counters().is_err());
        firewall.install().unwrap();
        assert_eq!(firewall.check().unwrap(), State::Intact);
        elsewhere.change();
        assert_eq!(firewall.check().unwrap(), State::Changed);
        elsewhere.remove();
        assert_eq!(firewall.check().unwrap(), State::Missing);
        elsewhere.set_foreign(true);
        assert!(matches!(firewall.install(), Err(Error::Foreign)));
        elsewhere.set_foreign(false);
        elsewhere.refuse(Some("busy"));
        assert!(matches!(firewall.install(), Err(Error::Refused(words)) if words == "busy"));
        assert_eq!(elsewhere.installs(), 1);
    }
}
