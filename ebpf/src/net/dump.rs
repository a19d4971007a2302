//! The iterators over sockets: counters of all, and owners for those that are older than the watch.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_seq_write, bpf_skc_to_tcp_sock, bpf_sock_from_file,
};
use sekhmet_common::kernel::{SocketRow, SocketState, socket_flag, stat};

use super::{copy_key, socket::flow, tcp, tuple, tuple::AF_INET6};
use crate::{
    maps::{FIRST, ROW, SOCKETS, STATS, bump},
    offsets::*,
    task,
};

/// `AF_INET`.
const AF_INET: u16 = 2;

/// `SOCK_RAW`.
const SOCK_RAW: u16 = 3;

/// A pointer out of an iterator's context: `meta` at 0, the rest as the iterator has it.
///
/// # Safety
/// `ctx` is an iterator's context with a pointer at `offset`.
#[inline(always)]
pub unsafe fn iterated<T>(ctx: *mut c_void, offset: usize) -> *mut T {
    unsafe { core::ptr::read_volatile(ctx.cast::<u8>().add(offset).cast()) }
}

/// Appends one row to what the reader of the iterator gets.
///
/// # Safety
/// `ctx` is an iterator's context.
#[inline(always)]
pub unsafe fn write_row<T>(ctx: *mut c_void, row: &T) {
    unsafe {
        let meta: *const u8 = iterated(ctx, 0);
        let file: *mut c_void = core::ptr::read_volatile(meta.cast());
        // A full page is no error: the kernel calls again for the same element with the next one.
        _ = bpf_seq_write(file.cast(), core::ptr::from_ref(row).cast(), size_of::<T>() as u32);
    }
}

/// iter/bpf_sk_storage_map: `sk` at 16, `value` at 24 of the context. One row for each socket with an owner.
#[inline(always)]
pub fn socket(ctx: *mut c_void) -> i32 {
    unsafe {
        let socket: *const u8 = iterated(ctx, 16);
        let state: *mut SocketState = iterated(ctx, 24);
        if socket.is_null() || state.is_null() {
            return 0;
        }
        let Some(row) = ROW.get_ptr_mut(0) else { return 0 };
        copy_key(&raw mut (*row).process, &raw const (*state).process);
        // Not the stored one: that of a connection that is not established yet is its listener's.
        (*row).cookie = bpf_get_socket_cookie(socket.cast_mut().cast());
        (*row).opened_ns = read_volatile(&raw const (*state).opened_ns);
        tuple::write(&raw mut (*row).tuple, socket);
        (*row).net_ns = read_volatile(&raw const (*state).net_ns);
        (*row).flags = read_volatile(&raw const (*state).flags);
        (*row).family = read(socket, &SKC_FAMILY);
        (*row).socket_type = read(socket, &SK_TYPE);
        (*row).state = read(socket, &SKC_STATE);
        (*row).reserved = [0; 3];
        (*row).error = read(socket, &SK_ERR);
        (*row).reserved2 = 0;
        count(&raw mut *row, socket, state);
        write_row(ctx, &*row);
    }
    0
}

/// Writes what passed. A first flow is told with its own ends, unless its socket was released: then its end has
/// told it already.
#[inline(always)]
unsafe fn count(row: *mut SocketRow, socket: *const u8, state: *mut SocketState) {
    unsafe {
        let counters = &raw mut (*row).counters;
        let tcp = bpf_skc_to_tcp_sock(socket.cast_mut().cast()) as *const u8;
        if !tcp.is_null() {
            tcp::counters(counters, tcp);
        } else if let Some(first) = FIRST.get(socket)
            && read_volatile(&raw const (*first).tuple.reserved[0]) == 0
        {
            flow(&raw mut (*row).tuple, counters, first);
            (*row).opened_ns = read_volatile(&raw const (*first).opened_ns);
            (*row).flags = read_volatile(&raw const (*first).flags);
        } else {
            (*counters).tx_bytes = 0;
            (*counters).rx_bytes = 0;
            (*counters).tx_packets = 0;
            (*counters).rx_packets = 0;
            return;
        }
        (*state).told_tx_bytes = (*counters).tx_bytes;
        (*state).told_rx_bytes = (*counters).rx_bytes;
    }
}

/// iter/task_file: `task` at 8, `file` at 24 of the context. The task and the `struct sock`, where the file is a
/// socket of IPv4 or IPv6.
///
/// # Safety
/// `ctx` is that iterator's context.
#[inline(always)]
pub unsafe fn held_socket(ctx: *mut c_void) -> Option<(*const u8, *const u8)> {
    unsafe {
        let holder: *const u8 = iterated(ctx, 8);
        let file: *mut c_void = iterated(ctx, 24);
        if holder.is_null() || file.is_null() {
            return None;
        }
        // A struct socket, not a struct sock.
        let handle = bpf_sock_from_file(file.cast()) as *const u8;
        if handle.is_null() {
            return None;
        }
        let socket: *const u8 = read(handle, &SOCKET_SK);
        if socket.is_null() {
            return None;
        }
        let family: u16 = read(socket, &SKC_FAMILY);
        if family != AF_INET && family != AF_INET6 { None } else { Some((holder, socket)) }
    }
}

/// iter/task_file: gives each socket that has no owner yet the first process that holds it.
#[inline(always)]
pub fn seed(ctx: *mut c_void) -> i32 {
    unsafe {
        let Some((holder, socket)) = held_socket(ctx) else { return 0 };
        let raw = if read::<u16>(socket, &SK_TYPE) == SOCK_RAW { socket_flag::RAW } else { 0 };
        let mut state = tcp::fresh(socket, task::key(holder), socket_flag::SEEDED | raw);
        if SOCKETS.get_or_insert(socket, &mut state).is_none() {
            bump(&STATS, stat::STORAGE_FAILED);
        }
    }
    0
}
