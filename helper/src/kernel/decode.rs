//! From the bytes of a ring record to a record, checked; and from a task to what the engine calls a process.

use std::net::Ipv6Addr;

use sekhmet_common::{
    coverage::RecordKind,
    display::Text,
    flow::{Counters, Direction, Endpoint, Protocol},
    kernel::{
        self, ARGV_MAX, ExecRecord, ExitRecord, FILENAME_MAX, FileRecord, ForkRecord, Header,
        PacketFlowRecord, Plain, RefusedRecord, SocketClosedRecord, Task, TcpRecord, Tuple, kind, read_plain,
        socket_flag,
    },
};

use crate::engine::input::{ProcessImage, ProcessKey, ProgramKey, Uids};

/// Kinds of ring records, by their number.
pub(super) const KINDS: [(u32, RecordKind); 8] = [
    (kind::EXEC, RecordKind::Exec),
    (kind::FORK, RecordKind::Fork),
    (kind::EXIT, RecordKind::Exit),
    (kind::TCP, RecordKind::TcpState),
    (kind::PACKET_FLOW, RecordKind::PacketFlow),
    (kind::SOCKET_CLOSED, RecordKind::SocketClosed),
    (kind::REFUSED, RecordKind::Refused),
    (kind::FILE, RecordKind::File),
];

/// One record out of the ring.
#[derive(Clone, Debug)]
pub enum Record {
    /// A process executed a program.
    Exec(Box<ExecRecord>),
    /// A process was forked.
    Fork(ForkRecord),
    /// A process ended.
    Exit(ExitRecord),
    /// A TCP connection changed its state.
    Tcp(TcpRecord),
    /// A first packet.
    PacketFlow(PacketFlowRecord),
    /// A socket was released.
    SocketClosed(SocketClosedRecord),
    /// Something was refused for the first time.
    Refused(RefusedRecord),
    /// A file was opened, or somebody tried.
    File(Box<FileSeen>),
}

/// A record about a file with its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSeen {
    /// What stands before the texts.
    pub record: FileRecord,
    /// The path that was asked for.
    pub asked: Vec<u8>,
    /// The parts of the path that the kernel knows, from the file upwards, a slash behind each.
    pub parts: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than a header.
    #[error("a record of {0} bytes has no header")]
    NoHeader(usize),
    /// The header names a kind that this version does not have.
    #[error("record kind {0} is unknown")]
    UnknownKind(u32),
    /// The header, the bytes and the kind do not agree on the length.
    #[error("a record of kind {kind} says {said} bytes and has {has}")]
    Length {
        /// Which kind.
        kind: u32,
        /// What the header says.
        said: u32,
        /// How many bytes there are.
        has: usize,
    },
    /// A length inside the record is larger than the room for it.
    #[error("a record of kind {kind} has a field of {said} bytes in a room of {room}")]
    Field {
        /// Which kind.
        kind: u32,
        /// What the record says.
        said: u32,
        /// How much room there is.
        room: usize,
    },
}

impl DecodeError {
    /// The kind to which the loss is charged, where the bytes name one.
    pub fn kind(&self) -> Option<u32> {
        match *self {
            Self::Length { kind, .. } | Self::Field { kind, .. } => Some(kind),
            Self::NoHeader(_) | Self::UnknownKind(_) => None,
        }
    }
}

/// Reads one record. Never panics, whatever the bytes.
///
/// # Errors
/// The bytes are not exactly one record of a known kind.
pub fn decode_record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let header: Header = read_plain(bytes).ok_or(DecodeError::NoHeader(bytes.len()))?;
    match header.kind {
        kind::EXEC => {
            let record: ExecRecord = whole(bytes, header)?;
            for (said, room) in [(record.filename_length, FILENAME_MAX), (record.argv_length, ARGV_MAX)] {
                if said as usize > room {
                    return Err(DecodeError::Field { kind: header.kind, said, room });
                }
            }
            Ok(Record::Exec(Box::new(record)))
        }
        kind::FORK => whole(bytes, header).map(Record::Fork),
        kind::EXIT => whole(bytes, header).map(Record::Exit),
        kind::TCP => whole(bytes, header).map(Record::Tcp),
        kind::PACKET_FLOW => whole(bytes, header).map(Record::PacketFlow),
        kind::SOCKET_CLOSED => whole(bytes, header).map(Record::SocketClosed),
        kind::REFUSED => whole(bytes, header).map(Record::Refused),
        kind::FILE => file(bytes, header).map(|seen| Record::File(Box::new(seen))),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

impl Record {
    /// Its number among [`kind`].
    pub fn kind(&self) -> u32 {
        self.header().kind
    }

    /// When it happened, in nanoseconds of `CLOCK_BOOTTIME`.
    pub fn at_ns(&self) -> u64 {
        self.header().at_ns
    }

    fn header(&self) -> &Header {
        match self {
            Self::Exec(r) => &r.header,
            Self::Fork(r) => &r.header,
            Self::Exit(r) => &r.header,
            Self::Tcp(r) => &r.header,
            Self::PacketFlow(r) => &r.header,
            Self::SocketClosed(r) => &r.header,
            Self::Refused(r) => &r.header,
            Self::File(r) => &r.record.header,
        }
    }
}

fn whole<T: Plain>(bytes: &[u8], header: Header) -> Result<T, DecodeError> {
    let wrong = DecodeError::Length { kind: header.kind, said: header.length, has: bytes.len() };
    if bytes.len() != size_of::<T>() || header.length as usize != bytes.len() {
        return Err(wrong);
    }
    read_plain(bytes).ok_or(wrong)
}

fn file(bytes: &[u8], header: Header) -> Result<FileSeen, DecodeError> {
    let wrong = DecodeError::Length { kind: header.kind, said: header.length, has: bytes.len() };
    let record: FileRecord = read_plain(bytes).ok_or(wrong)?;
    let texts = bytes.get(size_of::<FileRecord>()..).unwrap_or_default();
    let field = |said| DecodeError::Field { kind: header.kind, said, room: texts.len() };
    let (asked, parts) =
        texts.split_at_checked(record.asked_length as usize).ok_or(field(record.asked_length))?;
    if header.length as usize != bytes.len() {
        return Err(wrong);
    }
    if parts.len() != record.parts_length as usize {
        return Err(field(record.parts_length));
    }
    Ok(FileSeen { record, asked: asked.to_vec(), parts: parts.to_vec() })
}

/// A process as fork, exit and the iterator show it: its program is that of whom it came from.
pub fn image(task: &Task) -> ProcessImage {
    ProcessImage {
        key: ProcessKey { tgid: task.process.tgid, start_ns: task.process.start_ns },
        parent: process(task.parent),
        uids: Uids {
            real: task.uids.uid,
            effective: task.uids.euid,
            saved: task.uids.suid,
            fs: task.uids.fsuid,
        },
        cgroup_id: task.cgroup_id,
        net_ns: task.namespaces.net,
        mnt_ns: task.namespaces.mnt,
        program: program(task.program),
        comm: Text::from(until_nul(&task.comm)),
        filename: Text::default(),
        argv: None,
        argv_truncated: false,
    }
}

/// A process that has just executed a program.
pub fn executed(record: &ExecRecord) -> ProcessImage {
    let filename = record.filename.get(..record.filename_length as usize).unwrap_or_default();
    let argv = record.argv.get(..record.argv_length as usize).unwrap_or_default();
    ProcessImage {
        filename: Text::from(until_nul(filename)),
        argv: (record.argv_length > 0 || record.argv_full_length == 0).then(|| arguments(argv)),
        argv_truncated: record.argv_full_length > record.argv_length,
        ..image(&record.task)
    }
}

/// Which file; nothing if it is not known.
pub fn program(key: kernel::ProgramKey) -> Option<ProgramKey> {
    (key.inode != 0).then_some(ProgramKey { device: key.device, inode: key.inode })
}

/// Who owns something; nothing for the kernel.
pub fn process(key: kernel::ProcessKey) -> Option<ProcessKey> {
    (key.tgid != 0).then_some(ProcessKey { tgid: key.tgid, start_ns: key.start_ns })
}

/// This machine's side and the other.
pub fn endpoints(tuple: &Tuple) -> (Endpoint, Endpoint) {
    let endpoint = |addr: [u8; 16], port| Endpoint::new(Ipv6Addr::from(addr).into(), port);
    (endpoint(tuple.local, tuple.local_port), endpoint(tuple.remote, tuple.remote_port))
}

/// The protocol by its number; a raw socket that makes its own TCP or UDP packets is still a raw socket.
pub fn protocol(number: u8, flags: u32) -> Protocol {
    match Protocol::from_ip(number) {
        known @ (Protocol::Icmp | Protocol::Icmp6) => known,
        _ if flags & socket_flag::RAW != 0 => Protocol::Raw,
        known => known,
    }
}

/// Who spoke first, as far as the flags know.
pub fn direction(flags: u32) -> Direction {
    match flags & (socket_flag::INBOUND | socket_flag::OUTBOUND) {
        socket_flag::INBOUND => Direction::Inbound,
        socket_flag::OUTBOUND => Direction::Outbound,
        _ => Direction::Unknown,
    }
}

/// The same counters in the contract's type.
pub fn counters(counters: &kernel::Counters) -> Counters {
    let kernel::Counters { tx_bytes, rx_bytes, tx_packets, rx_packets } = *counters;
    Counters { tx_bytes, rx_bytes, tx_packets, rx_packets }
}

/// Splits `a\0b\0`; without an end mark the last one was cut and counts as it is.
fn arguments(bytes: &[u8]) -> Vec<Text> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|b| *b == 0).map(Text::from).collect()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sekhmet_common::kernel::as_bytes;

    use super::*;

    fn exec() -> ExecRecord {
        ExecRecord {
            header: Header { kind: kind::EXEC, length: size_of::<ExecRecord>() as u32, at_ns: 5 },
            task: Task {
                process: kernel::ProcessKey { tgid: 7, reserved: 0, start_ns: 9 },
                comm: *b"name\0rest-of-it\0",
                ..Task::default()
            },
            filename_length: 7,
            argv_length: 9,
            argv_full_length: 9,
            reserved: 0,
            filename: std::array::from_fn(|i| *b"./echo\0".get(i).unwrap_or(&0xee)),
            argv: std::array::from_fn(|i| *b"echo\0a b\0".get(i).unwrap_or(&0xee)),
        }
    }

    #[test]
    fn an_exec_comes_out_as_it_went_in() {
        let Record::Exec(record) = decode_record(as_bytes(&exec())).unwrap() else { panic!("another kind") };
        let image = executed(&record);
        assert_eq!(image.key, ProcessKey { tgid: 7, start_ns: 9 });
        assert_eq!((image.comm, image.filename), (Text::from("name"), Text::from("./echo")));
        assert_eq!(image.argv, Some(vec![Text::from("echo"), Text::from("a b")]));
        assert!(!image.argv_truncated);
        assert_eq!(image.parent, None);
    }

    #[test]
    fn arguments_empty_cut_or_unreadable() {
        let with = |length, full| {
            let record = ExecRecord { argv_length: length, argv_full_length: full, ..exec() };
            let image = executed(&record);
            (image.argv, image.argv_truncated)
        };
        assert_eq!(with(7, 9), (Some(vec![Text::from("echo"), Text::from("a ")]), true));
        assert_eq!(with(0, 9), (None, true), "the kernel could not read them");
        assert_eq!(with(0, 0), (Some(vec![]), false), "there are none");
        assert_eq!(arguments(b"a\0\0c\0"), vec![Text::from("a"), Text::from(""), Text::from("c")]);
    }

    #[test]
    fn wrong_lengths_and_kinds_are_refused() {
        let good = as_bytes(&exec()).to_vec();
        for length in 0..good.len() {
            assert!(decode_record(&good[..length]).is_err(), "{length}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(matches!(decode_record(&long), Err(DecodeError::Length { kind: kind::EXEC, .. })));
        for (unknown, expected) in [(0, 0), (kind::END, kind::END), (u32::MAX, u32::MAX)] {
            let mut other = good.clone();
            other[..4].copy_from_slice(&u32::to_ne_bytes(unknown));
            assert_eq!(decode_record(&other).err(), Some(DecodeError::UnknownKind(expected)));
        }
        let bad = ExecRecord { argv_length: 1025, ..exec() };
        let error = decode_record(as_bytes(&bad)).err();
        assert_eq!(error, Some(DecodeError::Field { kind: kind::EXEC, said: 1025, room: 1024 }));
    }

    #[test]
    fn every_kind_is_decoded_under_its_own_name() {
        for (number, _) in KINDS {
            let length = match number {
                kind::EXEC => size_of::<ExecRecord>(),
                kind::FORK => size_of::<ForkRecord>(),
                kind::EXIT => size_of::<ExitRecord>(),
                kind::TCP => size_of::<TcpRecord>(),
                kind::PACKET_FLOW => size_of::<PacketFlowRecord>(),
                kind::SOCKET_CLOSED => size_of::<SocketClosedRecord>(),
                kind::FILE => size_of::<FileRecord>(),
                _ => size_of::<RefusedRecord>(),
            };
            let mut bytes = vec![0; length];
            bytes[..4].copy_from_slice(&number.to_ne_bytes());
            bytes[4..8].copy_from_slice(&(length as u32).to_ne_bytes());
            assert_eq!(decode_record(&bytes).unwrap().kind(), number);
        }
    }

    #[test]
    fn mapped_and_plain_addresses() {
        let tuple = Tuple {
            local: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1],
            remote: Ipv6Addr::LOCALHOST.octets(),
            local_port: 1,
            remote_port: 2,
            ..Tuple::default()
        };
        let (local, remote) = endpoints(&tuple);
        assert_eq!((local.to_string(), remote.to_string()), ("127.0.0.1:1".into(), "[::1]:2".into()));
        assert_eq!(protocol(6, socket_flag::RAW), Protocol::Raw);
        assert_eq!(protocol(1, socket_flag::RAW), Protocol::Icmp);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0u32..10, mut bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            if bytes.len() >= 8 {
                let length = bytes.len() as u32;
                bytes[..4].copy_from_slice(&kind.to_ne_bytes());
                bytes[4..8].copy_from_slice(&length.to_ne_bytes());
            }
            if let Ok(Record::Exec(record)) = decode_record(&bytes) {
                let _image = executed(&record);
            }
        }
    }
}
