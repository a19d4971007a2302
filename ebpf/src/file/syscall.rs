//! Files opened or changed by system calls, seen when these return: an opened file from the table of open files, the path
//! that was asked for from the program's memory.
//!
//! What the kernel opened cannot be forged by changing that memory meanwhile; what it refused to open can be.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{EbpfContext, helpers::generated::bpf_probe_read_user, programs::TracePointContext};
use sekhmet_common::kernel::operation;

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

/// `sys_exit_*`: number of the call at 8, its result at 16.
#[inline(always)]
pub fn opened(ctx: &TracePointContext) -> u32 {
    let Some((names, scratch)) = prepare() else { return 0 };
    let context = ctx.as_ptr().cast::<u8>();
    unsafe {
        let result: i64 = read_volatile(context.add(16).cast());
        if result == -EFAULT || result < -ERROR_MAX {
            return 0;
        }
        let file = if result < 0 { 0 } else { opened_file(result as u32) };
        let error = if result < 0 { -result as u32 } else { 0 };
        let call = || call(read_volatile(context.add(8).cast()));
        tell(names, scratch, file, error, call, |scratch, path| copy_from_user(scratch, path));
    }
    0
}

/// A change of names, modes or lengths, by path: also `sys_exit_*`.
#[inline(always)]
pub fn changed(ctx: &TracePointContext) -> u32 {
    let Some((names, scratch)) = prepare() else { return 0 };
    let context = ctx.as_ptr().cast::<u8>();
    unsafe {
        let result: i64 = read_volatile(context.add(16).cast());
        if result == -EFAULT || result < -ERROR_MAX {
            return 0;
        }
        let [first, second, third, fourth] = arguments();
        let cwd = WORKING_FOLDER as u32 as u64;
        // A path, and the folder from which it begins; the same of the second name.
        let (operation, one, other) = match read_volatile(context.add(8).cast::<i32>()) {
            number::UNLINK => (operation::UNLINK, [cwd, first], [0; 2]),
            number::UNLINKAT if third & REMOVES_FOLDER != 0 => return 0,
            number::UNLINKAT => (operation::UNLINK, [first, second], [0; 2]),
            number::RENAME => (operation::RENAME, [cwd, first], [cwd, second]),
            number::RENAMEAT | number::RENAMEAT2 => (operation::RENAME, [first, second], [third, fourth]),
            number::CHMOD => (operation::CHMOD, [cwd, first], [0; 2]),
            number::FCHMODAT | number::FCHMODAT2 => (operation::CHMOD, [first, second], [0; 2]),
            number::TRUNCATE => (operation::TRUNCATE, [cwd, first], [0; 2]),
            _ => return 0,
        };
        if result != 0 {
            change::forget();
        } else if read_volatile(&raw const (*names).resolved) >> operation & 1 != 0 {
            return 0;
        }
        // What comes back out of memory is any number, so the verifier goes through the rest once and not for each call.
        write_volatile(&raw mut (*scratch).operation, operation);
        write_volatile(&raw mut (*scratch).calls, [one, other]);
        for which in 0..2 {
            let [folder, path] = read_volatile((&raw const (*scratch).calls).cast::<[u64; 2]>().add(which));
            if path != 0 {
                let call = Call { folder: folder as i32, path, flags: 0, in_root: false };
                let operation = read_volatile(&raw const (*scratch).operation);
                tell_asked(names, scratch, operation, -result as u32, &call, |scratch, path| {
                    copy_from_user(scratch, path)
                });
            }
        }
    }
    0
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
