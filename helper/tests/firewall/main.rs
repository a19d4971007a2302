//! The firewall's table against real sockets, in network namespaces that each test makes for itself.
//!
//! The tests mark sockets themselves (`SO_MARK`); who is marked is the kernel programs' business. They need
//! root, iproute2 and nftables, and say so where they are not root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says where it broke")]

mod inbound;
mod log;
mod marked;
mod neighbours;
mod outbound;
mod owner;
mod place;
mod sys;
mod table;
