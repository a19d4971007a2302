//! A private message bus: a real `dbus-daemon` with its own socket, gone when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};
use tempfile::TempDir;
use zbus::{Connection, conn::Builder};

/// A bus of one test.
#[derive(Debug)]
pub struct TestBus {
    daemon: Child,
    address: String,
    socket: PathBuf,
    _dir: TempDir,
}

impl TestBus {
    /// Starts a bus on which everybody may own and call everything.
    ///
    /// # Errors
    /// If there is no `dbus-daemon`, or it does not start.
    pub fn start() -> Result<Self> {
        Self::with_policy(
            "<policy context=\"default\"><allow own=\"*\"/><allow send_destination=\"*\"/>\
             <allow eavesdrop=\"false\"/><allow user=\"*\"/></policy>",
        )
    }

    /// Starts a bus with these elements of a `busconfig` in its configuration (dbus-daemon(1)).
    ///
    /// # Errors
    /// If there is no `dbus-daemon`, or it does not start.
    pub fn with_policy(policy: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // Other users connect, too.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let socket = dir.path().join("bus");
        let config = dir.path().join("bus.conf");
        fs::write(&config, configuration(&socket, policy))?;
        let (daemon, address) = launch(&config)?;
        Ok(Self { daemon, address, socket, _dir: dir })
    }

    /// Where the bus listens, for options and `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new connection of the user who runs the test.
    ///
    /// # Errors
    /// If the bus does not answer.
    pub async fn connect(&self) -> Result<Connection> {
        Ok(Builder::address(self.address.as_str()).build().await?)
    }

    /// A new connection that belongs to another user in the eyes of the bus. Only root can make one, and
    /// `dbus-daemon` accepts only users that exist; 1, 2, 3, 5, 7 and 65534 do on every Debian.
    ///
    /// # Errors
    /// If the test does not run as root, or the bus does not answer.
    pub async fn connect_as(&self, uid: u32) -> Result<Connection> {
        connect_as(&self.socket, uid).await
    }

    /// Kills the bus, as if it had crashed.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        Ok(())
    }

    /// Starts a killed bus again at the same address.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        if self.socket.exists() {
            fs::remove_file(&self.socket)?;
        }
        let config = self.socket.with_file_name("bus.conf");
        (self.daemon, _) = launch(&config)?;
        Ok(())
    }
}

impl Drop for TestBus {
    fn drop(&mut self) {
        // It may be dead already, which is as good.
        let _killed = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

/// A new connection that belongs to another user in the eyes of the bus behind this socket; see
/// [`TestBus::connect_as`].
///
/// # Errors
/// If the caller is not root, or the bus does not answer.
pub async fn connect_as(socket: &Path, uid: u32) -> Result<Connection> {
    let socket = socket.to_owned();
    // The kernel notes the user at connect(2), and each thread has its own.
    let stream = thread::Builder::new().name("connect-as".into()).spawn(move || -> Result<UnixStream> {
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        Ok(UnixStream::connect(socket)?)
    })?;
    let stream = stream.join().map_err(|_panic| anyhow!("the connecting thread panicked"))??;
    Ok(Builder::unix_stream(stream).user_id(uid).build().await?)
}

fn launch(config: &Path) -> Result<(Child, String)> {
    let mut daemon = Command::new("dbus-daemon")
        .arg("--nofork")
        .arg("--print-address=1")
        .arg("--config-file")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("dbus-daemon cannot be started; is the package dbus-daemon installed?")?;
    let stdout = daemon.stdout.take().context("no standard output of dbus-daemon")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().to_owned();
    ensure!(address.starts_with("unix:"), "dbus-daemon did not start");
    // The part after the comma changes with each start, and clients of a restarted bus must not mind.
    let address = address.split(',').next().unwrap_or_default().to_owned();
    Ok((daemon, address))
}

fn configuration(socket: &Path, policy: &str) -> String {
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n\
         <listen>unix:path={}</listen>\n<auth>EXTERNAL</auth>\n\
         {policy}\n</busconfig>\n",
        socket.display()
    )
}
