//! The kernel modules that the suite needs: found in an unpacked kernel package, with all they depend on, in the order
//! in which they can be loaded. The virtual machine has no modprobe(8), and packages have no modules.dep(5).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// An interface to the outside, everything that the firewall's table names, and the right to close connections. The
/// first is what libcrc32c looks for without naming it. A kernel that has one of them built in has no file for it.
const WANTED: [&str; 11] = [
    "crc32c_generic",
    "veth",
    "nf_tables",
    "nft_limit",
    "nft_log",
    "nft_objref",
    "nft_reject_inet",
    "nft_socket",
    "nfnetlink_log",
    "tcp_diag",
    "udp_diag",
];

/// Writes the modules under `tree` that are wanted into `into`, named so that they sort in the order of loading.
///
/// # Errors
/// When one cannot be read or unpacked, or names one that is not there.
pub(super) fn collect(tree: &Path, into: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    find(tree, &mut files)?;
    let mut order = Vec::new();
    for name in WANTED.iter().filter(|name| files.contains_key(**name)) {
        visit(
            name,
            &mut |name| read(files.get(name).with_context(|| format!("no module {name}"))?),
            &mut order,
        )?;
    }
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    for (number, (name, content)) in order.iter().enumerate() {
        let file = into.join(format!("{number:02}-{name}.ko"));
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A module's name is that of its file, with `_` for `-` (modprobe(8)).
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().replace('-', "_"));
        if entry.file_type()?.is_dir() {
            find(&path, files)?;
        } else if let Some((name, "" | ".xz" | ".zst" | ".gz")) = name.split_once(".ko") {
            files.insert(name.to_owned(), path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    let mut unpack = Command::new(program);
    let out = unpack.arg("-dc").arg(file).output().with_context(|| format!("cannot start {program}"))?;
    if !out.status.success() {
        bail!("`{}` failed: {}", shell::shown(&unpack), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(out.stdout)
}

/// Puts a module behind those that it depends on. The kernel's build refuses circles.
fn visit(
    name: &str,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if order.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let content = read(name)?;
    for other in depends(&content) {
        visit(&other, read, order)?;
    }
    order.push((name.to_owned(), content));
    Ok(())
}

/// What stands behind `depends=` in the section `.modinfo`, a list of strings that end with NUL.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(depends: &str) -> Vec<u8> {
        format!("\x7fELF license=GPL\0depends={depends}\0retpoline=Y\0").into_bytes()
    }

    #[test]
    fn what_a_module_depends_on_comes_before_it_once() {
        let files = [("a", "b,c"), ("b", "c"), ("c", ""), ("d", "c")];
        let mut order = Vec::new();
        for name in ["a", "d"] {
            let mut read = |name: &str| {
                let (_, depends) = files.iter().find(|(known, _)| *known == name).unwrap();
                Ok(module(depends))
            };
            visit(name, &mut read, &mut order).unwrap();
        }
        assert_eq!(order.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c", "b", "a", "d"]);
        assert!(depends(b"no module").is_empty());
    }

    #[test]
    fn modules_are_found_by_name_however_they_are_packed() {
        let (tree, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = tree.path().join("kernel/net");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("nf_tables.ko"), module("nfnet-link").as_slice()).unwrap();
        fs::write(folder.join("other.ko"), module("")).unwrap();
        let lost = collect(tree.path(), &into.path().join("none")).unwrap_err();
        assert_eq!(lost.to_string(), "no module nfnet-link");
        fs::write(folder.join("nf_tables.ko"), module("nfnet_link").as_slice()).unwrap();
        fs::write(folder.join("nfnet-link.ko"), module("")).unwrap();
        let status = Command::new("gzip").arg(folder.join("nf_tables.ko")).status().unwrap();
        assert!(status.success());
        collect(tree.path(), into.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(into.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["00-nfnet_link.ko", "01-nf_tables.ko"]);
        assert_eq!(fs::read(into.path().join("01-nf_tables.ko")).unwrap(), module("nfnet_link"));
    }
}
