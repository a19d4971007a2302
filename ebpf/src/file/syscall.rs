//! Files opened by system calls, seen when these return: the file from the table of open files, the path that was
//! asked for from the program's memory.
//!
//! What the kernel opened cannot be forged by changing that memory meanwhile; what it refused to open can be.

use core::ptr::read_volatile;

use aya_ebpf::{EbpfContext, helpers::generated::bpf_probe_read_user, programs::TracePointContext};

use super::{
    arguments,
    asked::copy_from_user,
    opened_file,
    opening::{Call, WORKING_FOLDER, prepare, tell},
};

/// `EFAULT`: there was no path.
const EFAULT: i64 = 14;
/// Above it are answers that no program sees, for the call begins again (`ERESTARTSYS` and its kin).
const ERROR_MAX: i64 = 511;
/// `O_CREAT | O_WRONLY | O_TRUNC`, which is what creat(2) means.
const CREAT_FLAGS: u32 = 0x241;
/// `RESOLVE_IN_ROOT` of openat2(2).
const RESOLVE_IN_ROOT: u64 = 0x10;

/// Numbers of the calls; one that a machine does not have is negative there.
#[cfg(bpf_target_arch = "x86_64")]
mod number {
    pub const OPEN: i32 = 2;
    pub const CREAT: i32 = 85;
    pub const OPENAT2: i32 = 437;
}
#[cfg(not(bpf_target_arch = "x86_64"))]
mod number {
    pub const OPEN: i32 = -1;
    pub const CREAT: i32 = -2;
    pub const OPENAT2: i32 = 437;
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

/// What the current task asked for, by its registers.
#[inline(always)]
unsafe fn call(number: i32) -> Call {
    unsafe {
        let [first, second, third] = arguments();
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
