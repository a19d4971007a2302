//! The parser of refused packets as nfnetlink_log tells them. The packets' bytes are a stranger's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    kernel::mark::Mark,
    time::Timestamp,
};

use super::{
    RefusedPacket,
    netlink::{self, Message, Messages},
};

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET` (include/uapi/linux/netfilter/nfnetlink_log.h).
const PACKET: u16 = 4 << 8;
// enum nfulnl_attr_type
const HEADER: u16 = 1;
const MARK: u16 = 2;
const PAYLOAD: u16 = 9;
const UID: u16 = 11;
const SEQUENCE: u16 = 12;
// enum nf_inet_hooks
const HOOK_IN: u8 = 1;
const HOOK_OUT: u8 = 3;

/// IPv6 extension headers that are walked before giving up; no sane packet has as many.
const EXTENSIONS_MAX: usize = 8;

/// One message of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number within the log group: a gap is a loss.
    pub sequence: Option<u32>,
    /// What it says, if it can be read and the mark is ours.
    pub refused: Option<RefusedPacket>,
}

/// Reads every log message in `bytes`; messages of other kinds are left out. Never panics, whatever they hold.
pub fn read_packets(bytes: &[u8], at: Timestamp) -> impl Iterator<Item = Packet> + '_ {
    Messages(bytes).filter(|message| message.kind == PACKET).map(move |message| read(message, at))
}

fn read(message: Message<'_>, at: Timestamp) -> Packet {
    let (mut mark, mut hook, mut uid, mut sequence, mut payload) = (None, None, None, None, None);
    for (kind, content) in message.attributes() {
        match kind {
            // struct nfulnl_msg_packet_hdr: protocol (2 bytes), hook (1), nothing (1).
            HEADER => hook = content.get(2).copied(),
            MARK => mark = netlink::number(content).and_then(Mark::from_bits),
            PAYLOAD => payload = Some(content),
            UID => uid = netlink::number(content),
            SEQUENCE => sequence = netlink::number(content),
            _ => {}
        }
    }
    let refused = mark.zip(hook).zip(payload.and_then(headers)).and_then(|((mark, hook), headers)| {
        let Headers { protocol, source, destination } = headers;
        let (direction, local, remote) = match hook {
            HOOK_OUT => (Direction::Outbound, source, destination),
            HOOK_IN => (Direction::Inbound, destination, source),
            _ => return None,
        };
        Some(RefusedPacket { mark, direction, protocol, local, remote, uid, at })
    });
    Packet { sequence, refused }
}

struct Headers {
    protocol: Protocol,
    source: Endpoint,
    destination: Endpoint,
}

/// Protocol, addresses and ports of an IP packet.
fn headers(packet: &[u8]) -> Option<Headers> {
    let (number, source, destination, rest) = match packet.first()? >> 4 {
        4 => ipv4(packet)?,
        6 => ipv6(packet)?,
        _ => return None,
    };
    let protocol = Protocol::from_ip(number);
    let [from, to] = match protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::Udplite | Protocol::Sctp => ports(rest),
        _ => [0, 0],
    };
    Some(Headers {
        protocol,
        source: Endpoint::new(source, from),
        destination: Endpoint::new(destination, to),
    })
}

/// All of these protocols open with the source's and the destination's port.
fn ports(header: &[u8]) -> [u16; 2] {
    match header.first_chunk() {
        Some(&[a, b, c, d]) => [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])],
        None => [0, 0],
    }
}

/// RFC 791. Only the first fragment has what follows the header.
fn ipv4(packet: &[u8]) -> Option<(u8, IpAddr, IpAddr, &[u8])> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let address = |at: usize| header.get(at..at + 4)?.try_into().ok().map(|a: [u8; 4]| Ipv4Addr::from(a));
    let length = usize::from(header[0] & 0x0f) * 4;
    let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let rest = packet.get(length.max(20)..).filter(|_| is_first).unwrap_or_default();
    Some((header[9], address(12)?.into(), address(16)?.into(), rest))
}

/// RFC 8200. A chain that does not end within the bytes at hand gives the last header that was reached.
fn ipv6(packet: &[u8]) -> Option<(u8, IpAddr, IpAddr, &[u8])> {
    let header: &[u8; 40] = packet.first_chunk()?;
    let address = |at: usize| header.get(at..at + 16)?.try_into().ok().map(|a: [u8; 16]| Ipv6Addr::from(a));
    let mut number = header[6];
    let mut rest = packet.get(40..).unwrap_or_default();
    for _ in 0..EXTENSIONS_MAX {
        let Some(&[next, length, offset, low]) = rest.first_chunk() else { break };
        let size = match number {
            // Hop-by-hop options, routing, destination options: in units of 8 bytes, without the first.
            0 | 43 | 60 => (usize::from(length) + 1) * 8,
            // Authentication (RFC 4302): in units of 4 bytes, without two.
            51 => (usize::from(length) + 2) * 4,
            // Fragment: only the first one has what follows.
            44 if u16::from_be_bytes([offset, low]) & 0xfff8 == 0 => 8,
            44 => {
                number = next;
                rest = &[];
                break;
            }
            _ => break,
        };
        number = next;
        rest = rest.get(size..).unwrap_or_default();
    }
    Some((number, address(8)?.into(), address(24)?.into(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp(5);

    fn v4(protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0];
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2, 1, 1, 1, 1]);
        packet.extend(rest);
        packet
    }

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(rest);
        packet
    }

    fn message(hook: u8, mark: u32, packet: &[u8]) -> Vec<u8> {
        let attributes = [
            (HEADER, &[8, 0, hook, 0][..]),
            (MARK, &mark.to_be_bytes()),
            (UID, &[0, 0, 3, 232]),
            (SEQUENCE, &[0, 0, 0, 9]),
            (PAYLOAD, packet),
        ];
        netlink::request(PACKET, 2, 74, &attributes)
    }

    fn one(bytes: &[u8]) -> Packet {
        let packets: Vec<_> = read_packets(bytes, AT).collect();
        assert_eq!(packets.len(), 1);
        packets[0].clone()
    }

    fn refused(bytes: &[u8]) -> RefusedPacket {
        one(bytes).refused.unwrap()
    }

    fn endpoint(address: &str, port: u16) -> Endpoint {
        Endpoint::new(address.parse().unwrap(), port)
    }

    #[test]
    fn what_went_out_is_told_from_our_side() {
        let bytes = message(HOOK_OUT, 0x5e80_0007, &v4(6, 0x4000, &[0x9c, 0x40, 1, 0xbb]));
        let packet = one(&bytes);
        assert_eq!(packet.sequence, Some(9));
        let packet = packet.refused.unwrap();
        assert_eq!((packet.mark.rule(), packet.uid, packet.at), (7, Some(1000), AT));
        assert_eq!((packet.direction, packet.protocol), (Direction::Outbound, Protocol::Tcp));
        assert_eq!(packet.local, endpoint("192.0.2.1", 40_000));
        assert_eq!(packet.remote, endpoint("198.51.100.2", 443));
    }

    #[test]
    fn what_came_in_is_told_from_our_side_too() {
        let packet = refused(&message(HOOK_IN, 0x5e00_0001, &v6(17, &[0, 53, 0x30, 0x39])));
        assert_eq!((packet.direction, packet.protocol), (Direction::Inbound, Protocol::Udp));
        assert_eq!(packet.local, endpoint("2001:db8::2", 12_345));
        assert_eq!(packet.remote, endpoint("2001:db8::1", 53));
    }

    #[test]
    fn extension_headers_are_walked_and_fragments_have_no_ports() {
        let hop = [60, 0, 0, 0, 0, 0, 0, 0];
        let options = [6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let packet = v6(0, &[&hop[..], &options, &[0, 1, 0, 2]].concat());
        let found = refused(&message(HOOK_OUT, 0x5e00_0001, &packet));
        assert_eq!((found.protocol, found.remote.port), (Protocol::Tcp, 2));
        let later = v6(44, &[17, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0, 2]);
        let found = refused(&message(HOOK_OUT, 0x5e00_0001, &later));
        assert_eq!((found.protocol, found.remote.port), (Protocol::Udp, 0));
        let later = refused(&message(HOOK_OUT, 0x5e00_0001, &v4(17, 5, &[0, 1, 0, 2])));
        assert_eq!((later.protocol, later.remote.port), (Protocol::Udp, 0));
    }

    #[test]
    fn pings_have_no_ports() {
        let ping = refused(&message(HOOK_OUT, 0x5e00_0001, &v4(1, 0, &[8, 0, 1, 2])));
        assert_eq!((ping.protocol, ping.local.port, ping.remote.port), (Protocol::Icmp, 0, 0));
    }

    #[test]
    fn a_stranger_s_mark_and_other_hooks_are_counted_but_not_believed() {
        let packet = v4(6, 0, &[0; 4]);
        for bytes in [
            message(HOOK_OUT, 0x5f00_0001, &packet),
            message(2, 0x5e00_0001, &packet),
            message(HOOK_OUT, 0x5e00_0001, &packet[..19]),
            message(HOOK_OUT, 0x5e00_0001, &[]),
        ] {
            assert_eq!(one(&bytes), Packet { sequence: Some(9), refused: None });
        }
        assert_eq!(read_packets(&netlink::request(3 << 8, 2, 74, &[]), AT).count(), 0);
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(
            start in prop_oneof![Just(0x45_u8), Just(0x4f), Just(0x60), any::<u8>()],
            mut packet in proptest::collection::vec(any::<u8>(), 1..120),
            next in prop_oneof![Just(0_u8), Just(43), Just(44), Just(51), Just(60), any::<u8>()],
            cut in 0..40_usize,
        ) {
            packet[0] = start;
            if let Some(place) = packet.get_mut(6) {
                *place = next;
            }
            let mut bytes = message(HOOK_OUT, 0x5e00_0001, &packet);
            prop_assert!(read_packets(&bytes, AT).count() == 1);
            bytes.truncate(bytes.len().saturating_sub(cut));
            prop_assert!(read_packets(&bytes, AT).count() <= 1);
        }
    }
}
