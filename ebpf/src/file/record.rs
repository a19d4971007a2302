//! The record of an access, put together and handed to the ring of files.

use core::ptr::{addr_of, addr_of_mut, read_volatile};

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

/// Tells an access. Its operation, state, flags, error and the length of what was asked for are in the scratch's
/// record already, the file and both texts beside it.
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn emit(scratch: *mut FileScratch) {
    unsafe {
        let record = addr_of_mut!((*scratch).record);
        let end = read_volatile(addr_of!((*scratch).end));
        let length = size_of::<FileRecord>() as u32 + end;
        addr_of_mut!((*record).header).write(Header { kind: kind::FILE, length, at_ns: ring::now() });
        addr_of_mut!((*record).process).write(task::current_key());
        addr_of_mut!((*record).file).write(key(read_volatile(addr_of!((*scratch).file))));
        addr_of_mut!((*record).mount_ns).write(mount_namespace());
        let asked = read_volatile(addr_of!((*record).asked_length));
        addr_of_mut!((*record).parts_length).write(end - asked);
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

/// Which file, as programs are told apart.
#[inline(always)]
unsafe fn key(file: u64) -> ProgramKey {
    unsafe {
        if file == 0 {
            return ProgramKey { device: 0, reserved: 0, inode: 0 };
        }
        let inode: *const u8 = probe(file as *const u8, &FILE_INODE);
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
