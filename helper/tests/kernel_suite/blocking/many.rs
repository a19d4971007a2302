//! More rules than apply to one process at a time: what is left out is told.

use std::os::fd::AsFd;

use sekhmet_common::kernel::{
    mark::{LOCAL_TOO, Mark},
    policy::BOUND_MAX,
};

use super::{
    RULE, Stage,
    victim::{Answer, V4, Victim},
};

const REFUSED: Answer = Err(libc::EPERM);

/// A process to which as many rules apply as can executes a program for which there is one more.
pub(super) fn run(stage: &mut Stage<'_>) {
    let first = RULE + 1;
    let last = first + u32::try_from(BOUND_MAX).unwrap();
    for rule in first..=last {
        stage.policies.set_rule(Mark::refused(rule, LOCAL_TOO).unwrap()).unwrap();
    }
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    let key = stage.policies.program_key(program.as_fd()).unwrap();
    let mut victim = Victim::start();
    let family = stage.key(&victim);
    for rule in first..last {
        stage.policies.bind_family(&[family], rule).unwrap();
    }
    let more = stage.policies.bind_family(&[family], last);
    stage.check("one rule more than apply to a process is refused to whoever adds it", more.is_err(), &more);
    stage.policies.bind_program(key, last).unwrap();
    let status = victim.ask("run /proc/self/exe --child exit 3");
    stage.check("a program of one rule more runs", status == Ok(3), status);
    let is_told = stage.watch.coverage("every rule in force", "four apply already");
    stage.check("that it is left out is on the coverage panel", is_told, "no such line");
    let listener = std::net::TcpListener::bind((V4, 0)).unwrap();
    let answer = victim.connected("tcp4", listener.local_addr().unwrap());
    stage.check("the others hold", answer == REFUSED, answer);
    stage.policies.unbind_program(key, last).unwrap();
    for rule in first..=last {
        stage.policies.clear_rule(rule).unwrap();
    }
    stage.policies.enforce().unwrap();
    let answer = victim.connected("tcp4", listener.local_addr().unwrap());
    stage.check("and none does afterwards", answer.is_ok(), answer);
}
