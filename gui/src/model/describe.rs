//! The words of one row: what to call it, what it is, which icon it has.

use std::collections::BTreeSet;

use sekhmet_common::{
    file::ContactReason,
    flow::{Direction, Flow, FlowId, FlowState, Reach},
};

use super::{
    Model,
    key::{self, GroupKey, HostKey, Member},
    ledger::{Group, Host, Ledger},
    tally::Figures,
    tree::Node,
};
use crate::{
    icons,
    text::{self, times},
};

/// The words of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    /// The name.
    pub name: String,
    /// What stands beside it in grey.
    pub detail: String,
    /// The icon, if the row has one.
    pub icon: Option<&'static str>,
    /// Whether the name is an address or the like.
    pub mono: bool,
    /// What the row is, in one or two words.
    pub kind: &'static str,
}

impl Model {
    /// The words of a row of what is shown.
    pub fn words(&self, node: &Node) -> Words {
        let ledger = self.ledger();
        match node {
            Node::Group(key) => group_words(ledger, key),
            Node::Exited => Words {
                name: text::exited_programs(self.tree.ended),
                icon: Some(icons::EXITED),
                kind: text::EXITED,
                ..Words::default()
            },
            Node::Process(key, member) => process_words(ledger, key, *member),
            Node::Host(_, member, host) => Words {
                name: host.label(),
                detail: after_read(ledger, *member, host)
                    .or_else(|| Some(host_detail(ledger, ledger.host(*member, host)?)))
                    .unwrap_or_default(),
                kind: text::HOST,
                ..Words::default()
            },
            Node::Flow(_, _, _, id) => self.flow_words(*id),
        }
    }

    fn flow_words(&self, id: FlowId) -> Words {
        let Some(c) = self.ledger().connection(id) else { return Words::default() };
        let flow = &c.flow;
        let arrow = if flow.direction == Direction::Inbound { "←" } else { "→" };
        let here = if flow.local.port == 0 { String::new() } else { format!(":{} ", flow.local.port) };
        Words {
            name: format!("{here}{arrow} {}", flow.remote),
            detail: self.flow_detail(flow),
            mono: true,
            kind: text::inspector::CONNECTION,
            icon: None,
        }
    }

    fn flow_detail(&self, flow: &Flow) -> String {
        let protocol = text::protocol(flow.protocol);
        match (flow.state, flow.end_reason) {
            (FlowState::Closed, Some(reason)) => format!("{protocol}, {}", text::end_reason(reason)),
            (FlowState::Closed, None) => format!("{protocol}, {}", text::CLOSED),
            (FlowState::Opening, _) => format!("{protocol}, {}", text::OPENING),
            (FlowState::Open, _) => {
                let seconds = self.ledger().now().nanos_since(flow.opened_at) / 1_000_000_000;
                format!("{protocol}, {} {}", text::OPEN, times::span(seconds))
            }
        }
    }

    /// What a row has moved.
    pub fn figures(&self, node: &Node) -> Figures<'_> {
        let ledger = self.ledger();
        match node {
            Node::Group(key) => ledger.group(key).map_or(Figures::None, |g| g.tally.figures()),
            Node::Exited => Figures::None,
            Node::Process(_, member) => ledger.proc(*member).map_or(Figures::None, |p| p.tally.figures()),
            Node::Host(_, member, host) => {
                ledger.host(*member, host).map_or(Figures::None, |h| ledger.host_figures(h))
            }
            // A flow that has a row shows its figures, however far its other side is.
            Node::Flow(_, _, _, id) => {
                ledger.connection(*id).map_or(Figures::None, |c| Figures::Side(&c.side, Reach::Internet))
            }
        }
    }
}

fn group_words(ledger: &Ledger, key: &GroupKey) -> Words {
    let Some(group) = ledger.group(key) else { return Words::default() };
    let name = match key {
        GroupKey::Kernel => text::KERNEL.to_owned(),
        GroupKey::Others => text::OTHERS.to_owned(),
        _ => group.label.clone(),
    };
    Words {
        name,
        detail: group_detail(key, group),
        icon: Some(group_icon(key)),
        mono: false,
        kind: text::group_kind(key),
    }
}

fn group_detail(key: &GroupKey, group: &Group) -> String {
    let several = (group.members.len() > 1).then(|| text::processes(group.members.len()));
    let what = match key {
        GroupKey::Service(_) => Some(text::group_kind(key).to_owned()),
        GroupKey::Container(_) => Some(text::group_kind(key).to_owned()),
        GroupKey::Program(exe, Some(_)) => Some(key::file_name(&exe.shown()).to_owned()),
        GroupKey::Others => Some(text::connections(group.tally.open(true))),
        GroupKey::User(uid) => Some(text::inspector::uid(*uid)),
        _ => None,
    };
    [what, several].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// A tile for a program without an icon of its own.
fn group_icon(key: &GroupKey) -> &'static str {
    match key {
        GroupKey::Container(_) => icons::CONTAINERS,
        GroupKey::Service(_) => icons::SERVICES,
        GroupKey::User(_) => icons::USER,
        GroupKey::Kernel => icons::KERNEL,
        GroupKey::Others => icons::USERS,
        GroupKey::Application(id) => application_icon(&id.shown()),
        GroupKey::Program(exe, script) => {
            let exe = exe.shown();
            let program = key::file_name(&exe);
            if program.starts_with("python") {
                icons::PYTHON
            } else if script.is_some() && ["node", "deno", "bun"].contains(&program) {
                icons::HEXAGON
            } else {
                icons::TERMINAL
            }
        }
    }
}

fn application_icon(id: &str) -> &'static str {
    let id = id.to_lowercase();
    let is_one_of = |words: &[&str]| words.iter().any(|word| id.contains(word));
    if is_one_of(&["firefox", "chrom", "browser", "epiphany", "falkon"]) {
        icons::GLOBE
    } else if is_one_of(&["mail", "thunderbird", "evolution", "geary"]) {
        icons::MAIL
    } else if is_one_of(&["term", "konsole", "ptyxis", "console"]) {
        icons::TERMINAL
    } else {
        icons::APPLICATIONS
    }
}

fn process_words(ledger: &Ledger, key: &GroupKey, member: Member) -> Words {
    let Some(proc) = ledger.proc(member) else { return Words::default() };
    let Some(info) = &proc.info else {
        return Words {
            name: text::KERNEL.to_owned(),
            icon: Some(icons::PROCESS),
            kind: text::group_kind(&GroupKey::Kernel),
            ..Words::default()
        };
    };
    let program = info.name.shown();
    let shown = (program != proc.label).then_some(program.as_str());
    let mut detail = text::process_detail(shown, info.pid, proc.is_exited());
    // Under a user, processes of different programs stand side by side.
    if matches!(key, GroupKey::User(_))
        && let Some(group) = ledger.group(&proc.program)
        && group.label != proc.label
    {
        detail = format!("{} · {detail}", group.label);
    }
    Words { name: proc.label.clone(), detail, icon: Some(icons::PROCESS), mono: false, kind: text::PROCESS }
}

/// How soon after a watched file was opened a new host was reached.
fn after_read(ledger: &Ledger, member: Member, host: &HostKey) -> Option<String> {
    let contact = ledger.secrets().contact_with(member?, host)?;
    let new = contact.reason == ContactReason::NewRemote;
    new.then(|| text::secrets::after_read(contact.at.nanos_since(contact.read_at)))
}

/// Protocols and ports in use with a host, and who opened them.
pub fn host_detail(ledger: &Ledger, host: &Host) -> String {
    let flows = host.flows.iter().take(256).filter_map(|id| ledger.connection(*id)).map(|c| &c.flow);
    let (mut kinds, mut inbound) = (BTreeSet::new(), false);
    for flow in flows {
        let incoming = flow.direction == Direction::Inbound;
        inbound |= incoming;
        kinds.insert((flow.protocol, if incoming { flow.local.port } else { flow.remote.port }));
    }
    let mut parts: Vec<String> = kinds
        .iter()
        .take(3)
        .map(|(protocol, port)| match port {
            0 => text::protocol(*protocol).to_owned(),
            port => format!("{} {port}", text::protocol(*protocol)),
        })
        .collect();
    if kinds.len() > 3 {
        parts.push(text::more(kinds.len() - 3));
    }
    if inbound {
        parts.push(text::INBOUND.to_owned());
    }
    parts.join(" · ")
}
