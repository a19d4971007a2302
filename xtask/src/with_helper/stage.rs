//! The private stage inside the mount namespace: bus, polkit, the user `sekhmet`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use super::processes::Processes;
use super::{admin, data_file};
use crate::shell;

/// Where every program looks for the system bus.
const BUS_FOLDER: &str = "/run/dbus";

/// A bus or polkit that is not up by then will not come up.
const START_WITHIN: Duration = Duration::from_secs(15);

/// The stock rules of a system bus (dbus-daemon(1)), without any service that could be started on demand.
const BUS_CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  @USER@
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"
          send_member="UpdateActivationEnvironment"/>
  </policy>
  <includedir>/run/dbus/sekhmet/bus.d</includedir>
</busconfig>
"#;

/// Who root is, as polkit names it.
const ROOT: &str = "0";

/// The prepared namespace.
pub(super) struct Stage {
    folder: PathBuf,
    password: Option<String>,
}

impl Stage {
    /// Mounts everything private. Must run in a mount namespace of its own.
    ///
    /// # Errors
    /// When a mount is refused or one of the project's data files is missing.
    pub(super) fn new(rules: Option<&Path>, has_admin: bool) -> Result<Self> {
        // Whatever the caller's namespace shares, this one must not hand its mounts back.
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .context("cannot make the mount namespace private")?;
        fs::create_dir_all(BUS_FOLDER).context("cannot make /run/dbus")?;
        mount("tmpfs", BUS_FOLDER, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755"))
            .context("cannot mount a private /run/dbus")?;
        let folder = Path::new(BUS_FOLDER).join("sekhmet");
        fs::create_dir(&folder)?;
        let mut stage = Self { folder, password: None };
        stage.add_user()?;
        if has_admin {
            stage.password = Some(admin::add(&stage.folder)?);
        }
        stage.replace_polkit(rules)?;
        stage.configure_bus()?;
        mount_tracefs();
        Ok(stage)
    }

    /// For sockets, logs and the file with the helper's process id.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The password of the administrator, where there is one.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Starts the bus and polkit and waits until both answer.
    ///
    /// # Errors
    /// When one of them ends or does not answer; what they printed is in the message.
    pub(super) fn start_bus(&self, processes: &mut Processes) -> Result<()> {
        let log_path = self.folder.join("bus.log");
        let log = File::create(&log_path)?;
        let configuration = format!("--config-file={}", self.folder.join("bus.conf").display());
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--nopidfile", "--nosyslog", &configuration]);
        processes.start("dbus-daemon", &mut bus, &log)?;
        let socket = Path::new(BUS_FOLDER).join("system_bus_socket");
        wait_for("the private bus", processes, &log_path, || socket.exists())?;

        let program = ["/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/lib/policykit-1/polkitd"];
        let program =
            program.iter().find(|path| Path::new(path).exists()).context("polkitd is not installed")?;
        processes.start("polkitd", Command::new(program).arg("--no-debug"), &log)?;
        wait_for("polkit", processes, &log_path, || has_owner("org.freedesktop.PolicyKit1"))
    }

    fn add_user(&self) -> Result<()> {
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let group = fs::read_to_string("/etc/group").context("cannot read /etc/group")?;
        let id = free_id(&passwd, &group).context("no free system user id")?;
        let user_line = format!("sekhmet:x:{id}:{id}:Sekhmet helper:/:/usr/sbin/nologin");
        let group_line = format!("sekhmet:x:{id}:");
        for (place, text, line) in [("/etc/passwd", passwd, user_line), ("/etc/group", group, group_line)] {
            if let Some(text) = with_entry(&text, &line) {
                let copy = self.folder.join(Path::new(place).file_name().unwrap_or_default());
                fs::write(&copy, text)?;
                mount_bind(&copy, place).with_context(|| format!("cannot lay a copy over {place}"))?;
            }
        }
        Ok(())
    }

    /// polkit sees the machine's actions and ours, and test rules instead of the machine's local ones.
    fn replace_polkit(&self, rules: Option<&Path>) -> Result<()> {
        let place = Path::new("/usr/share/polkit-1/actions");
        let actions = self.folder.join("actions");
        copy_files(place, &actions)?;
        fs::copy(data_file("polkit/org.sekhmet.helper.policy")?, actions.join("org.sekhmet.helper.policy"))?;
        mount_bind(&actions, place).context("cannot lay our actions over polkit's")?;

        let folder = self.folder.join("rules.d");
        fs::create_dir(&folder)?;
        // One user, so that an answer never depends on the machine's own groups.
        let admin = if self.password.is_some() { admin::NAME } else { ROOT };
        let admins = format!(
            "polkit.addAdminRule(function(action, subject) {{ return [\"unix-user:{admin}\"]; }});\n"
        );
        fs::write(folder.join("00-test.rules"), admins)?;
        if let Some(rules) = rules {
            fs::copy(rules, folder.join("10-given.rules"))
                .with_context(|| format!("cannot read {}", rules.display()))?;
        }
        mount_bind(&folder, "/etc/polkit-1/rules.d").context("cannot lay test rules over polkit's")?;
        Ok(())
    }

    fn configure_bus(&self) -> Result<()> {
        let policies = self.folder.join("bus.d");
        fs::create_dir(&policies)?;
        let polkit = ["/usr/share/dbus-1/system.d", "/etc/dbus-1/system.d"]
            .map(|folder| Path::new(folder).join("org.freedesktop.PolicyKit1.conf"));
        let polkit =
            polkit.iter().find(|path| path.exists()).context("polkit's bus policy is not installed")?;
        fs::copy(polkit, policies.join("org.freedesktop.PolicyKit1.conf"))?;
        fs::copy(data_file("dbus/org.sekhmet.Helper1.conf")?, policies.join("org.sekhmet.Helper1.conf"))?;
        let passwd = fs::read_to_string("/etc/passwd")?;
        let user = if passwd.lines().any(|line| line.starts_with("messagebus:")) {
            "<user>messagebus</user>"
        } else {
            ""
        };
        fs::write(self.folder.join("bus.conf"), BUS_CONFIGURATION.replace("@USER@", user))
            .context("cannot write the bus configuration")
    }
}

/// The command that runs `argv`, as `user` where one is given.
///
/// # Errors
/// When `argv` is empty or there is no such user.
pub(super) fn command_as(user: Option<&str>, argv: &[OsString], folder: &Path) -> Result<Command> {
    let (program, arguments) = argv.split_first().context("no COMMAND was given")?;
    let Some(user) = user else {
        let mut command = Command::new(program);
        command.args(arguments);
        return Ok(command);
    };
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let entry = find_user(&passwd, user).with_context(|| format!("there is no user {user}"))?;
    let program = reachable(program, &entry, folder)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &entry.uid, "--regid", &entry.gid, "--init-groups", "--inh-caps", "-all", "--"]);
    command.arg(program).args(arguments);
    command.env("HOME", &entry.home).env("USER", user).env("LOGNAME", user);
    Ok(command)
}

/// One line of passwd(5), as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct User {
    uid: String,
    gid: String,
    home: String,
}

fn find_user(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() >= 6 && fields[0] == name).then(|| User {
            uid: fields[2].to_owned(),
            gid: fields[3].to_owned(),
            home: fields[5].to_owned(),
        })
    })
}

/// A clone in root's home cannot be entered by other users: then the program is run from a place that can.
fn reachable(program: &OsString, user: &User, folder: &Path) -> Result<OsString> {
    let path = Path::new(program);
    if path.components().count() < 2 || !path.is_file() {
        return Ok(program.clone());
    }
    let mut test = Command::new("setpriv");
    test.args(["--reuid", &user.uid, "--regid", &user.gid, "--clear-groups", "--", "test", "-x"]).arg(path);
    if test.status().is_ok_and(|status| status.success()) {
        return Ok(program.clone());
    }
    let place = folder.join("programs");
    fs::create_dir_all(&place)?;
    let (beside, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    if folder.starts_with(BUS_FOLDER) {
        // In a namespace of our own its whole folder is shown once more: programs start others that lie beside them.
        mount_bind(beside, &place).with_context(|| format!("cannot show {}", beside.display()))?;
    } else {
        fs::copy(path, place.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(place.join(name).into_os_string())
}

/// Whether somebody owns this name on the system bus.
pub(super) fn has_owner(name: &str) -> bool {
    let mut ask = Command::new("dbus-send");
    ask.args(["--system", "--print-reply=literal", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
    ask.args(["org.freedesktop.DBus.NameHasOwner", &format!("string:{name}")])
        .env_remove("DBUS_SYSTEM_BUS_ADDRESS");
    shell::output(&mut ask).is_ok_and(|text| text.contains("boolean true"))
}

fn wait_for(what: &str, processes: &mut Processes, log: &Path, is_there: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        if is_there() {
            return Ok(());
        }
        let ended = processes.ended();
        if ended.is_some() || Instant::now() > deadline {
            let why = ended.unwrap_or_else(|| format!("no answer within {} s", START_WITHIN.as_secs()));
            bail!("{what} did not come up: {why}\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Copies the plain files of a folder into a new one.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let file = entry?.path();
        if file.is_file() {
            fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// Tracepoints need it, and some machines have it unmounted. Where the kernel refuses, the helper says what is missing.
fn mount_tracefs() {
    let place = Path::new("/sys/kernel/tracing");
    if place.is_dir()
        && !place.join("events").exists()
        && let Err(error) = mount("tracefs", place, "tracefs", MountFlags::empty(), None)
    {
        shell::say(format!("no tracefs: {error}"));
    }
}

/// The highest id below 1000 that neither file uses, as a system user gets it.
pub(super) fn free_id(passwd: &str, group: &str) -> Option<u32> {
    let ids = |text: &str| -> Vec<u32> {
        text.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
    };
    let taken = [ids(passwd), ids(group)].concat();
    (100..1000).rev().find(|id| !taken.contains(id))
}

/// `text` with `line` added, or nothing to do when its name is there already.
pub(super) fn with_entry(text: &str, line: &str) -> Option<String> {
    let name = line.split(':').next()?;
    let is_there = text.lines().any(|old| old.split(':').next() == Some(name));
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    (!is_there).then(|| format!("{text}{gap}{line}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nlast:x:999:998::/home/last:/bin/sh";

    #[test]
    fn the_user_is_added_once_with_a_free_id() {
        assert_eq!(free_id(PASSWD, "root:x:0:\nother:x:998:\n"), Some(997));
        let added = with_entry(PASSWD, "sekhmet:x:997:997::/:/x").unwrap();
        assert!(added.ends_with("/bin/sh\nsekhmet:x:997:997::/:/x\n"), "{added}");
        assert_eq!(with_entry(&added, "sekhmet:x:996:996::/:/x"), None);
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        assert_eq!(find_user(PASSWD, "las"), None);
        let user = find_user(PASSWD, "last").unwrap();
        assert_eq!((user.uid.as_str(), user.gid.as_str(), user.home.as_str()), ("999", "998", "/home/last"));
    }

    #[test]
    fn a_command_needs_a_program() {
        assert!(command_as(None, &[], Path::new("/tmp")).is_err());
        let argv = ["true".into()];
        assert!(command_as(Some("no such user"), &argv, Path::new("/tmp")).is_err());
    }
}
