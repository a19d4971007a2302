//! The way into the ring: reserve, fill, submit, with every record counted.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_ktime_get_boot_ns,
    maps::ring_buf::RingBufEntry,
};
use sekhmet_common::kernel::{Header, WAKEUP_BYTES};

use crate::maps::{EVENTS, LOST, MADE, bump};

/// Of how many records of a kind on a processor one looks how full the ring is: even on 64 processors less than the
/// room above the mark is filled before each has looked.
const LOOK_EVERY: u64 = 16;

/// A record that is being filled.
pub struct Entry<T: 'static> {
    room: RingBufEntry<T>,
    flags: u64,
}

impl<T: 'static> Entry<T> {
    /// Where the record is. The header is written; everything behind it must be: the ring's memory is not zeroed.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.room.as_mut_ptr()
    }

    /// Hands the filled record to the reader.
    #[inline(always)]
    pub fn submit(self) {
        self.room.submit(self.flags);
    }
}

/// Makes one record of `kind`. `fill` writes everything behind the header.
#[inline(always)]
pub fn emit<T: 'static>(kind: u32, fill: impl FnOnce(*mut T)) {
    if let Some(mut entry) = begin::<T>(kind, now()) {
        fill(entry.as_mut_ptr());
        entry.submit();
    }
}

/// As [`emit`]; what `is_urgent` wakes the reader.
#[inline(always)]
pub fn emit_soon<T: 'static>(kind: u32, is_urgent: bool, fill: impl FnOnce(*mut T)) {
    if let Some(mut entry) = begin::<T>(kind, now()) {
        fill(entry.as_mut_ptr());
        if is_urgent {
            entry.flags = BPF_RB_FORCE_WAKEUP.into();
        }
        entry.submit();
    }
}

/// Room for one record of `kind`. Without room, the loss has been counted.
#[inline(always)]
pub fn begin<T: 'static>(kind: u32, at_ns: u64) -> Option<Entry<T>> {
    // Made before lost before visible: whoever reads the counters in the opposite order never sees too few made.
    let before = bump(&MADE, kind);
    let Some(mut room) = EVENTS.reserve::<T>(0) else {
        bump(&LOST, kind);
        return None;
    };
    let header = Header { kind, length: size_of::<T>() as u32, at_ns };
    // Every record is repr(C) and opens with its header.
    unsafe { room.as_mut_ptr().cast::<Header>().write(header) };
    // The reader is left to its poll while the ring is far from full: a wake-up costs 70 ns and more per record.
    let is_full = before % LOOK_EVERY == 0 && EVENTS.query(BPF_RB_AVAIL_DATA.into()) > WAKEUP_BYTES;
    let flags = if is_full { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    Some(Entry { room, flags: flags.into() })
}

/// Nanoseconds since boot, suspended time included: the clock of `start_boottime` (helper since Linux 5.8).
#[inline(always)]
pub fn now() -> u64 {
    unsafe { bpf_ktime_get_boot_ns() }
}
