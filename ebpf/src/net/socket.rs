//! A socket's birth and, but for TCP, its end.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, bpf_sock},
    helpers::generated::bpf_get_socket_cookie,
    programs::SockContext,
};
use sekhmet_common::kernel::{
    Counters, FirstFlow, FlowKey, FlowValue, SocketClosedRecord, SocketState, Tuple, kind, socket_flag, stat,
};

use super::{copy_key, residue};
use crate::{
    maps::{FIRST, FLOWS, SOCKETS, STATS, bump, zero},
    offsets::{NET_INUM, SKC_NET, probe},
    ring, task, verdict,
};

/// `IPPROTO_TCP`.
pub const TCP: u32 = 6;

/// `SOCK_RAW`.
const SOCK_RAW: u32 = 3;

/// No flow's ends.
const NOWHERE: Tuple =
    Tuple { local: [0; 16], remote: [0; 16], local_port: 0, remote_port: 0, protocol: 0, reserved: [0; 3] };

/// Nothing counted.
const NOTHING: Counters = Counters { tx_bytes: 0, rx_bytes: 0, tx_packets: 0, rx_packets: 0 };

/// Goes on: the socket may be created, the packet may pass.
const ALLOW: i32 = 1;

/// cgroup/sock_create: in the context of the creating task, for every IPv4 and IPv6 socket that is not the
/// kernel's own.
#[inline(always)]
pub fn create(ctx: &SockContext) -> i32 {
    unsafe {
        let socket = ctx.sock;
        let raw = if (*socket).type_ == SOCK_RAW { socket_flag::RAW } else { 0 };
        // TCP says when a connection begins; until then nobody asks for these.
        let (opened_ns, net_ns) = if (*socket).protocol == TCP && !verdict::is_active() {
            (0, 0)
        } else {
            (ring::now(), net_ns(socket))
        };
        let zero = zero();
        let mut state = SocketState {
            process: task::current_key(),
            cookie: bpf_get_socket_cookie(socket.cast()),
            opened_ns,
            net_ns,
            flags: socket_flag::CREATED | raw,
            told_state: 0,
            reserved: 0,
            told_tx_bytes: zero,
            told_rx_bytes: zero,
        };
        if SOCKETS.get_or_insert(socket.cast(), &mut state).is_none() {
            bump(&STATS, stat::STORAGE_FAILED);
        }
        // Behind the storage: whoever binds the process meanwhile finds the socket there.
        verdict::connect::created(ctx, &state.process, state.net_ns);
    }
    ALLOW
}

/// Inode number of a socket's network namespace.
///
/// # Safety
/// `socket` is what a cgroup program has as its socket.
#[inline(always)]
unsafe fn net_ns(socket: *mut bpf_sock) -> u32 {
    // What the verifier calls a bpf_sock is the kernel's struct sock; its address may be read from.
    unsafe {
        let net: *const u8 = probe(socket.cast(), &SKC_NET);
        probe(net, &NET_INUM)
    }
}

/// cgroup/sock_release: the last reference of user space is gone. TCP lives on and tells its end itself.
#[inline(always)]
pub fn release(ctx: &SockContext) -> i32 {
    unsafe {
        if (*ctx.sock).protocol == TCP {
            return ALLOW;
        }
        let Some(state) = SOCKETS.get(ctx.sock.cast()) else { return ALLOW };
        let first = FIRST.get(ctx.sock.cast());
        if let Some(first) = first {
            // What passes from now on is not this flow's any more, for its last counters are told here.
            (&raw mut (*first).tuple.reserved[0]).write_volatile(1);
        }
        match ring::begin::<SocketClosedRecord>(kind::SOCKET_CLOSED, ring::now()) {
            Some(mut entry) => {
                tell(entry.as_mut_ptr(), state, first);
                entry.submit();
            }
            None => {
                if let Some(first) = first {
                    keep(state, first);
                }
            }
        }
    }
    ALLOW
}

#[inline(always)]
unsafe fn tell(record: *mut SocketClosedRecord, state: *mut SocketState, first: Option<*mut FirstFlow>) {
    unsafe {
        copy_key(&raw mut (*record).process, &raw const (*state).process);
        (*record).cookie = read_volatile(&raw const (*state).cookie);
        (*record).net_ns = read_volatile(&raw const (*state).net_ns);
        match first {
            Some(first) => {
                flow(&raw mut (*record).tuple, &raw mut (*record).counters, first);
                (*record).opened_ns = read_volatile(&raw const (*first).opened_ns);
                (*record).flags = read_volatile(&raw const (*first).flags);
            }
            None => {
                (*record).tuple = NOWHERE;
                (*record).counters = NOTHING;
                (*record).opened_ns = read_volatile(&raw const (*state).opened_ns);
                (*record).flags = read_volatile(&raw const (*state).flags);
            }
        }
    }
}

/// Copies a first flow's ends and counters.
///
/// # Safety
/// All are valid for the verifier.
#[inline(always)]
pub unsafe fn flow(tuple: *mut Tuple, counters: *mut Counters, first: *const FirstFlow) {
    unsafe {
        // In words, see `copy_key`. Every struct that has a tuple has it at a multiple of 8.
        let (to, from): (*mut u64, *const u64) = (tuple.cast(), first.cast());
        to.write(read_volatile(from));
        to.add(1).write(read_volatile(from.add(1)));
        to.add(2).write(read_volatile(from.add(2)));
        to.add(3).write(read_volatile(from.add(3)));
        to.add(4).write(read_volatile(from.add(4)));
        (*tuple).reserved = [0; 3];
        (*counters).tx_bytes = read_volatile(&raw const (*first).tx.bytes);
        (*counters).tx_packets = read_volatile(&raw const (*first).tx.packets);
        (*counters).rx_bytes = read_volatile(&raw const (*first).rx.bytes);
        (*counters).rx_packets = read_volatile(&raw const (*first).rx.packets);
    }
}

/// A full ring does not lose the first flow's last counters: they move to the map of flows, where the next reading
/// finds them, or to the residue.
#[inline(always)]
unsafe fn keep(state: *mut SocketState, first: *mut FirstFlow) {
    unsafe {
        let mut key = FlowKey { cookie: (*state).cookie, tuple: NOWHERE };
        let mut value = FlowValue {
            process: (*state).process,
            opened_ns: (*first).opened_ns,
            counters: NOTHING,
            net_ns: (*state).net_ns,
            flags: (*first).flags & !socket_flag::FIRST,
        };
        flow(&raw mut key.tuple, &raw mut value.counters, first);
        if FLOWS.insert(&key, &value, BPF_NOEXIST.into()).is_err() {
            let tx_bytes = value.counters.tx_bytes.wrapping_sub((*state).told_tx_bytes);
            let rx_bytes = value.counters.rx_bytes.wrapping_sub((*state).told_rx_bytes);
            residue::keep(&value.process, tx_bytes, rx_bytes);
        }
    }
}
