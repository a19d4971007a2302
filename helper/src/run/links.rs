//! Paths without links, followed as the kernel follows them, in a file tree that is not the helper's own.
//!
//! The kernel would do that itself (openat2(2), `RESOLVE_IN_ROOT`), but systemd answers for it that there is no such
//! call (`RestrictSUIDSGID=`): a filter of system calls cannot look into what it is given.

use std::collections::VecDeque;

use sekhmet_common::{display::Text, pattern};

/// As many links as the kernel follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// An absolute path without links; `link` says where a path relative to the root points to, if it is a link. What
/// cannot be followed stays as it is.
pub(super) fn resolved(path: &[u8], link: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Text {
    let mut ahead: VecDeque<Vec<u8>> = pattern::parts(path).map(<[u8]>::to_vec).collect();
    let mut behind: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        match &part[..] {
            b"." => continue,
            b".." => {
                behind.pop();
                continue;
            }
            _ => behind.push(part),
        }
        let Some(target) = link(&behind.join(&b'/')) else { continue };
        links += 1;
        if links > LINKS_MAX {
            return Text::from(path);
        }
        behind.pop();
        if target.starts_with(b"/") {
            behind.clear();
        }
        for part in pattern::parts(&target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(part.to_vec());
        }
    }
    Text::from([b"/", &behind.join(&b'/')[..]].concat())
}
