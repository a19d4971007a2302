//! Puts the compiled kernel programs where the crate embeds them, or an empty file when they are not built yet.
//!
//! The object comes from `SEKHMET_BPF_OBJECT`, else from `target/bpf/<arch>/` of the workspace, where
//! `cargo xtask bpf` leaves one for debug builds (with log messages) and one for release builds.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SEKHMET_BPF_OBJECT");
    let target = PathBuf::from(env::var("OUT_DIR")?).join("sekhmet.bpf.o");
    match object()? {
        Some(object) => fs::write(&target, fs::read(object)?)?,
        None => fs::write(&target, [])?,
    }
    Ok(())
}

fn object() -> Result<Option<PathBuf>, Box<dyn Error>> {
    if let Some(path) = env::var_os("SEKHMET_BPF_OBJECT") {
        let path = PathBuf::from(path);
        println!("cargo:rerun-if-changed={}", path.display());
        return Ok(Some(path));
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../target/bpf").join(arch);
    // The folder is watched, not the file: a file that is missing would make every build start anew.
    fs::create_dir_all(&folder)?;
    println!("cargo:rerun-if-changed={}", folder.display());
    let debug = env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_some();
    let names: &[&str] = if debug { &["sekhmet-debug.bpf.o", "sekhmet.bpf.o"] } else { &["sekhmet.bpf.o"] };
    Ok(names.iter().map(|name| folder.join(name)).find(|path| path.is_file()))
}
