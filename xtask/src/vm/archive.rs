//! Where distribution kernels come from: the machine's own package archive, else Debian's, which is asked with lists
//! and keys of its own, so that the machine's apt never hears of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup::apt;
use crate::shell;

/// Debian's keys (package debian-archive-keyring). What they have not signed is not used.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where Debian is when this machine's own sources name no mirror of it: packages, and their security updates.
const MIRRORS: [&str; 2] = ["http://deb.debian.org/debian/", "http://deb.debian.org/debian-security/"];

/// The releases whose kernels are asked for, in both archives.
const SUITES: [&str; 2] = ["bookworm bookworm-backports trixie", "bookworm-security trixie-security"];

/// One view of a package archive.
pub(super) struct Archive {
    /// What is said to every program of apt.
    options: Vec<String>,
    /// Lists, cache and sources of a view that is not the machine's; gone with it.
    _folder: Option<tempfile::TempDir>,
}

impl Archive {
    /// What the machine's own apt offers, with lists that are not old.
    ///
    /// # Errors
    /// When the lists cannot be fetched.
    pub(super) fn own() -> Result<Self> {
        apt::refresh_lists(|| true)?;
        Ok(Self { options: Vec::new(), _folder: None })
    }

    /// What Debian offers in the releases that have a kernel of interest, whatever this machine is.
    ///
    /// # Errors
    /// When Debian's keys are missing, or its archive cannot be reached or is not signed with them.
    pub(super) fn debian() -> Result<Self> {
        if !Path::new(KEYS).is_file() {
            bail!("{KEYS} is missing: install the package debian-archive-keyring");
        }
        let folder = tempfile::tempdir().context("cannot make a folder for package lists")?;
        let at = |name: &str| folder.path().join(name);
        for name in ["lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(at(name)).with_context(|| format!("cannot make {}", at(name).display()))?;
        }
        let sources = at("debian.sources");
        fs::write(&sources, sources_text(&mirrors()))?;
        let set = [
            ("Dir::Etc::sourcelist", sources),
            ("Dir::Etc::sourceparts", at("none")),
            ("Dir::Etc::preferences", at("none/preferences")),
            ("Dir::Etc::preferencesparts", at("none")),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache", at("cache")),
        ];
        let options = set.iter().map(|(key, path)| format!("{key}={}", path.display()));
        // The folder may belong to an ordinary user; nothing here is asked for as root.
        let fixed = [
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
            "Acquire::AllowInsecureRepositories=false",
        ];
        let options = options.chain(fixed.map(str::to_owned)).collect();
        let archive = Self { options, _folder: Some(folder) };
        shell::say("fetching Debian's package lists, for this once");
        shell::run(archive.program("apt-get").args(["update", "-q", "--error-on=any"]))?;
        Ok(archive)
    }

    /// The lines of `apt-cache search` for packages whose names match.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(super) fn search(&self, pattern: &str) -> Result<String> {
        shell::output(self.program("apt-cache").args(["search", "--names-only", pattern]))
    }

    /// Fetches one package, checked against the signed lists, and gives its file.
    ///
    /// # Errors
    /// When it cannot be had or is not what the lists say.
    pub(super) fn download(&self, package: &str, into: &Path) -> Result<PathBuf> {
        let mut apt = self.program("apt-get");
        apt.args(["download", "-q", "-o", "APT::Sandbox::User=root"]);
        shell::run(apt.args(["-o", "APT::Get::AllowUnauthenticated=false", package]).current_dir(into))?;
        fs::read_dir(into)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .context("apt-get download left no file")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The mirrors that this machine's sources name for Debian's two archives, else the usual ones.
fn mirrors() -> [String; 2] {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    mirrors_in(&shell::output(&mut ask).unwrap_or_default())
}

fn mirrors_in(targets: &str) -> [String; 2] {
    let named = |label: &str| {
        let mut uris =
            targets.lines().filter_map(|line| line.split_once(' ').filter(|(first, _)| *first == label));
        uris.find_map(|(_, uri)| uri.starts_with("http").then(|| uri.trim().to_owned()))
    };
    [("Debian", MIRRORS[0]), ("Debian-Security", MIRRORS[1])]
        .map(|(label, usual)| named(label).unwrap_or_else(|| usual.to_owned()))
}

/// The file that sources.list(5) calls deb822.
fn sources_text(mirrors: &[String; 2]) -> String {
    let stanza = |(mirror, suites): (&String, &str)| {
        format!(
            "Types: deb\nURIs: {mirror}\nSuites: {suites}\nComponents: main\nArchitectures: amd64\n\
             Signed-By: {KEYS}\n"
        )
    };
    mirrors.iter().zip(SUITES).map(stanza).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_mirror_is_used_for_what_it_mirrors() {
        let targets = "Debian http://mirror.example/debian/\nDebian http://other.example/\n\
                       Debian-Security file:/media/cdrom/\nUbuntu http://ubuntu.example/\n";
        assert_eq!(mirrors_in(targets), ["http://mirror.example/debian/", MIRRORS[1]]);
        assert_eq!(mirrors_in(""), MIRRORS);
    }

    #[test]
    fn every_source_names_the_keys_it_has_to_be_signed_with() {
        let text = sources_text(&MIRRORS.map(str::to_owned));
        let stanzas: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(stanzas.len(), MIRRORS.len());
        for (stanza, mirror) in stanzas.iter().zip(MIRRORS) {
            assert!(stanza.contains(&format!("URIs: {mirror}\n")), "{stanza}");
            assert!(stanza.contains(&format!("Signed-By: {KEYS}")), "{stanza}");
        }
    }
}
