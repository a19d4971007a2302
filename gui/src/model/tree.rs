//! The rows of the table: the tree of programs, processes, hosts and connections, flattened in order.

use std::{cmp::Ordering, collections::HashMap};

use sekhmet_common::{flow::FlowId, time::Timestamp};

use super::{
    key::{GroupKey, HostKey, Member},
    ledger::{Group, Host, Ledger, Proc},
    screen::{Column, Lens, Screen},
    search::Place,
    series::Both,
    tally::Tally,
};

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

/// The order that rows had when it was last free to change.
#[derive(Clone, Debug, Default)]
pub struct Order {
    ranks: HashMap<Node, usize>,
}

impl Order {
    /// Remembers the order of these rows.
    pub fn remember(&mut self, rows: &[Row]) {
        self.ranks.clear();
        self.extend(rows);
    }

    /// Puts rows that are new at the end, each after those that came before it.
    pub fn extend(&mut self, rows: &[Row]) {
        for row in rows {
            let next = self.ranks.len();
            self.ranks.entry(row.node.clone()).or_insert(next);
        }
    }

    fn rank(&self, node: &Node) -> usize {
        self.ranks.get(node).copied().unwrap_or(usize::MAX)
    }
}

/// Flattens the tree as the screen asks for it. A held order keeps every known row at its place.
pub fn build(ledger: &Ledger, screen: &Screen, held: Option<&Order>) -> Tree {
    let mut build = Build { ledger, screen, held, second: ledger.second(), tree: Tree::default() };
    build.top();
    build.tree
}

struct Build<'a> {
    ledger: &'a Ledger,
    screen: &'a Screen,
    held: Option<&'a Order>,
    second: u32,
    tree: Tree,
}

/// A row that is not yet in its place, and the name it would be sorted by.
struct Candidate {
    row: Row,
    name: String,
}

impl Build<'_> {
    fn top(&mut self) {
        for lens in Lens::ALL {
            let count = self.groups(lens).filter(|(_, group)| !self.ledger.is_exited(group)).count();
            self.tree.counts.insert(lens, count);
        }
        let (mut running, mut ended) = (Vec::new(), Vec::new());
        for (key, group) in self.groups(self.screen.lens) {
            let over = self.ledger.is_exited(group) || group.members.is_empty() && *key != GroupKey::Others;
            let row = self.row(Node::Group(key.clone()), 0, &group.tally, over);
            let candidate = Candidate { row, name: group.label.clone() };
            if over { ended.push(candidate) } else { running.push(candidate) }
        }
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

    /// The groups of a lens that have something to show and match the search.
    fn groups(&self, lens: Lens) -> impl Iterator<Item = (&GroupKey, &Group)> {
        let groups = if lens == Lens::Users { self.ledger.users() } else { self.ledger.programs() };
        groups.iter().filter(move |(key, group)| {
            let listed = match (lens, key) {
                (Lens::Everything | Lens::Users, _) => true,
                (Lens::Applications, key) => {
                    matches!(key, GroupKey::Application(_) | GroupKey::Program(..))
                }
                (Lens::Services, key) => matches!(key, GroupKey::Service(_)),
                (Lens::Containers, key) => matches!(key, GroupKey::Container(_)),
                (Lens::Coverage, _) => false,
            };
            listed && group.tally.talked(self.screen.local) && self.matches_group(group)
        })
    }

    fn matches_group(&self, group: &Group) -> bool {
        self.screen.query.is_empty()
            || group
                .members
                .iter()
                .filter_map(|m| self.ledger.proc(*m))
                .any(|p| self.matched(group, p).next().is_some())
    }

    /// The hosts of a process that are shown and match the search.
    fn matched<'b>(
        &'b self,
        group: &'b Group,
        proc: &'b Proc,
    ) -> impl Iterator<Item = (&'b HostKey, &'b Host)> {
        proc.hosts.iter().filter(move |(key, host)| {
            host.tally.talked(self.screen.local)
                && (self.screen.query.is_empty() || self.matches_host(group, proc, key, host))
        })
    }

    fn matches_host(&self, group: &Group, proc: &Proc, key: &HostKey, host: &Host) -> bool {
        let query = &self.screen.query;
        query.matches(&Place { group, proc, host: key, flow: None })
            || host
                .flows
                .iter()
                .filter_map(|id| self.ledger.connection(*id))
                .any(|c| query.matches(&Place { group, proc, host: key, flow: Some(&c.flow) }))
    }

    fn row(&self, node: Node, level: u8, tally: &Tally, ended: bool) -> Row {
        let local = self.screen.local;
        Row {
            node,
            level,
            unfolded: None,
            ended,
            now: tally.rate(self.second, local),
            total: tally.total(self.second, local),
            open: tally.open(local),
            last: tally.last(local),
        }
    }

    fn sort(&self, rows: &mut [Candidate]) {
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
        let mut children = Vec::new();
        let mut found_below = false;
        for member in &group.members {
            let Some(proc) = ledger.proc(*member) else { continue };
            let matched = self.matched(group, proc).count();
            if !proc.tally.talked(self.screen.local) || matched == 0 && !self.screen.query.is_empty() {
                continue;
            }
            found_below |= matched < proc.hosts.len();
            let node = Node::Process(key.clone(), *member);
            let row = self.row(node, level + 1, &proc.tally, proc.is_exited());
            children.push(Candidate { row, name: proc.label.clone() });
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
        let mut children: Vec<Candidate> = self
            .matched(group, proc)
            .map(|(host_key, host)| {
                let node = Node::Host(key.clone(), member, host_key.clone());
                let ended = host.tally.open(true) == 0;
                Candidate { row: self.row(node, row.level + 1, &host.tally, ended), name: host_key.label() }
            })
            .collect();
        let unfolded = self.is_unfolded(&row.node, children.len() < proc.hosts.len());
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
        let Some(host) = ledger.host(member, &host_key) else { return };
        let unfolded = self.is_unfolded(&row.node, false);
        row.unfolded = (!host.flows.is_empty()).then_some(unfolded);
        let level = row.level + 1;
        self.tree.rows.push(row);
        if !unfolded {
            return;
        }
        let mut children: Vec<Candidate> = host
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
                };
                Candidate { row, name: format!("{:05}", c.flow.local.port) }
            })
            .collect();
        self.sort(&mut children);
        self.tree.rows.extend(children.into_iter().map(|c| c.row));
    }

    /// Programs that ended stand below the others, folded into one row.
    fn push_ended(&mut self, ended: Vec<Candidate>) {
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
        });
        if unfolded {
            ended.into_iter().for_each(|c| self.push_group(c.row, 1));
        }
    }
}

fn compare(a: &Candidate, b: &Candidate, screen: &Screen) -> Ordering {
    let (x, y) = (&a.row, &b.row);
    let Some(sort) = screen.sort else {
        return y.total.sum().total_cmp(&x.total.sum()).then_with(|| a.name.cmp(&b.name));
    };
    let order = match sort.column {
        Column::Program => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
        Column::NowDown => y.now.down.total_cmp(&x.now.down),
        Column::NowUp => y.now.up.total_cmp(&x.now.up),
        Column::TotalDown => y.total.down.total_cmp(&x.total.down),
        Column::TotalUp => y.total.up.total_cmp(&x.total.up),
        Column::Open => y.open.cmp(&x.open),
        Column::Seen => y.last.cmp(&x.last),
    };
    if sort.reversed { order.reverse() } else { order }
}
