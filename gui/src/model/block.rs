//! What the block menu of a row offers, and what each choice would do, told before it is done.

use std::collections::{BTreeMap, BTreeSet};

use sekhmet_common::{
    flow::{Flow, FlowState, Reach},
    mirror::Mirror,
    process::{Process, ProcessId},
    rule::{Answer, Draft, Extent, Lifetime, RuleId, Wanted},
};

use super::{
    key::{self, GroupKey},
    ledger::{Ledger, Proc},
    tree::Node,
};

/// So many programs of one row are offered; further ones have rows of their own.
const PROGRAMS_MAX: usize = 3;

/// Whom a choice of the menu blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This process and what it starts.
    Process(ProcessId),
    /// The program that this process runs, and what that starts.
    Program(ProcessId),
}

/// For how long a choice of the menu blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Until nothing that it blocks runs any more.
    UntilExit,
    /// One hour.
    Hour,
    /// Until the machine restarts.
    UntilRestart,
    /// For good.
    Always,
}

impl Span {
    /// The spans as the menu shows them.
    pub const ALL: [Self; 4] = [Self::UntilExit, Self::Hour, Self::UntilRestart, Self::Always];

    /// The same in the words of the contract.
    pub fn lifetime(self) -> Lifetime {
        match self {
            Self::UntilExit => Lifetime::UntilExit,
            Self::Hour => Lifetime::Seconds(3600),
            Self::UntilRestart => Lifetime::UntilRestart,
            Self::Always => Lifetime::Always,
        }
    }

    /// Whether a rule for this scope can last so long: no process outlives a restart.
    pub fn suits(self, scope: Scope) -> bool {
        self != Self::Always || matches!(scope, Scope::Program(_))
    }
}

/// What stands over the table because of a rule cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Menu {
    /// What could be blocked.
    Block(Choice),
    /// Why a row is blocked.
    Reason(Node, RuleId),
}

impl Menu {
    /// The row it belongs to.
    pub fn node(&self) -> &Node {
        match self {
            Self::Block(choice) => &choice.node,
            Self::Reason(node, _) => node,
        }
    }
}

/// The choices made in a block menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The row it was opened on.
    pub node: Node,
    /// Whom.
    pub scope: Scope,
    /// For how long.
    pub span: Span,
    /// Silence instead of an error.
    pub drop: bool,
    /// This machine, too.
    pub local: bool,
    /// Whether the rarer choices are shown.
    pub more: bool,
}

impl Choice {
    /// The choice that a row begins with: its own scope; a process until it exits, all else until the restart.
    pub fn of(ledger: &Ledger, node: &Node) -> Option<Self> {
        let scope = offers(ledger, node).first()?.scope;
        let span = match scope {
            Scope::Process(_) => Span::UntilExit,
            Scope::Program(_) => Span::UntilRestart,
        };
        Some(Self { node: node.clone(), scope, span, drop: false, local: false, more: false })
    }

    /// The same for another scope, with a span that suits it.
    pub fn with_scope(self, scope: Scope) -> Self {
        let span = if self.span.suits(scope) { self.span } else { Span::UntilRestart };
        Self { scope, span, ..self }
    }

    /// What is asked of the helper.
    pub fn draft(&self) -> Draft {
        let wanted = match self.scope {
            Scope::Process(id) => Wanted::Process(id),
            Scope::Program(id) => Wanted::ProgramOf(id),
        };
        let mut draft = Draft::new(wanted, self.span.lifetime());
        if self.drop {
            draft.answer = Answer::Drop;
        }
        if self.local {
            draft.extent = Extent::Everywhere;
        }
        draft
    }
}

/// One line of the menu's question whom to block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whom.
    pub scope: Scope,
    /// What it is called.
    pub name: String,
    /// The path of a program; nothing for a process.
    pub path: Option<String>,
    /// Children that are included; for a process only.
    pub children: usize,
}

/// Whether a row has a block button: something below it runs and can be named.
pub fn is_offered(ledger: &Ledger, node: &Node) -> bool {
    match node {
        Node::Process(_, member) => ledger.proc(*member).and_then(running).is_some(),
        Node::Group(GroupKey::User(_) | GroupKey::Kernel | GroupKey::Others) => false,
        Node::Group(key) => ledger
            .group(key)
            .is_some_and(|g| g.members.iter().any(|m| ledger.proc(*m).and_then(running).is_some())),
        Node::Exited | Node::Host(..) | Node::Flow(..) => false,
    }
}

fn running(proc: &Proc) -> Option<&Process> {
    proc.info.as_ref().filter(|_| !proc.is_exited())
}

/// Whom a row can block, the row's own scope first.
pub fn offers(ledger: &Ledger, node: &Node) -> Vec<Offer> {
    match node {
        Node::Process(_, member) => {
            let Some(proc) = ledger.proc(*member) else { return vec![] };
            let Some(info) = running(proc) else { return vec![] };
            let mut offers = vec![process_offer(ledger, proc, info)];
            offers.extend(program_offer(info));
            offers
        }
        Node::Group(key) if is_offered(ledger, node) => group_offers(ledger, key),
        _ => vec![],
    }
}

fn group_offers(ledger: &Ledger, key: &GroupKey) -> Vec<Offer> {
    let Some(group) = ledger.group(key) else { return vec![] };
    let members: Vec<(&Proc, &Process)> =
        group.members.iter().filter_map(|m| ledger.proc(*m)).filter_map(|p| Some((p, running(p)?))).collect();
    let mut programs: BTreeMap<(bool, &[u8]), (usize, &Process)> = BTreeMap::new();
    for (_, info) in &members {
        let place = (info.container.is_some(), info.exe.as_bytes());
        programs.entry(place).or_insert((0, *info)).0 += 1;
    }
    let mut programs: Vec<(usize, &Process)> = programs.into_values().collect();
    programs.sort_by_key(|(count, info)| (std::cmp::Reverse(*count), info.id));
    let mut offers: Vec<Offer> =
        programs.into_iter().take(PROGRAMS_MAX).filter_map(|(_, info)| program_offer(info)).collect();
    // All that runs now, where one process stands above the others.
    let ids: BTreeSet<ProcessId> = members.iter().map(|(_, info)| info.id).collect();
    let mut roots = members.iter().filter(|(_, info)| info.parent_id.is_none_or(|p| !ids.contains(&p)));
    if let (Some((proc, info)), None) = (roots.next(), roots.next()) {
        // A script's row is not about its interpreter, which runs other scripts, too.
        let at = if matches!(key, GroupKey::Program(_, Some(_))) { 0 } else { offers.len() };
        offers.insert(at, process_offer(ledger, proc, info));
    }
    offers
}

fn process_offer(ledger: &Ledger, proc: &Proc, info: &Process) -> Offer {
    let children = family(ledger.mirror(), [info.id]).len().saturating_sub(1);
    Offer { scope: Scope::Process(info.id), name: proc.label.clone(), path: None, children }
}

/// Nothing for a program whose path nobody could tell.
fn program_offer(info: &Process) -> Option<Offer> {
    let path = (!info.exe.is_empty()).then(|| info.exe.shown())?;
    let name = key::file_name(&path).to_owned();
    Some(Offer { scope: Scope::Program(info.id), name, path: Some(path), children: 0 })
}

/// The running ones of these processes and of all that they started.
fn family(mirror: &Mirror, of: impl IntoIterator<Item = ProcessId>) -> BTreeSet<ProcessId> {
    let mut found = BTreeSet::new();
    let mut next: Vec<ProcessId> = of.into_iter().collect();
    while let Some(id) = next.pop() {
        if mirror.process(id).is_some_and(|p| p.exited_at.is_none()) && found.insert(id) {
            next.extend(mirror.children_of(id).map(|p| p.id));
        }
    }
    found
}

/// What a choice would do, as far as can be told now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// Open connections that it closes.
    pub closes: usize,
    /// Processes that it names itself: one, or all that run the program.
    pub processes: usize,
    /// What those started and what is blocked with them, by name.
    pub children: Vec<String>,
    /// What else the same executable runs now, by name. With a program it is blocked, too; beside a process
    /// it goes on.
    pub same_program: Vec<String>,
    /// The executable's name.
    pub program: String,
}

impl Consequence {
    /// Draws it from what is known now.
    pub fn of(ledger: &Ledger, choice: &Choice) -> Self {
        let mirror = ledger.mirror();
        let (Scope::Process(id) | Scope::Program(id)) = choice.scope;
        let Some(asked) = mirror.process(id) else { return Self::default() };
        let runs_same = |p: &&Process| {
            p.exited_at.is_none()
                && !asked.exe.is_empty()
                && p.exe == asked.exe
                && p.container == asked.container
        };
        let label = |p: &Process| ledger.proc(Some(p.id)).map_or_else(|| p.name.shown(), |p| p.label.clone());
        let own = label(asked);
        let named: BTreeSet<ProcessId> = match choice.scope {
            Scope::Process(id) => [id].into(),
            Scope::Program(_) => mirror.processes().filter(runs_same).map(|p| p.id).collect(),
        };
        let blocked = family(mirror, named.iter().copied());
        let extent = if choice.local { Extent::Everywhere } else { Extent::Outside };
        let closes = blocked
            .iter()
            .flat_map(|id| mirror.flows_of(Some(*id)))
            .filter(|flow| flow.state != FlowState::Closed && is_within(flow, extent))
            .count();
        let name_of = |id: &ProcessId| mirror.process(*id).map(label);
        let children = blocked.iter().filter(|id| !named.contains(id)).filter_map(name_of).collect();
        let same: BTreeSet<String> = mirror
            .processes()
            .filter(runs_same)
            .filter(|p| matches!(choice.scope, Scope::Program(_)) || !blocked.contains(&p.id))
            .map(label)
            .filter(|name| *name != own)
            .collect();
        Self {
            closes,
            processes: named.len(),
            children,
            same_program: same.into_iter().collect(),
            program: key::file_name(&asked.exe.shown()).to_owned(),
        }
    }
}

/// Whether a rule of this extent refuses a flow. Name servers on this machine ask others, so they count as
/// outside.
fn is_within(flow: &Flow, extent: Extent) -> bool {
    let here = Reach::of(flow.remote.addr) == Reach::Loopback || flow.remote.addr == flow.local.addr;
    extent == Extent::Everywhere || !here || flow.remote.port == 53
}
