//! `cargo xtask fuzz`: builds the fuzz targets with coverage counters and feeds each its corpus, then new inputs.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{paths, shell};

/// The compiler flags that libFuzzer's coverage needs; all of them are stable.
const COVERAGE: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cforce-frame-pointers=yes",
];

/// The largest input; every parser's own limit lies below it or is tried by a unit test.
const INPUT_MAX: u32 = 8192;

/// A single input that takes longer than this is a fault.
const SECONDS_PER_INPUT: u32 = 5;

/// How long each target runs on new inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effort {
    /// Seconds for each target.
    Seconds(u32),
    /// Inputs for each target.
    Inputs(u64),
}

/// Runs every target, or the named one. Gives how many ran.
///
/// # Errors
/// When a target cannot be built, or finds an input that panics, hangs or eats memory; libFuzzer then leaves
/// that input in `fuzz/artifacts/`.
pub(crate) fn run(only: Option<&str>, effort: Effort) -> Result<u64> {
    let built = build()?;
    let mut ran = 0;
    for target in targets()? {
        if only.is_some_and(|name| name != target) {
            continue;
        }
        shell::say(format!("fuzz target {target}"));
        one(&built.join(&target), &target, effort)?;
        ran += 1;
    }
    if ran == 0 {
        bail!("no such target; there are: {}", targets()?.join(", "));
    }
    Ok(ran)
}

fn folder() -> PathBuf {
    paths::root().join("fuzz")
}

/// The target's name is its file's name.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder().join("targets")).context("fuzz/targets")? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|e| e == "rs")) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<PathBuf> {
    // An explicit target keeps the coverage flags away from build scripts and procedural macros.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let out = paths::target().join("fuzz");
    let mut cargo = shell::cargo();
    cargo.args(["build", "--release", "--locked", "--target", &triple, "--target-dir"]).arg(&out);
    cargo.current_dir(folder()).env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
    shell::run(&mut cargo)?;
    Ok(out.join(triple).join("release"))
}

fn one(program: &PathBuf, target: &str, effort: Effort) -> Result<()> {
    let found = paths::target().join("fuzz/found").join(target);
    let artifacts = folder().join("artifacts").join(target);
    for folder in [&found, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = Command::new(program);
    // New inputs go to the first folder; the corpus that is kept is only read.
    command.arg(&found);
    let corpus = folder().join("corpus").join(target);
    if corpus.is_dir() {
        command.arg(corpus);
    }
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([format!("-max_len={INPUT_MAX}"), format!("-timeout={SECONDS_PER_INPUT}")]);
    command.args(["-rss_limit_mb=512", "-verbosity=0", "-print_final_stats=1"]);
    command.arg(match effort {
        Effort::Seconds(seconds) => format!("-max_total_time={seconds}"),
        Effort::Inputs(inputs) => format!("-runs={inputs}"),
    });
    shell::run(&mut command)
}
