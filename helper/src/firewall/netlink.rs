//! The few words of nfnetlink that are needed besides the library: messages, attributes, answers.
//!
//! `struct nlmsghdr` is 16 bytes in the machine's byte order, `struct nfgenmsg` 4 bytes, numbers in attributes
//! are big-endian (include/uapi/linux/netlink.h, include/uapi/linux/netfilter/nfnetlink.h).

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
const ACK: u16 = 4;
/// `NLMSG_ERROR`: also the good answer, with error 0.
const ERROR: u16 = 2;

const MESSAGE_HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
/// Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// Larger than any answer to one question, and than one batch of logged packets.
pub(super) const RECEIVE_MAX: usize = 128 * 1024;

/// One message as it lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// `nlmsg_type`: subsystem and message, or a type below 16 of netlink itself.
    pub(super) kind: u16,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after `struct nfgenmsg`.
    pub(super) fn attributes(self) -> Attributes<'a> {
        Attributes(self.body.get(FAMILY_HEADER..).unwrap_or_default())
    }

    /// The error of an answer, if it is one that says whether something worked (0: it did).
    pub(super) fn status(self) -> Option<io::Result<()>> {
        let code = i32::from_ne_bytes(*self.body.first_chunk()?);
        let result =
            if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) };
        (self.kind == ERROR).then_some(result)
    }
}

/// The messages in a buffer. It ends at the first that is not whole.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(self.0.get(4..6)?.try_into().ok()?);
        let body = self.0.get(MESSAGE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    }
}

/// The attributes in a run of bytes: type and content. It ends at the first that is not whole.
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & ATTRIBUTE_TYPE;
        let content = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    }
}

/// A big-endian number.
pub(super) fn number(content: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(content.try_into().ok()?))
}

/// A request of one attribute after another, to be answered with data or a status.
pub(super) fn request(kind: u16, family: u8, resource: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; MESSAGE_HEADER];
    message.extend([family, 0]);
    message.extend(resource.to_be_bytes());
    for (attribute, content) in attributes {
        let length = u16::try_from(ATTRIBUTE_HEADER + content.len()).unwrap_or(u16::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(*content);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    for (at, bytes) in
        [(0, &length.to_ne_bytes()[..]), (4, &kind.to_ne_bytes()), (6, &(REQUEST | ACK).to_ne_bytes())]
    {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    message
}

/// Held while a library context or an nfnetlink socket is made, and while the library works: it has state for
/// the whole process, and its own socket is told from ours by being the only new one.
pub(super) fn guard() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new nfnetlink socket of this thread's network namespace that waits at most `patience` for an answer.
///
/// # Errors
/// What the kernel says.
pub(super) fn socket(patience: Duration) -> io::Result<Socket> {
    let mut socket = {
        let _guard = guard();
        Socket::new(NETLINK_NETFILTER)?
    };
    socket.bind_auto()?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    Ok(socket)
}

/// Reads what is next, if the kernel sent it.
///
/// # Errors
/// `WouldBlock` if nothing came in time, `ENOBUFS` if something found no room since the last call.
pub(super) fn receive<'b>(socket: &Socket, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let (length, from) = socket.recv_from(&mut &mut buffer[..], 0)?;
    // A privileged process may write to us, too; the kernel has number 0 (netlink(7)).
    let length = if from.port_number() == 0 { length } else { 0 };
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Sends one request and reads answers until its status.
///
/// # Errors
/// The status, or what the kernel says.
pub(super) fn ask(socket: &Socket, request: &[u8], mut each: impl FnMut(Message<'_>)) -> io::Result<()> {
    socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
    let mut buffer = vec![0; RECEIVE_MAX];
    loop {
        for message in Messages(receive(socket, &mut buffer)?) {
            match message.status() {
                Some(status) => return status,
                None => each(message),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_read_back() {
        let bytes = request(0x0a01, 1, 74, &[(1, b"sekhmet\0"), (0x8002, &[1, 2, 3])]);
        let messages: Vec<_> = Messages(&bytes).collect();
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].kind, messages[0].status().is_none()), (0x0a01, true));
        let attributes: Vec<_> = messages[0].attributes().collect();
        assert_eq!(attributes, [(1, &b"sekhmet\0"[..]), (2, &[1, 2, 3][..])]);
        assert_eq!(messages[0].body[2..4], [0, 74]);
    }

    #[test]
    fn a_status_is_an_errno_or_nothing() {
        let refused = Message { kind: ERROR, body: &(-1_i32).to_ne_bytes() };
        assert_eq!(refused.status().unwrap().unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(Message { kind: ERROR, body: &[0; 4] }.status().unwrap().is_ok());
        assert!(Message { kind: ERROR, body: &[0; 3] }.status().is_none());
    }

    proptest! {
        #[test]
        fn hostile_lengths_end_the_walk(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut walked = 0;
            for message in Messages(&bytes) {
                walked += MESSAGE_HEADER + message.body.len();
                for (_, content) in message.attributes() {
                    prop_assert!(content.len() <= message.body.len());
                }
            }
            prop_assert!(walked <= bytes.len());
            prop_assert!(Attributes(&bytes).count() <= bytes.len() / 4);
        }
    }
}
