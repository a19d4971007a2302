//! Where things lie: the clone, what is built, and the cache that outlives both.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of the clone this xtask was built in (or is run from by cargo).
pub(crate) fn root() -> PathBuf {
    // At run time cargo tells where the clone is now; the compiled-in path is right unless it was moved.
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let candidate = manifest.parent().map(Path::to_path_buf);
    match candidate {
        Some(path) if path.join("xtask/Cargo.toml").is_file() => path,
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
    }
}

/// Cargo's target folder of the workspace.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(PathBuf::from(dir)))
}

/// Tools and downloads that are dear to make and the same for every clone: `$SEKHMET_CACHE`, else
/// `$XDG_CACHE_HOME/sekhmet`, else `~/.cache/sekhmet`. Everything in it can be deleted at any time.
///
/// # Errors
/// When none of the three variables is set.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("SEKHMET_CACHE") {
        return Ok(dir.into());
    }
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
        return Ok(PathBuf::from(dir).join("sekhmet"));
    }
    let home = env::var_os("HOME").context("neither SEKHMET_CACHE nor XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/sekhmet"))
}

/// The architecture whose eBPF object is wanted: `$BPF_ARCH`, else the machine's own.
pub(crate) fn bpf_arch() -> String {
    env::var("BPF_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned())
}

/// The eBPF object that release builds of the helper carry.
pub(crate) fn bpf_object() -> PathBuf {
    target().join("bpf").join(bpf_arch()).join("sekhmet.bpf.o")
}

/// The eBPF object with log records, for debug builds of the helper.
pub(crate) fn bpf_debug_object() -> PathBuf {
    target().join("bpf").join(bpf_arch()).join("sekhmet-debug.bpf.o")
}
