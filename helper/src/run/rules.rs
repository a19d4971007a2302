//! Puts what enforces rules together at the start: the kernel programs' maps, the firewall, the file of rules.

use std::{fs, io, os::unix::fs::MetadataExt};

use crossbeam_channel::Sender;
use sekhmet_common::{display::escape, time::Timestamp};

use crate::{
    engine::input::Input,
    firewall::{Firewall, NftFirewall},
    kernel::policy::Policies,
    run::enforcer::Enforcer,
    store::{self, Store},
};

/// What enforces, and what the engine is to be told of it.
pub(super) struct Rules {
    /// Nothing if this machine does not let the helper block.
    pub(super) enforcer: Option<Enforcer>,
    /// The engine's first words.
    pub(super) first: Vec<Input>,
}

impl Rules {
    /// Opens everything and puts the rules into force that were kept. Returns when they are.
    pub(super) fn prepare(policies: Option<Policies>, seen: &Sender<Input>) -> io::Result<Self> {
        let store = open_store();
        let Some(policies) = policies.filter(can_hold) else {
            tracing::warn!("nothing can be blocked on this machine");
            return Ok(Self { enforcer: None, first: vec![Input::CanEnforce(false)] });
        };
        let firewall = NftFirewall::open().inspect_err(
            |error| tracing::warn!(error = %escape(error.to_string().as_bytes()), "no firewall"),
        );
        let firewall = firewall.ok().map(|firewall| Box::new(firewall) as Box<dyn Firewall>);
        let kept = store.as_ref().map(|store| store.load(Timestamp::now())).unwrap_or_default();
        for warning in &kept.warnings {
            tracing::warn!(warning = %escape(warning.as_bytes()), "rules that were kept");
        }
        let mut enforcer = Enforcer::new(Box::new(policies), firewall, store, seen.clone()).listening();
        let in_force = enforcer.restore(kept.rules);
        tracing::info!(rules = in_force.len(), "rules are in force");
        let first = vec![Input::CanEnforce(true), Input::RulesKept(in_force)];
        Ok(Self { enforcer: Some(enforcer), first })
    }
}

fn can_hold(policies: &Policies) -> bool {
    let missing = policies.missing();
    if !missing.is_empty() {
        tracing::warn!(?missing, "without these kernel programs no block would hold");
    }
    missing.is_empty()
}

fn open_store() -> Option<Store> {
    let Some(dir) = store::state_dir() else {
        tracing::info!("no state folder: rules end with the helper");
        return None;
    };
    Store::open(&dir, store::boot_id())
        .inspect_err(
            |error| tracing::warn!(error = %escape(error.to_string().as_bytes()), "rules are not kept"),
        )
        .ok()
}

/// Inode number of the first process's mount namespace: the file tree whose paths are the system's own. 0 if it
/// cannot be told; then no path is.
pub(super) fn host_mnt_ns() -> u32 {
    let inode = fs::metadata("/proc/1/ns/mnt").map(|meta| meta.ino());
    inode.ok().and_then(|inode| u32::try_from(inode).ok()).unwrap_or(0)
}
