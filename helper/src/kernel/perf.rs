//! Tracepoints by their number: `perf_event_open(2)`, as far as programs need it.
#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// The first version of `struct perf_event_attr`, which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct PerfAttr {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sample: u64,
    read: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    more: u64,
}

/// `PERF_TYPE_TRACEPOINT`.
const PERF_TRACEPOINT: u32 = 2;
/// The flag `disabled` of the attributes.
const PERF_DISABLED: u64 = 1;
/// `PERF_FLAG_FD_CLOEXEC`.
const PERF_CLOEXEC: libc::c_ulong = 8;
/// `PERF_EVENT_IOC_SET_BPF`: `_IOW('$', 8, u32)`.
const PERF_SET_BPF: libc::Ioctl = 0x4004_2408;

/// Attaches a program to the tracepoint of this number (perf_event_open(2), with programs since Linux 4.7). It stays
/// as long as a copy of the descriptor is open anywhere.
///
/// The program is called for the tracepoint on every processor, whichever one the event is for. The event itself
/// stays disabled: nobody reads it, and the kernel is done sooner without.
///
/// # Errors
/// What the kernel says.
pub(super) fn link(program: BorrowedFd<'_>, tracepoint: u64) -> io::Result<OwnedFd> {
    let attr = PerfAttr {
        kind: PERF_TRACEPOINT,
        size: size_of::<PerfAttr>() as u32,
        config: tracepoint,
        flags: PERF_DISABLED,
        ..PerfAttr::default()
    };
    let (everybody, processor, alone) = (-1, 0, -1);
    // SAFETY: the attribute outlives the call and is as long as it says.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            core::ptr::from_ref(&attr),
            everybody,
            processor,
            alone,
            PERF_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this call returns a new descriptor that is ours.
    let event = unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap_or(-1)) };
    // SAFETY: the command takes a number and no memory.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), PERF_SET_BPF, program.as_raw_fd()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(event) }
}
