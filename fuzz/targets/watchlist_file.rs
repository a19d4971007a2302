//! The file of the watchlist and that of seen programs: what is read can be watched, and is never taken twice.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use sekhmet_helper::{store::watchlist, watchlist::defaults};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let defaults = defaults().expect("a test makes sure");
    if let Ok(list) = watchlist::parse(text, &defaults) {
        let mut ids = BTreeSet::new();
        for entry in &list.entries {
            assert!(entry.check().is_ok() && ids.insert(entry.id) && entry.id.0 < list.next_id);
        }
        assert!(list.entries.len() >= defaults.len());
    }
    let _seen = watchlist::parse_seen(text);
});
