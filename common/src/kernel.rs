//! What the eBPF programs share with user space: records, map keys, and the marks they put on sockets.
//!
//! Everything is `#[repr(C)]` in the byte order of the machine, without padding that nobody writes: what the
//! kernel fills is what the loader reads. Records in the ring open with a [`Header`]; rows of an iterator do
//! not, for they are all alike. Times are nanoseconds of `CLOCK_BOOTTIME`.

mod file;
pub mod mark;
pub mod policy;
mod process;
mod socket;

pub use self::{
    file::{
        CHANGES_MAX, Change, FILE_TEXT_MAX, FILES_BYTES, FILES_WAKEUP_BYTES, FileRecord, FileScratch,
        LINKS_MAX, NAME_MAX, NAMES_MAX, NameKey, OPENINGS_MAX, Opening, PATH_MAX, SIEVE_WORDS, SUFFIX, Sieve,
        ends_of_parts, file_state, first_bytes, operation, suffix_bit, tail, whole_bit,
    },
    policy::{
        CoverRow, FileRow, Policy, ProgramKey, RefusalKey, RefusalValue, RefusedRecord, RuleSlot,
        SocketPolicy, Switch,
    },
    process::{
        ARGV_MAX, ExecRecord, ExitRecord, FILENAME_MAX, ForkRecord, Namespaces, Task, Uids, task_flag,
    },
    socket::{
        Counters, FirstFlow, FlowKey, FlowValue, PacketFlowRecord, Passed, Residue, SocketClosedRecord,
        SocketRow, SocketState, TcpRecord, Tuple, socket_flag, tcp_state,
    },
};

/// Version of everything in this module. The object exports it as the symbol [`ABI_SYMBOL`], and the loader
/// refuses an object without that symbol: raise the number in both when the layout of any record changes.
pub const ABI_VERSION: u32 = 4;

/// Name of the global that carries [`ABI_VERSION`] in its name, so that an older object does not have it.
pub const ABI_SYMBOL: &str = "SEKHMET_ABI_4";

/// An offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Bytes of the ring that carries the life of processes and sockets: 2,700 `exec` records, or 25,000 of any
/// other kind. A power of two times the page size (`BPF_MAP_TYPE_RINGBUF`).
pub const EVENTS_BYTES: usize = 4 << 20;

/// Unread bytes above which a record wakes the reader at once, instead of at its next poll.
pub const WAKEUP_BYTES: u64 = 1 << 20;

/// Most flows of sockets without connections that are counted one by one at a time.
pub const FLOWS_MAX: usize = 65_536;

/// Most processes that may have bytes in the residue map at a time.
pub const RESIDUES_MAX: usize = 16_384;

/// The kinds of ring records; also the index into the per-CPU counters of records made and lost.
///
/// The numbers are those of [`Header::kind`]. 0 is no kind, so that zeroed memory is never a record.
pub mod kind {
    /// [`super::ExecRecord`].
    pub const EXEC: u32 = 1;
    /// [`super::ForkRecord`].
    pub const FORK: u32 = 2;
    /// [`super::ExitRecord`].
    pub const EXIT: u32 = 3;
    /// [`super::TcpRecord`].
    pub const TCP: u32 = 4;
    /// [`super::PacketFlowRecord`].
    pub const PACKET_FLOW: u32 = 5;
    /// [`super::SocketClosedRecord`].
    pub const SOCKET_CLOSED: u32 = 6;
    /// [`super::RefusedRecord`].
    pub const REFUSED: u32 = 7;
    /// [`super::FileRecord`].
    pub const FILE: u32 = 8;
    /// One above the highest kind.
    pub const END: u32 = 9;
}

/// Counters beside those of the kinds, in the map `STATS`.
pub mod stat {
    /// Packets whose flow found no room in the flow map; their bytes are in their process's total only.
    pub const FLOW_MAP_FULL: u32 = 0;
    /// Last counters of sockets that found room neither in the ring nor in the residue map.
    pub const RESIDUE_MAP_FULL: u32 = 1;
    /// Sockets for which the kernel gave no storage; they have no owner.
    pub const STORAGE_FAILED: u32 = 2;
    /// Children and programs that could not be bound to their rules: too many processes are bound already.
    pub const POLICY_MAP_FULL: u32 = 3;
    /// Sockets that could not be bound to rules: the kernel gave no storage.
    pub const SOCKET_UNBOUND: u32 = 4;
    /// Refusals that found no room to be counted under their own key.
    pub const REFUSAL_MAP_FULL: u32 = 5;
    /// Failed opens, and changes of files, whose path could not be read from the process's memory any more.
    pub const FILE_UNREADABLE: u32 = 6;
    /// Opens by io_uring, which the source in use does not resolve.
    pub const FILE_URING: u32 = 7;
    /// Processes that executed a program, and sockets that several hold, to which one rule more applies than can be
    /// kept ([`super::policy::BOUND_MAX`]).
    pub const POLICY_FULL: u32 = 8;
    /// Opens and changes of files that were not told because too many were under way.
    pub const FILE_OPENINGS_FULL: u32 = 9;
    /// One above the highest counter.
    pub const END: u32 = 10;
}

/// What the two programs at the tracepoint of TCP states say to each other, in the per-CPU map `TURNS`.
pub mod turn {
    /// Not 0 while the second program is at work.
    pub const AT_WORK: u32 = 0;
    /// Changes that the first program has taken care of while the second was at work: the kernel does not run the
    /// second for them, counts that as a miss of it, and nothing is missing.
    pub const SPARED: u32 = 1;
    /// One above the highest slot.
    pub const END: u32 = 2;
}

/// What every ring record opens with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u32,
    /// Length of the whole record in bytes, this header included.
    pub length: u32,
    /// When it happened.
    pub at_ns: u64,
}

/// Names one process for ever: its thread-group id and when the group's leader was started.
///
/// All zero stands for the kernel itself, or for an owner that nobody could tell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Thread-group id in the first PID namespace.
    pub tgid: u32,
    /// Always 0.
    pub reserved: u32,
    /// `task_struct.start_boottime` of the group leader (since Linux 5.5; `real_start_time` before).
    pub start_ns: u64,
}

/// A record that may be copied out of raw bytes.
///
/// # Safety
/// The type is `#[repr(C)]`, `Copy`, and every bit pattern of its size is a valid value of it.
#[expect(unsafe_code, reason = "the promise that makes a copy from raw bytes sound")]
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),* $(,)?) => {$(
        // SAFETY: repr(C) and made of integers and arrays of integers only.
        #[expect(unsafe_code, reason = "see the trait")]
        unsafe impl Plain for $name {}
        // SAFETY: as above.
        #[cfg(feature = "aya")]
        #[expect(unsafe_code, reason = "aya asks for the same promise")]
        unsafe impl aya::Pod for $name {}
    )*};
}

// SAFETY: any bits are an integer. For aya it is one already.
#[expect(unsafe_code, reason = "see the trait")]
unsafe impl Plain for i32 {}

plain!(
    Header,
    ProcessKey,
    Task,
    ExecRecord,
    ForkRecord,
    ExitRecord,
    Tuple,
    Counters,
    SocketState,
    Passed,
    FirstFlow,
    SocketRow,
    TcpRecord,
    PacketFlowRecord,
    SocketClosedRecord,
    FlowKey,
    FlowValue,
    Residue,
    RuleSlot,
    Switch,
    Policy,
    ProgramKey,
    SocketPolicy,
    CoverRow,
    FileRow,
    RefusalKey,
    RefusalValue,
    RefusedRecord,
    Sieve,
    NameKey,
    FileRecord,
    Opening,
    Change,
);

/// Copies a record out of the front of `bytes`; nothing if they are too few. Alignment does not matter.
#[expect(unsafe_code, reason = "one bounds-checked copy")]
pub fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: `bytes` holds at least the size of T, `Plain` says that any bytes are a T, and the read does
    // not ask for alignment.
    Some(unsafe { core::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// The bytes of a record, for tests and recordings.
#[expect(unsafe_code, reason = "one view of plain memory")]
pub fn as_bytes<T: Plain>(record: &T) -> &[u8] {
    // SAFETY: `Plain` types are integers in repr(C) and have no padding (asserted below), so each of the
    // bytes is initialised; the slice borrows the record.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(record).cast(), size_of::<T>()) }
}

/// Layouts are part of the ABI: a change that moves a field must not go unnoticed.
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() == 16 && size_of::<ProcessKey>() == 16);
    assert!(size_of::<Task>() == 120 && offset_of!(Task, comm) == 104);
    assert!(size_of::<ExecRecord>() == 16 + 120 + 16 + FILENAME_MAX + ARGV_MAX);
    assert!(offset_of!(ExecRecord, filename) == 152 && offset_of!(ExecRecord, argv) == 152 + FILENAME_MAX);
    assert!(size_of::<ForkRecord>() == 136 && size_of::<ExitRecord>() == 40);
    assert!(size_of::<Tuple>() == 40 && size_of::<Counters>() == 32);
    assert!(size_of::<SocketState>() == 64 && offset_of!(SocketState, net_ns) == 32);
    // The kernel puts 8 bytes of its own before a socket's storage and aligns both to a cache line.
    assert!(offset_of!(FirstFlow, tx) == 64 - 8 && offset_of!(FirstFlow, rx) == 128 - 8);
    assert!(size_of::<FirstFlow>() == 136 && size_of::<Passed>() == 16);
    assert!(size_of::<TcpRecord>() == 136 && offset_of!(TcpRecord, tuple) == 48);
    assert!(size_of::<SocketRow>() == 128 && size_of::<SocketClosedRecord>() == 128);
    assert!(size_of::<FlowKey>() == 48 && size_of::<FlowValue>() == 64);
    assert!(size_of::<PacketFlowRecord>() == 88 && size_of::<Residue>() == 16);
    assert!(size_of::<RuleSlot>() == 8 && size_of::<Switch>() == 16 && size_of::<SocketPolicy>() == 40);
    assert!(size_of::<ProgramKey>() == 16 && size_of::<FileRow>() == 24 && size_of::<CoverRow>() == 88);
    assert!(size_of::<RefusalKey>() == 40 && size_of::<RefusalValue>() == 32);
    assert!(size_of::<RefusedRecord>() == 64);
    assert!(size_of::<Sieve>() == 16 + 8 * SIEVE_WORDS && size_of::<NameKey>() == 264);
    assert!(size_of::<FileRecord>() == 80 && offset_of!(FileScratch, text) == size_of::<FileRecord>());
    assert!(offset_of!(FileScratch, key) == size_of::<Change>() && offset_of!(Change, text) == 80);
    assert!(FILE_TEXT_MAX.is_multiple_of(8) && NAME_MAX < size_of::<[u64; 32]>());
    // The ring aligns to 8 bytes, and every kind must fit it many times over.
    assert!(align_of::<ExecRecord>() == 8 && size_of::<ExecRecord>() * 1000 < EVENTS_BYTES);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbol_names_the_version() {
        assert_eq!(ABI_SYMBOL.strip_prefix("SEKHMET_ABI_"), Some(ABI_VERSION.to_string().as_str()));
    }

    #[test]
    fn plain_survives_the_way_through_bytes() {
        let key = ProcessKey { tgid: 7, reserved: 0, start_ns: u64::MAX - 1 };
        let mut shifted = vec![0xaa];
        shifted.extend_from_slice(as_bytes(&key));
        assert_eq!(read_plain::<ProcessKey>(&shifted[1..]), Some(key));
        assert_eq!(read_plain::<ProcessKey>(&shifted[2..]), None);
    }
}
