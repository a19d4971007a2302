//! Distribution kernels for the virtual machine: found in the package archive, kept in the cache folder.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup::apt;
use crate::{paths, shell};

/// The boot image of a Debian kernel of one series (`6.1`, `6.12`), downloaded when it is not in the cache.
///
/// # Errors
/// When the version is not of that form, or the archive offers no such kernel.
pub(super) fn image(series: &str) -> Result<PathBuf> {
    if series.is_empty()
        || !series.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    {
        bail!("{series:?} is no kernel version such as 6.1");
    }
    let cache = paths::cache()?.join("kernels").join(series);
    if let Some(cached) = newest_cached(&cache) {
        return Ok(cached);
    }
    apt::refresh_lists(|| true)?;
    let pattern = format!("^linux-image-{}\\.", series.replace('.', "\\."));
    let found = shell::output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    // The archive keeps names of versions whose files are gone after a security update: newest first, until one comes.
    for package in matching_packages(&found, series) {
        match download(&package, &cache) {
            Ok(image) => return Ok(image),
            Err(error) => shell::say(format!("{package}: {error:#}")),
        }
    }
    bail!("this machine's package archive offers no linux-image-{series}.*-amd64")
}

fn newest_cached(cache: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?;
    let images = entries.filter_map(|entry| Some(entry.ok()?.path()));
    images
        .filter(|path| path.extension().is_none_or(|end| end != "part"))
        .max_by_key(|path| version_key(&path.to_string_lossy()))
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

fn download(package: &str, cache: &Path) -> Result<PathBuf> {
    let staging = tempfile::tempdir().context("cannot make a folder for the download")?;
    shell::say(format!("downloading {package}"));
    shell::run(
        Command::new("apt-get")
            .args(["download", "-q", "-o", "APT::Sandbox::User=root", package])
            .current_dir(staging.path()),
    )?;
    let archive = fs::read_dir(staging.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .context("apt-get download left no file")?;
    let tree = staging.path().join("tree");
    shell::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree))?;
    let image = fs::read_dir(tree.join("boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .context("the package has no boot/vmlinuz-*")?;
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let kept = cache.join(image.file_name().unwrap_or_default());
    let part = kept.with_extension("part");
    fs::copy(&image, &part)?;
    fs::rename(&part, &kept)?;
    Ok(kept)
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
        assert!(image("6.1; rm").is_err());
        assert!(image("").is_err());
        assert!(image("6..1").is_err());
    }
}
