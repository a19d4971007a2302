//! What every source file owes its reader: an opening sentence and a bounded length.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::summary::Outcome;
use crate::{paths, shell};

/// A file this long (tests not counted) has more than one subject.
const MAX_LINES: usize = 400;

/// Checks every Rust file that git knows or would add.
pub(super) fn check() -> Result<Outcome> {
    let root = paths::root();
    let files = rust_files(&root)?;
    let mut errors = Vec::new();
    for file in &files {
        let text =
            fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        errors.extend(faults(&text).into_iter().map(|fault| format!("{}: {fault}", file.display())));
    }
    for error in &errors {
        shell::say(error);
    }
    let failed = errors.len() as u64;
    Ok(if failed == 0 { Outcome::Passed(1) } else { Outcome::Failed { passed: 0, failed } })
}

/// Rust files of the clone, relative to its root. Without git (an unpacked archive) the folders are read.
pub(super) fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
        "--",
        "*.rs",
    ]);
    let mut files: Vec<PathBuf> = match shell::output(&mut git) {
        Ok(text) => text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect(),
        Err(_) => {
            let mut found = Vec::new();
            walk(root, &mut found)?;
            found.iter().filter_map(|file| file.strip_prefix(root).ok().map(Path::to_path_buf)).collect()
        }
    };
    files.retain(|file| root.join(file).is_file());
    files.sort();
    Ok(files)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&path, found)?;
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let opening: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    if !opening.last().is_some_and(|line| line.ends_with(['.', ':'])) {
        faults.push("does not open with `//!` and a sentence that says what it owns".to_owned());
    }
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    if lines > MAX_LINES {
        faults.push(format!("{lines} lines without its tests; split at {MAX_LINES}"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_sentence_may_wrap_and_must_end() {
        assert!(faults("//! Owns this\n//! and that.\n//!\n//! More\n\nuse x;\n").is_empty());
        assert_eq!(faults("//! Owns this\n\nuse x;\n").len(), 1);
        assert_eq!(faults("use x;\n").len(), 1);
        assert_eq!(faults("").len(), 1);
    }

    #[test]
    fn tests_do_not_count_towards_the_length() {
        let code = "//! Owns it.\n".to_owned() + &"x\n".repeat(MAX_LINES - 1);
        assert!(faults(&code).is_empty());
        assert_eq!(faults(&(code.clone() + "y\n")).len(), 1);
        assert!(faults(&(code + "#[cfg(test)]\n" + &"t\n".repeat(100))).is_empty());
    }
}
