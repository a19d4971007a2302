//! The machine's own bus and polkit: what an installation would bring, put there after saying so.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::data_file;
use super::stage::has_owner;
use crate::shell;

/// The project's files and where a running system looks for them.
const FILES: [(&str, &str); 2] = [
    ("dbus/org.sekhmet.Helper1.conf", "/etc/dbus-1/system.d/org.sekhmet.Helper1.conf"),
    ("polkit/org.sekhmet.helper.policy", "/usr/share/polkit-1/actions/org.sekhmet.helper.policy"),
];

/// Whether this machine runs a system bus with a polkit on it.
pub(super) fn is_running() -> bool {
    has_bus()
        && (has_owner("org.freedesktop.PolicyKit1")
            || Path::new("/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service").exists())
}

/// What `install` would write or add, for the person to read.
///
/// # Errors
/// When one of the project's data files is missing.
pub(super) fn to_install() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (file, place) in FILES {
        if fs::read(place).ok() != Some(fs::read(data_file(file)?)?) {
            lines.push(place.to_owned());
        }
    }
    if !has_user()? {
        lines.push("the system user sekhmet".to_owned());
    }
    Ok(lines)
}

/// Brings bus policy, polkit actions and the user, and gives the folder for this run.
///
/// # Errors
/// When something cannot be written, or another helper is running.
pub(super) fn install() -> Result<PathBuf> {
    if has_owner("org.sekhmet.Helper1") {
        bail!("a helper is already running on the system bus; stop it first");
    }
    for (file, place) in FILES {
        let content = fs::read(data_file(file)?)?;
        if fs::read(place).ok().as_ref() != Some(&content) {
            fs::write(place, content).with_context(|| format!("cannot write {place}"))?;
        }
    }
    if !has_user()? {
        add_user()?;
    }
    reload_bus()?;
    let folder = PathBuf::from("/run/sekhmet-xtask");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Whether a system bus runs here.
pub(crate) fn has_bus() -> bool {
    UnixStream::connect("/run/dbus/system_bus_socket").is_ok()
}

/// Has the bus read its policies again: dbus-daemon watches its folders, dbus-broker does not.
///
/// # Errors
/// When the bus refuses them.
pub(crate) fn reload_bus() -> Result<()> {
    let mut reload = Command::new("dbus-send");
    reload.args(["--system", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
    shell::output(reload.arg("org.freedesktop.DBus.ReloadConfig"))
        .context("the bus does not take its new policy")?;
    Ok(())
}

/// Makes the helper's user.
///
/// # Errors
/// When useradd(8) fails.
pub(crate) fn add_user() -> Result<()> {
    let mut add = Command::new("useradd");
    add.args(["--system", "--user-group", "--no-create-home", "--home-dir", "/"]);
    shell::run(add.args(["--shell", "/usr/sbin/nologin", "sekhmet"]))
}

/// Whether the helper's user exists.
///
/// # Errors
/// When the list of users cannot be read.
pub(crate) fn has_user() -> Result<bool> {
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    Ok(passwd.lines().any(|line| line.starts_with("sekhmet:")))
}
