//! What the lists at the inspector's foot hold.

use crate::{
    model::{
        Model,
        key::{GroupKey, HostKey, Member},
        series::Both,
        tree::Node,
    },
    text,
};

/// One entry of the list at the foot.
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) name: String,
    pub(super) detail: String,
    /// What stands at its right.
    pub(super) amount: Amount,
    pub(super) ended: bool,
}

/// What an entry is about.
#[derive(Clone, Copy)]
pub(super) enum Amount {
    /// Bytes in the window.
    Bytes(Both),
    /// Attempts that were refused.
    Refused(u64),
}

impl Amount {
    /// What entries are sorted by.
    fn rank(self) -> f64 {
        match self {
            Self::Bytes(both) => both.sum(),
            Self::Refused(n) => n as f64,
        }
    }
}

/// The remote hosts of a process, or of all processes of a program, the busiest first.
pub(super) fn hosts(model: &Model, node: &Node) -> Vec<Entry> {
    let ledger = model.ledger();
    let (second, local) = (ledger.second(), model.screen.local);
    let (key, members): (&GroupKey, Vec<Member>) = match node {
        Node::Process(key, member) => (key, vec![*member]),
        Node::Group(key) => {
            (key, ledger.group(key).map(|g| g.members.iter().copied().collect()).unwrap_or_default())
        }
        _ => return vec![],
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut at: std::collections::HashMap<&HostKey, usize> = std::collections::HashMap::new();
    for member in members {
        let Some(proc) = ledger.proc(member) else { continue };
        for (host_key, host) in &proc.hosts {
            let figures = ledger.host_figures(host);
            if !figures.talked(local) {
                continue;
            }
            let (total, ended) = (figures.total(second, local), figures.open(true) == 0);
            if let Some(entry) = at.get(host_key).and_then(|i| entries.get_mut(*i)) {
                if let Amount::Bytes(sum) = &mut entry.amount {
                    *sum += total;
                }
                entry.ended &= ended;
                continue;
            }
            at.insert(host_key, entries.len());
            entries.push(Entry {
                node: Node::Host(key.clone(), member, host_key.clone()),
                name: host_key.label(),
                detail: text::name_source(host.source).to_owned(),
                amount: Amount::Bytes(total),
                ended,
            });
        }
    }
    by_total(entries)
}

/// The processes of a program.
pub(super) fn processes(model: &Model, node: &Node) -> Vec<Entry> {
    let ledger = model.ledger();
    let Node::Group(key) = node else { return vec![] };
    let members = ledger.group(key).map(|g| g.members.iter().copied().collect::<Vec<_>>());
    let entries = members
        .unwrap_or_default()
        .into_iter()
        .filter_map(|member| {
            let proc = ledger.proc(member).filter(|p| p.tally.talked(model.screen.local))?;
            let node = Node::Process(key.clone(), member);
            let words = model.words(&node);
            Some(Entry {
                node,
                name: words.name,
                detail: words.detail,
                amount: Amount::Bytes(proc.tally.total(ledger.second(), model.screen.local)),
                ended: proc.is_exited(),
            })
        })
        .collect();
    by_total(entries)
}

pub(super) fn by_total(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| b.amount.rank().total_cmp(&a.amount.rank()).then_with(|| a.node.cmp(&b.node)));
    entries
}
