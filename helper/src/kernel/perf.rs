//! Tracepoints and probes of the kernel's functions: `perf_event_open(2)`, as far as programs need it.
#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    ffi::CString,
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
    /// Where the name of a probe's function is.
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

/// Where the kernel tells the number of the kind of event that a probe is (since Linux 4.17).
const PROBES: &str = "/sys/bus/event_source/devices/kprobe/type";
/// The bit of the configuration that asks for the return (`format/retprobe` there).
const AT_RETURN: u64 = 1;

/// An event that programs can be attached to. It is there as long as a copy of the descriptor is open anywhere.
///
/// Its programs are called on every processor, whichever one the event is for. The event itself stays disabled: nobody
/// reads it, and the kernel is done sooner without.
#[derive(Debug)]
pub(super) struct Event(OwnedFd);

impl Event {
    /// A tracepoint by its number.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn tracepoint(number: u64) -> io::Result<Self> {
        Self::open(PerfAttr { kind: PERF_TRACEPOINT, config: number, ..PerfAttr::default() })
    }

    /// The beginning or the return of a function of the kernel.
    ///
    /// # Errors
    /// What the kernel says: it has no such function, or lets nobody look.
    pub(super) fn probe(function: &str, at_return: bool) -> io::Result<Self> {
        let kind = std::fs::read_to_string(PROBES)?.trim().parse().map_err(io::Error::other)?;
        let function = CString::new(function)?;
        Self::open(PerfAttr {
            kind,
            config: if at_return { AT_RETURN } else { 0 },
            more: function.as_ptr().expose_provenance() as u64,
            ..PerfAttr::default()
        })
    }

    fn open(attr: PerfAttr) -> io::Result<Self> {
        let attr = PerfAttr { size: size_of::<PerfAttr>() as u32, flags: PERF_DISABLED, ..attr };
        let (everybody, processor, alone) = (-1, 0, -1);
        // SAFETY: the attribute and the name that it may point to outlive the call; it is as long as it says.
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
        Ok(Self(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap_or(-1)) }))
    }

    /// Attaches a program (perf_event_open(2), with programs since Linux 4.7). What is returned keeps both alive.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn link(self, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        // SAFETY: the command takes a number and no memory.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), PERF_SET_BPF, program.as_raw_fd()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(self.0) }
    }
}
