//! What lasts: links and maps to be kept when the helper ends, and its map of processes, read by the next one.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::maps::{MapData, MapType};
use sekhmet_common::kernel::{Policy, ProcessKey, SocketPolicy};

use super::{BATCH, Policies};
use crate::kernel::sys;

/// The map's name in the object, in the kernel, and among what is kept.
const MAP: &str = "POLICIES";

/// The same of the map in which each bound socket has what it is bound to, and its program's own mark.
const SOCKETS: &str = "BOUND_SOCKETS";

impl Policies {
    /// What must stay open for everything to go on when this process is gone, by name: the links of all programs,
    /// which hold their maps, and two of these, for [`Inherited`] and [`FormerMarks`].
    pub fn lasting(&self) -> Vec<(&'static str, BorrowedFd<'_>)> {
        let links = self.hooks.iter().map(|(name, link)| (*name, link.as_fd()));
        let maps = [(MAP, self.all_processes.as_fd()), (SOCKETS, self.bound_sockets.as_fd())];
        maps.into_iter().chain(links).collect()
    }
}

/// The map of bound processes of a former helper. Its programs go on to write to it as long as their links are kept:
/// children are bound, and who ends is removed.
#[derive(Debug)]
pub struct Inherited(OwnedFd);

impl Inherited {
    /// Whether a descriptor that is kept under this name should be such a map.
    pub fn is_named(name: &str) -> bool {
        name == MAP
    }

    /// Looks closely at a descriptor that was kept.
    ///
    /// # Errors
    /// In words, if it is no map of exactly this name, kind and sizes.
    pub fn verify(kept: OwnedFd) -> Result<Self, String> {
        check(&kept, MAP, MapType::Hash, (size_of::<ProcessKey>(), size_of::<Policy>()))?;
        Ok(Self(kept))
    }

    /// Every process that is bound now, and the numbers of its rules.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn list(&self) -> io::Result<Vec<(ProcessKey, Policy)>> {
        sys::read_hash(self.0.as_fd(), BATCH)
    }
}

/// The socket storage of a former helper: what mark a program had set itself on a socket.
#[derive(Debug)]
pub struct FormerMarks(OwnedFd);

impl FormerMarks {
    /// Whether a descriptor that is kept under this name should be such a map.
    pub fn is_named(name: &str) -> bool {
        name == SOCKETS
    }

    /// Looks closely at a descriptor that was kept.
    ///
    /// # Errors
    /// In words, if it is no map of exactly this name, kind and sizes.
    pub fn verify(kept: OwnedFd) -> Result<Self, String> {
        check(&kept, SOCKETS, MapType::SkStorage, (size_of::<i32>(), size_of::<SocketPolicy>()))?;
        Ok(Self(kept))
    }

    /// The program's own mark on a socket that the former helper had bound; 0 for none.
    pub(super) fn own_mark(&self, socket: BorrowedFd<'_>) -> io::Result<u32> {
        let policy = sys::of_socket::<SocketPolicy>(self.0.as_fd(), socket)?;
        Ok(policy.map_or(0, |policy| policy.own_mark))
    }
}

/// Whether this is a map of this name, kind and sizes of key and value. The kernel keeps 15 bytes of a name.
fn check(kept: &OwnedFd, name: &str, wanted: MapType, wanted_sizes: (usize, usize)) -> Result<(), String> {
    let copy = sys::duplicate(kept).map_err(|e| e.to_string())?;
    let map = MapData::from_fd(copy).map_err(|e| e.to_string())?;
    let info = map.info().map_err(|e| e.to_string())?;
    let kind = info.map_type().map_err(|e| e.to_string())?;
    let sizes = (info.key_size() as usize, info.value_size() as usize);
    if kind != wanted || sizes != wanted_sizes || info.name() != name.as_bytes() {
        return Err(format!("a map of kind {kind:?} with sizes {sizes:?}"));
    }
    Ok(())
}
