//! The calls by which no library opens files any more, and folders too deep to be named.
#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd, OwnedFd},
    path::Path,
};

/// open(2), for reading.
#[cfg(target_arch = "x86_64")]
pub(crate) fn open(path: &str) -> io::Result<OwnedFd> {
    call(libc::SYS_open, path)
}

/// creat(2).
#[cfg(target_arch = "x86_64")]
pub(crate) fn creat(path: &str) -> io::Result<OwnedFd> {
    call(libc::SYS_creat, path)
}

#[cfg(target_arch = "x86_64")]
fn call(number: libc::c_long, path: &str) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    // SAFETY: the path is a string with an end mark that outlives the call.
    let fd = unsafe { libc::syscall(number, path.as_ptr(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Makes all folders of a path.
pub(crate) fn make_deep(path: &Path) {
    std::fs::create_dir_all(path).unwrap();
}
