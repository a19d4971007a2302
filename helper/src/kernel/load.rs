//! Loads the object, has its programs attached, and keeps what must stay alive.

use std::path::PathBuf;

use aya::{
    Ebpf, EbpfLoader, Endianness,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
};
use sekhmet_common::{
    coverage::{Mode, Source, SourceStatus},
    kernel::{
        ABI_SYMBOL, ABI_VERSION, Change, EVENTS_BYTES, FILES_BYTES, FLOWS_MAX, FirstFlow, FlowKey, FlowValue,
        NameKey, Policy, ProcessKey, ProgramKey, RefusalKey, RefusalValue, Residue, SocketState, stat,
    },
};

use super::{
    attach::{Links, Places, chain, iterated_maps, open_cgroup},
    bring_up::{self, Brought, Wanted},
    btf::{self, BtfError},
    files::{FileProbe, FileSource, FileSources, Names, tracefs::TracepointIds},
    missed::Watched,
    object::OBJECT,
    offsets,
    policy::{self, Policies},
    probes::Outcome,
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
    /// Bytes of the ring: a power of two times the page size.
    pub events_bytes: u32,
    /// Bytes of the ring of opened files: a power of two times the page size.
    pub files_bytes: u32,
    /// Tell also what this process opens itself, for tests.
    pub own_files: bool,
    /// Numbers of tracepoints.
    pub tracepoints: TracepointIds,
    /// Which source of opened files is used.
    pub file_source: FileSource,
    /// Flows without connection that are counted one by one at a time.
    pub flows_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            btf: PathBuf::from("/sys/kernel/btf/vmlinux"),
            cgroup: None,
            without: Vec::new(),
            events_bytes: EVENTS_BYTES as u32,
            files_bytes: FILES_BYTES as u32,
            own_files: false,
            tracepoints: TracepointIds::default(),
            file_source: FileSource::Best,
            flows_max: FLOWS_MAX as u32,
        }
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
    /// No descriptor is left.
    #[error("cannot keep the programs' maps")]
    Descriptors(#[source] std::io::Error),
    /// A map is missing in the object or is of another kind or size than the records.
    #[error("the object does not fit this helper: map {0}")]
    Map(&'static str),
}

/// Programs at work. Dropping it detaches all of them.
pub struct Kernel {
    /// Holds programs and links.
    pub(super) ebpf: Ebpf,
    pub(super) events: RingBuf<MapData>,
    pub(super) files: RingBuf<MapData>,
    pub(super) made: PerCpuArray<MapData, u64>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) stats: PerCpuArray<MapData, u64>,
    pub(super) turns: PerCpuArray<MapData, u64>,
    pub(super) watched: Watched,
    pub(super) flows: MapData,
    pub(super) residues: MapData,
    pub(super) refusals: MapData,
    pub(super) changes: HashMap<MapData, u64, Change>,
    pub(super) flows_max: usize,
    pub(super) links: Links,
    outcomes: Vec<Outcome>,
    pub(super) file_sources: FileSources,
    /// Whose accesses are nobody's business.
    pub(super) unheard: Option<u32>,
    pub(super) names: Option<Names>,
    policies: Option<Policies>,
    notes: Vec<Source>,
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
    let types =
        aya::Btf::parse(&bytes, Endianness::default()).map_err(|e| LoadError::LoaderBtf(chain(&e)))?;
    drop(bytes);
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&types)).override_global(ABI_SYMBOL, &ABI_VERSION, true);
    let (net_ns, cookie) = (policy::own_net_ns(), policy::own_net_cookie());
    loader.override_global("HOST_NET_COOKIE", &cookie, true).override_global("HOST_NET_NS", &net_ns, true);
    loader.map_max_entries("EVENTS", options.events_bytes).map_max_entries("FLOWS", options.flows_max);
    loader.map_max_entries("FILES", options.files_bytes);
    for (name, value) in &globals {
        loader.override_global(name, value, true);
    }
    let mut ebpf = loader.load(object).map_err(|e| LoadError::Object(chain(&e)))?;
    check_sizes(&ebpf)?;
    let maps = iterated_maps(&ebpf).map_err(LoadError::Descriptors)?;
    let cgroup = open_cgroup(options.cgroup.as_deref());
    let wanted = Wanted {
        types: &types,
        places: &Places { cgroup, tracepoints: &options.tracepoints, maps },
        file_source: options.file_source,
        lacking: offsets::lacking_for_files(&globals),
        without: &options.without,
    };
    let Brought { outcomes, file_sources, mut links } = bring_up::all(ebpf.programs_mut().collect(), &wanted);
    let policies = Policies::take(&mut ebpf, &mut links, &outcomes, net_ns)?;
    let watched = Watched::new(&ebpf, |name| {
        outcomes.iter().chain(file_sources.outcomes()).any(|o| o.is(name) && o.attached())
    });
    Ok(Kernel {
        policies: Some(policies),
        watched,
        names: Some(Names::take(&mut ebpf, file_sources.resolved())?),
        file_sources,
        unheard: (!options.own_files).then(std::process::id),
        files: take_typed(&mut ebpf, "FILES")?,
        turns: take_typed(&mut ebpf, "TURNS")?,
        events: take_typed(&mut ebpf, "EVENTS")?,
        made: take_typed(&mut ebpf, "MADE")?,
        lost: take_typed(&mut ebpf, "LOST")?,
        stats: take_typed(&mut ebpf, "STATS")?,
        flows: take_hash(&mut ebpf, "FLOWS")?,
        residues: take_hash(&mut ebpf, "RESIDUES")?,
        refusals: take_hash(&mut ebpf, "REFUSALS")?,
        changes: take_typed(&mut ebpf, "CHANGES")?,
        flows_max: options.flows_max as usize,
        ebpf,
        links,
        outcomes,
        notes: Vec::new(),
    })
}

impl Kernel {
    /// What became of each probe, in the order of the table.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Whether this probe is at work.
    pub fn attached(&self, program: &str) -> bool {
        self.outcomes.iter().any(|o| o.is(program) && o.attached())
    }

    /// The hold on what is refused to whom, for the thread that carries out rules; once.
    pub fn take_policies(&mut self) -> Option<Policies> {
        self.policies.take()
    }

    /// The hold on the names that are looked for in paths, for the engine's thread; once.
    pub fn take_names(&mut self) -> Option<Names> {
        self.names.take()
    }

    /// What became of the sources of opened files, of those that were tried.
    pub fn file_outcomes(&self) -> &[Outcome] {
        self.file_sources.outcomes()
    }

    /// The source of opened files that is in use.
    pub fn file_probe(&self) -> Option<FileProbe> {
        self.file_sources.used()
    }

    /// Whether every probe is at work.
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(Outcome::attached)
    }

    /// A program that was refused and has no replacement means that something is not seen.
    pub fn mode(&self) -> Mode {
        let misses = self.outcomes.iter().any(|o| o.source(0).status == SourceStatus::Missing);
        if misses { Mode::Reduced } else { Mode::Full }
    }

    /// The lines for the coverage panel: one for each probe, and those that were [noted](Self::note).
    pub fn sources(&self) -> Vec<Source> {
        let missed = self.missed().unwrap_or_default();
        let lines = self.outcomes.iter().zip(missed.by_probe).map(|(outcome, missed)| outcome.source(missed));
        let files = self.file_sources.source(self.stat(stat::FILE_URING).unwrap_or(0), missed.files);
        lines.chain([files]).chain(self.notes.iter().cloned()).collect()
    }

    /// Adds a line to the coverage panel.
    pub fn note(&mut self, line: Source) {
        self.notes.push(line);
    }
}

/// The maps' own sizes must be those of the types that are read from them: the raw calls rely on it.
fn check_sizes(ebpf: &Ebpf) -> Result<(), LoadError> {
    use aya::maps::Map;
    let expected = [
        ("FLOWS", size_of::<FlowKey>(), size_of::<FlowValue>()),
        ("RESIDUES", size_of::<ProcessKey>(), size_of::<Residue>()),
        ("SOCKETS", size_of::<i32>(), size_of::<SocketState>()),
        ("POLICIES", size_of::<ProcessKey>(), size_of::<Policy>()),
        ("PROGRAMS", size_of::<ProgramKey>(), size_of::<Policy>()),
        ("REFUSALS", size_of::<RefusalKey>(), size_of::<RefusalValue>()),
        ("FIRST", size_of::<i32>(), size_of::<FirstFlow>()),
        ("NAMES", size_of::<NameKey>(), size_of::<u32>()),
        ("LINKED", size_of::<ProgramKey>(), size_of::<u32>()),
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

pub(super) fn take_typed<T: TryFrom<aya::maps::Map>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, LoadError> {
    ebpf.take_map(name).and_then(|map| T::try_from(map).ok()).ok_or(LoadError::Map(name))
}

pub(super) fn take_hash(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, LoadError> {
    match ebpf.take_map(name) {
        Some(aya::maps::Map::HashMap(data)) => Ok(data),
        _ => Err(LoadError::Map(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
