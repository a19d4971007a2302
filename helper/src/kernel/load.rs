//! Loads the object, attaches each program by trying, and keeps what must stay alive.

use std::{
    error::Error,
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader, Endianness,
    maps::{MapData, PerCpuArray, RingBuf},
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, Iter, ProgramError,
    },
};
use sekhmet_common::kernel::{ABI_SYMBOL, ABI_VERSION, FlowKey, FlowValue, ProcessKey, Residue, SocketState};

use super::{
    btf::{self, BtfError},
    object::OBJECT,
    offsets,
    probes::{Hook, Outcome, PROBES, Probe},
    sys,
};

/// Where to find what the loader needs. The default is right on every ordinary machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel's type information.
    pub btf: PathBuf,
    /// Root of the cgroup-v2 tree; found in `/proc/self/mountinfo` if nothing is said.
    pub cgroup: Option<PathBuf>,
    /// Programs that are left out as if the kernel had refused them, for tests and odd machines.
    pub without: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { btf: PathBuf::from("/sys/kernel/btf/vmlinux"), cgroup: None, without: Vec::new() }
    }
}

/// Why nothing at all could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The build had no object to embed.
    #[error("this helper was built without its kernel programs; run cargo xtask build")]
    NoObject,
    /// The kernel's type information cannot be opened: built without `CONFIG_DEBUG_INFO_BTF`, or no such file.
    #[error("cannot read the kernel's type information at {path}")]
    ReadBtf {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel's type information makes no sense.
    #[error("the kernel's type information at {path} is not usable")]
    ParseBtf {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: BtfError,
    },
    /// The loader's library refused the kernel's type information.
    #[error("the kernel's type information is not usable: {0}")]
    LoaderBtf(String),
    /// The kernel refused the maps, mostly for want of the right (`CAP_BPF`), or the object is of another version.
    #[error("the kernel refused the programs: {0}")]
    Object(String),
    /// A map is missing in the object or is of another kind or size than the records.
    #[error("the object does not fit this helper: map {0}")]
    Map(&'static str),
}

/// Programs at work. Dropping it detaches all of them.
pub struct Kernel {
    /// Holds programs and links.
    pub(super) ebpf: Ebpf,
    pub(super) events: RingBuf<MapData>,
    pub(super) made: PerCpuArray<MapData, u64>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) stats: PerCpuArray<MapData, u64>,
    pub(super) flows: MapData,
    pub(super) residues: MapData,
    pub(super) iterators: Iterators,
    outcomes: Vec<Outcome>,
}

/// Links of the iterators that the kernel accepted.
#[derive(Debug, Default)]
pub(super) struct Iterators {
    pub(super) sockets: Option<OwnedFd>,
    pub(super) tasks: Option<OwnedFd>,
    pub(super) files: Option<OwnedFd>,
}

/// Loads the embedded object and attaches what can be attached.
///
/// Needs `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN` (since Linux 5.8). After it, on Linux 5.19 and later, the
/// first two may be dropped: everything else works through the descriptors held here.
///
/// # Errors
/// Nothing could be loaded. A refused program is no error: see [`Kernel::outcomes`].
pub fn load(options: &Options) -> Result<Kernel, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    load_object(OBJECT, options)
}

/// As [`load`], with another object; it must be aligned to 8 bytes.
///
/// # Errors
/// As [`load`].
pub fn load_object(object: &[u8], options: &Options) -> Result<Kernel, LoadError> {
    let path = &options.btf;
    let bytes = std::fs::read(path).map_err(|source| LoadError::ReadBtf { path: path.clone(), source })?;
    let types = btf::parse(&bytes).map_err(|source| LoadError::ParseBtf { path: path.clone(), source })?;
    let globals = offsets::resolve(&types);
    let types = aya::Btf::parse(&bytes, Endianness::default()).map_err(|e| LoadError::LoaderBtf(chain(&e)))?;
    drop(bytes);
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&types)).override_global(ABI_SYMBOL, &ABI_VERSION, true);
    for (name, value) in &globals {
        loader.override_global(name, value, true);
    }
    let mut ebpf = loader.load(object).map_err(|e| LoadError::Object(chain(&e)))?;
    check_sizes(&ebpf)?;
    let cgroup = open_cgroup(options.cgroup.as_deref());
    let mut iterators = Iterators::default();
    let outcomes =
        PROBES.iter().map(|probe| try_probe(&mut ebpf, probe, &types, &cgroup, &mut iterators, options)).collect();
    Ok(Kernel {
        events: take_typed(&mut ebpf, "EVENTS")?,
        made: take_typed(&mut ebpf, "MADE")?,
        lost: take_typed(&mut ebpf, "LOST")?,
        stats: take_typed(&mut ebpf, "STATS")?,
        flows: take_hash(&mut ebpf, "FLOWS")?,
        residues: take_hash(&mut ebpf, "RESIDUES")?,
        ebpf,
        iterators,
        outcomes,
    })
}

impl Kernel {
    /// What became of each probe, in the order of the table.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Whether this probe is at work.
    pub fn attached(&self, program: &str) -> bool {
        self.outcomes.iter().any(|o| o.probe.program == program && o.attached())
    }

    /// Whether everything is at work that the full view needs; the rest has an equal replacement.
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(|o| o.attached() || o.probe.cost.is_empty())
    }
}

fn try_probe(
    ebpf: &mut Ebpf,
    probe: &'static Probe,
    types: &aya::Btf,
    cgroup: &Result<File, String>,
    iterators: &mut Iterators,
    options: &Options,
) -> Outcome {
    if options.without.iter().any(|name| name == probe.program) {
        return Outcome { probe, refused: Some("left out by the settings".into()), verified_instructions: None };
    }
    let refused = attach(ebpf, probe, types, cgroup, iterators).err();
    let info = ebpf.program(probe.program).and_then(|program| program.info().ok());
    Outcome { probe, refused, verified_instructions: info.and_then(|i| i.verified_instruction_count()) }
}

/// Loads and attaches as one step: some kernels load what they then refuse to attach.
fn attach(
    ebpf: &mut Ebpf,
    probe: &Probe,
    types: &aya::Btf,
    cgroup: &Result<File, String>,
    iterators: &mut Iterators,
) -> Result<(), String> {
    let said = |e: ProgramError| last_lines(&chain(&e));
    // An iterator over a map needs the map's descriptor besides the program.
    let map = match probe.hook {
        Hook::StorageIterator { map } => match ebpf.map(map) {
            Some(aya::maps::Map::SkStorage(data)) => {
                Some(data.fd().as_fd().try_clone_to_owned().map_err(|e| e.to_string())?)
            }
            _ => return Err("the object has no such map".into()),
        },
        _ => None,
    };
    let program = ebpf.program_mut(probe.program).ok_or("the object has no such program")?;
    match probe.hook {
        Hook::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(said)?;
            program.load(name, types).and_then(|()| program.attach()).map_err(said)?;
        }
        Hook::CgroupSocket(_) => {
            let program: &mut CgroupSock = program.try_into().map_err(said)?;
            let cgroup = cgroup.as_ref().map_err(Clone::clone)?;
            // Single: aya hands other modes on as link flags, which the kernel refuses. A link is by its nature
            // beside others.
            program.load().and_then(|()| program.attach(cgroup, CgroupAttachMode::Single)).map_err(said)?;
        }
        Hook::CgroupPacket { egress } => {
            let program: &mut CgroupSkb = program.try_into().map_err(said)?;
            let cgroup = cgroup.as_ref().map_err(Clone::clone)?;
            let way = if egress { CgroupSkbAttachType::Egress } else { CgroupSkbAttachType::Ingress };
            program.load().and_then(|()| program.attach(cgroup, way, CgroupAttachMode::Single)).map_err(said)?;
        }
        Hook::Iterator(_) | Hook::StorageIterator { .. } => {
            let name = match probe.hook {
                Hook::Iterator(name) => name,
                _ => "bpf_sk_storage_map",
            };
            let program: &mut Iter = program.try_into().map_err(said)?;
            program.load(name, types).map_err(said)?;
            let fd = program.fd().map_err(said)?;
            let link =
                sys::link_iterator(fd.as_fd(), map.as_ref().map(AsFd::as_fd)).map_err(|e| e.to_string())?;
            let slot = match name {
                "task" => &mut iterators.tasks,
                "task_file" => &mut iterators.files,
                _ => &mut iterators.sockets,
            };
            *slot = Some(link);
        }
    }
    Ok(())
}

/// The maps' own sizes must be those of the types that are read from them: the raw calls rely on it.
fn check_sizes(ebpf: &Ebpf) -> Result<(), LoadError> {
    use aya::maps::Map;
    let expected = [
        ("FLOWS", size_of::<FlowKey>(), size_of::<FlowValue>()),
        ("RESIDUES", size_of::<ProcessKey>(), size_of::<Residue>()),
        ("SOCKETS", size_of::<i32>(), size_of::<SocketState>()),
    ];
    for (name, key, value) in expected {
        let (Some(Map::HashMap(data)) | Some(Map::SkStorage(data))) = ebpf.map(name) else {
            return Err(LoadError::Map(name));
        };
        let info = data.info().map_err(|_ignored| LoadError::Map(name))?;
        if (info.key_size() as usize, info.value_size() as usize) != (key, value) {
            return Err(LoadError::Map(name));
        }
    }
    Ok(())
}

fn take_typed<T: TryFrom<aya::maps::Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    ebpf.take_map(name).and_then(|map| T::try_from(map).ok()).ok_or(LoadError::Map(name))
}

fn take_hash(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, LoadError> {
    match ebpf.take_map(name) {
        Some(aya::maps::Map::HashMap(data)) => Ok(data),
        _ => Err(LoadError::Map(name)),
    }
}

fn open_cgroup(given: Option<&Path>) -> Result<File, String> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let mounts = std::fs::read("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
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
        (filesystem.starts_with("cgroup2 ") && root == "/" && !point.contains('\\')).then(|| PathBuf::from(point))
    })
}

/// An error with all its causes in one line.
fn chain(error: &dyn Error) -> String {
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
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
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
    fn a_missing_or_broken_type_table_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinux");
        let options = Options { btf: path.clone(), ..Options::default() };
        let object = b"\x7fELF";
        assert!(matches!(load_object(object, &options), Err(LoadError::ReadBtf { .. })));
        std::fs::write(&path, b"not a type table, but long enough for a header").unwrap();
        let Err(error) = load_object(object, &options) else { panic!("accepted") };
        assert!(matches!(error, LoadError::ParseBtf { source: BtfError::Magic, .. }), "{error}");
        assert!(error.to_string().contains("vmlinux"), "{error}");
    }

    #[test]
    fn long_logs_are_cut_to_what_matters() {
        let log = (0..50).map(|n| format!("line {n}\n")).collect::<String>();
        assert_eq!(last_lines(&log), "line 0 … line 48 | line 49");
        assert_eq!(last_lines("one\n\ntwo"), "one | two");
    }
}
