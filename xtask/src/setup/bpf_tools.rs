//! The compiler for eBPF, its LLVM and bpf-linker: what is missing, and how it comes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{apt, install_without_removing};
use crate::bpf::toolchain::{self, Toolchain};
use crate::{paths, shell};

/// The linker that turns LLVM bitcode into an eBPF object. 0.13 knows LLVM 21 to 23.
pub(crate) const LINKER_VERSION: &str = "0.13.0";

/// Debian's pair: a compiler and a `core` precompiled for eBPF, both built from one source.
const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// What is not there yet.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    compiler: bool,
    linker: bool,
}

impl Missing {
    /// Nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        !self.compiler && !self.linker
    }

    /// Whether system packages are needed: the compiler, or LLVM to build the linker with.
    pub(crate) fn needs_packages(&self) -> bool {
        self.compiler || self.linker && !has_llvm()
    }

    /// Whether the package lists offer what is missing.
    pub(super) fn is_known(&self) -> bool {
        !self.compiler || COMPILER_PACKAGES.iter().all(|package| apt::has_candidate(package))
    }

    /// Lines for the list that the person agrees to.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.compiler {
            lines.push(format!("compiler for eBPF: {} (or rustup's rust-src)", COMPILER_PACKAGES.join(" ")));
        }
        if self.linker {
            lines.push(format!(
                "bpf-linker {LINKER_VERSION} from the crate registry, with the compiler's LLVM (llvm-N-dev)"
            ));
        }
        lines
    }
}

/// Looks at what this machine has.
///
/// # Errors
/// When the cache folder cannot be told.
pub(crate) fn missing() -> Result<Missing> {
    Ok(match toolchain::choose_compiler() {
        Ok(toolchain) => Missing { compiler: false, linker: toolchain.linker()?.is_none() },
        Err(_skipped) => Missing { compiler: true, linker: true },
    })
}

/// Whether the development package of the compiler's LLVM is there.
fn has_llvm() -> bool {
    toolchain::choose_compiler()
        .is_ok_and(|toolchain| llvm_prefix(toolchain.llvm_major).join("bin/llvm-config").exists())
}

/// Installs the compiler and LLVM's development package.
///
/// # Errors
/// When neither the distribution nor rustup offers a compiler, or LLVM of its version is not to be had.
pub(crate) fn install(missing: &Missing) -> Result<()> {
    if missing.compiler {
        install_compiler()?;
    }
    if !missing.linker {
        return Ok(());
    }
    let toolchain = toolchain::choose_compiler()?;
    if toolchain.linker()?.is_some() {
        return Ok(());
    }
    let major = toolchain.llvm_major;
    if llvm_prefix(major).join("bin/llvm-config").exists() {
        return Ok(());
    }
    let package = format!("llvm-{major}-dev");
    if !apt::has_candidate(&package) {
        bail!(
            "{} has LLVM {major}, and this distribution has no {package} to build its linker with; \
             choose another compiler with BPF_RUSTC or BPF_TOOLCHAIN",
            toolchain.name
        );
    }
    install_without_removing(&[package])
}

/// Builds bpf-linker into the cache when it is not there.
///
/// # Errors
/// When cargo cannot fetch or build it.
pub(crate) fn finish(missing: &Missing) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let toolchain = toolchain::choose_compiler()?;
    if toolchain.linker()?.is_some() {
        return Ok(());
    }
    build_linker(&toolchain)
}

/// Where Debian and Ubuntu put one major version of LLVM.
pub(crate) fn llvm_prefix(major: u32) -> PathBuf {
    Path::new("/usr/lib").join(format!("llvm-{major}"))
}

fn build_linker(toolchain: &Toolchain) -> Result<()> {
    let major = toolchain.llvm_major;
    let prefix = llvm_prefix(major);
    let into = toolchain::linker_root(major)?;
    shell::say(format!("building bpf-linker {LINKER_VERSION} for LLVM {major} into {}", into.display()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([prefix.join("bin")].into_iter().chain(std::env::split_paths(&path)))?;
    // Its default feature is another LLVM, builds without complaint and fails at every link: name ours.
    let mut install = shell::cargo();
    install
        .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force", "--quiet"])
        .args(["--no-default-features", "--features", &format!("llvm-{major}")])
        .arg("--root")
        .arg(&into)
        .env("LLVM_PREFIX", &prefix)
        .env("PATH", path);
    // Flags meant for the workspace would give a different linker for each caller.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        install.env_remove(name);
    }
    shell::run(&mut install).context("bpf-linker did not build")
}

fn install_compiler() -> Result<()> {
    let packages = COMPILER_PACKAGES.map(str::to_owned);
    if packages.iter().all(|package| apt::has_candidate(package)) {
        let mut wanted = packages.to_vec();
        if let Some(major) = apt::llvm_major_of(COMPILER_PACKAGES[0]) {
            wanted.push(format!("llvm-{major}-dev"));
        }
        // Debian's compilers conflict with one another and with a packaged rustup.
        return match apt::simulate(&wanted) {
            Ok(plan) if plan.removed.is_empty() => install_without_removing(&wanted),
            _ => unpack_compiler(),
        };
    }
    if shell::find("rustup").is_some() {
        shell::say(
            "this distribution has no compiler with a core for eBPF: adding rust-src to rustup's stable",
        );
        return shell::run(Command::new("rustup").args([
            "component",
            "add",
            "rust-src",
            "--toolchain",
            "stable",
        ]));
    }
    bail!("neither the packages {} nor rustup are to be had here", COMPILER_PACKAGES.join(" "))
}

/// The compiler's own packages go into the cache; its LLVM library, which conflicts with nothing, is installed.
fn unpack_compiler() -> Result<()> {
    let package = COMPILER_PACKAGES[0];
    let major = apt::llvm_major_of(package).context("apt does not say which LLVM the compiler uses")?;
    install_without_removing(&[format!("libllvm{major}"), format!("llvm-{major}-dev")])?;
    let depends = shell::output(Command::new("apt-cache").args([
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
        package,
    ]))?;
    let mut packages = COMPILER_PACKAGES.map(str::to_owned).to_vec();
    packages.extend(own_libraries(&depends));
    let into = paths::cache()?.join("rustc-web");
    shell::say(format!(
        "{package} conflicts with an installed package: unpacking it into {} and leaving yours alone",
        into.display()
    ));
    apt::unpack(&packages, &into)
}

/// The compiler's library packages among `apt-cache depends --recurse`: package names stand in the first column.
fn own_libraries(depends: &str) -> Vec<String> {
    let mut names: Vec<String> = depends
        .lines()
        .filter(|line| line.starts_with("libstd-rust-web-"))
        .map(|line| line.trim().split(':').next().unwrap_or_default().to_owned())
        .filter(|name| name != COMPILER_PACKAGES[1])
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_own_libraries_are_told_from_the_rest() {
        let text = "rustc-web\n  Depends: libc6\n  Depends: libstd-rust-web-dev\nlibc6\nlibstd-rust-web-dev\n  \
                    Depends: libstd-rust-web-1.96\nlibstd-rust-web-1.96\n  Depends: libllvm22\nlibllvm22\n";
        assert_eq!(own_libraries(text), ["libstd-rust-web-1.96", "libstd-rust-web-dev"]);
    }

    #[test]
    fn nothing_missing_asks_for_nothing() {
        let nothing = Missing::default();
        assert!(nothing.is_empty() && !nothing.needs_packages() && nothing.lines().is_empty());
        let all = Missing { compiler: true, linker: true };
        assert_eq!(all.lines().len(), 2);
    }
}
