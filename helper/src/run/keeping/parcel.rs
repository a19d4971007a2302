//! Many descriptors as one: they lie in the queue of a socket, and can be looked at without taking them out.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use sekhmet_common::kernel::ABI_VERSION;

/// The most descriptors in one parcel; the kernel would take 253 (unix(7)).
const THINGS_MAX: usize = 32;

/// The most bytes of their names.
const NAMES_MAX: usize = 2048;

/// The first line, by which a parcel of another version is known.
fn title() -> String {
    format!("sekhmet-blocks {ABI_VERSION}")
}

/// Packs descriptors with their names.
///
/// # Errors
/// There are too many, or no descriptor is left.
pub(super) fn pack(things: &[(&'static str, BorrowedFd<'_>)]) -> io::Result<OwnedFd> {
    let (fds, mut text): (Vec<BorrowedFd<'_>>, String) =
        (things.iter().map(|(_, fd)| *fd).collect(), title());
    for (name, _) in things {
        text.push('\n');
        text.push_str(name);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(THINGS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) || text.len() > NAMES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // A datagram waits in its receiver's queue also when its sender is gone.
    let (sender, parcel) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sendmsg(&sender, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty())?;
    Ok(parcel)
}

/// Second descriptors of what is in a parcel. It stays in there.
///
/// # Errors
/// That is no parcel of this version.
pub(super) fn look_into(parcel: BorrowedFd<'_>) -> io::Result<Vec<(String, OwnedFd)>> {
    let is_parcel = sockopt::socket_domain(parcel)? == AddressFamily::UNIX
        && sockopt::socket_type(parcel)? == SocketType::DGRAM;
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    if !is_parcel {
        return Err(wrong());
    }
    let mut bytes = [0; NAMES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(THINGS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let length = recvmsg(parcel, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?.bytes;
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(wrong)?;
    let mut lines = text.lines();
    if lines.next() != Some(&title()) || lines.clone().count() != fds.len() {
        return Err(wrong());
    }
    Ok(lines.map(str::to_owned).zip(fds).collect())
}
