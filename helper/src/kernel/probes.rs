//! The one table of probes: what hooks where, since when, what for, and what stands in for it.

use std::fmt;

use sekhmet_common::{
    coverage::{Source, SourceStatus, capability},
    display::Text,
};

/// How a program meets the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint with typed arguments (`tp_btf`).
    Tracepoint(&'static str),
    /// The first of two such tracepoints that this kernel has: one was renamed.
    EitherTracepoint([&'static str; 2]),
    /// The return of a kernel function, with its arguments (`fexit`).
    Exit(&'static str),
    /// The beginning or the return of a kernel function (`kprobe`).
    Probe {
        /// Which function.
        function: &'static str,
        /// Its return.
        at_return: bool,
    },
    /// Creation and release of sockets, at the root of the cgroup-v2 tree.
    CgroupSocket(&'static str),
    /// Addresses that programs connect or send to, at the root of the cgroup-v2 tree.
    CgroupAddress(&'static str),
    /// Packets of sockets, at the root of the cgroup-v2 tree.
    CgroupPacket {
        /// Packets that leave; otherwise packets that arrive.
        egress: bool,
    },
    /// Tracepoints without types, reached through their numbers in one group of them.
    Perf {
        /// The group.
        group: &'static str,
        /// The tracepoints; a machine may lack some.
        names: &'static [&'static str],
    },
    /// An iterator over a kind of kernel objects.
    Iterator(&'static str),
    /// The iterator over the sockets in a storage map.
    StorageIterator {
        /// Name of the map.
        map: &'static str,
    },
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracepoint(name) | Self::EitherTracepoint([name, _]) => write!(f, "tp_btf {name}"),
            Self::Exit(function) => write!(f, "fexit {function}"),
            Self::Probe { function, at_return: true } => write!(f, "kretprobe {function}"),
            Self::Probe { function, at_return: false } => write!(f, "kprobe {function}"),
            Self::CgroupSocket(name) | Self::CgroupAddress(name) => write!(f, "cgroup/{name}"),
            Self::CgroupPacket { egress: true } => write!(f, "cgroup_skb/egress"),
            Self::CgroupPacket { egress: false } => write!(f, "cgroup_skb/ingress"),
            Self::Perf { group, names } => write!(f, "tracepoint {group}:{}", names.join(", ")),
            Self::Iterator(name) => write!(f, "iter/{name}"),
            Self::StorageIterator { .. } => write!(f, "iter/bpf_sk_storage_map"),
        }
    }
}

/// One program and all that is to know about its hook.
#[derive(Debug)]
pub struct Probe {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Where it hooks.
    pub hook: Hook,
    /// The first kernel on which it can work.
    pub since: &'static str,
    /// What it is for, in two or three words.
    pub capability: &'static str,
    /// What sees (part of) the same if it cannot be attached; empty for nothing.
    pub replacement: &'static str,
    /// What is missed then.
    pub cost: &'static str,
}

/// Every probe, in the order in which they are attached: owners before what needs them.
pub static PROBES: [Probe; 19] = [
    Probe {
        program: "socket_create",
        hook: Hook::CgroupSocket("sock_create"),
        since: "5.10",
        capability: "socket owner",
        replacement: "",
        cost: "new sockets have no owner, and their packets are not counted",
    },
    Probe {
        program: "process_fork",
        hook: Hook::Tracepoint("sched_process_fork"),
        since: "5.5",
        capability: "process start",
        replacement: "tp_btf sched_process_exec",
        cost: "processes that never execute a program are missed",
    },
    Probe {
        program: "process_exec",
        hook: Hook::Tracepoint("sched_process_exec"),
        since: "5.8",
        capability: "program start",
        replacement: "",
        cost: "programs have no name and no arguments",
    },
    Probe {
        program: "process_exit",
        hook: Hook::Tracepoint("sched_process_exit"),
        since: "5.5",
        capability: "process end",
        replacement: "",
        cost: "processes seem to run for ever",
    },
    Probe {
        program: "tcp_state",
        hook: Hook::Tracepoint("inet_sock_set_state"),
        since: "5.12",
        capability: "TCP connections",
        replacement: "iter/bpf_sk_storage_map",
        cost: "connections that live shorter than a poll are missed, and so is the reason of their end",
    },
    Probe {
        // After the one above, so that it is called after it.
        program: "tcp_state_again",
        hook: Hook::Tracepoint("inet_sock_set_state"),
        since: "5.12",
        capability: "TCP, no gaps",
        replacement: "tp_btf inet_sock_set_state alone",
        cost: "some of very many connections begin or end unnoticed; how many is counted as lost",
    },
    Probe {
        program: "packet_out",
        hook: Hook::CgroupPacket { egress: true },
        since: "5.2",
        capability: "UDP and raw sent",
        replacement: "",
        cost: "bytes sent over UDP, ICMP and raw sockets are not counted",
    },
    Probe {
        program: "packet_in",
        hook: Hook::CgroupPacket { egress: false },
        since: "5.2",
        capability: "UDP and raw received",
        replacement: "",
        cost: "bytes received over UDP, ICMP and raw sockets are not counted",
    },
    Probe {
        program: "socket_release",
        hook: Hook::CgroupSocket("sock_release"),
        since: "5.9",
        capability: "socket end",
        replacement: "iter/bpf_sk_storage_map",
        cost: "ends of UDP sockets are noticed two polls later, and what passed since the last poll is not",
    },
    Probe {
        program: "dump_sockets",
        hook: Hook::StorageIterator { map: "SOCKETS" },
        since: "5.10",
        capability: "TCP counters",
        replacement: "tp_btf inet_sock_set_state",
        cost: "bytes of a TCP connection are known at its end only",
    },
    Probe {
        program: "seed_tasks",
        hook: Hook::Iterator("task"),
        since: "5.8",
        capability: "earlier processes",
        replacement: "",
        cost: "processes older than the helper are unknown until they execute a program",
    },
    Probe {
        program: "seed_sockets",
        hook: Hook::Iterator("task_file"),
        since: "5.11",
        capability: "earlier sockets",
        replacement: "",
        cost: "connections older than the helper are not seen",
    },
    Probe {
        program: "connect4",
        hook: Hook::CgroupAddress("connect4"),
        since: "5.10",
        capability: "blocking IPv4",
        replacement: "",
        cost: "processes cannot be blocked",
    },
    Probe {
        program: "connect6",
        hook: Hook::CgroupAddress("connect6"),
        since: "5.10",
        capability: "blocking IPv6",
        replacement: "",
        cost: "processes cannot be blocked",
    },
    Probe {
        program: "sendmsg4",
        hook: Hook::CgroupAddress("sendmsg4"),
        since: "5.15",
        capability: "blocking shared IPv4 datagrams",
        replacement: "cgroup_skb/egress",
        cost: "a blocked process can send through a UDP socket that another one made for it after the block",
    },
    Probe {
        program: "sendmsg6",
        hook: Hook::CgroupAddress("sendmsg6"),
        since: "5.15",
        capability: "blocking shared IPv6 datagrams",
        replacement: "cgroup_skb/egress",
        cost: "a blocked process can send through a UDP socket that another one made for it after the block",
    },
    Probe {
        program: "cover_held",
        hook: Hook::Iterator("task_file"),
        since: "5.11",
        capability: "blocking open sockets",
        replacement: "",
        cost: "sockets that are open when a block begins are not blocked",
    },
    Probe {
        program: "cover_owned",
        hook: Hook::StorageIterator { map: "SOCKETS" },
        since: "5.11",
        capability: "blocking unlisted sockets",
        replacement: "iter/task_file",
        cost: "sockets of io_uring that are open when a block begins are not blocked",
    },
    Probe {
        program: "name_files",
        hook: Hook::Iterator("task_file"),
        since: "5.8",
        capability: "programs by file",
        replacement: "stat(2)",
        cost: "blocked programs are not recognised on file systems with device numbers of their own",
    },
];

/// The probes of opened and changed files. Unlike the others they are ways to see the same: the best that works is
/// used, see [`FileProbe`](super::files::FileProbe).
pub(super) static FILE_PROBES: [Probe; 15] = [
    Probe {
        program: "file_looked_up",
        hook: Hook::Exit("do_filp_open"),
        since: "5.8",
        capability: capability::WATCHED_FILES,
        replacement: "kprobe do_filp_open",
        cost: "",
    },
    Probe {
        program: "file_lookup_ends",
        hook: Hook::Probe { function: "do_filp_open", at_return: true },
        since: "5.8",
        capability: capability::WATCHED_FILES,
        replacement: "tracepoint syscalls",
        cost: "opens by io_uring are counted only, and those by 32-bit programs are not seen",
    },
    Probe {
        // After the one above: what begins is kept until it ends.
        program: "file_lookup_begins",
        hook: Hook::Probe { function: "do_filp_open", at_return: false },
        since: "5.8",
        capability: capability::WATCHED_FILES,
        replacement: "tracepoint syscalls",
        cost: "opens by io_uring are counted only, and those by 32-bit programs are not seen",
    },
    Probe {
        program: "file_opened",
        hook: Hook::Perf {
            group: "syscalls",
            names: &["sys_exit_openat", "sys_exit_openat2", "sys_exit_open", "sys_exit_creat"],
        },
        since: "5.8",
        capability: capability::WATCHED_FILES,
        replacement: "",
        cost: "no access to a watched file is seen",
    },
    Probe {
        // Beside the one above.
        program: "file_by_uring",
        hook: Hook::EitherTracepoint(["io_uring_submit_req", "io_uring_submit_sqe"]),
        since: "6.0",
        capability: "opens by io_uring",
        replacement: "",
        cost: "opens by io_uring are not counted",
    },
    Probe {
        program: "file_changed",
        hook: Hook::Perf {
            group: "syscalls",
            names: &[
                "sys_exit_unlinkat",
                "sys_exit_unlink",
                "sys_exit_renameat2",
                "sys_exit_renameat",
                "sys_exit_rename",
                "sys_exit_fchmodat2",
                "sys_exit_fchmodat",
                "sys_exit_chmod",
                "sys_exit_truncate",
            ],
        },
        since: "5.8",
        capability: CHANGED,
        replacement: "",
        cost: "removals, renames, changes of modes and of lengths that fail are not seen",
    },
    Probe {
        // After the one above: the old name first.
        program: "file_renamed",
        hook: Hook::Perf {
            group: "syscalls",
            names: &["sys_exit_renameat2", "sys_exit_renameat", "sys_exit_rename"],
        },
        since: "5.8",
        capability: CHANGED,
        replacement: "",
        cost: "the new names of renames that fail are not seen",
    },
    change("file_unlink_ends", "vfs_unlink", true),
    change("file_unlink_begins", "security_path_unlink", false),
    change("file_rename_ends", "vfs_rename", true),
    change("file_rename_begins", "security_path_rename", false),
    change("file_chmod_ends", "chmod_common", true),
    change("file_chmod_begins", "security_path_chmod", false),
    change("file_truncate_ends", "vfs_truncate", true),
    change("file_truncate_begins", "vfs_truncate", false),
];

const CHANGED: &str = "changed files";

/// One of the two programs that see a change as the kernel makes it. Those of the end are attached first: what begins
/// is kept until it ends.
const fn change(program: &'static str, function: &'static str, at_return: bool) -> Probe {
    Probe {
        program,
        hook: Hook::Probe { function, at_return },
        since: "5.8",
        capability: CHANGED,
        replacement: "tracepoint syscalls",
        cost: "changes by io_uring and by 32-bit programs are not seen, and paths are those that were asked for",
    }
}

/// What became of a probe.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which probe.
    pub probe: &'static Probe,
    /// Why the kernel refused it, if it did.
    pub refused: Option<String>,
    /// Instructions that the verifier walked through, where the kernel tells (since Linux 5.16).
    pub verified_instructions: Option<u32>,
}

impl Outcome {
    /// Not even tried.
    pub(super) fn refused(probe: &'static Probe, why: String) -> Self {
        Self { probe, refused: Some(why), verified_instructions: None }
    }

    /// Whether it is at work.
    pub fn attached(&self) -> bool {
        self.refused.is_none()
    }

    /// Whether this is the program of that name.
    pub fn is(&self, program: &str) -> bool {
        self.probe.program == program
    }

    /// The line for the coverage panel. `missed` is how many events the kernel did not run the program for.
    pub fn source(&self, missed: u64) -> Source {
        let Probe { capability, hook, replacement, cost, .. } = *self.probe;
        let (source, status, cost) = match (&self.refused, replacement) {
            (None, _) if missed > 0 => (hook.to_string(), SourceStatus::Reduced, lost(missed)),
            (None, _) => (hook.to_string(), SourceStatus::Best, String::new()),
            (Some(_), "") => (String::new(), SourceStatus::Missing, cost.to_owned()),
            (Some(_), _) => (replacement.to_owned(), SourceStatus::Reduced, cost.to_owned()),
        };
        let reason = self.refused.clone().unwrap_or_default();
        Source {
            capability: Text::from(capability),
            source: Text::from(source),
            status,
            cost: Text::from(cost),
            reason: Text::from(reason),
        }
    }
}

fn lost(missed: u64) -> String {
    format!("{missed} events were lost: the kernel does not run a program that is at work already")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_they_cost() {
        let refused =
            |probe| Outcome { probe, refused: Some("no".into()), verified_instructions: None }.source(0);
        let by_name = |name| PROBES.iter().find(|p| p.program == name).unwrap();
        assert_eq!(refused(by_name("packet_in")).status, SourceStatus::Missing);
        let reduced = refused(by_name("tcp_state"));
        assert_eq!((reduced.status, reduced.reason), (SourceStatus::Reduced, Text::from("no")));
        let works = Outcome { probe: &PROBES[0], refused: None, verified_instructions: None };
        let misses = works.source(12);
        assert_eq!(misses.status, SourceStatus::Reduced);
        assert!(misses.cost.to_string().starts_with("12 events were lost"), "{misses:?}");
        let works = works.source(0);
        assert_eq!((works.status, works.source), (SourceStatus::Best, Text::from("cgroup/sock_create")));
    }
}
