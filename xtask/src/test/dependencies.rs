//! Dependencies that a manifest names and no source file uses.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::files::rust_files;
use super::metadata;
use super::summary::Outcome;
use crate::{paths, shell};

/// Looks for every dependency's name in the code of its crate. A name that stands nowhere is unused.
pub(super) fn check() -> Result<Outcome> {
    let root = paths::root();
    let files = rust_files(&root)?;
    let mut unused = Vec::new();
    for package in metadata::members()? {
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?.to_path_buf();
        let folder = folder.strip_prefix(fs::canonicalize(&root)?).map(Path::to_path_buf).unwrap_or(folder);
        let mut code = String::new();
        for file in files.iter().filter(|file| file.starts_with(&folder)) {
            code += &fs::read_to_string(root.join(file))
                .with_context(|| format!("cannot read {}", file.display()))?;
        }
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            if !names(&code, &name) {
                unused.push(format!("{}: {} is not used", package.name, dependency.name));
            }
        }
    }
    for line in &unused {
        shell::say(line);
    }
    let failed = unused.len() as u64;
    Ok(if failed == 0 { Outcome::Passed(1) } else { Outcome::Failed { passed: 0, failed } })
}

/// Whether `word` stands in `code` outside of comments, not as part of a longer name.
fn names(code: &str, word: &str) -> bool {
    let is_name = |char: char| char.is_alphanumeric() || char == '_';
    code.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(word)
            .any(|(at, _)| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_as_a_whole_word_of_code() {
        assert!(names("use serde_json::Value;\n", "serde_json"));
        assert!(!names("use serde_json::Value;\n", "serde"));
        assert!(!names("// log is not used\nlet backlog = 1;\n", "log"));
        assert!(names("#[derive(serde::Serialize)]\n", "serde"));
    }
}
