//! The rows of the table: the tree of programs, processes, hosts and connections, flattened in order.

use std::{cmp::Ordering, collections::HashMap};

use sekhmet_common::{flow::FlowId, refusal::Refusal, time::Timestamp};

use super::{
    key::{GroupKey, HostKey, Member},
    ledger::{Group, Ledger},
    screen::{Lens, Screen},
    secrets::Marks,
    series::Both,
    tally::Figures,
    verdict::{self, Verdict, Verdicts},
};

mod found;
mod order;
mod secret;

pub use order::Order;
use order::{Candidate, compare};
pub use secret::Secret;

/// Names one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A program or a user.
    Group(GroupKey),
    /// The fold of programs that ended.
    Exited,
    /// A process.
    Process(GroupKey, Member),
    /// A remote host of a process.
    Host(GroupKey, Member, HostKey),
    /// A connection.
    Flow(GroupKey, Member, HostKey, FlowId),
}

impl Node {
    /// The row above it in the tree.
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::Group(_) | Self::Exited => None,
            Self::Process(g, _) => Some(Self::Group(g.clone())),
            Self::Host(g, m, _) => Some(Self::Process(g.clone(), *m)),
            Self::Flow(g, m, h, _) => Some(Self::Host(g.clone(), *m, h.clone())),
        }
    }
}

/// One row with the figures it is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which row.
    pub node: Node,
    /// How deep it stands, 0 for the top.
    pub level: u8,
    /// Whether it is unfolded; nothing if there is nothing below it.
    pub unfolded: Option<bool>,
    /// Whether what it shows has ended.
    pub ended: bool,
    /// Bytes per second.
    pub now: Both,
    /// Bytes in the window.
    pub total: Both,
    /// Open connections.
    pub open: u32,
    /// Last activity.
    pub last: Timestamp,
    /// What rules did to it.
    pub verdict: Verdict,
    /// The watched files it opened.
    pub secret: Secret,
}

/// The rows and what stands around them.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The rows from above.
    pub rows: Vec<Row>,
    /// How many rows each lens would list.
    pub counts: HashMap<Lens, usize>,
    /// Running programs under this lens.
    pub programs: usize,
    /// Programs under this lens that ended.
    pub ended: usize,
    /// Their open connections.
    pub open: u32,
}

/// Flattens the tree as the screen asks for it. A held order keeps every known row at its place.
pub fn build(ledger: &Ledger, screen: &Screen, held: Option<&Order>) -> Tree {
    let mut build = Build {
        ledger,
        screen,
        held,
        second: ledger.second(),
        verdicts: Verdicts::of(ledger.mirror()),
        tried: found::tried(ledger, screen),
        secrets: secret::by_group(ledger),
        tree: Tree::default(),
    };
    build.top();
    build.tree
}

struct Build<'a> {
    ledger: &'a Ledger,
    screen: &'a Screen,
    held: Option<&'a Order>,
    second: u32,
    verdicts: Verdicts,
    tried: HashMap<Member, Vec<&'a Refusal>>,
    secrets: HashMap<&'a GroupKey, Marks>,
    tree: Tree,
}

/// Whether a lens lists groups of this kind.
fn is_listed(lens: Lens, key: &GroupKey) -> bool {
    let is_user = matches!(key, GroupKey::User(_));
    match lens {
        Lens::Everything => !is_user,
        Lens::Users => is_user,
        Lens::Applications => matches!(key, GroupKey::Application(_) | GroupKey::Program(..)),
        Lens::Services => matches!(key, GroupKey::Service(_)),
        Lens::Containers => matches!(key, GroupKey::Container(_)),
        Lens::Secrets | Lens::Rules | Lens::Watchlist | Lens::Coverage => false,
    }
}

impl Build<'_> {
    fn top(&mut self) {
        let mut counts: HashMap<Lens, usize> = Lens::ALL.into_iter().map(|lens| (lens, 0)).collect();
        let (mut running, mut ended) = (Vec::new(), Vec::new());
        let ledger = self.ledger;
        for groups in [ledger.programs(), ledger.users()] {
            for (key, group) in groups {
                let verdict = self.verdicts.group(ledger, group);
                if !self.is_shown(group, verdict) {
                    continue;
                }
                let exited = ledger.is_exited(group);
                for lens in Lens::ALL.into_iter().filter(|lens| !exited && is_listed(*lens, key)) {
                    *counts.entry(lens).or_default() += 1;
                }
                if !is_listed(self.screen.lens, key) {
                    continue;
                }
                let over = exited || group.members.is_empty() && *key != GroupKey::Others;
                let row = self.row(Node::Group(key.clone()), 0, group.tally.figures(), over, verdict);
                let candidate = Candidate::named(row, &group.label);
                if over { ended.push(candidate) } else { running.push(candidate) }
            }
        }
        counts.insert(Lens::Rules, ledger.mirror().rules().count());
        counts.insert(Lens::Watchlist, ledger.mirror().entries().filter(|e| e.enabled).count());
        let unexpected = ledger.secrets().marks().values().map(Marks::unexpected);
        counts.insert(Lens::Secrets, unexpected.sum());
        self.tree.counts = counts;
        self.tree.programs = running.len();
        self.tree.ended = ended.len();
        self.tree.open = running.iter().map(|c| c.row.open).sum();
        self.sort(&mut running);
        self.sort(&mut ended);
        for candidate in running {
            self.push_group(candidate.row, 0);
        }
        self.push_ended(ended);
    }

    fn row(&self, node: Node, level: u8, figures: Figures<'_>, ended: bool, verdict: Verdict) -> Row {
        let local = self.screen.local;
        let secret = match &node {
            Node::Group(key) => Secret::of(self.secrets.get(key)),
            Node::Process(_, Some(id)) => Secret::of(self.ledger.secrets().marks().get(id)),
            _ => Secret::default(),
        };
        Row {
            node,
            level,
            unfolded: None,
            ended,
            now: figures.rate(self.second, local),
            total: figures.total(self.second, local),
            open: figures.open(local),
            last: figures.last(local).max(verdict.last),
            verdict,
            secret,
        }
    }

    fn sort(&self, rows: &mut [Candidate<'_>]) {
        rows.sort_by(|a, b| {
            let held = match self.held {
                Some(order) => order.rank(&a.row.node).cmp(&order.rank(&b.row.node)),
                None => Ordering::Equal,
            };
            held.then_with(|| compare(a, b, self.screen)).then_with(|| a.row.node.cmp(&b.row.node))
        });
    }

    fn is_unfolded(&self, node: &Node, found_below: bool) -> bool {
        self.screen.unfolded.contains(node)
            || found_below && !self.screen.query.is_empty() && !self.screen.folded_in_search.contains(node)
    }

    fn push_group(&mut self, mut row: Row, level: u8) {
        let Node::Group(key) = row.node.clone() else { return };
        let ledger = self.ledger;
        let Some(group) = ledger.group(&key) else { return };
        let members = || {
            group.members.iter().filter_map(|m| {
                let proc = ledger.proc(*m)?;
                let verdict = self.verdicts.proc(*m, proc);
                (!verdict.is_none() || proc.tally.talked(self.screen.local)).then_some((m, proc, verdict))
            })
        };
        let searching = !self.screen.query.is_empty();
        // A folded row without a search needs to know no more than whether there is anything below.
        if !searching && !self.screen.unfolded.contains(&row.node) {
            (row.level, row.unfolded) = (level, members().next().map(|_| false));
            self.tree.rows.push(row);
            return;
        }
        let mut children = Vec::new();
        let mut found_below = false;
        for (member, proc, verdict) in members() {
            if searching {
                let matched = self.matched(group, *member, proc).count();
                let refused = self.found_refused(group, *member, proc).len();
                found_below |= matched < proc.hosts.len() || refused > 0;
                if matched + refused == 0 {
                    continue;
                }
            }
            let node = Node::Process(key.clone(), *member);
            let row = self.row(node, level + 1, proc.tally.figures(), proc.is_exited(), verdict);
            children.push(Candidate::named(row, &proc.label));
        }
        let unfolded = self.is_unfolded(&row.node, found_below);
        (row.level, row.unfolded) = (level, (!children.is_empty()).then_some(unfolded));
        self.tree.rows.push(row);
        if unfolded {
            self.sort(&mut children);
            children.into_iter().for_each(|child| self.push_process(child.row, group));
        }
    }

    fn push_process(&mut self, mut row: Row, group: &Group) {
        let Node::Process(key, member) = row.node.clone() else { return };
        let ledger = self.ledger;
        let Some(proc) = ledger.proc(member) else { return };
        let searching = !self.screen.query.is_empty();
        if !searching && !self.screen.unfolded.contains(&row.node) {
            let refused = row.verdict.refused > 0;
            row.unfolded = (refused || self.matched(group, member, proc).next().is_some()).then_some(false);
            self.tree.rows.push(row);
            return;
        }
        let mut verdicts = verdict::by_host(ledger.mirror(), member);
        let mut children: Vec<Candidate<'_>> = self
            .matched(group, member, proc)
            .map(|(host_key, host)| {
                let node = Node::Host(key.clone(), member, host_key.clone());
                let figures = ledger.host_figures(host);
                let ended = figures.open(true) == 0;
                let verdict = verdicts.remove(host_key).unwrap_or_default();
                Candidate::named(self.row(node, row.level + 1, figures, ended, verdict), &host.label)
            })
            .collect();
        let found = self.found_refused(group, member, proc);
        let unfolded = self.is_unfolded(&row.node, children.len() < proc.hosts.len() || !found.is_empty());
        // Hosts that were only ever refused have no flows, but they were tried.
        verdicts.retain(|host_key, _| {
            if searching { found.contains(host_key) } else { !proc.hosts.contains_key(host_key) }
        });
        children.extend(verdicts.into_iter().map(|(host_key, verdict)| {
            let node = Node::Host(key.clone(), member, host_key);
            Candidate::named(self.row(node, row.level + 1, Figures::None, true, verdict), "")
        }));
        row.unfolded = (!children.is_empty()).then_some(unfolded);
        self.tree.rows.push(row);
        if unfolded {
            self.sort(&mut children);
            children.into_iter().for_each(|child| self.push_host(child.row));
        }
    }

    fn push_host(&mut self, mut row: Row) {
        let Node::Host(key, member, host_key) = row.node.clone() else { return };
        let ledger = self.ledger;
        let Some(host) = ledger.host(member, &host_key) else { return self.tree.rows.push(row) };
        let unfolded = self.is_unfolded(&row.node, false);
        row.unfolded = (!host.flows.is_empty()).then_some(unfolded);
        let level = row.level + 1;
        self.tree.rows.push(row);
        if !unfolded {
            return;
        }
        let mut children: Vec<Candidate<'_>> = host
            .flows
            .iter()
            .filter_map(|id| ledger.connection(*id))
            .map(|c| {
                let row = Row {
                    node: Node::Flow(key.clone(), member, host_key.clone(), c.flow.id),
                    level,
                    unfolded: None,
                    ended: c.side.open == 0,
                    now: c.side.series.rate(self.second),
                    total: c.side.series.total(self.second),
                    open: c.side.open,
                    last: c.side.last,
                    verdict: Verdict::default(),
                    secret: Secret::default(),
                };
                Candidate { row, name: "", port: c.flow.local.port }
            })
            .collect();
        self.sort(&mut children);
        self.tree.rows.extend(children.into_iter().map(|c| c.row));
    }

    /// Programs that ended stand below the others, folded into one row.
    fn push_ended(&mut self, ended: Vec<Candidate<'_>>) {
        if ended.is_empty() {
            return;
        }
        let unfolded = self.is_unfolded(&Node::Exited, true);
        let sum = |of: fn(&Row) -> Both| ended.iter().fold(Both::default(), |sum, c| sum + of(&c.row));
        self.tree.rows.push(Row {
            node: Node::Exited,
            level: 0,
            unfolded: Some(unfolded),
            ended: true,
            now: sum(|r| r.now),
            total: sum(|r| r.total),
            open: ended.iter().map(|c| c.row.open).sum(),
            last: ended.iter().map(|c| c.row.last).max().unwrap_or_default(),
            verdict: Verdict {
                refused: ended.iter().map(|c| c.row.verdict.refused).sum(),
                ..Verdict::default()
            },
            secret: Secret::default(),
        });
        if unfolded {
            ended.into_iter().for_each(|c| self.push_group(c.row, 1));
        }
    }
}
