//! Files that are opened or changed: which of them have a name that is looked for, and what is told of those.

pub mod asked;
pub mod change;
pub mod link;
pub mod lookup;
pub mod opening;
pub mod record;
pub mod sieve;
pub mod syscall;
pub mod uring;
pub mod walk;

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_task,
        generated::{bpf_get_current_task_btf, bpf_loop, bpf_task_pt_regs},
    },
};

use sekhmet_common::kernel::{FileScratch, Sieve};

use crate::offsets::*;

/// Not 0 if programs may follow typed pointers from the current task (`bpf_get_current_task_btf`, since Linux 5.11).
#[unsafe(no_mangle)]
static HAVE_TYPED_TASK: Global<u32> = Global::new(0);

/// Not 0 if the kernel says where a task's registers are (`bpf_task_pt_regs`, since Linux 5.15).
#[unsafe(no_mangle)]
static HAVE_TASK_REGS: Global<u32> = Global::new(0);

/// Not 0 if the kernel repeats a function for a program (`bpf_loop`, since Linux 5.17). Before that a loop's every turn
/// is verified by itself, so there can be fewer.
#[unsafe(no_mangle)]
static HAVE_LOOP: Global<u32> = Global::new(0);

/// Bytes of a kernel stack before that, on x86 and arm64 with pages of 4 KiB (`THREAD_SIZE`).
const STACK_BYTES: u64 = 16384;

/// A name in the file tree: `struct path`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    /// The `struct vfsmount`.
    pub mount: u64,
    /// The `struct dentry`.
    pub entry: u64,
}

/// What the current task has open under this number; 0 for nothing.
#[inline(always)]
pub unsafe fn opened_file(number: u32) -> u64 {
    unsafe {
        let table: u64 = if HAVE_TYPED_TASK.load() != 0 {
            let files: *const u8 = read(bpf_get_current_task_btf().cast(), &TASK_FILES);
            let table: *const u8 = read(files, &FILES_FDT);
            read(table, &FDT_FD)
        } else {
            let files: *const u8 = probe(bpf_get_current_task() as *const u8, &TASK_FILES);
            let table: *const u8 = probe(files, &FILES_FDT);
            probe(table, &FDT_FD)
        };
        probe_at((table + u64::from(number) * 8) as *const u8)
    }
}

/// Where the current task's root is, or its working directory.
#[inline(always)]
pub unsafe fn folder_of_task(which: &Global<u32>) -> Place {
    unsafe {
        let folders: *const u8 = probe(bpf_get_current_task() as *const u8, &TASK_FS);
        probe(folders, which)
    }
}

/// The first four arguments of the system call that the current task is in.
#[inline(always)]
pub unsafe fn arguments() -> [u64; 4] {
    unsafe {
        if HAVE_TASK_REGS.load() != 0 {
            let registers = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8;
            return [
                read(registers, &REGS_0),
                read(registers, &REGS_1),
                read(registers, &REGS_2),
                read(registers, &REGS_3),
            ];
        }
        let stack: u64 = probe(bpf_get_current_task() as *const u8, &TASK_STACK);
        let registers = (stack + STACK_BYTES - u64::from(REGS_SIZE.load())) as *const u8;
        [
            probe(registers, &REGS_0),
            probe(registers, &REGS_1),
            probe(registers, &REGS_2),
            probe(registers, &REGS_3),
        ]
    }
}

/// What the steps of a walk need; everything that changes is in the scratch.
pub struct Walk {
    /// The names that are looked for.
    pub names: *const Sieve,
    /// Room to work.
    pub scratch: *mut FileScratch,
}

/// Calls `step` with the numbers from 0 until it returns something else than 0, `MANY` times at most, or `FEW` times on
/// an old kernel. Whether that is how it ended.
#[inline(always)]
pub unsafe fn repeat<const MANY: u32, const FEW: u32>(
    walk: &mut Walk,
    step: unsafe extern "C" fn(u64, *mut Walk) -> i64,
) -> bool {
    unsafe {
        if HAVE_LOOP.load() != 0 {
            let turns = bpf_loop(MANY, step as *mut c_void, core::ptr::from_mut(walk).cast(), 0);
            return turns == MANY.into();
        }
        for turn in 0..FEW {
            if step(turn.into(), walk) != 0 {
                return false;
            }
        }
        true
    }
}
