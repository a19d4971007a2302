//! The file of rules on a disk that is full, on one that cannot be written, and damaged: what was good stays in force,
//! whoever asks is told, an unblocking holds at once, and nobody else is cut off.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sekhmet_common::coverage::capability::{KEPT_BLOCKS, KEPT_WATCHLIST};
use sekhmet_testkit::namespace::Peer;
use serde_json::Value;

use crate::{
    blocked::{Sender, Sink, ctl, no_rules, other, silence},
    checker::{Checker, until_ok},
    killed::{helper_pid, wait_for_another},
    report::Report,
};

/// Between two sends.
const PACE: Duration = Duration::from_millis(20);

/// Seconds without a byte.
const SILENT: u64 = 1;

/// Room for a few files of one page.
const BYTES: u32 = 64 << 10;

/// The whole story.
pub(crate) fn stored(checker: &Checker, report: &mut Report) -> Result<()> {
    let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
    let server = SocketAddr::new(peer.address(false)?, 8004);
    let mut sink = Sink::start(&peer, server)?;
    sink.arrived()?;
    let (disk, folder) = (SmallDisk::lay_over()?, tempfile::tempdir()?);
    another_helper()?;
    let mut scene = Scene { checker, report, sink, server, disk, folder: folder.path().to_path_buf() };
    scene.tells("a good disk", "best", &[]);
    scene.full()?;
    scene.full_with_an_older_copy()?;
    scene.read_only()?;
    scene.unwatched()?;
    scene.damaged()
}

/// What every part works with.
struct Scene<'a> {
    checker: &'a Checker,
    report: &'a mut Report,
    sink: Sink,
    server: SocketAddr,
    disk: SmallDisk,
    folder: PathBuf,
}

impl Scene<'_> {
    fn full(&mut self) -> Result<()> {
        let [a, b] = [self.program("a")?, self.program("b")?];
        let rule = self.block(&a)?;
        self.disk.fill()?;
        self.refused("full disk", &b, "No space left on device");
        self.report.check("full disk: the rule from before is listed, no other", self.listed(&[rule]));
        self.is_silent("full disk: what was blocked before stays silent", &a)?;
        self.flows("full disk: what could not be blocked goes on", &b)?;
        self.report.check(
            "full disk: another program is not concerned",
            other(&std::env::current_exe()?, self.server, &mut self.sink),
        );
        self.tells("full disk", "reduced", &["refused", "No space left on device"]);
        self.unblock("full disk", rule)?;
        self.report.check("full disk: unblocked at once", no_rules(self.checker));
        self.flows("full disk: and what was unblocked goes on", &a)?;
        self.disk.empty()?;
        self.tells("with room again", "best", &[]);
        another_helper()?;
        self.report.check("with room again: the next helper blocks nobody", no_rules(self.checker));
        Ok(())
    }

    fn full_with_an_older_copy(&mut self) -> Result<()> {
        let [a, b] = [self.program("a")?, self.program("b")?];
        let rules = [self.block(&a)?, self.block(&b)?];
        self.disk.fill()?;
        ctl(self.checker, &["unblock", &rules[1].to_string()]).context("the older copy makes room")?;
        self.tells("full disk, an older copy made room", "best", &[]);
        another_helper()?;
        let still = self.listed(&rules[..1]);
        self.report.check("full disk: the next helper knows what was unblocked", still);
        self.disk.empty()?;
        self.release()
    }

    fn read_only(&mut self) -> Result<()> {
        let [a, b] = [self.program("a")?, self.program("b")?];
        let rule = self.block(&a)?;
        self.disk.remount("ro")?;
        self.refused("read-only", &b, "Read-only file system");
        another_helper()?;
        self.report.check("read-only: the next helper has the rule", self.listed(&[rule]));
        self.is_silent("read-only: it is in force", &a)?;
        self.unblock("read-only", rule)?;
        self.flows("read-only: unblocked at once", &a)?;
        self.tells("read-only", "reduced", &["again after a restart", "Read-only file system"]);
        another_helper()?;
        self.report.check("read-only: after a restart it is as was told", self.listed(&[rule]));
        self.disk.remount("rw")?;
        self.release()
    }

    /// What is switched off or removed is, and comes back with the next helper unless it could be written before.
    fn unwatched(&mut self) -> Result<()> {
        let added = ctl(self.checker, &["watchlist", "add", "/srv/stored", "--json"])?;
        let added = added["id"].as_u64().context("the entry's number")?;
        let own = self.entries()?.iter().find_map(|(id, _)| Some(*id).filter(|id| *id < added));
        let own = own.context("an entry that came with Sekhmet")?;
        self.disk.remount("ro")?;
        for (how, id) in [("disable", own), ("remove", added)] {
            let said = self.said(&["watchlist", how, &id.to_string()], "watched again after a restart");
            self.report.check(&format!("read-only: {how} is done and said not to last"), said);
        }
        let now = self.entries()?;
        let gone = now.iter().all(|(id, on)| *id != added && (*id != own || !on));
        self.report.check("read-only: neither is watched", gone.then_some(()).ok_or(format!("{now:?}")));
        let refused = match ctl(self.checker, &["watchlist", "add", "/srv/more"]) {
            Err(error) if format!("{error:#}").contains("Read-only file system") => Ok(()),
            other => Err(format!("{other:?}")),
        };
        self.report.check("read-only: a new entry is refused and says why", refused);
        another_helper()?;
        let now = self.entries()?;
        let back = now.contains(&(added, true)) && now.contains(&(own, true));
        self.report.check(
            "read-only: after a restart it is as was told",
            back.then_some(()).ok_or(format!("{now:?}")),
        );
        ctl(self.checker, &["watchlist", "disable", &own.to_string()])?;
        self.disk.remount("rw")?;
        self.tells_of(KEPT_WATCHLIST, "the list, writable again", "best", &[]);
        another_helper()?;
        let now = self.entries()?;
        let kept = now.contains(&(added, true)) && now.contains(&(own, false));
        self.report
            .check("writable again: what was owed was written", kept.then_some(()).ok_or(format!("{now:?}")));
        ctl(self.checker, &["watchlist", "enable", &own.to_string()])?;
        ctl(self.checker, &["watchlist", "remove", &added.to_string()]).map(drop)
    }

    fn damaged(&mut self) -> Result<()> {
        let [a, b] = [self.program("a")?, self.program("b")?];
        let rules = [self.block(&a)?, self.block(&b)?];
        self.disk.damage("rules.toml")?;
        another_helper()?;
        self.report.check("damaged: the last good rules are in force", self.listed(&rules[..1]));
        self.is_silent("damaged: they are", &a)?;
        let own = std::env::current_exe()?;
        let free = other(&own, self.server, &mut self.sink);
        self.report.check("damaged: another program is not concerned", free);
        let words = ["before the last change is in force", "set aside as rules.damaged.toml"];
        self.tells("damaged", "reduced", &words);
        let aside = fs::read(self.disk.0.join("rules.damaged.toml")).is_ok_and(|text| text == GARBAGE);
        self.report
            .check("damaged: what was damaged is set aside", aside.then_some(()).ok_or("it is not".into()));
        another_helper()?;
        self.report.check("damaged: they outlive another start", self.listed(&rules[..1]));
        for name in ["rules.toml", "rules.last.toml"] {
            self.disk.damage(name)?;
        }
        another_helper()?;
        self.report.check("all damaged: no rule", no_rules(self.checker));
        self.flows("all damaged: the machine stays on-line", &a)?;
        self.tells("all damaged", "reduced", &["no rule is in force"]);
        let rule = self.block(&a)?;
        self.report.check("all damaged: a new rule is taken", self.listed(&[rule]));
        self.release()
    }

    /// A file of its own that sends.
    fn program(&self, name: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        if !file.exists() {
            fs::copy(std::env::current_exe()?, &file)?;
        }
        Ok(file)
    }

    fn block(&self, program: &Path) -> Result<u64> {
        let path = program.to_str().context("a path")?;
        let rule = ctl(self.checker, &["block", "--exe", path, "--for", "always", "--json"])?;
        rule["id"].as_u64().context("the rule's number")
    }

    /// Unblocks, which has to be said not to last.
    fn unblock(&mut self, when: &str, rule: u64) -> Result<()> {
        let said = self.said(&["unblock", &rule.to_string()], "blocks again after a restart");
        self.report.check(&format!("{when}: unblock is done and said not to last"), said);
        Ok(())
    }

    /// That a command is done, and what it complains of.
    fn said(&self, arguments: &[&str], words: &str) -> Result<(), String> {
        let output = Command::new(&self.checker.ctl).args(arguments).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() && said.contains(words) { Ok(()) } else { Err(format!("{output:?}")) }
    }

    /// The watchlist: numbers, and whether they are watched.
    fn entries(&self) -> Result<Vec<(u64, bool)>> {
        let output = Command::new(&self.checker.ctl).args(["watchlist", "list", "--json"]).output()?;
        ensure!(output.status.success(), "watchlist list: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let entries = text.lines().map(|line| {
            let entry: Value = serde_json::from_str(line)?;
            entry["id"].as_u64().zip(entry["enabled"].as_bool()).context("an entry")
        });
        entries.collect()
    }

    fn release(&self) -> Result<()> {
        ctl(self.checker, &["release"]).map(drop)
    }

    fn refused(&mut self, when: &str, program: &Path, reason: &str) {
        let said = match self.block(program) {
            Err(error) if format!("{error:#}").contains(reason) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        self.report.check(&format!("{when}: a new block is refused and says why"), said);
    }

    fn listed(&self, wanted: &[u64]) -> Result<(), String> {
        let output = Command::new(&self.checker.ctl).args(["rules", "list", "--json"]).output();
        let text = String::from_utf8_lossy(&output.map_err(|e| e.to_string())?.stdout).into_owned();
        let rules = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ids: Vec<u64> = rules.filter_map(|rule| rule["id"].as_u64()).collect();
        if ids == wanted { Ok(()) } else { Err(text) }
    }

    fn is_silent(&mut self, name: &str, program: &Path) -> Result<()> {
        let _sender = Sender::start(program, self.server, 0, PACE)?;
        let result = silence(&mut self.sink, SILENT);
        self.report.check(name, result);
        Ok(())
    }

    fn flows(&mut self, name: &str, program: &Path) -> Result<()> {
        let _sender = Sender::start(program, self.server, 0, PACE)?;
        let result = self.sink.flows(true);
        self.report.check(name, result);
        Ok(())
    }

    /// What `sekhmetctl coverage` says of the file of rules.
    fn tells(&mut self, when: &str, status: &str, words: &[&str]) {
        self.tells_of(KEPT_BLOCKS, when, status, words);
    }

    /// What it says of something that is kept.
    fn tells_of(&mut self, capability: &str, when: &str, status: &str, words: &[&str]) {
        let result = until_ok(|| {
            let all = self.checker.list("coverage")?;
            let line = all.iter().find(|line| line["capability"] == capability).ok_or("no such line")?;
            let said = format!("{} {}", line["cost"], line["reason"]);
            let good = line["status"] == status && words.iter().all(|word| said.contains(word));
            if good { Ok(()) } else { Err(line.to_string()) }
        });
        self.report.check(&format!("{when}: the coverage says so"), result);
    }
}

/// What no rule can be read from.
const GARBAGE: &[u8] = b"version = 1\n[[rule]]\nid = \xff";

/// Kills the helper and waits for the next one.
fn another_helper() -> Result<()> {
    let before = helper_pid()?;
    kill_process(Pid::from_raw(before).context("the helper's pid")?, Signal::KILL).context("kill")?;
    wait_for_another(before).map(drop)
}

/// A small disk of its own over the helper's state folder, in the stage's mount namespace.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn lay_over() -> Result<Self> {
        let folder =
            std::env::var_os("SEKHMET_HELPER_STATE").context("run this with `cargo xtask with-helper`")?;
        let folder = PathBuf::from(folder);
        let owner = fs::metadata(&folder)?;
        let options = format!("size={BYTES},mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        mount(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "sekhmet-test"]).arg(&folder))?;
        Ok(Self(folder))
    }

    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.0.join("filler"))?;
        while file.write_all(&[0; 1024]).is_ok() {}
        ensure!(fs::write(self.0.join("one-more"), "x").is_err(), "the disk is not full");
        fs::remove_file(self.0.join("one-more")).context("the probe")
    }

    fn empty(&self) -> Result<()> {
        fs::remove_file(self.0.join("filler")).context("the filler")
    }

    fn remount(&self, how: &str) -> Result<()> {
        mount(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0))
    }

    /// Overwrites a file in place.
    fn damage(&self, name: &str) -> Result<()> {
        fs::write(self.0.join(name), GARBAGE).with_context(|| name.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The helper still has it open.
        if let Err(error) = mount(Command::new("umount").arg("--lazy").arg(&self.0)) {
            eprintln!("left behind: {error:#}");
        }
    }
}

fn mount(command: &mut Command) -> Result<()> {
    let output = command.output().context("mount(8)")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
