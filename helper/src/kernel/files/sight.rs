//! From a record of an access to what the engine is told of it.

use sekhmet_common::{
    display::Text,
    file::{Access, Outcome},
    kernel::{FileRecord, file_state, operation},
    time::Timestamp,
};

use crate::{
    engine::input::FileSight,
    kernel::decode::{FileSeen, process, program},
};

/// `O_ACCMODE`, `O_WRONLY`, `O_RDWR`, `O_TRUNC`: the same on x86, arm and riscv.
const ACCMODE: u32 = 3;
const WRONLY: u32 = 1;
const TRUNC: u32 = 0o1000;
/// `O_PATH`.
const PATH: u32 = 0o10_000_000;

/// Stands for the upper parts of a path that is longer than any that a program can ask for at once.
const CUT: &str = "/…";

/// Nothing for an access of the kernel itself.
pub(in crate::kernel) fn sight(seen: &FileSeen, at: Timestamp) -> Option<FileSight> {
    let FileSeen { record, asked, parts } = seen;
    let is_resolved = record.state & file_state::RESOLVED != 0;
    let mut known = from_parts(parts);
    if record.state & file_state::CUT != 0 {
        // The upper parts are missing.
        known.splice(0..0, CUT.bytes());
    }
    let path =
        if is_resolved { known } else { asked_for(&known, asked, record.state & file_state::IN_ROOT != 0) };
    Some(FileSight {
        at,
        process: process(record.process)?,
        path: Text::from(path),
        is_resolved,
        requested: (record.state & file_state::ASKED != 0).then(|| Text::from(asked.as_slice())),
        access: access(record),
        result: Outcome(u16::try_from(record.error).unwrap_or(u16::MAX)),
        mount_ns: record.mount_ns,
        file: program(record.file),
    })
}

fn access(record: &FileRecord) -> Access {
    match record.operation {
        operation::UNLINK => Access::Unlink,
        operation::RENAME => Access::Rename,
        operation::CHMOD => Access::Chmod,
        operation::TRUNCATE => Access::Truncate,
        _ if record.flags & PATH != 0 => Access::Handle,
        _ if record.flags & TRUNC != 0 => Access::Truncate,
        _ => match record.flags & ACCMODE {
            0 => Access::Read,
            WRONLY => Access::Write,
            _ => Access::ReadWrite,
        },
    }
}

/// The absolute path of which the parts come from its end, a slash behind each.
fn from_parts(parts: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(parts.len() + 1);
    let names = parts.strip_suffix(b"/").unwrap_or(parts);
    for name in names.rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// What was asked for, absolute and without `.` and `..`. Links in it were not followed.
fn asked_for(folder: &[u8], asked: &[u8], in_root: bool) -> Vec<u8> {
    let is_absolute = asked.first() == Some(&b'/') && !in_root;
    let mut names: Vec<&[u8]> = Vec::new();
    let begin = if is_absolute { &[][..] } else { folder };
    for (path, floor) in [(begin, 0), (asked, if in_root { depth(folder) } else { 0 })] {
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." if names.len() > floor => drop(names.pop()),
                b".." => {}
                name => names.push(name),
            }
        }
    }
    let mut out = Vec::with_capacity(folder.len() + asked.len() + 1);
    for name in names {
        out.push(b'/');
        out.extend_from_slice(name);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

fn depth(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use sekhmet_common::kernel::{self, read_plain};

    use super::*;

    #[test]
    fn parts_make_a_path() {
        assert_eq!(from_parts(b"id_rsa/.ssh/home/"), b"/home/.ssh/id_rsa");
        assert_eq!(from_parts(b""), b"/");
        assert_eq!(from_parts(b"memfd:x/"), b"/memfd:x");
        assert_eq!(from_parts(b"new\nline/\xff/"), b"/\xff/new\nline");
    }

    #[test]
    fn what_was_asked_for_becomes_absolute() {
        let of = |folder: &[u8], asked: &[u8]| asked_for(folder, asked, false);
        assert_eq!(of(b"/home/u", b".ssh/./id"), b"/home/u/.ssh/id");
        assert_eq!(of(b"/home/u", b"../../../etc//shadow"), b"/etc/shadow");
        assert_eq!(of(b"/home/u", b"/a/b/../c/"), b"/a/c");
        assert_eq!(of(b"/", b""), b"/");
        assert_eq!(asked_for(b"/box", b"/etc/x", true), b"/box/etc/x");
        assert_eq!(asked_for(b"/box", b"../../x", true), b"/box/x");
    }

    fn nothing() -> FileRecord {
        read_plain(&[0; size_of::<FileRecord>()]).unwrap()
    }

    #[test]
    fn an_access_of_the_kernel_is_nobodys() {
        let seen = FileSeen { record: nothing(), asked: Vec::new(), parts: Vec::new() };
        assert_eq!(sight(&seen, Timestamp(0)), None);
    }

    #[test]
    fn a_path_that_was_cut_says_so() {
        let process = kernel::ProcessKey { tgid: 7, ..kernel::ProcessKey::default() };
        let state = file_state::RESOLVED | file_state::CUT;
        let record = FileRecord { process, state, ..nothing() };
        let seen = FileSeen { record, asked: Vec::new(), parts: b"key/.ssh/".to_vec() };
        let sight = sight(&seen, Timestamp(0)).unwrap();
        assert_eq!(sight.path, Text::from("/…/.ssh/key"));
        assert_eq!((sight.requested, sight.file), (None, None));
    }

    #[test]
    fn flags_say_what_was_meant() {
        let of = |flags: i32| access(&FileRecord { flags: flags.cast_unsigned(), ..nothing() });
        assert_eq!(of(libc::O_RDONLY), Access::Read);
        assert_eq!(of(libc::O_WRONLY | libc::O_CREAT), Access::Write);
        assert_eq!(of(libc::O_RDWR | libc::O_CLOEXEC), Access::ReadWrite);
        assert_eq!(of(libc::O_RDWR | libc::O_TRUNC), Access::Truncate);
        assert_eq!(of(libc::O_PATH), Access::Handle);
    }
}
