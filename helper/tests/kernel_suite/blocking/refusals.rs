//! No silent block: what is refused is told, and counted exactly.

use std::net::{TcpListener, UdpSocket};

use sekhmet_common::flow::{Direction, Protocol};
use sekhmet_helper::engine::input::{Observation, RefusedSight};

use super::{
    RULE, Stage,
    victim::{V4, Victim},
};

/// More than there are datagrams between two reads of the map.
const SENT: u64 = 300;

pub(super) fn run(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let peer = UdpSocket::bind((V4, 0)).unwrap();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let (to, to_stream) = (peer.local_addr().unwrap(), listener.local_addr().unwrap());
    let udp = victim.open("udp4");
    let port = victim.ask(&format!("bind {udp} 127.0.0.1:0")).unwrap() as u16;
    stage.block(&victim);
    for _datagram in 0..SENT {
        assert!(victim.ask(&format!("sendto {udp} {to} 1")).is_err());
    }
    for _connection in 0..3 {
        assert!(victim.ask(&format!("reach tcp4 {to_stream}")).is_err());
    }
    for _datagram in 0..5 {
        peer.send_to(&[0; 1], (V4, port)).unwrap();
    }
    let pid = victim.pid();
    let mut told = |name: &str, protocol, direction, remote: u16, wanted: u64| {
        let sum = |seen: &[Observation]| -> u64 {
            seen.iter()
                .filter_map(refused)
                .filter(|s| {
                    s.owner.is_some_and(|owner| owner.tgid == pid)
                        && (s.rule, s.protocol, s.direction) == (RULE, protocol, direction)
                        && (s.remote.addr, s.remote.port) == (V4, remote)
                })
                .map(|s| s.attempts)
                .sum()
        };
        let found = stage.watch.until(|seen| (sum(seen) >= wanted).then(|| sum(seen)));
        stage.tap.check(name, found == Some(wanted), &format!("{found:?}, {}", sum(&stage.watch.seen)));
    };
    told("refused datagrams are told, all of them", Protocol::Udp, Direction::Outbound, to.port(), SENT);
    told("refused connections are told", Protocol::Tcp, Direction::Outbound, to_stream.port(), 3);
    told("refused datagrams from others are told", Protocol::Udp, Direction::Inbound, 0, 5);
    stage.free();
    // Where the firewall refuses, what is known of it here is that the process tried.
    stage.policies.set_firewall(true).unwrap();
    stage.block(&victim);
    let answer = victim.ask(&format!("reach tcp4 {to_stream}"));
    let found = stage.watch.until(|seen| {
        seen.iter().find_map(|o| match o {
            Observation::Attempted(s) if s.remote.port == to_stream.port() => Some(s.clone()),
            _ => None,
        })
    });
    let good = found.as_ref().is_some_and(|s| s.rule == RULE && s.owner.is_some_and(|o| o.tgid == pid));
    stage.check("an attempt is told where the firewall is to refuse it", good, (answer, found));
    stage.policies.set_firewall(false).unwrap();
    stage.free();
}

fn refused(observation: &Observation) -> Option<&RefusedSight> {
    match observation {
        Observation::Refused(sight) => Some(sight),
        _ => None,
    }
}
