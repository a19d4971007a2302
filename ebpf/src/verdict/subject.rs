//! Processes that are bound to rules: by user space, by their parents, by the program that they execute.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use sekhmet_common::kernel::{Policy, ProcessKey, SocketPolicy, policy::BOUND_MAX, stat};

use super::{add_rules, is_active, prune};
use crate::{
    maps::{BOUND_SOCKETS, POLICIES, PROGRAMS, STATS, SWITCH, bump},
    task,
};

/// No rules.
pub const UNBOUND: Policy = Policy { rules: [0; 4] };

/// The rules of a process.
#[inline(always)]
pub fn policy(process: &ProcessKey) -> Option<Policy> {
    // Copied: the entry may be given to another process while it is looked at.
    POLICIES.get_ptr(process).map(|policy| unsafe { core::ptr::read_volatile(policy) })
}

/// A child is bound to what its parent is bound to, before it has run.
///
/// # Safety
/// The verifier knows both as `task_struct`.
#[inline(always)]
pub unsafe fn inherit(parent: *const u8, child: *const u8) {
    if !is_active() {
        return;
    }
    if let Some(mut policy) = policy(&unsafe { task::key(parent) }) {
        prune(&mut policy);
        bind(&unsafe { task::key(child) }, &policy, BPF_NOEXIST.into());
    }
}

/// A process executes a program that is bound to rules: the process is, before the program has run. Sockets that it
/// has open already are not, if it was not bound before; then this is true, and somebody should see to them soon.
///
/// # Safety
/// The verifier knows `process` as a `task_struct`.
#[inline(always)]
pub unsafe fn execute(process: *const u8) -> bool {
    if !SWITCH.get(0).is_some_and(|switch| switch.programs != 0) {
        return false;
    }
    let Some(added) = PROGRAMS.get_ptr(unsafe { task::program(process) }) else { return false };
    let added = unsafe { core::ptr::read_volatile(added) };
    let process = unsafe { task::key(process) };
    let before = policy(&process).unwrap_or(UNBOUND);
    let mut policy = before;
    if !add_rules(&mut policy, &added) {
        bump(&STATS, stat::POLICY_FULL);
    }
    bind(&process, &policy, BPF_ANY.into());
    let mut is_new = false;
    for index in 0..BOUND_MAX {
        is_new |= policy.rules[index] != before.rules[index];
    }
    is_new
}

/// The last thread of a process ended. Its sockets stay bound.
#[inline(always)]
pub fn forget(process: &ProcessKey) {
    if is_active() {
        // Most processes are not there.
        _ = POLICIES.remove(process);
    }
}

/// Binds a new socket, or one whose creation was missed, to what its owner is bound to. Gives the mark.
///
/// # Safety
/// The verifier takes `socket` as the key of socket storage.
#[inline(always)]
pub unsafe fn bind_socket(socket: *const u8, owner: &ProcessKey) -> u32 {
    if !is_active() {
        return 0;
    }
    let Some(policy) = policy(owner) else { return 0 };
    let mut bound = SocketPolicy { owner: policy, user: UNBOUND, own_mark: 0, seen: 0 };
    if unsafe { BOUND_SOCKETS.get_or_insert(socket, &mut bound) }.is_none() {
        bump(&STATS, stat::SOCKET_UNBOUND);
    }
    super::mark_of_all(&policy)
}

#[inline(always)]
fn bind(process: &ProcessKey, policy: &Policy, flags: u64) {
    if POLICIES.insert(process, policy, flags).is_err() {
        bump(&STATS, stat::POLICY_MAP_FULL);
    }
}
