//! What is sent to marked sockets, and rules for one direction only.

use std::{
    io::{ErrorKind, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use sekhmet_common::kernel::mark::{INBOUND_FREE, LOCAL_TOO, OUTBOUND_FREE, SILENT};
use sekhmet_helper::firewall::Firewall;

use crate::{
    marked::{
        SOON, addr, echo_server, echoes, mark, received, refused_at_once, tcp_connect, tcp_listen, udp,
    },
    place::{HERE, LOOPBACK, Peer, THERE, bits, scene},
};

/// Connects from the peer's side.
fn peer_connects(peer: &Peer, to: std::net::SocketAddr) -> std::io::Result<TcpStream> {
    peer.run(move || tcp_connect(0, to, SOON))
}

fn peer_udp(peer: &Peer, there: &'static str, port: u16) -> UdpSocket {
    peer.run(move || {
        let socket = UdpSocket::bind(addr(there, port)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    })
}

#[test]
fn nobody_reaches_a_marked_listener() {
    let Some((peer, mut firewall)) = scene() else { return };
    for (here, port) in HERE.iter().zip([7001, 7002]) {
        let at = addr(here, port);
        let listener = tcp_listen(bits(0), at);
        let error = refused_at_once(|| peer_connects(&peer, at));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{here}");
        mark(&listener, bits(SILENT));
        assert!(peer_connects(&peer, at).is_err(), "{here}");
        // From this machine everybody may, but where the mark says "here, too".
        drop(tcp_connect(0, at, SOON).unwrap());
        mark(&listener, bits(LOCAL_TOO));
        let error = refused_at_once(|| tcp_connect(0, at, SOON));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{here}");
        mark(&listener, 0);
        drop(peer_connects(&peer, at).unwrap());
    }
    let counters = firewall.counters().unwrap();
    assert_eq!(counters.inbound_rejected.packets, 4);
    assert!(counters.inbound_dropped.packets >= 2);
    assert_eq!(counters.outbound_rejected.packets + counters.outbound_dropped.packets, 0);
}

#[test]
fn datagrams_do_not_reach_a_marked_socket() {
    let Some((peer, _firewall)) = scene() else { return };
    for (v6, (here, there)) in [false, true].into_iter().zip(HERE.into_iter().zip(THERE)) {
        let theirs = peer_udp(&peer, there, 7012);
        let ours = udp(0, v6, 7011);
        for is_connected in [false, true] {
            if is_connected {
                ours.connect(addr(there, 7012)).unwrap();
            }
            mark(&ours, 0);
            theirs.send_to(b"yes", addr(here, 7011)).unwrap();
            assert_eq!(received(&ours), Some(b"yes".to_vec()), "{here} {is_connected}");
            for flags in [0, SILENT] {
                mark(&ours, bits(flags));
                theirs.send_to(b"no", addr(here, 7011)).unwrap();
                assert_eq!(received(&ours), None, "{here} {is_connected} {flags:#x}");
                let _told = theirs.take_error();
            }
        }
    }
}

#[test]
fn a_connection_that_only_receives_hears_nothing_more() {
    let Some((peer, _firewall)) = scene() else { return };
    for (there, port) in THERE.iter().zip([7021, 7022]) {
        let to = addr(there, port);
        let listener = peer.run(move || TcpListener::bind(to).unwrap());
        let stream = tcp_connect(0, to, SOON).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        mark(&stream, bits(0));
        accepted.write_all(b"no").unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        assert!(stream.peek(&mut [0; 8]).is_err(), "{there}");
        // The peer was told with a reset.
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(accepted.write_all(b"no").is_err(), "{there}");
    }
}

#[test]
fn a_rule_for_outbound_traffic_lets_others_begin() {
    let Some((peer, mut firewall)) = scene() else { return };
    for (v6, (here, there)) in [false, true].into_iter().zip(HERE.into_iter().zip(THERE)) {
        let at = addr(here, 7031);
        let listener = tcp_listen(bits(INBOUND_FREE), at);
        let mut from_peer = peer_connects(&peer, at).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        echo(accepted);
        assert!(echoes(&mut from_peer), "{here}: the answers pass");
        let to = addr(there, 7032);
        peer.run(move || echo_server(to));
        let error = refused_at_once(|| tcp_connect(bits(INBOUND_FREE), to, SOON));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{there}");

        let ours = udp(bits(INBOUND_FREE), v6, 7033);
        let theirs = peer_udp(&peer, there, 7034);
        let error = refused_at_once(|| ours.send_to(b"first", addr(there, 7034)));
        assert_eq!(error, ErrorKind::PermissionDenied, "{there}");
        theirs.send_to(b"question", addr(here, 7033)).unwrap();
        assert_eq!(received(&ours), Some(b"question".to_vec()));
        ours.send_to(b"answer", addr(there, 7034)).unwrap();
        assert_eq!(received(&theirs), Some(b"answer".to_vec()), "{there}");
        let other = peer_udp(&peer, there, 7035);
        let error = refused_at_once(|| ours.send_to(b"not asked", addr(there, 7035)));
        assert_eq!((error, received(&other)), (ErrorKind::PermissionDenied, None));
    }
    assert_eq!(firewall.counters().unwrap().by_rule[&1].packets, 6);
}

#[test]
fn a_rule_for_inbound_traffic_lets_the_program_begin() {
    let Some((peer, mut firewall)) = scene() else { return };
    for (v6, (here, there)) in [false, true].into_iter().zip(HERE.into_iter().zip(THERE)) {
        let to = addr(there, 7042);
        peer.run(move || echo_server(to));
        assert!(echoes(&mut tcp_connect(bits(OUTBOUND_FREE), to, SOON).unwrap()), "{there}");
        let at = addr(here, 7041);
        let _listener = tcp_listen(bits(OUTBOUND_FREE), at);
        let error = refused_at_once(|| peer_connects(&peer, at));
        assert_eq!(error, ErrorKind::ConnectionRefused, "{here}");

        let ours = udp(bits(OUTBOUND_FREE | SILENT), v6, 7043);
        let theirs = peer_udp(&peer, there, 7044);
        theirs.send_to(b"not asked", addr(here, 7043)).unwrap();
        assert_eq!(received(&ours), None);
        ours.send_to(b"question", addr(there, 7044)).unwrap();
        assert_eq!(received(&theirs), Some(b"question".to_vec()));
        theirs.send_to(b"answer", addr(here, 7043)).unwrap();
        assert_eq!(received(&ours), Some(b"answer".to_vec()), "{there}");
        peer_udp(&peer, there, 7045).send_to(b"not asked", addr(here, 7043)).unwrap();
        assert_eq!(received(&ours), None);
    }
    let counters = firewall.counters().unwrap();
    assert_eq!((counters.inbound_rejected.packets, counters.inbound_dropped.packets), (2, 4));
}

#[test]
fn a_marked_program_reaches_itself_on_this_machine() {
    let Some((_peer, _firewall)) = scene() else { return };
    for here in LOOPBACK.into_iter().chain(HERE) {
        let listener = tcp_listen(bits(0), addr(here, 7051));
        let mut stream = tcp_connect(bits(0), addr(here, 7051), SOON).unwrap();
        echo(listener.accept().unwrap().0);
        assert!(echoes(&mut stream), "{here}");
    }
}

/// Answers one byte, then ends.
fn echo(mut stream: TcpStream) {
    std::thread::Builder::new()
        .spawn(move || {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        })
        .unwrap();
}
