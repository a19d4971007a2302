//! Which kernel fields the programs read, and under which name each gets its offset.

use sekhmet_common::kernel::ABSENT;

use super::btf::Btf;

/// Name of the global, struct, path of the field in it; other paths for other kernels follow a `|`.
const FIELDS: &[(&str, &str, &str)] = &[
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_FLAGS", "task_struct", "flags"),
    ("TASK_GROUP_LEADER", "task_struct", "group_leader"),
    ("TASK_START_BOOTTIME", "task_struct", "start_boottime"),
    ("TASK_REAL_PARENT", "task_struct", "real_parent"),
    ("TASK_COMM", "task_struct", "comm"),
    ("TASK_MM", "task_struct", "mm"),
    ("TASK_CRED", "task_struct", "cred"),
    ("TASK_EXIT_CODE", "task_struct", "exit_code"),
    ("TASK_SELF_EXEC_ID", "task_struct", "self_exec_id"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("TASK_NSPROXY", "task_struct", "nsproxy"),
    ("TASK_THREAD_PID", "task_struct", "thread_pid"),
    ("TASK_CGROUPS", "task_struct", "cgroups"),
    ("CSS_SET_DFL_CGRP", "css_set", "dfl_cgrp"),
    ("CGROUP_KN", "cgroup", "kn"),
    ("KERNFS_NODE_ID", "kernfs_node", "id"),
    ("CRED_UID", "cred", "uid"),
    ("CRED_EUID", "cred", "euid"),
    ("CRED_SUID", "cred", "suid"),
    ("CRED_FSUID", "cred", "fsuid"),
    ("CRED_GID", "cred", "gid"),
    ("NSPROXY_MNT_NS", "nsproxy", "mnt_ns"),
    ("NSPROXY_NET_NS", "nsproxy", "net_ns"),
    ("MNT_NS_INUM", "mnt_namespace", "ns.inum"),
    ("NET_INUM", "net", "ns.inum"),
    ("PID_NS_INUM", "pid_namespace", "ns.inum"),
    ("PID_LEVEL", "pid", "level"),
    ("PID_NUMBERS", "pid", "numbers"),
    ("UPID_NR", "upid", "nr"),
    ("UPID_NS", "upid", "ns"),
    ("SIGNAL_LIVE", "signal_struct", "live"),
    ("SIGNAL_FLAGS", "signal_struct", "flags"),
    ("SIGNAL_GROUP_EXIT_CODE", "signal_struct", "group_exit_code"),
    ("MM_ARG_START", "mm_struct", "arg_start"),
    ("MM_ARG_END", "mm_struct", "arg_end"),
    ("BPRM_FILENAME", "linux_binprm", "filename"),
    ("MM_EXE_FILE", "mm_struct", "exe_file"),
    ("FILE_INODE", "file", "f_inode"),
    ("INODE_INO", "inode", "i_ino"),
    ("INODE_SB", "inode", "i_sb"),
    ("INODE_NLINK", "inode", "i_nlink"),
    ("SB_DEV", "super_block", "s_dev"),
    ("SKC_FAMILY", "sock_common", "skc_family"),
    ("SKC_STATE", "sock_common", "skc_state"),
    ("SKC_DADDR", "sock_common", "skc_daddr"),
    ("SKC_DPORT", "sock_common", "skc_dport"),
    ("SKC_NUM", "sock_common", "skc_num"),
    ("SKC_RCV_SADDR", "sock_common", "skc_rcv_saddr"),
    ("SKC_V6_DADDR", "sock_common", "skc_v6_daddr"),
    ("SKC_V6_RCV_SADDR", "sock_common", "skc_v6_rcv_saddr"),
    ("SKC_NET", "sock_common", "skc_net.net"),
    ("SKC_FLAGS", "sock_common", "skc_flags"),
    ("SK_PROTOCOL", "sock", "sk_protocol"),
    ("SK_TYPE", "sock", "sk_type"),
    ("SK_ERR", "sock", "sk_err"),
    ("SK_MARK", "sock", "sk_mark"),
    ("TP_INET_SPORT", "tcp_sock", "inet_conn.icsk_inet.inet_sport"),
    ("TP_BYTES_SENT", "tcp_sock", "bytes_sent"),
    ("TP_BYTES_RETRANS", "tcp_sock", "bytes_retrans"),
    ("TP_BYTES_RECEIVED", "tcp_sock", "bytes_received"),
    ("TP_SEGS_OUT", "tcp_sock", "segs_out"),
    ("TP_SEGS_IN", "tcp_sock", "segs_in"),
    ("SOCKET_SK", "socket", "sk"),
    ("TASK_FILES", "task_struct", "files"),
    ("TASK_FS", "task_struct", "fs"),
    ("TASK_STACK", "task_struct", "stack"),
    ("FILES_FDT", "files_struct", "fdt"),
    ("FDT_FD", "fdtable", "fd"),
    ("FS_ROOT", "fs_struct", "root"),
    ("FS_PWD", "fs_struct", "pwd"),
    ("FILE_PATH", "file", "f_path"),
    ("FILE_FLAGS", "file", "f_flags"),
    ("DENTRY_PARENT", "dentry", "d_parent"),
    ("DENTRY_NAME", "dentry", "d_name"),
    // Another name since Linux 6.15.
    ("DENTRY_INAME", "dentry", "d_iname|d_shortname"),
    ("DENTRY_INODE", "dentry", "d_inode"),
    ("OPEN_FLAGS", "open_flags", "open_flag"),
    ("OPEN_LOOKUP", "open_flags", "lookup_flags"),
    ("FILENAME_NAME", "filename", "name"),
    ("IO_OPCODE", "io_kiocb", "opcode"),
    ("MOUNT_PARENT", "mount", "mnt_parent"),
    ("MOUNT_MOUNTPOINT", "mount", "mnt_mountpoint"),
    ("MOUNT_MNT", "mount", "mnt"),
    ("MNT_ROOT", "vfsmount", "mnt_root"),
];

/// Sizes that the programs need.
const SIZES: &[(&str, &str)] = &[("UPID_SIZE", "upid"), ("REGS_SIZE", "pt_regs")];

/// Where the first four arguments of a system call are, also when it returns.
#[cfg(target_arch = "x86_64")]
const ARGUMENTS: [(&str, &str, u32); 4] =
    [("REGS_0", "di", 0), ("REGS_1", "si", 0), ("REGS_2", "dx", 0), ("REGS_3", "r10", 0)];
#[cfg(not(target_arch = "x86_64"))]
const ARGUMENTS: [(&str, &str, u32); 4] =
    [("REGS_0", "orig_x0", 0), ("REGS_1", "regs", 8), ("REGS_2", "regs", 16), ("REGS_3", "regs", 24)];

/// Helpers that programs use where they are there: the global that says so, and the helper's function.
const HELPERS: [(&str, &str); 3] = [
    ("HAVE_TYPED_TASK", "bpf_get_current_task_btf"),
    ("HAVE_TASK_REGS", "bpf_task_pt_regs"),
    ("HAVE_LOOP", "bpf_loop"),
];

/// Every global with its value for one kernel; [`ABSENT`] for what that kernel does not have. A program that
/// reads an absent field is refused by the verifier, the others are not concerned.
pub(super) fn resolve(btf: &Btf<'_>) -> Vec<(&'static str, u32)> {
    let any = |structure, paths: &str| paths.split('|').find_map(|path| btf.offset(structure, path));
    let fields = FIELDS.iter().map(|(global, structure, paths)| (*global, any(structure, paths)));
    let argument = |field, more| Some(btf.offset("pt_regs", field)? + more);
    let arguments = ARGUMENTS.map(|(global, field, more)| (global, argument(field, more)));
    let sizes = SIZES.iter().map(|(global, structure)| (*global, btf.size(structure)));
    let helpers = HELPERS.map(|(global, helper)| (global, Some(u32::from(btf.parameters(helper).is_some()))));
    fields
        .chain(sizes)
        .chain(arguments)
        .chain(helpers)
        .map(|(global, value)| (global, value.unwrap_or(ABSENT)))
        .collect()
}

/// Fields without which no source of opened files can work: those are read by address, so the verifier takes any
/// offset.
const FILES: [&str; 19] = [
    "TASK_FILES",
    "TASK_FS",
    "FILES_FDT",
    "FDT_FD",
    "FS_ROOT",
    "FS_PWD",
    "FILE_PATH",
    "FILE_FLAGS",
    "DENTRY_PARENT",
    "DENTRY_NAME",
    "DENTRY_INAME",
    "MOUNT_PARENT",
    "MOUNT_MOUNTPOINT",
    "MOUNT_MNT",
    "MNT_ROOT",
    "OPEN_FLAGS",
    "OPEN_LOOKUP",
    "FILENAME_NAME",
    "REGS_1",
];

/// The first field that the sources of opened files miss on this kernel.
pub(super) fn lacking_for_files(resolved: &[(&'static str, u32)]) -> Option<&'static str> {
    let has = |name: &str| resolved.iter().any(|(global, value)| *global == name && *value != ABSENT);
    FILES.into_iter().find(|name| !has(name))
}

#[cfg(test)]
mod tests {
    use super::{super::btf, *};

    #[test]
    fn the_running_kernel_has_every_field() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel shows no type information");
            return;
        };
        let missing: Vec<_> =
            resolve(&btf::parse(&bytes).unwrap()).into_iter().filter(|(_, value)| *value == ABSENT).collect();
        assert_eq!(missing, []);
    }

    #[test]
    fn a_kernel_without_a_field_has_no_source_of_files() {
        let mut all: Vec<_> = FILES.into_iter().map(|name| (name, 8)).collect();
        assert_eq!(lacking_for_files(&all), None);
        all[3].1 = ABSENT;
        assert_eq!(lacking_for_files(&all), Some(FILES[3]));
        assert!(FILES.iter().all(|name| {
            FIELDS.iter().any(|(global, ..)| global == name)
                || ARGUMENTS.iter().any(|(global, ..)| global == name)
        }));
    }
}
