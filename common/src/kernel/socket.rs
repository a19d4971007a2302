//! Records, map keys and map values about sockets and what passes through them.

use super::{Header, ProcessKey};

/// Bits of [`SocketState::flags`] and of the records made from it.
pub mod socket_flag {
    /// Seen at its creation: the owner is who created it.
    pub const CREATED: u32 = 1;
    /// Found in a process's file table, or at its first connection: it is older than the watch.
    pub const SEEDED: u32 = 2;
    /// A connection that the other side opened.
    pub const INBOUND: u32 = 4;
    /// A connection that this side opened.
    pub const OUTBOUND: u32 = 8;
    /// A raw IP socket (`SOCK_RAW`).
    pub const RAW: u32 = 16;
    /// This flow is the first of its socket and is counted beside the socket, see [`super::FirstFlow`].
    pub const FIRST: u32 = 32;
}

/// TCP states as the kernel numbers them (`include/net/tcp_states.h`); part of its ABI through sock_diag.
pub mod tcp_state {
    /// Open for data in both directions.
    pub const ESTABLISHED: u8 = 1;
    /// SYN sent, nothing heard yet.
    pub const SYN_SENT: u8 = 2;
    /// SYN received, the handshake's last packet is missing.
    pub const SYN_RECV: u8 = 3;
    /// This side closed first and waits for the acknowledgement.
    pub const FIN_WAIT1: u8 = 4;
    /// This side closed first; the other has acknowledged it.
    pub const FIN_WAIT2: u8 = 5;
    /// Both sides are done; the kernel waits for stray packets.
    pub const TIME_WAIT: u8 = 6;
    /// Not connected.
    pub const CLOSE: u8 = 7;
    /// The other side closed first.
    pub const CLOSE_WAIT: u8 = 8;
    /// Both sides have closed, the last acknowledgement is missing.
    pub const LAST_ACK: u8 = 9;
    /// Waits for connections.
    pub const LISTEN: u8 = 10;
    /// Both sides closed at once.
    pub const CLOSING: u8 = 11;
}

/// Both ends of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// This machine's address in network order; IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
    pub local: [u8; 16],
    /// The other side's address in the same form.
    pub remote: [u8; 16],
    /// This machine's port, 0 if none or not chosen yet.
    pub local_port: u16,
    /// The other side's port, 0 if none.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Always 0.
    pub reserved: [u8; 3],
}

/// Payload bytes and packets; sent is what was handed to IP, received what was delivered to the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// What the programs keep beside each socket (`BPF_MAP_TYPE_SK_STORAGE` with `BPF_F_CLONE`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// Who owns it.
    pub process: ProcessKey,
    /// The kernel's cookie of the socket (`SO_COOKIE`). An accepted socket begins with a copy of the
    /// listener's and gets its own when it is established.
    pub cookie: u64,
    /// When it was created; for TCP when the connection was begun, 0 before.
    pub opened_ns: u64,
    /// Inode number of the socket's network namespace; for TCP 0 until it connects or listens.
    pub net_ns: u32,
    /// Bits of [`socket_flag`].
    pub flags: u32,
    /// The last of the TCP states that are told, by which the second program at the tracepoint knows whether the
    /// first one has run; 0 before.
    pub told_state: u32,
    /// Always 0.
    pub reserved: u32,
    /// Bytes sent as last told by a dump; what is beyond goes to the residue if there is no other room at the end.
    pub told_tx_bytes: u64,
    /// Bytes received as last told by a dump.
    pub told_rx_bytes: u64,
}

/// The first flow of a socket without connections, kept beside the socket (`BPF_MAP_TYPE_SK_STORAGE`, not cloned).
///
/// Most sockets have no second one; those are in the flow map. The ends never change once they are written, so
/// that any number of processors may compare and add at the same time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstFlow {
    /// Both ends as the packets have them. [`Tuple::reserved`] is not 0 once the socket was released: then this
    /// is like no packet.
    pub tuple: Tuple,
    /// When the first packet passed.
    pub opened_ns: u64,
    /// Bits of [`socket_flag`], as in [`FlowValue::flags`].
    pub flags: u32,
    /// The processor on which the first packet passed; with `opened_ns` it tells who made this.
    pub cpu: u32,
    /// What was sent.
    pub tx: Passed,
    /// Keeps both directions in cache lines of their own: answers are mostly received on another processor.
    pub apart: [u64; 6],
    /// What was received.
    pub rx: Passed,
}

/// Payload and packets of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Bytes of payload.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// A TCP connection changed its state (tracepoint `inet_sock_set_state`).
///
/// Made for these changes only: to `SYN_SENT` (opening), to `ESTABLISHED`, and to `CLOSE` from any other state
/// but `LISTEN` (the counters are the last ones).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRecord {
    /// Kind [`super::kind::TCP`].
    pub header: Header,
    /// Who owns it; zero for the kernel's own.
    pub process: ProcessKey,
    /// The socket's cookie.
    pub cookie: u64,
    /// When the connection began. Together with the cookie it names the connection: a socket may be used again.
    pub opened_ns: u64,
    /// Both ends. The local port is still 0 at `SYN_SENT` unless the program had bound one.
    pub tuple: Tuple,
    /// What passed so far.
    pub counters: Counters,
    /// `sock.sk_err`: the error that ended it, as a positive errno, or 0.
    pub error: u32,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Bits of [`socket_flag`].
    pub flags: u32,
    /// The state before, one of [`tcp_state`].
    pub old_state: u8,
    /// The state now.
    pub new_state: u8,
    /// Always 0.
    pub reserved: u16,
}

/// The first packet between a socket without connections and one remote end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFlowRecord {
    /// Kind [`super::kind::PACKET_FLOW`].
    pub header: Header,
    /// Who owns the socket.
    pub process: ProcessKey,
    /// Which flow; its counters are in the flow map under this key, or with the flag `FIRST` beside the socket.
    pub key: FlowKey,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Bits of [`socket_flag`]; `INBOUND` or `OUTBOUND` says which way the first packet went.
    pub flags: u32,
}

/// A socket other than TCP was closed (`cgroup/sock_release`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketClosedRecord {
    /// Kind [`super::kind::SOCKET_CLOSED`].
    pub header: Header,
    /// Who owned it.
    pub process: ProcessKey,
    /// The socket's cookie.
    pub cookie: u64,
    /// Both ends of its first flow; all 0 if it had none.
    pub tuple: Tuple,
    /// All that passed over its first flow.
    pub counters: Counters,
    /// When the first flow's first packet passed; without one, when the socket was created.
    pub opened_ns: u64,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Bits of [`socket_flag`]; with `FIRST` if it had a flow that is told here.
    pub flags: u32,
}

/// One row of a dump: a socket with an owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketRow {
    /// Who owns it.
    pub process: ProcessKey,
    /// The socket's cookie.
    pub cookie: u64,
    /// When it was created; for a TCP connection when that was begun; with `FIRST` when that flow was.
    pub opened_ns: u64,
    /// Both ends as far as the socket has them; with `FIRST` those of that flow.
    pub tuple: Tuple,
    /// What passed so far over the connection, or over the first flow.
    pub counters: Counters,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Bits of [`socket_flag`].
    pub flags: u32,
    /// Address family: 2 for IPv4, 10 for IPv6.
    pub family: u16,
    /// Socket type: 1 stream, 2 datagram, 3 raw.
    pub socket_type: u16,
    /// One of [`tcp_state`]; other protocols use `ESTABLISHED` for connected and `CLOSE` for not.
    pub state: u8,
    /// Always 0.
    pub reserved: [u8; 3],
    /// `sock.sk_err`.
    pub error: u32,
    /// Always 0.
    pub reserved2: u32,
}

/// Names one flow of a socket without connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The socket's cookie.
    pub cookie: u64,
    /// Both ends as the packets have them.
    pub tuple: Tuple,
}

/// What is kept for each flow of a socket without connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowValue {
    /// Who owns the socket.
    pub process: ProcessKey,
    /// When the first packet passed.
    pub opened_ns: u64,
    /// What passed so far.
    pub counters: Counters,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Bits of [`socket_flag`]; `INBOUND` or `OUTBOUND` says which way the first packet went.
    pub flags: u32,
}

/// Bytes of a process that belong to no flow: of TCP connections whose last record found no room, and of packets
/// whose flow found no room.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    /// Bytes sent, beyond what was told otherwise.
    pub tx_bytes: u64,
    /// Bytes received, beyond what was told otherwise.
    pub rx_bytes: u64,
}
