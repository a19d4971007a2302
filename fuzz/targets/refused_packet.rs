//! The parser of refused packets: any netlink message, with any packet in it, is left out or becomes one refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_common::time::Timestamp;
use sekhmet_helper::firewall::read_packets;

fuzz_target!(|bytes: &[u8]| {
    let at = Timestamp(0);
    let count = read_packets(bytes, at).filter(|packet| packet.refused.is_some()).count();
    // A header of 16 bytes, and an address each way: no message can be shorter.
    assert!(count <= bytes.len() / 16);
});
