//! Puts what enforces rules together at the start: the kernel programs' maps, the firewall, the file of rules.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use crossbeam_channel::Sender;
use sekhmet_common::{display::escape, time::Timestamp};

use crate::{
    engine::input::Input,
    firewall::{Firewall, NftFirewall, State},
    kernel::policy::Policies,
    run::{
        enforcer::{Bound, Enforcer},
        keeping::{self, Keeping, Left},
    },
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
    /// Opens everything and puts the rules into force that were kept. Returns when they are, and when nothing depends
    /// on what a former helper left any more.
    pub(super) fn prepare(policies: Option<Policies>, left: Left, seen: &Sender<Input>) -> io::Result<Self> {
        let (store, no_store) = match open_store() {
            Ok(store) => (Some(store), None),
            Err(reason) => (None, Some(reason)),
        };
        let Some(mut policies) = policies.filter(can_hold) else {
            tracing::warn!("nothing can be blocked on this machine");
            if !left.is_empty() {
                // Known blocks stay: they would end here without anybody having said so.
                tracing::warn!(
                    "blocks of the helper before are still in force; stopping the service ends them"
                );
            }
            return Ok(Self { enforcer: None, first: vec![Input::CanEnforce(false)] });
        };
        let mut left = left;
        policies.take_over(std::mem::take(&mut left.marks));
        let firewall = NftFirewall::open().inspect_err(
            |error| tracing::warn!(error = %escape(error.to_string().as_bytes()), "no firewall"),
        );
        let mut firewall = firewall.ok();
        let is_adopted =
            firewall.as_mut().is_some_and(|firewall| adopt(firewall, std::mem::take(&mut left.tables)));
        let firewall = firewall.map(|firewall| Box::new(firewall) as Box<dyn Firewall>);
        let kept = store.as_ref().map(|store| store.load(Timestamp::now())).unwrap_or_default();
        for warning in &kept.warnings {
            tracing::warn!(warning = %escape(warning.as_bytes()), "rules that were kept");
        }
        let keeping = Keeping::new(keeping::to_manager(), &left, is_adopted);
        let mut enforcer = Enforcer::new(Box::new(policies), firewall, store, seen.clone())
            .listening()
            .having_found(kept.warnings.into_iter().chain(no_store).collect())
            .leaving_behind(keeping, is_adopted);
        let bound: Vec<Box<dyn Bound>> =
            left.bound.into_iter().map(|b| Box::new(b) as Box<dyn Bound>).collect();
        let in_force = enforcer.restore(kept.rules, &bound);
        tracing::info!(rules = in_force.rules.len(), processes = in_force.bound.len(), "rules are in force");
        let first = vec![
            Input::CanEnforce(true),
            Input::RulesKept(in_force.rules),
            Input::BoundBefore(in_force.bound),
            Input::LastNumber(kept.last_number),
            Input::Keeping(enforcer.keeping_line()),
        ];
        Ok(Self { enforcer: Some(enforcer), first })
    }
}

/// Takes over the table that a former helper left, if it is in force as it was made. Anything else is replaced when
/// a rule is put into force.
fn adopt(firewall: &mut NftFirewall, tables: Vec<OwnedFd>) -> bool {
    tables.into_iter().any(|table| match firewall.adopt(table) {
        Ok(State::Intact) => true,
        Ok(state) => {
            tracing::warn!(?state, "the firewall's table is not as it was left");
            false
        }
        Err(error) => {
            let error = escape(error.to_string().as_bytes());
            tracing::warn!(error, "what was kept is no socket of the firewall; it is not used");
            false
        }
    })
}

fn can_hold(policies: &Policies) -> bool {
    let missing = policies.missing();
    if !missing.is_empty() {
        tracing::warn!(?missing, "without these kernel programs no block would hold");
    }
    missing.is_empty()
}

/// The place where rules are kept, or why there is none.
fn open_store() -> Result<Store, String> {
    let Some(dir) = store::state_dir() else {
        tracing::info!("no state folder: rules end with the helper");
        return Err("the helper was given no state folder".into());
    };
    Store::open(&dir, store::boot_id()).map_err(|error| {
        let error = escape(error.to_string().as_bytes());
        tracing::warn!(error, "rules are not kept");
        error
    })
}

/// Inode number of the first process's mount namespace: the file tree whose paths are the system's own. 0 if it
/// cannot be told; then no path is.
pub(super) fn host_mnt_ns() -> u32 {
    let inode = fs::metadata("/proc/1/ns/mnt").map(|meta| meta.ino());
    inode.ok().and_then(|inode| u32::try_from(inode).ok()).unwrap_or(0)
}
