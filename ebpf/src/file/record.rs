//! The record of an access, put together and handed to the ring of files.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_task, generated::bpf_ringbuf_output},
};
use sekhmet_common::kernel::{
    FILE_TEXT_MAX, FILES_WAKEUP_BYTES, FileRecord, FileScratch, Header, ProgramKey, kind,
};

use crate::{
    maps::{FILES, LOST, MADE, bump},
    offsets::*,
    ring, task,
};

/// Of how many records on a processor one looks how full the ring is.
const LOOK_EVERY: u64 = 16;

/// Not known.
const NO_FILE: ProgramKey = ProgramKey { device: 0, reserved: 0, inode: 0 };

/// Fills in which file it is, and how long the second text is, which ends where the scratch's text does.
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn complete(scratch: *mut FileScratch, file: ProgramKey) {
    unsafe {
        let record = addr_of_mut!((*scratch).record);
        addr_of_mut!((*record).file).write(file);
        let asked = read_volatile(addr_of!((*record).asked_length));
        let end = read_volatile(addr_of!((*scratch).end));
        write_volatile(addr_of_mut!((*record).parts_length), end - asked);
    }
}

/// Tells an access by the current process, now. All else is in the record already, and both texts behind it.
///
/// # Safety
/// `record` is the beginning of a map's value, which has [`FILE_TEXT_MAX`] bytes behind it.
#[inline(always)]
pub unsafe fn emit(record: *mut FileRecord) {
    unsafe {
        let end =
            read_volatile(addr_of!((*record).asked_length)) + read_volatile(addr_of!((*record).parts_length));
        let length = size_of::<FileRecord>() as u32 + end;
        addr_of_mut!((*record).header).write(Header { kind: kind::FILE, length, at_ns: ring::now() });
        addr_of_mut!((*record).process).write(task::current_key());
        addr_of_mut!((*record).mount_ns).write(mount_namespace());
        addr_of_mut!((*record).reserved).write(0);
        // The same order as for the other ring.
        let before = bump(&MADE, kind::FILE);
        let is_full = before % LOOK_EVERY == 0 && FILES.query(BPF_RB_AVAIL_DATA.into()) > FILES_WAKEUP_BYTES;
        let flags = if is_full { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        let length = core::hint::black_box(length);
        let most = (size_of::<FileRecord>() + FILE_TEXT_MAX) as u32;
        let length = if length > most { most } else { length };
        let ring = addr_of!(FILES).cast_mut();
        if bpf_ringbuf_output(ring.cast(), record.cast(), length.into(), flags.into()) != 0 {
            bump(&LOST, kind::FILE);
        }
    }
}

/// A `struct file` as programs are told apart; [`NO_FILE`] of 0.
#[inline(always)]
pub unsafe fn key(file: u64) -> ProgramKey {
    unsafe { if file == 0 { NO_FILE } else { key_of(probe(file as *const u8, &FILE_INODE)) } }
}

/// The same of a `struct inode`.
#[inline(always)]
pub unsafe fn key_of(inode: *const u8) -> ProgramKey {
    unsafe {
        if inode.is_null() {
            return NO_FILE;
        }
        let filesystem: *const u8 = probe(inode, &INODE_SB);
        ProgramKey { device: probe(filesystem, &SB_DEV), reserved: 0, inode: probe(inode, &INODE_INO) }
    }
}

#[inline(always)]
unsafe fn mount_namespace() -> u32 {
    unsafe {
        let proxy: *const u8 = probe(bpf_get_current_task() as *const u8, &TASK_NSPROXY);
        let mounts: *const u8 = probe(proxy, &NSPROXY_MNT_NS);
        probe(mounts, &MNT_NS_INUM)
    }
}
