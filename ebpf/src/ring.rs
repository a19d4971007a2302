//! The way into the ring: reserve, fill, submit, with every record counted.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_ktime_get_boot_ns,
    maps::ring_buf::RingBufEntry,
};
use sekhmet_common::kernel::{Header, WAKEUP_BYTES};

use crate::maps::{EVENTS, LOST, MADE, bump};

/// Makes one record of `kind`. `fill` writes everything behind the header: the ring's memory is not zeroed.
#[inline(always)]
pub fn emit<T: 'static>(kind: u32, fill: impl FnOnce(*mut T)) {
    if let Some(mut entry) = begin::<T>(kind) {
        fill(entry.as_mut_ptr());
        submit(entry);
    }
}

/// Room for one record of `kind`, its header written. Without room, the loss has been counted.
#[inline(always)]
pub fn begin<T: 'static>(kind: u32) -> Option<RingBufEntry<T>> {
    // Made before lost before visible: whoever reads the counters in the opposite order never sees too few made.
    bump(&MADE, kind);
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        bump(&LOST, kind);
        return None;
    };
    let header = Header { kind, length: size_of::<T>() as u32, at_ns: now() };
    // Every record is repr(C) and opens with its header.
    unsafe { entry.as_mut_ptr().cast::<Header>().write(header) };
    Some(entry)
}

/// Hands a record that is filled to the reader.
#[inline(always)]
pub fn submit<T: 'static>(entry: RingBufEntry<T>) {
    entry.submit(wakeup());
}

/// Nanoseconds since boot, suspended time included: the clock of `start_boottime` (helper since Linux 5.8).
#[inline(always)]
pub fn now() -> u64 {
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Leaves the reader to its poll while the ring is far from full: a wake-up costs 70 ns and more per record.
#[inline(always)]
fn wakeup() -> u64 {
    if EVENTS.query(BPF_RB_AVAIL_DATA.into()) > WAKEUP_BYTES {
        BPF_RB_FORCE_WAKEUP.into()
    } else {
        BPF_RB_NO_WAKEUP.into()
    }
}
