//! `cargo xtask bpf`: builds the eBPF crate into `target/bpf/<arch>/`, release and debug object.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub(crate) mod toolchain;

use crate::setup::bpf_tools;
use crate::{paths, shell};
use toolchain::Toolchain;

/// One of the two objects that are made from the same crate.
#[derive(Debug, Clone, Copy)]
enum Flavour {
    Release,
    /// With log records, which cost about 1,800 verified instructions each.
    Debug,
}

/// Builds both objects, unless neither source nor compiler changed since the last time.
///
/// # Errors
/// When there is no eBPF crate, no compiler, no linker, or the build fails.
pub(crate) fn build() -> Result<()> {
    let source = paths::root().join("ebpf");
    if !source.join("Cargo.toml").is_file() {
        bail!("{} is missing", source.display());
    }
    let toolchain = toolchain::choose_compiler()?;
    let print = fingerprint(&toolchain)?;
    let stamp = paths::bpf_object().with_file_name("stamp");
    let objects = [paths::bpf_object(), paths::bpf_debug_object()];
    if objects.iter().all(|object| object.is_file())
        && fs::read_to_string(&stamp).is_ok_and(|old| old == print)
    {
        return Ok(());
    }
    let toolchain = toolchain::choose_and_tell()?;
    let linker = toolchain.linker()?.context("bpf-linker is missing: run `cargo xtask setup`")?;
    for flavour in [Flavour::Release, Flavour::Debug] {
        let built = compile(&source, &toolchain, &linker, flavour)?;
        let object = match flavour {
            Flavour::Release => paths::bpf_object(),
            Flavour::Debug => paths::bpf_debug_object(),
        };
        publish(&built, &object, toolchain.llvm_major)?;
    }
    fs::write(&stamp, print).with_context(|| format!("cannot write {}", stamp.display()))
}

fn compile(source: &Path, toolchain: &Toolchain, linker: &Path, flavour: Flavour) -> Result<PathBuf> {
    let arch = paths::bpf_arch();
    let target = paths::target().join("bpf-build").join(&arch);
    let mut cargo = toolchain.cargo();
    for name in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(name);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let linker_dir = linker.parent().map(Path::to_path_buf).unwrap_or_default();
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // Without these two the object builds, and the loader finds no BTF in it.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // The object must not depend on where the clone lies.
        format!("--remap-path-prefix={}=.", paths::root().display()),
    ];
    cargo
        .current_dir(source)
        .args(["build", "--release", "--locked", "--target", "bpfel-unknown-none", "--target-dir"])
        .arg(&target)
        .env("PATH", std::env::join_paths([linker_dir].into_iter().chain(std::env::split_paths(&path)))?)
        // aya-ebpf uses unstable features; only this inner cargo may.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("AYA_BPF_TARGET_ARCH", &arch);
    if !toolchain.has_core {
        cargo.arg("-Zbuild-std=core");
    }
    if matches!(flavour, Flavour::Debug) {
        cargo.args(["--features", "log"]);
    }
    shell::run(&mut cargo).context("the eBPF crate does not build")?;
    Ok(target.join("bpfel-unknown-none/release/sekhmet"))
}

/// Puts a built object in its place, stripped of everything but code, maps and BTF. Whole or not at all.
fn publish(built: &Path, object: &Path, llvm_major: u32) -> Result<()> {
    let folder = object.parent().context("an object lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let part = object.with_extension("part");
    fs::copy(built, &part).with_context(|| format!("cannot copy {}", built.display()))?;
    let strip = bpf_tools::llvm_prefix(llvm_major).join("bin/llvm-strip");
    let strip = if strip.exists() { strip } else { "llvm-strip".into() };
    shell::run(Command::new(strip).arg("-g").arg(&part))?;
    let bytes = fs::metadata(&part)?.len();
    fs::rename(&part, object).with_context(|| format!("cannot finish {}", object.display()))?;
    shell::say(format!("{} ({bytes} bytes)", object.display()));
    Ok(())
}

/// Everything that decides what comes out: sources, their lock file, compiler, linker, flags of this build.
fn fingerprint(toolchain: &Toolchain) -> Result<String> {
    let root = paths::root();
    let mut hasher = DefaultHasher::new();
    toolchain.version.hash(&mut hasher);
    (bpf_tools::LINKER_VERSION, env!("CARGO_PKG_VERSION"), include_str!("bpf.rs")).hash(&mut hasher);
    root.hash(&mut hasher);
    let mut files = vec![root.join("Cargo.toml")];
    for folder in ["ebpf", "common"] {
        sources(&root.join(folder), &mut files)?;
    }
    files.sort();
    for file in files {
        file.strip_prefix(&root).unwrap_or(&file).hash(&mut hasher);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != "tests") {
                sources(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_folders_are_no_sources() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("target/x")).unwrap();
        fs::create_dir_all(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("target/x/y.rs"), "").unwrap();
        fs::write(dir.path().join("src/main.rs"), "").unwrap();
        let mut files = Vec::new();
        sources(dir.path(), &mut files).unwrap();
        assert_eq!(files, [dir.path().join("src/main.rs")]);
    }
}
