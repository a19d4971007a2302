//! An administrator who exists only on the private stage, so that polkit can be told a real password there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::mount::mount_bind;

use super::stage::{free_id, with_entry};

/// The name of the account.
pub(super) const NAME: &str = "sekhmet-admin";

/// Where COMMAND finds the password.
pub(super) const PASSWORD: &str = "SEKHMET_ADMIN_PASSWORD";

/// Makes the account in copies of passwd(5) and shadow(5) that lie over the machine's, and gives its password.
///
/// # Errors
/// When a file cannot be read or laid over, or chpasswd(8) fails.
pub(super) fn add(folder: &Path) -> Result<String> {
    let root = folder.join("admin");
    fs::create_dir_all(root.join("etc"))?;
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
    let passwd = read("/etc/passwd")?;
    let id = free_id(&passwd, &read("/etc/group")?).context("no free system user id")?;
    let user = format!("{NAME}:x:{id}:65534:Administrator of the private stage:/:/usr/sbin/nologin");
    // Locked until it has its password.
    let secret = format!("{NAME}:!:1:0:99999:7:::");
    for (place, text, line) in [("passwd", passwd, user), ("shadow", read("/etc/shadow")?, secret)] {
        let text = with_entry(&text, &line).with_context(|| format!("there is a user {NAME} already"))?;
        let copy = root.join("etc").join(place);
        fs::write(&copy, text)?;
        fs::set_permissions(&copy, fs::metadata(Path::new("/etc").join(place))?.permissions())?;
    }
    let password = random_password()?;
    set_password(&root, &password)?;
    for place in ["passwd", "shadow"] {
        mount_bind(root.join("etc").join(place), Path::new("/etc").join(place))
            .with_context(|| format!("cannot lay a copy over /etc/{place}"))?;
    }
    Ok(password)
}

/// It writes the files under `root`, and knows how this machine's PAM wants a password to be hashed.
fn set_password(root: &Path, password: &str) -> Result<()> {
    let mut command = Command::new("chpasswd");
    command.args(["--crypt-method", "SHA512", "--root"]).arg(root).stdin(Stdio::piped());
    let mut child = command.spawn().context("cannot start chpasswd (package passwd)")?;
    writeln!(child.stdin.take().context("no input")?, "{NAME}:{password}")?;
    let status = child.wait()?;
    if !status.success() {
        bail!("chpasswd: {status}");
    }
    Ok(())
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 12];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(place: &str) -> Result<String> {
    fs::read_to_string(place).with_context(|| format!("cannot read {place}"))
}
