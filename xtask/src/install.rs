//! `cargo xtask install` and `uninstall`: what a package would place on the system, and how it goes again.

use std::env;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

mod files;
mod layout;
mod manifest;
mod system;

use crate::setup::{self, Purpose};
use crate::{build, shell};
use files::Conflict;
use manifest::Manifest;

/// Where things go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// Place everything below this folder, as packagers do; nothing on the running system is touched
    #[arg(long, value_name = "DIR")]
    pub destdir: Option<PathBuf>,
    /// The folder for programs and data
    #[arg(long, value_name = "DIR", default_value = "/usr")]
    pub prefix: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// How to install.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where things go.
    #[command(flatten)]
    pub target: Target,
    /// Place the programs from this folder instead of building them
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Also replace files that are there and were not placed by an earlier installation
    #[arg(long)]
    pub replace: bool,
}

impl Target {
    fn root(&self) -> Result<PathBuf> {
        match &self.destdir {
            Some(dir) => std::path::absolute(dir).context("cannot tell where the destination is"),
            None => Ok(PathBuf::from("/")),
        }
    }

    /// A prefix is a plain absolute path: it also goes into the unit file.
    fn checked_prefix(&self) -> Result<&Path> {
        let text = self.prefix.to_str().context("the prefix is not valid UTF-8")?;
        let is_plain =
            self.prefix.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
                && text.chars().all(|char| char.is_ascii_alphanumeric() || "/._+-".contains(char));
        if !self.prefix.is_absolute() || !is_plain {
            bail!("the prefix must be an absolute path of letters, digits and any of / . _ + -");
        }
        Ok(&self.prefix)
    }

    /// Whether the services of the running system are told.
    fn is_running_system(&self) -> bool {
        self.destdir.is_none()
    }

    /// The same wish, to be carried out by root.
    fn as_root(&self, command: &str) -> Result<std::process::Command> {
        let mut again = shell::as_root(env::current_exe().context("cannot tell where xtask lies")?);
        again.args([command, "--yes", "--prefix"]).arg(&self.prefix);
        Ok(again)
    }
}

/// Builds the programs unless they are given, places everything, and tells the running system.
///
/// # Errors
/// When the build fails, a foreign file is in the way, the person declines, or a file cannot be written.
pub(crate) fn install(options: &Options) -> Result<()> {
    let (target, root) = (&options.target, options.target.root()?);
    let prefix = target.checked_prefix()?;
    let programs = match &options.from {
        Some(folder) => std::path::absolute(folder)?,
        None => {
            setup::ensure(&[Purpose::Build], target.yes)?;
            build::all(false)?
        }
    };
    let entries = layout::entries(prefix, &programs)?;
    let earlier = Manifest::read(&root, prefix)?.unwrap_or_default();
    let conflicts = files::conflicts(&root, &entries, &earlier)?;
    refuse_conflicts(&conflicts, options.replace)?;
    tell_plan(&entries, target, &conflicts);
    if target.is_running_system() {
        setup::confirm(target.yes, "Install this now?")?;
    }
    if target.is_running_system() && !shell::is_root() {
        let mut again = target.as_root("install")?;
        again.arg("--from").arg(&programs);
        if options.replace {
            again.arg("--replace");
        }
        return shell::run(&mut again);
    }
    let placed = files::place(&root, prefix, &entries, &earlier)?;
    let file = placed.write(&root, prefix)?;
    shell::say(format!("{} files; what they are stands in {}", placed.file_count(), file.display()));
    if target.is_running_system() {
        system::after_install(prefix)?;
    }
    Ok(())
}

/// Removes exactly what an installation placed.
///
/// # Errors
/// When nothing is installed there, the person declines, or a file cannot be removed.
pub(crate) fn uninstall(target: &Target, purge: bool) -> Result<()> {
    let root = target.root()?;
    let prefix = target.checked_prefix()?;
    let Some(manifest) = Manifest::read(&root, prefix)? else {
        bail!("Sekhmet is not installed there: there is no {}", Manifest::place(&root, prefix).display());
    };
    shell::say(format!(
        "{} files that an installation placed below {} will be removed",
        manifest.file_count(),
        root.join(prefix.strip_prefix("/").unwrap_or(prefix)).display()
    ));
    if target.is_running_system() {
        setup::confirm(target.yes, "Remove them now?")?;
    }
    if target.is_running_system() && !shell::is_root() {
        let mut again = target.as_root("uninstall")?;
        if purge {
            again.arg("--purge");
        }
        return shell::run(&mut again);
    }
    if target.is_running_system() {
        system::before_uninstall()?;
    }
    let kept = files::remove(&root, prefix, &manifest)?;
    for file in &kept {
        shell::say(format!("{} was changed after the installation and stays", file.display()));
    }
    if target.is_running_system() {
        system::after_uninstall(prefix, purge)?;
    }
    Ok(())
}

fn refuse_conflicts(conflicts: &[Conflict], replace: bool) -> Result<()> {
    if conflicts.is_empty() || replace && conflicts.iter().all(|conflict| conflict.is_file) {
        return Ok(());
    }
    for conflict in conflicts {
        shell::say(format!("in the way: {}", conflict.path.display()));
    }
    bail!(
        "no installation of Sekhmet placed these as they are now; `--replace` replaces them where they are files"
    );
}

fn tell_plan(entries: &[layout::Entry], target: &Target, conflicts: &[Conflict]) {
    let whither = target.destdir.as_ref().map(|dir| format!(" below {}", dir.display())).unwrap_or_default();
    shell::say(format!("this will be placed{whither}:"));
    for entry in entries {
        eprintln!("  {}", entry.place.display());
    }
    for conflict in conflicts {
        eprintln!("  (replaces {})", conflict.path.display());
    }
    if target.is_running_system() {
        eprintln!("  the system user sekhmet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(prefix: &str) -> Target {
        Target { destdir: None, prefix: prefix.into(), yes: true }
    }

    #[test]
    fn a_prefix_is_a_plain_absolute_path() {
        for good in ["/usr", "/usr/local", "/opt/sekhmet-0.1"] {
            assert!(target(good).checked_prefix().is_ok(), "{good}");
        }
        for bad in ["usr", "", "/usr/../etc", "/opt/a b", "/opt/%h", "/opt/$X", "/opt/a\nb"] {
            assert!(target(bad).checked_prefix().is_err(), "{bad}");
        }
    }
}
