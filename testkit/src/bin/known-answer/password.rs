//! A user without rights at a terminal, and the password of an administrator who exists for this test only.
//!
//! Nothing is played here: `sekhmetctl` starts `pkttyagent`, that asks, PAM checks, polkit believes or does not.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::{
    blocked::no_rules,
    caller::{Caller, REFUSED, listed, rules},
    checker::{Checker, until_ok},
    report::Report,
};

/// Where `with-helper --admin` says the password.
const PASSWORD: &str = "SEKHMET_ADMIN_PASSWORD";

/// How long anything may take. PAM waits a few seconds after a wrong password.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole story: a wrong password, then the right one.
pub(crate) fn password(checker: &Checker, report: &mut Report) -> Result<()> {
    let password = std::env::var(PASSWORD).context("there is no administrator; see with-helper --admin")?;
    let caller = Caller::new(checker)?;
    let victim = caller.victim(b"streamer")?;
    until_ok(|| listed(checker, victim.pid)).map_err(anyhow::Error::msg)?;
    let pid = victim.pid.to_string();
    let sentence = format!(
        "Authentication is required to block {} (PID {pid}) and what it starts until it exits",
        victim.name
    );
    for (name, typed, is_right) in
        [("a wrong password", "not this one", false), ("the right password", password.as_str(), true)]
    {
        let mut terminal = Terminal::run(&caller, &["block", "--pid", &pid])?;
        terminal.wait_for("Password: ")?;
        let asked = terminal.text().contains(&sentence);
        report.check(
            &format!("{name}: the terminal shows the sentence"),
            asked.then_some(()).ok_or(terminal.text()),
        );
        report.check(&format!("{name}: before it is typed no rule"), no_rules(checker));
        terminal.type_line(typed)?;
        let code = terminal.end()?;
        let text = terminal.text();
        let is_told = if is_right {
            code == Some(0) && text.contains("AUTHENTICATION COMPLETE") && text.contains("rule ")
        } else {
            code == Some(1) && text.contains("AUTHENTICATION FAILED") && words(&text).contains(REFUSED)
        };
        report.check(
            &format!("{name}: the caller is told"),
            is_told.then_some(()).ok_or(format!("{code:?}: {text}")),
        );
        let echoed = text.contains(typed);
        report.check(&format!("{name}: it is not shown"), (!echoed).then_some(()).ok_or(text.clone()));
        report.note(&text.replace(['\r', '\u{1b}'], ""));
        if is_right {
            let one = rules(checker).and_then(|r| match r.as_slice() {
                [rule] if rule["subject"]["process"]["pid"] == victim.pid => Ok(()),
                other => Err(format!("{other:?}")),
            });
            report.check("the right password: the rule is there", one);
        } else {
            report.check("a wrong password: no rule", no_rules(checker));
        }
    }
    Ok(())
}

/// What is said, however the lines are broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A terminal with a program on it, in a session of its own as a shell's would be.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Terminal {
    fn run(caller: &Caller, arguments: &[&str]) -> Result<Self> {
        let (ours, theirs) = pair()?;
        let mut command = caller.ctl(&["setsid", "--ctty"], arguments);
        command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs.try_clone()?));
        let child = command.stderr(Stdio::from(theirs)).spawn().context("setsid (util-linux)")?;
        // It holds copies of the program's side; the screen ends only without them.
        drop(command);
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let keyboard = File::from(ours);
        let mut glass = keyboard.try_clone()?;
        let shown = Arc::clone(&screen);
        let reader = thread::Builder::new().name("screen".into()).spawn(move || {
            let mut buffer = [0; 4096];
            // EIO says that the last program has left the terminal (pty(7)).
            while let Ok(length @ 1..) = glass.read(&mut buffer) {
                shown.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        })?;
        Ok(Self { child, keyboard, screen, reader: Some(reader) })
    }

    fn text(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    fn wait_for(&mut self, what: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.text().contains(what) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("no {what:?} on the terminal: {}", self.text());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn type_line(&mut self, line: &str) -> Result<()> {
        Ok(self.keyboard.write_all(format!("{line}\n").as_bytes())?)
    }

    fn end(&mut self) -> Result<Option<i32>> {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("it does not end: {}", self.text());
            }
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_panic| anyhow::anyhow!("the screen broke"))?;
        }
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has mostly ended.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The side that a person sits at, and the program's side.
fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(ptsname(&ours, Vec::new())?, flags, Mode::empty())?;
    Ok((ours, theirs))
}
