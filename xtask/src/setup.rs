//! `cargo xtask setup`: finds what a command still needs, lists it, and installs it after asking once.
//!
//! Nothing that is installed is ever removed: apt's own simulation is read first, and packages that would
//! push others out are unpacked into the cache folder instead.

use std::env;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub(crate) mod apt;
pub(crate) mod bpf_tools;
pub(crate) mod cargo_tools;
pub(crate) mod table;

use crate::shell;
pub(crate) use table::Purpose;
use table::{Need, Proof};

/// Makes sure that everything for `purposes` is there; `yes` answers the question beforehand.
///
/// # Errors
/// When the person declines, when there is nobody to ask, or when something cannot be installed.
pub(crate) fn ensure(purposes: &[Purpose], yes: bool) -> Result<()> {
    let libraries = known_libraries();
    let needs: Vec<&Need> = table::needs_for(purposes).filter(|need| !is_met(need, &libraries)).collect();
    let bpf = if purposes.contains(&Purpose::Build) {
        bpf_tools::missing()?
    } else {
        bpf_tools::Missing::default()
    };
    let tools = cargo_tools::missing(purposes)?;
    if needs.is_empty() && bpf.is_empty() && tools.is_empty() {
        return Ok(());
    }

    let packages: Vec<&str> = needs.iter().map(|need| need.packages[0]).collect();
    shell::say("this machine still needs:");
    if !packages.is_empty() {
        eprintln!("  system packages: {}", packages.join(" "));
    }
    for line in bpf.lines().into_iter().chain(tools.iter().map(|tool| tool.line())) {
        eprintln!("  {line}");
    }
    if (!packages.is_empty() || bpf.needs_packages()) && !shell::is_root() && shell::find("sudo").is_none() {
        bail!(
            "system packages are installed by root, and there is no sudo here; as root: cargo xtask setup --yes"
        );
    }
    confirm(yes, "Install this now? Nothing installed will be removed.")?;

    if !needs.is_empty() || bpf.needs_packages() {
        install_packages(&needs, &bpf)?;
    }
    bpf_tools::finish(&bpf)?;
    for tool in tools {
        tool.install()?;
    }
    Ok(())
}

/// Whether a line of the table needs no action.
fn is_met(need: &Need, libraries: &str) -> bool {
    let proven = match need.proof {
        Proof::Program(name) => shell::find(name).is_some(),
        Proof::Path(pattern) => path_exists(pattern),
        Proof::Library(name) => libraries.split_whitespace().any(|word| word == name),
    };
    proven || (apt::is_available() && need.packages.iter().any(|package| apt::is_installed(package)))
}

/// Whether a path exists; one `*` may stand for one folder (the architecture's).
fn path_exists(pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once("/*/") else { return Path::new(pattern).exists() };
    std::fs::read_dir(before)
        .is_ok_and(|mut dir| dir.any(|entry| entry.is_ok_and(|entry| entry.path().join(after).exists())))
}

fn known_libraries() -> String {
    let ldconfig = shell::find("ldconfig").unwrap_or_else(|| "ldconfig".into());
    shell::output(Command::new(ldconfig).arg("-p")).unwrap_or_default()
}

/// Asks `question` once, unless the answer is known.
///
/// # Errors
/// When the person declines or there is nobody to ask.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<()> {
    if yes || shell::is_root() || env::var_os("CI").is_some_and(|value| value == "true") {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("there is nobody to ask here; `--yes` answers beforehand");
    }
    eprint!("{question} [Y/n] ");
    std::io::stderr().flush().context("cannot write to the terminal")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => bail!("nothing was done, as you wished"),
    }
}

fn install_packages(needs: &[&Need], bpf: &bpf_tools::Missing) -> Result<()> {
    if !apt::is_available() {
        bail!("no apt here; install what the packages above are called on this system, then start again");
    }
    apt::refresh_lists(|| {
        let is_known = |need: &&Need| need.packages.iter().any(|package| apt::has_candidate(package));
        needs.iter().all(is_known) && bpf.is_known()
    })?;
    let mut packages = Vec::new();
    for need in needs {
        let known = need.packages.iter().find(|package| apt::has_candidate(package));
        let known =
            known.with_context(|| format!("the package archive offers none of {:?}", need.packages))?;
        packages.push((*known).to_owned());
    }
    if !packages.is_empty() {
        install_without_removing(&packages)?;
    }
    bpf_tools::install(bpf)
}

/// Installs `packages`, unless that would remove something.
///
/// # Errors
/// When apt fails or names something it would have to remove.
pub(crate) fn install_without_removing(packages: &[String]) -> Result<()> {
    let plan = apt::simulate(packages)?;
    if !plan.removed.is_empty() {
        bail!("installing {} would remove {}: not done", packages.join(" "), plan.removed.join(" "));
    }
    if !plan.changed.is_empty() {
        shell::say(format!("apt brings a newer version of: {}", plan.changed.join(" ")));
    }
    apt::install(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("x86_64-linux-gnu/dri")).unwrap();
        std::fs::write(dir.path().join("x86_64-linux-gnu/dri/driver.so"), "").unwrap();
        let at = |rest: &str| format!("{}{rest}", dir.path().display());
        assert!(path_exists(&at("/*/dri/driver.so")));
        assert!(!path_exists(&at("/*/dri/other.so")));
        assert!(path_exists(&at("/x86_64-linux-gnu")));
    }

    #[test]
    fn a_library_must_match_as_a_whole_word() {
        let need = Need {
            packages: &["no-such-package-for-sekhmet"],
            proof: Proof::Library("libX11.so.6"),
            purposes: &[Purpose::Window],
        };
        assert!(is_met(&need, "\tlibX11.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libX11.so.6\n"));
        assert!(!is_met(&need, "\tlibX11.so.60 (libc6,x86-64) => /lib/libX11.so.60\n"));
    }
}
