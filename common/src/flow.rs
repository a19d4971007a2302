//! A flow: what one process exchanges with one remote endpoint over one protocol.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{display::Text, process::ProcessId, time::Timestamp};

/// Names one flow for as long as the helper lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlowId(pub u64);

/// The transport protocol, or what takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, also over MPTCP subflows.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite (RFC 3828).
    Udplite,
    /// ICMP over IPv4.
    Icmp,
    /// ICMP over IPv6.
    Icmp6,
    /// Any other protocol through a raw IP socket.
    Raw,
    /// SCTP.
    Sctp,
    /// Link-layer packets (`AF_PACKET`).
    Packet,
}

impl Protocol {
    /// The protocol with this IP protocol number; [`Protocol::Raw`] for those without a name here.
    pub fn from_ip(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmp6,
            132 => Self::Sctp,
            136 => Self::Udplite,
            _ => Self::Raw,
        }
    }

    /// The word used in every output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Udplite => "udplite",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Raw => "raw",
            Self::Sctp => "sctp",
            Self::Packet => "packet",
        }
    }
}

/// Who spoke first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The remote side opened it.
    Inbound,
    /// This process opened it.
    Outbound,
    /// It was open before anybody watched.
    Unknown,
}

/// Where a flow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// The handshake is under way.
    Opening,
    /// Data may flow.
    Open,
    /// It ended; it stays listed for a minute.
    Closed,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// In order, by either side.
    Closed,
    /// Cut off by a reset.
    Reset,
    /// The remote side refused the connection.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// Quiet for the whole quiet period.
    Aged,
    /// The process ended and the kernel no longer lists the socket.
    Exited,
    /// A rule of ours cut it.
    Blocked,
}

/// An address and a port. The port is 0 where the protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address; an IPv4 address mapped into IPv6 is stored as IPv4.
    pub addr: IpAddr,
    /// The port, 0 for none.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint with the address in its plain form (RFC 4291 §2.5.5.2 mapped addresses become IPv4).
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr: addr.to_canonical(), port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip(), addr.port())
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.addr {
            _ if self.port == 0 => write!(f, "{}", self.addr),
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

/// How far away the remote side of a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// The local network: link-local, private (RFC 1918), unique local (RFC 4193) or multicast addresses.
    Lan,
    /// Everything else.
    Internet,
}

impl Reach {
    /// Judges an address by its range alone.
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            a if a.is_loopback() || a.is_unspecified() => Self::Loopback,
            a if a.is_multicast() => Self::Lan,
            IpAddr::V4(a) if a.is_private() || a.is_link_local() || a.is_broadcast() => Self::Lan,
            IpAddr::V6(a) if a.is_unicast_link_local() || a.is_unique_local() => Self::Lan,
            _ => Self::Internet,
        }
    }
}

/// How a host name became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// An answer to a DNS question of this machine.
    Dns,
    /// The server name in a TLS handshake.
    Tls,
    /// The reverse name of the address.
    Reverse,
}

/// A name for a remote address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteName {
    /// The host name.
    pub name: Text,
    /// How it became known.
    pub source: NameSource,
}

/// Bytes and packets of one flow since it began.
///
/// *Sent* is what was handed to IP, *received* what was delivered to the socket. Bytes are payload: for TCP
/// the stream's bytes without retransmissions, for UDP the datagrams' content, else what follows the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent; segments for TCP.
    pub tx_packets: u64,
    /// Packets received; segments for TCP.
    pub rx_packets: u64,
}

/// A flow that is open, or that ended less than a minute ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The helper's name for it.
    pub id: FlowId,
    /// The process that owns the socket; nothing for a socket of the kernel itself.
    pub process: Option<ProcessId>,
    /// The protocol.
    pub protocol: Protocol,
    /// Who spoke first.
    pub direction: Direction,
    /// This machine's side.
    pub local: Endpoint,
    /// The other side.
    pub remote: Endpoint,
    /// The other side's name, if known.
    pub remote_name: Option<RemoteName>,
    /// Inode number of the network namespace the socket lives in.
    pub net_ns: u32,
    /// Where it is in its life.
    pub state: FlowState,
    /// When it began, or when it was first seen.
    pub opened_at: Timestamp,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// What has passed so far.
    pub counters: Counters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(Endpoint::new(mapped, 1).to_string(), "192.0.2.1:1");
        assert_eq!(Endpoint::new("2001:db8::1".parse().unwrap(), 443).to_string(), "[2001:db8::1]:443");
    }

    #[test]
    fn reach_goes_by_range() {
        for (addr, reach) in [
            ("127.0.0.53", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("10.1.2.3", Reach::Lan),
            ("fe80::1", Reach::Lan),
            ("224.0.0.251", Reach::Lan),
            ("198.51.100.2", Reach::Internet),
            ("2001:db8::1", Reach::Internet),
        ] {
            assert_eq!(Reach::of(addr.parse().unwrap()), reach, "{addr}");
        }
    }
}
