//! Sockets: who owns them, when they connect, what passes through them.

pub mod dump;
pub mod packet;
pub mod residue;
pub mod socket;
pub mod tcp;
pub mod tuple;
