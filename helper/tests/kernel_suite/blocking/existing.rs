//! Sockets that are open when the block begins, and what becomes of them when it ends.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::Stdio,
    time::Duration,
};

use sekhmet_common::kernel::mark::{LOCAL_TOO, Mark};

use super::{
    RULE, Stage, take,
    victim::{self, Answer, V4, V6, Victim},
};
use crate::child;

const REFUSED: Answer = Err(libc::EPERM);
const PATIENCE: Duration = Duration::from_millis(400);

pub(super) fn run(stage: &mut Stage<'_>) {
    streams(stage);
    datagrams(stage);
    streams_of_each_kind(stage);
    datagrams_of_each_kind(stage);
    handed_over(stage);
    marks(stage);
}

fn streams(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let out = victim.connected("tcp4", listener.local_addr().unwrap()).unwrap();
    let (mut out_peer, _) = listener.accept().unwrap();
    let serves = victim.open("tcp4");
    victim.ask(&format!("bind {serves} 127.0.0.1:0")).unwrap();
    let to: SocketAddr = (V4, victim.ask(&format!("listen {serves}")).unwrap() as u16).into();
    let mut in_peer = TcpStream::connect(to).unwrap();
    let accepted = victim.ask(&format!("accept {serves}")).unwrap();
    victim.ask(&format!("send {out} 10")).unwrap();
    let done = stage.block(&victim);
    stage.check("both connections are ended", done.closed + done.shut == 2 && done.silenced == 0, done);
    // Their programs only wait.
    let noticed = (victim.ask(&format!("recv {out}")), victim.ask(&format!("recv {accepted}")));
    let wanted = if done.closed == 2 { ABORTED } else { Ok(0) };
    stage.check("and whoever waits for bytes notices", noticed == (wanted, wanted), noticed);
    for peer in [&mut out_peer, &mut in_peer] {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut room = [0; 64];
    let peers =
        (out_peer.read(&mut room).map_err(|e| e.kind()), out_peer.read(&mut room).map_err(|e| e.kind()));
    if done.closed == 2 {
        let good = peers.0 == Ok(10) || peers.0 == Err(std::io::ErrorKind::ConnectionReset);
        stage.check("the peer hears of it", good && peers.1 != Err(std::io::ErrorKind::WouldBlock), peers);
        let gone = in_peer.write_all(&[0; 10]).and_then(|()| in_peer.read(&mut room));
        stage.check("also the one that connected", gone.is_err(), &gone);
    } else {
        stage.tap.skip("the peer hears of it", "this kernel closes no connection of others");
    }
    let another = TcpStream::connect_timeout(&to, PATIENCE);
    stage.check("a listener from before accepts nobody", another.is_err(), &another);
    stage.free();
    let again = TcpStream::connect_timeout(&to, 5 * PATIENCE);
    stage.check("and does afterwards", again.is_ok(), &again);
    let answer = victim.ask(&format!("accept {serves}"));
    stage.check("as if nothing had been", answer.is_ok(), answer);
}

const ABORTED: Answer = Err(libc::ECONNABORTED);

fn datagrams(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let peer = UdpSocket::bind((V4, 0)).unwrap();
    peer.set_nonblocking(true).unwrap();
    let to = peer.local_addr().unwrap();
    let (free, tied) = (victim.open("udp4"), victim.connected("udp4", to).unwrap());
    for place in [free, tied] {
        victim.ask(&format!("sendto {place} {to} 5")).unwrap();
    }
    let raw = victim.ask("open raw4").ok();
    let mut room = [0; 64];
    let (_, free_port) = peer.recv_from(&mut room).unwrap();
    let (_, tied_port) = peer.recv_from(&mut room).unwrap();
    stage.block(&victim);
    let answers = (
        victim.ask(&format!("sendto {free} {to} 5")),
        victim.ask(&format!("send {tied} 5")),
        raw.map_or(REFUSED, |raw| victim.ask(&format!("echo {raw} 127.0.0.1:0"))),
    );
    let good = answers == (REFUSED, REFUSED, REFUSED) && peer.recv(&mut room).is_err();
    stage.check("datagram sockets from before are refused to send", good, answers);
    for port in [free_port, tied_port] {
        peer.send_to(&[1; 30], port).unwrap();
    }
    let answers = (victim.ask(&format!("recv {free}")), victim.ask(&format!("recv {tied}")));
    let timeout: Answer = Err(libc::EAGAIN);
    stage.check("and hear nothing", answers == (timeout, timeout), answers);
    stage.free();
    peer.send_to(&[1; 31], free_port).unwrap();
    let answers = (victim.ask(&format!("recv {free}")), victim.ask(&format!("send {tied} 5")));
    stage.check("until the rule is gone", answers == (Ok(31), Ok(5)), answers);
}

/// Connections over IPv6, over IPv4 from an IPv6 socket, and one whose descriptor somebody else has, too.
fn streams_of_each_kind(stage: &mut Stage<'_>) {
    for (name, kind, address, target) in [
        ("TCP over IPv6", "tcp6", V6, V6),
        ("TCP over IPv4 from an IPv6 socket", "tcp6", V4, mapped()),
        ("TCP with a descriptor in another's hands", "tcp4", V4, V4),
    ] {
        let mut victim = Victim::start();
        let Ok(listener) = TcpListener::bind((address, 0)) else {
            stage.tap.skip(&format!("{name}, from before: nothing passes"), "no such address");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let place = victim.connected(kind, (target, port).into()).unwrap();
        let mut ours: TcpStream = take(&mut victim, place).into();
        let (mut peer, _) = listener.accept().unwrap();
        stage.block(&victim);
        let sent = (victim.ask(&format!("send {place} 50")), ours.write(&[9; 60]).map_err(|e| e.kind()));
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let heard = peer.read(&mut [0; 256]).map_err(|error| error.kind());
        // A peer that is told of the end, or of nothing.
        let good = heard.is_err() || heard == Ok(0);
        stage.check(&format!("{name}, from before: nothing passes"), good, (sent, heard));
        let noticed = victim.ask(&format!("recv {place}"));
        let good = !matches!(noticed, Ok(1..) | Err(libc::EAGAIN));
        stage.check(&format!("{name}, from before: whoever waits notices"), good, noticed);
        stage.free();
    }
}

/// Sockets without connections of every kind, connected and not.
fn datagrams_of_each_kind(stage: &mut Stage<'_>) {
    for (name, kind, address, target) in
        [("UDP over IPv6", "udp6", V6, V6), ("UDP over IPv4 from an IPv6 socket", "udp6", V4, mapped())]
    {
        let mut victim = Victim::start();
        let Ok(peer) = UdpSocket::bind((address, 0)) else {
            stage.tap.skip(&format!("{name}, from before: refused"), "no such address");
            continue;
        };
        peer.set_nonblocking(true).unwrap();
        let to = SocketAddr::new(target, peer.local_addr().unwrap().port());
        let (free, tied) = (victim.open(kind), victim.connected(kind, to).unwrap());
        stage.block(&victim);
        let found = (
            victim.ask(&format!("sendto {free} {to} 5")),
            victim.ask(&format!("send {tied} 5")),
            peer.recv(&mut [0; 9]).is_err(),
        );
        stage.check(&format!("{name}, from before: refused"), found == (REFUSED, REFUSED, true), found);
        stage.free();
        let found = (victim.ask(&format!("sendto {free} {to} 5")), victim.ask(&format!("send {tied} 5")));
        stage.check(&format!("{name}, from before: free afterwards"), found == (Ok(5), Ok(5)), found);
    }
    for (name, kind) in [("a ping socket", "ping4"), ("a raw socket", "raw4")] {
        let mut victim = Victim::start();
        let (Ok(free), Ok(tied)) = (victim.ask(&format!("open {kind}")), victim.ask(&format!("open {kind}")))
        else {
            stage.tap.skip(&format!("{name} from before is refused, connected and not"), "none may be made");
            continue;
        };
        victim.ask(&format!("connect {tied} 127.0.0.1:0")).unwrap();
        let both = |victim: &mut Victim| {
            let echo = |place, to| format!("echo {place} {to}");
            (victim.ask(&echo(free, "127.0.0.1:0")), victim.ask(&echo(tied, "127.0.0.1:0")))
        };
        let works = both(&mut victim);
        stage.check(&format!("{name} works without a rule"), works == (Ok(8), Ok(8)), works);
        stage.block(&victim);
        let found = both(&mut victim);
        stage.check(
            &format!("{name} from before is refused, connected and not"),
            found == (REFUSED, REFUSED),
            found,
        );
        stage.free();
    }
}

fn mapped() -> IpAddr {
    IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())
}

/// Descriptors that change hands.
fn handed_over(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let peer = UdpSocket::bind((V4, 0)).unwrap();
    let to = peer.local_addr().unwrap();
    let place = victim.connected("udp4", to).unwrap();
    let ours: UdpSocket = take(&mut victim, place).into();
    stage.block(&victim);
    let answer = ours.send(&[1; 9]).map_err(|e| e.raw_os_error());
    stage.check(
        "a socket of the victim is refused in another's hands",
        answer == Err(Some(libc::EPERM)),
        answer,
    );
    if rustix::process::geteuid().is_root() {
        let answer = victim.ask(&format!("nobody send {place} 9"));
        stage.check("also with another user id", answer == REFUSED, answer);
    }
    let answer = victim.ask(&format!("fork send {place} 9"));
    stage.check("and in a new child's", answer == REFUSED, answer);
    stage.free();
    // The other way about: made by this process, used by the victim.
    let gift = UdpSocket::bind((V4, 0)).unwrap();
    gift.connect(to).unwrap();
    let mut command = child::command(&[victim::WORD]);
    command.stderr(Stdio::from(std::os::fd::OwnedFd::from(gift.try_clone().unwrap())));
    let mut heir = Victim::start_with(command);
    let place = heir.ask("inherited").unwrap();
    stage.block(&heir);
    let answer = heir.ask(&format!("send {place} 9"));
    stage.check("a socket of another is refused in the victim's hands", answer == REFUSED, answer);
    let answer = heir.ask(&format!("sendto {place} {to} 9"));
    stage.check("also to an address", answer == REFUSED, answer);
    stage.free();
    let answer = gift.send(&[1; 9]);
    stage.check("and goes on afterwards", answer.is_ok(), &answer);
}

/// Where a firewall acts, sockets have the rule's mark, and their program's own one comes back.
fn marks(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let (old, plain, stream) = (victim.open("udp4"), victim.open("udp4"), victim.open("tcp4"));
    let own = if victim.ask(&format!("setmark {old} 2748")).is_ok() { 2748 } else { 0 };
    stage.policies.set_firewall(true).unwrap();
    let wanted = i64::from(Mark::refused(RULE, LOCAL_TOO).unwrap().bits());
    let done = stage.block(&victim);
    let (new, new_stream) = (victim.open("udp4"), victim.open("tcp4"));
    let found = (
        victim.ask(&format!("mark {old}")),
        victim.ask(&format!("mark {plain}")),
        victim.ask(&format!("mark {stream}")),
        victim.ask(&format!("mark {new}")),
        victim.ask(&format!("mark {new_stream}")),
    );
    let good = found == (Ok(wanted), Ok(wanted), Ok(wanted), Ok(wanted), Ok(wanted)) && done.marked == 3;
    stage.check("every socket has the mark", good, (found, done));
    // A privileged program may change it: the next use brings it back.
    if victim.ask(&format!("setmark {old} 1")).is_ok() {
        let _answer = victim.ask(&format!("sendto {old} {to} 5"));
        let found = victim.ask(&format!("mark {old}"));
        stage.check("a mark that the program changes comes back", found == Ok(wanted), found);
        victim.ask(&format!("setmark {old} 2748")).unwrap();
        let _answer = victim.ask(&format!("sendto {old} {to} 5"));
    }
    let mine = UdpSocket::bind((V4, 0)).unwrap();
    let found = victim::mark(mine.as_fd(), None);
    stage.check("nobody else's sockets have", found == Ok(0), found);
    stage.policies.clear_rule(RULE).unwrap();
    // Two ways back: by its use, and by user space.
    let answer = victim.ask(&format!("sendto {plain} {to} 5"));
    let found = (answer, victim.ask(&format!("mark {plain}")));
    stage.check("the mark goes at the next use", found == (Ok(5), Ok(0)), found);
    let done = stage.policies.enforce().unwrap();
    let found = (
        victim.ask(&format!("mark {old}")),
        victim.ask(&format!("mark {stream}")),
        victim.ask(&format!("mark {new}")),
    );
    let good = found == (Ok(own), Ok(0), Ok(0)) && (done.restored, done.unmarked) == (4, 0);
    stage.check("or when the rule is gone; the program's own comes back", good, (found, done));
    stage.policies.set_firewall(false).unwrap();
}
