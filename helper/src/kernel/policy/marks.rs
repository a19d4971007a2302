//! Changes the mark of a socket that another process holds.
#![expect(unsafe_code, reason = "no safe wrapper knows SO_MARK")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use sekhmet_common::kernel::CoverRow;

/// Sets the mark that the row wants, if the holder still has the same socket in that place and nobody else has
/// changed its mark meanwhile.
///
/// Needs `CAP_SYS_PTRACE` (pidfd_getfd(2), since Linux 5.6) and `CAP_NET_ADMIN` (socket(7)).
///
/// # Errors
/// What the kernel says; `NotFound` if the descriptor is another socket by now.
pub(super) fn set(row: &CoverRow) -> io::Result<()> {
    let pid = i32::try_from(row.holder.tgid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let fd = i32::try_from(row.fd).map_err(|_none| io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let socket = pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?;
    // The cookie says that it is this socket, whatever became of the process and its numbers.
    if rustix::net::sockopt::socket_cookie(&socket)? != row.cookie {
        return Err(io::ErrorKind::NotFound.into());
    }
    let now = get_mark(std::os::fd::AsFd::as_fd(&socket))?;
    if now == row.wanted {
        return Ok(());
    }
    if now != row.mark {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    set_mark(std::os::fd::AsFd::as_fd(&socket), row.wanted)
}

fn get_mark(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut mark = 0u32;
    let mut length = size_of::<u32>() as libc::socklen_t;
    let pointer = (&raw mut mark).cast();
    // SAFETY: value and length are live, and the length is that of the value.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, pointer, &raw mut length)
    };
    if result == 0 { Ok(mark) } else { Err(io::Error::last_os_error()) }
}

fn set_mark(socket: BorrowedFd<'_>, mark: u32) -> io::Result<()> {
    let length = size_of::<u32>() as libc::socklen_t;
    let pointer = (&raw const mark).cast();
    // SAFETY: the value is live and of the length that is said.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
