//! Distribution kernels for the virtual machine: found in the package archive, kept in the cache folder.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::archive::Archive;
use super::modules;
use crate::{paths, shell};

/// In a kernel's folder: the boot image.
const IMAGE: &str = "vmlinuz";

/// In a kernel's folder: its modules.
const MODULES: &str = "modules";

/// A kernel of a distribution.
pub(super) struct Kernel {
    /// Its release, such as `6.1.0-56-amd64`.
    pub(super) release: String,
    /// Its boot image.
    pub(super) image: PathBuf,
    /// Modules, in the order in which they are loaded.
    pub(super) modules: Vec<PathBuf>,
}

/// A Debian kernel of one series (`6.1`, `6.12`), downloaded when it is not in the cache.
///
/// # Errors
/// When the version is not of that form, or no archive offers such a kernel.
pub(super) fn find(series: &str) -> Result<Kernel> {
    if series.is_empty()
        || !series.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    {
        bail!("{series:?} is no kernel version such as 6.1");
    }
    let cache = paths::cache()?.join("kernels").join(series);
    if let Some(cached) = newest_cached(&cache) {
        return Ok(cached);
    }
    let mut why = Vec::new();
    for open in [Archive::own, Archive::debian] {
        match open().and_then(|archive| newest(&archive, series, &cache)) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => why.push(format!("{error:#}")),
        }
    }
    bail!("no linux-image-{series}.*-amd64: {}", why.join("; "))
}

/// The newest kernel of a series that an archive really has.
fn newest(archive: &Archive, series: &str, cache: &Path) -> Result<Kernel> {
    let found = archive.search(&format!("^linux-image-{}\\.", series.replace('.', "\\.")))?;
    let mut why = "the archive offers none".to_owned();
    // It keeps names of versions whose files are gone after a security update: newest first, until one comes.
    for package in matching_packages(&found, series) {
        match download(archive, &package, cache) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => why = format!("{package}: {error:#}"),
        }
    }
    bail!(why)
}

/// Each kernel has a folder that is named after its release and complete as soon as it is there.
fn newest_cached(cache: &Path) -> Option<Kernel> {
    let entries = fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = entries
        .filter(|path| path.extension().is_none_or(|end| end != "part") && path.join(IMAGE).is_file())
        .max_by_key(|path| version_key(&path.to_string_lossy()))?;
    let modules = fs::read_dir(newest.join(MODULES)).ok()?;
    let mut modules: Vec<PathBuf> = modules.filter_map(|entry| Some(entry.ok()?.path())).collect();
    modules.sort();
    let release = newest.file_name()?.to_string_lossy().into_owned();
    Some(Kernel { release, image: newest.join(IMAGE), modules })
}

/// The plain signed kernels of a series among the lines of `apt-cache search`, newest first.
fn matching_packages(found: &str, series: &str) -> Vec<String> {
    let start = format!("linux-image-{series}.");
    let mut packages: Vec<String> = found
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            // `6.1.0-56-amd64` and `6.12.117+deb12-amd64`, but neither `-cloud-`, `-rt-` nor `-unsigned`.
            name.strip_prefix(&start)
                .and_then(|rest| rest.strip_suffix("-amd64"))
                .is_some_and(|rest| !rest.split(['-', '+']).any(|word| matches!(word, "cloud" | "rt")))
        })
        .map(str::to_owned)
        .collect();
    packages.sort_by_key(|name| Reverse(version_key(name)));
    packages
}

/// The numbers in a name, in order: 6.1.0-56 is newer than 6.1.0-9.
fn version_key(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn download(archive: &Archive, package: &str, cache: &Path) -> Result<Kernel> {
    let staging = tempfile::tempdir().context("cannot make a folder for the download")?;
    shell::say(format!("downloading {package}"));
    let file = archive.download(package, staging.path())?;
    let tree = staging.path().join("tree");
    shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&tree))?;
    let image = fs::read_dir(tree.join("boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .context("the package has no boot/vmlinuz-*")?;
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let release = name.trim_start_matches("vmlinuz-");
    let (kept, part) = (cache.join(release), cache.join(format!("{release}.part")));
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot clear {}", part.display()))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    fs::copy(&image, part.join(IMAGE))?;
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| tree.join(folder).join(release));
    let folder = folders.iter().find(|folder| folder.is_dir()).context("the package has no modules")?;
    modules::collect(folder, &part.join(MODULES))?;
    fs::rename(&part, &kept).with_context(|| format!("cannot finish {}", kept.display()))?;
    newest_cached(cache).context("the kernel is not in the cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_plain_kernel_comes_first() {
        let found = "linux-image-6.1.0-9-amd64 - Linux 6.1 for 64-bit PCs\nlinux-image-6.1.0-56-amd64 - x\n\
                     linux-image-6.1.0-56-cloud-amd64 - x\nlinux-image-6.1.0-57-amd64-unsigned - x\n\
                     linux-image-6.12.9+deb12-amd64 - x\nlinux-image-6.1.0-57-rt-amd64 - x\n\
                     linux-image-6.12.117+deb12-amd64 - x\nlinux-image-6.12.118+deb12-rt-amd64 - x\n";
        assert_eq!(
            matching_packages(found, "6.1"),
            ["linux-image-6.1.0-56-amd64", "linux-image-6.1.0-9-amd64"]
        );
        assert_eq!(
            matching_packages(found, "6.12"),
            ["linux-image-6.12.117+deb12-amd64", "linux-image-6.12.9+deb12-amd64"]
        );
    }

    #[test]
    fn a_series_is_digits_and_dots() {
        assert!(find("6.1; rm").is_err());
        assert!(find("").is_err());
        assert!(find("6..1").is_err());
    }
}
