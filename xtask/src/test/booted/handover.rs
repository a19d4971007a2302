//! Many rules under a running systemd: while one helper follows another, nothing of a blocked program passes.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{CTL, block, call, coverage, show, until};
use crate::boot::Machine;
use crate::shell;

/// How many rules there are; one of them is about the prober.
const RULES: usize = 20;

/// The program that sends all the time: under a name of its own, for others of the machine are written in Python, too.
const PROBER: &str = "/run/prober";

/// One line in a file for each attempt: a datagram from a socket that was open before, one from a new socket.
const PROBE: &str = r#"
import os, socket, time
to = ("127.0.0.1", 9001)
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.connect(to)
def new():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
        fresh.sendto(b"new", to)
while not os.path.exists("/tmp/over"):
    for attempt in (lambda: held.send(b"held"), new):
        try:
            attempt()
        except OSError:
            pass
        print("tried", flush=True)
    time.sleep(0.01)
"#;

/// One line in a file for each datagram.
const HEAR: &str = r#"
import os, socket
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
here.bind(("127.0.0.1", 9001))
here.settimeout(0.1)
while not os.path.exists("/tmp/over"):
    try:
        print(here.recv(100), flush=True)
    except TimeoutError:
        pass
"#;

/// The helper is restarted by the service manager, then killed; both times its successor takes over.
pub(super) fn check(machine: &Machine) -> Result<()> {
    // Itself and not what stands in for it: a version manager's script would run under another name.
    let itself = "import os, sys; print(os.path.realpath(sys.executable))";
    let python = shell::output(machine.command("python3").args(["-c", itself]))?;
    let python = python.trim_end();
    shell::run(machine.command("cp").arg(python).arg(PROBER))?;
    let mut hearer = run(machine, "python3", HEAR, "/tmp/heard")?;
    let mut prober = run(machine, PROBER, PROBE, "/tmp/tried")?;
    let outcome = follow_each_other(machine);
    // Their starters' end would not be theirs: they are in a PID namespace of their own.
    shell::run(machine.command("touch").arg("/tmp/over"))?;
    hearer.wait()?;
    prober.wait()?;
    outcome
}

fn follow_each_other(machine: &Machine) -> Result<()> {
    until(|| lines(machine, "/tmp/heard").and_then(|n| ensure_more(n, 0, "nothing is heard before a rule")))?;
    for number in 1..RULES {
        block(machine, Path::new(&format!("/usr/lib/nobody/{number}")))?;
    }
    block(machine, Path::new(PROBER))?;
    let (heard, tried) = (lines(machine, "/tmp/heard")?, lines(machine, "/tmp/tried")?);
    for script in
        ["systemctl restart sekhmet.service", "kill -9 $(systemctl show --value -p MainPID sekhmet.service)"]
    {
        let before = show(machine, "MainPID")?;
        shell::run(machine.command("sh").args(["-c", script]))?;
        until(|| {
            let now = show(machine, "MainPID")?;
            ensure!(now != before && now != "0", "no helper came after the one that was ended");
            coverage(&mut machine.command(CTL)).map(|_| ())
        })?;
    }
    // What was let through would have been heard by now.
    std::thread::sleep(Duration::from_millis(200));
    let now = (lines(machine, "/tmp/heard")?, lines(machine, "/tmp/tried")?);
    ensure_more(now.1, tried + 50, "the prober has hardly tried")?;
    ensure!(now.0 == heard, "{} of {} attempts got through", now.0 - heard, now.1 - tried);
    let list = shell::output(machine.command(CTL).args(["rules", "list", "--json"]))?;
    ensure!(list.lines().count() == RULES, "not all rules are there: {list}");
    shell::output(&mut call(machine, "Release"))?;
    until(|| {
        lines(machine, "/tmp/heard").and_then(|n| ensure_more(n, heard, "nothing is heard after the rules"))
    })
}

fn ensure_more(count: usize, than: usize, otherwise: &str) -> Result<()> {
    ensure!(count > than, "{otherwise}");
    Ok(())
}

/// A Python text at work in the machine, its output in a file there.
fn run(machine: &Machine, program: &str, text: &str, output: &str) -> Result<Child> {
    let mut command = machine.command("sh");
    command.args(["-c", "exec \"$1\" -c \"$2\" >\"$3\"", "sh", program, text, output]);
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start a program in the machine")
}

fn lines(machine: &Machine, file: &str) -> Result<usize> {
    Ok(shell::output(machine.command("cat").arg(file))?.lines().count())
}
