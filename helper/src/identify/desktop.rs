//! What a person calls an application, from its `.desktop` file.

use std::{collections::HashMap, fs::File, io::Read, path::PathBuf, time::Instant};

use freedesktop_desktop_entry::DesktopEntry;
use sekhmet_common::display::Text;

/// The most bytes read of a `.desktop` file; translations make some of them large.
const FILE_MAX: usize = 256 * 1024;
/// The most names that are remembered.
const CACHE_MAX: usize = 1_024;
/// How long a name is believed, so that an installed application gets its name soon.
const CACHE_SECS: u64 = 60;
/// The most bytes of a name that are kept.
const NAME_MAX: usize = 256;

/// Names of applications as they were last read.
#[derive(Debug)]
pub(super) struct Desktop {
    folders: Vec<PathBuf>,
    names: HashMap<String, (Option<Text>, Instant)>,
}

impl Desktop {
    /// Reads nothing yet.
    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders, names: HashMap::new() }
    }

    /// The name of the application with this id (its file's name without suffix), in the file's own language.
    pub(super) fn name(&mut self, id: &str) -> Option<Text> {
        if !is_file_name(id) {
            return None;
        }
        if let Some((name, at)) = self.names.get(id)
            && at.elapsed().as_secs() < CACHE_SECS
        {
            return name.clone();
        }
        let name = self.folders.iter().find_map(|folder| read_name(folder.join(format!("{id}.desktop"))));
        if self.names.len() >= CACHE_MAX {
            self.names.clear();
        }
        self.names.insert(id.to_owned(), (name.clone(), Instant::now()));
        name
    }
}

/// Whether an id that a cgroup's name told can name a file in a folder, and nothing else.
fn is_file_name(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@' | ' ' | ':');
    !id.is_empty() && id.len() <= 240 && !id.starts_with('.') && id.chars().all(plain)
}

fn read_name(path: PathBuf) -> Option<Text> {
    let file = File::open(&path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(u64::try_from(FILE_MAX).unwrap_or(u64::MAX)).read_to_string(&mut text).ok()?;
    parse_name(path, &text)
}

fn parse_name(path: PathBuf, text: &str) -> Option<Text> {
    let entry = DesktopEntry::from_str(path, text, None::<&[&str]>).ok()?;
    let name = entry.desktop_entry("Name")?;
    (!name.is_empty() && name.len() <= NAME_MAX).then(|| Text::from(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_found_in_the_first_folder_that_has_it() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let entry = |name: &str| format!("[Desktop Entry]\nType=Application\nName={name}\nName[de]=Anders\n");
        std::fs::write(second.path().join("org.x.App.desktop"), entry("Second")).unwrap();
        let folders = vec![first.path().into(), second.path().into()];
        let mut desktop = Desktop::new(folders.clone());
        assert_eq!(desktop.name("org.x.App").unwrap().shown(), "Second");
        std::fs::write(first.path().join("org.x.App.desktop"), entry("First")).unwrap();
        assert_eq!(desktop.name("org.x.App").unwrap().shown(), "Second", "remembered");
        assert_eq!(Desktop::new(folders).name("org.x.App").unwrap().shown(), "First");
    }

    #[test]
    fn ids_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("secret.desktop"), "[Desktop Entry]\nName=Secret\n").unwrap();
        let mut desktop = Desktop::new(vec![dir.path().join("in")]);
        for id in ["../secret", "", ".", "..", "a/b", "a\0b", "a\nb"] {
            assert_eq!(desktop.name(id), None, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(\\[Desktop Entry\\]\n)?(\\PC{0,20}(=|\n|\\[|\\])){0,12}") {
            let _name = parse_name("/x/a.desktop".into(), &text);
        }
    }
}
