//! Whose home a path lies in.

use std::collections::HashMap;

use crate::engine::input::Home;

/// Where homes are by custom. A folder in it is a home even if no user is known to live there: users of a directory
/// service are in no file.
const CUSTOM: &[u8] = b"home";

/// The homes of all users.
#[derive(Debug, Default)]
pub(super) struct Homes {
    by_path: HashMap<Box<[u8]>, Vec<u32>>,
    /// Parts of the deepest home.
    depth_max: usize,
}

/// A home that a path lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<'a> {
    /// How many parts of the path are the home's.
    pub(super) depth: usize,
    /// Who lives there, as far as is known.
    pub(super) uids: &'a [u32],
}

impl Homes {
    pub(super) fn new(homes: Vec<Home>) -> Self {
        let mut all = Self::default();
        for home in homes {
            let parts: Vec<&[u8]> = sekhmet_common::pattern::parts(home.path.as_bytes()).collect();
            // Some daemons live in the root of all files, which is nobody's own.
            if parts.is_empty() || !home.path.as_bytes().starts_with(b"/") {
                continue;
            }
            all.depth_max = all.depth_max.max(parts.len());
            all.by_path.entry(joined(&parts)).or_default().push(home.uid);
        }
        all
    }

    /// Whether it is known where a user lives.
    pub(super) fn has(&self, uid: u32) -> bool {
        self.by_path.values().any(|uids| uids.contains(&uid))
    }

    /// The homes that a path with these parts lies in, the outermost first.
    pub(super) fn around<'a>(&'a self, parts: &'a [&'a [u8]]) -> impl Iterator<Item = At<'a>> {
        let deepest = self.depth_max.max(2).min(parts.len().saturating_sub(1));
        (1..=deepest).filter_map(move |depth| {
            let home = parts.get(..depth)?;
            match self.by_path.get(&joined(home)) {
                Some(uids) => Some(At { depth, uids }),
                None if depth == 2 && home.first() == Some(&CUSTOM) => Some(At { depth, uids: &[] }),
                None => None,
            }
        })
    }
}

fn joined(parts: &[&[u8]]) -> Box<[u8]> {
    parts.join(&b'/').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_in_the_homes_above_it() {
        let home = |uid, path: &str| Home { uid, path: path.into() };
        let homes = Homes::new(vec![
            home(0, "/root"),
            home(1000, "/home/anna/"),
            home(1001, "/data/people/bert"),
            home(1002, "/data/people/bert"),
            home(2, "/"),
            home(3, "relative"),
        ]);
        let around = |path: &str| {
            let parts: Vec<&[u8]> = sekhmet_common::pattern::parts(path.as_bytes()).collect();
            homes.around(&parts).map(|at| (at.depth, at.uids.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(around("/root/.ssh/id_rsa"), [(1, vec![0])]);
        assert_eq!(around("/home/anna/.ssh/id_rsa"), [(2, vec![1000])]);
        assert_eq!(around("/home/carl/.ssh/id_rsa"), [(2, vec![])], "in no passwd file");
        assert_eq!(around("/data/people/bert/x"), [(3, vec![1001, 1002])]);
        assert_eq!(around("/home/anna"), [], "the home itself is not below it");
        assert_eq!(around("/etc/shadow"), []);
    }
}
