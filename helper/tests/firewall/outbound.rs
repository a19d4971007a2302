//! What marked sockets send.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        RecvFlags, SendFlags, recv, sendto,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use sekhmet_common::kernel::mark::{LOCAL_TOO, OUTBOUND_FREE, SILENT};
use sekhmet_helper::firewall::Firewall;

use crate::{
    marked::{
        SOON, addr, echo, echo_server, echoes, icmp, mark, received, refused_at_once, tcp_connect, udp,
    },
    place::{HERE, LOOPBACK, THERE, bits, scene},
};

/// Long enough for TCP to try again after [`SOON`].
const LATER: Duration = Duration::from_secs(10);

#[test]
fn new_connections_are_refused_at_once_or_silently() {
    let Some((peer, mut firewall)) = scene() else { return };
    for (there, port) in THERE.iter().zip([8001, 8002]) {
        let to = addr(there, port);
        peer.run(move || echo_server(to));
        assert!(echoes(&mut tcp_connect(0, to, SOON).unwrap()), "{there} unmarked");
        assert!(echoes(&mut tcp_connect(0xca6c, to, SOON).unwrap()), "{there} with somebody's mark");
        let error = refused_at_once(|| tcp_connect(bits(0), to, SOON));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{there}");
        let began = std::time::Instant::now();
        assert!(tcp_connect(bits(SILENT), to, SOON).is_err());
        assert!(began.elapsed() >= SOON, "{there}: nobody says that it is refused");
        assert!(echoes(&mut tcp_connect(0, to, SOON).unwrap()), "{there} is still there for others");
    }
    let counters = firewall.counters().unwrap();
    assert_eq!(counters.outbound_rejected.packets, 2);
    assert!(counters.outbound_dropped.packets >= 2, "with what TCP sends again");
    let all = counters.outbound_rejected.packets + counters.outbound_dropped.packets;
    assert_eq!(counters.by_rule[&1].packets, all);
}

#[test]
fn an_open_connection_stops_when_it_is_marked_and_goes_on_afterwards() {
    let Some((peer, _firewall)) = scene() else { return };
    for (there, port) in THERE.iter().zip([8011, 8012]) {
        let to = addr(there, port);
        let listener = peer.run(move || TcpListener::bind(to).unwrap());
        let open = || {
            let stream = tcp_connect(0, to, SOON).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            accepted.set_read_timeout(Some(SOON)).unwrap();
            (stream, accepted)
        };
        let (mut stream, mut accepted) = open();
        stream.write_all(b"before").unwrap();
        assert_eq!(arrives(&mut accepted), b"before");
        mark(&stream, bits(0));
        let first = stream.write_all(b"after");
        std::thread::sleep(Duration::from_millis(100));
        let second = stream.write_all(b"after");
        let told = |r: &io::Result<()>| r.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset);
        assert!(told(&first) || told(&second), "{there}: {first:?} {second:?}");
        assert_eq!(arrives(&mut accepted), b"", "{there}");

        let (mut stream, mut accepted) = open();
        mark(&stream, bits(SILENT));
        stream.write_all(b"kept").unwrap();
        accepted.write_all(b"back").unwrap();
        assert_eq!(arrives(&mut accepted), b"", "{there}");
        assert_eq!(arrives(&mut stream), b"", "{there}");
        mark(&stream, 0);
        // TCP sends again by itself, for both sides.
        accepted.set_read_timeout(Some(LATER)).unwrap();
        stream.set_read_timeout(Some(LATER)).unwrap();
        assert_eq!(arrives(&mut accepted), b"kept", "{there}");
        assert_eq!(arrives(&mut stream), b"back", "{there}");
    }
}

/// What comes within the stream's patience.
fn arrives(stream: &mut TcpStream) -> Vec<u8> {
    if stream.read_timeout().unwrap().is_none() {
        stream.set_read_timeout(Some(SOON)).unwrap();
    }
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer).unwrap_or(0);
    buffer[..length].to_vec()
}

#[test]
fn datagrams_pings_and_raw_packets_are_refused() {
    let Some((peer, _firewall)) = scene() else { return };
    for (v6, there) in [false, true].into_iter().zip(THERE) {
        let to = addr(there, 8021);
        let server: UdpSocket = peer.run(move || {
            let socket = UdpSocket::bind(to).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket
        });
        for flags in [0, SILENT] {
            let marked = udp(bits(flags), v6, 0);
            let error = refused_at_once(|| marked.send_to(b"no", to));
            assert_eq!(error, ErrorKind::PermissionDenied, "{there} {flags:#x}");
            // Connected, and open before the mark.
            let open = udp(0, v6, 0);
            open.connect(to).unwrap();
            open.send(b"yes").unwrap();
            assert_eq!(received(&server), Some(b"yes".to_vec()));
            mark(&open, bits(flags));
            let refused = open.send(b"no").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            mark(&open, 0);
            let _told_before = open.take_error();
            open.send(b"again").unwrap();
            assert_eq!(received(&server), Some(b"again".to_vec()), "and not what was refused");
        }
        for raw in [false, true] {
            assert_eq!(ping(&icmp(0, v6, raw), v6, there), Ok(true), "{there} raw: {raw}");
            assert!(is_refused(v6, raw, ping(&icmp(bits(0), v6, raw), v6, there)), "{there} raw: {raw}");
        }
    }
}

/// Whether a ping is answered, by an echo reply of any sequence number.
fn ping(socket: &OwnedFd, v6: bool, to: &str) -> Result<bool, Errno> {
    sendto(socket, &echo(v6), SendFlags::empty(), &addr(to, 0))?;
    set_socket_timeout(socket, Timeout::Recv, Some(SOON))?;
    loop {
        let mut buffer = [0_u8; 128];
        let length = match recv(socket, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error),
        };
        // Raw IPv4 sockets give the IP header as well; on loopback they hear the request, too.
        let bytes = &buffer[..length];
        let is_ip = !v6 && bytes[0] >> 4 == 4 && length > 20;
        let kind = if is_ip { bytes[20] } else { bytes[0] };
        if kind == if v6 { 129 } else { 0 } {
            return Ok(true);
        }
    }
}

/// Linux does not hand the error of a refused packet to the sender on IPv6 ping sockets
/// (`icmpv6_push_pending_frames()`); there the packet is merely gone.
fn is_refused(v6: bool, raw: bool, result: Result<bool, Errno>) -> bool {
    result == if v6 && !raw { Ok(false) } else { Err(Errno::PERM) }
}

#[test]
fn this_machine_is_free_unless_the_mark_says_otherwise() {
    let Some((_peer, _firewall)) = scene() else { return };
    // A local address that is not the loopback's goes over lo all the same.
    for (index, here) in LOOPBACK.iter().chain(&HERE).enumerate() {
        let to = addr(here, 8031);
        echo_server(to);
        assert!(echoes(&mut tcp_connect(bits(0), to, SOON).unwrap()), "{here}");
        let error = refused_at_once(|| tcp_connect(bits(LOCAL_TOO), to, SOON));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{here}");
        assert!(tcp_connect(bits(LOCAL_TOO | SILENT), to, SOON).is_err());

        let v6 = index % 2 == 1;
        let server = UdpSocket::bind(to).unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        udp(bits(0), v6, 0).send_to(b"yes", to).unwrap();
        assert_eq!(received(&server), Some(b"yes".to_vec()));
        let error = refused_at_once(|| udp(bits(LOCAL_TOO), v6, 0).send_to(b"no", to));
        assert_eq!(error, ErrorKind::PermissionDenied, "{here}");
        assert_eq!(ping(&icmp(bits(0), v6, false), v6, here), Ok(true), "{here}");
        assert!(is_refused(v6, false, ping(&icmp(bits(LOCAL_TOO), v6, false), v6, here)), "{here}");
    }
}

#[test]
fn a_name_server_on_this_machine_counts_as_outside() {
    let Some((_peer, _firewall)) = scene() else { return };
    for (v6, here) in [false, true].into_iter().zip(LOOPBACK) {
        let to = addr(here, 53);
        let server = UdpSocket::bind(to).unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        echo_server(to);
        let error = refused_at_once(|| udp(bits(0), v6, 0).send_to(b"?", to));
        assert_eq!(error, ErrorKind::PermissionDenied, "{here}");
        let error = refused_at_once(|| tcp_connect(bits(0), to, SOON));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{here}");
        assert!(echoes(&mut tcp_connect(0, to, SOON).unwrap()));
        // The server itself may be marked and still answer on this machine.
        mark(&server, bits(0));
        let client = udp(0, v6, 0);
        client.send_to(b"?", to).unwrap();
        let (_, asker) = server.recv_from(&mut [0; 8]).unwrap();
        server.send_to(b"!", asker).unwrap();
        assert_eq!(received(&client), Some(b"!".to_vec()), "{here}");
    }
}

#[test]
fn what_keeps_the_machine_on_the_network_is_never_refused() {
    let Some((peer, mut firewall)) = scene() else { return };
    for (v6, there, [from, to]) in [(false, THERE[0], [68, 67]), (true, THERE[1], [546, 547])] {
        let server = peer.run(move || {
            let socket = UdpSocket::bind(addr(there, to)).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket
        });
        let client = udp(bits(0), v6, from);
        client.send_to(b"lease?", addr(there, to)).unwrap();
        let mut buffer = [0; 16];
        let (_, asker) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"lease!", asker).unwrap();
        assert_eq!(received(&client), Some(b"lease!".to_vec()), "{there}");
    }
    // Router solicitation to all routers (ff02::2), RFC 4861 §4.1.
    let solicitation = [133, 0, 0, 0, 0, 0, 0, 0];
    let socket = icmp(bits(0), true, true);
    let routers = std::net::SocketAddrV6::new("ff02::2".parse().unwrap(), 0, 0, link_index());
    sendto(&socket, &solicitation, SendFlags::empty(), &routers).unwrap();
    let refused = sendto(&socket, &echo(true), SendFlags::empty(), &routers);
    assert_eq!(refused, Err(Errno::PERM), "but not a ping to them");
    assert_eq!(firewall.counters().unwrap().by_rule[&1].packets, 1);
}

fn link_index() -> u32 {
    let lines = crate::place::run(&["ip", "-o", "link", "show", "here"]);
    lines.split(':').next().unwrap().trim().parse().unwrap()
}

#[test]
fn the_peer_of_a_destroyed_connection_is_told_unless_silently() {
    let Some((peer, _firewall)) = scene() else { return };
    for (there, port) in THERE.iter().zip([8041, 8042]) {
        for (flags, expected) in [(0, ErrorKind::ConnectionReset), (SILENT, ErrorKind::WouldBlock)] {
            let to = addr(there, port);
            let listener = peer.run(move || TcpListener::bind(to).unwrap());
            let stream = tcp_connect(0, to, SOON).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.set_read_timeout(Some(SOON)).unwrap();
            mark(&stream, bits(flags));
            reset(stream);
            assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), expected, "{there}");
        }
    }
}

/// Closes with a reset, as the kernel does when it destroys a socket.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn outbound_may_be_free() {
    let Some((peer, mut firewall)) = scene() else { return };
    for (there, port) in THERE.iter().zip([8051, 8052]) {
        let to = addr(there, port);
        peer.run(move || echo_server(to));
        assert!(echoes(&mut tcp_connect(bits(OUTBOUND_FREE), to, SOON).unwrap()), "{there}");
    }
    assert_eq!(firewall.counters().unwrap().by_rule.len(), 0);
}
