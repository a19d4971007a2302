//! Whether a name is one of those that are looked for.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use sekhmet_common::kernel::{
    FileScratch, NAME_MAX, SIEVE_WORDS, SUFFIX, Sieve, first_bytes, suffix_bit, tail, whole_bit,
};

use crate::maps::NAMES;

/// A name somewhere in memory.
#[derive(Clone, Copy)]
pub struct Name {
    /// Where.
    pub at: u64,
    /// How long, at most [`NAME_MAX`].
    pub length: u32,
    /// Its first eight bytes; what lies behind the name does not matter.
    pub first: u64,
}

/// Before the parts of a path.
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn begin(scratch: *mut FileScratch) {
    unsafe { write_volatile(addr_of_mut!((*scratch).passed), 0) };
}

/// Holds a part of a path against the sieve. `last` reads the name's last eight bytes; it is not called for shorter
/// names, nor unless ends of names are looked for.
///
/// # Safety
/// Both pointers are values of maps.
#[inline(always)]
pub unsafe fn hold(sieve: *const Sieve, scratch: *mut FileScratch, name: Name, last: impl FnOnce() -> u64) {
    unsafe {
        let first = first_bytes(name.length, name.first);
        if has(sieve, whole_bit(name.length, first)) {
            pass(scratch, name.length, name.at, 0);
        }
        if read_volatile(addr_of!((*sieve).suffixes)) == 0 {
            return;
        }
        let last = if name.length >= 8 { last() } else { first << ((8 - name.length) * 8 & 63) };
        let tail = tail(last);
        if has(sieve, suffix_bit(tail)) {
            pass(scratch, 0, 0, tail);
        }
    }
}

#[inline(always)]
unsafe fn pass(scratch: *mut FileScratch, length: u32, at: u64, tail: u64) {
    unsafe {
        let passed = addr_of_mut!((*scratch).passed);
        write_volatile(passed, read_volatile(passed) + 1);
        write_volatile(addr_of_mut!((*scratch).passed_length), length);
        write_volatile(addr_of_mut!((*scratch).passed_at), at);
        write_volatile(addr_of_mut!((*scratch).passed_tail), tail);
    }
}

/// Whether one of the parts has a name that is looked for. If several passed the sieve it is taken for granted: that
/// is rare, and user space looks again.
///
/// # Safety
/// As [`begin`].
#[inline(always)]
pub unsafe fn is_wanted(scratch: *mut FileScratch) -> bool {
    unsafe {
        match read_volatile(addr_of!((*scratch).passed)) {
            0 => false,
            1 => is_in_map(scratch),
            _ => true,
        }
    }
}

#[inline(always)]
unsafe fn is_in_map(scratch: *mut FileScratch) -> bool {
    unsafe {
        let length = read_volatile(addr_of!((*scratch).passed_length));
        let name = addr_of_mut!((*scratch).key.name).cast::<u64>();
        // Volatile: LLVM would make it a call of `memset`.
        for word in 1..32 {
            write_volatile(name.add(word), 0);
        }
        write_volatile(name, read_volatile(addr_of!((*scratch).passed_tail)));
        let key = addr_of_mut!((*scratch).key.length);
        if length == 0 {
            write_volatile(key, SUFFIX);
        } else {
            write_volatile(key, u64::from(length));
            let at = read_volatile(addr_of!((*scratch).passed_at));
            let length = core::hint::black_box(length) & NAME_MAX as u32;
            bpf_probe_read_kernel(name.cast(), length, at as *const _);
        }
        NAMES.get_ptr(&*addr_of!((*scratch).key)).is_some()
    }
}

#[inline(always)]
unsafe fn has(sieve: *const Sieve, bit: u32) -> bool {
    let word = (bit >> 6) as usize & (SIEVE_WORDS - 1);
    unsafe { read_volatile(addr_of!((*sieve).words).cast::<u64>().add(word)) >> (bit & 63) & 1 != 0 }
}
