//! Whom a program reached after it had opened a watched file, as stories.

use sekhmet_common::{
    file::{Access, ContactReason},
    flow::Direction,
};

use super::{
    files::{ME, sight},
    rules::forked,
    *,
};
use crate::engine::input::FileSight;

/// What was told of contacts: the PID, the last number of the address, why, how much was sent.
fn told(stage: &Stage) -> Vec<(u32, String, ContactReason, u64)> {
    let mirror = stage.engine.mirror();
    mirror
        .contacts()
        .map(|c| (mirror.process(c.process).unwrap().pid, c.remote.to_string(), c.reason, c.tx_bytes))
        .collect()
}

impl Stage {
    fn reach(&mut self, cookie: u64, tgid: u32, last: u8, tx: u64) {
        let sight = stream(cookie, tgid, FlowPhase::Open, bytes(tx, 0));
        self.observe([Observation::Flow(FlowSight { at: self.now, remote: endpoint(last, 443), ..sight })]);
    }

    fn reading(path: &str) -> Self {
        let mut stage = Self::watching();
        stage.run(10, ME, path);
        stage
    }
}

const KEY: &str = "/home/me/.ssh/id_rsa";

#[test]
fn a_new_address_after_a_read_is_told_once_with_what_is_sent_there() {
    let mut stage = Stage::reading("/usr/bin/node");
    let all = stage.listen(Scope::All);
    let mine = stage.listen(Scope::Own(ME));
    stage.reach(1, 10, 7, 0);
    stage.open(sight(10, KEY));
    stage.pass(1);
    stage.reach(2, 10, 8, 0);
    stage.reach(3, 10, 7, 10);
    stage.pass(4);
    assert_eq!(told(&stage), [(10, "192.0.2.8:443".into(), ContactReason::NewRemote, 0)]);
    stage.reach(2, 10, 8, 700);
    stage.pass(1);
    assert_eq!(told(&stage), [(10, "192.0.2.8:443".into(), ContactReason::NewRemote, 700)]);
    let contact = stage.engine.mirror().contacts().next().unwrap();
    let access = stage.engine.mirror().access(contact.access).unwrap();
    assert_eq!((access.at, access.path.clone()), (contact.read_at, KEY.into()));
    assert_eq!(stage.mirror(all), stage.engine.mirror());
    assert_eq!(stage.mirror(mine).contacts().count(), 1);
}

#[test]
fn much_sent_to_a_known_address_is_told_from_the_read_on() {
    let mut stage = Stage::reading("/usr/bin/node");
    stage.reach(1, 10, 7, 50_000);
    stage.open(sight(10, KEY));
    stage.pass(3);
    stage.reach(1, 10, 7, 54_096);
    stage.pass(1);
    assert_eq!(told(&stage), []);
    stage.reach(1, 10, 7, 54_097);
    stage.pass(1);
    assert_eq!(told(&stage), [(10, "192.0.2.7:443".into(), ContactReason::Sent, 4097)]);
}

#[test]
fn what_was_started_counts_and_strangers_do_not() {
    let mut stage = Stage::reading("/usr/bin/python3");
    stage.observe([forked(11, 10), forked(12, 11), Observation::Seen(image(20, ME))]);
    stage.open(sight(11, KEY));
    stage.pass(3);
    stage.reach(1, 12, 7, 0);
    stage.reach(2, 10, 8, 0);
    stage.reach(3, 20, 9, 9_000);
    stage.pass(1);
    assert_eq!(told(&stage), [(12, "192.0.2.7:443".into(), ContactReason::NewRemote, 0)]);
}

#[test]
fn an_expected_reader_is_followed_itself_and_not_what_it_starts() {
    let mut stage = Stage::reading("/usr/bin/ssh");
    stage.observe([forked(11, 10)]);
    stage.open(sight(10, KEY));
    stage.reach(1, 11, 7, 0);
    stage.reach(2, 10, 8, 0);
    stage.pass(3);
    assert_eq!(told(&stage), [(10, "192.0.2.8:443".into(), ContactReason::NewRemote, 0)]);
    assert!(stage.accesses()[0].expected);
}

#[test]
fn a_read_that_is_told_late_still_comes_first() {
    let mut stage = Stage::reading("/usr/bin/node");
    let read_at = stage.now;
    stage.pass(1);
    stage.reach(1, 10, 7, 0);
    stage.observe([Observation::File(FileSight { at: read_at, ..sight(10, KEY) })]);
    // One that came after is not before.
    let later = stage.now.plus_nanos(10_000_000);
    stage.observe([Observation::File(FileSight { at: later, ..sight(10, "/etc/shadow") })]);
    stage.pass(3);
    assert_eq!(stage.engine.mirror().contacts().map(|c| c.read_at).collect::<Vec<_>>(), [read_at]);
}

#[test]
fn only_a_minute_only_reads_and_only_elsewhere() {
    let mut stage = Stage::reading("/usr/bin/node");
    for (access, result) in [(Access::Handle, 0), (Access::Write, 0), (Access::Chmod, 0), (Access::Read, 13)]
    {
        let result = sekhmet_common::file::Outcome(result);
        stage.open(FileSight { access, result, ..sight(10, KEY) });
    }
    stage.reach(1, 10, 7, 9_000);
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(3);
    let local = FlowSight {
        remote: Endpoint::new([127, 0, 0, 1].into(), 80),
        ..stream(2, 10, FlowPhase::Open, bytes(9_000, 0))
    };
    let inbound = FlowSight {
        direction: Direction::Inbound,
        remote: endpoint(9, 5_000),
        ..stream(3, 10, FlowPhase::Open, bytes(10, 0))
    };
    let question = datagram(4, 10, 10, bytes(100, 0));
    let at = stage.now;
    for flow in [local, inbound, question] {
        stage.observe([Observation::Flow(FlowSight { at, ..flow })]);
    }
    stage.observe([Observation::Flow(FlowSight { at, ..stream(5, 10, FlowPhase::Opening, bytes(0, 0)) })]);
    stage.pass(1);
    assert_eq!(told(&stage), []);
    stage.tick_after(60);
    stage.reach(6, 10, 99, 9_000);
    stage.pass(1);
    assert_eq!(told(&stage), []);
}

#[test]
fn contacts_are_bounded_and_what_is_left_out_is_counted() {
    let mut stage = Stage::reading("/usr/bin/node");
    let all = stage.listen(Scope::All);
    stage.open(sight(10, KEY));
    for n in 1..200_u8 {
        stage.reach(n.into(), 10, n, 0);
    }
    stage.pass(4);
    assert_eq!(told(&stage).len(), 16);
    assert_eq!(stage.accesses()[0].contacts_left_out, 199 - 16);
    // The same flows once more are the same flows.
    for n in 1..200_u8 {
        stage.reach(n.into(), 10, n, 9_000);
    }
    stage.pass(4);
    assert_eq!(stage.accesses()[0].contacts_left_out, 199 - 16);
    for n in 1..200_u16 {
        let sight = stream(1_000 + u64::from(n), 10, FlowPhase::Open, bytes(0, 0));
        let remote = Endpoint::new([198, 51, 100, u8::try_from(n).unwrap()].into(), 443);
        stage.observe([Observation::Flow(FlowSight { at: stage.now, remote, ..sight })]);
    }
    stage.pass(4);
    assert_eq!(stage.accesses()[0].contacts_left_out, 256, "counted so far");
    assert_eq!(stage.mirror(all), stage.engine.mirror());
}

#[test]
fn a_flow_is_told_after_the_last_reads_and_counted_for_the_others() {
    let mut stage = Stage::reading("/usr/bin/node");
    for n in 0..10 {
        stage.open(sight(10, &format!("/home/me/.ssh/id_{n}")));
        stage.pass(1);
    }
    stage.reach(1, 10, 7, 0);
    stage.pass(4);
    let left_out: Vec<u64> = stage.accesses().iter().map(|access| access.contacts_left_out).collect();
    assert_eq!((told(&stage).len(), left_out), (8, vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
}

/// A shell reads its history, and what a person starts from it is not meant by that.
#[test]
fn of_an_expected_reader_only_its_own_are_counted() {
    let mut stage = Stage::reading("/usr/bin/ssh");
    stage.observe([forked(11, 10)]);
    stage.open(sight(10, KEY));
    for n in 1..40_u8 {
        stage.reach(n.into(), 11, n, 0);
    }
    stage.pass(4);
    assert_eq!((told(&stage).len(), stage.accesses()[0].contacts_left_out), (0, 0));
    stage.reach(50, 10, 50, 0);
    stage.pass(4);
    assert_eq!(stage.accesses()[0].contacts_left_out, 1);
}
