//! Packets of sockets other than TCP: counted per flow, with a record at a flow's first.
//!
//! Nearly every packet belongs to the first flow of its socket. That one is counted beside the socket: one look-up,
//! one comparison, two additions. Further flows of the same socket are in a map of their own.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST, bpf_sock},
    helpers::generated::{bpf_get_smp_processor_id, bpf_sk_fullsock},
    programs::SkBuffContext,
};
use sekhmet_common::kernel::{
    Counters, FirstFlow, FlowKey, FlowValue, PacketFlowRecord, Passed, SocketState, kind, socket_flag, stat,
};

use super::{
    copy_key,
    headers::{self, Seen, Words},
    residue,
    socket::TCP,
};
use crate::{
    maps::{FIRST, FLOWS, SOCKETS, STATS, add, bump, zero},
    ring, verdict,
};

/// Let the packet pass.
const PASS: i32 = 1;

/// Drop it; its sender, if here, gets `EPERM`.
const DROP: i32 = 0;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To a socket of this machine.
    In,
    /// From a socket of this machine.
    Out,
}

impl Way {
    /// The direction of a flow whose first packet goes this way.
    #[inline(always)]
    fn flag(self) -> u32 {
        if self == Self::Out { socket_flag::OUTBOUND } else { socket_flag::INBOUND }
    }
}

/// Adds a packet to its flow's counters. The packet begins with its IP header.
#[inline(always)]
pub fn count(ctx: &SkBuffContext, way: Way) -> i32 {
    let skb = ctx.skb.skb;
    unsafe {
        let socket = (*skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return PASS;
        }
        let socket = bpf_sk_fullsock(socket);
        if socket.is_null() {
            return PASS;
        }
        if verdict::packet::is_refused(skb, socket, way) {
            return DROP;
        }
        // TCP keeps its own counters; leaving it out also keeps a listener's packets out of its connections.
        if (*socket).protocol == TCP {
            return PASS;
        }
        let Some(seen) = headers::read(skb, way) else { return PASS };
        let passed = passed(skb, &seen);
        let first = FIRST.get(socket.cast());
        if let Some(first) = first
            && is(first, &seen.words)
        {
            charge(first, way, passed);
            return PASS;
        }
        let Some(state) = SOCKETS.get(socket.cast()) else { return PASS };
        if first.is_some() || !begin(socket, state, &seen, way, passed) {
            further(state, &seen, way, passed);
        }
    }
    PASS
}

#[inline(always)]
unsafe fn passed(skb: *mut __sk_buff, seen: &Seen) -> Passed {
    unsafe {
        let (total, segments) = ((*skb).len, (*skb).gso_segs);
        Passed {
            bytes: u64::from(if total > seen.headers { total - seen.headers } else { 0 }),
            packets: u64::from(if segments == 0 { 1 } else { segments }),
        }
    }
}

/// Whether the socket's first flow has these ends.
///
/// # Safety
/// `first` is a value of the map of first flows.
#[inline(always)]
pub unsafe fn is(first: *mut FirstFlow, words: &Words) -> bool {
    unsafe {
        let its: *const u64 = (&raw const (*first).tuple).cast();
        read_volatile(its.add(4)) == words[4]
            && read_volatile(its.add(3)) == words[3]
            && read_volatile(its.add(1)) == words[1]
            && read_volatile(its.add(2)) == words[2]
            && read_volatile(its) == words[0]
    }
}

#[inline(always)]
unsafe fn charge(first: *mut FirstFlow, way: Way, passed: Passed) {
    unsafe {
        let sum = match way {
            Way::Out => &raw mut (*first).tx,
            Way::In => &raw mut (*first).rx,
        };
        add(&raw mut (*sum).bytes, passed.bytes);
        add(&raw mut (*sum).packets, passed.packets);
    }
}

/// Makes this flow the socket's first and records it. Whether the packet is counted with that.
#[inline(always)]
unsafe fn begin(
    socket: *mut bpf_sock,
    state: *mut SocketState,
    seen: &Seen,
    way: Way,
    passed: Passed,
) -> bool {
    unsafe {
        let zero = zero();
        let mut mine = FirstFlow {
            tuple: seen.tuple(),
            opened_ns: ring::now(),
            flags: (*state).flags | socket_flag::FIRST | way.flag(),
            cpu: bpf_get_smp_processor_id(),
            tx: Passed { bytes: zero, packets: zero },
            apart: [zero; 6],
            rx: Passed { bytes: zero, packets: zero },
        };
        // Another CPU may be faster, with this flow or with another: the kernel lets only one in.
        let Some(first) = FIRST.get_or_insert(socket.cast(), &mut mine) else { return false };
        if !is(first, &seen.words) {
            return false;
        }
        charge(first, way, passed);
        if read_volatile(&raw const (*first).opened_ns) == mine.opened_ns
            && read_volatile(&raw const (*first).cpu) == mine.cpu
        {
            record(state, seen, mine.flags);
        }
        true
    }
}

#[inline(always)]
unsafe fn record(state: *mut SocketState, seen: &Seen, flags: u32) {
    ring::emit(kind::PACKET_FLOW, |record: *mut PacketFlowRecord| unsafe {
        copy_key(&raw mut (*record).process, &raw const (*state).process);
        (*record).key.cookie = read_volatile(&raw const (*state).cookie);
        (*record).key.tuple = seen.tuple();
        (*record).net_ns = read_volatile(&raw const (*state).net_ns);
        (*record).flags = flags;
    });
}

/// Finds or makes the flow's entry in the map and adds to it; a new flow is recorded.
#[inline(always)]
unsafe fn further(state: *mut SocketState, seen: &Seen, way: Way, passed: Passed) {
    unsafe {
        let key = FlowKey { cookie: (*state).cookie, tuple: seen.tuple() };
        let mut slot = FLOWS.get_ptr_mut(&key);
        if slot.is_none() {
            let value = FlowValue {
                process: (*state).process,
                opened_ns: ring::now(),
                counters: Counters { tx_bytes: 0, rx_bytes: 0, tx_packets: 0, rx_packets: 0 },
                net_ns: (*state).net_ns,
                flags: (*state).flags | way.flag(),
            };
            let inserted = FLOWS.insert(&key, &value, BPF_NOEXIST.into()).is_ok();
            // Also after a failure: another CPU may have been faster with the same flow.
            slot = FLOWS.get_ptr_mut(&key);
            if inserted {
                record(state, seen, value.flags);
            }
        }
        match slot {
            Some(value) => {
                let (bytes, packets) = match way {
                    Way::Out => (&raw mut (*value).counters.tx_bytes, &raw mut (*value).counters.tx_packets),
                    Way::In => (&raw mut (*value).counters.rx_bytes, &raw mut (*value).counters.rx_packets),
                };
                add(bytes, passed.bytes);
                add(packets, passed.packets);
            }
            None => {
                // No room for the flow: its bytes go to the process alone, so that the process's total stays exact.
                bump(&STATS, stat::FLOW_MAP_FULL);
                let process = (*state).process;
                match way {
                    Way::Out => residue::keep(&process, passed.bytes, 0),
                    Way::In => residue::keep(&process, 0, passed.bytes),
                }
            }
        }
    }
}
