//! Patterns of paths and the paths that they are compared with: the first line is the pattern, the rest the path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_common::pattern::{self, Pattern};

fuzz_target!(|bytes: &[u8]| {
    let (text, path) = match bytes.iter().position(|&b| b == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"/home/anna/.ssh/id_rsa"[..]),
    };
    let parsed = Pattern::parse_watched(text);
    let Ok(pattern) = parsed else {
        assert!(parsed.is_err_and(|error| error.at <= text.len()));
        return;
    };
    let literal = pattern.literal().expect("a watched pattern holds a name");
    assert!(!literal.name.is_empty() && literal.name.len() <= 255 && !literal.name.contains(&b'/'));
    let home: &[u8] = b"/home/anna";
    if pattern.matches(path, Some(home)) {
        // The kernel tells of this path only if it holds that name.
        assert!(pattern::parts(path).any(|part| match literal.is_suffix {
            true => part.ends_with(literal.name),
            false => part == literal.name,
        }));
        assert!(!pattern.is_below_home() || path.len() > home.len());
    }
});
