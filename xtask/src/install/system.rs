//! What a running system must be told after an installation and around its removal.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{shell, with_helper};

/// The helper's unit.
const UNIT: &str = "sekhmet.service";

/// The folder that systemd makes for the helper (StateDirectory= of the unit).
const STATE: &str = "/var/lib/sekhmet";

/// Makes the user, and has systemd, the bus and icon themes look again. A helper that runs is replaced.
///
/// # Errors
/// When the user cannot be made, or a service refuses its new files.
pub(super) fn after_install(prefix: &Path) -> Result<()> {
    make_user(prefix)?;
    if is_systemd_running() {
        shell::run(Command::new("systemctl").arg("daemon-reload"))?;
    }
    if with_helper::has_bus() {
        with_helper::reload_bus()?;
    }
    refresh_icons(prefix)?;
    if is_systemd_running() {
        shell::run(Command::new("systemctl").args(["try-restart", UNIT]))?;
        shell::say(
            "the helper starts when a window or sekhmetctl asks for it; to have it watch from boot on:",
        );
        eprintln!("  systemctl enable --now {UNIT}");
    } else {
        shell::say("systemd does not run here: the helper must be started by hand");
    }
    Ok(())
}

/// Stops the helper while its unit is still known.
///
/// # Errors
/// When it cannot be stopped.
pub(super) fn before_uninstall() -> Result<()> {
    if is_systemd_running() {
        shell::run(Command::new("systemctl").args(["disable", "--now", UNIT]))?;
    }
    Ok(())
}

/// Has systemd and the bus forget the files. With `purge` the helper's user and what it stored go too.
///
/// # Errors
/// When a service refuses, or the user or its folder cannot be removed.
pub(super) fn after_uninstall(prefix: &Path, purge: bool) -> Result<()> {
    if is_systemd_running() {
        shell::run(Command::new("systemctl").arg("daemon-reload"))?;
    }
    if with_helper::has_bus() {
        with_helper::reload_bus()?;
    }
    refresh_icons(prefix)?;
    let has_state = Path::new(STATE).exists();
    if !purge {
        if has_state {
            shell::say(format!("{STATE} and the user sekhmet stay; `--purge` removes them too"));
        } else {
            shell::say("the user sekhmet stays; `--purge` removes it too");
        }
        return Ok(());
    }
    if has_state {
        fs::remove_dir_all(STATE).with_context(|| format!("cannot remove {STATE}"))?;
    }
    if with_helper::has_user()? {
        shell::run(Command::new("userdel").arg("sekhmet"))?;
    }
    Ok(())
}

fn make_user(prefix: &Path) -> Result<()> {
    if with_helper::has_user()? {
        return Ok(());
    }
    match shell::find("systemd-sysusers") {
        Some(program) => shell::run(Command::new(program).arg(prefix.join("lib/sysusers.d/sekhmet.conf"))),
        None => with_helper::add_user(),
    }
}

/// A cache that is there and older than the icons hides them.
fn refresh_icons(prefix: &Path) -> Result<()> {
    let theme = prefix.join("share/icons/hicolor");
    if !theme.join("icon-theme.cache").exists() {
        return Ok(());
    }
    match shell::find("gtk-update-icon-cache").or_else(|| shell::find("gtk4-update-icon-cache")) {
        Some(program) => shell::run(Command::new(program).args(["--quiet", "--force"]).arg(theme)),
        None => Ok(()),
    }
}

/// As sd_booted(3) tells it.
fn is_systemd_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}
