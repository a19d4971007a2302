//! What the lists at the inspector's foot hold.

use std::collections::BTreeMap;

use sekhmet_common::{
    display::Text,
    file::{AccessId, FileAccess},
    time::Timestamp,
    watch::EntryId,
};

use crate::{
    model::{
        Model,
        key::{GroupKey, HostKey, Member},
        series::Both,
        tree::Node,
    },
    text::{self, secrets as words, times},
};

/// One entry of the list at the foot.
pub(super) struct Entry {
    pub(super) target: Target,
    pub(super) name: String,
    pub(super) detail: String,
    /// What stands at its right.
    pub(super) amount: Amount,
    pub(super) ended: bool,
}

/// Where a click on an entry goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    /// To a row of the tree.
    Node(Node),
    /// To an access in the Secrets lens.
    Access(AccessId),
}

/// What an entry is about.
#[derive(Clone, Copy)]
pub(super) enum Amount {
    /// Bytes in the window.
    Bytes(Both),
    /// Attempts that were refused.
    Refused(u64),
    /// How often, and when last.
    Times(u64, Timestamp),
}

impl Amount {
    /// What entries are sorted by.
    fn rank(self) -> f64 {
        match self {
            Self::Bytes(both) => both.sum(),
            Self::Refused(n) => n as f64,
            // The newest stands first.
            Self::Times(_, last) => last.0 as f64,
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
                target: Target::Node(Node::Host(key.clone(), member, host_key.clone())),
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
                target: Target::Node(node),
                name: words.name,
                detail: words.detail,
                amount: Amount::Bytes(proc.tally.total(ledger.second(), model.screen.local)),
                ended: proc.is_exited(),
            })
        })
        .collect();
    by_total(entries)
}

/// The watched files that a process opened, or all processes of a program, the newest first.
pub(super) fn files(model: &Model, node: &Node) -> Vec<Entry> {
    let ledger = model.ledger();
    let members: Vec<Member> = match node {
        Node::Group(key) => {
            ledger.group(key).map(|g| g.members.iter().copied().collect()).unwrap_or_default()
        }
        Node::Process(_, member) => vec![*member],
        Node::Host(..) | Node::Flow(..) | Node::Exited => return vec![],
    };
    let mut files: BTreeMap<(&Text, EntryId), Vec<&FileAccess>> = BTreeMap::new();
    for opening in members.into_iter().flatten().flat_map(|id| ledger.secrets().openings_of(id)) {
        files.entry((&opening.access.path, opening.access.entry)).or_default().push(&opening.access);
    }
    let entries = files.into_iter().filter_map(|((path, entry), accesses)| {
        let newest = accesses.iter().max_by_key(|a| a.last_at)?;
        let ways = accesses.iter().map(|a| a.access).collect();
        let results = accesses.iter().map(|a| a.result).collect();
        let times = accesses.iter().fold(0_u64, |sum, a| sum.saturating_add(a.count));
        let told = [
            words::access(&ways, &results),
            model.entry_label(entry),
            times::clock(newest.last_at, &model.zone),
        ];
        Some(Entry {
            target: Target::Access(newest.id),
            name: model.path(path),
            detail: told.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
            amount: Amount::Times(times, newest.last_at),
            ended: false,
        })
    });
    by_total(entries.collect())
}

pub(super) fn by_total(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| b.amount.rank().total_cmp(&a.amount.rank()).then_with(|| a.target.cmp(&b.target)));
    entries
}
