//! Names that are removed or given away, modes and lengths that are changed: put down where the kernel asks its security
//! modules about it, told once it is done.
//!
//! When it is done the old name is gone, and before that nobody knows how it will end. What fails is told by the end of
//! the system call, if programs are attached there: they are where not every kind of change is seen here.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    programs::{ProbeContext, RetProbeContext},
};
use sekhmet_common::kernel::{Change, file_state, operation};

use super::{
    Place, Walk, link,
    opening::{prepare, start_from},
    record::{complete, emit, key_of},
    sieve, walk,
};
use crate::{
    maps::{CHANGES, STATS, bump},
    offsets::*,
};

/// Set in the key of the second name of a change: the number of a process is far smaller than that.
const SECOND: u64 = 1 << 63;

/// `security_path_unlink(const struct path *dir, struct dentry *dentry)`.
#[inline(always)]
pub fn unlink(ctx: &ProbeContext) -> u32 {
    let (Some(folder), Some(entry)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else { return 0 };
    unsafe { begin(operation::UNLINK, 0, in_folder(folder, entry)) }
    0
}

/// `security_path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir,
/// struct dentry *new_dentry, unsigned int flags)`.
#[inline(always)]
pub fn rename(ctx: &ProbeContext) -> u32 {
    let (Some(from), Some(old)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else { return 0 };
    let (Some(to), Some(new)) = (ctx.arg::<u64>(2), ctx.arg::<u64>(3)) else { return 0 };
    unsafe {
        for (which, folder, entry) in [(0, from, old), (SECOND, to, new)] {
            begin(operation::RENAME, which, in_folder(folder, entry));
        }
    }
    0
}

/// `security_path_chmod(const struct path *path, umode_t mode)`.
#[inline(always)]
pub fn chmod(ctx: &ProbeContext) -> u32 {
    at_path(ctx, operation::CHMOD)
}

/// `vfs_truncate(const struct path *path, loff_t length)`.
#[inline(always)]
pub fn truncate(ctx: &ProbeContext) -> u32 {
    at_path(ctx, operation::TRUNCATE)
}

#[inline(always)]
fn at_path(ctx: &ProbeContext, operation: u32) -> u32 {
    let Some(path) = ctx.arg::<u64>(0) else { return 0 };
    unsafe { begin(operation, 0, probe_at(path as *const u8)) }
    0
}

/// The return of the function that does it. One that works through another of the same kind, as on overlayfs, has done it
/// once that one has.
#[inline(always)]
pub fn end(ctx: &RetProbeContext, operation: u32) -> u32 {
    let is_done = ctx.ret::<i32>() == 0;
    let task = bpf_get_current_pid_tgid();
    unsafe {
        finish(task, operation, is_done);
        if operation == operation::RENAME {
            finish(task | SECOND, operation, is_done);
        }
    }
    0
}

/// The system call has failed: what began in it was perhaps forbidden, and did not end.
#[inline(always)]
pub fn forget() {
    let task = bpf_get_current_pid_tgid();
    for which in [0, SECOND] {
        let _gone = CHANGES.remove(task | which);
    }
}

/// A name in a folder, which lies on the same mount.
#[inline(always)]
unsafe fn in_folder(folder: u64, entry: u64) -> Place {
    let folder: Place = unsafe { probe_at(folder as *const u8) };
    Place { mount: folder.mount, entry }
}

#[inline(always)]
unsafe fn begin(operation: u32, which: u64, place: Place) {
    unsafe {
        let Some((names, scratch)) = prepare() else { return };
        let task = bpf_get_current_pid_tgid() | which;
        // One that was forbidden had no end, and mostly nobody has forgotten it: programs at the end of system calls are
        // attached only at need, and see neither io_uring nor 32-bit programs.
        let _gone = CHANGES.remove(task);
        sieve::begin(scratch);
        start_from(scratch, 0, place);
        write_volatile(&raw mut (*scratch).end, 0);
        let mut walk = Walk { names, scratch };
        walk::hold(&mut walk);
        let inode: *const u8 = probe(place.entry as *const u8, &DENTRY_INODE);
        if !sieve::is_wanted(scratch) && !link::is_known(names, || inode) {
            return;
        }
        let record = &raw mut (*scratch).record;
        let state = file_state::RESOLVED | walk::write_parts(&mut walk);
        write_volatile(&raw mut (*record).operation, operation);
        write_volatile(&raw mut (*record).state, state);
        write_volatile(&raw mut (*record).flags, 0);
        write_volatile(&raw mut (*record).error, 0);
        write_volatile(&raw mut (*record).asked_length, 0);
        complete(scratch, key_of(inode));
        if CHANGES.insert(task, &*scratch.cast::<Change>(), 0).is_err() {
            bump(&STATS, sekhmet_common::kernel::stat::FILE_OPENINGS_FULL);
        }
    }
}

#[inline(always)]
unsafe fn finish(task: u64, operation: u32, is_done: bool) {
    unsafe {
        let Some(change) = CHANGES.get_ptr_mut(task) else { return };
        let record = &raw mut (*change).record;
        if read_volatile(&raw const (*record).operation) != operation {
            return;
        }
        if is_done {
            emit(record);
        }
        let _gone = CHANGES.remove(task);
    }
}
