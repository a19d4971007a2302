//! Records about the life of processes.

use super::{Header, ProcessKey, ProgramKey};

/// Bytes kept of the path given to `execve`, its end mark included.
pub const FILENAME_MAX: usize = 256;

/// Bytes kept of the arguments.
pub const ARGV_MAX: usize = 1024;

/// Bits of [`Task::flags`].
pub mod task_flag {
    /// A thread of the kernel (`PF_KTHREAD`).
    pub const KERNEL: u32 = 1;
}

/// The user and group ids of a process, in the first user namespace (`struct cred`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uids {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// User id for file access.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
}

/// Inode numbers of namespaces, as `readlink /proc/PID/ns/*` shows them; 0 for one that is already gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// PID namespace.
    pub pid: u32,
    /// Mount namespace.
    pub mnt: u32,
    /// Network namespace.
    pub net: u32,
}

/// A process at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Which process.
    pub process: ProcessKey,
    /// Its real parent.
    pub parent: ProcessKey,
    /// Counts the programs that this process has executed (`task_struct.self_exec_id`, u64 since Linux 5.7).
    pub exec_id: u64,
    /// Inode number of the cgroup-v2 directory.
    pub cgroup_id: u64,
    /// The file that it executes; all 0 for a thread of the kernel.
    pub program: ProgramKey,
    /// Users and group.
    pub uids: Uids,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Thread-group id within its own PID namespace.
    pub ns_tgid: u32,
    /// Bits of [`task_flag`].
    pub flags: u32,
    /// The kernel's name of the task; ends at the first NUL. Written by the process: display only.
    pub comm: [u8; 16],
}

/// A process executed another program (tracepoint `sched_process_exec`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExecRecord {
    /// Kind [`super::kind::EXEC`].
    pub header: Header,
    /// The process, already with its new ids.
    pub task: Task,
    /// Bytes of `filename` in use, its end mark included; 0 if it could not be read.
    pub filename_length: u32,
    /// Bytes of `argv` in use; 0 if they could not be read.
    pub argv_length: u32,
    /// Bytes that the arguments take in the process; more than `argv_length` if they were cut.
    pub argv_full_length: u32,
    /// Always 0.
    pub reserved: u32,
    /// The path as given to `execve` (`linux_binprm.filename`); what lies after `filename_length` is undefined.
    pub filename: [u8; FILENAME_MAX],
    /// The arguments, each ended by NUL; what lies after `argv_length` is undefined.
    pub argv: [u8; ARGV_MAX],
}

/// A process came into being (tracepoint `sched_process_fork`); threads are left out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkRecord {
    /// Kind [`super::kind::FORK`].
    pub header: Header,
    /// The child.
    pub task: Task,
}

/// The last thread of a process ended (tracepoint `sched_process_exit`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// Kind [`super::kind::EXIT`].
    pub header: Header,
    /// Which process.
    pub process: ProcessKey,
    /// Wait status: signal in the low 7 bits, bit 7 for a core dump, exit code in bits 8–15.
    pub status: i32,
    /// Always 0.
    pub reserved: u32,
}
