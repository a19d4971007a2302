//! The decoder of event frames: whatever a socket delivers is refused or comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_common::{mirror::Mirror, time::Timestamp, wire};

fuzz_target!(|bytes: &[u8]| {
    let Ok(events) = wire::decode(bytes) else { return };
    let again: Vec<_> = wire::encode(&events)
        .expect("what was decoded from one frame can be encoded")
        .iter()
        .flat_map(|frame| wire::decode(frame).expect("what was encoded can be decoded"))
        .collect();
    assert_eq!(again, events);
    let mut mirror = Mirror::new();
    events.iter().for_each(|event| mirror.apply(event));
    let mut copy = Mirror::new();
    mirror.replicate(Timestamp(0)).iter().for_each(|event| copy.apply(event));
    assert_eq!(copy.flows().count(), mirror.flows().count());
});
