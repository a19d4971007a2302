//! The two system calls of these tests that have no safe wrapper.
#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

/// Moves this thread into a new network namespace.
pub(crate) fn new_network_namespace() -> io::Result<()> {
    // SAFETY: a network namespace changes nothing about memory or descriptors.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets `SO_MARK`, as the kernel programs will.
pub(crate) fn mark(fd: impl AsFd, bits: u32) {
    // SAFETY: the value is live for the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MARK,
            (&raw const bits).cast(),
            libc::socklen_t::try_from(size_of_val(&bits)).unwrap(),
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Reads `SO_MARK` back.
pub(crate) fn marked(fd: impl AsFd) -> u32 {
    let mut bits = 0_u32;
    let mut length = libc::socklen_t::try_from(size_of_val(&bits)).unwrap();
    // SAFETY: value and length are live for the call, and the length is the value's own.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MARK,
            (&raw mut bits).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    bits
}
