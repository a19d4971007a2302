//! Sockets that change hands while a rule stands: handed down at exec, received later, in flight when a rule ends.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use sekhmet_common::kernel::mark::{LOCAL_TOO, Mark};

use super::{
    RULE, Stage, take,
    victim::{self, Answer, V4, Victim},
};
use crate::child;

const REFUSED: Answer = Err(libc::EPERM);

/// Longer than a patrol waits for the next.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(stage: &mut Stage<'_>) {
    handed_down(stage);
    received(stage);
    in_flight(stage);
}

/// A socket that its opener, who is bound to nothing, hands to a program that is.
fn handed_down(stage: &mut Stage<'_>) {
    let (gift, _peer) = connected();
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    let key = stage.policies.program_key(program.as_fd()).unwrap();
    stage.policies.set_rule(Mark::refused(RULE, LOCAL_TOO).unwrap()).unwrap();
    stage.policies.bind_program(key, RULE).unwrap();
    let mut command = child::command(&[victim::WORD]);
    command.stderr(Stdio::from(OwnedFd::from(gift.try_clone().unwrap())));
    let mut heir = Victim::start_with(command);
    let place = heir.ask("inherited").unwrap();
    let began = Instant::now();
    let heir_key = stage.key(&heir);
    let asked = began.elapsed();
    stage.policies.follow(&[heir_key]).unwrap();
    let took = began.elapsed() - asked;
    stage.tap.note(&format!("the sockets of one process follow in {took:?}"));
    let answer = heir.ask(&format!("send {place} 9"));
    stage.check("a socket that was handed down to a bound program is refused", answer == REFUSED, answer);
    stage.policies.unbind_program(key, RULE).unwrap();
    stage.free();
    let answer = gift.send(&[1; 9]);
    stage.check("and goes on afterwards in its opener's hands", answer.is_ok(), &answer);
}

/// A connected socket that a bound process receives, of which no hook is told.
fn received(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    stage.block(&victim);
    let (gift, _peer) = connected();
    let place = victim.ask(&format!("fetch {} {}", std::process::id(), gift.as_raw_fd())).unwrap();
    let found = until(|| {
        stage.policies.patrol().unwrap();
        let answer = victim.ask(&format!("send {place} 9"));
        (answer == REFUSED).then_some(answer)
    });
    stage.check("a connected socket that a bound process receives is refused soon", found.is_some(), found);
    let answer = gift.send(&[1; 9]);
    stage.check("in all hands", answer.is_err(), &answer);
    let again = stage.policies.patrol().unwrap();
    stage.check("patrols keep their distance", again.is_none(), again);
    drop(victim);
    let found = until(|| {
        stage.policies.patrol().unwrap();
        gift.send(&[1; 9]).ok()
    });
    stage.check("it is free again when no bound process holds it", found.is_some(), found);
    stage.free();
}

/// A mark on a socket that nobody holds when its rule ends goes once somebody holds it, whether he uses it or not.
fn in_flight(stage: &mut Stage<'_>) {
    stage.policies.set_firewall(true).unwrap();
    let mut victim = Victim::start();
    let to = UdpSocket::bind((V4, 0)).unwrap();
    let place = victim.connected("udp4", to.local_addr().unwrap()).unwrap();
    stage.block(&victim);
    let copy = take(&mut victim, place);
    drop(victim);
    let (sender, receiver) =
        socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [copy.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&sender, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    drop(copy);
    // Another rule stands, so the firewall's table stays and acts on marks.
    stage.policies.set_rule(Mark::refused(RULE + 1, 0).unwrap()).unwrap();
    stage.free();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&receiver, &mut [IoSliceMut::new(&mut [0; 8])], &mut control, RecvFlags::empty()).unwrap();
    let mut got: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            got.extend(fds);
        }
    }
    let socket = got.pop().unwrap();
    let left = victim::mark(socket.as_fd(), None);
    let wanted = i64::from(Mark::refused(RULE, LOCAL_TOO).unwrap().bits());
    stage.check("a socket in flight keeps its mark when the rule ends", left == Ok(wanted), left);
    let found = until(|| {
        stage.policies.patrol().unwrap();
        (victim::mark(socket.as_fd(), None) == Ok(0)).then_some(())
    });
    stage.check("and loses it soon once somebody has it", found.is_some(), found);
    stage.policies.clear_rule(RULE + 1).unwrap();
    stage.policies.enforce().unwrap();
    stage.policies.set_firewall(false).unwrap();
}

fn connected() -> (UdpSocket, UdpSocket) {
    let (gift, peer) = (UdpSocket::bind((V4, 0)).unwrap(), UdpSocket::bind((V4, 0)).unwrap());
    gift.connect(peer.local_addr().unwrap()).unwrap();
    (gift, peer)
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}
