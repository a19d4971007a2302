//! The path that a program asked for, as it stands in the program's memory.

use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use sekhmet_common::kernel::{FileScratch, NAME_MAX, PATH_MAX};

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
        repeat::<{ PATH_MAX as u32 }, SCANNED_FEW>(walk, hold_one)
    }
}

#[inline(never)]
unsafe extern "C" fn hold_one(turn: u64, walk: *mut Walk) -> i64 {
    unsafe {
        let (names, scratch) = ((*walk).names, (*walk).scratch);
        let text = addr_of_mut!((*scratch).text).cast::<u8>();
        // The mask is for the verifier.
        let at = turn as u32 & (PATH_MAX as u32 - 1);
        // The end mark ends the last part as a slash does the others.
        let byte = read_volatile(text.add(at as usize));
        if byte != b'/' && byte != 0 {
            return 0;
        }
        let begin = addr_of_mut!((*scratch).begin);
        let from = read_volatile(begin);
        let count = at.wrapping_sub(from);
        if count > 0 && count <= NAME_MAX as u32 {
            // Not aligned, as in `walk`.
            let word = |at: u32| {
                let at = core::hint::black_box(at) & (PATH_MAX as u32 - 1);
                read_volatile(text.add(at as usize).cast::<u64>())
            };
            let name = Name { at: text as u64 + u64::from(from), length: count, first: word(from) };
            // Asked for names of eight bytes and more only.
            sieve::hold(names, scratch, name, || u64::from_le(word(at.wrapping_sub(8))));
        }
        write_volatile(begin, at + 1);
        (byte == 0).into()
    }
}
