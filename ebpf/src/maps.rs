//! Every map, and the one kind of map that aya-ebpf does not have.

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE},
    btf_maps::{Array, HashMap, PerCpuArray},
    helpers::generated::bpf_sk_storage_get,
    macros::{btf_map, map},
    maps::RingBuf,
};
use sekhmet_common::kernel::{
    CHANGES_MAX, Change, EVENTS_BYTES, FILES_BYTES, FLOWS_MAX, FileScratch, FirstFlow, FlowKey, FlowValue,
    LINKS_MAX, NAMES_MAX, NameKey, OPENINGS_MAX, Opening, Policy, ProcessKey, ProgramKey, RESIDUES_MAX,
    RefusalKey, RefusalValue, Residue, RuleSlot, Sieve, SocketPolicy, SocketRow, SocketState, Switch, kind,
    policy::{POLICIES_MAX, PROGRAMS_MAX, REFUSALS_MAX, RULES_MAX},
    stat, turn,
};

/// The life of processes and sockets.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES as u32, 0);

/// Opened files. A ring of its own: a flood of them does not push out the life of a process.
#[map]
pub static FILES: RingBuf = RingBuf::with_byte_size(FILES_BYTES as u32, 0);

/// Which names are looked for, roughly.
#[btf_map]
pub static SIEVE: Array<Sieve, 1> = Array::new();

/// Which names are looked for.
#[btf_map]
pub static NAMES: HashMap<NameKey, u32, NAMES_MAX> = HashMap::new();

/// Opens that have begun, by task, where the end alone does not tell what was asked for.
#[btf_map]
pub static OPENINGS: HashMap<u64, Opening, OPENINGS_MAX> = HashMap::new();

/// Files that are looked for by whatever name.
#[btf_map]
pub static LINKED: HashMap<ProgramKey, u32, LINKS_MAX> = HashMap::new();

/// Changes of files that have begun, by task and which of its two names. Not LRU: one of this size evicts what was put in
/// just before.
#[btf_map]
pub static CHANGES: HashMap<u64, Change, CHANGES_MAX> = HashMap::new();

/// Where records of opened files are put together.
#[btf_map]
pub static SCRATCH: PerCpuArray<FileScratch, 1> = PerCpuArray::new();

/// Records begun, by kind; also those that found no room.
#[btf_map]
pub static MADE: PerCpuArray<u64, { kind::END as usize }> = PerCpuArray::new();

/// Records that found no room in the ring, by kind.
#[btf_map]
pub static LOST: PerCpuArray<u64, { kind::END as usize }> = PerCpuArray::new();

/// What else went wrong, by `kernel::stat`.
#[btf_map]
pub static STATS: PerCpuArray<u64, { stat::END as usize }> = PerCpuArray::new();

/// What the two programs at the tracepoint of TCP states say to each other, by `kernel::turn`.
#[btf_map]
pub static TURNS: PerCpuArray<u64, { turn::END as usize }> = PerCpuArray::new();

/// What belongs to a socket; goes with it. Copied to accepted sockets.
#[btf_map]
pub static SOCKETS: SocketStorage<SocketState, CLONED> = SocketStorage::new();

/// The first flow of a socket without connections; goes with the socket.
#[btf_map]
pub static FIRST: SocketStorage<FirstFlow, OWN> = SocketStorage::new();

/// Counters of each further flow of sockets without connections. Plain, not LRU: an eviction would take bytes along.
#[btf_map]
pub static FLOWS: HashMap<FlowKey, FlowValue, FLOWS_MAX> = HashMap::new();

/// Bytes that belong to no flow.
#[btf_map]
pub static RESIDUES: HashMap<ProcessKey, Residue, RESIDUES_MAX> = HashMap::new();

/// Where a dump builds its row, which is too large for the stack. One thread dumps at a time: the loader's reader.
#[btf_map]
pub static ROW: PerCpuArray<SocketRow, 1> = PerCpuArray::new();

/// Whether there is anything to refuse at all.
#[btf_map]
pub static SWITCH: Array<Switch, 1> = Array::new();

/// Rules in force, each in the one slot that its number allows.
#[btf_map]
pub static RULES: Array<RuleSlot, RULES_MAX> = Array::new();

/// Processes that are bound to rules.
#[btf_map]
pub static POLICIES: HashMap<ProcessKey, Policy, POLICIES_MAX> = HashMap::new();

/// Programs that are bound to rules.
#[btf_map]
pub static PROGRAMS: HashMap<ProgramKey, Policy, PROGRAMS_MAX> = HashMap::new();

/// Sockets that are bound to rules. Copied to accepted sockets.
#[btf_map]
pub static BOUND_SOCKETS: SocketStorage<SocketPolicy, CLONED> = SocketStorage::new();

/// What was refused, how often.
#[btf_map]
pub static REFUSALS: HashMap<RefusalKey, RefusalValue, REFUSALS_MAX> = HashMap::new();

/// Adds to the current CPU's counter. What it was before, or a little more.
///
/// Atomic although the slot is the CPU's own: a packet may interrupt a program that is between load and store.
#[inline(always)]
pub fn bump<const N: usize>(counters: &PerCpuArray<u64, N>, index: u32) -> u64 {
    let Some(slot) = counters.get_ptr_mut(index) else { return 0 };
    unsafe {
        let before = core::ptr::read_volatile(slot);
        add(slot, 1);
        before
    }
}

/// 0, unknown to LLVM, which makes zeros beside each other a call of `memset`: a loop over bytes.
#[inline(always)]
pub fn zero() -> u64 {
    core::hint::black_box(0)
}

/// `*target += amount`, in one instruction.
///
/// The result is not used, so that LLVM emits the plain `XADD`: the fetching form needs Linux 5.12, on arm64 5.18.
///
/// # Safety
/// `target` points into a map's value.
#[inline(always)]
pub unsafe fn add(target: *mut u64, amount: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(target, amount) };
}

/// `BPF_F_NO_PREALLOC`, which is compulsory for this type of map.
pub const OWN: usize = 1;

/// The same with `BPF_F_CLONE` (since Linux 5.4): values are copied to accepted sockets.
pub const CLONED: usize = 0x201;

/// Socket-local storage (since Linux 5.2).
///
/// The layout is the BTF map definition that loaders read: lengths of arrays stand for numbers.
#[repr(C)]
pub struct SocketStorage<T, const FLAGS: usize> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

// The pointers are placeholders that nobody follows.
unsafe impl<T, const FLAGS: usize> Sync for SocketStorage<T, FLAGS> {}

impl<T, const FLAGS: usize> SocketStorage<T, FLAGS> {
    /// The definition.
    pub const fn new() -> Self {
        use core::ptr::null;
        Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }

    /// The socket's value, if it has one.
    ///
    /// # Safety
    /// `socket` is a full socket that the verifier accepts.
    #[inline(always)]
    pub unsafe fn get(&self, socket: *const u8) -> Option<*mut T> {
        unsafe { self.call(socket, core::ptr::null_mut(), 0) }
    }

    /// The socket's value; `initial` becomes it if there is none yet.
    ///
    /// # Safety
    /// As [`Self::get`].
    #[inline(always)]
    pub unsafe fn get_or_insert(&self, socket: *const u8, initial: &mut T) -> Option<*mut T> {
        unsafe { self.call(socket, initial, BPF_SK_STORAGE_GET_F_CREATE.into()) }
    }

    #[inline(always)]
    unsafe fn call(&self, socket: *const u8, initial: *mut T, flags: u64) -> Option<*mut T> {
        let map = core::ptr::from_ref(self).cast_mut();
        let value: *mut T =
            unsafe { bpf_sk_storage_get(map.cast(), socket.cast_mut().cast(), initial.cast(), flags) }.cast();
        if value.is_null() { None } else { Some(value) }
    }
}
