//! The path that a program asked for, as it stands in the program's memory.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use sekhmet_common::kernel::{FileScratch, PATH_MAX, Sieve};

use super::sieve::{self, Name};

/// Bytes of a path whose parts are looked at one by one. A longer one counts as if it had a name that is looked for.
const SCANNED_MAX: u32 = 256;

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
/// `names` and `scratch` are values of maps.
#[inline(always)]
pub unsafe fn hold(names: *const Sieve, scratch: *mut FileScratch) -> bool {
    unsafe {
        let length = read_volatile(addr_of!((*scratch).end));
        if length >= SCANNED_MAX {
            return true;
        }
        let text = addr_of_mut!((*scratch).text).cast::<u8>();
        let begin = addr_of_mut!((*scratch).begin);
        write_volatile(begin, 0);
        for at in 0..=SCANNED_MAX {
            // The end mark ends the last part as a slash does the others.
            let byte = read_volatile(text.add(at as usize));
            if byte != b'/' && byte != 0 {
                continue;
            }
            let from = read_volatile(begin) & (2 * SCANNED_MAX - 1);
            let count = at.wrapping_sub(from);
            if count > 0 && count < 256 {
                // Not aligned, as in `walk`.
                let word = |at: u32| read_volatile(text.add(at as usize).cast::<u64>());
                let name = Name { at: text as u64 + u64::from(from), length: count, first: word(from) };
                // Asked for names of eight bytes and more only.
                sieve::hold(names, scratch, name, || u64::from_le(word(at.saturating_sub(8))));
            }
            if byte == 0 {
                return false;
            }
            write_volatile(begin, at + 1);
        }
        false
    }
}
