//! Sockets: who owns them, when they connect, what passes through them.

pub mod dump;
pub mod headers;
pub mod packet;
pub mod residue;
pub mod socket;
pub mod tcp;
pub mod tuple;

use core::ptr::read_volatile;

use sekhmet_common::kernel::ProcessKey;

/// Copies a key from one kernel memory to another.
///
/// Word by word, and volatile: LLVM makes larger copies between two pointers a call of `memmove`, which compares
/// the pointers, and that the verifier does not allow.
///
/// # Safety
/// Both are valid for the verifier.
#[inline(always)]
pub unsafe fn copy_key(out: *mut ProcessKey, from: *const ProcessKey) {
    unsafe {
        (*out).tgid = read_volatile(&raw const (*from).tgid);
        (*out).reserved = 0;
        (*out).start_ns = read_volatile(&raw const (*from).start_ns);
    }
}
