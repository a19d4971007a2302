//! Packets of sockets other than TCP: counted per socket and per flow, with a record at a flow's first.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use sekhmet_common::kernel::{
    Counters, FlowKey, FlowValue, PacketFlowRecord, SocketState, Tuple, kind, socket_flag, stat,
};

use super::{residue, socket::TCP, tuple::mapped};
use crate::{
    maps::{FLOWS, SOCKETS, STATS, add, bump},
    ring, verdict,
};

/// Let the packet pass.
const PASS: i32 = 1;

/// Drop it; its sender, if here, gets `EPERM`.
const DROP: i32 = 0;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const UDPLITE: u8 = 136;
const SCTP: u8 = 132;
/// Bytes of a UDP header (RFC 768).
const UDP_HEADER: u32 = 8;
/// Bytes of an IPv6 header (RFC 8200).
const IPV6_HEADER: u32 = 40;
/// IPv6 extension headers that are followed; more than any sane packet has.
const EXTENSIONS_MAX: usize = 4;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To a socket of this machine.
    In,
    /// From a socket of this machine.
    Out,
}

/// What a packet's headers say.
pub struct Packet {
    /// Where it comes from; IPv4 in its IPv6 form.
    pub source: [u8; 16],
    /// Where it goes.
    pub target: [u8; 16],
    /// IP protocol number, behind all extension headers.
    pub protocol: u8,
    /// Bytes before what the transport protocol carries.
    pub header_length: u32,
}

/// Adds a packet to its socket's and its flow's counters. The packet begins with its IP header.
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
        let Some(state) = SOCKETS.get(socket.cast()) else { return PASS };
        let Some(packet) = parse(skb) else { return PASS };
        let (source_port, target_port, transport_header) = transport(skb, &packet);
        let headers = packet.header_length + transport_header;
        let total = (*skb).len;
        let bytes = u64::from(if total > headers { total - headers } else { 0 });
        let segments = (*skb).gso_segs;
        let packets = u64::from(if segments == 0 { 1 } else { segments });
        let tuple = orient(&packet, (source_port, target_port), way);
        charge(&raw mut (*state).counters, way, bytes, packets);
        flow(&*state, tuple, way, bytes, packets);
    }
    PASS
}

#[inline(always)]
unsafe fn charge(counters: *mut Counters, way: Way, bytes: u64, packets: u64) {
    unsafe {
        match way {
            Way::Out => {
                add(&raw mut (*counters).tx_bytes, bytes);
                add(&raw mut (*counters).tx_packets, packets);
            }
            Way::In => {
                add(&raw mut (*counters).rx_bytes, bytes);
                add(&raw mut (*counters).rx_packets, packets);
            }
        }
    }
}

/// Finds or makes the flow's entry and adds to it; a new flow is recorded.
#[inline(always)]
unsafe fn flow(state: &SocketState, tuple: Tuple, way: Way, bytes: u64, packets: u64) {
    let key = FlowKey { cookie: state.cookie, tuple };
    let mut slot = FLOWS.get_ptr_mut(&key);
    if slot.is_none() {
        let direction = if way == Way::Out { socket_flag::OUTBOUND } else { socket_flag::INBOUND };
        let value = FlowValue {
            process: state.process,
            opened_ns: ring::now(),
            counters: Counters { tx_bytes: 0, rx_bytes: 0, tx_packets: 0, rx_packets: 0 },
            net_ns: state.net_ns,
            flags: state.flags | direction,
        };
        let inserted = FLOWS.insert(&key, &value, BPF_NOEXIST.into()).is_ok();
        // Also after a failure: another CPU may have been faster with the same flow.
        slot = FLOWS.get_ptr_mut(&key);
        if inserted {
            ring::emit(kind::PACKET_FLOW, |record: *mut PacketFlowRecord| unsafe {
                (*record).process = state.process;
                (*record).key = key;
                (*record).net_ns = state.net_ns;
                (*record).flags = value.flags;
            });
        }
    }
    match slot {
        Some(value) => unsafe { charge(&raw mut (*value).counters, way, bytes, packets) },
        None => {
            // No room for the flow: its bytes go to the process alone, so that the process's total stays exact.
            bump(&STATS, stat::FLOW_MAP_FULL);
            match way {
                Way::Out => residue::keep(&state.process, bytes, 0),
                Way::In => residue::keep(&state.process, 0, bytes),
            }
        }
    }
}

#[inline(always)]
fn orient(packet: &Packet, (source_port, target_port): (u16, u16), way: Way) -> Tuple {
    let (local, remote, local_port, remote_port) = match way {
        Way::Out => (packet.source, packet.target, source_port, target_port),
        Way::In => (packet.target, packet.source, target_port, source_port),
    };
    Tuple { local, remote, local_port, remote_port, protocol: packet.protocol, reserved: [0; 3] }
}

/// Reads the headers of a packet that begins with its IP header.
///
/// # Safety
/// `skb` is the context of a packet program.
#[inline(always)]
pub unsafe fn parse(skb: *mut __sk_buff) -> Option<Packet> {
    unsafe {
        match u16::from_be((*skb).protocol as u16) {
            ETHERTYPE_IPV4 => ipv4(skb),
            ETHERTYPE_IPV6 => ipv6(skb),
            _ => None,
        }
    }
}

#[inline(always)]
unsafe fn ipv4(skb: *mut __sk_buff) -> Option<Packet> {
    let header: [u8; 20] = unsafe { load(skb, 0)? };
    Some(Packet {
        source: mapped([header[12], header[13], header[14], header[15]]),
        target: mapped([header[16], header[17], header[18], header[19]]),
        protocol: header[9],
        header_length: u32::from(header[0] & 0x0f) * 4,
    })
}

#[inline(always)]
unsafe fn ipv6(skb: *mut __sk_buff) -> Option<Packet> {
    unsafe {
        let mut protocol = load::<[u8; 1]>(skb, 6)?[0];
        let mut header_length = IPV6_HEADER;
        for _ in 0..EXTENSIONS_MAX {
            let rule = core::ptr::read_volatile(EXTENSIONS.as_ptr().wrapping_add(protocol as usize));
            if rule.shift == 0 {
                break;
            }
            let [next, length] = load::<[u8; 2]>(skb, header_length)?;
            header_length += (u32::from(length & rule.mask) + u32::from(rule.plus)) << (rule.shift & 3);
            protocol = next;
        }
        Some(Packet { source: load(skb, 8)?, target: load(skb, 24)?, protocol, header_length })
    }
}

/// How long an IPv6 extension header is: `((length & mask) + plus) << shift` bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    mask: u8,
    plus: u8,
    /// 0 for a protocol that is no extension header.
    shift: u8,
    reserved: u8,
}

/// By protocol number. A table instead of a choice: each choice in the loop would double what the verifier walks.
static EXTENSIONS: [Extension; 256] = {
    let mut rules = [Extension { mask: 0, plus: 0, shift: 0, reserved: 0 }; 256];
    let in_units_of_8 = Extension { mask: 0xff, plus: 1, shift: 3, reserved: 0 };
    // Hop-by-hop options, routing, destination options (RFC 8200).
    rules[0] = in_units_of_8;
    rules[43] = in_units_of_8;
    rules[60] = in_units_of_8;
    // Fragment: always 8 bytes.
    rules[44] = Extension { mask: 0, plus: 1, shift: 3, reserved: 0 };
    // Authentication, in units of 4 less two (RFC 4302).
    rules[51] = Extension { mask: 0xff, plus: 2, shift: 2, reserved: 0 };
    rules
};

/// Source port, target port, and bytes of the transport header that are not payload.
#[inline(always)]
unsafe fn transport(skb: *mut __sk_buff, packet: &Packet) -> (u16, u16, u32) {
    let header = match packet.protocol {
        UDP | UDPLITE => UDP_HEADER,
        SCTP => 0,
        _ => return (0, 0, 0),
    };
    match unsafe { load::<[u8; 4]>(skb, packet.header_length) } {
        Some([a, b, c, d]) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), header),
        None => (0, 0, header),
    }
}

#[inline(always)]
unsafe fn load<T: Copy>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let size = size_of::<T>() as u32;
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), offset, value.as_mut_ptr().cast(), size) };
    if failed != 0 { None } else { Some(unsafe { value.assume_init() }) }
}
