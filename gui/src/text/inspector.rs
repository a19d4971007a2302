//! The sentences under the name in the inspector.

/// The row of the kernel.
pub const KERNEL: &str = "Sockets that belong to no process.";
/// A socket of the kernel.
pub const KERNEL_SOCKET: &str = "A socket of the kernel itself.";
/// A flow whose protocol is not known.
pub const CONNECTION: &str = "connection";

/// The title, for those who hear it.
pub fn title(name: &str) -> String {
    format!("Inspector: {name}")
}

/// A remote host and where its name comes from.
pub fn host(of: &str, source: &str) -> String {
    format!("Remote host of {of}, {source}.")
}

/// A connection between two.
pub fn connection(protocol: &str, of: &str, host: &str) -> String {
    format!("{protocol} between {of} and {host}.")
}

/// What may not be seen in detail.
pub fn others(processes: u64) -> String {
    let processes = super::processes(usize::try_from(processes).unwrap_or(usize::MAX));
    format!(
        "{processes} of other users and of the system. Their details need an administrator's confirmation."
    )
}

/// A program and how much of it runs.
pub fn group(kind: &str, running: usize) -> String {
    format!("{} with {} running.", super::sentence_case(kind), super::processes(running))
}

/// Values that the processes of a program do not have in common.
pub fn different(n: usize) -> String {
    format!("{n} different")
}

/// A user without a name.
pub fn uid(uid: u32) -> String {
    format!("uid {uid}")
}

/// A chip of the ancestry, for those who hear it.
pub fn started_by(name: &str) -> String {
    format!("Started by {name}")
}
