//! `record`: the file reads back, replaces nothing by accident, and is never half of a snapshot.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sekhmet_common::mirror::Mirror;
use sekhmet_testkit::player::read_log;

use crate::scene::{Scene, ctl, ended, eventually, exited, snapshot, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_reads_back() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.jsonl");
    let child = scene
        .ctl(&["record", file.to_str().unwrap(), "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    scene.watched(1);
    scene.player.tell(&[exited(1)]).unwrap();
    eventually("the last line", || fs::read_to_string(&file).is_ok_and(|t| t.contains("process_exited")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, out, err) = ended(child);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, format!("{{\"file\":\"{}\",\"events\":10}}\n", file.display()));
    let events = read_log(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(events, [snapshot(), vec![exited(1)]].concat());
    let mut mirror = Mirror::new();
    events.iter().for_each(|event| mirror.apply(event));
    assert!(mirror.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced_without_force() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("precious"), dir.path().join("link"));
    fs::write(&file, "precious").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let path = link.to_str().unwrap();
    let output = scene.run(&["record", path, "--for", "1s"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text(&output.stderr).contains("exists already"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let output = scene.run(&["record", path, "--for", "1s", "--force"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "9 events recorded\n"));
    assert_eq!(read_log(&fs::read_to_string(&file).unwrap()).unwrap(), snapshot());
    assert!(link.is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn without_a_snapshot_there_is_no_file_and_the_old_one_stays() {
    let bus = sekhmet_testkit::bus::TestBus::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::write(&old, "precious").unwrap();
    for (file, force) in [(&old, &["--force"][..]), (&new, &[])] {
        let arguments = ["record", file.to_str().unwrap(), "--for", "1s"];
        let output = ctl(&bus, &[&arguments[..], force].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "precious");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported() {
    let scene = Scene::new().await;
    let output = scene.run(&["record", "/dev/full", "--force", "--for", "5s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = scene.ctl(&["ps"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
