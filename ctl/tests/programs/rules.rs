//! The commands that add, remove and show rules.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    process::Stdio,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use sekhmet_common::{
    bus::error,
    coverage::{capability::KEPT_BLOCKS, cost::UNBLOCKED_UNTIL_RESTART},
    display::Text,
    event::Event,
    process::ProcessId,
    rule::{Answer, Extent, Lifetime, Rule, RuleId, Subject, Ways},
};
use sekhmet_testkit::{bus::TestBus, player::Refusals};
use serde_json::json;

use crate::scene::{HARMLESS, HOSTILE, Scene, at, ctl, ended, shape, snapshot, text};

fn rule(id: u32, name: &[u8]) -> Rule {
    Rule {
        id: RuleId(id),
        subject: Subject::Process {
            process: Some(ProcessId(1)),
            pid: 1001,
            name: Text::from(name),
            exe: "/usr/bin/curl".into(),
        },
        ways: Ways::Both,
        answer: Answer::Reject,
        extent: Extent::Outside,
        lifetime: Lifetime::UntilExit,
        added_at: at(0),
        expires_at: None,
        added_by: 1000,
        added_by_user: Some(Text::from(name)),
        hits: 1234,
    }
}

/// The snapshot with two rules in force, one of which blocks the first process.
fn ruled() -> Vec<Event> {
    let mut events = snapshot();
    let end = events.pop().unwrap();
    let at = at(9);
    let program = Subject::Program { exe: "/usr/bin/wget".into() };
    let other =
        Rule { subject: program, lifetime: Lifetime::Always, added_by_user: None, hits: 0, ..rule(12, b"") };
    events.extend([
        Event::RuleAdded { at, rule: rule(7, HOSTILE) },
        Event::RuleAdded { at, rule: other },
        Event::ProcessRules { at, id: ProcessId(1), rules: vec![RuleId(7)] },
        end,
    ]);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_named_by_its_pid_and_the_rule_is_shown() {
    let scene = Scene::new().await;
    scene.player.will_add(rule(7, HOSTILE));
    let shown = scene.json(&["block", "--pid", "1001", "--json"]);
    assert_eq!(shown.len(), 1);
    assert_eq!(
        shape(&shown[0]),
        "id subject{process{process pid name exe}} ways answer extent lifetime added_at expires_at added_by \
         added_by_user hits"
    );
    assert_eq!((&shown[0]["id"], &shown[0]["lifetime"]), (&json!(7), &json!("until_exit")));
    assert_eq!(
        scene.player.commands(),
        ["Add answer=reject direction=both extent=outside lifetime=until-exit process=1"]
    );
    scene.player.will_add(rule(8, HOSTILE));
    let output = scene.run(&["block", "--pid", "1001"]);
    let expected = format!("rule 8: Block {HARMLESS} (PID 1001) and what it starts until it exits\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), expected.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_reaches_the_helper() {
    let scene = Scene::new().await;
    for (arguments, expected) in [
        (
            &[
                "--pid",
                "1001",
                "--program",
                "--for",
                "1h",
                "--drop",
                "--also-local",
                "--direction",
                "inbound",
            ][..],
            "Add answer=drop direction=inbound extent=everywhere lifetime=1h program-of=1",
        ),
        (
            &["--exe", "/nonexistent/program", "--interactive"],
            "Add answer=reject direction=both extent=outside lifetime=always program=/nonexistent/program \
             interactive",
        ),
        (
            &["--exe", "/proc/self/root/proc/version", "--for", "until-restart", "--direction", "outbound"],
            "Add answer=reject direction=outbound extent=outside lifetime=until-restart program=/proc/version",
        ),
    ] {
        scene.player.will_add(rule(7, b"curl"));
        let output = scene.run(&[&["block"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(scene.player.commands().last().unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_may_not_be_watched_is_shown_by_its_number() {
    let scene = Scene::new().await;
    scene.player.refuse(Refusals { own: Some(error::NOT_AUTHORIZED), all: Some(error::NOT_AUTHORIZED) });
    for _ in 0..2 {
        scene.player.will_add(rule(7, b"curl"));
    }
    let block = ["block", "--exe", "/usr/bin/nonexistent"];
    assert_eq!(scene.json(&[&block[..], &["--json"]].concat()), [json!({ "id": 7 })]);
    let output = scene.run(&block);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "rule 7\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_removed() {
    let scene = Scene::new().await;
    assert_eq!(scene.json(&["unblock", "7", "--json"]), [json!({ "removed": 1 })]);
    assert_eq!(scene.json(&["release", "--json"]), [json!({ "removed": 3 })]);
    assert_eq!(text(&scene.run(&["unblock", "7"]).stdout), "rule 7 removed\n");
    assert_eq!(text(&scene.run(&["release", "--interactive"]).stdout), "3 rules removed\n");
    assert_eq!(scene.player.commands(), ["Remove 7", "Release", "Remove 7", "Release interactive"]);
    assert!(scene.player.calls().is_empty(), "nothing is watched for that");
}

/// On a disk that is full or cannot be written what is ended is ended, and would come back.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_outlive_a_restart_is_said() {
    let scene = Scene::new().await;
    for command in [&["unblock", "7"][..], &["release"], &["release", "--json"]] {
        assert_eq!(text(&scene.run(command).stderr), "", "{command:?}");
    }
    scene.player.owe(KEPT_BLOCKS, UNBLOCKED_UNTIL_RESTART, "Read-only \x1b[2J");
    let output = scene.run(&["unblock", "7"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "rule 7 removed\n"));
    assert_eq!(
        text(&output.stderr),
        "sekhmetctl: done, but it could not be written down (Read-only \\x1b[2J): rule 7 blocks again after a \
         restart, unless it can be written before\n"
    );
    assert!(
        text(&scene.run(&["release", "--json"]).stderr).contains("the rules block again after a restart")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_whole_and_harmless() {
    let scene = Scene::telling(&ruled()).await;
    let shown = scene.json(&["rules", "list", "--json"]);
    assert_eq!(shown.iter().map(|rule| rule["id"].clone()).collect::<Vec<_>>(), [7, 12]);
    assert_eq!(shown[0]["subject"]["process"]["name"], HARMLESS);
    assert_eq!(shown[1]["subject"], json!({ "program": { "exe": "/usr/bin/wget" } }));
    let output = scene.run(&["rules", "list"]);
    let shown = text(&output.stdout);
    assert!(!shown.contains('\x1b'), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[1].contains("1,234") && lines[1].contains("2025-11-21 04:40:00"), "{shown}");
    assert!(lines[1].ends_with(&format!("Block {HARMLESS} (PID 1001) and what it starts until it exits")));
    assert!(
        lines[2].contains("1000")
            && lines[2].ends_with("every run of /usr/bin/wget and what it starts always")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ps_says_who_is_blocked() {
    let scene = Scene::telling(&ruled()).await;
    let shown = scene.json(&["ps", "--json"]);
    assert_eq!((&shown[0]["blocked_by"], &shown[1]["blocked_by"]), (&json!([7]), &json!([])));
    let output = scene.run(&["ps"]);
    let blocked: Vec<&str> = text(&output.stdout).lines().filter(|line| line.contains(" blocked ")).collect();
    assert_eq!(blocked.len(), 1);
    assert!(blocked[0].contains("1001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_so_and_what_it_means() {
    let scene = Scene::new().await;
    for (name, said) in [
        (error::NOT_AUTHORIZED, "not authorised; nothing was changed"),
        (error::INTERACTION_REQUIRED, "an administrator would have to authenticate; try --interactive"),
        (error::UNKNOWN_ID, "refused by the player"),
        (error::UNAVAILABLE, "refused by the player"),
        ("org.freedesktop.DBus.Error.UnknownMethod", "older than this program"),
    ] {
        scene.player.refuse_commands(Some(name));
        for command in [&["block", "--exe", "/x"][..], &["unblock", "7"], &["release", "--json"]] {
            let output = scene.run(command);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{command:?}");
            assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        }
    }
    scene.player.refuse_commands(Some(error::NOT_AUTHORIZED));
    let output = scene.run(&["release", "--interactive"]);
    assert!(text(&output.stderr).contains("no agent runs that could ask"), "{}", text(&output.stderr));
    let before = scene.player.commands().len();
    let output = scene.run(&["block", "--pid", "4194305"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("with the PID 4194305 runs"), "{}", text(&output.stderr));
    // It has exited.
    assert_eq!(scene.run(&["block", "--pid", "1002"]).status.code(), Some(1));
    assert_eq!(scene.player.commands().len(), before);
}

/// A terminal: the side that a person sits at, and the program's side.
fn terminal() -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
    (ours, theirs)
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_polkit_may_ask() {
    let scene = Scene::new().await;
    let (_ours, theirs) = terminal();
    let output = scene.ctl(&["release"]).stdin(Stdio::from(theirs)).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(scene.player.commands(), ["Release interactive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_an_agent_runs_as_long_as_the_command() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("pkttyagent");
    let script = "#!/bin/bash\n\
        trap 'echo ended >> \"$AGENT_LOG\"; exit 0' TERM\n\
        echo \"$@\" > \"$AGENT_LOG\"\n\
        eval \"exec $4>&-\"\n\
        while :; do sleep 0.05; done\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let log = folder.path().join("log");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for (session, fallback) in [(None, ""), (Some("1"), " --fallback")] {
        let (_ours, theirs) = terminal();
        let mut command = scene.ctl(&["unblock", "7"]);
        for name in ["XDG_SESSION_ID", "WAYLAND_DISPLAY", "DISPLAY"] {
            command.env_remove(name);
        }
        command.envs(session.map(|id| ("XDG_SESSION_ID", id))).env("PATH", &path).env("AGENT_LOG", &log);
        command.stdin(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let (code, out, _) = ended(child);
        assert_eq!((code, out.as_str()), (Some(0), "rule 7 removed\n"));
        let told = fs::read_to_string(&log).unwrap();
        let fd = told.split_whitespace().nth(3).unwrap();
        assert_eq!(told, format!("--process {pid} --notify-fd {fd}{fallback}\nended\n"));
        assert_eq!(scene.player.commands().pop().unwrap(), "Remove 7 interactive");
    }
}

#[test]
fn wrong_usage_is_2_and_no_helper_is_3() {
    let bus = TestBus::start().unwrap();
    for wrong in [
        &["block"][..],
        &["block", "--pid", "1", "--exe", "/x"],
        &["block", "--exe", "/x", "--for", "ever"],
        &["block", "--exe", "/x", "--direction", "up"],
        &["block", "--exe", "not/absolute"],
        &["block", "--exe", ""],
        &["block", "--pid", "-1"],
        &["unblock"],
        &["unblock", "0"],
        &["unblock", "1048576"],
        &["unblock", "all"],
        &["rules"],
    ] {
        let output = ctl(&bus, wrong).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong:?}");
        assert!(!output.stderr.is_empty());
    }
    for command in [
        &["block", "--exe", "/x"][..],
        &["block", "--pid", "1"],
        &["unblock", "1"],
        &["release"],
        &["rules", "list"],
    ] {
        let output = ctl(&bus, command).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{command:?}");
        assert!(text(&output.stderr).contains("the helper is not running"), "{}", text(&output.stderr));
    }
}
