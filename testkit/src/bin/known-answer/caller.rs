//! A user without rights who calls `sekhmetctl`, and that user's processes.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, Result};
use sekhmet_common::{
    bus::{OPTION_LIFETIME, OPTION_PROGRAM, PATH, RULES, SERVICE},
    display::escape,
};
use serde_json::Value;
use zbus::{Connection, Proxy, Variant, proxy::MethodFlags};

use crate::checker::Checker;

/// The user who calls: `nobody`, who exists everywhere and may do nothing.
pub(crate) const UID: u32 = 65534;

/// What `sekhmetctl` says when polkit did not allow it.
pub(crate) const REFUSED: &str = "not authorised, nothing was changed";

/// Variables by which a program would find a desktop.
const SESSION: [&str; 3] = ["XDG_SESSION_ID", "WAYLAND_DISPLAY", "DISPLAY"];

/// The user, with copies of the programs that everybody may run.
pub(crate) struct Caller {
    folder: tempfile::TempDir,
    ctl: PathBuf,
    this: PathBuf,
}

/// A process of the user's. It is killed when this is dropped.
pub(crate) struct Victim {
    child: Child,
    pub(crate) pid: u32,
    /// As it may be shown.
    pub(crate) name: String,
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("known-answer: {error}");
        }
    }
}

impl Caller {
    pub(crate) fn new(checker: &Checker) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let [ctl, this] = ["sekhmetctl", "known-answer"].map(|name| folder.path().join(name));
        fs::copy(&checker.ctl, &ctl).with_context(|| format!("cannot copy {}", checker.ctl.display()))?;
        fs::copy(std::env::current_exe()?, &this)?;
        Ok(Self { folder, ctl, this })
    }

    /// `sekhmetctl`, with the words of a command that runs it before.
    pub(crate) fn ctl(&self, before: &[&str], arguments: &[&str]) -> Command {
        let words = before.iter().map(OsString::from).chain([self.ctl.clone().into()]);
        self.command(words.chain(arguments.iter().map(OsString::from)))
    }

    /// [`twice`], with the words of a command that runs it before.
    pub(crate) fn twice(&self, before: &[&str]) -> Command {
        let words = before.iter().map(OsString::from);
        self.command(words.chain([self.this.clone().into(), "twice".into()]))
    }

    /// A process that does nothing, under a name of one's choice of at most fifteen bytes (proc_pid_comm(5)).
    pub(crate) fn victim(&self, name: &[u8]) -> Result<Victim> {
        let file = self.folder.path().join(OsStr::from_bytes(name));
        fs::hard_link(&self.this, &file)?;
        let child = self.command([file.into(), "linger".into()].into_iter()).stdin(Stdio::null()).spawn()?;
        let pid = child.id();
        Ok(Victim { child, pid, name: escape(name) })
    }

    fn command(&self, mut words: impl Iterator<Item = OsString>) -> Command {
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).uid(UID).gid(UID).current_dir("/").env("LC_ALL", "C");
        for name in SESSION {
            command.env_remove(name);
        }
        command
    }
}

/// Waits for it while the agent answers.
pub(crate) async fn end_of(child: Child) -> Result<Output> {
    Ok(tokio::task::spawn_blocking(|| child.wait_with_output()).await??)
}

/// Exit status 0.
pub(crate) fn done(output: &Output) -> Result<(), String> {
    if output.status.success() { Ok(()) } else { Err(said(output)) }
}

/// Exit status 1, nothing on standard output, and why on the other.
pub(crate) fn refused(output: &Output) -> Result<(), String> {
    let is_so = output.status.code() == Some(1) && output.stdout.is_empty() && said(output).contains(REFUSED);
    is_so.then_some(()).ok_or_else(|| said(output))
}

pub(crate) fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    format!("{}: {out}{err}", output.status)
}

/// Whether a process is known as one of the stranger's. It is forked as root's, and is somebody else's only once what it
/// executed is told as well.
pub(crate) fn listed(checker: &Checker, pid: u32) -> Result<(), String> {
    let is_there = checker.list("ps")?.iter().any(|p| p["pid"] == pid && p["uid"] == UID);
    is_there.then_some(()).ok_or_else(|| format!("process {pid} of {UID} is not listed"))
}

pub(crate) fn rules(checker: &Checker) -> Result<Vec<Value>, String> {
    let output = Command::new(&checker.ctl).args(["rules", "list", "--json"]).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(said(&output));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| e.to_string())).collect()
}

/// (internal) Waits to be killed, and ends with whoever started it.
pub(crate) fn linger() {
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

/// (internal) Two calls over one connection, the second before the first is answered. Prints the names of the
/// errors in the order in which they come.
pub(crate) fn twice() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bus = Connection::system().await?;
        let rules = Proxy::new(&bus, SERVICE, PATH, RULES).await?;
        let add = async || {
            let options = HashMap::from([
                (OPTION_PROGRAM, Variant::from(b"/usr/bin/true".to_vec())),
                (OPTION_LIFETIME, Variant::from("1h")),
            ]);
            let flags = MethodFlags::ALLOW_INTERACTIVE_AUTH;
            let said = match rules.call_with_flags::<_, _, u64>("Add", flags, &options).await {
                Err(zbus::Error::MethodError(name, _, _)) => name.to_string(),
                other => format!("{other:?}"),
            };
            writeln!(std::io::stdout(), "{said}")
        };
        let (first, second) = tokio::join!(add(), add());
        Ok(first.and(second)?)
    })
}
