//! Entries of the policy maps: where a rule stands, what is left of a binding, whose children are whose.

use std::collections::HashSet;

use aya::maps::{HashMap, MapData, MapError};
use sekhmet_common::kernel::{
    Policy, ProcessKey, Task,
    policy::{BOUND_MAX, RULES_MAX},
};

/// Those whose parent is in the family and who are not themselves.
pub(super) fn children(tasks: &[Task], family: &HashSet<ProcessKey>) -> Vec<ProcessKey> {
    let is_new = |task: &&Task| family.contains(&task.parent) && !family.contains(&task.process);
    tasks.iter().filter(is_new).map(|task| task.process).collect()
}

pub(super) fn without(policy: Policy, number: u32) -> Option<Policy> {
    let rules = policy.rules.map(|bound| if bound == number { 0 } else { bound });
    (rules != [0; BOUND_MAX]).then_some(Policy { rules })
}

pub(super) fn slot(number: u32) -> u32 {
    number % count(RULES_MAX)
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn get<K: aya::Pod, V: aya::Pod>(
    map: &HashMap<MapData, K, V>,
    key: &K,
) -> Result<Option<V>, MapError> {
    match map.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An entry that is gone already is no error: the kernel removes those of processes that end.
pub(super) fn remove<K: aya::Pod, V: aya::Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: &K,
) -> Result<(), MapError> {
    match map.remove(key) {
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}
