//! Which compiler builds the eBPF object: the candidates in order, what each offers, why one was skipped.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::setup::bpf_tools::LINKER_VERSION;
use crate::{paths, shell};

/// Where a compiler comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A rustc by path, driven by the cargo in use.
    Rustc(PathBuf),
    /// One that was unpacked into the cache folder, with its libraries beside it.
    Unpacked(PathBuf),
    /// A rustup toolchain by name.
    Rustup(String),
}

/// A usable compiler.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// As shown to people.
    pub name: String,
    /// `rustc -vV`, whole: part of what decides whether an object is up to date.
    pub version: String,
    /// Major version of the compiler's LLVM; the linker must have the same.
    pub llvm_major: u32,
    /// Whether a `core` for eBPF is there precompiled; else it is built from source.
    pub has_core: bool,
    source: Source,
}

/// Finds the first usable compiler: `$BPF_RUSTC`, `$BPF_TOOLCHAIN`, the distribution's pair, rustup's stable, rustup's
/// nightly (which may carry a newer LLVM than the distribution has).
///
/// # Errors
/// When there is none; the message says of each why not.
pub(crate) fn choose_compiler() -> Result<Toolchain> {
    let mut why_not = String::new();
    for source in candidates()? {
        match probe(source.clone()) {
            Ok(toolchain) => {
                return Ok(toolchain);
            }
            Err(reason) => {
                let _infallible = write!(why_not, "\n  {}: {reason}", source.name());
            }
        }
    }
    bail!("no compiler for eBPF:{why_not}")
}

/// The same as `choose_compiler`, with the lines about skipped ones for the person.
///
/// # Errors
/// When there is none.
pub(crate) fn choose_and_tell() -> Result<Toolchain> {
    for source in candidates()? {
        match probe(source.clone()) {
            Ok(toolchain) => {
                let (release, llvm) =
                    (field(&toolchain.version, "release:"), field(&toolchain.version, "LLVM version:"));
                shell::say(format!("eBPF compiler: {}: rustc {release}, LLVM {llvm}", toolchain.name));
                return Ok(toolchain);
            }
            Err(reason) => shell::say(format!("eBPF compiler: not {}: {reason}", source.name())),
        }
    }
    choose_compiler()
}

/// Where bpf-linker for one LLVM is kept.
///
/// # Errors
/// When the cache folder cannot be told.
pub(crate) fn linker_root(llvm_major: u32) -> Result<PathBuf> {
    Ok(paths::cache()?.join(format!("bpf-linker-{LINKER_VERSION}-llvm-{llvm_major}")))
}

impl Toolchain {
    /// The linker for this compiler, when it is there and runs: `$BPF_LINKER`, else the one in the cache.
    /// A `bpf-linker` that merely lies on `PATH` is not trusted: with another LLVM inside it fails late and oddly.
    ///
    /// # Errors
    /// When the cache folder cannot be told.
    pub(crate) fn linker(&self) -> Result<Option<PathBuf>> {
        let linker = match env::var_os("BPF_LINKER") {
            Some(path) => path.into(),
            None => linker_root(self.llvm_major)?.join("bin/bpf-linker"),
        };
        let runs = Command::new(&linker).arg("--version").stdin(Stdio::null()).output();
        Ok(runs.is_ok_and(|out| out.status.success()).then_some(linker))
    }

    /// A cargo that compiles with this compiler.
    pub(crate) fn cargo(&self) -> Command {
        match &self.source {
            Source::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]).env_remove("RUSTC");
                command
            }
            Source::Rustc(rustc) => {
                let mut command = Command::new("cargo");
                command.env("RUSTC", rustc);
                command
            }
            Source::Unpacked(root) => {
                let mut command = Command::new("cargo");
                command.env("RUSTC", root.join("usr/bin/rustc")).env("LD_LIBRARY_PATH", library_path(root));
                command
            }
        }
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::Rustc(path) => path.display().to_string(),
            Self::Unpacked(root) => root.join("usr/bin/rustc").display().to_string(),
            Self::Rustup(name) => format!("rustup's {name}"),
        }
    }

    fn rustc(&self) -> Command {
        match self {
            Self::Rustc(path) => Command::new(path),
            Self::Unpacked(root) => {
                let mut command = Command::new(root.join("usr/bin/rustc"));
                command.env("LD_LIBRARY_PATH", library_path(root));
                command
            }
            Self::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "rustc"]);
                command
            }
        }
    }
}

fn candidates() -> Result<Vec<Source>> {
    if let Some(path) = env::var_os("BPF_RUSTC") {
        return Ok(vec![Source::Rustc(path.into())]);
    }
    if let Ok(name) = env::var("BPF_TOOLCHAIN") {
        return Ok(vec![Source::Rustup(name)]);
    }
    Ok(vec![
        Source::Rustc("/usr/bin/rustc".into()),
        Source::Unpacked(paths::cache()?.join("rustc-web")),
        Source::Rustup("stable".into()),
        Source::Rustup("nightly".into()),
    ])
}

fn library_path(root: &Path) -> PathBuf {
    root.join("usr/lib").join(format!("{}-linux-gnu", env::consts::ARCH))
}

fn probe(source: Source) -> Result<Toolchain, String> {
    let ask = |args: &[&str]| {
        // A rustup proxy must not answer for another toolchain than the one asked.
        let out = source.rustc().args(args).env_remove("RUSTUP_TOOLCHAIN").stdin(Stdio::null()).output();
        match out {
            Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            _ => Err("not there".to_owned()),
        }
    };
    let version = ask(&["-vV"])?;
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim());
    let llvm_major = llvm_major(&version).ok_or("it does not tell its LLVM version")?;
    let has_core = sysroot.join("lib/rustlib/bpfel-unknown-none/lib").is_dir();
    if !has_core && !sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
        return Err(format!(
            "rustc {} has neither a core for eBPF nor rust-src",
            field(&version, "release:")
        ));
    }
    Ok(Toolchain { name: source.name(), version, llvm_major, has_core, source })
}

fn field<'a>(version: &'a str, key: &str) -> &'a str {
    version.lines().find_map(|line| line.strip_prefix(key)).map_or("?", str::trim)
}

fn llvm_major(version: &str) -> Option<u32> {
    field(version, "LLVM version:").split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                           release: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn reads_what_rustc_says_of_itself() {
        assert_eq!(field(VERSION, "release:"), "1.96.0");
        assert_eq!(llvm_major(VERSION), Some(22));
        assert_eq!(llvm_major("rustc 1.0\n"), None);
    }

    #[test]
    fn a_compiler_that_is_not_there_is_skipped_with_a_reason() {
        let reason = probe(Source::Rustc("/no/such/rustc".into())).unwrap_err();
        assert_eq!(reason, "not there");
    }
}
