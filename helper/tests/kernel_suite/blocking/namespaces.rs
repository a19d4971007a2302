//! Other network namespaces, where no firewall of ours acts.

use std::net::Ipv4Addr;

use sekhmet_common::kernel::mark::LOCAL_TOO;

use super::{
    Stage,
    victim::{Answer, Victim},
};

const REFUSED: Answer = Err(libc::EPERM);

pub(super) fn run(stage: &mut Stage<'_>) {
    let name = "in another network namespace";
    let mut victim = Victim::start();
    if let Err(errno) = victim.ask("unshare") {
        return stage.tap.skip(name, &format!("errno {errno}: only CAP_SYS_ADMIN may make one"));
    }
    // The child is not bound: it stands for another program there.
    victim.ask("kid").unwrap();
    victim.ask("kid open tcp4").unwrap();
    victim.ask("kid bind 0 127.0.0.1:0").unwrap();
    let port = victim.ask("kid listen 0").unwrap();
    let to = format!("{}:{port}", Ipv4Addr::LOCALHOST);
    let before = victim.connected("tcp4", to.parse().unwrap()).unwrap();
    victim.ask("kid accept 0").unwrap();
    let serves = victim.open("tcp4");
    victim.ask(&format!("bind {serves} 127.0.0.1:0")).unwrap();
    let own_port = victim.ask(&format!("listen {serves}")).unwrap();
    let came = victim.ask("kid open tcp4").unwrap();
    victim.ask(&format!("kid connect {came} 127.0.0.1:{own_port}")).unwrap();
    let alone = |stage: &mut Stage<'_>, victim: &Victim, flags| {
        use sekhmet_common::kernel::mark::Mark;
        stage.policies.set_rule(Mark::refused(super::RULE, flags).unwrap()).unwrap();
        let key = stage.key(victim);
        stage.policies.bind(key, super::RULE).unwrap();
        stage.policies.enforce().unwrap()
    };
    // The firewall acts, but not there.
    stage.policies.set_firewall(true).unwrap();
    let done = alone(stage, &victim, LOCAL_TOO);
    stage.check(
        &format!("{name}, connections are shut down"),
        (done.shut, done.silenced, done.closed) == (1, 1, 0),
        done,
    );
    let noticed = victim.ask(&format!("recv {before}"));
    stage.check(&format!("{name}, whoever waits for bytes notices"), noticed == Ok(0), noticed);
    let answer = victim.connected("tcp4", to.parse().unwrap());
    stage.check(&format!("{name}, connecting is refused at once"), answer == REFUSED, answer);
    let answer = victim.ask(&format!("kid reach tcp4 {to}"));
    stage.check(&format!("{name}, others connect"), answer == Ok(0), answer);
    let answers = (victim.ask(&format!("send {before} 50")), victim.ask("kid recv 1"));
    let good = answers == (Err(libc::EPIPE), Err(libc::EAGAIN));
    stage.check(&format!("{name}, nothing passes an open connection"), good, answers);
    // One that nobody holds yet cannot be shut down, and is refused all the same.
    let waiting = victim.ask(&format!("accept {serves}")).unwrap();
    let answers = (victim.ask(&format!("kid send {came} 10")), victim.ask(&format!("recv {waiting}")));
    let good = answers == (Ok(10), Err(libc::EAGAIN));
    stage.check(&format!("{name}, nothing passes one that waited"), good, answers);
    let answers = (victim.ask(&format!("send {waiting} 10")), victim.ask(&format!("kid recv {came}")));
    stage.check(&format!("{name}, in neither direction"), answers == (Ok(10), Err(libc::EAGAIN)), answers);
    let udp = victim.open("udp4");
    let answer = victim.ask(&format!("sendto {udp} {to} 5"));
    stage.check(&format!("{name}, a datagram is refused"), answer == REFUSED, answer);
    let mark = victim.ask(&format!("mark {udp}"));
    stage.check(&format!("{name}, sockets have no mark of ours"), mark == Ok(0), mark);
    alone(stage, &victim, 0);
    let answer = victim.connected("tcp4", to.parse().unwrap());
    stage.check(&format!("{name}, loopback is free like everywhere"), answer.is_ok(), answer);
    stage.free();
    outside(stage, &mut victim, name);
    stage.policies.set_firewall(false).unwrap();
}

/// An interface with nobody at its other end counts what would have left the machine.
fn outside(stage: &mut Stage<'_>, victim: &mut Victim, name: &str) {
    if let Err(errno) = victim.ask("outside") {
        return stage
            .tap
            .skip(&format!("{name}, nothing leaves"), &format!("no such interface: errno {errno}"));
    }
    let udp = victim.connected("udp4", "192.0.2.9:9".parse().unwrap()).unwrap();
    let ping = victim.ask("open ping4").ok();
    victim.ask(&format!("send {udp} 100")).unwrap();
    let before = victim.ask("tx outside").unwrap();
    stage.check("what a process sends leaves the machine", before >= 128, before);
    stage.block_with(victim, 0);
    let before = victim.ask("tx outside").unwrap();
    let answers = (
        victim.ask(&format!("send {udp} 100")),
        victim.ask("reach tcp4 192.0.2.9:80"),
        ping.map_or(REFUSED, |ping| victim.ask(&format!("echo {ping} 192.0.2.9:0"))),
    );
    stage.check(&format!("{name}, all is refused"), answers == (REFUSED, REFUSED, REFUSED), answers);
    let own = victim.open("udp4");
    let answer = victim.ask(&format!("sendto {own} 192.0.2.1:9 10"));
    stage.check(&format!("{name}, this machine's own address is like loopback"), answer == Ok(10), answer);
    let after = victim.ask("tx outside").unwrap();
    stage.check(&format!("{name}, no byte leaves"), after == before, (before, after));
    let dhcp = victim.open("udp4");
    if victim.ask(&format!("bind {dhcp} 0.0.0.0:68")).is_ok() {
        let answer = victim.ask(&format!("sendto {dhcp} 192.0.2.9:67 300"));
        stage.check("but the questions of a DHCP client", answer == Ok(300), answer);
    }
    stage.free();
}
