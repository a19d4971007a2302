//! The few `bpf(2)` commands that aya does not offer: links that can be kept, and maps read in batches.
#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use sekhmet_common::kernel::Plain;

/// Commands (`enum bpf_cmd`).
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const LOOKUP_AND_DELETE: libc::c_long = 21;
const LOOKUP_BATCH: libc::c_long = 24;
const LINK_CREATE: libc::c_long = 28;
const ITER_CREATE: libc::c_long = 33;
/// The element must be there (`BPF_EXIST`).
const EXIST: u64 = 2;
/// Bytes of `struct bpf_prog_info` up to and with `recursion_misses`, which is the last of them.
const PROGRAM_INFO: usize = 216;
/// `BPF_TRACE_ITER` (`enum bpf_attach_type`).
const TRACE_ITER: u32 = 28;

#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_length: u32,
    rest: [u32; 9],
}

#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    fd: u32,
    length: u32,
    info: u64,
}

/// How often the kernel did not run a program because it was at work on the same processor already
/// (`BPF_OBJ_GET_INFO_BY_FD`; the counter is there since Linux 5.12, before that this is 0).
///
/// # Errors
/// What the kernel says.
pub(super) fn missed(program: &OwnedFd) -> io::Result<u64> {
    let mut info = [0_u64; PROGRAM_INFO / 8];
    let attr = InfoAttr {
        fd: number(program.as_raw_fd()),
        length: PROGRAM_INFO as u32,
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the attribute leads to as many bytes as it says, all of them zero, as the kernel wants it.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &attr)? };
    Ok(info.last().copied().unwrap_or(0))
}

/// A second descriptor of the same thing.
///
/// # Errors
/// No descriptor is left.
pub(super) fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// Changes an element that is there already (`BPF_MAP_UPDATE_ELEM`); whether it was there.
///
/// # Errors
/// What the kernel says.
pub(super) fn change<K: Plain, V: Plain>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<bool> {
    let attr = ElementAttr {
        value: core::ptr::from_ref(value).expose_provenance() as u64,
        flags: EXIST,
        ..element(map, key)
    };
    // SAFETY: key and value are live and of the map's own sizes, which the loader checked.
    if_present(unsafe { bpf(UPDATE, &attr) })
}

/// What a map of socket storage (`BPF_MAP_TYPE_SK_STORAGE`) has for a socket, if it has something.
///
/// # Errors
/// What the kernel says.
pub(super) fn of_socket<V: Plain + Default>(
    map: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
) -> io::Result<Option<V>> {
    // The key is a descriptor, as this kind of map wants it.
    read_element(LOOKUP, map, &socket.as_raw_fd())
}

/// Changes what a map of socket storage has for a socket; whether it had something.
///
/// # Errors
/// What the kernel says.
pub(super) fn change_of_socket<V: Plain>(
    map: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    value: &V,
) -> io::Result<bool> {
    change(map, &socket.as_raw_fd(), value)
}

/// Binds an iterator program over tasks to one process, by its number in this process's PID namespace
/// (`bpf_iter_link_info.task`, since Linux 6.1). An older kernel may take it and walk all.
///
/// # Errors
/// What the kernel says.
pub(super) fn link_process_iterator(program: BorrowedFd<'_>, tgid: u32) -> io::Result<OwnedFd> {
    // tid, pid, pid_fd, and what the union has beyond.
    let info = [0, tgid, 0, 0];
    let attr = LinkAttr {
        program: number(program.as_raw_fd()),
        attach_type: TRACE_ITER,
        iter_info: info.as_ptr().expose_provenance() as u64,
        iter_info_length: 12,
        ..LinkAttr::default()
    };
    // SAFETY: the attribute and what it points to outlive the call.
    let fd = unsafe { bpf(LINK_CREATE, &attr)? };
    // SAFETY: this command returns a new descriptor that is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds an iterator program, to a map for those that walk one (`BPF_LINK_CREATE`, since Linux 5.8; maps 5.9).
///
/// # Errors
/// What the kernel says.
pub(super) fn link_iterator(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    // union bpf_iter_link_info
    let info = [map.map_or(0, |map| number(map.as_raw_fd())), 0, 0, 0];
    let attr = LinkAttr {
        program: number(program.as_raw_fd()),
        attach_type: TRACE_ITER,
        iter_info: if map.is_some() { info.as_ptr().expose_provenance() as u64 } else { 0 },
        iter_info_length: if map.is_some() { 4 } else { 0 },
        ..LinkAttr::default()
    };
    // SAFETY: the attribute and what it points to outlive the call.
    let fd = unsafe { bpf(LINK_CREATE, &attr)? };
    // SAFETY: this command returns a new descriptor that is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a cgroup and all below it, beside others (`BPF_LINK_CREATE`, since Linux 5.7). It stays as
/// long as a copy of the descriptor is open anywhere.
///
/// # Errors
/// What the kernel says.
pub(super) fn link_cgroup(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let attr = LinkAttr {
        program: number(program.as_raw_fd()),
        target: number(cgroup.as_raw_fd()),
        attach_type,
        ..LinkAttr::default()
    };
    // SAFETY: the attribute outlives the call and points nowhere.
    let fd = unsafe { bpf(LINK_CREATE, &attr)? };
    // SAFETY: this command returns a new descriptor that is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to the tracepoint that it was loaded for (`BPF_RAW_TRACEPOINT_OPEN`, with types since Linux
/// 5.5). It stays as long as a copy of the descriptor is open anywhere.
///
/// # Errors
/// What the kernel says.
pub(super) fn link_tracepoint(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // No name: the program knows its tracepoint.
    let attr = [0, 0, number(program.as_raw_fd()), 0];
    // SAFETY: the attribute outlives the call and points nowhere.
    let fd = unsafe { bpf(RAW_TRACEPOINT_OPEN, &attr)? };
    // SAFETY: this command returns a new descriptor that is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Begins one walk of a bound iterator; reading the file to its end runs it (`BPF_ITER_CREATE`). Needs no
/// capability since Linux 5.19, and before that only where unprivileged use of bpf(2) is switched off.
///
/// # Errors
/// What the kernel says.
pub(super) fn open_iterator(link: BorrowedFd<'_>) -> io::Result<File> {
    let attr = [number(link.as_raw_fd()), 0];
    // SAFETY: the attribute outlives the call.
    let fd = unsafe { bpf(ITER_CREATE, &attr)? };
    // SAFETY: this command returns a new descriptor that is ours.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Reads a whole hash map, `batch` elements at a time (`BPF_MAP_LOOKUP_BATCH`, since Linux 5.6).
///
/// # Errors
/// What the kernel says, but for `ENOSPC`: a hash bucket that is larger than the batch makes the batch larger.
pub(super) fn read_hash<K: Plain + Default, V: Plain + Default>(
    map: BorrowedFd<'_>,
    mut batch: usize,
) -> io::Result<Vec<(K, V)>> {
    let mut out = Vec::new();
    let mut cursor: Option<u32> = None;
    loop {
        let (mut keys, mut values) = (vec![K::default(); batch], vec![V::default(); batch]);
        let (position, mut next) = (cursor.unwrap_or(0), 0u32);
        let mut attr = BatchAttr {
            in_batch: if cursor.is_some() { (&raw const position).expose_provenance() as u64 } else { 0 },
            out_batch: (&raw mut next).expose_provenance() as u64,
            keys: keys.as_mut_ptr().expose_provenance() as u64,
            values: values.as_mut_ptr().expose_provenance() as u64,
            count: u32::try_from(batch).unwrap_or(u32::MAX),
            map: number(map.as_raw_fd()),
            ..BatchAttr::default()
        };
        // SAFETY: all pointers in the attribute lead to live memory: `batch` keys and values of the map's own
        // sizes (the loader checked them), and the four bytes that a hash map uses as its position.
        let result = unsafe { bpf_mut(LOOKUP_BATCH, &mut attr) };
        let end = match result {
            Ok(_) => false,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && batch < 1 << 20 => {
                batch *= 2;
                continue;
            }
            Err(e) => return Err(e),
        };
        let count = usize::try_from(attr.count).unwrap_or(0);
        out.extend(keys.into_iter().zip(values).take(count));
        if end {
            return Ok(out);
        }
        cursor = Some(next);
    }
}

/// Takes an element out of a hash map (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`, for hash maps since Linux 5.14).
///
/// # Errors
/// What the kernel says, but for a missing element, which is nothing.
pub(super) fn take<K: Plain, V: Plain + Default>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    read_element(LOOKUP_AND_DELETE, map, key)
}

/// An element, by a command that reads one; nothing if there is none.
fn read_element<K: Plain, V: Plain + Default>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: &K,
) -> io::Result<Option<V>> {
    let mut value = V::default();
    let attr = ElementAttr { value: (&raw mut value).expose_provenance() as u64, ..element(map, key) };
    // SAFETY: key and value are live and of the map's own sizes, which were checked when it was loaded or taken over.
    let is_there = if_present(unsafe { bpf(command, &attr) })?;
    Ok(is_there.then_some(value))
}

fn element<K: Plain>(map: BorrowedFd<'_>, key: &K) -> ElementAttr {
    ElementAttr {
        map: number(map.as_raw_fd()),
        key: core::ptr::from_ref(key).expose_provenance() as u64,
        ..ElementAttr::default()
    }
}

/// Whether there was such an element.
fn if_present(answer: io::Result<RawFd>) -> io::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Descriptors are never negative.
fn number(fd: RawFd) -> u32 {
    fd.unsigned_abs()
}

/// # Safety
/// `attr` is what the command expects, with pointers that are valid for the command's reads and writes.
unsafe fn bpf<A>(command: libc::c_long, attr: &A) -> io::Result<RawFd> {
    // SAFETY: as the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, core::ptr::from_ref(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).unwrap_or(-1)) }
}

/// # Safety
/// As [`bpf`]; the kernel may write to the attribute as well.
unsafe fn bpf_mut<A>(command: libc::c_long, attr: &mut A) -> io::Result<RawFd> {
    // SAFETY: as the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, core::ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).unwrap_or(-1)) }
}
