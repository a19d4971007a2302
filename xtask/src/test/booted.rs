//! The part of the test run that installs on a booted copy of this machine and looks at what runs there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

mod handover;

use super::installed::programs;
use super::summary::Outcome;
use crate::boot::{MACHINE_PROC, Machine};
use crate::{shell, with_helper};

/// In the booted copy a refused system call ends the helper, so that none goes unnoticed. Its processes have numbers
/// of their own there, so the helper gets the `/proc` that its unit asks for, with the machine's.
const STRICT: &str = "[Service]\nSystemCallErrorNumber=kill\nProtectProc=default\n";

/// The helper as on a kernel that refuses programs.
const REDUCED: &str = "[Service]\nExecStart=\nExecStart=/usr/libexec/sekhmet-helper --reduced\n";

/// Where the terminal client is once it is installed.
const CTL: &str = "/usr/bin/sekhmetctl";

/// The user and group of somebody without rights.
const NOBODY: u64 = 65534;

/// How long anything may take to show.
const WITHIN: Duration = Duration::from_secs(20);

/// The right capabilities, as `/proc/PID/status` writes them: NET_ADMIN 12, SYS_PTRACE 19, PERFMON 38, BPF 39.
const CAPABILITIES: u64 = 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;

/// Installed for real and started by the bus in its whole confinement, the helper sees what it sees without; then it goes.
pub(super) fn check() -> Result<Outcome> {
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
    check_block(machine)?;
    check_home(machine)?;
    let restarts = show(machine, "NRestarts")?;
    ensure!(restarts == "1", "the helper was killed once and died {restarts} times");
    handover::check(machine)?;
    *passed += 9;

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
    let id = NOBODY.to_string();
    let ask = |arguments: &[&str]| {
        let mut command = machine.command("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", CTL]).args(arguments);
        command.stdin(Stdio::null()).output().context("cannot start setpriv")
    };
    let own = ask(&["ps", "--json"])?;
    ensure!(own.status.success(), "nobody may not see his own: {}", String::from_utf8_lossy(&own.stderr));
    for process in json_lines(&String::from_utf8_lossy(&own.stdout))? {
        ensure!(process["uid"].as_u64() == Some(NOBODY), "nobody is shown {process}");
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

/// A rule holds, holds again after the helper was killed, and goes: table, stored rules and descriptors, confined.
fn check_block(machine: &Machine) -> Result<()> {
    let mut server = machine.command("python3");
    server.args(["-m", "http.server", "--bind", "127.0.0.1", "8000"]).current_dir("/");
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // A file of an overlay, which bears other numbers for stat(2) than for the kernel's programs.
    let curl = shell::find("curl").context("curl is missing")?.canonicalize()?;
    let fetch = || {
        let mut curl = machine.command(&curl);
        shell::output(curl.args(["--silent", "--show-error", "--max-time", "5", "http://127.0.0.1:8000/"]))
    };
    let outcome = until(fetch).and_then(|_| {
        block(machine, &curl)?;
        ensure!(fetch().is_err(), "a blocked program still gets through");
        check_restart(machine)?;
        ensure!(fetch().is_err(), "a blocked program gets through once the helper was killed");
        shell::output(&mut call(machine, "Release"))?;
        fetch().map(|_| ()).context("a released program does not get through")
    });
    server.kill()?;
    server.wait()?;
    outcome
}

/// A program in a home, which the helper's own view of the file tree lacks: found by its path all the same, before it
/// ever runs.
fn check_home(machine: &Machine) -> Result<()> {
    let home = Path::new("/home/somebody");
    let (program, server) = (home.join("fetch"), "127.0.0.1:8001");
    let curl = shell::find("curl").context("curl is missing")?.canonicalize()?;
    shell::run(machine.command("mkdir").args(["-p", "-m", "755"]).arg(home))?;
    shell::run(machine.command("cp").arg(&curl).arg(&program))?;
    let pid = show(machine, "MainPID")?;
    let script = "ls \"/proc/$1/root/home/somebody\" 2>&1 || true";
    let seen = shell::output(machine.command("sh").args(["-c", script, "sh", &pid]))?;
    ensure!(!seen.contains("fetch\n"), "the helper's own view has homes: {seen}");
    let mut http = machine.command("python3");
    http.args(["-m", "http.server", "--bind", "127.0.0.1", "8001"]).current_dir("/");
    let mut http = http.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let url = format!("http://{server}/");
    let fetch = |with: &Path| {
        let mut fetch = machine.command(with);
        shell::output(fetch.args(["--silent", "--show-error", "--max-time", "5", &url]))
    };
    let outcome = until(|| fetch(&curl)).and_then(|_| {
        block(machine, &program)?;
        ensure!(fetch(&program).is_err(), "a blocked program in a home gets through when it first runs");
        fetch(&curl).context("its twin elsewhere does not")?;
        shell::output(&mut call(machine, "Release"))?;
        fetch(&program).map(|_| ()).context("a released program does not get through")
    });
    http.kill()?;
    http.wait()?;
    outcome
}

/// Blocks a program for ever, on this machine too.
fn block(machine: &Machine, program: &Path) -> Result<()> {
    let rule = ["lifetime", "s", "always", "extent", "s", "everywhere", "program", "ay"];
    let path: Vec<String> =
        program.as_os_str().as_encoded_bytes().iter().map(|byte| byte.to_string()).collect();
    let mut add = call(machine, "Add");
    add.args(["a{sv}", "3"]).args(rule).arg(path.len().to_string()).args(&path);
    shell::output(&mut add).map(|_| ())
}

/// A method of the helper's rules, called by root.
fn call(machine: &Machine, method: &str) -> Command {
    let mut command = machine.command("busctl");
    command.args([
        "call",
        "org.sekhmet.Helper1",
        "/org/sekhmet/Helper1",
        "org.sekhmet.Helper1.Rules",
        method,
    ]);
    command
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
    shell::run(machine.command("sh").args(["-c", "kill -9 $1", "sh", &first]))?;
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
