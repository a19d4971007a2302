//! The reader of recorded logs: any line is refused or told again as the same event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_common::log;

fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let Ok(event) = log::from_line(line) else { return };
    let told = log::to_json(&event).expect("an event can be told in JSON").to_string();
    assert_eq!(log::from_line(&told).expect("what was told can be read"), event);
});
