//! Files that were seen by a name that is watched, and are recognised by their other names.

use core::ptr::read_volatile;

use sekhmet_common::kernel::Sieve;

use super::record::key_of;
use crate::{maps::LINKED, offsets::*};

/// Whether this `struct inode` has several names and is one of those that are known. Files with one name, which are
/// nearly all, cost two reads.
///
/// # Safety
/// `names` is a value of a map.
#[inline(always)]
pub unsafe fn is_known(names: *const Sieve, inode: impl FnOnce() -> *const u8) -> bool {
    unsafe {
        if read_volatile(&raw const (*names).links) == 0 {
            return false;
        }
        let inode = inode();
        probe::<u32>(inode, &INODE_NLINK) > 1 && LINKED.get_ptr(key_of(inode)).is_some()
    }
}
