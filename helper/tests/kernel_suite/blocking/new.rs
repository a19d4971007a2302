//! Sockets that are made while the block is in force.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use sekhmet_common::kernel::mark::{INBOUND_FREE, LOCAL_TOO, OUTBOUND_FREE};

use super::{
    Stage,
    victim::{Answer, V4, V6, Victim},
};

const REFUSED: Answer = Err(libc::EPERM);

pub(super) fn run(stage: &mut Stage<'_>) {
    every_kind(stage);
    directions(stage);
    names_through_loopback(stage);
}

fn every_kind(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let servers: Vec<(&str, SocketAddr, TcpListener, UdpSocket)> = [("4", V4), ("6", V6)]
        .into_iter()
        .filter_map(|(version, address)| {
            let listener = TcpListener::bind((address, 0)).ok()?;
            let to = listener.local_addr().ok()?;
            let datagrams = UdpSocket::bind(to).ok()?;
            datagrams.set_nonblocking(true).ok()?;
            Some((version, to, listener, datagrams))
        })
        .collect();
    stage.block(&victim);
    for (version, to, listener, datagrams) in &servers {
        let answer = victim.connected(&format!("tcp{version}"), *to);
        stage.check(&format!("TCP over IPv{version} is refused"), answer == REFUSED, answer);
        let other = TcpStream::connect(to);
        stage.check(&format!("and not to another process, IPv{version}"), other.is_ok(), &other);
        listener.accept().unwrap();
        let udp = victim.open(&format!("udp{version}"));
        let answer = victim.ask(&format!("sendto {udp} {to} 40"));
        stage.check(&format!("UDP over IPv{version} is refused"), answer == REFUSED, answer);
        let connected = victim.ask(&format!("connect {udp} {to}"));
        let answer = connected.and_then(|_| victim.ask(&format!("send {udp} 40")));
        stage.check(&format!("connected UDP over IPv{version} is refused"), answer == REFUSED, answer);
        let none = datagrams.recv(&mut [0; 64]);
        stage.check(&format!("and nothing arrives, IPv{version}"), none.is_err(), &none);
    }
    let to = servers[0].1;
    let mapped = SocketAddr::new(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), to.port());
    if servers.len() == 2 {
        let answer = victim.connected("tcp6", mapped);
        stage.check("TCP over IPv4 from an IPv6 socket is refused", answer == REFUSED, answer);
        let udp = victim.open("udp6");
        let answer = victim.ask(&format!("sendto {udp} {mapped} 40"));
        stage.check("UDP over IPv4 from an IPv6 socket is refused", answer == REFUSED, answer);
    }
    for (kind, name) in [("raw4", "a raw socket"), ("ping4", "a ping socket"), ("mptcp4", "an MPTCP socket")]
    {
        match victim.ask(&format!("open {kind}")) {
            Ok(place) => {
                let word = if kind == "mptcp4" { "connect" } else { "echo" };
                let answer = victim.ask(&format!("{word} {place} {to}"));
                stage.check(&format!("{name} is refused"), answer.is_err(), answer);
            }
            Err(errno) => stage.tap.skip(&format!("{name} is refused"), &format!("errno {errno}")),
        }
    }
    let accepted = servers[0].2.set_nonblocking(true).and_then(|()| servers[0].2.accept());
    stage.check("no connection has come through", accepted.is_err(), &accepted);
    let answer = victim.ask(&format!("thread reach tcp4 {to}"));
    stage.check("another thread is refused", answer == REFUSED, answer);
    if rustix::process::geteuid().is_root() {
        let answer = victim.ask(&format!("nobody reach tcp4 {to}"));
        stage.check("another user id changes nothing", answer == REFUSED, answer);
    } else {
        stage.tap.skip("another user id changes nothing", "only root can change it");
    }
    let serves = victim.open("tcp4");
    victim.ask(&format!("bind {serves} 127.0.0.1:0")).unwrap();
    let port = victim.ask(&format!("listen {serves}")).unwrap() as u16;
    let came = TcpStream::connect_timeout(&(V4, port).into(), std::time::Duration::from_millis(400));
    stage.check("a new listener accepts nobody", came.is_err(), &came);
    stage.free();
    let answer = victim.connected("tcp4", to);
    stage.check("without the rule a new connection is made", answer.is_ok(), answer);
}

/// Rules for one direction: what begins in the other one goes on, answers included.
fn directions(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let datagrams = UdpSocket::bind((V4, 0)).unwrap();
    datagrams.set_read_timeout(Some(std::time::Duration::from_millis(400))).unwrap();
    let (to, to_datagrams) = (listener.local_addr().unwrap(), datagrams.local_addr().unwrap());
    for (name, flags, out, inwards) in [
        ("a rule for outbound traffic", LOCAL_TOO | INBOUND_FREE, false, true),
        ("a rule for inbound traffic", LOCAL_TOO | OUTBOUND_FREE, true, false),
    ] {
        stage.block_with(&victim, flags);
        let answer = victim.connected("tcp4", to);
        stage.check(&format!("{name}: connecting"), answer.is_ok() == out, answer);
        let asks = victim.open("udp4");
        let sent = victim.ask(&format!("sendto {asks} {to_datagrams} 33"));
        let mut room = [0; 64];
        let answered = sent.and_then(|_| {
            let (_, from) = datagrams.recv_from(&mut room).map_err(|_none| -1)?;
            datagrams.send_to(&[1; 44], from).unwrap();
            victim.ask(&format!("recv {asks}"))
        });
        stage.check(
            &format!("{name}: asking over UDP"),
            answered == Ok(44) || !out && sent.is_err(),
            answered,
        );
        let serves = victim.open("tcp4");
        victim.ask(&format!("bind {serves} 127.0.0.1:0")).unwrap();
        let port = victim.ask(&format!("listen {serves}")).unwrap() as u16;
        let came = TcpStream::connect_timeout(&(V4, port).into(), std::time::Duration::from_millis(400));
        let passed = came.and_then(|mut peer| {
            use std::io::{Read, Write};
            let place = victim.ask(&format!("accept {serves}")).map_err(std::io::Error::from_raw_os_error)?;
            peer.write_all(&[5; 20])?;
            let heard = victim.ask(&format!("recv {place}"));
            victim.ask(&format!("send {place} 30")).map_err(std::io::Error::from_raw_os_error)?;
            peer.set_read_timeout(Some(std::time::Duration::from_millis(400)))?;
            Ok((heard, peer.read(&mut [0; 64])?))
        });
        let good = if inwards { matches!(passed, Ok((Ok(20), 30))) } else { passed.is_err() };
        stage.check(&format!("{name}: being connected to"), good, &passed);
        let answers = victim.open("udp4");
        let port = victim.ask(&format!("bind {answers} 127.0.0.1:0")).unwrap() as u16;
        datagrams.send_to(&[2; 21], (V4, port)).unwrap();
        let heard = victim.ask(&format!("recv {answers}"));
        let answer = victim.ask(&format!("sendto {answers} {to_datagrams} 22"));
        let back = datagrams.recv(&mut room).ok();
        let good = if inwards { (heard, back) == (Ok(21), Some(22)) } else { heard.is_err() };
        stage.check(&format!("{name}: being asked over UDP"), good, (heard, answer, back));
        while datagrams.recv(&mut room).is_ok() {}
        stage.free();
    }
}

/// Loopback is free unless the rule says otherwise, but for DNS.
fn names_through_loopback(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    stage.block_with(&victim, 0);
    let answer = victim.connected("tcp4", to);
    stage.check("loopback is free", answer.is_ok(), answer);
    let udp = victim.open("udp4");
    let answer = victim.ask(&format!("sendto {udp} 127.0.0.1:53 40"));
    stage.check("a question to a resolver on this machine is refused", answer == REFUSED, answer);
    let answer = victim.connected("tcp4", (V4, 53).into());
    stage.check("also over TCP", answer == REFUSED, answer);
    let answer = victim.connected("tcp6", (V6, 53).into());
    stage.check("also over IPv6", answer == REFUSED, answer);
    stage.free();
}
