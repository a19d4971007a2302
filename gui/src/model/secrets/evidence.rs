//! What is known about one row of the Secrets lens, in the order in which it happened.

use sekhmet_common::{
    file::{AccessId, Contact},
    lines::AccessLine,
    mirror::Mirror,
    time::Timestamp,
};

use super::{Opening, Secrets};

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// A file was asked for.
    Opened(&'a Opening),
    /// A remote was reached after that.
    Reached(&'a Contact),
}

impl Step<'_> {
    /// When it began.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Opened(opening) => opening.access.at,
            Self::Reached(contact) => contact.at,
        }
    }
}

/// Everything about some accesses.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    /// The steps, the oldest first.
    pub steps: Vec<Step<'a>>,
}

impl<'a> Evidence<'a> {
    /// Gathers it. One flow after several accesses is told once, after the last access before it.
    pub fn of(secrets: &'a Secrets, accesses: &[AccessId]) -> Self {
        let mut contacts: std::collections::BTreeMap<_, &Contact> = std::collections::BTreeMap::new();
        let mut steps = Vec::new();
        for id in accesses {
            steps.extend(secrets.opening(*id).map(Step::Opened));
            for contact in secrets.contacts_after(*id) {
                let known = contacts.entry((contact.flow, contact.reason)).or_insert(contact);
                if contact.read_at > known.read_at {
                    *known = contact;
                }
            }
        }
        steps.extend(contacts.into_values().map(Step::Reached));
        steps.sort_by_key(Step::at);
        Self { steps }
    }

    /// The newest access and the first contact after it; without one, the newest access.
    pub fn gist(&self) -> Option<(&'a Opening, Option<&'a Contact>)> {
        let contact = self.steps.iter().rev().find_map(|step| match step {
            Step::Reached(contact) => Some(*contact),
            Step::Opened(_) => None,
        });
        let opened = |id: Option<AccessId>| {
            self.steps.iter().rev().find_map(|step| match step {
                Step::Opened(opening) if id.is_none_or(|id| opening.access.id == id) => Some(*opening),
                _ => None,
            })
        };
        let opening = contact.and_then(|c| opened(Some(c.access))).or_else(|| opened(None))?;
        Some((opening, contact.filter(|c| c.access == opening.access.id)))
    }
}

/// The accesses with what came after them, one line of JSON each: the same fields as `sekhmetctl files --json`.
///
/// # Errors
/// Never for what comes from a helper; text that is no JSON cannot come out of it.
pub fn json(secrets: &Secrets, mirror: &Mirror, accesses: &[AccessId]) -> serde_json::Result<String> {
    let mut out = String::new();
    for Opening { access, reader } in accesses.iter().filter_map(|id| secrets.opening(*id)) {
        let contacts = secrets.contacts_after(access.id);
        let line = AccessLine::new(mirror, access, reader.process.as_deref(), contacts);
        out.push_str(&serde_json::to_string(&line)?);
        out.push('\n');
    }
    Ok(out)
}
