//! What a task says about its process.
//!
//! Pointers are followed by address. Where the verifier knows the type of what it follows, Linux 6.2 to 6.18 search all
//! names of the kernel's types several times for each step: a helper that is started would wait for that.

use core::ptr::addr_of_mut;

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_probe_read_kernel};
use sekhmet_common::kernel::{Namespaces, ProcessKey, ProgramKey, Task, Uids, task_flag};

use crate::offsets::*;

/// `PF_KTHREAD` (`include/linux/sched.h`).
const PF_KTHREAD: u32 = 0x0020_0000;

/// The process of a task.
#[inline(always)]
pub unsafe fn key(task: *const u8) -> ProcessKey {
    unsafe {
        let leader: *const u8 = probe(task, &TASK_GROUP_LEADER);
        ProcessKey {
            tgid: probe(task, &TASK_TGID),
            reserved: 0,
            start_ns: probe(leader, &TASK_START_BOOTTIME),
        }
    }
}

/// The current process, from programs that know no types; zero for a thread of the kernel.
#[inline(always)]
pub fn current_key() -> ProcessKey {
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        if probe::<u32>(task, &TASK_FLAGS) & PF_KTHREAD != 0 {
            return ProcessKey { tgid: 0, reserved: 0, start_ns: 0 };
        }
        key(task)
    }
}

/// Inode number of the current task's network namespace, from programs that know no types.
#[inline(always)]
pub fn current_net_ns() -> u32 {
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        let proxy: *const u8 = probe(task, &TASK_NSPROXY);
        let net: *const u8 = probe(proxy, &NSPROXY_NET_NS);
        probe(net, &NET_INUM)
    }
}

/// Whether the task is a thread of the kernel.
#[inline(always)]
pub unsafe fn is_kernel(task: *const u8) -> bool {
    unsafe { read::<u32>(task, &TASK_FLAGS) & PF_KTHREAD != 0 }
}

/// Writes all that is known of a task's process.
///
/// # Safety
/// The verifier knows `task` as a `task_struct`; `out` is room for a `Task`.
#[inline(always)]
pub unsafe fn fill(out: *mut Task, task: *const u8) {
    unsafe {
        addr_of_mut!((*out).process).write(key(task));
        let parent: *const u8 = probe(task, &TASK_REAL_PARENT);
        addr_of_mut!((*out).parent).write(key(parent));
        addr_of_mut!((*out).exec_id).write(read(task, &TASK_SELF_EXEC_ID));
        addr_of_mut!((*out).cgroup_id).write(cgroup(task));
        addr_of_mut!((*out).program).write(program(task));
        addr_of_mut!((*out).uids).write(uids(task));
        let (pid_ns, ns_tgid) = pid_namespace(task);
        addr_of_mut!((*out).namespaces).write(Namespaces { pid: pid_ns, ..namespaces(task) });
        addr_of_mut!((*out).ns_tgid).write(ns_tgid);
        addr_of_mut!((*out).flags).write(if is_kernel(task) { task_flag::KERNEL } else { 0 });
        // By helper: as a typed read, 16 bytes would become 16 instructions.
        let comm = task.wrapping_add(TASK_COMM.load() as usize);
        bpf_probe_read_kernel(addr_of_mut!((*out).comm).cast(), 16, comm.cast());
    }
}

#[inline(always)]
unsafe fn cgroup(task: *const u8) -> u64 {
    unsafe {
        let set: *const u8 = probe(task, &TASK_CGROUPS);
        let group: *const u8 = probe(set, &CSS_SET_DFL_CGRP);
        let node: *const u8 = probe(group, &CGROUP_KN);
        probe(node, &KERNFS_NODE_ID)
    }
}

/// The file that a process executes. A thread of the kernel has no memory, and a process that is ending has none
/// any more; the reads then give 0.
///
/// # Safety
/// `task` is the address of a `task_struct`.
#[inline(always)]
pub unsafe fn program(task: *const u8) -> ProgramKey {
    unsafe {
        let memory: *const u8 = probe(task, &TASK_MM);
        file(probe(memory, &MM_EXE_FILE))
    }
}

/// A file as programs are told apart.
///
/// # Safety
/// `file` is the address of a `struct file`.
#[inline(always)]
pub unsafe fn file(file: *const u8) -> ProgramKey {
    unsafe {
        let inode: *const u8 = probe(file, &FILE_INODE);
        let filesystem: *const u8 = probe(inode, &INODE_SB);
        ProgramKey { device: probe(filesystem, &SB_DEV), reserved: 0, inode: probe(inode, &INODE_INO) }
    }
}

#[inline(always)]
unsafe fn uids(task: *const u8) -> Uids {
    unsafe {
        let cred: *const u8 = probe(task, &TASK_CRED);
        Uids {
            uid: probe(cred, &CRED_UID),
            euid: probe(cred, &CRED_EUID),
            suid: probe(cred, &CRED_SUID),
            fsuid: probe(cred, &CRED_FSUID),
            gid: probe(cred, &CRED_GID),
        }
    }
}

/// A process that is ending has no `nsproxy` any more; the reads then give 0.
#[inline(always)]
unsafe fn namespaces(task: *const u8) -> Namespaces {
    unsafe {
        let proxy: *const u8 = probe(task, &TASK_NSPROXY);
        let mnt: *const u8 = probe(proxy, &NSPROXY_MNT_NS);
        let net: *const u8 = probe(proxy, &NSPROXY_NET_NS);
        Namespaces { pid: 0, mnt: probe(mnt, &MNT_NS_INUM), net: probe(net, &NET_INUM) }
    }
}

/// The task's own PID namespace and its number in there.
///
/// `struct pid` ends in an array with one entry per nesting level. Older verifiers take no arithmetic with a
/// variable on a typed pointer, hence by plain addresses. (`nsproxy` has the namespace of future children only.)
#[inline(always)]
unsafe fn pid_namespace(task: *const u8) -> (u32, u32) {
    unsafe {
        let pid: *const u8 = probe(task, &TASK_THREAD_PID);
        let level: u32 = probe(pid, &PID_LEVEL);
        let start = PID_NUMBERS.load() as usize + (level & 0x3f) as usize * UPID_SIZE.load() as usize;
        let entry = pid.wrapping_add(start);
        let namespace: *const u8 = probe(entry, &UPID_NS);
        (probe(namespace, &PID_NS_INUM), probe(entry, &UPID_NR))
    }
}
