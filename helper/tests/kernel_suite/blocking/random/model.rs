//! What must be installed, worked out without the helper's own code: from whom a rule names to whom it binds.

use std::collections::{BTreeMap, BTreeSet};

use sekhmet_common::{
    display::Text,
    process::ProcessId,
    rule::{Answer, Draft, Extent, Lifetime, Rule, Subject, Wanted, Ways},
    time::Timestamp,
};
use sekhmet_helper::engine::input::{ProcessKey, ProgramKey};

use super::dice::Dice;

/// Rules that one process or program can have (`common/src/kernel/policy.rs`, written here once more on purpose).
const EACH: usize = 4;

/// A path, and the file that it names.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) path: Text,
    pub(super) key: Option<ProgramKey>,
}

/// A process and its child.
pub(super) struct Family {
    pub(super) program: Named,
    pub(super) members: [(ProcessId, ProcessKey); 2],
}

/// What a rule comes to.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    draft: Draft,
    exe: Text,
    pid: Option<u32>,
    pub(super) programs: BTreeSet<ProgramKey>,
    pub(super) bound: BTreeSet<ProcessKey>,
    expires: Option<Timestamp>,
}

impl Wish {
    /// Kind, number and flags, by the picture in `common/src/kernel/mark.rs`.
    pub(super) fn mark(&self, id: u32) -> u32 {
        let near = if self.draft.extent == Extent::Everywhere { 1 << 23 } else { 0 };
        let silent = if self.draft.answer == Answer::Drop { 1 << 22 } else { 0 };
        let free = match self.draft.ways {
            Ways::Both => 0,
            Ways::Outbound => 1 << 21,
            Ways::Inbound => 1 << 20,
        };
        0x5e00_0000 | near | silent | free | id
    }
}

/// The rules in force, and whom there is.
pub(super) struct Model {
    rules: BTreeMap<u32, Wish>,
    files: Vec<Named>,
    families: Vec<Family>,
}

impl Model {
    pub(super) fn new(files: Vec<Named>, families: Vec<Family>) -> Self {
        Self { rules: BTreeMap::new(), files, families }
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = (u32, &Wish)> {
        self.rules.iter().map(|(id, rule)| (*id, rule))
    }

    pub(super) fn any(&self, dice: &mut Dice) -> Option<u32> {
        let at = dice.below(self.rules.len().max(1));
        self.rules.keys().nth(at).copied()
    }

    pub(super) fn add(&mut self, id: u32, rule: Wish, now: Timestamp) {
        let expires = match rule.draft.lifetime {
            Lifetime::Seconds(n) => Some(now.plus_nanos(n as i64 * 1_000_000_000)),
            _ => None,
        };
        self.rules.insert(id, Wish { expires, ..rule });
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.rules.remove(&id);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.rules.retain(|_, rule| rule.expires.is_none_or(|at| at > now));
    }

    /// A random wish, and what it has to come to: nothing if it has to be refused.
    pub(super) fn draft(&self, dice: &mut Dice) -> (Draft, Option<Wish>) {
        let lifetimes = [
            Lifetime::UntilExit,
            Lifetime::UntilRestart,
            Lifetime::Always,
            Lifetime::Always,
            Lifetime::Seconds(3600),
        ];
        let lifetime = dice.one(&lifetimes);
        let family = dice.below(self.families.len());
        let member = dice.below(2);
        let (id, key) = self.families[family].members[member];
        let running = self.families[family].program.clone();
        let (wanted, exe, pid) = match dice.below(20) {
            0 => (Wanted::Process(id), running.path, Some(key.tgid)),
            1 => (Wanted::ProgramOf(id), running.path, None),
            2 => (Wanted::Path(running.path.clone()), running.path, None),
            _ => {
                let path = self.files[dice.below(self.files.len())].path.clone();
                (Wanted::Path(path.clone()), path, None)
            }
        };
        let draft = Draft {
            ways: dice.one(&[Ways::Both, Ways::Outbound, Ways::Inbound]),
            answer: dice.one(&[Answer::Reject, Answer::Drop]),
            extent: dice.one(&[Extent::Outside, Extent::Everywhere]),
            ..Draft::new(wanted, lifetime)
        };
        let wish = self.wish(&draft, exe, pid);
        (draft, wish)
    }

    fn wish(&self, draft: &Draft, exe: Text, pid: Option<u32>) -> Option<Wish> {
        let mut wish = Wish {
            draft: draft.clone(),
            exe: exe.clone(),
            pid,
            programs: BTreeSet::new(),
            bound: BTreeSet::new(),
            expires: None,
        };
        if let Some(pid) = pid {
            if draft.lifetime == Lifetime::Always {
                return None;
            }
            // The process, and its child if it is the elder.
            let members = self.families.iter().map(|family| family.members);
            let heirs = members.filter_map(|all| {
                all.iter().position(|(_, key)| key.tgid == pid).map(|at| all[at..].to_vec())
            });
            wish.bound = heirs.flatten().map(|(_, key)| key).collect();
        } else {
            let named = self.files.iter().chain(self.families.iter().map(|family| &family.program));
            wish.programs = named.filter(|named| named.path == exe).filter_map(|named| named.key).collect();
            let runs = self.families.iter().filter(|family| family.program.path == exe);
            wish.bound = runs.flat_map(|family| family.members.map(|(_, key)| key)).collect();
            if draft.lifetime == Lifetime::UntilExit && wish.bound.is_empty() {
                return None;
            }
        }
        let has_room = wish.bound.iter().all(|key| self.rules_of(key) < EACH)
            && wish.programs.iter().all(|key| self.rules_of_program(key) < EACH);
        has_room.then_some(wish)
    }

    fn rules_of(&self, key: &ProcessKey) -> usize {
        self.rules.values().filter(|rule| rule.bound.contains(key)).count()
    }

    fn rules_of_program(&self, key: &ProgramKey) -> usize {
        self.rules.values().filter(|rule| rule.programs.contains(key)).count()
    }

    /// Whether these are the rules in force, with all that a person may read of them.
    pub(super) fn compare(&self, told: &[Rule]) -> Result<(), String> {
        let ids: BTreeSet<u32> = told.iter().map(|rule| rule.id.0).collect();
        let wanted: BTreeSet<u32> = self.rules.keys().copied().collect();
        if ids != wanted || told.len() != ids.len() {
            let missing: Vec<_> = wanted.difference(&ids).collect();
            let extra: Vec<_> = ids.difference(&wanted).collect();
            return Err(format!("missing {missing:?}, too many {extra:?}"));
        }
        for rule in told {
            let wish = &self.rules[&rule.id.0];
            let draft = &wish.draft;
            let (pid, exe) = match &rule.subject {
                Subject::Process { pid, exe, .. } => (Some(*pid), exe),
                Subject::Program { exe } => (None, exe),
            };
            let is_same = (rule.ways, rule.answer, rule.extent, rule.lifetime, rule.expires_at)
                == (draft.ways, draft.answer, draft.extent, draft.lifetime, wish.expires)
                && (pid, exe) == (wish.pid, &wish.exe);
            if !is_same {
                return Err(format!("{rule:?} is not {wish:?}"));
            }
        }
        Ok(())
    }
}
