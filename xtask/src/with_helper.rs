//! `cargo xtask with-helper`: the real helper, a real bus and a real polkit around one command, nothing installed.
//!
//! xtask starts itself again as root in a mount namespace of its own. There the system bus's own address, the user
//! `sekhmet` and polkit's folders are private, so that every program sees what an installed system would show.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

mod admin;
mod notify;
mod processes;
mod service;
mod stage;
mod system;

use crate::{build, paths, shell};
use processes::Processes;
use service::Service;
pub(crate) use system::{add_user, has_bus, has_user, reload_bus};

/// Which bus the helper gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bus {
    /// One that exists only for the command, with a polkit of its own.
    #[default]
    Private,
    /// The machine's own; bus policy and polkit actions are installed, after saying so.
    System,
}

/// How to run it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// Run COMMAND as this user (the helper always becomes `sekhmet` by itself)
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<String>,
    /// Use the debug build of the helper
    #[arg(long = "debug")]
    pub is_debug: bool,
    /// Start the helper in the reduced view, as on a kernel that refuses BPF
    #[arg(long)]
    pub reduced: bool,
    /// Do not start the helper again when it dies
    #[arg(long)]
    pub no_restart: bool,
    /// Keep the helper's log in this file
    #[arg(long, value_name = "FILE")]
    pub helper_log: Option<PathBuf>,
    /// Further polkit rules for the private polkit
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// An administrator `sekhmet-admin` who exists on the private stage only answers polkit instead of root;
    /// COMMAND finds the password in SEKHMET_ADMIN_PASSWORD
    #[arg(long = "admin")]
    pub has_admin: bool,
    /// Which bus the helper gets
    #[arg(long, value_enum, default_value_t)]
    pub bus: Bus,
    /// Second start, as root in the namespace, with this helper
    #[arg(long, hide = true, value_name = "HELPER")]
    pub inside: Option<PathBuf>,
}

/// Variables that a program of the user's session needs and that sudo would drop.
const KEPT_VARIABLES: [&str; 12] = [
    "PATH",
    "DISPLAY",
    "XAUTHORITY",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_TYPE",
    "DBUS_SESSION_BUS_ADDRESS",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SEKHMET_CACHE",
    "CARGO_TARGET_DIR",
    "CI",
];

/// Builds the helper and gives the command that runs `argv` beside it. Its exit status is that of `argv`.
///
/// # Errors
/// When the helper does not build.
pub(crate) fn command(options: &Options, argv: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let helper = match env::var_os("SEKHMET_HELPER") {
        Some(path) => PathBuf::from(path),
        None => build::helper(options.is_debug)?,
    };
    let helper = std::path::absolute(helper)?;
    if !helper.is_file() {
        bail!("there is no helper at {}", helper.display());
    }
    let mut command = become_root(options.bus)?;
    command
        .arg(env::current_exe().context("cannot tell where xtask lies")?)
        .args(["with-helper", "--inside"]);
    command.arg(helper).args(["--bus", if options.bus == Bus::System { "system" } else { "private" }]);
    if let Some(user) = &options.user {
        command.args(["--as", user]);
    }
    let flags = [
        (options.reduced, "--reduced"),
        (options.no_restart, "--no-restart"),
        (options.has_admin, "--admin"),
    ];
    for (is_set, flag) in flags {
        if is_set {
            command.arg(flag);
        }
    }
    for (file, flag) in [(&options.helper_log, "--helper-log"), (&options.rules, "--rules")] {
        if let Some(file) = file {
            command.arg(flag).arg(std::path::absolute(file)?);
        }
    }
    command.arg("--").args(argv);
    Ok(command)
}

/// The command line's entry: first start builds and changes over, second start does the work.
///
/// # Errors
/// When set-up fails or the helper does not become ready; what COMMAND returns is the status, not an error.
pub(crate) fn run(options: &Options, argv: Vec<OsString>) -> Result<u8> {
    let status = match &options.inside {
        None => command(options, argv)?.status().context("cannot start unshare")?,
        Some(helper) => inside(options, helper, &argv)?,
    };
    Ok(exit_code(status))
}

/// A status as a shell would tell it: 128 and the signal's number for a killed program.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn become_root(bus: Bus) -> Result<Command> {
    let mut words: Vec<OsString> = Vec::new();
    if !shell::is_root() {
        if !shell::can_become_root() && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            bail!("the helper must be started as root, and sudo would ask for a password");
        }
        words.extend(["sudo", "--", "env"].map(OsString::from));
        for name in KEPT_VARIABLES {
            if let Some(value) = env::var_os(name) {
                let mut pair = OsString::from(format!("{name}="));
                pair.push(value);
                words.push(pair);
            }
        }
    }
    if bus == Bus::Private {
        words.extend(["unshare", "--mount", "--propagation", "private", "--"].map(OsString::from));
    }
    match words.split_first() {
        Some((program, rest)) => {
            let mut command = Command::new(program);
            command.args(rest);
            Ok(command)
        }
        None => Ok(Command::new("env")),
    }
}

/// The second start. Whatever happens, everything that was started is stopped again.
fn inside(options: &Options, helper: &Path, argv: &[OsString]) -> Result<ExitStatus> {
    if !shell::is_root() {
        bail!("--inside is for xtask's own second start as root");
    }
    let mut processes = Processes::new()?;
    let (folder, password) = match options.bus {
        Bus::Private => {
            let stage = stage::Stage::new(options.rules.as_deref(), options.has_admin)?;
            stage.start_bus(&mut processes)?;
            (stage.folder().to_path_buf(), stage.password().map(str::to_owned))
        }
        Bus::System if options.has_admin => bail!("an administrator is made on the private stage only"),
        Bus::System => (system::install()?, None),
    };
    let log = options.helper_log.clone().unwrap_or_else(|| folder.join("helper.log"));
    let state = state_folder(&folder)?;
    let service = Service::start(service::Settings {
        helper: helper.to_path_buf(),
        arguments: if options.reduced { vec!["--reduced".into()] } else { Vec::new() },
        folder: folder.clone(),
        state: state.clone(),
        log: log.clone(),
        watch_list: processes.watch_list()?,
        has_restart: !options.no_restart,
    })?;
    let mut command = stage::command_as(options.user.as_deref(), argv, &folder)?;
    command.env("SEKHMET_HELPER_PID_FILE", folder.join(service::PID_FILE)).env("SEKHMET_HELPER_LOG", &log);
    command.env("SEKHMET_HELPER_STATE", &state);
    command.env("SEKHMET_HELPER_READY_MS", format!("{:.1}", service.ready_after().as_secs_f64() * 1000.0));
    command.envs(password.map(|password| (admin::PASSWORD, password)));
    // A bus address from outside of the namespace would lead past the private bus.
    command.env_remove("DBUS_SYSTEM_BUS_ADDRESS").env_remove("DBUS_STARTER_ADDRESS");
    let status = command.status().with_context(|| format!("cannot start `{}`", shell::shown(&command)));
    service.stop()?;
    processes.stop();
    status
}

/// The folder that a service manager would make for the helper (`StateDirectory=`): its own, and empty.
fn state_folder(folder: &Path) -> Result<PathBuf> {
    let state = folder.join("state");
    if state.exists() {
        fs::remove_dir_all(&state).with_context(|| format!("cannot empty {}", state.display()))?;
    }
    fs::create_dir(&state).with_context(|| format!("cannot make {}", state.display()))?;
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700))?;
    let mut chown = Command::new("chown");
    shell::run(chown.arg("sekhmet:sekhmet").arg(&state))?;
    Ok(state)
}

/// Whether `Bus::System` can be used.
pub(crate) fn has_system_bus() -> bool {
    system::is_running()
}

/// What `Bus::System` would install, for the person to read.
///
/// # Errors
/// When one of the project's data files is missing.
pub(crate) fn to_install_on_system() -> Result<Vec<String>> {
    system::to_install()
}

/// One of the project's data files, named from the clone's root.
fn data_file(name: &str) -> Result<PathBuf> {
    let path = paths::root().join(name);
    if !path.is_file() {
        bail!("{} is missing", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_as_a_shell_does() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
    }
}
