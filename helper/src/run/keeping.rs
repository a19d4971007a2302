//! What outlives the helper: descriptors that the service manager keeps while a rule is in force.
//!
//! One is the socket that owns the firewall's table. The other is a parcel: a socket in whose queue lies one message
//! with the links of all kernel programs and the maps of bound processes and sockets. As one descriptor they are kept and let go
//! in one step, so that at no moment a part of one helper's programs works with a part of another's; and they need
//! not count against `FileDescriptorStoreMax=`.

mod parcel;
mod received;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use sd_notify::NotifyState;

pub(super) use self::received::receive;
use crate::kernel::policy::{FormerMarks, Inherited};

/// Name of the firewall's socket.
const TABLE: &str = "nft";

/// Names of parcels. A new one is kept beside the old one, under another name, before that is let go.
const PARCELS: [&str; 4] = ["blocks-0", "blocks-1", "blocks-2", "blocks-3"];

/// What a helper before this one left with the service manager.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Sockets that may own the firewall's table.
    pub(super) tables: Vec<OwnedFd>,
    /// The bound processes, of each helper of which there is a parcel.
    pub(super) bound: Vec<Inherited>,
    /// What each of them knew of sockets.
    pub(super) marks: Vec<FormerMarks>,
    parcels: Vec<&'static str>,
}

impl Left {
    /// Takes in what was kept under this name. What is not what it should be is never used.
    fn take(&mut self, name: &str, kept: OwnedFd) {
        if name == TABLE {
            self.tables.push(kept);
            return;
        }
        let Some(name) = PARCELS.iter().find(|parcel| **parcel == name) else {
            tracing::warn!("the service manager kept something unknown; it is not used");
            return;
        };
        self.parcels.push(name);
        let things = match parcel::look_into(kept.as_fd()) {
            Ok(things) => things,
            Err(error) => {
                tracing::warn!(name, %error, "what was kept cannot be read; it is not used");
                return;
            }
        };
        // The links are held by the parcel; nobody has to do anything with them.
        for (thing, map) in things {
            let taken = if Inherited::is_named(&thing) {
                Inherited::verify(map).map(|bound| self.bound.push(bound))
            } else if FormerMarks::is_named(&thing) {
                FormerMarks::verify(map).map(|marks| self.marks.push(marks))
            } else {
                Ok(())
            };
            if let Err(reason) = taken {
                tracing::warn!(name, reason, "a kept map is not what it should be; it is not used");
            }
        }
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.parcels.is_empty()
    }
}

/// Says something to the service manager, with descriptors.
pub type Tell = Box<dyn FnMut(&[NotifyState<'_>], &[BorrowedFd<'_>]) -> io::Result<()> + Send>;

/// What this helper has left with the service manager. Without one it does nothing.
pub struct Keeping {
    tell: Tell,
    parcel: &'static str,
    has_parcel: bool,
    has_table: bool,
    /// Whether the service manager may have anything.
    is_any: bool,
}

impl Keeping {
    /// Nothing of this helper is kept yet. `has_table` if the table's socket was kept by a former one and is this
    /// one's now.
    pub(super) fn new(tell: Tell, left: &Left, has_table: bool) -> Self {
        let free = PARCELS.iter().find(|name| !left.parcels.contains(name));
        Self {
            tell,
            parcel: free.unwrap_or(&PARCELS[0]),
            has_parcel: false,
            has_table,
            is_any: !left.is_empty(),
        }
    }

    /// Leaves what holds blocks in force, and then lets go of what former helpers left. Without effect on what is
    /// kept already.
    ///
    /// # Errors
    /// The service manager cannot be told, or no descriptor is left: blocks end with the helper then.
    pub fn keep(
        &mut self,
        lasting: &[(&'static str, BorrowedFd<'_>)],
        table: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.is_any = true;
        if let Some(table) = table.filter(|_| !self.has_table) {
            self.let_go(TABLE)?;
            self.leave(TABLE, table)?;
            self.has_table = true;
        }
        if !self.has_parcel && !lasting.is_empty() {
            let parcel = parcel::pack(lasting)?;
            // It is there already if this was tried before, or if all names are taken.
            self.let_go(self.parcel)?;
            self.leave(self.parcel, parcel.as_fd())?;
            let own = self.parcel;
            for other in PARCELS.into_iter().filter(|name| *name != own) {
                self.let_go(other)?;
            }
            self.has_parcel = true;
        }
        Ok(())
    }

    /// Lets go of everything: nothing is left behind then when the helper ends. Without effect if there is nothing.
    ///
    /// # Errors
    /// The service manager cannot be told: what it keeps stays there.
    pub fn clear(&mut self) -> io::Result<()> {
        (self.has_parcel, self.has_table) = (false, false);
        if self.is_any {
            PARCELS.into_iter().chain([TABLE]).try_for_each(|name| self.let_go(name))?;
        }
        self.is_any = false;
        Ok(())
    }

    fn leave(&mut self, name: &str, what: BorrowedFd<'_>) -> io::Result<()> {
        // Without FDPOLL=0 (systemd 246) the manager would drop a socket whose other end is closed, as that of a
        // parcel is, or that had an error.
        let state = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
        (self.tell)(&state, &[what])
    }

    fn let_go(&mut self, name: &str) -> io::Result<()> {
        (self.tell)(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)], &[])
    }
}

/// Tells the service manager that started this process, if one did.
pub(super) fn to_manager() -> Tell {
    Box::new(|state, fds| match fds {
        [] => sd_notify::notify(state),
        fds => sd_notify::notify_with_fds(state, fds),
    })
}

#[cfg(test)]
mod tests;
