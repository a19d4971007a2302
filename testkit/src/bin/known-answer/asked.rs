//! What a person is asked before a rule comes or goes, and that nothing happens but what was answered.
//!
//! A user without rights calls, a real polkit asks the test's agent of that user, and root says who authenticated.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sekhmet_common::bus::{ACTION_BLOCK_ADD, ACTION_BLOCK_REMOVE, error};
use sekhmet_testkit::agent::{Agent, Prompt};
use serde_json::Value;
use zbus::Connection;

use crate::{
    blocked::no_rules,
    caller::{Caller, REFUSED, UID, Victim, done, end_of, listed, refused, rules, said},
    checker::{Checker, until_ok},
    report::Report,
};

/// Where every program looks for the system bus.
const SOCKET: &str = "/run/dbus/system_bus_socket";

/// Waits for a line before it becomes the program that follows, under the same process id.
const HELD: [&str; 4] = ["sh", "-c", "read -r _; exec \"$@\"", "sh"];

/// How long polkit may take to take a question back.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// A user without rights, and the agent by which polkit asks that user.
pub(crate) struct Scene<'a> {
    checker: &'a Checker,
    caller: Caller,
    agent: Agent,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Yes,
    No,
    Dismissed,
}

/// The whole story. Needs root, so that it can be somebody else and say who authenticated.
pub(crate) fn asked(checker: &Checker, report: &mut Report) -> Result<()> {
    ensure!(rustix::process::getuid().is_root(), "only root can call as somebody else");
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut scene = Scene::new(checker).await?;
        let victim = scene.caller.victim(b"streamer")?;
        scene.added(&victim, report).await?;
        scene.removed(&victim, report).await?;
        scene.left(&victim, report).await?;
        scene.hostile(report).await?;
        scene.crowd(&victim, report).await?;
        scene.twice(report).await
    })
}

impl<'a> Scene<'a> {
    /// Needs root, who says who authenticated.
    pub(crate) async fn new(checker: &'a Checker) -> Result<Self> {
        let root = Connection::system().await.context("the system bus")?;
        let agent = Agent::start(Path::new(SOCKET), UID, root).await?;
        Ok(Self { checker, caller: Caller::new(checker)?, agent })
    }

    /// Starts `sekhmetctl` as the stranger, with the agent for it.
    async fn begin(&self, arguments: &[&str]) -> Result<Child> {
        self.begin_command(self.caller.ctl(&HELD, arguments)).await
    }

    /// The command waits for a line before it becomes what it should be: until then the agent is registered.
    async fn begin_command(&self, mut command: Command) -> Result<Child> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        self.agent.register(child.id()).await?;
        writeln!(child.stdin.take().context("no input")?)?;
        Ok(child)
    }

    /// One call and the answer to its question, what was asked and how the call ended.
    pub(crate) async fn call(&mut self, arguments: &[&str], say: Say) -> Result<(Asked, Output)> {
        let mut child = self.begin(&[&["--interactive", "--json"], arguments].concat()).await?;
        let prompt = match self.agent.prompt().await {
            Ok(prompt) => prompt,
            Err(error) => {
                child.kill()?;
                return Err(error.context(format!("the caller said: {}", said(&end_of(child).await?))));
            }
        };
        let asked = Asked::from(&prompt);
        match say {
            Say::Yes => self.agent.say_yes(prompt).await?,
            Say::No => prompt.say_no()?,
            Say::Dismissed => prompt.dismiss()?,
        }
        Ok((asked, end_of(child).await?))
    }

    async fn added(&mut self, victim: &Victim, report: &mut Report) -> Result<()> {
        let pid = victim.pid.to_string();
        let sentence = format!(
            "Authentication is required to block {} (PID {pid}) and what it starts until it exits",
            victim.name
        );
        let block = ["block", "--pid", &pid];
        // Only what the helper has seen can be named.
        until_ok(|| listed(self.checker, victim.pid)).map_err(anyhow::Error::msg)?;
        for (name, say) in [("a wrong password", Say::No), ("a dismissed question", Say::Dismissed)] {
            let (asked, output) = self.call(&block, say).await?;
            report.check(&format!("{name}: the sentence"), asked.is(ACTION_BLOCK_ADD, &sentence));
            report.check(&format!("{name}: the caller is told"), refused(&output));
            report.check(&format!("{name}: no rule"), no_rules(self.checker));
            report.note(&asked.told());
        }
        let child = self.begin(&[&["--interactive", "--json"][..], &block].concat()).await?;
        let prompt = self.agent.prompt().await?;
        let asked = Asked::from(&prompt);
        report.check("while the question is open: no rule", no_rules(self.checker));
        self.agent.say_yes(prompt).await?;
        let output = end_of(child).await?;
        report.check("yes: the sentence", asked.is(ACTION_BLOCK_ADD, &sentence));
        report.check("yes: done", done(&output));
        let rule = rules(self.checker).and_then(|rules| match rules.as_slice() {
            [rule] if rule["added_by"] == UID && rule["subject"]["process"]["pid"] == victim.pid => Ok(()),
            other => Err(format!("{other:?}")),
        });
        report.check("yes: the rule is there, in the name of who called", rule);
        Ok(())
    }

    /// The rule that is in force goes only after a question of its own.
    async fn removed(&mut self, victim: &Victim, report: &mut Report) -> Result<()> {
        let before = rules(self.checker).map_err(anyhow::Error::msg)?;
        let id = before.first().context("no rule")?["id"].to_string();
        let sentence = format!(
            "Authentication is required to remove the block of {} (PID {}) and what it starts",
            victim.name, victim.pid
        );
        let (asked, output) = self.call(&["unblock", &id], Say::Dismissed).await?;
        report.check("unblock asks anew: the sentence", asked.is(ACTION_BLOCK_REMOVE, &sentence));
        report.note(&asked.told());
        report.check("unblock dismissed: the caller is told", refused(&output));
        let still = rules(self.checker);
        report.check("unblock dismissed: the rule stays", still.and_then(|r| count(&r, 1)));
        let (asked, output) = self.call(&["release"], Say::No).await?;
        let all = "Authentication is required to remove the block of the one blocked program or process";
        report.check("release asks anew: the sentence", asked.is(ACTION_BLOCK_REMOVE, all));
        report.note(&asked.told());
        report.check("release refused: the caller is told", refused(&output));
        let (asked, output) = self.call(&["unblock", &id], Say::Yes).await?;
        report.check("unblock, yes: the same sentence", asked.is(ACTION_BLOCK_REMOVE, &sentence));
        report.check("unblock, yes: done", done(&output));
        report.check("unblock, yes: no rule", no_rules(self.checker));
        Ok(())
    }

    /// Nobody waits for the answer any more, or nobody can be asked.
    async fn left(&mut self, victim: &Victim, report: &mut Report) -> Result<()> {
        let pid = victim.pid.to_string();
        let mut child = self.begin(&["--interactive", "block", "--pid", &pid]).await?;
        let prompt = self.agent.prompt().await?;
        child.kill()?;
        let status = end_of(child).await?.status;
        ensure!(status.signal() == Some(9), "{status}");
        let deadline = Instant::now() + TAKEN_BACK_WITHIN;
        while !self.agent.cancelled().contains(&prompt.cookie) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let is_cancelled = self.agent.cancelled().contains(&prompt.cookie);
        let taken = if is_cancelled { Ok(()) } else { Err("it is still on the screen".into()) };
        report.check("the caller was killed: the question is taken back", taken);
        // Whoever types the password now is late.
        let late = match self.agent.say_yes(prompt).await {
            Ok(()) => Err("polkit believed it".to_owned()),
            Err(_) => Ok(()),
        };
        report.check("the caller was killed: a late yes is worth nothing", late);
        report.check("the caller was killed: no rule", no_rules(self.checker));
        for (name, options, expected) in [
            ("without an agent", &["--interactive"][..], REFUSED),
            ("without --interactive", &[], "an administrator would have to authenticate"),
        ] {
            let mut command = self.caller.ctl(&[], &[options, &["block", "--pid", &pid]].concat());
            let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            let output = end_of(child).await?;
            let is_so = output.status.code() == Some(1) && said(&output).contains(expected);
            report.check(&format!("{name}: refused"), is_so.then_some(()).ok_or_else(|| said(&output)));
        }
        let quiet = self.agent.is_quiet().then_some(()).ok_or_else(|| "somebody was asked".to_owned());
        report.check("neither of them asks anybody", quiet);
        report.check("refused: no rule", no_rules(self.checker));
        Ok(())
    }

    /// A name cannot write the question.
    async fn hostile(&mut self, report: &mut Report) -> Result<()> {
        let victim = self.caller.victim("$(target)\n\u{202e}x".as_bytes())?;
        until_ok(|| listed(self.checker, victim.pid)).map_err(anyhow::Error::msg)?;
        let (asked, _) = self.call(&["block", "--pid", &victim.pid.to_string()], Say::No).await?;
        let sentence = format!(
            "Authentication is required to block {} (PID {}) and what it starts until it exits",
            victim.name, victim.pid
        );
        report.check("a hostile name is shown, not obeyed", asked.is(ACTION_BLOCK_ADD, &sentence));
        let one_line = asked.message.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        report.check("and on one line", one_line.then_some(()).ok_or_else(|| asked.message.clone()));
        report.note(&asked.told());
        Ok(())
    }

    /// A user has two questions at a time, whatever the number of programs.
    async fn crowd(&mut self, victim: &Victim, report: &mut Report) -> Result<()> {
        let pid = victim.pid.to_string();
        let block = ["--interactive", "block", "--pid", &pid];
        let mut open = Vec::new();
        for _ in 0..2 {
            let child = self.begin(&block).await?;
            open.push((child, self.agent.prompt().await?));
        }
        let third = end_of(self.begin(&block).await?).await?;
        let is_so = third.status.code() == Some(1) && said(&third).contains("too many");
        report.check("a user's third question is refused", is_so.then_some(()).ok_or_else(|| said(&third)));
        for (child, prompt) in open {
            prompt.dismiss()?;
            report.check("one of the two before it is answered", refused(&end_of(child).await?));
        }
        report.check("a crowd: no rule", no_rules(self.checker));
        Ok(())
    }

    /// A sender has one question at a time.
    async fn twice(&mut self, report: &mut Report) -> Result<()> {
        let child = self.begin_command(self.caller.twice(&HELD)).await?;
        let prompt = self.agent.prompt().await?;
        let asked = Asked::from(&prompt);
        // Time for a second question to come, if one does.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let alone = self.agent.is_quiet().then_some(()).ok_or_else(|| "two questions are open".to_owned());
        report.check("two calls of one sender: one question", alone);
        prompt.dismiss()?;
        let output = end_of(child).await?;
        let answers = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_so = answers.lines().collect::<Vec<_>>() == [error::LIMITS_EXCEEDED, error::NOT_AUTHORIZED];
        let answered = is_so.then_some(()).ok_or_else(|| format!("{answers}{}", said(&output)));
        report.check("the second call is refused at once, the first when it is answered", answered);
        report.note(&asked.told());
        report.check("two calls of one sender: no rule", no_rules(self.checker));
        Ok(())
    }
}

/// What was asked, kept when the question is over.
pub(crate) struct Asked {
    pub(crate) action: String,
    pub(crate) message: String,
    details: Vec<(String, String)>,
}

impl From<&Prompt> for Asked {
    fn from(prompt: &Prompt) -> Self {
        let mut details: Vec<_> = prompt.details.clone().into_iter().collect();
        details.sort();
        Self { action: prompt.action.clone(), message: prompt.message.clone(), details }
    }
}

impl Asked {
    fn is(&self, action: &str, sentence: &str) -> Result<(), String> {
        if (self.action.as_str(), self.message.as_str()) == (action, sentence) {
            Ok(())
        } else {
            Err(format!("{}: {:?}\nexpected {action}: {sentence:?}", self.action, self.message))
        }
    }

    pub(crate) fn told(&self) -> String {
        format!("asked: {} {:?}", self.message, self.details)
    }
}

fn count(rules: &[Value], expected: usize) -> Result<(), String> {
    if rules.len() == expected { Ok(()) } else { Err(format!("{rules:?}")) }
}
