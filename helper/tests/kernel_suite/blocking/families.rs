//! Children: those that live already, those that come, and programs.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::fd::AsFd,
    path::Path,
};

use sekhmet_common::kernel::mark::{LOCAL_TOO, Mark};

use super::{
    RULE, Stage,
    victim::{Answer, V4, Victim},
};

const REFUSED: Answer = Err(libc::EPERM);

pub(super) fn run(stage: &mut Stage<'_>) {
    children(stage);
    rest(stage);
    programs(stage);
}

fn children(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let peer = UdpSocket::bind((V4, 0)).unwrap();
    let (to, to_datagrams) = (listener.local_addr().unwrap(), peer.local_addr().unwrap());
    let elder = victim.ask("kid").unwrap();
    let place = victim.ask("kid open udp4").unwrap();
    stage.block(&victim);
    let bound = stage.policies.bound(RULE).unwrap();
    let both = [i64::from(victim.pid()), elder];
    let good = bound.len() == 2 && both.iter().all(|pid| bound.iter().any(|key| i64::from(key.tgid) == *pid));
    stage.check("a child from before is bound", good, &bound);
    let answers = (
        victim.ask(&format!("kid reach tcp4 {to}")),
        victim.ask(&format!("kid sendto {place} {to_datagrams} 5")),
    );
    stage.check("and refused, with its sockets", answers == (REFUSED, REFUSED), answers);
    let answer = victim.ask(&format!("fork reach tcp4 {to}"));
    stage.check("a new child is refused", answer == REFUSED, answer);
    let answer = victim.ask(&format!("run /proc/self/exe --child once reach tcp4 {to}"));
    stage.check("and one that runs another program", answer == Ok(libc::EPERM.into()), answer);
    let pid = victim.ask(&format!("kid fork reach tcp4 {to}"));
    stage.check("and a grandchild", pid == REFUSED, pid);
    stage.policies.clear_rule(RULE).unwrap();
    let answers = (victim.ask(&format!("kid reach tcp4 {to}")), victim.ask(&format!("fork reach tcp4 {to}")));
    stage.check("all are free at once", answers == (Ok(0), Ok(0)), answers);
    stage.policies.enforce().unwrap();
    // A new rule in the same place is another rule: what is left over from the first means nothing.
    stage.policies.set_rule(Mark::refused(RULE + 1024, LOCAL_TOO).unwrap()).unwrap();
    let answer = victim.ask(&format!("reach tcp4 {to}"));
    stage.check("bindings to a rule that is gone mean nothing", answer == Ok(0), answer);
    stage.policies.clear_rule(RULE + 1024).unwrap();
}

/// A rule that rests refuses nothing and forgets nobody.
fn rest(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    stage.block(&victim);
    stage.policies.rest_rule(RULE).unwrap();
    let answer = victim.ask(&format!("reach tcp4 {to}"));
    stage.check("a rule at rest refuses nothing", answer == Ok(0), answer);
    victim.ask("kid").unwrap();
    stage.policies.set_rule(Mark::refused(RULE, LOCAL_TOO).unwrap()).unwrap();
    let answers = (victim.ask(&format!("reach tcp4 {to}")), victim.ask(&format!("kid reach tcp4 {to}")));
    stage.check(
        "and concerns everybody again, children of the meantime included",
        answers == (REFUSED, REFUSED),
        answers,
    );
    let key = stage.key(&victim);
    stage.policies.unbind(key, RULE).unwrap();
    stage.policies.enforce().unwrap();
    let answers = (victim.ask(&format!("reach tcp4 {to}")), victim.ask(&format!("kid reach tcp4 {to}")));
    stage.check("one process can be freed alone", answers == (Ok(0), REFUSED), answers);
    stage.free();
}

/// A program is its file, whatever it is called, and refused from its first instruction.
fn programs(stage: &mut Stage<'_>) {
    let mut victim = Victim::start();
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let folder = std::env::temp_dir().join(format!("blocking-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let paths: Vec<_> = ["program", "link", "copy"].iter().map(|name| folder.join(name)).collect();
    fs::copy("/proc/self/exe", &paths[0]).unwrap();
    fs::hard_link(&paths[0], &paths[1]).unwrap();
    fs::copy("/proc/self/exe", &paths[2]).unwrap();
    let file = fs::File::open(&paths[0]).unwrap();
    let key = stage.policies.program_key(file.as_fd()).unwrap();
    stage.policies.set_rule(Mark::refused(RULE, LOCAL_TOO).unwrap()).unwrap();
    stage.policies.bind_program(key, RULE).unwrap();
    let mut run = |path: &Path| victim.ask(&format!("run {} --child once reach tcp4 {to}", path.display()));
    let refused: Answer = Ok(libc::EPERM.into());
    let answers: Vec<Answer> = paths.iter().map(|path| run(path)).collect();
    stage.check(
        "a program is refused under every name, a copy of it not",
        answers == [refused, refused, Ok(0)],
        &answers,
    );
    stage.policies.unbind_program(key, RULE).unwrap();
    let answer = victim.ask(&format!("run {} --child once reach tcp4 {to}", paths[0].display()));
    stage.check("and not once it is freed", answer == Ok(0), answer);
    stage.free();
    let _gone = fs::remove_dir_all(&folder);
}
