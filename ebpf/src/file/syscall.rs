//! Files opened by system calls, seen when these return: the file from the table of open files, the path that was
//! asked for from the program's memory.
//!
//! What the kernel opened cannot be forged by changing that memory meanwhile; what it refused to open can be.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{EbpfContext, helpers::generated::bpf_probe_read_user, programs::TracePointContext};
use sekhmet_common::kernel::{FileScratch, Sieve, file_state, operation, stat};

use super::{Place, asked, folder_of_task, opened_file, record::emit, registers, sieve, walk};
use crate::{
    maps::{SCRATCH, SIEVE, STATS, bump},
    offsets::*,
};

/// `AT_FDCWD`.
const WORKING_FOLDER: i32 = -100;
/// `EFAULT`: there was no path.
const EFAULT: i64 = 14;
/// Above it are answers that no program sees, for the call begins again (`ERESTARTSYS` and its kin).
const ERROR_MAX: i64 = 511;
/// `O_CREAT | O_WRONLY | O_TRUNC`, which is what creat(2) means.
const CREAT_FLAGS: u32 = 0x241;
/// `O_TRUNC`, the same on x86, arm64 and riscv.
const O_TRUNC: u32 = 0x200;
/// `RESOLVE_IN_ROOT` of openat2(2).
const RESOLVE_IN_ROOT: u64 = 0x10;

const NOWHERE: Place = Place { mount: 0, entry: 0 };

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

/// What a program asked for.
struct Call {
    folder: i32,
    path: u64,
    flags: u32,
    in_root: bool,
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
    let Some(names) = SIEVE.get_ptr(0) else { return 0 };
    let context = ctx.as_ptr().cast::<u8>();
    unsafe {
        if read_volatile(&raw const (*names).names) == 0 {
            return 0;
        }
        let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 0 };
        let result: i64 = read_volatile(context.add(16).cast());
        sieve::begin(scratch);
        let is_wanted =
            if result >= 0 { found(scratch, result as u32) } else { refused(names, scratch, ctx, result) };
        let Some(mut is_wanted) = is_wanted else { return 0 };
        let place = Place {
            mount: read_volatile(&raw const (*scratch).mount),
            entry: read_volatile(&raw const (*scratch).entry),
        };
        if place.entry != 0 {
            walk::hold(names, scratch, place);
        }
        is_wanted |= sieve::is_wanted(scratch);
        if !is_wanted {
            return 0;
        }
        let record = &raw mut (*scratch).record;
        let mut state = read_volatile(&raw const (*record).state);
        if state & file_state::RESOLVED != 0 {
            state |= ask(scratch, read_volatile(context.add(8).cast()));
        }
        let asked = read_volatile(&raw const (*scratch).end);
        write_volatile(&raw mut (*record).asked_length, asked);
        if place.entry != 0 {
            state |= walk::write_parts(scratch, place);
        }
        write_volatile(&raw mut (*record).state, state);
        write_volatile(&raw mut (*record).operation, operation::OPEN);
        emit(scratch);
    }
    0
}

/// A file was opened under this number. Nothing is known of its name yet.
#[inline(always)]
unsafe fn found(scratch: *mut FileScratch, number: u32) -> Option<bool> {
    unsafe {
        let file = opened_file(number);
        start_from(scratch, file, probe(file as *const u8, &FILE_PATH));
        (*scratch).record.state = file_state::RESOLVED;
        (*scratch).record.error = 0;
        Some(false)
    }
}

/// No file was opened. Whether a name that is looked for was asked for; nothing if there is nothing to tell.
#[inline(always)]
unsafe fn refused(
    names: *const Sieve,
    scratch: *mut FileScratch,
    ctx: &TracePointContext,
    result: i64,
) -> Option<bool> {
    unsafe {
        if result == -EFAULT || result < -ERROR_MAX {
            return None;
        }
        let call = call(read_volatile(ctx.as_ptr().cast::<u8>().add(8).cast()));
        if !asked::copy(scratch, call.path) {
            bump(&STATS, stat::FILE_UNREADABLE);
            return None;
        }
        let is_absolute = read_volatile((&raw const (*scratch).text).cast::<u8>()) == b'/';
        let place = if is_absolute && !call.in_root { NOWHERE } else { folder(call.folder) };
        start_from(scratch, 0, place);
        (*scratch).record.state = file_state::ASKED | if call.in_root { file_state::IN_ROOT } else { 0 };
        (*scratch).record.error = -result as u32;
        (*scratch).record.flags = call.flags;
        Some(asked::hold(names, scratch))
    }
}

#[inline(always)]
unsafe fn start_from(scratch: *mut FileScratch, file: u64, place: Place) {
    unsafe {
        write_volatile(&raw mut (*scratch).file, file);
        write_volatile(&raw mut (*scratch).mount, place.mount);
        write_volatile(&raw mut (*scratch).entry, place.entry);
    }
}

/// Adds what the program asked for to what it got. Bits of [`file_state`].
#[inline(always)]
unsafe fn ask(scratch: *mut FileScratch, number: i32) -> u32 {
    unsafe {
        let call = call(number);
        let file = read_volatile(&raw const (*scratch).file);
        let flags = probe::<u32>(file as *const u8, &FILE_FLAGS);
        // The kernel does not keep this one with the file.
        (*scratch).record.flags = flags | call.flags & O_TRUNC;
        if asked::copy(scratch, call.path) {
            return file_state::ASKED;
        }
        write_volatile(&raw mut (*scratch).end, 0);
        0
    }
}

/// The place of the folder from which a relative path begins.
#[inline(always)]
unsafe fn folder(number: i32) -> Place {
    unsafe {
        if number == WORKING_FOLDER {
            return folder_of_task(&FS_PWD);
        }
        if number < 0 {
            return NOWHERE;
        }
        let file = opened_file(number as u32);
        if file == 0 { NOWHERE } else { probe(file as *const u8, &FILE_PATH) }
    }
}

/// What the current task asked for, by its registers.
#[inline(always)]
unsafe fn call(number: i32) -> Call {
    unsafe {
        let registers = registers();
        let (first, second) = (probe::<u64>(registers, &REGS_0), probe::<u64>(registers, &REGS_1));
        if number == number::CREAT {
            return Call { folder: WORKING_FOLDER, path: first, flags: CREAT_FLAGS, in_root: false };
        }
        if number == number::OPEN {
            return Call { folder: WORKING_FOLDER, path: first, flags: second as u32, in_root: false };
        }
        let third: u64 = probe(registers, &REGS_2);
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
