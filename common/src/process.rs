//! A process as the helper names it.

use serde::{Deserialize, Serialize};

use crate::{display::Text, time::Timestamp};

/// Names one process for as long as the helper lives, also after the kernel gave its PID to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u64);

/// A process that runs, or that ended less than a minute ago; a quarter of an hour if it opened a watched file and was
/// not expected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The helper's name for it.
    pub id: ProcessId,
    /// The kernel's thread-group id, in the first PID namespace.
    pub pid: u32,
    /// Who started it, if that process is known.
    pub parent_id: Option<ProcessId>,
    /// What to call it: the last part of the executable's path, else the kernel's `comm`.
    pub name: Text,
    /// The executable's absolute path. Empty when nobody could tell.
    pub exe: Text,
    /// The arguments as given at `execve`, the first included.
    pub cmdline: Vec<Text>,
    /// Whether arguments are missing at the end of `cmdline`.
    pub cmdline_truncated: bool,
    /// The real user id.
    pub uid: u32,
    /// The user's name, if the system knows one.
    pub user: Option<Text>,
    /// The systemd unit (service or scope) whose cgroup the process is in.
    pub unit: Option<Text>,
    /// The container's id or name, as far as its cgroup tells.
    pub container: Option<Text>,
    /// The desktop application (its desktop file's name without suffix) that the process belongs to.
    pub application: Option<Text>,
    /// What a person calls that application.
    pub application_name: Option<Text>,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended, if it did.
    pub exited_at: Option<Timestamp>,
    /// The wait status of the process that ended: signal in the low 7 bits, exit code in bits 8–15.
    pub exit_status: Option<i32>,
    /// Bytes sent over all its flows, those that are no longer listed included.
    pub tx_bytes: u64,
    /// Bytes received over all its flows, those that are no longer listed included.
    pub rx_bytes: u64,
}
