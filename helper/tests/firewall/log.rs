//! The log of refused packets: nothing is refused without a line, and a storm is counted.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    kernel::mark::{LOCAL_TOO, Mark, SILENT},
};
use sekhmet_helper::firewall::{Batch, Firewall, Refusals, RefusedPacket, start};

use crate::{
    marked::{SOON, addr, icmp, mark, send_refused, tcp_connect, tcp_listen, udp},
    place::{HERE, THERE, bits, scene},
};

/// Reads until so many packets came, or for two seconds.
fn read(refusals: &mut Refusals, count: usize) -> Batch {
    let mut all = Batch::default();
    let end = Instant::now() + Duration::from_secs(2);
    while all.packets.len() < count && Instant::now() < end {
        let batch = refusals.read().unwrap();
        all.packets.extend(batch.packets);
        all.lost += batch.lost;
        all.unreadable += batch.unreadable;
    }
    all
}

fn brief(packet: &RefusedPacket) -> (Direction, Protocol, Endpoint, u32) {
    (packet.direction, packet.protocol, packet.remote, packet.mark.rule())
}

#[test]
fn each_refusal_is_told_with_rule_remote_and_user() {
    let Some((peer, mut firewall)) = scene() else { return };
    let mut refusals = Refusals::open().unwrap();
    for (v6, (here, there)) in [false, true].into_iter().zip(HERE.into_iter().zip(THERE)) {
        let rule = |number, flags| Mark::refused(number, flags).unwrap().bits();
        let remote = |port| Endpoint::from(addr(there, port));
        tcp_connect(rule(0xf_ffff, 0), addr(there, 6001), SOON).unwrap_err();
        let socket = udp(rule(2, SILENT), v6, 6002);
        send_refused(&socket, b"no", addr(there, 6003));
        let sent = rustix::net::sendto(
            icmp(rule(3, 0), v6, true),
            &crate::marked::echo(v6),
            rustix::net::SendFlags::empty(),
            &addr(there, 0),
        );
        assert!(sent.is_err());
        let batch = read(&mut refusals, 3);
        let ping = if v6 { Protocol::Icmp6 } else { Protocol::Icmp };
        let expected = [
            (Direction::Outbound, Protocol::Tcp, remote(6001), 0xf_ffff),
            (Direction::Outbound, Protocol::Udp, remote(6003), 2),
            (Direction::Outbound, ping, remote(0), 3),
        ];
        assert_eq!(batch.packets.iter().map(brief).collect::<Vec<_>>(), expected, "{there}");
        assert!(batch.packets.iter().all(|packet| packet.uid == Some(0)));
        assert_eq!(batch.packets[1].local, Endpoint::from(addr(here, 6002)));
        assert!(batch.packets[1].mark.has(SILENT));

        let at = addr(here, 6004);
        let _listener = tcp_listen(rule(4, 0), at);
        peer.run(move || tcp_connect(0, at, SOON)).unwrap_err();
        let batch = read(&mut refusals, 1);
        let packet = &batch.packets[0];
        assert_eq!((packet.direction, packet.mark.rule()), (Direction::Inbound, 4), "{here}");
        assert_eq!((packet.local, packet.remote.addr), (Endpoint::from(at), addr(there, 0).ip()));
        assert_eq!((batch.lost, batch.unreadable), (0, 0));
    }
    assert_eq!(firewall.counters().unwrap().by_rule.len(), 4);
}

#[test]
fn a_storm_is_counted_exactly_told_in_part_and_hides_nobody() {
    let Some((_peer, mut firewall)) = scene() else { return };
    let (sender, batches) = crossbeam_channel::bounded(1024);
    let reader = start(Refusals::open().unwrap(), move |batch| sender.try_send(batch).is_ok()).unwrap();
    let loud = udp(Mark::refused(1, 0).unwrap().bits(), false, 0);
    let quiet = udp(Mark::refused(2, 0).unwrap().bits(), false, 0);
    for _ in 0..20_000 {
        send_refused(&loud, b"no", addr(THERE[0], 6011));
    }
    for _ in 0..7 {
        send_refused(&quiet, b"no", addr(THERE[0], 6012));
    }
    let counters = firewall.counters().unwrap();
    assert_eq!((counters.by_rule[&1].packets, counters.by_rule[&2].packets), (20_000, 7));
    assert_eq!(counters.outbound_rejected.packets, 20_007);
    assert_eq!(counters.by_rule[&2].bytes, 7 * 30, "with IP and UDP headers");
    std::thread::sleep(SOON);
    assert!(reader.is_running());
    drop(reader);
    let told: Vec<_> = batches.iter().flat_map(|batch: Batch| batch.packets).collect();
    let of = |rule| told.iter().filter(|packet| packet.mark.rule() == rule).count();
    assert_eq!(of(2), 7);
    assert!((200..5000).contains(&of(1)), "{}", of(1));
}

#[test]
fn what_nobody_reads_in_time_is_counted_as_lost() {
    let Some((_peer, _firewall)) = scene() else { return };
    let mut refusals = Refusals::open().unwrap();
    // Each mark has its own budget: those of 120 marks are more than the socket's buffer takes.
    let sockets: Vec<UdpSocket> =
        (1..=120).map(|rule| udp(Mark::refused(rule, 0).unwrap().bits(), false, 0)).collect();
    let mut refused = 0;
    for _ in 0..200 {
        for socket in &sockets {
            send_refused(socket, &[0; 64], addr(THERE[0], 6021));
            refused += 1;
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut all = read(&mut refusals, usize::MAX);
    // One more, so that the gap shows.
    mark(&sockets[0], Mark::refused(999, 0).unwrap().bits());
    send_refused(&sockets[0], b"no", addr(THERE[0], 6021));
    let last = read(&mut refusals, 1);
    all.lost += last.lost;
    assert_eq!(all.packets.len() as u64 + all.lost, refused);
    assert!(all.lost > 0, "the buffer was large enough for this test: make it larger");
}

#[test]
fn the_group_has_one_reader_and_without_it_packets_are_refused_all_the_same() {
    let Some((_peer, mut firewall)) = scene() else { return };
    let first = Refusals::open().unwrap();
    let second = Refusals::open().map(drop).unwrap_err();
    assert_eq!(second.raw_os_error(), Some(libc::EPERM), "{second}");
    drop(first);
    send_refused(&udp(bits(LOCAL_TOO), false, 0), b"no", addr("127.0.0.1", 6031));
    assert_eq!(firewall.counters().unwrap().by_rule[&1].packets, 1);
}
