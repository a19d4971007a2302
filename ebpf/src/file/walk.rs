//! From a place in the file tree upwards, over mount points: is one of the names looked for, and what is the path.
//!
//! Nothing is locked, so a folder that is renamed meanwhile may be seen before or after. Every read is one that the
//! kernel checks.

use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use sekhmet_common::kernel::{FileScratch, NAME_MAX, PATH_MAX, file_state};

use super::{
    Place, Walk, folder_of_task, repeat,
    sieve::{self, Name},
};
use crate::offsets::*;

/// Most steps upwards: parts, of which a path can have half as many as bytes, and mount points.
const STEPS_MAX: u32 = 2100;

/// The same where each is verified by itself.
const STEPS_FEW: u32 = 32;

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

/// Holds every part of the path to the scratch's place against the sieve.
///
/// # Safety
/// Both pointers of the walk are values of maps.
#[inline(always)]
pub unsafe fn hold(walk: &mut Walk) {
    unsafe {
        begin(walk.scratch);
        repeat::<STEPS_MAX, STEPS_FEW>(walk, hold_one);
    }
}

#[inline(never)]
unsafe extern "C" fn hold_one(_turn: u64, walk: *mut Walk) -> i64 {
    unsafe {
        let (names, scratch) = ((*walk).names, (*walk).scratch);
        let entry = read_volatile(&raw const (*scratch).at_entry);
        if entry == read_volatile(&raw const (*scratch).at_top) {
            return leave_mount(scratch);
        }
        let node = read_node(scratch, entry);
        sieve::hold(names, scratch, node.name, || last_bytes(scratch, &node));
        if node.parent == entry || node.parent == 0 {
            return 1;
        }
        write_volatile(&raw mut (*scratch).at_entry, node.parent);
        0
    }
}

/// Writes the names from the scratch's place up to the current task's root behind its text, a slash behind each. Bits
/// of [`file_state`].
///
/// # Safety
/// As [`hold`].
#[inline(always)]
pub unsafe fn write_parts(walk: &mut Walk) -> u32 {
    unsafe {
        let scratch = walk.scratch;
        begin(scratch);
        let root = folder_of_task(&FS_ROOT);
        write_volatile(&raw mut (*scratch).root_mount, root.mount);
        write_volatile(&raw mut (*scratch).root_entry, root.entry);
        write_volatile(&raw mut (*scratch).found, 0);
        if repeat::<STEPS_MAX, STEPS_FEW>(walk, write_one) {
            return file_state::CUT;
        }
        read_volatile(&raw const (*scratch).found)
    }
}

#[inline(never)]
unsafe extern "C" fn write_one(_turn: u64, walk: *mut Walk) -> i64 {
    unsafe {
        let scratch = (*walk).scratch;
        let entry = read_volatile(&raw const (*scratch).at_entry);
        let mount = read_volatile(&raw const (*scratch).at_mount);
        let (root_mount, root_entry) = (
            read_volatile(&raw const (*scratch).root_mount),
            read_volatile(&raw const (*scratch).root_entry),
        );
        if entry == root_entry && mount == root_mount {
            return 1;
        }
        if entry == read_volatile(&raw const (*scratch).at_top) {
            return leave_mount(scratch);
        }
        let node = read_node(scratch, entry);
        let is_top = node.parent == entry || node.parent == 0;
        if is_top && node.name.length == 1 && node.name.first as u8 == b'/' {
            return 1;
        }
        if !append(scratch, &node.name) {
            write_volatile(&raw mut (*scratch).found, file_state::CUT);
            return 1;
        }
        write_volatile(&raw mut (*scratch).at_entry, node.parent);
        is_top.into()
    }
}

/// To where the walk begins.
#[inline(always)]
unsafe fn begin(scratch: *mut FileScratch) {
    unsafe {
        let mount = read_volatile(&raw const (*scratch).mount);
        let entry = read_volatile(&raw const (*scratch).entry);
        enter_mount(scratch, Place { mount, entry });
    }
}

/// From the top of a mount to the place where it is mounted; not 0 if there is none.
#[inline(always)]
unsafe fn leave_mount(scratch: *mut FileScratch) -> i64 {
    unsafe {
        let outer = read_volatile(&raw const (*scratch).at_outer);
        // The uppermost mount, or one that was taken out of the tree.
        if outer == read_volatile(&raw const (*scratch).at_mount) || outer == 0 {
            return 1;
        }
        let entry = read_volatile(&raw const (*scratch).at_mountpoint);
        enter_mount(scratch, Place { mount: outer, entry });
        0
    }
}

#[inline(always)]
unsafe fn enter_mount(scratch: *mut FileScratch, place: Place) {
    unsafe {
        let inside = u64::from(MOUNT_MNT.load());
        let mount = (place.mount - inside) as *const u8;
        // One read where the fields lie one behind the other, as they do since there is a `struct mount`.
        let (from, next) = (MOUNT_PARENT.load(), size_of::<u64>() as u32);
        let in_row =
            MOUNT_MOUNTPOINT.load() == from + next && inside as u32 + MNT_ROOT.load() == from + 2 * next;
        let [outer, mountpoint, top]: [u64; 3] = if in_row {
            probe(mount, &MOUNT_PARENT)
        } else {
            let top = probe(place.mount as *const u8, &MNT_ROOT);
            [probe(mount, &MOUNT_PARENT), probe(mount, &MOUNT_MOUNTPOINT), top]
        };
        write_volatile(&raw mut (*scratch).at_mount, place.mount);
        write_volatile(&raw mut (*scratch).at_entry, place.entry);
        write_volatile(&raw mut (*scratch).at_top, top);
        write_volatile(&raw mut (*scratch).at_outer, if outer == 0 { 0 } else { outer + inside });
        write_volatile(&raw mut (*scratch).at_mountpoint, mountpoint);
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
