//! Watched files in the window: real programs open real keys, and the window marks, lists and tells what `sekhmetctl`
//! lists.

use std::{
    fs,
    io::Read,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sekhmet_testkit::namespace::Peer;
use serde_json::Value;

use crate::{
    caller::UID,
    checker::{Checker, until_ok},
    report::Report,
};

mod desk;

use desk::Desk;

/// A port of the second host.
const PORT: u16 = 8004;

/// The folder of `with-helper`, which nobody else sees.
const STAGE: &str = "/run/dbus/sekhmet";

const AGENT: &str = include_str!("lens/agent.py");

/// A name as no other program has it.
const AGENT_NAME: &str = "invoice-agent.py";

/// Everything that goes on beside the window. Ends when dropped.
struct Scene {
    _home: Home,
    agent: Child,
    server: Child,
    _peer: Peer,
    address: SocketAddr,
    key: String,
}

/// A `~/.ssh` of this run alone, over the real one.
struct Home {
    folder: PathBuf,
    made: bool,
}

impl Home {
    fn create() -> Result<Self> {
        // Only `with-helper` has this, in a mount namespace of its own: nothing is laid over the real keys.
        ensure!(Path::new(STAGE).is_dir(), "not beside with-helper");
        let home = std::env::var_os("HOME").context("HOME")?;
        let folder = Path::new(&home).join(".ssh");
        let made = !folder.exists();
        if made {
            fs::create_dir(&folder)?;
        }
        done(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=700", "tmpfs"]).arg(&folder))?;
        Ok(Self { folder, made })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let unmounted = done(Command::new("umount").arg(&self.folder));
        let removed = if self.made { fs::remove_dir(&self.folder).map_err(Into::into) } else { Ok(()) };
        if let Err(error) = unmounted.and(removed) {
            eprintln!("left behind: {}: {error:#}", self.folder.display());
        }
    }
}

impl Scene {
    /// A key, four programs that want it, and a host that one of them reaches after that.
    fn play(scripts: &Path) -> Result<Self> {
        let home = Home::create()?;
        let key = home.folder.join("id_ed25519");
        done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
        let address = SocketAddr::new(peer.address(false)?, PORT);
        let mut server = peer.command(&std::env::current_exe()?);
        let server = server.args(["http", &address.to_string()]).stdin(Stdio::null()).spawn()?;
        done(Command::new("ssh-keygen").arg("-y").arg("-f").arg(&key).stdout(Stdio::null()))?;
        done(Command::new("cat").arg(&key).stdout(Stdio::null()))?;
        let mut stranger = Command::new("cat");
        stranger.arg(&key).uid(UID).gid(UID).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(!stranger.status()?.success(), "the key is not for everybody");
        let script = scripts.join(AGENT_NAME);
        fs::write(&script, AGENT)?;
        let mut agent = Command::new("python3");
        agent.arg(&script).arg(&key).args([address.ip().to_string(), address.port().to_string()]);
        let agent = agent.stdin(Stdio::piped()).spawn().context("python3")?;
        Ok(Self { _home: home, agent, server, _peer: peer, address, key: key.to_string_lossy().into_owned() })
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in [&mut self.agent, &mut self.server] {
            if let Err(error) = child.kill().and_then(|()| child.wait().map(|_| ())) {
                eprintln!("known-answer: {error}");
            }
        }
    }
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Runs the scene beside a window on the display, and leaves pictures in a folder.
pub(crate) fn lens(
    checker: &Checker,
    folder: &Path,
    size: &str,
    theme: &str,
    report: &mut Report,
) -> Result<()> {
    fs::create_dir_all(folder)?;
    let window = checker.ctl.with_file_name("sekhmet");
    let scripts = tempfile::tempdir()?;
    let scene = Scene::play(scripts.path())?;
    let mut listed = Value::Null;
    report.check(
        "the stream and sekhmetctl join the read with what came after",
        until_ok(|| {
            listed = joined(checker, &scene)?;
            Ok(())
        }),
    );
    let desk = Desk::open(&window, folder, &["--size", size, "--theme", theme])?;
    let marked = desk.hear(&[AGENT_NAME, ", program, level 1, ", "secrets opened unexpectedly"]);
    report.check("the program's row is marked", marked.map(drop));
    let mark = desk.hear(&[AGENT_NAME, " read ~/.ssh/id_ed25519."]);
    report.check("the timeline has a mark", mark.map(drop));
    desk.picture(&folder.join("everything.png"))?;
    report.check("a click opens the Secrets lens", desk.click(&["Secrets, "]));
    for (what, parts) in [
        (
            "the read",
            &[
                "~/.ssh/id_ed25519, SSH private keys, file, unexpected reader, severity high, read, 1 time,",
                "after that 1 new host",
            ][..],
        ),
        (
            "what was not there",
            &[
                "~/.ssh/id_ed25519_absent, SSH private keys, file, unexpected reader, severity high, not found,",
            ],
        ),
        (
            "what was denied",
            &["~/.ssh/id_ed25519, SSH private keys, file, unexpected reader, severity high, denied,"],
        ),
        // Beside `with-helper` everything is in a mount namespace of its own, where a path is nobody's credential.
        ("a reader that is expected elsewhere", &["ssh-keygen, program, unexpected reader"]),
    ] {
        report.check(&format!("the lens lists {what}"), desk.hear(parts).map(drop));
    }
    desk.picture(&folder.join("secrets.png"))?;
    report.check(
        "the window and sekhmetctl list the same accesses",
        until_ok(|| same(&desk.read()?, checker, &scene)),
    );
    let read = ["~/.ssh/id_ed25519, ", "file, unexpected reader", "after that 1 new host"];
    report.check("a click selects the read", desk.click(&read));
    let sentence = [
        AGENT_NAME,
        " read this file. ",
        "later it reached a host that it had not been seen to reach before.",
    ];
    report.check("the evidence says what came after", desk.hear(&sentence).map(drop));
    let first = desk.hear(&["Read ~/.ssh/id_ed25519, first time, SSH private keys"]);
    report.check("and that it was the first time", first.map(drop));
    desk.picture(&folder.join("evidence.png"))?;
    stripes(&folder.join("evidence.png"), report)
}

/// The line of the agent's read, once a contact came after it.
fn joined(checker: &Checker, scene: &Scene) -> Result<Value, String> {
    let lines = checker.list("files")?;
    let pid = scene.agent.id();
    let line = lines
        .iter()
        .find(|line| line["process"]["pid"] == pid && line["path"] == scene.key.as_str())
        .ok_or_else(|| format!("no access of {pid} among {lines:?}"))?;
    let reached = |contact: &Value| {
        contact["remote"]["addr"] == scene.address.ip().to_string() && contact["reason"] == "new_remote"
    };
    let joined = line["first_time"] == true
        && line["expected"] == false
        && line["result"] == "ok"
        && line["contacts"].as_array().is_some_and(|contacts| contacts.iter().any(reached));
    if joined { Ok(line.clone()) } else { Err(line.to_string()) }
}

/// Everything that the lens lists is what `sekhmetctl` lists, and nothing is missing.
fn same(dump: &Value, checker: &Checker, scene: &Scene) -> Result<(), String> {
    let rows = dump["secrets"].as_array().ok_or("no rows")?;
    let lines = checker.list("files")?;
    let folder = scene.key.trim_end_matches("id_ed25519");
    let mut compared = 0;
    for row in rows.iter().filter(|row| row["path"].as_str().is_some_and(|path| path.starts_with(folder))) {
        for id in row["access_ids"].as_array().ok_or("no ids")? {
            let line =
                lines.iter().find(|l| l["id"] == *id).ok_or_else(|| format!("{id} is unknown: {row}"))?;
            let after = |all: &Value, of: &str| -> Vec<Value> {
                let all = all.as_array().cloned().unwrap_or_default();
                let mut ids: Vec<Value> =
                    all.iter().filter(|c| of.is_empty() || c[of] == *id).map(|c| c["id"].clone()).collect();
                ids.sort_by_key(Value::as_u64);
                ids
            };
            let agrees = line["path"] == row["path"]
                && line["entry"] == row["entry"]
                && line["label"] == row["label"]
                && line["expected"] == row["expected"]
                && (row["process_id"].is_null() || line["process"]["id"] == row["process_id"])
                && row["results"].as_array().is_some_and(|all| all.contains(&line["result"]))
                && (line["first_time"] == false || row["first_time"] == true)
                && after(&row["after"], "access_id") == after(&line["contacts"], "");
            if !agrees {
                return Err(format!("{row}\n{line}"));
            }
            compared += 1;
        }
    }
    let all =
        lines.iter().filter(|l| l["path"].as_str().is_some_and(|path| path.starts_with(folder))).count();
    // The expected reader is folded: of its files no row is in sight.
    let folded = lines.iter().filter(|l| l["expected"] == true).count();
    if compared > 0 && compared + folded >= all {
        Ok(())
    } else {
        Err(format!("{compared} of {all} in {rows:?}"))
    }
}

/// A picture that is empty has one colour, and next to no bytes.
fn stripes(picture: &Path, report: &mut Report) -> Result<()> {
    let mut bytes = Vec::new();
    fs::File::open(picture)?.read_to_end(&mut bytes)?;
    let enough = if bytes.len() > 10_000 { Ok(()) } else { Err(format!("{} bytes", bytes.len())) };
    report.check("something was drawn", enough);
    Ok(())
}
