//! The life of processes: each told once, under one key, with program, arguments, parent and status.

use std::collections::{HashMap, HashSet};

use sekhmet_helper::engine::input::{Observation, ProcessImage, ProcessKey};

use crate::{
    child,
    tap::Tap,
    watch::{Watch, is_me},
};

/// How many programs the short-lived test runs.
const SHORT: usize = 200;

pub(crate) fn run(tap: &mut Tap, watch: &mut Watch) {
    seeded(tap, watch);
    life(tap, watch);
    statuses(tap, watch);
    failed_exec(tap, watch);
    long_arguments(tap, watch);
    short_lived(tap, watch);
}

fn seeded(tap: &mut Tap, watch: &mut Watch) {
    let found = watch.until(|seen| {
        seen.iter().find_map(|o| match o {
            Observation::Seen(image) if is_me(Some(image.key)) => Some(image.clone()),
            _ => None,
        })
    });
    let good = found.as_ref().is_some_and(|image| {
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        let uid = rustix::process::getuid().as_raw();
        image.comm.as_bytes() == comm.trim_end().as_bytes()
            && image.uids.sole_owner() == Some(uid)
            && image.net_ns == inode("net")
            && image.mnt_ns == inode("mnt")
            && image.parent.map_or(0, |p| p.tgid) == std::os::unix::process::parent_id()
    });
    tap.check("this process is told with start, parent, user and namespaces", good, &format!("{found:?}"));
}

/// The number in `net:[4026531840]`.
fn inode(namespace: &str) -> u32 {
    let link = std::fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
    let text = link.to_string_lossy().into_owned();
    text.split(['[', ']']).nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn life(tap: &mut Tap, watch: &mut Watch) {
    let mut child = child::command(&["exit", "3", "a b", "", "ü"]).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let Some((key, status)) = exited(watch, pid) else {
        tap.check("the end of a process is told", false, "nothing was told");
        return;
    };
    tap.check("the end of a process is told with its status", status == Some(3 << 8), &format!("{status:?}"));
    let forked: Vec<_> = images(&watch.seen, key, false);
    let good = matches!(&forked[..], [image] if is_me(image.parent));
    tap.check("its fork is told once, with this process as the parent", good, &format!("{forked:?}"));
    let executed = images(&watch.seen, key, true);
    let good = match &executed[..] {
        [image] => {
            let argv: Vec<&[u8]> = image.argv.iter().flatten().map(|text| text.as_bytes()).collect();
            let wanted: [&[u8]; 7] =
                [b"/proc/self/exe", b"--child", b"exit", b"3", b"a b", b"", "ü".as_bytes()];
            argv == wanted
                && !image.argv_truncated
                && image.filename.as_bytes() == b"/proc/self/exe"
                && is_me(image.parent)
                && image.cgroup_id == cgroup_id()
        }
        _ => false,
    };
    tap.check("its program is told once, with path, arguments and cgroup", good, &format!("{executed:?}"));
}

/// The inode number of this process's cgroup-v2 directory.
fn cgroup_id() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|l| l.split(' ').nth(4)).unwrap();
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    std::fs::metadata(format!("{root}{path}")).unwrap().ino()
}

fn statuses(tap: &mut Tap, watch: &mut Watch) {
    let mut child = child::command(&["abort"]).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let found = exited(watch, pid);
    let good = found.is_some_and(|(_, status)| status.is_some_and(|s| s & 0x7f == libc::SIGABRT));
    tap.check("a process that is killed is told with its signal", good, &format!("{found:?}"));
    let mut child = child::command(&["thread"]).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let found = exited(watch, pid);
    let ends =
        watch.seen.iter().filter(|o| matches!(o, Observation::Exited { key, .. } if key.tgid == pid)).count();
    let good = ends == 1 && found.is_some_and(|(_, status)| status == Some(9 << 8));
    tap.check(
        "a process whose first thread ends early ends once, with the last",
        good,
        &format!("{ends} {found:?}"),
    );
}

/// An `execve` that fails is no program start.
fn failed_exec(tap: &mut Tap, watch: &mut Watch) {
    let failed = std::process::Command::new("/nonexistent/program").spawn();
    let mut after = child::command(&["exit", "0"]).spawn().unwrap();
    let pid = after.id();
    after.wait().unwrap();
    exited(watch, pid);
    let told = watch.seen.iter().any(|o| {
        matches!(o, Observation::Executed { image, .. } if image.filename.as_bytes() == b"/nonexistent/program")
    });
    tap.check("a program that does not exist is not told", failed.is_err() && !told, "it is");
}

fn long_arguments(tap: &mut Tap, watch: &mut Watch) {
    let long = "x".repeat(5000);
    let mut child = child::command(&["exit", "0", &long]).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let found = exited(watch, pid).map(|(key, _)| images(&watch.seen, key, true));
    let good = found.as_ref().is_some_and(|images| match &images[..] {
        [image] => {
            let bytes: usize = image.argv.iter().flatten().map(|text| text.as_bytes().len() + 1).sum();
            image.argv_truncated && (1024..=1025).contains(&bytes)
        }
        _ => false,
    });
    tap.check("arguments of 5,000 bytes are cut, and it is said", good, &format!("{found:?}"));
}

/// Processes that are gone before anybody could look into `/proc`.
fn short_lived(tap: &mut Tap, watch: &mut Watch) {
    let mut wanted = HashMap::new();
    for number in 0..SHORT {
        let word = format!("short-{number}");
        let mut child = child::command(&["exit", "0", &word]).spawn().unwrap();
        wanted.insert(child.id(), word);
        child.wait().unwrap();
    }
    // PIDs may be used again, but not within 200.
    let complete = watch.until(|seen| {
        let mut ended = HashSet::new();
        for o in seen {
            if let Observation::Exited { key, .. } = o
                && wanted.contains_key(&key.tgid)
            {
                ended.insert(key.tgid);
            }
        }
        (ended.len() == SHORT).then_some(())
    });
    let named = watch
        .seen
        .iter()
        .filter(|o| match o {
            Observation::Executed { image, .. } => wanted.get(&image.key.tgid).is_some_and(|word| {
                image
                    .argv
                    .as_ref()
                    .and_then(|argv| argv.last())
                    .is_some_and(|last| last.as_bytes() == word.as_bytes())
            }),
            _ => false,
        })
        .count();
    let name = format!("{SHORT} short-lived programs all have their arguments and their end");
    tap.check(&name, complete.is_some() && named == SHORT, &format!("{named} have"));
}

fn exited(watch: &mut Watch, pid: u32) -> Option<(ProcessKey, Option<i32>)> {
    watch.until(|seen| {
        seen.iter().find_map(|o| match o {
            Observation::Exited { key, status, .. } if key.tgid == pid => Some((*key, *status)),
            _ => None,
        })
    })
}

fn images(seen: &[Observation], wanted: ProcessKey, executed: bool) -> Vec<ProcessImage> {
    seen.iter()
        .filter_map(|o| match o {
            Observation::Executed { image, .. } if executed && image.key == wanted => Some(image.clone()),
            Observation::Forked { image, .. } if !executed && image.key == wanted => Some(image.clone()),
            _ => None,
        })
        .collect()
}
