//! From a place in the file tree upwards, over mount points: is one of the names looked for, and what is the path.
//!
//! Nothing is locked, so a folder that is renamed meanwhile may be seen before or after. Every read is one that the
//! kernel checks.

use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use sekhmet_common::kernel::{FileScratch, NAME_MAX, PATH_MAX, Sieve, file_state};

use super::{
    Place, folder_of_task,
    sieve::{self, Name},
};
use crate::offsets::*;

/// Steps upwards in which a name is looked for: parts and mount points.
const DEPTH_MAX: u32 = 48;

/// Steps upwards of which the names are told.
const PARTS_MAX: u32 = 96;

/// Bytes of a `struct dentry` that are read at once: parent, name, inode, and the name itself if it is short.
const NODE_BYTES: u32 = 72;

/// Most bytes of a name that can be in those.
const SHORT_MAX: u32 = 40;

/// What a `struct dentry` says.
struct Node {
    parent: u64,
    name: Name,
    is_short: bool,
}

/// Holds every part of the path to this place against the sieve.
///
/// # Safety
/// `sieve` and `scratch` are values of maps.
#[inline(always)]
pub unsafe fn hold(sieve: *const Sieve, scratch: *mut FileScratch, from: Place) {
    unsafe {
        let mut place = from;
        let mut top = top_of(place.mount);
        for _ in 0..DEPTH_MAX {
            if place.entry == top {
                let Some(outer) = mounted_on(place.mount) else { return };
                place = outer;
                top = top_of(place.mount);
                continue;
            }
            let node = read_node(scratch, place.entry);
            sieve::hold(sieve, scratch, node.name, || last_bytes(scratch, &node));
            if node.parent == place.entry || node.parent == 0 {
                return;
            }
            place.entry = node.parent;
        }
    }
}

/// Writes the names from this place up to the current task's root behind the scratch's text, a slash behind each.
/// Bits of [`file_state`].
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn write_parts(scratch: *mut FileScratch, from: Place) -> u32 {
    unsafe {
        let root = folder_of_task(&FS_ROOT);
        let mut place = from;
        let mut top = top_of(place.mount);
        for _ in 0..PARTS_MAX {
            if place.entry == root.entry && place.mount == root.mount {
                return 0;
            }
            if place.entry == top {
                let Some(outer) = mounted_on(place.mount) else { return 0 };
                place = outer;
                top = top_of(place.mount);
                continue;
            }
            let node = read_node(scratch, place.entry);
            let is_top = node.parent == place.entry || node.parent == 0;
            if is_top && node.name.length == 1 && node.name.first as u8 == b'/' {
                return 0;
            }
            if !append(scratch, &node.name) {
                return file_state::CUT;
            }
            if is_top {
                return 0;
            }
            place.entry = node.parent;
        }
        file_state::CUT
    }
}

/// Whether there was room.
#[inline(always)]
unsafe fn append(scratch: *mut FileScratch, name: &Name) -> bool {
    unsafe {
        let end = addr_of_mut!((*scratch).end);
        let at = read_volatile(end);
        if at >= 2 * PATH_MAX as u32 {
            return false;
        }
        let text = addr_of_mut!((*scratch).text).cast::<u8>();
        // Behind the black box LLVM cannot leave out the masks, by which the verifier sees the bounds.
        let at = core::hint::black_box(at) & (2 * PATH_MAX as u32 - 1);
        let length = core::hint::black_box(name.length) & NAME_MAX as u32;
        let out = text.add(at as usize);
        bpf_probe_read_kernel(out.cast(), length, name.at as *const _);
        write_volatile(out.add(length as usize), b'/');
        write_volatile(end, at + length + 1);
        true
    }
}

/// The uppermost entry of a mount.
#[inline(always)]
unsafe fn top_of(mount: u64) -> u64 {
    // `vfsmount.mnt_root` is the first field since there is a vfsmount; see the test of the offsets.
    unsafe { probe_at(mount as *const u8) }
}

/// Where a mount is mounted; nothing for the uppermost, or one that was taken out of the tree.
#[inline(always)]
unsafe fn mounted_on(mount: u64) -> Option<Place> {
    unsafe {
        let inner = (mount - u64::from(MOUNT_MNT.load())) as *const u8;
        let outer: u64 = probe(inner, &MOUNT_PARENT);
        if outer == inner as u64 || outer == 0 {
            return None;
        }
        let entry = probe(inner, &MOUNT_MOUNTPOINT);
        Some(Place { mount: outer + u64::from(MOUNT_MNT.load()), entry })
    }
}

#[inline(always)]
unsafe fn read_node(scratch: *mut FileScratch, entry: u64) -> Node {
    unsafe {
        let node = addr_of_mut!((*scratch).node).cast::<u8>();
        bpf_probe_read_kernel(node.cast(), NODE_BYTES, (entry + u64::from(DENTRY_PARENT.load())) as *const _);
        let parent: u64 = read_volatile(node.cast());
        // `struct qstr`: a hash, the length, where the name is.
        let quick = within(node, &DENTRY_NAME);
        let length: u32 = read_volatile(quick.add(4).cast());
        let length = if length > NAME_MAX as u32 { NAME_MAX as u32 } else { length };
        let at: u64 = read_volatile(quick.add(8).cast());
        let is_short = at == entry + u64::from(DENTRY_INAME.load()) && length <= SHORT_MAX;
        let first = if is_short {
            read_volatile(within(node, &DENTRY_INAME).cast())
        } else {
            probe_at(at as *const u8)
        };
        Node { parent, name: Name { at, length, first }, is_short }
    }
}

/// Where a field of a `struct dentry` is in what was read of it.
#[inline(always)]
unsafe fn within(node: *mut u8, field: &Global<u32>) -> *const u8 {
    node.wrapping_add(field.load().wrapping_sub(DENTRY_PARENT.load()) as usize)
}

/// The last eight bytes of a name that has as many.
#[inline(always)]
unsafe fn last_bytes(scratch: *mut FileScratch, node: &Node) -> u64 {
    unsafe {
        let before = node.name.length - 8;
        let word: u64 = if node.is_short {
            let before = core::hint::black_box(before) & 63;
            let name = within(addr_of_mut!((*scratch).node).cast(), &DENTRY_INAME);
            // Not aligned, which the kernel allows on machines that do; LLVM would else read byte by byte.
            read_volatile(name.add(before as usize).cast())
        } else {
            probe_at((node.name.at + u64::from(before)) as *const u8)
        };
        u64::from_le(word)
    }
}
