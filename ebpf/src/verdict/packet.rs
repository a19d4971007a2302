//! Packets of sockets that are bound to rules: the last word, in every network namespace.

use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use sekhmet_common::kernel::{
    FlowKey, ProcessKey, RefusalKey, SocketPolicy, SocketState, Tuple,
    mark::{RULE_MASK, SILENT},
    policy::{Began, refusal_flag, refuses},
    socket_flag, tcp_state,
};

use super::{is_active, mark_of_socket, refusal};
use crate::{
    maps::{BOUND_SOCKETS, FIRST, FLOWS, SOCKETS},
    net::{
        headers::{self, Seen, load},
        packet::{Way, is},
        socket::TCP,
    },
};

/// The loopback interface has this number in every network namespace.
const LOOPBACK: u32 = 1;

const UDP: u8 = 17;
const UDPLITE: u8 = 136;
const ICMP6: u8 = 58;
/// Bytes of a UDP header (RFC 768).
const UDP_HEADER: u32 = 8;
/// Where length and flags are in a TCP header, and two of the flags (RFC 9293).
const TCP_LENGTH_AT: u32 = 12;
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;
/// Ports of a DHCP client and its servers, RFC 2131 and RFC 9915.
const DHCP: (u16, u16) = (68, 67);
const DHCP6: (u16, u16) = (546, 547);
/// Neighbour discovery: router solicitation to redirect (RFC 4861).
const DISCOVERY: core::ops::RangeInclusive<u8> = 133..=137;

/// Whether this packet must not pass. With no rule in force this is one look at one word.
#[inline(always)]
pub fn is_refused(skb: *mut __sk_buff, socket: *mut bpf_sock, way: Way) -> bool {
    if !is_active() {
        return false;
    }
    match unsafe { BOUND_SOCKETS.get(socket.cast()) } {
        Some(bound) => unsafe { judge(skb, socket, bound, way) },
        None => false,
    }
}

#[inline(always)]
unsafe fn judge(skb: *mut __sk_buff, socket: *mut bpf_sock, bound: *mut SocketPolicy, way: Way) -> bool {
    unsafe {
        let mark = mark_of_socket(&*bound);
        if mark == 0 {
            return false;
        }
        let Some(seen) = headers::read(skb, way) else { return true };
        let mut tuple = seen.tuple();
        let header = seen.headers - if matches!(tuple.protocol, UDP | UDPLITE) { UDP_HEADER } else { 0 };
        if u32::from(tuple.protocol) == TCP {
            (tuple.local_port, tuple.remote_port) = ports(skb, header, way);
        }
        let interface = if way == Way::Out { (*skb).ifindex } else { (*skb).ingress_ifindex };
        let stays = interface == LOOPBACK;
        // The strictest question first: what is free then needs no other.
        if !refuses(mark, stays, tuple.remote_port, Began::Unknown) || is_exempt(skb, header, &tuple) {
            return false;
        }
        let state = SOCKETS.get(socket.cast());
        let began = began(socket, state, &seen, way);
        if !refuses(mark, stays, tuple.remote_port, began) || is_news(skb, header, &tuple, way, stays, mark) {
            return false;
        }
        let (process, net_ns) = match state {
            Some(state) => ((*state).process, (*state).net_ns),
            None => (ProcessKey { tgid: 0, reserved: 0, start_ns: 0 }, 0),
        };
        // The ports that others call from differ each time.
        let (direction, remote_port) = match (began, way) {
            (Began::There, _) | (Began::Unknown, Way::In) => (refusal_flag::INBOUND, 0),
            _ => (0, tuple.remote_port),
        };
        let key = RefusalKey {
            process,
            remote: tuple.remote,
            rule: mark & RULE_MASK,
            remote_port,
            protocol: tuple.protocol,
            flags: direction | if stays { refusal_flag::LOCAL } else { 0 },
        };
        refusal::count(&key, net_ns);
        true
    }
}

/// This side's port and the other's, from behind the IP headers.
#[inline(always)]
unsafe fn ports(skb: *mut __sk_buff, header: u32, way: Way) -> (u16, u16) {
    match (unsafe { load::<[u8; 4]>(skb, header) }, way) {
        (Some([a, b, c, d]), Way::Out) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        (Some([a, b, c, d]), Way::In) => (u16::from_be_bytes([c, d]), u16::from_be_bytes([a, b])),
        (None, _) => (0, 0),
    }
}

/// Without these a machine would lose its network.
#[inline(always)]
unsafe fn is_exempt(skb: *mut __sk_buff, header: u32, tuple: &Tuple) -> bool {
    let ports = (tuple.local_port, tuple.remote_port);
    match tuple.protocol {
        UDP => ports == DHCP || ports == DHCP6,
        ICMP6 => {
            unsafe { load::<[u8; 1]>(skb, header) }.is_some_and(|[message]| DISCOVERY.contains(&message))
        }
        _ => false,
    }
}

/// A reset says that it is over and carries nothing. In: the firewall's own answer to what it refused, which comes
/// over loopback. Out: so that the other end of a connection that was closed does not wait for ever.
#[inline(always)]
unsafe fn is_news(skb: *mut __sk_buff, header: u32, tuple: &Tuple, way: Way, stays: bool, mark: u32) -> bool {
    let may = if way == Way::In { stays } else { mark & SILENT == 0 };
    if u32::from(tuple.protocol) != TCP || !may {
        return false;
    }
    match unsafe { load::<[u8; 2]>(skb, header + TCP_LENGTH_AT) } {
        Some([length, flags]) => {
            let headers = header + u32::from(length >> 4) * 4;
            flags & (TCP_RST | TCP_SYN) == TCP_RST && unsafe { (*skb).len } <= headers
        }
        None => false,
    }
}

/// Who began the flow.
#[inline(always)]
unsafe fn began(socket: *mut bpf_sock, state: Option<*mut SocketState>, seen: &Seen, way: Way) -> Began {
    unsafe {
        if (*socket).protocol == TCP && (*socket).state == u32::from(tcp_state::LISTEN) {
            return Began::There;
        }
        let Some(state) = state else { return Began::Unknown };
        let flags =
            if (*socket).protocol == TCP { (*state).flags } else { flow_flags(socket, state, seen, way) };
        match flags & (socket_flag::INBOUND | socket_flag::OUTBOUND) {
            socket_flag::INBOUND => Began::There,
            socket_flag::OUTBOUND => Began::Here,
            _ => Began::Unknown,
        }
    }
}

/// What is known of a flow without connection; of a new one, that this is its first packet.
#[inline(always)]
unsafe fn flow_flags(socket: *mut bpf_sock, state: *mut SocketState, seen: &Seen, way: Way) -> u32 {
    unsafe {
        if let Some(first) = FIRST.get(socket.cast())
            && is(first, &seen.words)
        {
            return (*first).flags;
        }
        let key = FlowKey { cookie: (*state).cookie, tuple: seen.tuple() };
        match FLOWS.get_ptr(&key) {
            Some(flow) => (*flow).flags,
            None if way == Way::In => socket_flag::INBOUND,
            None => socket_flag::OUTBOUND,
        }
    }
}
