//! TCP connections: opening, established, closed, with the counters that the kernel keeps itself.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
    programs::BtfTracePointContext,
};
use sekhmet_common::kernel::{
    Counters, ProcessKey, SocketState, TcpRecord, Tuple, kind, socket_flag, stat, tcp_state::*,
};

use super::{residue, tuple};
use crate::{
    maps::{SOCKETS, STATS, bump},
    offsets::*,
    ring, task,
};

/// Bit 1 of `sock.sk_flags` (`SOCK_DONE`): the other side's FIN has been received.
const SOCK_DONE: u64 = 1 << 1;

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`.
///
/// Only the changes to `SYN_SENT` and to `LISTEN` happen in the process's own context; others come from packets
/// and timers, so the owner is taken from the socket's storage.
#[inline(always)]
pub fn set_state(ctx: &BtfTracePointContext) -> i32 {
    let (socket, old, new): (*const u8, u32, u32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let (old, new) = (old as u8, new as u8);
    let wanted = match new {
        SYN_SENT | ESTABLISHED | LISTEN => true,
        CLOSE => old != LISTEN,
        _ => false,
    };
    unsafe {
        if !wanted || read::<u16>(socket, &SK_PROTOCOL) != super::socket::TCP as u16 {
            return 0;
        }
        let tcp = bpf_skc_to_tcp_sock(socket.cast_mut().cast()) as *const u8;
        if tcp.is_null() {
            return 0;
        }
        let Some(state) = storage(socket, new) else { return unowned(socket, tcp, old, new) };
        if new == LISTEN {
            // No connection, but those that come inherit the owner.
            return 0;
        }
        if new == SYN_SENT {
            (*state).opened_ns = ring::now();
            (*state).flags = ((*state).flags & !socket_flag::INBOUND) | socket_flag::OUTBOUND;
            (*state).told_tx_bytes = 0;
            (*state).told_rx_bytes = 0;
        } else if new == ESTABLISHED && old == SYN_RECV && (*state).flags & socket_flag::OUTBOUND == 0 {
            // A copy of the listener's storage becomes the connection's own.
            (*state).cookie = bpf_get_socket_cookie(socket.cast_mut().cast());
            (*state).opened_ns = ring::now();
            (*state).flags |= socket_flag::INBOUND;
        }
        record(socket, tcp, &*state, old, new);
        if new == CLOSE {
            // The socket may connect again, or listen and hand its storage on.
            (*state).flags &= !(socket_flag::INBOUND | socket_flag::OUTBOUND);
        }
    }
    0
}

/// The socket's storage. One that has none and begins to connect or to listen gets it here: a socket that is
/// older than the watch, or one that the kernel makes on a program's behalf (the TCP socket under an MPTCP one).
#[inline(always)]
unsafe fn storage(socket: *const u8, new: u8) -> Option<*mut SocketState> {
    unsafe {
        if let Some(state) = SOCKETS.get(socket) {
            return Some(state);
        }
        let current = bpf_get_current_task_btf() as *const u8;
        if (new != SYN_SENT && new != LISTEN) || task::is_kernel(current) {
            return None;
        }
        let mut state = fresh(socket, task::key(current), socket_flag::SEEDED);
        let state = SOCKETS.get_or_insert(socket, &mut state);
        if state.is_none() {
            bump(&STATS, stat::STORAGE_FAILED);
        }
        state
    }
}

/// A connection of the kernel itself, or one of which nobody saw the owner.
#[inline(always)]
unsafe fn unowned(socket: *const u8, tcp: *const u8, old: u8, new: u8) -> i32 {
    if new == LISTEN {
        return 0;
    }
    unsafe {
        let state = fresh(socket, ProcessKey { tgid: 0, reserved: 0, start_ns: 0 }, 0);
        record(socket, tcp, &state, old, new);
    }
    0
}

/// Storage for a socket whose creation was not seen.
///
/// # Safety
/// The verifier knows `socket` as a `struct sock`.
#[inline(always)]
pub unsafe fn fresh(socket: *const u8, process: ProcessKey, flags: u32) -> SocketState {
    unsafe {
        let net: *const u8 = read(socket, &SKC_NET);
        SocketState {
            process,
            cookie: bpf_get_socket_cookie(socket.cast_mut().cast()),
            opened_ns: ring::now(),
            counters: Counters { tx_bytes: 0, rx_bytes: 0, tx_packets: 0, rx_packets: 0 },
            told_tx_bytes: 0,
            told_rx_bytes: 0,
            net_ns: read(net, &NET_INUM),
            flags,
        }
    }
}

#[inline(always)]
unsafe fn record(socket: *const u8, tcp: *const u8, state: &SocketState, old: u8, new: u8) {
    unsafe {
        let passed = counters(tcp);
        let recorded = ring::emit(kind::TCP, |record: *mut TcpRecord| {
            (*record).process = state.process;
            (*record).cookie = state.cookie;
            (*record).opened_ns = state.opened_ns;
            (*record).tuple = ends(socket, tcp);
            (*record).counters = passed;
            (*record).error = read(socket, &SK_ERR);
            (*record).net_ns = state.net_ns;
            (*record).flags = state.flags;
            (*record).old_state = old;
            (*record).new_state = new;
            (*record).reserved = 0;
        });
        if !recorded && new == CLOSE {
            let tx_bytes = passed.tx_bytes.wrapping_sub(state.told_tx_bytes);
            let rx_bytes = passed.rx_bytes.wrapping_sub(state.told_rx_bytes);
            residue::keep(&state.process, tx_bytes, rx_bytes);
        }
    }
}

/// As [`tuple::of_socket`], with the port that was in use: on the way to `CLOSE` the kernel gives the bound
/// port back (`inet_put_port`) before it tells the change, and keeps it in `inet_sport`.
#[inline(always)]
unsafe fn ends(socket: *const u8, tcp: *const u8) -> Tuple {
    unsafe {
        let mut ends = tuple::of_socket(socket);
        if ends.local_port == 0 {
            ends.local_port = u16::from_be(read(tcp, &TP_INET_SPORT));
        }
        ends
    }
}

/// Payload of the stream in both directions: what was sent once, and what was received in order.
///
/// `bytes_sent` counts payload with its repetitions (Linux 4.19). `bytes_received` counts a received FIN as one.
///
/// # Safety
/// `tcp` is a `struct tcp_sock`.
#[inline(always)]
pub unsafe fn counters(tcp: *const u8) -> Counters {
    unsafe {
        let (sent, repeated): (u64, u64) = (read(tcp, &TP_BYTES_SENT), read(tcp, &TP_BYTES_RETRANS));
        let received: u64 = read(tcp, &TP_BYTES_RECEIVED);
        let finished = read::<u64>(tcp, &SKC_FLAGS) & SOCK_DONE != 0;
        Counters {
            tx_bytes: if sent > repeated { sent - repeated } else { 0 },
            rx_bytes: if finished && received > 0 { received - 1 } else { received },
            tx_packets: u64::from(read::<u32>(tcp, &TP_SEGS_OUT)),
            rx_packets: u64::from(read::<u32>(tcp, &TP_SEGS_IN)),
        }
    }
}
