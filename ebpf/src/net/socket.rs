//! A socket's birth and, but for TCP, its end.

use aya_ebpf::{helpers::generated::bpf_get_socket_cookie, programs::SockContext};
use sekhmet_common::kernel::{Counters, SocketClosedRecord, SocketState, kind, socket_flag, stat};

use crate::{
    maps::{SOCKETS, STATS, bump},
    offsets::{NET_INUM, SKC_NET, probe},
    ring, task, verdict,
};

/// `IPPROTO_TCP`.
pub const TCP: u32 = 6;

/// `SOCK_RAW`.
const SOCK_RAW: u32 = 3;

/// Goes on: the socket may be created, the packet may pass.
const ALLOW: i32 = 1;

/// cgroup/sock_create: in the context of the creating task, for every IPv4 and IPv6 socket that is not the
/// kernel's own.
#[inline(always)]
pub fn create(ctx: &SockContext) -> i32 {
    unsafe {
        let socket = ctx.sock;
        let raw = if (*socket).type_ == SOCK_RAW { socket_flag::RAW } else { 0 };
        // What the verifier calls a bpf_sock is the kernel's struct sock; its address may be read from.
        let net: *const u8 = probe(socket.cast(), &SKC_NET);
        let mut state = SocketState {
            process: task::current_key(),
            cookie: bpf_get_socket_cookie(socket.cast()),
            opened_ns: ring::now(),
            counters: Counters { tx_bytes: 0, rx_bytes: 0, tx_packets: 0, rx_packets: 0 },
            told_tx_bytes: 0,
            told_rx_bytes: 0,
            net_ns: probe(net, &NET_INUM),
            flags: socket_flag::CREATED | raw,
        };
        if SOCKETS.get_or_insert(socket.cast(), &mut state).is_none() {
            bump(&STATS, stat::STORAGE_FAILED);
        }
        // Behind the storage: whoever binds the process meanwhile finds the socket there.
        verdict::connect::created(socket, &state.process, state.net_ns);
    }
    ALLOW
}

/// cgroup/sock_release: the last reference of user space is gone. TCP lives on and tells its end itself.
#[inline(always)]
pub fn release(ctx: &SockContext) -> i32 {
    unsafe {
        let protocol = (*ctx.sock).protocol;
        if protocol == TCP {
            return ALLOW;
        }
        let Some(state) = SOCKETS.get(ctx.sock.cast()) else { return ALLOW };
        let state = &*state;
        // If this finds no room, nothing is lost but the moment: the counters stay in the flow map.
        ring::emit(kind::SOCKET_CLOSED, |record: *mut SocketClosedRecord| {
            (*record).process = state.process;
            (*record).cookie = state.cookie;
            (*record).counters = state.counters;
            (*record).opened_ns = state.opened_ns;
            (*record).net_ns = state.net_ns;
            (*record).protocol = protocol as u8;
            (*record).reserved = [0; 3];
        });
    }
    ALLOW
}
