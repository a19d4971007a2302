//! What is refused to whom: the rules in force, and the hooks that decide by them.
//!
//! Processes are bound to rules by number, sockets inherit that. In the helper's own network namespace a refused
//! socket gets a mark and the firewall answers for it; the packet hooks refuse whatever still comes by, in every
//! namespace.

pub mod connect;
pub mod cover;
pub mod packet;
pub mod refusal;
pub mod subject;

use core::ffi::c_void;

use aya_ebpf::{Global, helpers::generated::bpf_get_netns_cookie};
use sekhmet_common::kernel::{
    Policy, SocketPolicy,
    mark::{KIND_MASK, REFUSED},
    policy::{BOUND_MAX, RULES_MAX, combine},
};

use crate::maps::{RULES, SWITCH};

/// Inode number of the network namespace in which the firewall acts on marks.
#[unsafe(no_mangle)]
static HOST_NET_NS: Global<u32> = Global::new(0);

/// The cookie of that namespace, by which programs know that of their socket; 0 where user space cannot ask for it
/// (before Linux 5.14).
#[unsafe(no_mangle)]
static HOST_NET_COOKIE: Global<u64> = Global::new(0);

/// Whether any rule is in force. If not, no hook does more than to ask this.
#[inline(always)]
pub fn is_active() -> bool {
    SWITCH.get(0).is_some_and(|switch| switch.rules != 0)
}

/// Whether this network namespace is the one in which the firewall acts on marks.
#[inline(always)]
fn is_host(net_ns: u32) -> bool {
    net_ns == HOST_NET_NS.load()
}

/// The same, asked of the kernel where it knows; `net_ns` may be the user's and not the socket's.
///
/// # Safety
/// `context` is the program's own.
#[inline(always)]
unsafe fn is_host_socket(context: *mut c_void, net_ns: u32) -> bool {
    match HOST_NET_COOKIE.load() {
        0 => is_host(net_ns),
        cookie => unsafe { bpf_get_netns_cookie(context) == cookie },
    }
}

/// Whether the firewall acts on marks at all.
#[inline(always)]
fn is_alone() -> bool {
    SWITCH.get(0).is_some_and(|switch| switch.alone != 0)
}

/// Whether a mark is ours.
#[inline(always)]
fn is_ours(mark: u32) -> bool {
    mark & KIND_MASK == REFUSED
}

/// What a rule refuses; 0 if it is not in force.
#[inline(always)]
fn mark_of(number: u32) -> u32 {
    if number == 0 {
        return 0;
    }
    match RULES.get(number % RULES_MAX as u32) {
        Some(slot) if slot.number == number => slot.mark,
        _ => 0,
    }
}

/// Whether a rule stands in the table, be it at rest.
#[inline(always)]
fn stands(number: u32) -> bool {
    number != 0 && RULES.get(number % RULES_MAX as u32).is_some_and(|slot| slot.number == number)
}

/// What all rules of a binding refuse together; 0 for nothing.
#[inline(always)]
fn mark_of_all(policy: &Policy) -> u32 {
    let mut mark = 0;
    for index in 0..BOUND_MAX {
        mark = combine(mark, mark_of(policy.rules[index]));
    }
    mark
}

/// What is refused to a socket; 0 for nothing.
#[inline(always)]
fn mark_of_socket(bound: &SocketPolicy) -> u32 {
    combine(mark_of_all(&bound.owner), mark_of_all(&bound.user))
}

/// Forgets rules that are gone: their numbers may be given to others.
#[inline(always)]
fn prune(policy: &mut Policy) {
    for index in 0..BOUND_MAX {
        if !stands(policy.rules[index]) {
            policy.rules[index] = 0;
        }
    }
}

/// Adds a rule to a binding, in a place that is free or whose rule is gone. False if there is none.
#[inline(always)]
fn add_rule(policy: &mut Policy, number: u32) -> bool {
    if number == 0 {
        return true;
    }
    for index in 0..BOUND_MAX {
        if policy.rules[index] == number {
            return true;
        }
    }
    for index in 0..BOUND_MAX {
        if !stands(policy.rules[index]) {
            policy.rules[index] = number;
            return true;
        }
    }
    false
}

/// Adds all rules of one binding to another. False if they do not all find a place.
#[inline(always)]
fn add_rules(policy: &mut Policy, more: &Policy) -> bool {
    let mut fits = true;
    for index in 0..BOUND_MAX {
        fits &= add_rule(policy, more.rules[index]);
    }
    fits
}
