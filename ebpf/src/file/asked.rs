//! The path that a program asked for, as it stands in the program's memory.

use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use sekhmet_common::kernel::{FileScratch, NAME_MAX, PATH_MAX, ends_of_parts};

use super::{
    Walk, repeat,
    sieve::{self, Name},
};

/// Bytes of a path that are looked at on an old kernel. A longer one counts as if it had a name that is looked for.
const SCANNED_FEW: u32 = 128;

/// Copies the path to the beginning of the scratch's text, where it then ends. Whether that memory could be read.
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn copy_from_user(scratch: *mut FileScratch, path: u64) -> bool {
    let text = unsafe { addr_of_mut!((*scratch).text) };
    let length = unsafe { bpf_probe_read_user_str(text.cast(), PATH_MAX as u32, path as *const _) };
    unsafe { ends_at(scratch, length) }
}

/// The same for the kernel's own copy.
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn copy_from_kernel(scratch: *mut FileScratch, path: u64) -> bool {
    let text = unsafe { addr_of_mut!((*scratch).text) };
    let length = unsafe { bpf_probe_read_kernel_str(text.cast(), PATH_MAX as u32, path as *const _) };
    unsafe { ends_at(scratch, length) }
}

/// `length` counts the end mark, or is an error.
#[inline(always)]
unsafe fn ends_at(scratch: *mut FileScratch, length: i64) -> bool {
    if length <= 0 {
        return false;
    }
    unsafe { write_volatile(addr_of_mut!((*scratch).end), (length - 1) as u32) };
    true
}

/// Holds every part of the copied path against the sieve. Whether it is too long for that.
///
/// # Safety
/// Both pointers of the walk are values of maps.
#[inline(always)]
pub unsafe fn hold(walk: &mut Walk) -> bool {
    unsafe {
        write_volatile(&raw mut (*walk.scratch).begin, 0);
        repeat::<{ PATH_MAX as u32 / 8 }, { SCANNED_FEW / 8 }>(walk, hold_one)
    }
}

/// Eight bytes of the path.
#[inline(never)]
unsafe extern "C" fn hold_one(turn: u64, walk: *mut Walk) -> i64 {
    unsafe {
        let scratch = (*walk).scratch;
        let at = turn as u32 * 8;
        let ends = ends_of_parts(u64::from_le(word(scratch, at)));
        if ends == 0 {
            return 0;
        }
        for byte in 0..8 {
            if ends >> (byte * 8) & 0x80 != 0 && hold_part(walk, at + byte) {
                return 1;
            }
        }
        0
    }
}

/// Holds the part that ends before this byte against the sieve. Whether it was the last one.
#[inline(always)]
unsafe fn hold_part(walk: *mut Walk, end: u32) -> bool {
    unsafe {
        let (names, scratch) = ((*walk).names, (*walk).scratch);
        let begin = &raw mut (*scratch).begin;
        let from = read_volatile(begin);
        let count = end.wrapping_sub(from);
        if count > 0 && count <= NAME_MAX as u32 {
            let at = addr_of_mut!((*scratch).text) as u64 + u64::from(from);
            let name = Name { at, length: count, first: word(scratch, from) };
            // Asked for names of eight bytes and more only.
            sieve::hold(names, scratch, name, || u64::from_le(word(scratch, end.wrapping_sub(8))));
        }
        write_volatile(begin, end + 1);
        end >= read_volatile(&raw const (*scratch).end)
    }
}

/// Eight bytes of the text.
#[inline(always)]
unsafe fn word(scratch: *mut FileScratch, at: u32) -> u64 {
    unsafe {
        let text = addr_of_mut!((*scratch).text).cast::<u8>();
        // The mask is for the verifier. Not aligned, as in `walk`.
        let at = core::hint::black_box(at) & (PATH_MAX as u32 - 1);
        read_volatile(text.add(at as usize).cast::<u64>())
    }
}
