//! What is installed, read back without the helper's own code: the kernel's maps by their ids, the firewall by nft(8).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use aya::maps::{Array, HashMap, Map, MapData, loaded_maps};
use sekhmet_common::kernel::{Policy, ProcessKey, ProgramKey, RuleSlot, Switch};

use super::model::Model;

/// The maps of one load of the programs.
pub(super) struct Installed {
    rules: Array<MapData, RuleSlot>,
    switch: Array<MapData, Switch>,
    processes: HashMap<MapData, ProcessKey, Policy>,
    programs: HashMap<MapData, ProgramKey, Policy>,
}

/// The ids of all maps of this kernel now.
pub(super) fn map_ids() -> BTreeSet<u32> {
    loaded_maps().filter_map(|map| Some(map.ok()?.id())).collect()
}

impl Installed {
    /// The maps that were not there before.
    pub(super) fn find(before: &BTreeSet<u32>) -> Self {
        let named = |name: &str| {
            let mut new = loaded_maps().filter_map(Result::ok).filter(|map| !before.contains(&map.id()));
            let map = new.find(|map| map.name_as_str() == Some(name)).unwrap();
            MapData::from_id(map.id()).unwrap()
        };
        Self {
            rules: Array::try_from(Map::Array(named("RULES"))).unwrap(),
            switch: Array::try_from(Map::Array(named("SWITCH"))).unwrap(),
            processes: HashMap::try_from(Map::HashMap(named("POLICIES"))).unwrap(),
            programs: HashMap::try_from(Map::HashMap(named("PROGRAMS"))).unwrap(),
        }
    }

    /// Whether rules, bound processes, bound programs and the switch are exactly those of the model.
    pub(super) fn compare(&self, model: &Model) -> Result<(), String> {
        let slots: BTreeMap<u32, u32> = self
            .rules
            .iter()
            .map(Result::unwrap)
            .filter(|slot| *slot != RuleSlot::default())
            .map(|slot| (slot.number, slot.mark))
            .collect();
        let wanted: BTreeMap<u32, u32> = model.rules().map(|(id, rule)| (id, rule.mark(id))).collect();
        same("rules", &slots, &wanted)?;

        let mut bound = BTreeMap::<(u32, u64), BTreeSet<u32>>::new();
        let mut programs = BTreeMap::<(u32, u64), BTreeSet<u32>>::new();
        for (id, rule) in model.rules() {
            for key in &rule.bound {
                bound.entry((key.tgid, key.start_ns)).or_default().insert(id);
            }
            for key in &rule.programs {
                programs.entry((key.device, key.inode)).or_default().insert(id);
            }
        }
        let found = self.processes.iter().map(Result::unwrap);
        let found = found.map(|(key, policy)| ((key.tgid, key.start_ns), numbers(&policy))).collect();
        same("bound processes", &found, &bound)?;
        let found = self.programs.iter().map(Result::unwrap);
        let found = found.map(|(key, policy)| ((key.device, key.inode), numbers(&policy))).collect();
        same("bound programs", &found, &programs)?;

        let switch = self.switch.get(&0, 0).unwrap();
        let found = (switch.rules as usize, switch.programs as usize, switch.alone);
        same("the switch", &found, &(wanted.len(), programs.len(), 0))
    }
}

fn numbers(policy: &Policy) -> BTreeSet<u32> {
    policy.rules.iter().copied().filter(|number| *number != 0).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}\nwanted {wanted:?}")) }
}

/// Everything in the firewall of this network namespace.
pub(super) fn ruleset() -> Result<String, String> {
    let output =
        Command::new("nft").args(["list", "ruleset"]).output().map_err(|error| format!("nft: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|_bytes| "not even text".into())
}
