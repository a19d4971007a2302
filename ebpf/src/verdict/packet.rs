//! Packets of sockets that are bound to rules: the last word, in every network namespace.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::bpf_skb_load_bytes,
};
use sekhmet_common::kernel::{
    FlowKey, ProcessKey, RefusalKey, SocketPolicy, SocketState, Tuple,
    mark::RULE_MASK,
    policy::{Began, refusal_flag, refuses},
    socket_flag, tcp_state,
};

use super::{is_active, mark_of_socket, refusal};
use crate::{
    maps::{BOUND_SOCKETS, FLOWS, SOCKETS},
    net::{
        packet::{Packet, Way, parse},
        socket::TCP,
    },
};

/// The loopback interface has this number in every network namespace.
const LOOPBACK: u32 = 1;

const UDP: u8 = 17;
const UDPLITE: u8 = 136;
const SCTP: u8 = 132;
const ICMP6: u8 = 58;
/// Where the flags are in a TCP header, and the one that says "reset" (RFC 9293).
const TCP_FLAGS_AT: u32 = 13;
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
        let Some(packet) = parse(skb) else { return true };
        let (source_port, target_port) = ports(skb, &packet);
        let (remote, remote_port, local_port, interface) = match way {
            Way::Out => (packet.target, target_port, source_port, (*skb).ifindex),
            Way::In => (packet.source, source_port, target_port, (*skb).ingress_ifindex),
        };
        let stays = interface == LOOPBACK;
        // Asked first: what is free in both directions needs no more.
        if !refuses(mark, stays, remote_port, Began::Unknown)
            || is_exempt(skb, &packet, local_port, remote_port)
        {
            return false;
        }
        let state = SOCKETS.get(socket.cast());
        let began = began(socket, state, &packet, (local_port, remote_port), way);
        if !refuses(mark, stays, remote_port, began) {
            return false;
        }
        // The firewall's own answer to a refused connection comes this way.
        if way == Way::In && stays && is_reset(skb, &packet) {
            return false;
        }
        // The ports that others call from differ each time.
        let (direction, remote_port) = match (began, way) {
            (Began::There, _) | (Began::Unknown, Way::In) => (refusal_flag::INBOUND, 0),
            _ => (0, remote_port),
        };
        let local = if stays { refusal_flag::LOCAL } else { 0 };
        let (process, net_ns) = match state {
            Some(state) => ((*state).process, (*state).net_ns),
            None => (ProcessKey { tgid: 0, reserved: 0, start_ns: 0 }, 0),
        };
        let protocol = packet.protocol;
        let rule = mark & RULE_MASK;
        refusal::count(
            &RefusalKey { process, remote, rule, remote_port, protocol, flags: direction | local },
            net_ns,
        );
        true
    }
}

/// Source and target port; 0 for protocols without.
#[inline(always)]
unsafe fn ports(skb: *mut __sk_buff, packet: &Packet) -> (u16, u16) {
    if !matches!(packet.protocol, UDP | UDPLITE | SCTP) && u32::from(packet.protocol) != TCP {
        return (0, 0);
    }
    match unsafe { load::<[u8; 4]>(skb, packet.header_length) } {
        Some([a, b, c, d]) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        None => (0, 0),
    }
}

/// Without these a machine would lose its network.
#[inline(always)]
unsafe fn is_exempt(skb: *mut __sk_buff, packet: &Packet, local_port: u16, remote_port: u16) -> bool {
    let ports = (local_port, remote_port);
    match packet.protocol {
        UDP => ports == DHCP || ports == DHCP6,
        ICMP6 => unsafe { load::<[u8; 1]>(skb, packet.header_length) }
            .is_some_and(|[message]| DISCOVERY.contains(&message)),
        _ => false,
    }
}

#[inline(always)]
unsafe fn is_reset(skb: *mut __sk_buff, packet: &Packet) -> bool {
    u32::from(packet.protocol) == TCP
        && unsafe { load::<[u8; 1]>(skb, packet.header_length + TCP_FLAGS_AT) }
            .is_some_and(|[flags]| flags & TCP_RST != 0)
}

/// Who began the flow.
#[inline(always)]
unsafe fn began(
    socket: *mut bpf_sock,
    state: Option<*mut SocketState>,
    packet: &Packet,
    ports: (u16, u16),
    way: Way,
) -> Began {
    unsafe {
        if (*socket).protocol == TCP && (*socket).state == u32::from(tcp_state::LISTEN) {
            return Began::There;
        }
        let Some(state) = state else { return Began::Unknown };
        let flags = if (*socket).protocol == TCP {
            (*state).flags
        } else {
            let (local, remote) = match way {
                Way::Out => (packet.source, packet.target),
                Way::In => (packet.target, packet.source),
            };
            let tuple = Tuple {
                local,
                remote,
                local_port: ports.0,
                remote_port: ports.1,
                protocol: packet.protocol,
                reserved: [0; 3],
            };
            let key = FlowKey { cookie: (*state).cookie, tuple };
            match FLOWS.get_ptr(&key) {
                Some(flow) => (*flow).flags,
                // This is the first packet.
                None if way == Way::In => socket_flag::INBOUND,
                None => socket_flag::OUTBOUND,
            }
        };
        match flags & (socket_flag::INBOUND | socket_flag::OUTBOUND) {
            socket_flag::INBOUND => Began::There,
            socket_flag::OUTBOUND => Began::Here,
            _ => Began::Unknown,
        }
    }
}

#[inline(always)]
unsafe fn load<T: Copy>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let size = size_of::<T>() as u32;
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), offset, value.as_mut_ptr().cast(), size) };
    if failed != 0 { None } else { Some(unsafe { value.assume_init() }) }
}
