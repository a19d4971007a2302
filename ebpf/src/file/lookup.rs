//! Files opened by whatever way, seen where the kernel looks them up: `do_filp_open`.
//!
//! `struct file *do_filp_open(int dfd, struct filename *pathname, const struct open_flags *op)`, the same from Linux
//! 5.8 to 6.18. The path that was asked for is the kernel's own copy.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use sekhmet_common::kernel::{FileScratch, Opening, Sieve, stat};

use super::{
    asked::copy_from_kernel,
    opening::{Call, prepare, tell},
};
use crate::{
    maps::{OPENINGS, STATS, bump},
    offsets::*,
};

/// The lowest address that is an error (`MAX_ERRNO`).
const ERRORS: u64 = -4095i64 as u64;
/// `EAGAIN`.
const EAGAIN: u32 = 11;
/// Above it are answers that no program sees.
const ERROR_MAX: u32 = 511;
/// `LOOKUP_CACHED`, since Linux 5.12: only a first try, another follows where the file may be waited for.
const LOOKUP_CACHED: u32 = 0x20_0000;
/// `LOOKUP_IN_ROOT`.
const LOOKUP_IN_ROOT: u32 = 0x10_0000;
/// `__FMODE_EXEC`: the file is executed.
const FOR_EXEC: u32 = 0x20;

/// fexit: all three arguments, then the result.
#[inline(always)]
pub fn leave(ctx: &FExitContext) -> i32 {
    let Some((names, scratch)) = prepare() else { return 0 };
    let (folder, path, flags, result): (i32, u64, u64, u64) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    unsafe {
        // What comes back out of memory is a number and no pointer with a type, which the verifier would not let us
        // compare.
        write_volatile(&raw mut (*scratch).opening, Opening { path, flags, folder, reserved: 0 });
        write_volatile(&raw mut (*scratch).file, result);
        finish(names, scratch, read_volatile(&raw const (*scratch).file));
    }
    0
}

/// kprobe: keeps the arguments until the function returns.
#[inline(always)]
pub fn enter(ctx: &ProbeContext) -> u32 {
    if prepare().is_none() {
        return 0;
    }
    let (Some(folder), Some(path), Some(flags)) = (ctx.arg::<i32>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2))
    else {
        return 0;
    };
    if OPENINGS.insert(bpf_get_current_pid_tgid(), Opening { path, flags, folder, reserved: 0 }, 0).is_err() {
        bump(&STATS, stat::FILE_OPENINGS_FULL);
    }
    0
}

/// kretprobe.
#[inline(always)]
pub fn leave_probe(ctx: &RetProbeContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    let Some(opening) = OPENINGS.get_ptr(task) else { return 0 };
    let opening = unsafe { read_volatile(opening) };
    let _gone = OPENINGS.remove(task);
    let Some((names, scratch)) = prepare() else { return 0 };
    unsafe {
        write_volatile(&raw mut (*scratch).opening, opening);
        finish(names, scratch, ctx.ret::<u64>());
    }
    0
}

#[inline(always)]
unsafe fn finish(names: *const Sieve, scratch: *mut FileScratch, result: u64) {
    unsafe {
        let options = read_volatile(&raw const (*scratch).opening.flags) as *const u8;
        let (flags, lookup): (u32, u32) = (probe(options, &OPEN_FLAGS), probe(options, &OPEN_LOOKUP));
        if flags & FOR_EXEC != 0 {
            return;
        }
        let (file, error) = if result >= ERRORS { (0, result.wrapping_neg() as u32) } else { (result, 0) };
        if error > ERROR_MAX || (error == EAGAIN && lookup & LOOKUP_CACHED != 0) {
            return;
        }
        let call = || Call {
            folder: read_volatile(&raw const (*scratch).opening.folder),
            path: probe(read_volatile(&raw const (*scratch).opening.path) as *const u8, &FILENAME_NAME),
            flags,
            in_root: lookup & LOOKUP_IN_ROOT != 0,
        };
        tell(names, scratch, file, error, call, |scratch, path| copy_from_kernel(scratch, path));
    }
}
