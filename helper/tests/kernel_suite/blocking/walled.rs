//! The kernel programs and the real firewall table together, in a network namespace that is theirs.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use sekhmet_common::kernel::{
    mark::{LOCAL_TOO, Mark},
    tcp_state,
};
use sekhmet_helper::{
    firewall::{Firewall, NftFirewall, Shape},
    kernel::{self, Kernel, Options, policy::Policies},
};

use super::{
    RULE, Stage, links,
    victim::{self, Answer, V4, V6, Victim},
};
use crate::child;

/// The word that makes a child the helper of such a namespace.
pub(crate) const WORD: &str = "walled";

/// Starts the child and repeats what it says.
pub(super) fn run(stage: &mut Stage<'_>) {
    retell(stage, child::command(&[WORD]), "with the firewall's table, ");
}

/// Starts a child that prints lines of the protocol, and repeats its checks with a word before them.
pub(super) fn retell(stage: &mut Stage<'_>, mut command: Command, before: &str) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (good, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        let name = rest.split_once(" - ").map_or(rest, |(_, name)| name);
        let mut why = String::new();
        while let Some(more) = lines.next_if(|line| !good && line.starts_with("#   ")) {
            why += &format!("{}\n", &more[4..]);
        }
        match name.split_once(" # SKIP ") {
            Some((name, why)) => stage.tap.skip(&format!("{before}{name}"), why),
            None => stage.tap.check(&format!("{before}{name}"), good, &why),
        }
    }
    stage.check(&format!("{before}the child ends well"), status.success(), status);
}

/// The child: prints lines of the protocol.
pub(crate) fn helper() -> ExitCode {
    match victim::unshare() {
        Ok(_namespace) => {}
        Err(errno) => return skip(&format!("no namespace: {errno}")),
    }
    let mut kernel = match kernel::load(&Options::default()) {
        Ok(kernel) => kernel,
        Err(error) => return skip(&format!("no programs: {error}")),
    };
    let installed = NftFirewall::open().and_then(|mut firewall| Ok((firewall.install()?, firewall)));
    let firewall = match installed {
        Ok((shape, firewall)) => {
            say("it is there as a whole", shape, Shape::ALL[0]);
            firewall
        }
        Err(error) => return skip(&format!("no table: {error}")),
    };
    let mut policies = kernel.take_policies().unwrap();
    kernel.adopt_sockets().unwrap();
    local(&mut policies, &kernel);
    match links::make_outside() {
        Ok(()) => outside(&mut policies),
        Err(errno) => return skip(&format!("no interface: errno {errno}")),
    }
    drop(firewall);
    ExitCode::SUCCESS
}

fn skip(why: &str) -> ExitCode {
    println!("ok 1 - all of it # SKIP {}", why.replace('\n', " "));
    ExitCode::SUCCESS
}

fn say<T: std::fmt::Debug + PartialEq>(name: &str, found: T, wanted: T) {
    if found == wanted {
        println!("ok 1 - {name}");
    } else {
        println!("not ok 1 - {name}\n#   found {found:?}, wanted {wanted:?}");
    }
}

fn block(policies: &mut Policies, victim: &Victim, flags: u32) {
    policies.set_rule(Mark::refused(RULE, flags).unwrap()).unwrap();
    let key = policies.find_process(victim.pid()).unwrap().unwrap();
    policies.bind_family(&[key], RULE).unwrap();
    policies.enforce().unwrap();
}

/// A rule that concerns this machine as well.
fn local(policies: &mut Policies, kernel: &Kernel) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let peer = UdpSocket::bind((V4, 0)).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (to, to_peer) = (listener.local_addr().unwrap(), peer.local_addr().unwrap());
    let before = victim.connected("tcp4", to).unwrap();
    let tied = victim.connected("udp4", to_peer).unwrap();
    block(policies, &victim, LOCAL_TOO);
    let refused: Answer = Err(libc::ECONNREFUSED);
    let denied: Answer = Err(libc::EPERM);
    say("a connection is refused at once", victim.connected("tcp4", to), refused);
    say("over IPv6, too", victim.connected("tcp6", (V6, to.port()).into()), refused);
    let aborted: Answer = Err(libc::ECONNABORTED);
    let found = victim.ask(&format!("recv {before}"));
    // Where the kernel closes no connection of others, it is shut down.
    say("an open connection is ended", found == aborted || found == Ok(0), true);
    say("a datagram is refused", victim.ask(&format!("send {tied} 5")), denied);
    let udp = victim.open("udp4");
    say("to an address, too", victim.ask(&format!("sendto {udp} {to_peer} 5")), denied);
    say("nothing arrives", peer.recv(&mut [0; 9]).is_err(), true);
    let serves = victim.open("tcp4");
    victim.ask(&format!("bind {serves} 127.0.0.1:0")).unwrap();
    let port = victim.ask(&format!("listen {serves}")).unwrap() as u16;
    let came = std::net::TcpStream::connect_timeout(&(V4, port).into(), Duration::from_millis(900));
    say(
        "who connects to it is refused at once",
        came.err().map(|e| e.kind()),
        Some(std::io::ErrorKind::ConnectionRefused),
    );
    policies.clear_rule(RULE).unwrap();
    say("a new socket is free at once", victim.connected("tcp4", to).is_ok(), true);
    policies.enforce().unwrap();
    // The last refusal's ICMP error is told by the next call, whatever that is (udp(7)).
    let _told = victim.ask(&format!("send {tied} 5"));
    say("and one with a mark of before", victim.ask(&format!("send {tied} 5")), Ok(5));
    let came = std::net::TcpStream::connect_timeout(&(V4, port).into(), Duration::from_millis(900));
    say("and one that listens", came.is_ok(), true);
    let rows = kernel.dump_sockets().unwrap().unwrap_or_default();
    let left = rows.iter().filter(|row| row.process.tgid == victim.pid() && row.state == tcp_state::SYN_SENT);
    say("no connection is half open", left.count(), 0);
}

/// A rule about the outside world.
fn outside(policies: &mut Policies) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let to: SocketAddr = listener.local_addr().unwrap();
    let tied = victim.connected("udp4", "192.0.2.9:9".parse().unwrap()).unwrap();
    block(policies, &victim, 0);
    let before = victim.ask("tx outside").unwrap();
    say("the outside is refused at once", victim.ask("reach tcp4 192.0.2.9:80"), Err(libc::ECONNREFUSED));
    say("datagrams to it, too", victim.ask(&format!("send {tied} 5")), Err(libc::EPERM));
    let raw = victim.open("raw4");
    say("echo requests, too", victim.ask(&format!("echo {raw} 192.0.2.9:0")), Err(libc::EPERM));
    say("no byte leaves", victim.ask("tx outside"), Ok(before));
    say("loopback is free", victim.connected("tcp4", to).is_ok(), true);
    let udp = victim.open("udp4");
    say("and its own address", victim.ask(&format!("sendto {udp} 192.0.2.1:9 10")), Ok(10));
    let udp = victim.open("udp4");
    say("but not a resolver", victim.ask(&format!("sendto {udp} 127.0.0.1:53 40")), Err(libc::EPERM));
    say("over TCP", victim.connected("tcp4", (V4, 53).into()), Err(libc::ECONNREFUSED));
    let dhcp = victim.open("udp4");
    victim.ask(&format!("bind {dhcp} 0.0.0.0:68")).unwrap();
    say("DHCP goes on", victim.ask(&format!("sendto {dhcp} 192.0.2.9:67 300")), Ok(300));
}
