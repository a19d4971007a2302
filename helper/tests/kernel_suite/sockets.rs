//! Sockets: owners, ends, directions, exact bytes; and those that were open before.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
};

use sekhmet_common::flow::{Direction, Protocol};
use sekhmet_helper::engine::input::{FlowEnd, FlowPhase, Observation};

use crate::{
    tap::Tap,
    watch::{Watch, between, is_me},
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ECONNREFUSED: u16 = 111;
const SYN_SENT: u8 = 2;

pub(crate) fn run(tap: &mut Tap, watch: &mut Watch) {
    for (name, server, client) in [
        ("TCP over IPv4", V4, V4),
        ("TCP over IPv6", V6, V6),
        ("TCP over IPv4 to an IPv6 socket", IpAddr::V6(Ipv6Addr::UNSPECIFIED), V4),
    ] {
        tcp(tap, watch, name, server, client);
    }
    inheritance(tap, watch);
    multipath_listener(tap, watch);
    refused(tap, watch);
    reset(tap, watch);
    for (name, address) in [("UDP over IPv4", V4), ("UDP over IPv6", V6)] {
        udp(tap, watch, name, address);
        connected_udp(tap, watch, name, address);
    }
    udp_mapped(tap, watch);
    segmented_udp(tap, watch);
    ping(tap, watch);
}

/// Sockets from before the programs were attached.
pub(crate) struct Before {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
    datagram: UdpSocket,
    peer: UdpSocket,
}

impl Before {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((V4, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        pass(&mut client, &mut server, 700);
        let datagram = UdpSocket::bind((V4, 0)).unwrap();
        let peer = UdpSocket::bind((V4, 0)).unwrap();
        datagram.connect(peer.local_addr().unwrap()).unwrap();
        Self { listener, client, server, datagram, peer }
    }

    pub(crate) fn check(mut self, tap: &mut Tap, watch: &mut Watch) {
        watch.until(|seen| seen.contains(&Observation::SeedComplete).then_some(()));
        let (near, far) = (port(self.client.local_addr()), port(self.listener.local_addr()));
        for (name, local, remote, tx, rx, direction) in [
            ("client", near, far, 700, 0, Direction::Unknown),
            ("server", far, near, 0, 700, Direction::Inbound),
        ] {
            let found = watch.flow(local, remote, |sight| {
                is_me(sight.owner)
                    && (sight.counters.tx_bytes, sight.counters.rx_bytes) == (tx, rx)
                    && sight.direction == direction
                    && sight.phase == FlowPhase::Open
            });
            let name = format!("an older connection's {name} has owner, bytes and direction");
            tap.check(&name, found.is_some(), &watch.told(local, remote));
        }
        let (near, far) = (port(self.datagram.local_addr()), port(self.peer.local_addr()));
        let found = watch.flow(near, far, |sight| is_me(sight.owner) && sight.protocol == Protocol::Udp);
        tap.check("an older connected UDP socket is told", found.is_some(), &watch.told(near, far));
        self.datagram.send(&[0; 90]).unwrap();
        self.peer.recv(&mut [0; 100]).unwrap();
        let found = watch.flow(near, far, |sight| sight.counters.tx_bytes == 90);
        tap.check("and counted from then on", found.is_some(), &watch.told(near, far));
        let (near, far) = (port(self.client.local_addr()), port(self.listener.local_addr()));
        pass(&mut self.client, &mut self.server, 300);
        drop(self.client);
        drop(self.server);
        let ended = watch.ended(far, near);
        let good = ended.as_ref().is_some_and(|(sight, _)| sight.counters.rx_bytes == 1000);
        tap.check("an older connection ends with all its bytes", good, &watch.told(far, near));
    }
}

/// Exact amounts in both directions, by both ends, to the end.
fn tcp(tap: &mut Tap, watch: &mut Watch, name: &str, server: IpAddr, client: IpAddr) {
    let listener = match TcpListener::bind((server, 0)) {
        Ok(listener) => listener,
        Err(error) => return tap.skip(name, &format!("no such address here: {error}")),
    };
    let far = port(listener.local_addr());
    let mut near_end = TcpStream::connect((client, far)).unwrap();
    let (mut far_end, _) = listener.accept().unwrap();
    let near = port(near_end.local_addr());
    let (out, back) = (123_457 + u64::from(near % 1000), 4_321 + u64::from(near % 100));
    pass(&mut near_end, &mut far_end, out);
    pass(&mut far_end, &mut near_end, back);
    let live = watch.flow(near, far, |s| (s.counters.tx_bytes, s.counters.rx_bytes) == (out, back));
    tap.check(&format!("{name}: bytes are told while it is open"), live.is_some(), &watch.told(near, far));
    // In order: the client closes first, the server when it has seen it.
    near_end.shutdown(Shutdown::Write).unwrap();
    assert_eq!(far_end.read(&mut [0; 1]).unwrap(), 0);
    drop(far_end);
    assert_eq!(near_end.read(&mut [0; 1]).unwrap(), 0);
    drop(near_end);
    for (side, local, remote, tx, rx, direction) in [
        ("client", near, far, out, back, Direction::Outbound),
        ("server", far, near, back, out, Direction::Inbound),
    ] {
        let Some((sight, end)) = watch.ended(local, remote) else {
            tap.check(&format!("{name}: the {side} ends"), false, &watch.told(local, remote));
            continue;
        };
        let counted = sight.counters;
        let good = (counted.tx_bytes, counted.rx_bytes) == (tx, rx)
            && counted.tx_packets > 0
            && counted.rx_packets > 0
            && is_me(sight.owner)
            && sight.direction == direction
            && sight.protocol == Protocol::Tcp
            && (sight.local.addr, sight.remote.addr) == (client, client)
            && matches!(end, FlowEnd::Tcp { error: 0, .. });
        let name = format!("{name}: the {side} ends with {tx} sent, {rx} received, owner and direction");
        tap.check(&name, good, &watch.told(local, remote));
    }
    let opening = watch.seen.iter().any(|o| match o {
        Observation::Flow(s) => {
            s.phase == FlowPhase::Opening && s.remote.port == far && s.remote.addr == client
        }
        _ => false,
    });
    tap.check(&format!("{name}: its opening is told"), opening, &watch.told(near, far));
}

/// The server's end has its owner before the program has accepted it.
fn inheritance(tap: &mut Tap, watch: &mut Watch) {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let far = port(listener.local_addr());
    let client = TcpStream::connect((V4, far)).unwrap();
    let near = port(client.local_addr());
    let found = watch.flow(far, near, |s| is_me(s.owner) && s.direction == Direction::Inbound);
    tap.check("a connection has its owner before accept()", found.is_some(), &watch.told(far, near));
    let (accepted, _) = listener.accept().unwrap();
    let cookie = rustix::net::sockopt::socket_cookie(&accepted).unwrap();
    let good = found.is_some_and(|sight| sight.key.cookie() == cookie);
    tap.check("and its own cookie, not the listener's", good, &format!("{cookie}"));
}

/// Go's servers listen like this: the TCP socket is one that the kernel makes under the program's own.
fn multipath_listener(tap: &mut Tap, watch: &mut Watch) {
    use rustix::net::{AddressFamily, Protocol, SocketType, bind, getsockname, listen, socket};
    let name = "a plain connection to an MPTCP listener has the listener's owner";
    let multipath = Protocol::from_raw(262.try_into().unwrap());
    let listener = match socket(AddressFamily::INET, SocketType::STREAM, Some(multipath)) {
        Ok(listener) => listener,
        Err(error) => return tap.skip(name, &format!("no MPTCP here: {error}")),
    };
    bind(&listener, &SocketAddr::new(V4, 0)).unwrap();
    listen(&listener, 4).unwrap();
    let far = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap().port();
    let mut client = TcpStream::connect((V4, far)).unwrap();
    let near = port(client.local_addr());
    client.write_all(&[6; 250]).unwrap();
    let found = watch.flow(far, near, |s| s.counters.rx_bytes == 250);
    let good = found.is_some_and(|s| is_me(s.owner) && s.direction == Direction::Inbound);
    tap.check(name, good, &watch.told(far, near));
}

fn refused(tap: &mut Tap, watch: &mut Watch) {
    let free = port(TcpListener::bind((V4, 0)).unwrap().local_addr());
    assert!(TcpStream::connect((V4, free)).is_err());
    let found = watch.until(|seen| {
        seen.iter().find_map(|o| match o {
            Observation::FlowEnded { sight, end, .. } if sight.remote.port == free => {
                Some((sight.clone(), *end))
            }
            _ => None,
        })
    });
    let good = found.as_ref().is_some_and(|(sight, end)| {
        *end == FlowEnd::Tcp { from: SYN_SENT, error: ECONNREFUSED }
            && is_me(sight.owner)
            && sight.local.port != 0
            && sight.remote.addr == V4
            && sight.direction == Direction::Outbound
    });
    tap.check("a refused connection ends as refused, with both ends", good, &format!("{found:?}"));
}

/// Closing with unread bytes resets the connection.
fn reset(tap: &mut Tap, watch: &mut Watch) {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let far = port(listener.local_addr());
    let mut client = TcpStream::connect((V4, far)).unwrap();
    let near = port(client.local_addr());
    let (accepted, _) = listener.accept().unwrap();
    client.write_all(&[1; 64]).unwrap();
    watch.flow(far, near, |s| s.counters.rx_bytes == 64);
    drop(accepted);
    let ended = watch.ended(near, far);
    let good = ended.as_ref().is_some_and(|(sight, end)| {
        sight.counters.tx_bytes == 64 && matches!(end, FlowEnd::Tcp { error, .. } if *error != 0)
    });
    tap.check("a connection that is reset ends with an error", good, &watch.told(near, far));
}

fn udp(tap: &mut Tap, watch: &mut Watch, name: &str, address: IpAddr) {
    let (a, b) = match (UdpSocket::bind((address, 0)), UdpSocket::bind((address, 0))) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(error), _) | (_, Err(error)) => {
            return tap.skip(name, &format!("no such address here: {error}"));
        }
    };
    let (near, far) = (port(a.local_addr()), port(b.local_addr()));
    let mut room = [0; 2048];
    let mut total = 0;
    for length in [0usize, 1, 500, 1400, 17] {
        a.send_to(&vec![7; length], (address, far)).unwrap();
        assert_eq!(b.recv(&mut room).unwrap(), length);
        total += length as u64;
    }
    b.send_to(&[1; 333], (address, near)).unwrap();
    a.recv(&mut room).unwrap();
    drop(a);
    drop(b);
    let wanted = [
        ("sender", near, far, (total, 333, 5, 1), Direction::Outbound),
        ("receiver", far, near, (333, total, 1, 5), Direction::Inbound),
    ];
    for (side, local, remote, counters, direction) in wanted {
        let ended = watch.ended(local, remote);
        let good = ended.as_ref().is_some_and(|(s, end)| {
            let c = s.counters;
            (c.tx_bytes, c.rx_bytes, c.tx_packets, c.rx_packets) == counters
                && s.direction == direction
                && is_me(s.owner)
                && s.protocol == Protocol::Udp
                && (s.local.addr, s.remote.addr) == (address, address)
                && *end == FlowEnd::Released
        });
        let name = format!("{name}: the {side} ends with exact bytes and packets {counters:?}");
        tap.check(&name, good, &watch.told(local, remote));
    }
}

fn connected_udp(tap: &mut Tap, watch: &mut Watch, name: &str, address: IpAddr) {
    let (Ok(a), Ok(b)) = (UdpSocket::bind((address, 0)), UdpSocket::bind((address, 0))) else {
        return tap.skip(name, "no such address here");
    };
    let (near, far) = (port(a.local_addr()), port(b.local_addr()));
    a.connect((address, far)).unwrap();
    for _ in 0..10 {
        a.send(&[5; 100]).unwrap();
        b.recv(&mut [0; 200]).unwrap();
    }
    let found = watch.flow(near, far, |s| (s.counters.tx_bytes, s.counters.tx_packets) == (1000, 10));
    let name = format!("{name}, connected: bytes are told while it is open");
    tap.check(&name, found.is_some_and(|s| is_me(s.owner)), &watch.told(near, far));
}

/// An IPv6 socket that talks IPv4: the flow is IPv4.
fn udp_mapped(tap: &mut Tap, watch: &mut Watch) {
    let name = "UDP over IPv4 from an IPv6 socket is told as IPv4, exactly";
    let Ok(a) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
        return tap.skip(name, "no IPv6 here");
    };
    let b = UdpSocket::bind((V4, 0)).unwrap();
    let (near, far) = (port(a.local_addr()), port(b.local_addr()));
    a.send_to(&[3; 77], SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), far)).unwrap();
    b.recv(&mut [0; 100]).unwrap();
    let found =
        watch.flow(near, far, |s| s.counters.tx_bytes == 77 && s.remote.addr == V4 && s.local.addr == V4);
    tap.check(name, found.is_some(), &watch.told(near, far));
}

/// One send of four datagrams at once (UDP_SEGMENT): one buffer in the kernel, four packets.
fn segmented_udp(tap: &mut Tap, watch: &mut Watch) {
    let name = "UDP in segments: four packets, exact bytes on both sides";
    let (a, b) = (UdpSocket::bind((V4, 0)).unwrap(), UdpSocket::bind((V4, 0)).unwrap());
    let (near, far) = (port(a.local_addr()), port(b.local_addr()));
    if !set_udp_segment(&a, 1000) {
        return tap.skip(name, "this kernel has no UDP_SEGMENT");
    }
    a.send_to(&[4; 4000], (V4, far)).unwrap();
    for _ in 0..4 {
        assert_eq!(b.recv(&mut [0; 2000]).unwrap(), 1000);
    }
    let sent = watch.flow(near, far, |s| (s.counters.tx_bytes, s.counters.tx_packets) == (4000, 4));
    let received = watch.flow(far, near, |s| (s.counters.rx_bytes, s.counters.rx_packets) == (4000, 4));
    let told = format!("{}\n{}", watch.told(near, far), watch.told(far, near));
    tap.check(name, sent.is_some() && received.is_some(), &told);
}

#[expect(unsafe_code, reason = "no safe wrapper knows this option")]
fn set_udp_segment(socket: &UdpSocket, size: libc::c_int) -> bool {
    let (value, length) = (std::ptr::from_ref(&size).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the option's value is a live integer of the length that is said.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, length) == 0 }
}

/// A raw ICMP socket, where the rights allow it.
fn ping(tap: &mut Tap, watch: &mut Watch) {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
    let name = "ICMP through a raw socket: what follows the IP header is counted";
    let raw = match socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)) {
        Ok(raw) => raw,
        Err(error) => return tap.skip(name, &format!("no raw socket without CAP_NET_RAW: {error}")),
    };
    // Echo request with 56 bytes of data, all zero: the checksum is the complement of the type.
    let mut request = [0u8; 64];
    request[0] = 8;
    request[2] = 0xf7;
    request[3] = 0xff;
    let target: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    sendto(&raw, &request, SendFlags::empty(), &target).unwrap();
    // The socket hears its own request and then the answer.
    for _ in 0..2 {
        recv(&raw, &mut [0; 128], RecvFlags::empty()).unwrap();
    }
    let cookie = rustix::net::sockopt::socket_cookie(&raw).unwrap();
    let found = watch.until(|seen| {
        seen.iter().find_map(|o| match o {
            Observation::Flow(s) if s.key.cookie() == cookie && s.counters.rx_bytes == 128 => Some(s.clone()),
            _ => None,
        })
    });
    let good = found.as_ref().is_some_and(|s| {
        s.protocol == Protocol::Icmp && s.counters.tx_bytes == 64 && is_me(s.owner) && between(s, 0, 0)
    });
    tap.check(name, good, &format!("{found:?} {}", watch.told(0, 0)));
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, amount: u64) {
    let chunk = vec![9; 16_384];
    let mut room = vec![0; 16_384];
    let mut left = usize::try_from(amount).unwrap();
    while left > 0 {
        let part = left.min(chunk.len());
        from.write_all(&chunk[..part]).unwrap();
        to.read_exact(&mut room[..part]).unwrap();
        left -= part;
    }
}

fn port(address: std::io::Result<SocketAddr>) -> u16 {
    address.unwrap().port()
}
