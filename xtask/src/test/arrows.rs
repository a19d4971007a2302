//! The arrows between crates and modules: who may know whom.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::files::rust_files;
use super::metadata::{self, Package};
use super::summary::Outcome;
use crate::{paths, shell};

/// Which of the project's own crates a crate may depend on.
struct CrateRule {
    name: &'static str,
    may_use: &'static [&'static str],
    /// In tests also these.
    tests_may_use: &'static [&'static str],
}

const CRATES: &[CrateRule] = &[
    CrateRule { name: "sekhmet-common", may_use: &[], tests_may_use: &[] },
    CrateRule {
        name: "sekhmet-helper",
        may_use: &["sekhmet-common"],
        tests_may_use: &["sekhmet-testkit", "sekhmet-client", "sekhmet-helper"],
    },
    CrateRule { name: "sekhmet-client", may_use: &["sekhmet-common"], tests_may_use: &["sekhmet-testkit"] },
    CrateRule {
        name: "sekhmet",
        may_use: &["sekhmet-client", "sekhmet-common"],
        tests_may_use: &["sekhmet-testkit"],
    },
    CrateRule {
        name: "sekhmet-ctl",
        may_use: &["sekhmet-client", "sekhmet-common"],
        tests_may_use: &["sekhmet-testkit"],
    },
    CrateRule { name: "sekhmet-testkit", may_use: &["sekhmet-common", "sekhmet-client"], tests_may_use: &[] },
    CrateRule { name: "xtask", may_use: &[], tests_may_use: &[] },
];

/// Files that must not name certain things: a path begins with one of `files`, and none of `words` may stand in its code.
struct WordRule {
    files: &'static [&'static str],
    but_not: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const WORDS: &[WordRule] = &[
    WordRule {
        files: &["helper/src/engine"],
        but_not: &[],
        words: &[
            "crate::kernel",
            "crate::bus",
            "crate::seed",
            "crate::identify",
            "crate::firewall",
            "crate::history",
        ],
        why: "the engine knows `common` only",
    },
    WordRule {
        files: &["helper/src/kernel"],
        but_not: &[],
        words: &["crate::bus", "crate::firewall", "crate::history"],
        why: "edges of the helper do not know one another",
    },
    WordRule {
        files: &["helper/src/bus"],
        but_not: &[],
        words: &["crate::kernel", "crate::firewall", "crate::history"],
        why: "edges of the helper do not know one another",
    },
    WordRule {
        files: &["helper/src/firewall"],
        but_not: &[],
        words: &["crate::kernel", "crate::bus", "crate::history"],
        why: "edges of the helper do not know one another",
    },
    WordRule {
        files: &["helper/src/history"],
        but_not: &[],
        words: &["crate::kernel", "crate::bus", "crate::firewall"],
        why: "edges of the helper do not know one another",
    },
    WordRule {
        files: &["gui/src/view", "gui/src/widget"],
        but_not: &[],
        words: &["sekhmet_client"],
        why: "views and widgets see the model, never the client",
    },
    WordRule {
        files: &["common/src/", "helper/src/", "client/src/", "gui/src/", "ctl/src/", "testkit/src/"],
        but_not: &["common/src/wire.rs"],
        words: &["bincode::"],
        why: "common/src/wire.rs alone names bincode",
    },
    WordRule {
        files: &["common/src/"],
        but_not: &[],
        words: &[
            "std::fs",
            "std::process",
            "std::env",
            "std::thread",
            "std::net::TcpStream",
            "std::net::UdpSocket",
        ],
        why: "common does no input or output",
    },
];

/// Checks both kinds of rules.
pub(super) fn check() -> Result<Outcome> {
    let root = paths::root();
    let members = metadata::members()?;
    let mut errors = wrong_crates(&members);
    let files = rust_files(&root)?;
    for file in &files {
        let text =
            fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        errors.extend(wrong_words(file, &text));
    }
    for error in &errors {
        shell::say(error);
    }
    let failed = errors.len() as u64;
    Ok(if failed == 0 { Outcome::Passed(1) } else { Outcome::Failed { passed: 0, failed } })
}

fn wrong_crates(members: &[Package]) -> Vec<String> {
    let own: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let mut errors = Vec::new();
    for package in members {
        let Some(rule) = CRATES.iter().find(|rule| rule.name == package.name) else {
            errors.push(format!(
                "{}: no rule says which crates it may use (xtask/src/test/arrows.rs)",
                package.name
            ));
            continue;
        };
        for dependency in
            package.dependencies.iter().filter(|dependency| own.contains(dependency.name.as_str()))
        {
            let name = dependency.name.as_str();
            let in_tests = dependency.kind.as_deref() == Some("dev");
            let is_allowed = rule.may_use.contains(&name) || in_tests && rule.tests_may_use.contains(&name);
            if !is_allowed {
                errors.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    errors
}

fn wrong_words(file: &Path, text: &str) -> Vec<String> {
    let shown = file.to_string_lossy();
    let mut errors = Vec::new();
    let rules = WORDS.iter().filter(|rule| {
        rule.files.iter().any(|start| shown.starts_with(start)) && !rule.but_not.contains(&shown.as_ref())
    });
    for rule in rules {
        for (number, line) in code_lines(text) {
            for path in named_paths(line) {
                if rule.words.iter().any(|word| is_below(&path, word)) {
                    errors.push(format!("{shown}:{number}: `{path}`: {}", rule.why));
                }
            }
        }
    }
    errors
}

/// The lines before the tests at the foot, without comments, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// The paths that a line of code names, with a group (`crate::{bus, kernel::Ring}`) spelled out one level deep.
fn named_paths(line: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let is_path_char = |char: char| char.is_alphanumeric() || char == '_' || char == ':';
    let mut rest = line;
    while let Some(start) = rest.find(|char: char| char.is_alphabetic() || char == '_') {
        let tail = &rest[start..];
        let end = tail.find(|char| !is_path_char(char)).unwrap_or(tail.len());
        let path = &tail[..end];
        rest = &tail[end..];
        if path.ends_with("::") && rest.starts_with('{') {
            let group = rest[1..].split('}').next().unwrap_or_default();
            let heads = group.split([',', '{']).map(str::trim).filter(|item| !item.is_empty());
            paths.extend(heads.map(|item| format!("{path}{item}")));
        }
        paths.push(path.to_owned());
    }
    paths
}

/// Whether `path` is `word` or something inside it. A word that ends in `::` stands for everything below it.
fn is_below(path: &str, word: &str) -> bool {
    match path.strip_prefix(word) {
        Some(rest) => word.ends_with("::") || rest.is_empty() || rest.starts_with("::"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::metadata::Dependency;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                rename: None,
                kind: kind.map(str::to_owned),
            })
            .collect();
        Package { name: name.to_owned(), manifest_path: "Cargo.toml".into(), dependencies }
    }

    #[test]
    fn nothing_depends_on_the_helper_but_its_own_tests() {
        let members = [
            package("sekhmet-helper", &[("sekhmet-common", None), ("sekhmet-client", Some("dev"))]),
            package("sekhmet-common", &[]),
            package("sekhmet-client", &[("sekhmet-common", None), ("sekhmet-helper", Some("dev"))]),
        ];
        assert_eq!(wrong_crates(&members), ["sekhmet-client must not depend on sekhmet-helper"]);
    }

    #[test]
    fn a_new_crate_needs_a_rule() {
        let errors = wrong_crates(&[package("sekhmet-extra", &[])]);
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn forbidden_paths_are_found_in_code_only() {
        let file = Path::new("helper/src/engine/flows.rs");
        let text = "//! About crate::kernel.\nuse crate::engine::Input;\nuse crate::{bus::Stream, engine};\n\
                    // crate::kernel\nfn f() { crate::kernel::now(); crate::kernels(); }\n#[cfg(test)]\nuse crate::kernel;\n";
        let errors = wrong_words(file, text);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("helper/src/engine/flows.rs:3: `crate::bus::Stream`"), "{errors:?}");
        assert!(errors[1].starts_with("helper/src/engine/flows.rs:5: `crate::kernel::now`"), "{errors:?}");
    }

    #[test]
    fn only_the_wire_names_bincode() {
        let text = "use bincode::config;\n";
        assert_eq!(wrong_words(Path::new("common/src/wire.rs"), text).len(), 0);
        assert_eq!(wrong_words(Path::new("client/src/link.rs"), text).len(), 1);
    }
}
