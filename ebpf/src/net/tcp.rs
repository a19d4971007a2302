//! TCP connections: opening, established, closed, with the counters that the kernel keeps itself.

use core::ptr::read_volatile;

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
    programs::BtfTracePointContext,
};
use sekhmet_common::kernel::{
    Counters, ProcessKey, SocketState, TcpRecord, kind, socket_flag, stat, tcp_state::*, turn,
};

use super::{copy_key, residue, tuple};
use crate::{
    maps::{SOCKETS, STATS, TURNS, bump, zero},
    offsets::*,
    ring, task, verdict,
};

/// Number of the bit in `sock.sk_flags` (`enum sock_flags`) that says: the other side's FIN has been received.
const SOCK_DONE: u64 = 1;

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`.
///
/// Only the changes to `SYN_SENT` and to `LISTEN` happen in the process's own context; others come from packets
/// and timers, so the owner is taken from the socket's storage.
#[inline(always)]
pub fn set_state(ctx: &BtfTracePointContext) -> i32 {
    // The kernel does not run a tracing program that is at work on the same processor already.
    if TURNS.get_ptr_mut(turn::AT_WORK).is_some_and(|at_work| unsafe { read_volatile(at_work) } != 0) {
        bump(&TURNS, turn::SPARED);
    }
    let Some(change) = Change::wanted(ctx) else { return 0 };
    unsafe { change.tell(storage(change.socket, change.new)) };
    0
}

/// The same tracepoint once more, after [`set_state`]: takes care of the changes for which the kernel did not run it.
///
/// An interrupt may find the first program at work and bring packets of other connections. It can do so only once
/// on a processor, so that one of the two is always free.
#[inline(always)]
pub fn set_state_again(ctx: &BtfTracePointContext) -> i32 {
    let Some(at_work) = TURNS.get_ptr_mut(turn::AT_WORK) else { return 0 };
    unsafe {
        // First of all and to the last: what comes in between is counted as missed here.
        at_work.write_volatile(1);
        if let Some(change) = Change::wanted(ctx)
            // Connections without an owner are the kernel's own; those are left to the first program.
            && let Some(state) = SOCKETS.get(change.socket)
            && read_volatile(&raw const (*state).told_state) != u32::from(change.new)
        {
            change.tell(Some(state));
        }
        at_work.write_volatile(0);
    }
    0
}

/// A change of state that is told.
struct Change {
    socket: *const u8,
    old: u8,
    new: u8,
}

impl Change {
    #[inline(always)]
    fn wanted(ctx: &BtfTracePointContext) -> Option<Self> {
        let (socket, old, new): (*const u8, u32, u32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
        let (old, new) = (old as u8, new as u8);
        let wanted = match new {
            SYN_SENT | ESTABLISHED | LISTEN => true,
            CLOSE => old != LISTEN,
            _ => false,
        };
        unsafe {
            if !wanted || read::<u16>(socket, &SK_PROTOCOL) != super::socket::TCP as u16 {
                return None;
            }
        }
        Some(Self { socket, old, new })
    }

    /// Records it and keeps the socket's storage true.
    #[inline(always)]
    unsafe fn tell(&self, state: Option<*mut SocketState>) {
        let Self { socket, old, new } = *self;
        unsafe {
            if let Some(state) = state {
                (*state).told_state = u32::from(new);
            }
            if new == LISTEN {
                // No connection, but those that come inherit the owner and the namespace.
                if let Some(state) = state {
                    (*state).net_ns = net_ns(socket);
                }
                return;
            }
            let tcp = bpf_skc_to_tcp_sock(socket.cast_mut().cast()) as *const u8;
            if tcp.is_null() {
                return;
            }
            let at_ns = ring::now();
            if let Some(state) = state {
                begin(socket, state, old, new, at_ns);
            }
            record(socket, tcp, state, old, new, at_ns);
            if let Some(state) = state
                && new == CLOSE
            {
                // The socket may connect again, or listen and hand its storage on.
                (*state).flags &= !(socket_flag::INBOUND | socket_flag::OUTBOUND);
            }
        }
    }
}

/// Keeps a socket's storage true at the beginning of a connection.
#[inline(always)]
unsafe fn begin(socket: *const u8, state: *mut SocketState, old: u8, new: u8, at_ns: u64) {
    unsafe {
        if new == SYN_SENT {
            (*state).opened_ns = at_ns;
            (*state).net_ns = net_ns(socket);
            (*state).flags = ((*state).flags & !socket_flag::INBOUND) | socket_flag::OUTBOUND;
            let zero = zero();
            (*state).told_tx_bytes = zero;
            (*state).told_rx_bytes = zero;
        } else if new == ESTABLISHED && old == SYN_RECV && (*state).flags & socket_flag::OUTBOUND == 0 {
            // A copy of the listener's storage becomes the connection's own.
            (*state).cookie = bpf_get_socket_cookie(socket.cast_mut().cast());
            (*state).opened_ns = at_ns;
            (*state).flags |= socket_flag::INBOUND;
        }
    }
}

/// The socket's storage. One that has none and begins to connect or to listen gets it here: a socket that is
/// older than the watch, or one that the kernel makes on a program's behalf (the TCP socket under an MPTCP one).
#[inline(always)]
unsafe fn storage(socket: *const u8, new: u8) -> Option<*mut SocketState> {
    unsafe {
        if let Some(state) = SOCKETS.get(socket) {
            return Some(state);
        }
        if new != SYN_SENT && new != LISTEN {
            return None;
        }
        let current = bpf_get_current_task_btf() as *const u8;
        if task::is_kernel(current) {
            return None;
        }
        let mut state = fresh(socket, task::key(current), socket_flag::SEEDED);
        let owner = state.process;
        let state = SOCKETS.get_or_insert(socket, &mut state);
        if state.is_none() {
            bump(&STATS, stat::STORAGE_FAILED);
        }
        // Its mark, where it has one, is its maker's; that the packets are refused does not depend on it.
        verdict::subject::bind_socket(socket, &owner);
        state
    }
}

/// Storage for a socket whose creation was not seen.
///
/// # Safety
/// The verifier knows `socket` as a `struct sock`.
#[inline(always)]
pub unsafe fn fresh(socket: *const u8, process: ProcessKey, flags: u32) -> SocketState {
    let zero = zero();
    unsafe {
        SocketState {
            process,
            cookie: bpf_get_socket_cookie(socket.cast_mut().cast()),
            opened_ns: ring::now(),
            net_ns: net_ns(socket),
            flags,
            told_state: 0,
            reserved: 0,
            told_tx_bytes: zero,
            told_rx_bytes: zero,
        }
    }
}

#[inline(always)]
unsafe fn record(
    socket: *const u8,
    tcp: *const u8,
    state: Option<*mut SocketState>,
    old: u8,
    new: u8,
    at_ns: u64,
) {
    unsafe {
        let Some(mut entry) = ring::begin::<TcpRecord>(kind::TCP, at_ns) else {
            if new == CLOSE {
                keep(tcp, state);
            }
            return;
        };
        let record = entry.as_mut_ptr();
        owner(record, socket, state);
        tuple::write(&raw mut (*record).tuple, socket);
        if (*record).tuple.local_port == 0 {
            // On the way to CLOSE the kernel gives the bound port back (inet_put_port) before it tells the
            // change, and keeps it here.
            (*record).tuple.local_port = u16::from_be(read(tcp, &TP_INET_SPORT));
        }
        counters(&raw mut (*record).counters, tcp);
        (*record).error = read(socket, &SK_ERR);
        (*record).old_state = old;
        (*record).new_state = new;
        (*record).reserved = 0;
        entry.submit();
    }
}

/// Writes what comes from the storage. Without it, this is a connection of the kernel itself, or one of which
/// nobody saw the owner.
#[inline(always)]
unsafe fn owner(record: *mut TcpRecord, socket: *const u8, state: Option<*mut SocketState>) {
    unsafe {
        match state {
            Some(state) => {
                copy_key(&raw mut (*record).process, &raw const (*state).process);
                (*record).cookie = read_volatile(&raw const (*state).cookie);
                (*record).opened_ns = read_volatile(&raw const (*state).opened_ns);
                (*record).net_ns = read_volatile(&raw const (*state).net_ns);
                (*record).flags = read_volatile(&raw const (*state).flags);
            }
            None => {
                (*record).process = ProcessKey { tgid: 0, reserved: 0, start_ns: 0 };
                (*record).cookie = bpf_get_socket_cookie(socket.cast_mut().cast());
                (*record).opened_ns = 0;
                (*record).net_ns = net_ns(socket);
                (*record).flags = 0;
            }
        }
    }
}

/// Keeps the last bytes of a connection whose end found no room.
#[inline(always)]
unsafe fn keep(tcp: *const u8, state: Option<*mut SocketState>) {
    let Some(state) = state else { return };
    unsafe {
        let (tx_bytes, rx_bytes) = bytes(tcp);
        let mut process = ProcessKey { tgid: 0, reserved: 0, start_ns: 0 };
        copy_key(&mut process, &raw const (*state).process);
        let tx_bytes = tx_bytes.wrapping_sub((*state).told_tx_bytes);
        let rx_bytes = rx_bytes.wrapping_sub((*state).told_rx_bytes);
        residue::keep(&process, tx_bytes, rx_bytes);
    }
}

/// Writes payload and segments of the stream in both directions.
///
/// # Safety
/// `tcp` is a `struct tcp_sock`; `out` is room for counters.
#[inline(always)]
pub unsafe fn counters(out: *mut Counters, tcp: *const u8) {
    unsafe {
        let (tx_bytes, rx_bytes) = bytes(tcp);
        (*out).tx_bytes = tx_bytes;
        (*out).rx_bytes = rx_bytes;
        (*out).tx_packets = u64::from(read::<u32>(tcp, &TP_SEGS_OUT));
        (*out).rx_packets = u64::from(read::<u32>(tcp, &TP_SEGS_IN));
    }
}

/// Payload sent, each byte once, and payload received in order.
///
/// `bytes_sent` counts payload with its repetitions (Linux 4.19). `bytes_received` counts a received FIN as one.
#[inline(always)]
unsafe fn bytes(tcp: *const u8) -> (u64, u64) {
    unsafe {
        let (sent, repeated): (u64, u64) = (read(tcp, &TP_BYTES_SENT), read(tcp, &TP_BYTES_RETRANS));
        let received: u64 = read(tcp, &TP_BYTES_RECEIVED);
        let finished = (read::<u64>(tcp, &SKC_FLAGS) >> SOCK_DONE) & 1;
        (
            if sent > repeated { sent - repeated } else { 0 },
            if received > 0 { received - finished } else { 0 },
        )
    }
}

/// Inode number of a socket's network namespace.
#[inline(always)]
unsafe fn net_ns(socket: *const u8) -> u32 {
    unsafe {
        let net: *const u8 = read(socket, &SKC_NET);
        read(net, &NET_INUM)
    }
}
