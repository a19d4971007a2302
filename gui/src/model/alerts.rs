//! Which accesses the desktop is told of: those of unexpected readers to what is grave, and not many at once.

use std::collections::{HashMap, VecDeque};

use sekhmet_common::{file::Access, time::Timestamp, watch::EntryId, watch::Severity};

use super::{key::GroupKey, secrets::Opening};

/// The same program at the same entry is told again after this: 10 minutes.
const AGAIN_NANOS: u64 = 600_000_000_000;
/// So many are told within a minute. Beyond it one says that there are more.
const PER_MINUTE: usize = 3;
const MINUTE_NANOS: u64 = 60_000_000_000;
/// What is older than this when it is heard of is history: 30 s.
const FRESH_NANOS: u64 = 30_000_000_000;

/// What the desktop is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// This access.
    Access,
    /// There were more than can be told one by one.
    More,
}

/// The memory that keeps it quiet.
#[derive(Clone, Debug)]
pub struct Alerts {
    on: bool,
    told: HashMap<(GroupKey, EntryId), Timestamp>,
    recent: VecDeque<Timestamp>,
    more_until: Timestamp,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { on: true, told: HashMap::new(), recent: VecDeque::new(), more_until: Timestamp::default() }
    }
}

impl Alerts {
    /// Whether anything is told.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Tells, or does not.
    pub fn set_on(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether the desktop is to be told of an access that was just heard of.
    pub fn consider(&mut self, opening: &Opening, now: Timestamp) -> Option<Alert> {
        let access = &opening.access;
        let is_grave = access.severity == Severity::High && !access.expected && access.result.is_ok();
        if !self.on
            || !is_grave
            || access.access == Access::Handle
            || now.nanos_since(access.last_at) > FRESH_NANOS
        {
            return None;
        }
        self.told.retain(|_, at| now.nanos_since(*at) < AGAIN_NANOS);
        let key = (opening.reader.program.clone(), access.entry);
        if self.told.contains_key(&key) {
            return None;
        }
        self.told.insert(key, now);
        self.recent.retain(|at| now.nanos_since(*at) < MINUTE_NANOS);
        if self.recent.len() < PER_MINUTE {
            self.recent.push_back(now);
            return Some(Alert::Access);
        }
        if now < self.more_until {
            return None;
        }
        self.more_until = now.plus_nanos(MINUTE_NANOS as i64);
        Some(Alert::More)
    }
}

#[cfg(test)]
mod tests {
    use sekhmet_common::{
        display::Text,
        file::{AccessId, FileAccess, Outcome},
        process::ProcessId,
    };

    use super::*;
    use crate::model::secrets::Reader;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn opening(program: &str, entry: u32, seconds: i64) -> Opening {
        let access = FileAccess {
            id: AccessId(1),
            process: ProcessId(1),
            path: "/home/ana/.ssh/id_rsa".into(),
            requested_path: None,
            entry: EntryId(entry),
            severity: Severity::High,
            access: Access::Read,
            result: Outcome::OK,
            count: 1,
            at: at(seconds),
            last_at: at(seconds),
            first_time: true,
            expected: false,
            mount_ns: None,
            contacts_left_out: 0,
        };
        let program = GroupKey::Program(program.into(), None);
        let reader = Reader {
            program,
            program_name: String::new(),
            name: String::new(),
            exe: Text::default(),
            pid: 1,
            process: None,
        };
        Opening { access, reader }
    }

    #[test]
    fn only_what_is_grave_new_and_unexpected_is_told() {
        let mut alerts = Alerts::default();
        let change = |change: fn(&mut FileAccess)| {
            let mut opening = opening("/a", 1, 100);
            change(&mut opening.access);
            opening
        };
        for quiet in [
            change(|a| a.expected = true),
            change(|a| a.severity = Severity::Medium),
            change(|a| a.result = Outcome(13)),
            change(|a| a.access = Access::Handle),
            change(|a| a.last_at = at(60)),
        ] {
            assert_eq!(alerts.consider(&quiet, at(100)), None, "{quiet:?}");
        }
        alerts.set_on(false);
        assert_eq!(alerts.consider(&opening("/a", 1, 100), at(100)), None);
        alerts.set_on(true);
        assert_eq!(alerts.consider(&opening("/a", 1, 100), at(100)), Some(Alert::Access));
    }

    #[test]
    fn a_flood_is_told_in_a_few_words() {
        let mut alerts = Alerts::default();
        assert_eq!(alerts.consider(&opening("/a", 1, 100), at(100)), Some(Alert::Access));
        assert_eq!(alerts.consider(&opening("/a", 1, 101), at(101)), None, "the same again");
        let told: Vec<_> =
            (2..200).filter_map(|entry| alerts.consider(&opening("/a", entry, 102), at(102))).collect();
        assert_eq!(told, [Alert::Access, Alert::Access, Alert::More]);
        assert_eq!(alerts.consider(&opening("/b", 1, 170), at(170)), Some(Alert::Access), "a minute later");
        assert_eq!(alerts.consider(&opening("/a", 1, 800), at(800)), Some(Alert::Access), "long after");
    }
}
