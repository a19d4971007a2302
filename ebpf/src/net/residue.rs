//! Bytes that belong to no flow: kept per process, so that totals stay exact.

use aya_ebpf::bindings::BPF_NOEXIST;
use sekhmet_common::kernel::{ProcessKey, Residue, stat};

use crate::maps::{RESIDUES, STATS, add, bump};

/// Adds bytes to a process's residue.
#[inline(always)]
pub fn keep(process: &ProcessKey, tx_bytes: u64, rx_bytes: u64) {
    if tx_bytes == 0 && rx_bytes == 0 {
        return;
    }
    let mut slot = RESIDUES.get_ptr_mut(process);
    if slot.is_none() {
        // Another CPU may be faster; then this fails and the look-up below finds the other's.
        _ = RESIDUES.insert(process, Residue { tx_bytes: 0, rx_bytes: 0 }, BPF_NOEXIST.into());
        slot = RESIDUES.get_ptr_mut(process);
    }
    match slot {
        Some(residue) => unsafe {
            add(&raw mut (*residue).tx_bytes, tx_bytes);
            add(&raw mut (*residue).rx_bytes, rx_bytes);
        },
        None => {
            bump(&STATS, stat::RESIDUE_MAP_FULL);
        }
    }
}
