//! What the inspector tells about a row: the identity sentence and the fields, as words.

use sekhmet_common::{
    file::ContactReason,
    flow::{Flow, FlowState},
    process::ProcessId,
};

use crate::{
    model::{
        Model,
        key::{self, GroupKey, Member},
        ledger::Proc,
        secrets::Marks,
        tree::Node,
    },
    text::{self, field, inspector as words, numbers, times},
};

/// One line: what it is, its value, and whether that is a path, an address or the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) mono: bool,
}

fn plain(label: &'static str, value: impl Into<String>) -> Field {
    Field { label, value: value.into(), mono: false }
}

fn mono(label: &'static str, value: impl Into<String>) -> Field {
    Field { label, value: value.into(), mono: true }
}

/// The sentence under the name.
pub(super) fn identity(model: &Model, node: &Node) -> String {
    let ledger = model.ledger();
    match node {
        Node::Group(key) => group_identity(model, key),
        Node::Exited => text::exited_programs(model.tree().ended),
        Node::Process(_, member) => {
            ledger.proc(*member).map(|proc| process_identity(model, proc)).unwrap_or_default()
        }
        Node::Host(_, member, host) => {
            let who = ledger.proc(*member).map(|p| p.label.clone()).unwrap_or_default();
            let source = ledger.host(*member, host).and_then(|h| h.source);
            words::host(&who, text::name_source(source))
        }
        Node::Flow(_, member, host, id) => {
            let who = ledger.proc(*member).map(|p| p.label.clone()).unwrap_or_default();
            let kind =
                ledger.connection(*id).map(|c| text::protocol(c.flow.protocol)).unwrap_or(words::CONNECTION);
            words::connection(kind, &who, &host.label())
        }
    }
}

fn group_identity(model: &Model, key: &GroupKey) -> String {
    let ledger = model.ledger();
    match key {
        GroupKey::Kernel => words::KERNEL.to_owned(),
        GroupKey::Others => words::others(ledger.mirror().others().processes),
        _ => {
            let Some(group) = ledger.group(key) else { return String::new() };
            let running =
                group.members.iter().filter(|m| ledger.proc(**m).is_some_and(|p| !p.is_exited())).count();
            words::group(text::group_kind(key), running)
        }
    }
}

fn process_identity(model: &Model, proc: &Proc) -> String {
    let Some(info) = &proc.info else { return words::KERNEL_SOCKET.to_owned() };
    let ledger = model.ledger();
    let parent = info.parent_id.and_then(|id| ledger.proc(Some(id))).map(|p| p.label.clone());
    let ago = times::ago(info.started_at, ledger.now(), &model.zone);
    let program = info.name.shown_within(32);
    let name = if program.is_empty() { proc.label.clone() } else { program };
    text::identity(&name, parent.as_deref(), &ago, &user(proc), proc.is_exited())
}

fn user(proc: &Proc) -> String {
    let Some(info) = &proc.info else { return String::new() };
    info.user.as_ref().filter(|u| !u.is_empty()).map_or_else(|| words::uid(info.uid), |u| u.shown())
}

/// The fields, always the same for one kind of row; what is not known reads `none`.
pub(super) fn fields(model: &Model, node: &Node) -> Vec<Field> {
    let ledger = model.ledger();
    match node {
        Node::Group(GroupKey::Others | GroupKey::Kernel) | Node::Exited => vec![],
        Node::Group(key) => group_fields(model, key),
        Node::Process(_, member) => {
            ledger.proc(*member).map(|proc| process_fields(model, node, proc)).unwrap_or_default()
        }
        Node::Host(_, member, host) => {
            let Some(found) = ledger.host(*member, host) else { return vec![] };
            let mut addresses: Vec<String> = found
                .flows
                .iter()
                .filter_map(|id| ledger.connection(*id))
                .map(|c| c.flow.remote.addr.to_string())
                .collect();
            addresses.sort();
            addresses.dedup();
            vec![
                plain(field::NAME, text::name_source(found.source)),
                mono(field::ADDRESS, addresses.join(", ")),
                plain(field::FIRST_SEEN, times::clock(found.first_seen, &model.zone)),
                plain(field::PROGRAM, program(model, *member)),
            ]
        }
        Node::Flow(_, member, _, id) => ledger
            .connection(*id)
            .map(|c| flow_fields(model, &c.flow, program(model, *member)))
            .unwrap_or_default(),
    }
}

fn program(model: &Model, member: Member) -> String {
    model.ledger().proc(member).map(|p| p.label.clone()).unwrap_or_default()
}

fn group_fields(model: &Model, key: &GroupKey) -> Vec<Field> {
    let ledger = model.ledger();
    let Some(group) = ledger.group(key) else { return vec![] };
    let infos: Vec<&Proc> = group.members.iter().filter_map(|m| ledger.proc(*m)).collect();
    // What all processes have in common; different values are counted, not chosen between.
    let common = |of: &dyn Fn(&Proc) -> Option<String>| {
        let mut values: Vec<String> = infos.iter().filter_map(|p| of(p)).filter(|v| !v.is_empty()).collect();
        values.sort();
        values.dedup();
        match values.len() {
            0 | 1 => values.pop().unwrap_or_default(),
            n => words::different(n),
        }
    };
    let text_of = |of: fn(&sekhmet_common::process::Process) -> Option<String>| {
        common(&move |p: &Proc| p.info.as_ref().and_then(of))
    };
    vec![
        verdict(model, &Node::Group(key.clone())),
        secrets(model, infos.iter().filter_map(|p| p.info.as_ref()).map(|p| p.id)),
        mono(field::PATH, text_of(|p| Some(p.exe.shown()))),
        plain(field::UNIT, text_of(|p| p.unit.as_ref().map(|u| u.shown()))),
        plain(field::CONTAINER, text_of(|p| p.container.as_ref().map(|c| c.shown()))),
        plain(field::USER, common(&|p| Some(user(p)))),
        plain(field::PROCESSES, numbers::count(infos.len() as u64)),
    ]
}

fn process_fields(model: &Model, node: &Node, proc: &Proc) -> Vec<Field> {
    let Some(info) = &proc.info else { return vec![] };
    let shown =
        |text: &Option<sekhmet_common::display::Text>| text.as_ref().map(|t| t.shown()).unwrap_or_default();
    let mut command: Vec<String> = info.cmdline.iter().map(|a| a.shown()).collect();
    if info.cmdline_truncated {
        command.push("…".into());
    }
    let mut started = times::clock(info.started_at, &model.zone);
    if model.ledger().now().nanos_since(info.started_at) > 86_400_000_000_000 {
        started = format!("{}, {started}", times::date(info.started_at, &model.zone));
    }
    vec![
        verdict(model, node),
        secrets(model, [info.id]),
        mono(field::PATH, info.exe.shown()),
        mono(field::COMMAND, command.join(" ")),
        plain(field::UNIT, shown(&info.unit)),
        plain(field::CONTAINER, shown(&info.container)),
        plain(field::USER, user(proc)),
        plain(field::STARTED, started),
        mono(field::NET_NS, if info.net_ns == 0 { String::new() } else { info.net_ns.to_string() }),
    ]
}

fn verdict(model: &Model, node: &Node) -> Field {
    let verdict = super::inspector::verdict_of(model, node);
    plain(field::VERDICT, super::table::rule_cell::verdict(model, &verdict))
}

/// The newest file that was opened, how many more there are, and the host that was new after it.
fn secrets(model: &Model, processes: impl IntoIterator<Item = ProcessId>) -> Field {
    let secrets = model.ledger().secrets();
    let mut all = Marks::default();
    processes.into_iter().filter_map(|id| secrets.marks().get(&id)).for_each(|marks| all.absorb(marks));
    let value = all.newest().and_then(|id| secrets.opening(id)).map(|opening| {
        let more = (all.unexpected() + all.expected()).saturating_sub(1);
        let new = secrets.contacts_after(opening.access.id).find(|c| c.reason == ContactReason::NewRemote);
        let delay = new.map(|contact| contact.at.nanos_since(contact.read_at));
        text::secrets::field(&model.path(&opening.access.path), more, delay)
    });
    plain(field::SECRETS, value.unwrap_or_default())
}

fn flow_fields(model: &Model, flow: &Flow, program: String) -> Vec<Field> {
    let state = match (flow.state, flow.end_reason) {
        (FlowState::Opening, _) => text::OPENING,
        (FlowState::Open, _) => text::OPEN,
        (FlowState::Closed, reason) => reason.map_or(text::CLOSED, text::end_reason),
    };
    let packets = format!(
        "↓\u{2009}{} ↑\u{2009}{}",
        numbers::count(flow.counters.rx_packets),
        numbers::count(flow.counters.tx_packets)
    );
    vec![
        mono(field::LOCAL, flow.local.to_string()),
        mono(field::REMOTE, flow.remote.to_string()),
        plain(field::PROTOCOL, text::protocol(flow.protocol)),
        plain(field::STATE, state),
        plain(field::OPENED, times::clock(flow.opened_at, &model.zone)),
        plain(field::PACKETS, packets),
        plain(field::PROGRAM, program),
    ]
}

/// The chain of parents, the oldest first, the process itself last.
pub(super) fn ancestry(model: &Model, node: &Node) -> Vec<(Member, String)> {
    let Node::Process(_, member) = node else { return vec![] };
    let ledger = model.ledger();
    let mut chain = Vec::new();
    let mut next = *member;
    // Parents come from the helper; a circle among them must not hold up the window.
    while let Some(proc) = ledger.proc(next).filter(|_| chain.len() < 16) {
        chain.push((next, proc.label.clone()));
        match proc.info.as_ref().and_then(|p| p.parent_id) {
            Some(parent) => next = Some(parent),
            None => break,
        }
    }
    chain.reverse();
    chain
}

/// The name of the executable behind a row, for its tile.
pub(super) fn subtitle(model: &Model, node: &Node) -> String {
    match node {
        Node::Process(..) => model.words(node).detail,
        Node::Group(GroupKey::Program(exe, Some(_))) => key::file_name(&exe.shown()).to_owned(),
        Node::Group(key) => text::group_kind(key).to_owned(),
        Node::Host(..) | Node::Flow(..) => model.words(node).detail,
        Node::Exited => String::new(),
    }
}
