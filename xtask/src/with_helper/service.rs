//! The helper as a service manager runs it: readiness, stored descriptors, restart after a death.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};

use super::notify::{Listener, Stored};
use super::processes::stop_child;
use crate::shell;

/// In the folder of the run: the process id of the helper that runs now.
pub(super) const PID_FILE: &str = "helper.pid";

/// From start to READY. A native start takes a fraction of a second; an emulated machine much longer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// RestartSec= of the unit file.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// How the helper is started.
pub(super) struct Settings {
    /// The program.
    pub helper: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// For the notification socket and the file with the process id.
    pub folder: PathBuf,
    /// Where it keeps what outlives it; its own.
    pub state: PathBuf,
    /// What it prints, over all its lives.
    pub log: PathBuf,
    /// Takes the process ids that must not outlive xtask, one a line.
    pub(super) watch_list: File,
    /// Whether a dead helper is started again, as its unit file asks for.
    pub has_restart: bool,
}

/// A running helper and the thread that looks after it.
pub(super) struct Service {
    ready_after: Duration,
    wants_stop: Arc<AtomicBool>,
    keeper: JoinHandle<Result<u32>>,
}

impl Service {
    /// Starts the helper and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends or stays silent; its log is in the message.
    pub(super) fn start(settings: Settings) -> Result<Self> {
        let log = settings.log.clone();
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let socket = settings.folder.join("notify");
        let listener = Listener::bind(&socket)?;
        let wants_stop = Arc::new(AtomicBool::new(false));
        let (tell_ready, ready) = sync_channel(1);
        let stop = Arc::clone(&wants_stop);
        let keeper = Builder::new()
            .name("helper keeper".into())
            .spawn(move || keep(&settings, listener, &stop, &tell_ready))
            .context("cannot start a thread")?;
        let began = Instant::now();
        let mut service = Self { ready_after: Duration::ZERO, wants_stop, keeper };
        let why = match ready.recv_timeout(READY_WITHIN) {
            Ok(()) => {
                service.ready_after = began.elapsed();
                return Ok(service);
            }
            Err(RecvTimeoutError::Timeout) => format!("was not ready within {} s", READY_WITHIN.as_secs()),
            Err(RecvTimeoutError::Disconnected) => "ended before it was ready".to_owned(),
        };
        let ended = service.stop().err().map(|error| format!("{error:#}\n")).unwrap_or_default();
        let said = fs::read_to_string(&log).unwrap_or_default();
        bail!("the helper {why}. {ended}Its log:\n{}", tail(&said, 60));
    }

    /// From the start of the program to its READY=1.
    pub(super) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Ends the helper with SIGTERM and the thread after it.
    ///
    /// # Errors
    /// When the helper had died and could not be kept running, or does not end.
    pub(super) fn stop(self) -> Result<()> {
        self.wants_stop.store(true, Ordering::Relaxed);
        let restarts =
            self.keeper.join().map_err(|_panic| anyhow::anyhow!("the helper's keeper failed"))??;
        if restarts > 0 {
            shell::say(format!("the helper died and was started again {restarts} times"));
        }
        Ok(())
    }
}

fn keep(
    settings: &Settings,
    mut listener: Listener,
    stop: &AtomicBool,
    ready: &SyncSender<()>,
) -> Result<u32> {
    let mut restarts = 0;
    let mut was_ready = false;
    let mut child = spawn(settings, &listener.store)?;
    loop {
        if let Some(message) = listener.receive()?
            && message.is_ready
        {
            was_ready = true;
            // Only the first READY has somebody waiting for it.
            let _later_ones_wait_for_nobody = ready.try_send(());
        }
        if stop.load(Ordering::Relaxed) {
            stop_child(&mut child).context("the helper")?;
            return Ok(restarts);
        }
        if let Some(status) = child.try_wait()? {
            if !settings.has_restart || !was_ready {
                bail!("it ended by itself: {status}");
            }
            restarts += 1;
            let again = Instant::now() + RESTART_AFTER;
            while Instant::now() < again && !stop.load(Ordering::Relaxed) {
                // What the helper said before it died counts, above all about its descriptors.
                listener.receive()?;
            }
            child = spawn(settings, &listener.store)?;
        }
    }
}

/// Starts the helper with its stored descriptors at 3 and up, as sd_listen_fds(3) expects them.
fn spawn(settings: &Settings, store: &[Stored]) -> Result<Child> {
    let log = File::options().append(true).open(&settings.log).context("the log is gone")?;
    let mut command = Command::new("bash");
    // LISTEN_PID must be the helper's own id, which only the process itself knows before it starts.
    let mut script = String::new();
    for (index, stored) in store.iter().enumerate() {
        script += &format!("exec {}<&{}; ", index + 3, stored.fd.as_raw_fd());
    }
    if !store.is_empty() {
        let names: Vec<&str> = store.iter().map(|stored| stored.name.as_str()).collect();
        command.env("LISTEN_FDS", store.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        script += "export LISTEN_PID=$$; ";
        // Only bash may see them here, not the helper a second time.
        for stored in store {
            script += &format!("exec {}<&-; ", stored.fd.as_raw_fd());
        }
    }
    script += "exec \"$@\"";
    command.args(["-c", &script, "bash"]).arg(&settings.helper).args(&settings.arguments);
    command.env("STATE_DIRECTORY", &settings.state);
    command.env("NOTIFY_SOCKET", settings.folder.join("notify")).env_remove("DBUS_SYSTEM_BUS_ADDRESS");
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    set_inherited(store, FdFlags::empty())?;
    let child = command.spawn().with_context(|| format!("cannot start {}", settings.helper.display()));
    set_inherited(store, FdFlags::CLOEXEC)?;
    let child = child?;
    writeln!(&settings.watch_list, "{}", child.id()).context("the watcher is gone")?;
    write_pid(&settings.folder, child.id())?;
    Ok(child)
}

fn set_inherited(store: &[Stored], flags: FdFlags) -> Result<()> {
    for stored in store {
        fcntl_setfd(&stored.fd, flags).context("cannot hand on a stored descriptor")?;
    }
    Ok(())
}

/// A reader must never see half a number.
fn write_pid(folder: &Path, pid: u32) -> Result<()> {
    let part = folder.join("helper.pid.part");
    fs::write(&part, format!("{pid}\n")).context("cannot write the process id")?;
    fs::rename(&part, folder.join(PID_FILE)).context("cannot write the process id")
}

/// The last lines of a text.
fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A helper made of a script: `say` sends one notification.
    fn settings(folder: &Path, script: &str) -> Settings {
        let helper = folder.join("helper");
        let say = "say() { python3 -c 'import os,socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
                   s.sendto(sys.argv[1].encode(), os.environ[\"NOTIFY_SOCKET\"])' \"$1\"; }";
        fs::write(&helper, format!("#!/bin/bash\n{say}\n{script}\n")).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        Settings {
            helper,
            arguments: vec!["--some".into()],
            folder: folder.to_path_buf(),
            state: folder.to_path_buf(),
            log: folder.join("log"),
            watch_list: File::options().write(true).open("/dev/null").unwrap(),
            has_restart: true,
        }
    }

    #[test]
    fn a_ready_helper_runs_until_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let service =
            Service::start(settings(dir.path(), "echo got $1; say READY=1; exec sleep 60")).unwrap();
        let pid = fs::read_to_string(dir.path().join(PID_FILE)).unwrap();
        assert!(Path::new("/proc").join(pid.trim()).exists());
        service.stop().unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists());
        assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "got --some\n");
    }

    #[test]
    fn a_helper_that_ends_early_is_an_error_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            Service::start(settings(dir.path(), "echo no right to load; exit 4")).err().unwrap().to_string();
        assert!(error.contains("ended before it was ready") && error.contains("exit status: 4"), "{error}");
        assert!(error.ends_with("no right to load"), "{error}");
    }

    #[test]
    fn a_killed_helper_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start(settings(dir.path(), "say READY=1; exec sleep 60")).unwrap();
        let read = || fs::read_to_string(dir.path().join(PID_FILE)).unwrap();
        let first = read();
        // The shell's own: small systems have no program of this name.
        Command::new("sh").args(["-c", "kill -9 $1", "sh", first.trim()]).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while read() == first {
            assert!(Instant::now() < deadline, "never restarted");
            std::thread::sleep(Duration::from_millis(20));
        }
        service.stop().unwrap();
    }
}
