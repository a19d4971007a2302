//! What the kernel says about our table: whether it is there, whose it is, and that somebody touched it.

use std::{io, time::Duration};

use super::{
    netlink::{self, Message},
    skeleton::TABLE,
};

// include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
/// `NFNLGRP_NFTABLES`: every change of any table.
const CHANGES: u32 = 7;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFTA_TABLE_NAME`; in the messages about chains, rules, sets and elements 1 is the table's name as well.
const NAME: u16 = 1;
const FLAGS: u16 = 2;
const OWNER: u16 = 7;
const FLAG_DORMANT: u32 = 1;
const FLAG_OWNER: u32 = 2;

/// The kernel answers at once; this long it may be busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// The table as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Port id of the owner's socket (since Linux 5.12); nothing if it belongs to nobody.
    pub(super) owner: Option<u32>,
    /// Somebody switched its chains off (`flags dormant`).
    pub(super) is_dormant: bool,
}

/// Looks the table up; nothing if there is none.
///
/// # Errors
/// What the kernel says: `EPERM` without CAP_NET_ADMIN, `EINVAL` without nf_tables.
pub(super) fn look_up() -> io::Result<Option<Table>> {
    let socket = netlink::socket(PATIENCE)?;
    let name = [TABLE.as_bytes(), &[0]].concat();
    let request = netlink::request(GET_TABLE, INET, 0, &[(NAME, &name)]);
    let mut table = None;
    let answered = netlink::ask(&socket, &request, |message| table = read(message).or(table));
    match answered {
        Ok(()) => Ok(table),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(message: Message<'_>) -> Option<Table> {
    if message.kind != NEW_TABLE {
        return None;
    }
    let mut table = Table { owner: None, is_dormant: false };
    let mut flags = 0;
    for (kind, content) in message.attributes() {
        match kind {
            FLAGS => flags = netlink::number(content)?,
            OWNER => table.owner = netlink::number(content),
            _ => {}
        }
    }
    table.is_dormant = flags & FLAG_DORMANT != 0;
    table.owner = table.owner.filter(|_| flags & FLAG_OWNER != 0);
    Some(table)
}

/// Tells of every change of our table, whoever makes it.
#[derive(Debug)]
pub struct Watch {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl Watch {
    /// Begins to listen in this thread's network namespace. [`Watch::wait`] returns after `patience` at the latest.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without CAP_NET_ADMIN.
    pub fn open(patience: Duration) -> io::Result<Self> {
        let socket = netlink::socket(patience)?;
        socket.add_membership(CHANGES)?;
        Ok(Self { socket, buffer: vec![0; netlink::RECEIVE_MAX] })
    }

    /// Waits for the next change of any table. Whether it may concern ours: true as well when the kernel had
    /// no room to say.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&mut self) -> io::Result<bool> {
        match netlink::receive(&self.socket, &mut self.buffer) {
            Ok(bytes) => Ok(netlink::Messages(bytes).any(concerns_us)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Dynamic sets tell nobody about elements that packets bring, so every such message is somebody's doing.
fn concerns_us(message: Message<'_>) -> bool {
    message.kind & 0xff00 == SUBSYSTEM
        && message
            .attributes()
            .any(|(kind, content)| kind == NAME && content.strip_suffix(&[0]) == Some(TABLE.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        netlink::request(kind, INET, 0, attributes)
    }

    #[test]
    fn an_owner_counts_only_with_its_flag() {
        let owned =
            message(NEW_TABLE, &[(NAME, b"sekhmet\0"), (FLAGS, &[0, 0, 0, 2]), (OWNER, &[0, 0, 1, 2])]);
        let table = netlink::Messages(&owned).find_map(read);
        assert_eq!(table, Some(Table { owner: Some(0x102), is_dormant: false }));
        let dormant = message(NEW_TABLE, &[(FLAGS, &[0, 0, 0, 1]), (OWNER, &[0, 0, 1, 2])]);
        let table = netlink::Messages(&dormant).find_map(read);
        assert_eq!(table, Some(Table { owner: None, is_dormant: true }));
        assert_eq!(netlink::Messages(&message(GET_TABLE, &[])).find_map(read), None);
    }

    #[test]
    fn other_tables_do_not_concern_us() {
        for (kind, name, expected) in [
            (SUBSYSTEM | 2, &b"sekhmet\0"[..], true),
            (SUBSYSTEM | 8, b"sekhmet\0", true),
            (SUBSYSTEM | 2, b"firewalld\0", false),
            (SUBSYSTEM | 2, b"sekhmet2\0", false),
            (0x0102, b"sekhmet\0", false),
        ] {
            let bytes = message(kind, &[(NAME, name)]);
            assert_eq!(netlink::Messages(&bytes).any(concerns_us), expected, "{kind:#x} {name:?}");
        }
    }
}
