//! The parts of the test run that install: into a folder for the validators, and on a booted copy of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::summary::Outcome;
use crate::boot::{MACHINE_PROC, Machine};
use crate::install::{self, Options, Target};
use crate::{build, shell, with_helper};

/// The highest exposure that `systemd-analyze security` may find, in its own tenths.
const EXPOSURE_MAX: f64 = 2.0;

/// In the booted copy a refused system call ends the helper, so that none goes unnoticed. Its processes have numbers
/// of their own there, so the helper gets the `/proc` that its unit asks for, with the machine's.
const STRICT: &str = "[Service]\nSystemCallErrorNumber=kill\nProtectProc=default\nProcSubset=all\n";

/// The helper as on a kernel that refuses programs.
const REDUCED: &str = "[Service]\nExecStart=\nExecStart=/usr/libexec/sekhmet-helper --reduced\n";

/// Where the terminal client is once it is installed.
const CTL: &str = "/usr/bin/sekhmetctl";

/// The user and group of somebody without rights.
const NOBODY: &str = "65534";

/// How long anything may take to show.
const WITHIN: Duration = Duration::from_secs(20);

/// The right capabilities, as `/proc/PID/status` writes them: NET_ADMIN 12, SYS_PTRACE 19, PERFMON 38, BPF 39.
const CAPABILITIES: u64 = 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;

/// Every file passes its format's own validator, and the removal leaves an empty folder.
pub(super) fn files() -> Result<Outcome> {
    let programs = programs()?;
    let folder = tempfile::tempdir().context("cannot make a folder to install into")?;
    let target = Target { destdir: Some(folder.path().to_path_buf()), prefix: "/usr".into(), yes: true };
    install::install(&Options { target: target.clone(), from: Some(programs), replace: false })?;
    let root = folder.path().join("usr");
    let mut passed = 2;
    for (program, arguments, file) in [
        ("desktop-file-validate", &[][..], "share/applications/org.sekhmet.Sekhmet.desktop"),
        ("appstreamcli", &["validate", "--no-net"][..], "share/metainfo/org.sekhmet.Sekhmet.metainfo.xml"),
        ("systemd-sysusers", &["--dry-run"][..], "lib/sysusers.d/sekhmet.conf"),
    ] {
        shell::run(Command::new(program).args(arguments).arg(root.join(file)))?;
        passed += 1;
    }
    for file in xml_files(&root)? {
        shell::run(Command::new("xmllint").args(["--noout", "--nonet"]).arg(&file))?;
        passed += 1;
    }
    check_unit(&root)?;
    passed += 2;
    install::uninstall(&target, false)?;
    let left = fs::read_dir(folder.path())?.count();
    ensure!(left == 0, "the removal left something in {}", folder.path().display());
    Ok(Outcome::Passed(passed))
}

/// The unit as systemd reads it, and what it leaves open to the helper.
fn check_unit(root: &Path) -> Result<()> {
    let unit = root.join("lib/systemd/system/sekhmet.service");
    // systemd looks for the program at the place that the unit names, where it is not installed now.
    let text = fs::read_to_string(&unit)?.replace("=/usr/", &format!("={}/", root.display()));
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("sekhmet.service");
    fs::write(&copy, text)?;
    let mut verify = Command::new("systemd-analyze");
    let (status, said) = shell::run_and_read(verify.args(["verify", "--recursive-errors=no"]).arg(&copy))?;
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("sekhmet")).collect();
    ensure!(status.success() && about_us.is_empty(), "systemd-analyze verify: {}", about_us.join("\n"));

    let mut security = Command::new("systemd-analyze");
    let text = shell::output(security.args(["security", "--offline=yes", "--no-pager"]).arg(&copy))?;
    let exposure = exposure(&text).context("systemd-analyze security gave no exposure")?;
    shell::say(format!("exposure {exposure} (systemd-analyze security), {EXPOSURE_MAX:.1} at most"));
    ensure!(exposure <= EXPOSURE_MAX, "the unit leaves more open than it may:\n{text}");
    Ok(())
}

fn exposure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("Overall exposure level"))?;
    line.split_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

fn xml_files(root: &Path) -> Result<Vec<PathBuf>> {
    let found = shell::output(Command::new("find").arg(root).args(["-type", "f", "("]).args([
        "-name",
        "*.xml",
        "-o",
        "-name",
        "*.policy",
        "-o",
        "-path",
        "*/system.d/*.conf",
        "-o",
        "-name",
        "*.svg",
        ")",
    ]))?;
    let files: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    ensure!(files.len() >= 6, "fewer XML files than there are: {found}");
    Ok(files)
}

/// Installed for real and started by the bus in its whole confinement, the helper sees what it sees without; then it goes.
pub(super) fn booted() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let programs = programs()?;
    let mut passed = 0;
    let machine = Machine::start()?;
    match in_machine(&machine, &programs, &mut passed) {
        Ok(()) => Ok(Outcome::Passed(passed)),
        Err(error) => bail!("{error:#}\nThe journal there:\n{}", machine.journal(60)),
    }
}

fn in_machine(machine: &Machine, programs: &Path, passed: &mut u64) -> Result<()> {
    let before = traces(machine)?;
    let older = Held::start(machine, programs, "older")?;
    let xtask = std::env::current_exe()?;
    write_drop_in(machine, "strict", &format!("{STRICT}BindReadOnlyPaths={MACHINE_PROC}:/proc\n"))?;
    shell::run(machine.command(&xtask).args(["install", "--yes", "--from"]).arg(programs))?;

    // Nobody started it: the bus does, when the first client asks.
    let confined = coverage(&mut machine.command(CTL))?;
    let free = with_helper::Options { is_debug: true, ..with_helper::Options::default() };
    let free = coverage(&mut with_helper::command(&free, [programs.join("sekhmetctl").into()])?)?;
    ensure!(confined == free, "confined it sees otherwise:\n{confined:#?}\n{free:#?}");
    check_rights(machine)?;
    let younger = Held::start(machine, programs, "younger")?;
    older.check(machine, true)?;
    younger.check(machine, true)?;
    check_stranger(machine)?;
    let restarts = show(machine, "NRestarts")?;
    ensure!(restarts == "0", "the helper died {restarts} times");
    check_restart(machine)?;
    *passed += 7;

    write_drop_in(machine, "reduced", REDUCED)?;
    shell::run(machine.command("systemctl").arg("daemon-reload"))?;
    shell::run(machine.command("systemctl").args(["restart", "sekhmet.service"]))?;
    // Polling tells who talks to whom, and not how much since when.
    older.check(machine, false)?;
    *passed += 1;
    older.release()?;
    younger.release()?;

    shell::run(machine.command(&xtask).args(["uninstall", "--yes", "--purge"]))?;
    let after = traces(machine)?;
    let left: Vec<&String> = after.difference(&before).collect();
    ensure!(left.is_empty(), "the removal left {left:?}");
    *passed += 1;
    Ok(())
}

/// A connection between two processes of the machine, held open.
struct Held {
    holder: Child,
    truth: Vec<Value>,
}

impl Held {
    fn start(machine: &Machine, programs: &Path, name: &str) -> Result<Self> {
        let file = format!("/tmp/{name}.jsonl");
        let mut command = machine.command(programs.join("known-answer"));
        let mut holder = command.args(["hold", &file]).stdin(Stdio::piped()).spawn()?;
        let text = until(|| {
            if let Some(status) = holder.try_wait()? {
                bail!("known-answer hold ended: {status}");
            }
            shell::output(machine.command("cat").arg(&file))
        })?;
        Ok(Self { holder, truth: json_lines(&text)? })
    }

    /// Each end is listed once, with its process (by its command line: numbers differ between namespaces), and with
    /// its bytes where they are known.
    fn check(&self, machine: &Machine, has_bytes: bool) -> Result<()> {
        ensure!(self.truth.len() == 2, "two ends were held: {:?}", self.truth);
        until(|| {
            let flows = json_lines(&shell::output(machine.command(CTL).args(["flows", "--json"]))?)?;
            for truth in &self.truth {
                let is_it = |flow: &&Value| {
                    is_address(&flow["local"], &truth["local"])
                        && is_address(&flow["remote"], &truth["remote"])
                };
                let found: Vec<&Value> = flows.iter().filter(is_it).collect();
                let [flow] = found.as_slice() else { bail!("not one flow of {truth}: {found:?}") };
                let token = truth["token"].as_str().context("a truth has a token")?;
                ensure!(flow["process"]["cmdline"].to_string().contains(token), "another process: {flow}");
                for bytes in ["tx_bytes", "rx_bytes"].into_iter().filter(|_| has_bytes) {
                    ensure!(flow[bytes] == truth[bytes], "{bytes}: {} in {flow}", truth[bytes]);
                }
            }
            Ok(())
        })
    }

    fn release(mut self) -> Result<()> {
        drop(self.holder.stdin.take());
        let status = self.holder.wait()?;
        ensure!(status.success(), "known-answer hold: {status}");
        Ok(())
    }
}

/// `{"addr": …, "port": …}` against `ADDRESS:PORT`.
fn is_address(shown: &Value, truth: &Value) -> bool {
    let shown = format!("{}:{}", shown["addr"].as_str().unwrap_or_default(), shown["port"]);
    truth.as_str() == Some(&shown)
}

fn json_lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

/// Repeats `attempt` until it succeeds; gives its last error when it does not in time.
fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + WITHIN;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            outcome => return outcome,
        }
    }
}

/// What is seen by what, without the words.
fn coverage(sekhmetctl: &mut Command) -> Result<BTreeSet<String>> {
    let text = shell::output(sekhmetctl.args(["coverage", "--json"]))?;
    let mut sources = BTreeSet::new();
    for line in json_lines(&text)? {
        sources.insert(format!("{} by {}: {}", line["capability"], line["source"], line["status"]));
    }
    ensure!(!sources.is_empty(), "no coverage: {text}");
    Ok(sources)
}

/// Somebody without rights and without a session, as the machine's own polkit judges.
fn check_stranger(machine: &Machine) -> Result<()> {
    let ask = |arguments: &[&str]| {
        let mut command = machine.command("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--", CTL]).args(arguments);
        command.stdin(Stdio::null()).output().context("cannot start setpriv")
    };
    let own = ask(&["ps", "--json"])?;
    ensure!(own.status.success(), "nobody may not see his own: {}", String::from_utf8_lossy(&own.stderr));
    for process in json_lines(&String::from_utf8_lossy(&own.stdout))? {
        ensure!(process["uid"].to_string() == NOBODY, "nobody is shown {process}");
    }
    let all = ask(&["ps", "--all", "--json"])?;
    ensure!(all.status.code() == Some(1) && all.stdout.is_empty(), "nobody is shown everything: {all:?}");
    Ok(())
}

/// For this machine only: in the folder that vanishes with it.
fn write_drop_in(machine: &Machine, name: &str, text: &str) -> Result<()> {
    let script = "mkdir -p /run/systemd/system/sekhmet.service.d && \
                  printf %s \"$2\" >/run/systemd/system/sekhmet.service.d/\"$1\".conf";
    shell::run(machine.command("sh").args(["-c", script, "sh", name, text]))
}

fn show(machine: &Machine, property: &str) -> Result<String> {
    let mut command = machine.command("systemctl");
    let text = shell::output(command.args(["show", "--value", "--property", property, "sekhmet.service"]))?;
    Ok(text.trim().to_owned())
}

fn check_rights(machine: &Machine) -> Result<()> {
    let pid = show(machine, "MainPID")?;
    let status = shell::output(machine.command("cat").arg(format!("/proc/{pid}/status")))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').split_whitespace().next().unwrap_or_default().to_owned()
    };
    let held = |name: &str| u64::from_str_radix(&field(name), 16).context("no capabilities in the status");
    for name in ["CapEff", "CapPrm", "CapBnd"] {
        ensure!(held(name)? & !CAPABILITIES == 0, "{name} has more than the four: {}", field(name));
    }
    ensure!(held("CapInh")? == 0 && held("CapAmb")? == 0, "something would be inherited: {status}");
    ensure!(field("Uid") != "0" && field("NoNewPrivs") == "1", "it is root, or could become it: {status}");
    ensure!(field("Seccomp") == "2", "no system call is refused: {status}");
    Ok(())
}

/// Killed, it comes back by itself.
fn check_restart(machine: &Machine) -> Result<()> {
    let first = show(machine, "MainPID")?;
    shell::run(machine.command("kill").args(["-9", &first]))?;
    until(|| {
        let now = show(machine, "MainPID")?;
        ensure!(now != first && now != "0", "the killed helper did not come back");
        coverage(&mut machine.command(CTL)).map(|_| ())
    })
}

/// Every path and user of the machine that bears our name.
fn traces(machine: &Machine) -> Result<BTreeSet<String>> {
    let mut find = machine.command("find");
    find.args(["/etc", "/usr", "/var", "/opt", "-xdev", "-iname", "*sekhmet*"]);
    let mut users = machine.command("sh");
    users.args(["-c", "grep -h sekhmet /etc/passwd /etc/group /etc/shadow /etc/gshadow || true"]);
    let text = shell::output(&mut find)? + &shell::output(&mut users)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Debug builds: what is tested here is where they go, and how they are confined.
fn programs() -> Result<PathBuf> {
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet", "sekhmet-testkit"], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_exposure() {
        let text =
            "  NAME  DESCRIPTION\n✓ User= x\n\n→ Overall exposure level for sekhmet.service: 1.6 OK 🙂\n";
        assert_eq!(exposure(text), Some(1.6));
        assert_eq!(exposure("→ nothing"), None);
    }
}
