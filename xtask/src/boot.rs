//! This machine's own systemd as process 1 of a throw-away copy of this machine.
//!
//! The copy is an overlay whose upper layer lies in memory, in namespaces of its own: what happens in it is gone with
//! it, and nothing of the machine's own services is started. The kernel is the same.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{paths, shell};

/// From process 1 to the message bus. It takes a second; a busy machine may need longer.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// In the copy: `/proc` with the machine's numbers of processes, as ProtectProc=invisible would show
/// it. The kernel tells the helper these numbers, not those that processes have in the copy.
pub(crate) const MACHINE_PROC: &str = "/run/machine-proc";

/// Reached when the message bus can be asked.
const TARGET: &str = "sekhmet-boot.target";

/// Before there is another numbering of processes. Arguments: the second script, and what that one is given.
const FIRST_SCRIPT: &str = r#"
set -eu
script=$1; shift
mount -t tmpfs -o mode=755 sekhmet-boot "$1"
mkdir "$1/proc"; mount -t proc -o nosuid,nodev,noexec,hidepid=invisible proc "$1/proc"
# unshare complains when its child is killed, as it is in the end.
exec 3>&2
exec unshare --pid --fork -- sh -c "$script" sh "$@" 2>/dev/null
"#;

/// Arguments: an empty folder, a new control group, then paths that the copy shares with the machine.
const SCRIPT: &str = r#"
set -eu
exec 2>&3 3>&-
folder=$1; group=$2; shift 2
mkdir "$group"; echo $$ >"$group/cgroup.procs"
# /proc still is the machine's: its numbers are those that the starter knows.
read -r pid rest </proc/self/stat
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" sekhmet-boot "$root"
# Nothing of the machine's own services, devices or disks: only what is asked for below.
rm -rf "$root/etc/systemd/system" "$root"/usr/lib/systemd/system/*.target.wants
rm -rf "$root"/usr/lib/systemd/system-generators "$root"/etc/systemd/system-generators
mkdir "$root/etc/systemd/system"; : >"$root/etc/fstab"
mkdir -p "$root/old" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"; mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
# A kernel without it has no tracepoints to number.
if [ -d "$root/sys/kernel/tracing" ]; then mount -t tracefs -o nosuid,nodev,noexec tracefs "$root/sys/kernel/tracing"; fi
mount -t tmpfs -o mode=755 devices "$root/dev"
for name in null zero full random urandom tty; do
  : >"$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 run "$root/run"; mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir "$root/run/machine-proc"; mount --move "$folder/proc" "$root/run/machine-proc"
for path; do mkdir -p "$root$path"; mount --bind "$path" "$root$path"; done
mkdir -p "$root/run/systemd/system"
cat >"$root/run/systemd/system/sekhmet-boot.target" <<END
[Unit]
DefaultDependencies=no
Requires=dbus.socket systemd-journald.socket
After=dbus.socket systemd-journald.socket
END
ip link set lo up
cd "$root"; pivot_root . old; umount -l /old
# As systemd itself does where it does not find itself in a container: it moves mounts into those of a service.
mount --make-rshared /
echo "$pid"
exec >/dev/null 2>&1 </dev/null
exec env -i container=sekhmet-boot PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --pdeathsig KILL /lib/systemd/systemd --system --unit=sekhmet-boot.target --show-status=no
"#;

/// Runs `argv` in a new copy that shares the clone and its target folder with the machine.
///
/// # Errors
/// When the copy does not come up or the command cannot be started.
pub(crate) fn run(argv: &[OsString]) -> Result<ExitStatus> {
    let (program, arguments) = argv.split_first().context("no COMMAND was given")?;
    let machine = Machine::start()?;
    // The copy has another working folder.
    let path = Path::new(program);
    let program = if path.is_file() { std::path::absolute(path)?.into_os_string() } else { program.clone() };
    let mut command = machine.command(program);
    command.args(arguments).status().with_context(|| format!("cannot start `{}`", shell::shown(&command)))
}

/// The running copy. It ends when this value does.
pub(crate) struct Machine {
    starter: Child,
    init: String,
    group: PathBuf,
    // Only a place to mount on, in a mount namespace that goes with the machine.
    _folder: TempDir,
}

impl Machine {
    /// Boots the copy, with the clone and its target folder at the same places in it, and waits for its message bus.
    ///
    /// # Errors
    /// When a step is refused, or systemd does not come up; what it said is in the message.
    pub(crate) fn start() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let groups = cgroup2(&mounts).context("no cgroup v2 is mounted here")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("cannot read the control groups")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let group = groups.join(own).join(format!("sekhmet-boot-{}", std::process::id()));
        let folder = tempfile::tempdir().context("cannot make a folder to mount on")?;
        let mut command = shell::as_root("setpriv");
        // The copy must not outlive a killed xtask.
        command.args(["--pdeathsig", "KILL", "--", "unshare"]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--propagation", "private"]);
        command.args(["--", "sh", "-c", FIRST_SCRIPT, "sh", SCRIPT]);
        command.arg(folder.path()).arg(&group);
        // Each may lie on a disk of its own, which an overlay of the root does not show.
        command.args([paths::root().canonicalize()?, paths::target().canonicalize()?]);
        let mut starter = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start unshare (util-linux)")?;
        let mut init = String::new();
        BufReader::new(starter.stdout.take().context("its output was asked for")?)
            .read_line(&mut init)
            .context("cannot read the process id")?;
        let machine = Self { starter, init: init.trim().to_owned(), group, _folder: folder };
        if machine.init.parse::<u32>().is_err() {
            bail!("a copy of this machine cannot be made; the reason stands above");
        }
        machine.wait_up()?;
        Ok(machine)
    }

    /// A command that will run in the copy as root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = shell::as_root("nsenter");
        command.args(["--target", &self.init, "--mount", "--pid", "--uts", "--ipc", "--net"]);
        // Where the machine's own root is a folder (chroot), the copy's root is not that of its mounts.
        command.args(["--root", "--wd", "--"]);
        command.arg(program.as_ref());
        command
    }

    /// What the copy's journal holds, at most so many lines.
    pub(crate) fn journal(&self, lines: u32) -> String {
        let mut command = self.command("journalctl");
        shell::output(command.args(["--no-pager", "-q", "-o", "cat", "-n", &lines.to_string()]))
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    fn wait_up(&self) -> Result<()> {
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            match shell::output(self.command("systemctl").args(["is-active", TARGET])) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    bail!("systemd did not come up: {error:#}\n{}", self.journal(40))
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of process 1 is the end of every process of its namespace.
        if self.init.parse::<u32>().is_ok() {
            // The shell's own kill: small systems have no program of this name.
            let _it_may_be_gone =
                shell::output(shell::as_root("sh").args(["-c", "kill -9 $1", "sh", &self.init]));
        }
        let _it_may_be_gone = self.starter.wait();
        let mut remove = shell::as_root("find");
        remove.arg(&self.group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]);
        if self.group.exists()
            && let Err(error) = shell::output(&mut remove)
        {
            shell::say(format!("left behind: {error:#}"));
        }
    }
}

/// Where cgroup v2 is mounted (proc_pid_mountinfo(5)).
fn cgroup2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        (kind.split(' ').next() == Some("cgroup2")).then(|| fields.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_by_its_kind() {
        let mounts = "33 27 0:29 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
                      34 33 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                      44 33 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2("33 27 0:29 / /sys ro - sysfs sysfs rw\n"), None);
    }
}
