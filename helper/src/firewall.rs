//! The firewall edge: one table that acts on the marks which the kernel programs put on sockets.
//!
//! The table is the same whatever the rules are: nothing is sent to the firewall when a rule comes or goes.
//! This edge makes the table, sees that it stays, hands it over to the next helper, counts, and reads which
//! packets it refused.

mod coverage;
mod library;
mod memory;
mod netlink;
mod nft;
mod packet;
mod refusals;
mod report;
mod skeleton;
mod table;

use std::{collections::BTreeMap, io, os::fd::BorrowedFd};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    kernel::mark::Mark,
    time::Timestamp,
};

pub use self::{
    coverage::sources,
    memory::MemoryFirewall,
    nft::NftFirewall,
    packet::{Packet, read_packets},
    refusals::{Batch, Reader, Refusals, start},
    table::Watch,
};

/// What the firewall does for the helper.
pub trait Firewall: Send {
    /// Puts the table in force, in one transaction with the end of a former one of ours. Without effect on
    /// packets that carry no mark. What this machine cannot do is left out, as the shape says.
    ///
    /// # Errors
    /// [`Error::Foreign`] if another process owns a table of that name; else why the system refuses.
    fn install(&mut self) -> Result<Shape, Error>;

    /// Whether the table is in force as it was installed.
    ///
    /// # Errors
    /// When the system does not answer.
    fn check(&mut self) -> Result<State, Error>;

    /// Takes the table away: nothing is refused afterwards, whatever the marks say. Without a table, nothing.
    ///
    /// # Errors
    /// When the system refuses.
    fn release(&mut self) -> Result<(), Error>;

    /// What was refused since the table was installed, by this helper or one before it.
    ///
    /// # Errors
    /// When the system does not answer, or there is no table.
    fn counters(&mut self) -> Result<Counters, Error>;

    /// The socket that owns the table, to be kept by the service manager: the table is there as long as a copy of
    /// it is open. Nothing if tables of this kind have no owners.
    fn owner(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// How firmly the table is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Only this helper can change it (Linux 5.12, nftables 0.9.9).
    Owned,
    /// Any privileged process can change it: it is watched with [`Watch`] and put back.
    Shared,
}

/// What the table does here. Each shape of [`Shape::ALL`] is tried until the machine takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How firmly it is held.
    pub hold: Hold,
    /// Whether refused packets are logged (nfnetlink_log); they are counted in any case.
    pub logs: bool,
    /// Whether what is sent to marked sockets is refused (nft_socket), or only what they send.
    pub inbound: bool,
}

impl Shape {
    /// The best first.
    pub const ALL: [Self; 8] = [
        Self { hold: Hold::Owned, logs: true, inbound: true },
        Self { hold: Hold::Owned, logs: false, inbound: true },
        Self { hold: Hold::Owned, logs: true, inbound: false },
        Self { hold: Hold::Owned, logs: false, inbound: false },
        Self { hold: Hold::Shared, logs: true, inbound: true },
        Self { hold: Hold::Shared, logs: false, inbound: true },
        Self { hold: Hold::Shared, logs: true, inbound: false },
        Self { hold: Hold::Shared, logs: false, inbound: false },
    ];
}

/// What became of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is in force as it was made.
    Intact,
    /// It is gone.
    Missing,
    /// It is there, but switched off, changed, or made by another version.
    Changed,
    /// Another process owns a table of this name.
    Foreign,
}

/// Packets and bytes, with their IP headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What the table refused, counted in the kernel: exact, also when not every packet was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Outbound, and the sender was told.
    pub outbound_rejected: Count,
    /// Outbound, silently.
    pub outbound_dropped: Count,
    /// Inbound, and the sender was told.
    pub inbound_rejected: Count,
    /// Inbound, silently.
    pub inbound_dropped: Count,
    /// Both directions together, by the rule's number.
    pub by_rule: BTreeMap<u32, Count>,
}

/// A packet that the table refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPacket {
    /// The socket's mark; the rule's number is in it.
    pub mark: Mark,
    /// Which way the packet went.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// This machine's side; port 0 for protocols without ports and for fragments.
    pub local: Endpoint,
    /// The other side.
    pub remote: Endpoint,
    /// The user who made the sending socket, where the kernel knows.
    pub uid: Option<u32>,
    /// When it was read.
    pub at: Timestamp,
}

/// Why the firewall does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libnftables is missing or unusable.
    #[error("libnftables cannot be used: {0}")]
    Library(String),
    /// The kernel refuses nfnetlink: no CAP_NET_ADMIN, or no nf_tables.
    #[error("netlink: {0}")]
    Netlink(#[source] io::Error),
    /// A command failed.
    #[error("nftables refuses: {0}")]
    Refused(String),
    /// The library answered what is no answer.
    #[error("nftables answers what cannot be read: {0}")]
    Unreadable(String),
    /// Another process owns the table `inet sekhmet`.
    #[error("another process owns the table 'inet sekhmet'")]
    Foreign,
}
