//! From what sources say about opened files to accesses of watched ones, and to whom their programs spoke after.

mod accesses;
mod contacts;
mod entries;
mod homes;
mod links;
mod matcher;
mod packages;
mod seen;

use sekhmet_common::{display::Text, process::ProcessId};

use self::{
    accesses::Accesses, contacts::Contacts, entries::Entries, homes::Homes, links::Links, matcher::Matcher,
    packages::Owned, seen::Seen,
};
use super::{Engine, input::Effect};

/// Everything about watched files.
#[derive(Debug, Default)]
pub(super) struct Files {
    entries: Entries,
    matcher: Matcher,
    homes: Homes,
    packages: Owned,
    accesses: Accesses,
    links: Links,
    seen: Seen,
    contacts: Contacts,
    /// When it may be written down next which programs were seen, on the clock of the deadlines.
    seen_due_ns: u64,
    /// What is to be said or done at the end of this step.
    orders: Vec<Effect>,
}

impl Files {
    /// Takes what is to be done now.
    pub(super) fn take_orders(&mut self) -> Vec<Effect> {
        let mut orders = std::mem::take(&mut self.orders);
        let links = self.links.take_news();
        if !links.is_empty() {
            orders.push(Effect::WatchLinks(links));
        }
        orders
    }
}

/// What a process runs, as far as entries are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// The executable's path, or what else it is called.
    path: Text,
    /// Whether that is a path of the system's own file tree.
    is_host: bool,
}

impl Engine {
    /// What a process runs now.
    fn program_of(&self, id: ProcessId) -> Option<Program> {
        let process = self.ledger.mirror().process(id)?;
        let record = self.processes.records.get(&id)?;
        let is_host = self.is_host_path(record.image.mnt_ns, &process.exe);
        let path = if process.exe.is_empty() { process.name.clone() } else { plain(&process.exe) };
        Some(Program { path, is_host })
    }
}

/// A program's path by its one name: without the mark of a deleted file (`d_path`), and below `/usr` where `/bin` and
/// its like are links into it, which is so on all but the oldest systems.
fn plain(exe: &Text) -> Text {
    let bytes = exe.as_bytes();
    let alive = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let is_linked = [&b"/bin/"[..], b"/sbin/", b"/lib/", b"/lib64/"].iter().any(|dir| alive.starts_with(dir));
    match is_linked {
        true => Text::from([b"/usr", alive].concat()),
        false if alive.len() == bytes.len() => exe.clone(),
        false => Text::from(alive),
    }
}
