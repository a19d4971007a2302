//! Who opened watched files and whom they reached after, kept with the names that were true then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sekhmet_common::{
    display::Text,
    file::{ACCESSES_MAX, AccessId, Contact, ContactId, FileAccess},
    process::{Process, ProcessId},
};

use super::key::{GroupKey, HostKey};

pub mod evidence;
pub mod rows;

/// An access, and who it was at that time.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// What happened.
    pub access: FileAccess,
    /// Who.
    pub reader: Reader,
}

/// A process as it was called when it opened something.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader {
    /// The program it stands under.
    pub program: GroupKey,
    /// What that is called.
    pub program_name: String,
    /// What the process is called.
    pub name: String,
    /// Its executable.
    pub exe: Text,
    /// Its number.
    pub pid: u32,
    /// All that was known of it, for evidence.
    pub process: Option<Box<Process>>,
}

/// What a process opened, file by file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    files: BTreeMap<Text, File>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct File {
    newest: AccessId,
    expected: bool,
    /// Whether it was there and could be opened.
    opened: bool,
}

impl File {
    fn of(access: &FileAccess) -> Self {
        Self { newest: access.id, expected: access.expected, opened: access.result.is_ok() }
    }
}

impl Marks {
    /// How many files an entry of the watchlist does not expect this process to open.
    pub fn unexpected(&self) -> usize {
        self.files.values().filter(|file| !file.expected).count()
    }

    /// How many files it opened as expected.
    pub fn expected(&self) -> usize {
        self.files.len() - self.unexpected()
    }

    /// The newest access; one that was not expected comes before all others, then one that succeeded.
    pub fn newest(&self) -> Option<AccessId> {
        self.files
            .values()
            .max_by_key(|file| (!file.expected, file.opened, file.newest))
            .map(|file| file.newest)
    }

    /// Adds those of another process of the same program.
    pub fn absorb(&mut self, other: &Self) {
        for (path, file) in &other.files {
            self.note(path, *file);
        }
    }

    fn note(&mut self, path: &Text, file: File) {
        let known = self.files.entry(path.clone()).or_insert(file);
        known.newest = known.newest.max(file.newest);
        known.expected &= file.expected;
        known.opened |= file.opened;
    }
}

/// The accesses and contacts of this helper's life, as far as they are listed.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    openings: BTreeMap<AccessId, Opening>,
    contacts: BTreeMap<AccessId, BTreeMap<ContactId, Contact>>,
    of_process: HashMap<ProcessId, BTreeSet<AccessId>>,
    marks: HashMap<ProcessId, Marks>,
}

impl Secrets {
    /// Forgets everything: another helper gives the same numbers to other things.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Lists an access; again and with a higher count, if it is listed.
    pub(super) fn open(&mut self, access: &FileAccess, reader: Reader) {
        if let Some(known) = self.openings.get_mut(&access.id) {
            if known.access.process == access.process && known.access.count <= access.count {
                known.access = access.clone();
            }
        } else {
            self.openings.insert(access.id, Opening { access: access.clone(), reader });
            self.of_process.entry(access.process).or_default().insert(access.id);
            self.marks.entry(access.process).or_default().note(&access.path, File::of(access));
        }
        while self.openings.len() > ACCESSES_MAX
            && let Some(oldest) = self.openings.keys().next().copied()
        {
            self.close(oldest);
        }
    }

    /// An access is no longer listed.
    pub(super) fn close(&mut self, id: AccessId) {
        self.contacts.remove(&id);
        let Some(opening) = self.openings.remove(&id) else { return };
        let process = opening.access.process;
        let Some(ids) = self.of_process.get_mut(&process) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.of_process.remove(&process);
            self.marks.remove(&process);
            return;
        }
        let mut marks = Marks::default();
        for access in ids.iter().filter_map(|id| self.openings.get(id)).map(|o| &o.access) {
            marks.note(&access.path, File::of(access));
        }
        self.marks.insert(process, marks);
    }

    /// Lists a contact after a listed access.
    pub(super) fn reach(&mut self, contact: &Contact) {
        if self.openings.contains_key(&contact.access) {
            self.contacts.entry(contact.access).or_default().insert(contact.id, contact.clone());
        }
    }

    /// More became known about a process: what it opened as the same program bears its better name.
    pub(super) fn rename(&mut self, process: ProcessId, reader: &Reader) {
        for id in self.of_process.get(&process).into_iter().flatten() {
            if let Some(opening) = self.openings.get_mut(id)
                && (opening.reader.exe.is_empty() || opening.reader.exe == reader.exe)
            {
                opening.reader = reader.clone();
            }
        }
    }

    /// Whether nothing was opened.
    pub fn is_empty(&self) -> bool {
        self.openings.is_empty()
    }

    /// The accesses, the oldest first.
    pub fn openings(&self) -> impl DoubleEndedIterator<Item = &Opening> {
        self.openings.values()
    }

    /// The accesses that nobody expected, in the order in which they happened.
    pub fn unexpected(&self) -> Vec<&Opening> {
        let mut all: Vec<&Opening> = self.openings.values().filter(|o| !o.access.expected).collect();
        all.sort_by_key(|opening| (opening.access.at, opening.access.id));
        all
    }

    /// One access.
    pub fn opening(&self, id: AccessId) -> Option<&Opening> {
        self.openings.get(&id)
    }

    /// The accesses of one process, the oldest first.
    pub fn openings_of(&self, process: ProcessId) -> impl DoubleEndedIterator<Item = &Opening> {
        self.of_process.get(&process).into_iter().flatten().filter_map(|id| self.openings.get(id))
    }

    /// What came after an access, the oldest first.
    pub fn contacts_after(&self, id: AccessId) -> impl DoubleEndedIterator<Item = &Contact> {
        self.contacts.get(&id).into_iter().flat_map(BTreeMap::values)
    }

    /// What every process opened.
    pub fn marks(&self) -> &HashMap<ProcessId, Marks> {
        &self.marks
    }

    /// The first contact of a process with a host that came after an access by itself.
    pub fn contact_with(&self, process: ProcessId, host: &HostKey) -> Option<&Contact> {
        self.of_process
            .get(&process)?
            .iter()
            .flat_map(|id| self.contacts_after(*id))
            .find(|contact| contact.process == process && host_of(contact) == *host)
    }
}

/// The host that was reached.
pub fn host_of(contact: &Contact) -> HostKey {
    match &contact.remote_name {
        Some(name) if !name.name.is_empty() => HostKey::Name(name.name.clone()),
        _ => HostKey::Addr(contact.remote.addr),
    }
}
