//! Attaches one program after the other, by trying: what a kernel says it can do proves nothing.

use std::{
    collections::HashMap,
    error::Error,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::Map,
    programs::{Program, ProgramFd},
};

use super::{
    files::tracefs::TracepointIds,
    perf,
    probes::{Hook, Outcome, PROBES, Probe},
    sys,
};

/// Links that the kernel accepted. A program is at work as long as its link is open here or elsewhere.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By the names of their programs: everything that is called by the kernel.
    pub(super) hooks: Vec<(&'static str, OwnedFd)>,
    /// What tells opened files.
    pub(super) openings: Vec<OwnedFd>,
    pub(super) sockets: Option<OwnedFd>,
    pub(super) tasks: Option<OwnedFd>,
    pub(super) files: Option<OwnedFd>,
    pub(super) held: Option<OwnedFd>,
    pub(super) owned: Option<OwnedFd>,
    pub(super) names: Option<OwnedFd>,
}

impl Links {
    fn slot(&mut self, program: &str) -> Option<&mut Option<OwnedFd>> {
        match program {
            "dump_sockets" => Some(&mut self.sockets),
            "seed_tasks" => Some(&mut self.tasks),
            "seed_sockets" => Some(&mut self.files),
            "cover_held" => Some(&mut self.held),
            "cover_owned" => Some(&mut self.owned),
            "name_files" => Some(&mut self.names),
            _ => None,
        }
    }
}

/// Where programs are attached.
pub(super) struct Places<'a> {
    /// At which they see every process; or why there is none.
    pub(super) cgroup: Result<File, String>,
    /// Under these numbers.
    pub(super) tracepoints: &'a TracepointIds,
    /// The maps of socket storage that iterators go through.
    pub(super) maps: HashMap<&'static str, OwnedFd>,
}

/// Descriptors of the maps that the probes' iterators go through, as far as the object has them.
///
/// # Errors
/// No descriptor is left.
pub(super) fn iterated_maps(ebpf: &Ebpf) -> io::Result<HashMap<&'static str, OwnedFd>> {
    let names = PROBES.iter().filter_map(|probe| match probe.hook {
        Hook::StorageIterator { map } => Some(map),
        _ => None,
    });
    let mut maps = HashMap::new();
    for name in names {
        if let Some(Map::SkStorage(data)) = ebpf.map(name) {
            maps.insert(name, data.fd().as_fd().try_clone_to_owned()?);
        }
    }
    Ok(maps)
}

/// Has one program verified and attaches it, as one step: some kernels verify what they then refuse to attach. Says how
/// that went.
pub(super) fn try_probe(
    program: &mut Program,
    probe: &'static Probe,
    places: &Places<'_>,
    links: &mut Links,
    verify: impl FnOnce(&mut Program) -> Result<(), String>,
) -> Outcome {
    let refused = attach(program, probe, places, links, verify).err();
    let verified_instructions = program.info().ok().and_then(|info| info.verified_instruction_count());
    Outcome { probe, refused, verified_instructions }
}

fn attach(
    program: &mut Program,
    probe: &'static Probe,
    places: &Places<'_>,
    links: &mut Links,
    verify: impl FnOnce(&mut Program) -> Result<(), String>,
) -> Result<(), String> {
    // Before it is verified: a kernel that lets nobody look need not do that.
    let event = match probe.hook {
        Hook::Probe { function, at_return } => {
            Some(perf::Event::probe(function, at_return).map_err(|e| e.to_string())?)
        }
        _ => None,
    };
    verify(program)?;
    let program = program.fd().map_err(|e| last_lines(&chain(&e)))?;
    let fd = program.as_fd();
    match (probe.hook, event) {
        (Hook::Tracepoint(_), _) => {
            let link = sys::link_tracepoint(fd).map_err(|e| e.to_string())?;
            links.hooks.push((probe.program, link));
        }
        (Hook::EitherTracepoint(_) | Hook::Exit(_), _) => {
            links.openings.push(sys::link_tracepoint(fd).map_err(|e| e.to_string())?);
        }
        (Hook::Probe { .. }, event) => {
            let event = event.ok_or("nobody asked for this probe")?;
            links.openings.push(event.link(fd).map_err(|e| e.to_string())?);
        }
        (Hook::CgroupSocket(_) | Hook::CgroupAddress(_) | Hook::CgroupPacket { .. }, _) => {
            links.hooks.push((probe.program, at_cgroup(probe, program, &places.cgroup)?));
        }
        (Hook::Perf { group, names }, _) => {
            links.openings.extend(at_tracepoints(program, group, names, places.tracepoints)?);
        }
        (Hook::Iterator(_) | Hook::StorageIterator { .. }, _) => {
            // An iterator over a map needs the map's descriptor besides the program.
            let map = match probe.hook {
                Hook::StorageIterator { map } => {
                    Some(places.maps.get(map).ok_or("the object has no such map")?.as_fd())
                }
                _ => None,
            };
            let link = sys::link_iterator(fd, map).map_err(|e| e.to_string())?;
            *links.slot(probe.program).ok_or("nobody reads this iterator")? = Some(link);
        }
    }
    Ok(())
}

/// Attaches a program to those of the tracepoints that this machine has: at least to the first.
fn at_tracepoints(
    program: &ProgramFd,
    group: &str,
    names: &[&str],
    ids: &TracepointIds,
) -> Result<Vec<OwnedFd>, String> {
    let mut links = Vec::new();
    for name in names {
        match ids.get(group, name) {
            Ok(id) => {
                let link = perf::Event::tracepoint(id).and_then(|event| event.link(program.as_fd()));
                links.push(link.map_err(|e| format!("{group}:{name}: {e}"))?);
            }
            Err(unknown) if links.is_empty() => return Err(unknown),
            Err(_not_here) => {}
        }
    }
    Ok(links)
}

/// Attaches a program that sees what the processes below a cgroup do.
fn at_cgroup(probe: &Probe, program: &ProgramFd, cgroup: &Result<File, String>) -> Result<OwnedFd, String> {
    let attach_type = attach_type(probe.hook).ok_or("this is no hook of cgroups")?;
    let cgroup = cgroup.as_ref().map_err(Clone::clone)?;
    sys::link_cgroup(program.as_fd(), cgroup.as_fd(), attach_type).map_err(|e| e.to_string())
}

/// `enum bpf_attach_type` (include/uapi/linux/bpf.h).
fn attach_type(hook: Hook) -> Option<u32> {
    Some(match hook {
        Hook::CgroupPacket { egress: false } => 0,
        Hook::CgroupPacket { egress: true } => 1,
        Hook::CgroupSocket("sock_create") => 2,
        Hook::CgroupSocket("sock_release") => 34,
        Hook::CgroupAddress("connect4") => 10,
        Hook::CgroupAddress("connect6") => 11,
        Hook::CgroupAddress("sendmsg4") => 14,
        Hook::CgroupAddress("sendmsg6") => 15,
        _ => return None,
    })
}

/// The directory at which programs see every process of the machine.
pub(super) fn open_cgroup(given: Option<&Path>) -> Result<File, String> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let mounts =
                std::fs::read("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
            cgroup_root(&mounts).ok_or("no cgroup-v2 tree is mounted")?
        }
    };
    File::open(&path).map_err(|e| format!("{}: {e}", path.display()))
}

/// The mount point of the whole cgroup-v2 tree, from `/proc/self/mountinfo` (proc(5)): on machines with both
/// versions it is not `/sys/fs/cgroup`.
fn cgroup_root(mounts: &[u8]) -> Option<PathBuf> {
    let mounts = String::from_utf8_lossy(mounts);
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // Spaces and such are octal escapes here; a cgroup tree is not mounted at such a place.
        (filesystem.starts_with("cgroup2 ") && root == "/" && !point.contains('\\'))
            .then(|| PathBuf::from(point))
    })
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// A verifier's log may have thousands of lines; its last ones say what was wrong.
pub(super) fn last_lines(text: &str) -> String {
    let statistics = ["processed ", "stack depth ", "verification time "];
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start)))
        .collect();
    match lines.as_slice() {
        [first, .., second_last, last] if lines.len() > 6 => format!("{first} … {second_last} | {last}"),
        few => few.join(" | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_whole_cgroup_tree_only() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            37 31 0:34 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
            40 31 0:38 /some/part /mnt/part rw,relatime - cgroup2 cgroup2 rw\n\
            38 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup_root(mounts.as_bytes()), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup_root(b"nonsense\n- - -\n\xff"), None);
    }

    #[test]
    fn every_hook_of_cgroups_has_a_place() {
        for probe in &PROBES {
            let is_there = matches!(
                probe.hook,
                Hook::CgroupPacket { .. } | Hook::CgroupSocket(_) | Hook::CgroupAddress(_)
            );
            assert_eq!(attach_type(probe.hook).is_some(), is_there, "{}", probe.program);
        }
    }

    #[test]
    fn long_logs_are_cut_to_what_matters() {
        let log = (0..50).map(|n| format!("line {n}\n")).collect::<String>() + "processed 50 insns\n";
        assert_eq!(last_lines(&log), "line 0 … line 48 | line 49");
        assert_eq!(last_lines("one\n\ntwo"), "one | two");
    }
}
