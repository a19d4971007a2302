//! Which of the project's files goes where on a system.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// One file of an installation.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it goes, as an absolute path of the installed system.
    pub place: PathBuf,
    /// Where its content comes from.
    pub source: Source,
    /// Its permissions.
    pub mode: u32,
}

/// Where an installed file's content comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// This file as it is.
    File(PathBuf),
    /// A text that was made for this prefix.
    Text(String),
}

impl Source {
    /// The bytes to be placed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn content(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => fs::read(path).with_context(|| format!("cannot read {}", path.display())),
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

/// Programs, by the folder below the prefix that they go to.
const PROGRAMS: [(&str, &str); 3] =
    [("sekhmet", "bin"), ("sekhmetctl", "bin"), ("sekhmet-helper", "libexec")];

/// Data files of the clone and where they go below the prefix.
const DATA: [(&str, &str); 8] = [
    ("packaging/sekhmet.sysusers", "lib/sysusers.d/sekhmet.conf"),
    ("assets/org.sekhmet.Sekhmet.desktop", "share/applications/org.sekhmet.Sekhmet.desktop"),
    ("assets/org.sekhmet.Sekhmet.metainfo.xml", "share/metainfo/org.sekhmet.Sekhmet.metainfo.xml"),
    (
        "assets/icons/hicolor/scalable/apps/org.sekhmet.Sekhmet.svg",
        "share/icons/hicolor/scalable/apps/org.sekhmet.Sekhmet.svg",
    ),
    (
        "assets/icons/hicolor/symbolic/apps/org.sekhmet.Sekhmet-symbolic.svg",
        "share/icons/hicolor/symbolic/apps/org.sekhmet.Sekhmet-symbolic.svg",
    ),
    ("LICENSE", "share/licenses/sekhmet/LICENSE"),
    ("assets/fonts/IBMPlex-LICENSE.txt", "share/licenses/sekhmet/IBMPlex-LICENSE.txt"),
    ("assets/fonts/Phosphor-LICENSE.txt", "share/licenses/sekhmet/Phosphor-LICENSE.txt"),
];

/// Texts in which `@libexecdir@` stands for the folder of the helper.
const TEMPLATES: [(&str, &str); 2] = [
    ("packaging/sekhmet.service", "lib/systemd/system/sekhmet.service"),
    ("dbus/org.sekhmet.Helper1.service", "share/dbus-1/system-services/org.sekhmet.Helper1.service"),
];

/// polkit and the message bus look for these in one place only, whatever the prefix is.
const FIXED: [(&str, &str); 2] = [
    ("dbus/org.sekhmet.Helper1.conf", "/usr/share/dbus-1/system.d/org.sekhmet.Helper1.conf"),
    ("polkit/org.sekhmet.helper.policy", "/usr/share/polkit-1/actions/org.sekhmet.helper.policy"),
];

/// Every file of an installation with this prefix and the programs of this folder, sorted by place.
///
/// # Errors
/// When a program or one of the project's files is missing.
pub(super) fn entries(prefix: &Path, programs: &Path) -> Result<Vec<Entry>> {
    let root = paths::root();
    let mut entries = Vec::new();
    for (name, folder) in PROGRAMS {
        let place = prefix.join(folder).join(name);
        entries.push(Entry { place, source: Source::File(programs.join(name)), mode: 0o755 });
    }
    for (file, place) in DATA {
        entries.push(Entry { place: prefix.join(place), source: Source::File(root.join(file)), mode: 0o644 });
    }
    for (file, place) in FIXED {
        entries.push(Entry { place: place.into(), source: Source::File(root.join(file)), mode: 0o644 });
    }
    for file in interfaces(&root.join("dbus"))? {
        let place = prefix.join("share/dbus-1/interfaces").join(file.file_name().unwrap_or_default());
        entries.push(Entry { place, source: Source::File(file), mode: 0o644 });
    }
    let libexec = prefix.join("libexec").display().to_string();
    for (file, place) in TEMPLATES {
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
        let text = text.replace("@libexecdir@", &libexec);
        entries.push(Entry { place: prefix.join(place), source: Source::Text(text), mode: 0o644 });
    }
    for entry in &entries {
        if let Source::File(path) = &entry.source
            && !path.is_file()
        {
            bail!("{} is missing", path.display());
        }
    }
    entries.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(entries)
}

/// The descriptions of the bus interfaces.
fn interfaces(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "xml") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, _) in PROGRAMS {
            fs::write(dir.path().join(name), name).unwrap();
        }
        dir
    }

    #[test]
    fn the_unit_and_the_activation_file_name_the_helper_below_the_prefix() {
        let programs = programs();
        for entry in entries(Path::new("/opt/s"), programs.path()).unwrap() {
            let text = String::from_utf8(entry.source.content().unwrap()).unwrap();
            let name = entry.place.file_name().unwrap().to_str().unwrap();
            assert!(!text.contains("@libexecdir@"), "{name}");
            match name {
                "sekhmet.service" => assert!(text.contains("ExecStart=/opt/s/libexec/sekhmet-helper\n")),
                "org.sekhmet.Helper1.service" => {
                    assert!(text.contains("Exec=/opt/s/libexec/sekhmet-helper\n"));
                    assert!(text.contains("SystemdService=sekhmet.service\n"));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let programs = programs();
        fs::remove_file(programs.path().join("sekhmetctl")).unwrap();
        let error = entries(Path::new("/usr"), programs.path()).unwrap_err().to_string();
        assert!(error.ends_with("sekhmetctl is missing"), "{error}");
    }
}
