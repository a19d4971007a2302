//! Files opened or changed by system calls, seen when these return: an opened file from the table of open files, the path
//! that was asked for from the program's memory.
//!
//! What the kernel opened cannot be forged by changing that memory meanwhile; what it refused to open can be.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{EbpfContext, helpers::generated::bpf_probe_read_user, programs::TracePointContext};
use sekhmet_common::kernel::{Opening, operation};

use super::{
    arguments,
    asked::copy_from_user,
    change, opened_file,
    opening::{Call, WORKING_FOLDER, prepare, tell, tell_asked},
};

/// `EFAULT`: there was no path.
const EFAULT: i64 = 14;
/// Above it are answers that no program sees, for the call begins again (`ERESTARTSYS` and its kin).
const ERROR_MAX: i64 = 511;
/// `O_CREAT | O_WRONLY | O_TRUNC`, which is what creat(2) means.
const CREAT_FLAGS: u32 = 0x241;
/// `RESOLVE_IN_ROOT` of openat2(2).
const RESOLVE_IN_ROOT: u64 = 0x10;

/// `AT_REMOVEDIR` of unlinkat(2): a folder is removed.
const REMOVES_FOLDER: u64 = 0x200;

/// Numbers of the calls; one that a machine does not have is negative there.
#[cfg(bpf_target_arch = "x86_64")]
mod number {
    pub const OPEN: i32 = 2;
    pub const TRUNCATE: i32 = 76;
    pub const RENAME: i32 = 82;
    pub const CREAT: i32 = 85;
    pub const UNLINK: i32 = 87;
    pub const CHMOD: i32 = 90;
    pub const UNLINKAT: i32 = 263;
    pub const RENAMEAT: i32 = 264;
    pub const FCHMODAT: i32 = 268;
    pub const RENAMEAT2: i32 = 316;
    pub const OPENAT2: i32 = 437;
    pub const FCHMODAT2: i32 = 452;
}
#[cfg(not(bpf_target_arch = "x86_64"))]
mod number {
    pub const OPEN: i32 = -1;
    pub const CREAT: i32 = -2;
    pub const RENAME: i32 = -3;
    pub const UNLINK: i32 = -4;
    pub const CHMOD: i32 = -5;
    pub const UNLINKAT: i32 = 35;
    pub const RENAMEAT: i32 = 38;
    pub const TRUNCATE: i32 = 45;
    pub const FCHMODAT: i32 = 53;
    pub const RENAMEAT2: i32 = 276;
    pub const OPENAT2: i32 = 437;
    pub const FCHMODAT2: i32 = 452;
}

/// `struct open_how`.
#[repr(C)]
#[derive(Clone, Copy)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `sys_exit_*` of opens.
#[inline(always)]
pub fn opened(ctx: &TracePointContext) -> u32 {
    let Some((names, scratch)) = prepare() else { return 0 };
    let result = result(ctx);
    unsafe {
        if result == -EFAULT || result < -ERROR_MAX {
            return 0;
        }
        let file = if result < 0 { 0 } else { opened_file(result as u32) };
        let error = if result < 0 { -result as u32 } else { 0 };
        let call = || call(number(ctx));
        tell(names, scratch, file, error, call, |scratch, path| copy_from_user(scratch, path));
    }
    0
}

/// A change of names, modes or lengths, by path: also `sys_exit_*`.
#[inline(always)]
pub fn changed(ctx: &TracePointContext) -> u32 {
    unsafe {
        let [first, second, third, _] = arguments();
        let (operation, folder, path) = match number(ctx) {
            number::UNLINK => (operation::UNLINK, WORKING_FOLDER, first),
            number::UNLINKAT if third & REMOVES_FOLDER != 0 => return 0,
            number::UNLINKAT => (operation::UNLINK, first as i32, second),
            number::RENAME => (operation::RENAME, WORKING_FOLDER, first),
            number::RENAMEAT | number::RENAMEAT2 => (operation::RENAME, first as i32, second),
            number::CHMOD => (operation::CHMOD, WORKING_FOLDER, first),
            number::FCHMODAT | number::FCHMODAT2 => (operation::CHMOD, first as i32, second),
            number::TRUNCATE => (operation::TRUNCATE, WORKING_FOLDER, first),
            _ => return 0,
        };
        if result(ctx) != 0 {
            change::forget();
        }
        tell_change(ctx, operation, folder, path)
    }
}

/// The new name of a rename: also `sys_exit_*`. A program of its own, for the verifier would walk through the second name
/// again for every way in which the first can end.
#[inline(always)]
pub fn renamed(ctx: &TracePointContext) -> u32 {
    unsafe {
        let [_, second, third, fourth] = arguments();
        let (folder, path) =
            if number(ctx) == number::RENAME { (WORKING_FOLDER, second) } else { (third as i32, fourth) };
        tell_change(ctx, operation::RENAME, folder, path)
    }
}

#[inline(always)]
unsafe fn tell_change(ctx: &TracePointContext, operation: u32, folder: i32, path: u64) -> u32 {
    let Some((names, scratch)) = prepare() else { return 0 };
    let result = result(ctx);
    if result == -EFAULT || result < -ERROR_MAX {
        return 0;
    }
    unsafe {
        if result == 0 && read_volatile(&raw const (*names).resolved) >> operation & 1 != 0 {
            return 0;
        }
        // What comes back out of memory is any number: so the verifier walks through the rest once, not for each call.
        write_volatile(&raw mut (*scratch).operation, operation);
        write_volatile(&raw mut (*scratch).opening, Opening { path, flags: 0, folder, reserved: 0 });
        let Opening { path, folder, .. } = read_volatile(&raw const (*scratch).opening);
        let operation = read_volatile(&raw const (*scratch).operation);
        let call = Call { folder, path, flags: 0, in_root: false };
        tell_asked(names, scratch, operation, -result as u32, &call, |scratch, path| {
            copy_from_user(scratch, path)
        });
    }
    0
}

/// The number of the call that ends.
#[inline(always)]
fn number(ctx: &TracePointContext) -> i32 {
    unsafe { read_volatile(ctx.as_ptr().cast::<u8>().add(8).cast()) }
}

/// What it answers: 0 or more, or a negative errno.
#[inline(always)]
fn result(ctx: &TracePointContext) -> i64 {
    unsafe { read_volatile(ctx.as_ptr().cast::<u8>().add(16).cast()) }
}

/// What the current task asked for, by its registers.
#[inline(always)]
unsafe fn call(number: i32) -> Call {
    unsafe {
        let [first, second, third, _] = arguments();
        if number == number::CREAT {
            return Call { folder: WORKING_FOLDER, path: first, flags: CREAT_FLAGS, in_root: false };
        }
        if number == number::OPEN {
            return Call { folder: WORKING_FOLDER, path: first, flags: second as u32, in_root: false };
        }
        if number != number::OPENAT2 {
            return Call { folder: first as i32, path: second, flags: third as u32, in_root: false };
        }
        let mut how = How { flags: 0, mode: 0, resolve: 0 };
        bpf_probe_read_user((&raw mut how).cast(), size_of::<How>() as u32, third as *const _);
        Call {
            folder: first as i32,
            path: second,
            flags: how.flags as u32,
            in_root: how.resolve & RESOLVE_IN_ROOT != 0,
        }
    }
}
