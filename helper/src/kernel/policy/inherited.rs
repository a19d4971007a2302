//! What lasts: links and maps to be kept when the helper ends, and its map of processes, read by the next one.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::maps::{MapData, MapType};
use sekhmet_common::kernel::{Policy, ProcessKey};

use super::{BATCH, Policies};
use crate::kernel::sys;

/// The map's name in the object, in the kernel, and among what is kept.
pub(super) const MAP: &str = "POLICIES";

impl Policies {
    /// What must stay open for everything to go on when this process is gone, by name: the links of all programs,
    /// which hold their maps, and the map of bound processes, for [`Inherited`].
    pub fn lasting(&self) -> Vec<(&'static str, BorrowedFd<'_>)> {
        let links = self.hooks.iter().map(|(name, link)| (*name, link.as_fd()));
        std::iter::once((MAP, self.all_processes.as_fd())).chain(links).collect()
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
        let copy = sys::duplicate(&kept).map_err(|e| e.to_string())?;
        let map = MapData::from_fd(copy).map_err(|e| e.to_string())?;
        let info = map.info().map_err(|e| e.to_string())?;
        let kind = info.map_type().map_err(|e| e.to_string())?;
        let sizes = (info.key_size() as usize, info.value_size() as usize);
        if kind != MapType::Hash
            || sizes != (size_of::<ProcessKey>(), size_of::<Policy>())
            || info.name() != MAP.as_bytes()
        {
            return Err(format!("a map of kind {kind:?} with sizes {sizes:?}"));
        }
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
