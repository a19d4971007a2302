//! Offsets of kernel fields, resolved by the loader, and the reads that use them.
//!
//! Each is a read-only global under its own name. The verifier takes frozen globals for constants, so a read
//! stays a typed access that the kernel checks at load time. All start as [`ABSENT`]: a name that the loader
//! forgot is refused by the verifier instead of reading the wrong field.

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use sekhmet_common::kernel::ABSENT;

macro_rules! offsets {
    ($($name:ident),* $(,)?) => { $( #[unsafe(no_mangle)] pub static $name: Global<u32> = Global::new(ABSENT); )* };
}

offsets!(
    // task_struct
    TASK_TGID,
    TASK_PID,
    TASK_FLAGS,
    TASK_GROUP_LEADER,
    TASK_START_BOOTTIME,
    TASK_REAL_PARENT,
    TASK_COMM,
    TASK_MM,
    TASK_CRED,
    TASK_EXIT_CODE,
    TASK_SELF_EXEC_ID,
    TASK_SIGNAL,
    TASK_NSPROXY,
    TASK_THREAD_PID,
    TASK_CGROUPS,
    // what hangs on it
    CSS_SET_DFL_CGRP,
    CGROUP_KN,
    KERNFS_NODE_ID,
    CRED_UID,
    CRED_EUID,
    CRED_SUID,
    CRED_FSUID,
    CRED_GID,
    NSPROXY_MNT_NS,
    NSPROXY_NET_NS,
    MNT_NS_INUM,
    NET_INUM,
    PID_NS_INUM,
    PID_LEVEL,
    PID_NUMBERS,
    UPID_NR,
    UPID_NS,
    UPID_SIZE,
    SIGNAL_LIVE,
    SIGNAL_FLAGS,
    SIGNAL_GROUP_EXIT_CODE,
    MM_ARG_START,
    MM_ARG_END,
    BPRM_FILENAME,
    MM_EXE_FILE,
    FILE_INODE,
    INODE_INO,
    INODE_SB,
    INODE_NLINK,
    SB_DEV,
    // sock_common, sock, inet_sock, tcp_sock
    SKC_FAMILY,
    SKC_STATE,
    SKC_DADDR,
    SKC_DPORT,
    SKC_NUM,
    SKC_RCV_SADDR,
    SKC_V6_DADDR,
    SKC_V6_RCV_SADDR,
    SKC_NET,
    SKC_FLAGS,
    SK_PROTOCOL,
    SK_TYPE,
    SK_ERR,
    SK_MARK,
    TP_INET_SPORT,
    TP_BYTES_SENT,
    TP_BYTES_RETRANS,
    TP_BYTES_RECEIVED,
    TP_SEGS_OUT,
    TP_SEGS_IN,
    SOCKET_SK,
    // files
    TASK_FILES,
    TASK_FS,
    TASK_STACK,
    FILES_FDT,
    FDT_FD,
    FS_ROOT,
    FS_PWD,
    FILE_PATH,
    FILE_FLAGS,
    DENTRY_PARENT,
    DENTRY_NAME,
    DENTRY_INAME,
    DENTRY_INODE,
    MOUNT_PARENT,
    MOUNT_MOUNTPOINT,
    MOUNT_MNT,
    MNT_ROOT,
    OPEN_FLAGS,
    OPEN_LOOKUP,
    FILENAME_NAME,
    IO_OPCODE,
    REGS_0,
    REGS_1,
    REGS_2,
    REGS_3,
    REGS_SIZE,
);

/// Reads a field through a pointer whose type the verifier knows (tp_btf, iterators).
///
/// # Safety
/// `base` came from the program's context, or from such a read, and points to the struct of `offset`.
#[inline(always)]
pub unsafe fn read<T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    // wrapping_add: plain `add` lets LLVM assume that the sum stays inside an object it knows.
    unsafe { core::ptr::read_volatile(base.wrapping_add(offset.load() as usize).cast()) }
}

/// Reads a field through any kernel address; zero if that is not mapped.
///
/// # Safety
/// `T` is made of integers, for which all zero is a value.
#[inline(always)]
pub unsafe fn probe<T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    unsafe { probe_at(base.wrapping_add(offset.load() as usize)) }
}

/// As [`probe`], from the address itself.
///
/// # Safety
/// As [`probe`].
#[inline(always)]
pub unsafe fn probe_at<T: Copy>(address: *const u8) -> T {
    // Not zeroed: for more than a word LLVM would call `memset`, and the helper zeroes the target when it fails.
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address.cast());
        value.assume_init()
    }
}
