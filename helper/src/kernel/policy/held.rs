//! Sockets that other processes hold: reached through their descriptor tables, marked, shut down.
#![expect(unsafe_code, reason = "no safe wrapper knows SO_MARK and SO_NETNS_COOKIE")]

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    net::{Shutdown, shutdown},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use sekhmet_common::kernel::{CoverRow, SocketPolicy};

use super::FormerMarks;
use crate::kernel::sys;

/// The mark that a program had set itself on the row's socket before a former helper set its own; 0 for none.
/// From now on `bound`, the map of socket storage of this helper, has it.
///
/// # Errors
/// As [`take`], or what the kernel says.
pub(super) fn adopt(row: &CoverRow, former: &[FormerMarks], bound: BorrowedFd<'_>) -> io::Result<u32> {
    let socket = take(row)?;
    let mut own = 0;
    for marks in former {
        own = if own == 0 { marks.own_mark(socket.as_fd())? } else { own };
    }
    if own != 0
        && let Some(policy) = sys::of_socket::<SocketPolicy>(bound, socket.as_fd())?
    {
        let policy = SocketPolicy { own_mark: own, ..policy };
        sys::change_of_socket(bound, socket.as_fd(), &policy)?;
    }
    Ok(own)
}

/// Sets the mark that the row wants, unless somebody else has changed it meanwhile. Needs `CAP_NET_ADMIN`
/// (socket(7)).
///
/// # Errors
/// As [`take`], or what the kernel says.
pub(super) fn set_mark(row: &CoverRow) -> io::Result<()> {
    let socket = take(row)?;
    match get(socket.as_fd())? {
        now if now == row.wanted => Ok(()),
        now if now == row.mark => set(socket.as_fd(), row.wanted),
        _ => Err(io::ErrorKind::ResourceBusy.into()),
    }
}

/// Ends a connection in both directions: whoever waits for bytes reads its end. Works in every network namespace.
/// False if it was none any more.
///
/// # Errors
/// As [`take`], or what the kernel says.
pub(super) fn shut(row: &CoverRow) -> io::Result<bool> {
    match shutdown(take(row)?, Shutdown::Both) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A descriptor of the row's socket. Needs `CAP_SYS_PTRACE` (pidfd_getfd(2), since Linux 5.6).
///
/// # Errors
/// What the kernel says; `NotFound` if the holder has another socket in that place by now.
fn take(row: &CoverRow) -> io::Result<OwnedFd> {
    let pid = i32::try_from(row.holder.tgid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let fd = i32::try_from(row.fd).map_err(|_none| io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let socket = pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?;
    // The cookie says that it is this socket, whatever became of the process and its numbers.
    if rustix::net::sockopt::socket_cookie(&socket)? != row.cookie {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(socket)
}

/// The cookie of this thread's network namespace.
///
/// # Errors
/// What the kernel says: it tells since Linux 5.14.
pub(super) fn own_net_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    let pointer = (&raw mut cookie).cast();
    // SAFETY: value and length are live, and the length is that of the value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            pointer,
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

fn get(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut mark = 0u32;
    let mut length = size_of::<u32>() as libc::socklen_t;
    let pointer = (&raw mut mark).cast();
    // SAFETY: value and length are live, and the length is that of the value.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, pointer, &raw mut length)
    };
    if result == 0 { Ok(mark) } else { Err(io::Error::last_os_error()) }
}

fn set(socket: BorrowedFd<'_>, mark: u32) -> io::Result<()> {
    let length = size_of::<u32>() as libc::socklen_t;
    let pointer = (&raw const mark).cast();
    // SAFETY: the value is live and of the length that is said.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
