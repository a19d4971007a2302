//! The rows of the Secrets lens: unexpected readers first, the newest above, then those that are expected.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use sekhmet_common::{
    display::Text,
    file::{Access, AccessId, Contact, ContactReason, Outcome},
    process::ProcessId,
    time::Timestamp,
    watch::{EntryId, Severity},
};

use super::{Opening, Secrets, host_of};
use crate::model::key::{GroupKey, HostKey};

/// Names one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The heading of the unexpected readers, or of the others.
    Section(Expected),
    /// A program.
    Program(Expected, GroupKey),
    /// A process of a program that was not expected.
    Process(GroupKey, ProcessId),
    /// A file that somebody opened: all of an expected program, or one process.
    File(Expected, GroupKey, Option<ProcessId>, Text, EntryId),
}

/// Whether the watchlist expects a program at what it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expected(pub bool);

impl Key {
    /// The row above it.
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::Section(_) | Self::Program(..) => None,
            Self::Process(program, _) => Some(Self::Program(Expected(false), program.clone())),
            Self::File(_, program, Some(process), ..) => Some(Self::Process(program.clone(), *process)),
            Self::File(expected, program, None, ..) => Some(Self::Program(*expected, program.clone())),
        }
    }

    /// Whether it is unfolded as long as nobody folds it.
    fn is_open(&self) -> bool {
        !matches!(self, Self::Program(Expected(true), _))
    }
}

/// What came after what a row stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct After {
    /// The hosts that were reached, and whether each was new to the program.
    pub hosts: BTreeMap<HostKey, bool>,
    /// What was sent to them since.
    pub sent: u64,
}

impl After {
    fn add(&mut self, contact: &Contact) {
        *self.hosts.entry(host_of(contact)).or_default() |= contact.reason == ContactReason::NewRemote;
    }

    /// How many hosts were new.
    pub fn new_hosts(&self) -> usize {
        self.hosts.values().filter(|new| **new).count()
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub key: Key,
    /// How deep it stands.
    pub level: u8,
    /// Whether it is unfolded; nothing if there is nothing below.
    pub unfolded: Option<bool>,
    /// The accesses it stands for, the oldest first.
    pub accesses: Vec<AccessId>,
    /// In which ways.
    pub ways: BTreeSet<Access>,
    /// With which results.
    pub results: BTreeSet<Outcome>,
    /// How grave the gravest of them is.
    pub severity: Severity,
    /// How many there were.
    pub times: u64,
    /// The last one.
    pub last: Timestamp,
    /// Whether one was the first of this program at that entry.
    pub first_time: bool,
    /// Different files.
    pub files: usize,
    /// What came after.
    pub after: After,
}

/// The rows and what stands around them.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// From above.
    pub rows: Vec<Row>,
    /// Files that were opened by somebody who is not expected.
    pub unexpected: usize,
    /// Programs that opened what they are expected to.
    pub expected: usize,
}

/// What the rows are made for.
pub struct Asked<'a> {
    /// What was typed into the search.
    pub search: &'a str,
    /// Rows that were folded or unfolded by hand.
    pub turned: &'a HashSet<Key>,
    /// Rows whose order is held, and their places.
    pub held: Option<&'a HashMap<Key, usize>>,
}

type Files<'a> = BTreeMap<(Text, EntryId), Vec<&'a Opening>>;

/// Makes the rows. `label` names an entry.
pub fn build(secrets: &Secrets, asked: &Asked<'_>, label: impl Fn(EntryId) -> String) -> Rows {
    let words: Vec<String> = asked.search.split_whitespace().map(str::to_lowercase).collect();
    let mut programs: BTreeMap<(bool, &GroupKey), BTreeMap<Option<ProcessId>, Files<'_>>> = BTreeMap::new();
    for opening in secrets.openings().filter(|opening| matches(opening, &words, &label)) {
        let (access, program) = (&opening.access, &opening.reader.program);
        let process = (!access.expected).then_some(access.process);
        let files = programs.entry((access.expected, program)).or_default().entry(process).or_default();
        files.entry((access.path.clone(), access.entry)).or_default().push(opening);
    }
    let mut rows = Rows::default();
    for expected in [false, true] {
        let of_section = programs.iter().filter(|((e, _), _)| *e == expected);
        let mut trees: Vec<Vec<Row>> = of_section
            .map(|((_, program), processes)| {
                program_rows(secrets, Expected(expected), program, processes, asked)
            })
            .collect();
        if trees.is_empty() {
            continue;
        }
        sort(&mut trees, |tree| tree.first(), asked.held);
        let mut section = sum(Key::Section(Expected(expected)), 0, trees.iter().filter_map(|t| t.first()));
        if expected {
            rows.expected = trees.len();
        } else {
            rows.unexpected = section.files;
        }
        section.unfolded = None;
        rows.rows.push(section);
        rows.rows.extend(trees.into_iter().flatten());
    }
    rows
}

/// Whether every word is in the names, the path or the label.
fn matches(opening: &Opening, words: &[String], label: &impl Fn(EntryId) -> String) -> bool {
    if words.is_empty() {
        return true;
    }
    let Opening { access, reader } = opening;
    let path = access.path.shown().to_lowercase();
    let names = format!("{}\n{}\n{}", reader.program_name, reader.name, label(access.entry)).to_lowercase();
    words.iter().all(|word| {
        let (field, value) = word.split_once(':').unwrap_or(("", word));
        match field {
            "file" => path.contains(value),
            "app" | "program" => names.contains(value),
            "pid" => reader.pid.to_string() == value,
            _ => path.contains(word.as_str()) || names.contains(word.as_str()),
        }
    })
}

fn program_rows(
    secrets: &Secrets,
    expected: Expected,
    program: &GroupKey,
    processes: &BTreeMap<Option<ProcessId>, Files<'_>>,
    asked: &Asked<'_>,
) -> Vec<Row> {
    let key = Key::Program(expected, program.clone());
    let mut branches: Vec<Vec<Row>> = Vec::new();
    for (process, files) in processes {
        let level = if process.is_some() { 2 } else { 1 };
        let mut leaves: Vec<Vec<Row>> = files
            .iter()
            .map(|((path, entry), openings)| {
                let key = Key::File(expected, program.clone(), *process, path.clone(), *entry);
                vec![leaf(secrets, key, level, openings)]
            })
            .collect();
        sort(&mut leaves, |leaf| leaf.first(), asked.held);
        match process {
            Some(id) => branches.push(branch(Key::Process(program.clone(), *id), 1, leaves, asked)),
            None => branches.extend(leaves),
        }
    }
    sort(&mut branches, |branch| branch.first(), asked.held);
    branch(key, 0, branches, asked)
}

/// A row over others, which follow it if it is unfolded.
fn branch(key: Key, level: u8, below: Vec<Vec<Row>>, asked: &Asked<'_>) -> Vec<Row> {
    let mut row = sum(key, level, below.iter().filter_map(|rows| rows.first()));
    let unfolded = row.key.is_open() != asked.turned.contains(&row.key);
    row.unfolded = Some(unfolded);
    let mut rows = vec![row];
    if unfolded {
        rows.extend(below.into_iter().flatten());
    }
    rows
}

fn leaf(secrets: &Secrets, key: Key, level: u8, openings: &[&Opening]) -> Row {
    let mut row = empty(key, level);
    row.files = 1;
    let mut flows = BTreeMap::new();
    for Opening { access, .. } in openings {
        row.accesses.push(access.id);
        row.ways.insert(access.access);
        row.results.insert(access.result);
        row.severity = row.severity.max(access.severity);
        row.times = row.times.saturating_add(access.count);
        row.last = row.last.max(access.last_at);
        row.first_time |= access.first_time;
        for contact in secrets.contacts_after(access.id) {
            row.after.add(contact);
            // The same flow may be told after each of several accesses.
            let sent: &mut u64 = flows.entry(contact.flow).or_default();
            *sent = (*sent).max(contact.tx_bytes);
        }
    }
    row.after.sent = flows.values().fold(0, |sum, sent| sum.saturating_add(*sent));
    row
}

fn empty(key: Key, level: u8) -> Row {
    Row {
        key,
        level,
        unfolded: None,
        accesses: Vec::new(),
        ways: BTreeSet::new(),
        results: BTreeSet::new(),
        severity: Severity::Low,
        times: 0,
        last: Timestamp::default(),
        first_time: false,
        files: 0,
        after: After::default(),
    }
}

fn sum<'r>(key: Key, level: u8, below: impl Iterator<Item = &'r Row>) -> Row {
    let mut row = empty(key, level);
    for one in below {
        row.accesses.extend_from_slice(&one.accesses);
        row.ways.extend(&one.ways);
        row.results.extend(&one.results);
        row.severity = row.severity.max(one.severity);
        row.times = row.times.saturating_add(one.times);
        row.last = row.last.max(one.last);
        row.first_time |= one.first_time;
        row.files += one.files;
        for (host, new) in &one.after.hosts {
            *row.after.hosts.entry(host.clone()).or_default() |= new;
        }
        // Two files of one process are followed by the same bytes: the larger sum is the one that is true.
        row.after.sent = if level == 0 && matches!(one.key, Key::Process(..)) {
            row.after.sent.saturating_add(one.after.sent)
        } else {
            row.after.sent.max(one.after.sent)
        };
    }
    row.accesses.sort_unstable();
    row
}

/// Those whose place is held keep it; the newest of all others stand first, after them.
fn sort<T>(rows: &mut [T], head: impl Fn(&T) -> Option<&Row>, held: Option<&HashMap<Key, usize>>) {
    rows.sort_by_cached_key(|tree| {
        head(tree).map(|row| {
            let place = held.map_or(0, |held| held.get(&row.key).copied().unwrap_or(usize::MAX));
            (place, Reverse(row.last), Reverse(row.severity), row.key.clone())
        })
    });
}
