//! Refusals: each counted under its own key, the first also told at once.

use aya_ebpf::bindings::BPF_NOEXIST;
use sekhmet_common::kernel::{RefusalKey, RefusalValue, RefusedRecord, kind, stat};

use crate::{
    maps::{REFUSALS, STATS, add, bump},
    ring,
};

/// Counts one.
#[inline(always)]
pub fn count(key: &RefusalKey, net_ns: u32) {
    let now = ring::now();
    if let Some(value) = REFUSALS.get_ptr_mut(key) {
        unsafe {
            add(&raw mut (*value).count, 1);
            (*value).last_ns = now;
        }
        return;
    }
    let value = RefusalValue { count: 1, first_ns: now, last_ns: now, net_ns, reserved: 0 };
    if REFUSALS.insert(key, &value, BPF_NOEXIST.into()).is_ok() {
        ring::emit(kind::REFUSED, |record: *mut RefusedRecord| unsafe {
            (*record).key = *key;
            (*record).net_ns = net_ns;
            (*record).reserved = 0;
        });
        return;
    }
    // Another CPU was faster with the same, or there is no room.
    match REFUSALS.get_ptr_mut(key) {
        Some(value) => unsafe { add(&raw mut (*value).count, 1) },
        None => {
            bump(&STATS, stat::REFUSAL_MAP_FULL);
        }
    }
}
