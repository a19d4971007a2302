//! The life of processes: executed, forked, ended, and those that ran before.

use core::{ffi::c_void, mem::MaybeUninit, ptr::addr_of_mut};

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    programs::BtfTracePointContext,
};
use sekhmet_common::kernel::{ARGV_MAX, ExecRecord, ExitRecord, FILENAME_MAX, ForkRecord, Task, kind};

use crate::{
    net::dump::{iterated, write_row},
    offsets::*,
    ring, task, verdict,
};

/// `SIGNAL_GROUP_EXIT` (`include/linux/sched/signal.h`).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: the new program is
/// loaded and has not run yet, so nobody can have changed its arguments.
#[inline(always)]
pub fn exec(ctx: &BtfTracePointContext) -> i32 {
    let process: *const u8 = ctx.arg(0);
    let program: *const u8 = ctx.arg(2);
    #[cfg(feature = "log")]
    unsafe {
        aya_log_ebpf::debug!(ctx, "exec {}", read::<u32>(process, &TASK_TGID));
    }
    let is_urgent = unsafe { verdict::subject::execute(process) };
    ring::emit_soon(kind::EXEC, is_urgent, |record: *mut ExecRecord| unsafe {
        task::fill(addr_of_mut!((*record).task), process);
        let filename: *const u8 = probe(program, &BPRM_FILENAME);
        let out = addr_of_mut!((*record).filename);
        let read_bytes = bpf_probe_read_kernel_str(out.cast(), FILENAME_MAX as u32, filename.cast());
        addr_of_mut!((*record).filename_length).write(if read_bytes > 0 { read_bytes as u32 } else { 0 });
        arguments(record, process);
        addr_of_mut!((*record).reserved).write(0);
    });
    0
}

#[inline(always)]
unsafe fn arguments(record: *mut ExecRecord, process: *const u8) {
    unsafe {
        let memory: *const u8 = probe(process, &TASK_MM);
        let start: u64 = probe(memory, &MM_ARG_START);
        let end: u64 = probe(memory, &MM_ARG_END);
        let full = end.wrapping_sub(start);
        let wanted = if full > ARGV_MAX as u64 { ARGV_MAX as u64 } else { full };
        // The volatile copy keeps LLVM from forgetting the bound that the verifier must see.
        let wanted = core::ptr::read_volatile(&wanted);
        let mut length = 0;
        if wanted > 0 && wanted <= ARGV_MAX as u64 {
            let out = addr_of_mut!((*record).argv);
            if bpf_probe_read_user(out.cast(), wanted as u32, start as *const c_void) == 0 {
                length = wanted as u32;
            }
        }
        addr_of_mut!((*record).argv_length).write(length);
        let full = if full > u64::from(u32::MAX) { u32::MAX } else { full as u32 };
        addr_of_mut!((*record).argv_full_length).write(full);
    }
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`; threads and the kernel's own
/// tasks are not recorded.
#[inline(always)]
pub fn fork(ctx: &BtfTracePointContext) -> i32 {
    let child: *const u8 = ctx.arg(1);
    unsafe {
        if !is_leader(child) || task::is_kernel(child) {
            return 0;
        }
    }
    // Before anybody is told: the child does not run yet.
    unsafe { verdict::subject::inherit(ctx.arg(0), child) };
    ring::emit(kind::FORK, |record: *mut ForkRecord| unsafe {
        task::fill(addr_of_mut!((*record).task), child);
    });
    0
}

/// `sched_process_exit(struct task_struct *p)` runs for every thread; the process ends with its last one.
#[inline(always)]
pub fn exit(ctx: &BtfTracePointContext) -> i32 {
    let ending: *const u8 = ctx.arg(0);
    unsafe {
        let signal: *const u8 = read(ending, &TASK_SIGNAL);
        if read::<i32>(signal, &SIGNAL_LIVE) != 0 || task::is_kernel(ending) {
            return 0;
        }
        verdict::subject::forget(&task::key(ending));
        ring::emit(kind::EXIT, |record: *mut ExitRecord| {
            addr_of_mut!((*record).process).write(task::key(ending));
            addr_of_mut!((*record).status).write(status(ending, signal));
            addr_of_mut!((*record).reserved).write(0);
        });
    }
    0
}

/// What `wait` will report: the group's code if it was ended as a group, else the leader's.
#[inline(always)]
unsafe fn status(task: *const u8, signal: *const u8) -> i32 {
    unsafe {
        if read::<u32>(signal, &SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
            return read(signal, &SIGNAL_GROUP_EXIT_CODE);
        }
        let leader: *const u8 = read(task, &TASK_GROUP_LEADER);
        read(leader, &TASK_EXIT_CODE)
    }
}

/// iter/task: one row for each process.
#[inline(always)]
pub fn seed(ctx: *mut c_void) -> i32 {
    unsafe {
        let process: *const u8 = iterated(ctx, 8);
        if process.is_null() || !is_leader(process) || task::is_kernel(process) {
            return 0;
        }
        let mut row = MaybeUninit::<Task>::zeroed();
        task::fill(row.as_mut_ptr(), process);
        write_row(ctx, &row.assume_init());
    }
    0
}

#[inline(always)]
unsafe fn is_leader(task: *const u8) -> bool {
    unsafe { read::<u32>(task, &TASK_TGID) == read::<u32>(task, &TASK_PID) }
}
