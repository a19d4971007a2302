//! The ways to open and change files that no library has.
#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
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

/// truncate(2).
pub(crate) fn truncate(path: &Path, length: i64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string with an end mark that outlives the call.
    if unsafe { libc::truncate(path.as_ptr(), length) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Has io_uring(7) open a file for reading; what it answers: a descriptor, or a negative errno.
pub(crate) fn open_by_uring(path: &str) -> io::Result<i32> {
    const SQ_RING: i64 = 0;
    const CQ_RING: i64 = 0x800_0000;
    const SQES: i64 = 0x1000_0000;
    const OPENAT: u8 = 18;
    const GETEVENTS: u32 = 1;
    let path = CString::new(path)?;
    // `struct io_uring_params`: 10 words, then the places of ten fields in each of the two rings.
    let mut parameters = [0_u32; 30];
    // SAFETY: the parameters are 120 bytes, as the kernel wants them.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor.
    let ring = unsafe { OwnedFd::from_raw_fd(i32::try_from(ring).unwrap_or(-1)) };
    let (submit, complete) = (&parameters[10..20], &parameters[20..30]);
    let place = |offset: i64| {
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping of a page that the kernel has for this offset.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, shared, ring.as_raw_fd(), offset) };
        if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(page.cast::<u8>()) }
    };
    let (queue, done, entries) = (place(SQ_RING)?, place(CQ_RING)?, place(SQES)?);
    let mut entry = [0_u8; 64];
    entry[0] = OPENAT;
    entry[4..8].copy_from_slice(&libc::AT_FDCWD.to_ne_bytes());
    entry[16..24].copy_from_slice(&(path.as_ptr().expose_provenance() as u64).to_ne_bytes());
    // SAFETY: the three pages are mapped, and the kernel said where in them the fields are.
    unsafe {
        entries.cast::<[u8; 64]>().write(entry);
        queue.add(submit[6] as usize).cast::<u32>().write_volatile(0);
        queue.add(submit[1] as usize).cast::<u32>().write_volatile(1);
        let none = std::ptr::null::<u8>();
        if libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, GETEVENTS, none, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(done.add(complete[5] as usize + 8).cast::<i32>().read_volatile())
    }
}
