//! Records of opened files, and the names by which the programs choose which of them to tell.
//!
//! A path is told only if one of its parts has a name that is looked for. A part is first held against a [`Sieve`],
//! which lets few others pass, then looked up by its whole name ([`NameKey`]).

use super::{Header, ProcessKey, ProgramKey};

/// The longest path that is told in whole, its end mark included: the longest that open(2) takes (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;

/// The longest name of a part (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// Most names that are looked for at a time.
pub const NAMES_MAX: usize = 8192;

/// Bytes of the ring that carries opened files: 5,000 records of the usual 200 bytes. A power of two times the page
/// size.
pub const FILES_BYTES: usize = 1 << 20;

/// Unread bytes above which a record wakes the reader at once.
pub const FILES_WAKEUP_BYTES: u64 = 1 << 18;

/// Words of 64 bits in the sieve.
pub const SIEVE_WORDS: usize = 1024;

/// Most files that are known by all their names at a time.
pub const LINKS_MAX: usize = 4096;

/// Room for both paths of a record: what is written last may begin just before the end of two whole paths.
pub const FILE_TEXT_MAX: usize = 2 * PATH_MAX + NAME_MAX + 1;

/// Which names are looked for, roughly: one bit for each name, chosen by [`whole_bit`] or [`suffix_bit`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sieve {
    /// How many names are looked for; 0 makes the programs return at once.
    pub names: u32,
    /// How many of them are ends of names.
    pub suffixes: u32,
    /// Not 0 if there are files that are known by all their names.
    pub links: u32,
    /// Bits of operations ([`operation`]): of these other programs tell what succeeded, with the path that the kernel
    /// has resolved. The ends of system calls tell only what failed.
    pub resolved: u32,
    /// The bits.
    pub words: [u64; SIEVE_WORDS],
}

impl Default for Sieve {
    fn default() -> Self {
        Self { names: 0, suffixes: 0, links: 0, resolved: 0, words: [0; SIEVE_WORDS] }
    }
}

/// One name that is looked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// How long the name is; [`SUFFIX`] for the end of a name.
    pub length: u64,
    /// A whole name, zeros behind it. Of the end of a name only its [`tail`].
    pub name: [u64; 32],
}

/// [`NameKey::length`] of the end of a name.
pub const SUFFIX: u64 = 1 << 32;

/// Where the bit of a whole name is: its word in the upper bits, its place in there in the lower six. `first` is
/// what [`first_bytes`] makes of it.
#[inline(always)]
pub const fn whole_bit(length: u32, first: u64) -> u32 {
    // Multiplication by 2^64 divided by the golden ratio moves every bit into the upper ones (Knuth 6.4).
    ((first ^ ((length as u64) << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32
}

/// Where the bit of the end of a name is; `tail` is what [`tail`] makes of the name.
#[inline(always)]
pub const fn suffix_bit(tail: u64) -> u32 {
    (tail.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 48) as u32
}

/// Of a name's first eight bytes, as they lie in memory, those that belong to it.
#[inline(always)]
pub const fn first_bytes(length: u32, word: u64) -> u64 {
    let word = u64::from_le(word);
    if length < 8 { word & ((1 << (length * 8)) - 1) } else { word }
}

/// Of a name's last eight bytes those from the last dot on; all eight if the dot lies before them or there is none.
/// The last byte of the name is the uppermost of `last`, and a shorter name has zeros below.
#[inline(always)]
pub const fn tail(last: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let apart = last ^ 0x2e2e_2e2e_2e2e_2e2e;
    // The upper bit of each byte that is a dot (Warren, Hacker's Delight, 6-1).
    let dots = !(((apart & LOW) + LOW) | apart | LOW);
    // The same for every byte below the last dot.
    let mut below = dots >> 8;
    below |= below >> 8;
    below |= below >> 16;
    below |= below >> 32;
    last & !((below >> 7) * 0xff)
}

/// The upper bit of each byte of a word that is a slash or the end of a text.
#[inline(always)]
pub const fn ends_of_parts(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let apart = word ^ 0x2f2f_2f2f_2f2f_2f2f;
    !(((apart & LOW) + LOW) | apart | LOW) | !(((word & LOW) + LOW) | word | LOW)
}

/// What a record tells of an access, `FileRecord::operation`.
pub mod operation {
    /// It was opened, or was to be.
    pub const OPEN: u32 = 1;
    /// Its name was removed.
    pub const UNLINK: u32 = 2;
    /// It was given another name, or another file its name.
    pub const RENAME: u32 = 3;
    /// Its mode was changed.
    pub const CHMOD: u32 = 4;
    /// It was emptied or cut by its path.
    pub const TRUNCATE: u32 = 5;
}

/// Bits of [`FileRecord::state`].
pub mod file_state {
    /// The first path is that of the file; without this bit it is that of the folder from which the path that was
    /// asked for begins.
    pub const RESOLVED: u32 = 1;
    /// There was no room for all of a path.
    pub const CUT: u32 = 2;
    /// The path that was asked for begins at that folder also if it begins with a slash (`RESOLVE_IN_ROOT`).
    pub const IN_ROOT: u32 = 4;
    /// The path that was asked for could be read.
    pub const ASKED: u32 = 8;
}

/// What stands before the texts of a record about a file.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Kind [`super::kind::FILE`]; its length counts the texts, of which what fills up the last eight bytes.
    pub header: Header,
    /// Who.
    pub process: ProcessKey,
    /// Which file; all 0 if it is not known.
    pub file: ProgramKey,
    /// One of [`operation`].
    pub operation: u32,
    /// Bits of [`file_state`].
    pub state: u32,
    /// `O_*` of open(2).
    pub flags: u32,
    /// 0, or what went wrong as a positive errno.
    pub error: u32,
    /// Inode number of the mount namespace.
    pub mount_ns: u32,
    /// Bytes of the path that was asked for, first of the texts.
    pub asked_length: u32,
    /// Bytes of the path that the kernel knows: the names of its parts from the file upwards, a slash behind each.
    pub parts_length: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Most changes of names, modes and lengths of files that are looked for, under way at a time.
pub const CHANGES_MAX: usize = 64;

/// What is told of such a change as soon as it is done: the beginning of a [`FileScratch`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// What is handed to the ring.
    pub record: FileRecord,
    /// See there.
    pub text: [u8; FILE_TEXT_MAX],
}

/// Most opens that are under way at a time.
pub const OPENINGS_MAX: usize = 16_384;

/// What `do_filp_open` was called with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The `struct filename`.
    pub path: u64,
    /// The `struct open_flags`.
    pub flags: u64,
    /// The folder's descriptor.
    pub folder: i32,
    /// Always 0.
    pub reserved: u32,
}

/// Where a program puts a record together: too large for its stack. Also what changes in loops is kept here and not in
/// registers: the verifier does not follow values in there, and so needs not go through every one of them.
#[repr(C)]
pub struct FileScratch {
    /// What is handed to the ring: the record and, right behind it, the texts.
    pub record: FileRecord,
    /// See [`FileRecord`]. Up to here it is a [`Change`].
    pub text: [u8; FILE_TEXT_MAX],
    /// A name that is looked up.
    pub key: NameKey,
    /// What was read of a `struct dentry`.
    pub node: [u64; 16],
    /// What was asked for, where the program is told by the kernel's own objects.
    pub opening: Opening,
    /// The `struct file`, 0 for none.
    pub file: u64,
    /// The `struct vfsmount` from which the walk begins.
    pub mount: u64,
    /// The `struct dentry` from which the walk begins, 0 for none.
    pub entry: u64,
    /// Where the walk is, with the uppermost `struct dentry` of the mount.
    pub at_mount: u64,
    /// See there.
    pub at_entry: u64,
    /// See there.
    pub at_top: u64,
    /// The `struct vfsmount` on which that one is mounted, and where.
    pub at_outer: u64,
    /// See there.
    pub at_mountpoint: u64,
    /// The current task's root: its `struct vfsmount` and its `struct dentry`.
    pub root_mount: u64,
    /// See there.
    pub root_entry: u64,
    /// Bytes of text so far.
    pub end: u32,
    /// Where a part of the path that was asked for begins.
    pub begin: u32,
    /// Bits of [`file_state`] that came about on the walk.
    pub found: u32,
    /// One of [`operation`].
    pub operation: u32,
    /// Names that the sieve let pass.
    pub passed: u32,
    /// How long the last one of them is; 0 for the end of a name.
    pub passed_length: u32,
    /// Where it is.
    pub passed_at: u64,
    /// Its tail.
    pub passed_tail: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn last(name: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        let tail = &name[name.len().saturating_sub(8)..];
        bytes[8 - tail.len()..].copy_from_slice(tail);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn a_tail_begins_at_the_last_dot() {
        assert_eq!(tail(last(b"passwords.kdbx")), last(b".kdbx"));
        assert_eq!(tail(last(b"a.tar.gz")), last(b".gz"));
        assert_eq!(tail(last(b".env")), last(b".env"));
        assert_eq!(tail(last(b"x.")), last(b"."));
        assert_eq!(tail(last(b"nodothere")), last(b"nodothere"));
        assert_eq!(tail(last(b"places.sqlite-journal")), last(b".sqlite-journal"));
        assert_eq!(tail(last(b"a\xae.\xae")), last(b".\xae"), "an upper bit is no dot");
    }

    proptest! {
        #[test]
        fn tails_are_those_of_the_plain_way(name in proptest::collection::vec(1u8..=255, 1..12)) {
            let short = &name[name.len().saturating_sub(8)..];
            let plain = short.iter().rposition(|b| *b == b'.').map_or(short, |at| &short[at..]);
            prop_assert_eq!(tail(last(&name)), last(plain));
        }

        #[test]
        fn what_lies_behind_a_name_does_not_matter(word: u64, garbage: u64, length in 0u32..12) {
            let keep = if length < 8 { (1u64 << (length * 8)) - 1 } else { u64::MAX };
            let other = u64::from_le(word) & keep | u64::from_le(garbage) & !keep;
            prop_assert_eq!(first_bytes(length, word), first_bytes(length, u64::to_le(other)));
        }

        #[test]
        fn parts_end_at_slashes_and_at_the_end(bytes: [u8; 8], slash in 0usize..8, nul in 0usize..8) {
            let mut bytes = bytes;
            bytes[slash] = b'/';
            bytes[nul] = 0;
            let ends = ends_of_parts(u64::from_le_bytes(bytes)).to_le_bytes();
            prop_assert_eq!(ends, bytes.map(|byte| if byte == b'/' || byte == 0 { 0x80 } else { 0 }));
        }

        #[test]
        fn bits_lie_in_the_sieve(word: u64, length in 0u32..256) {
            prop_assert!((whole_bit(length, word) as usize) < SIEVE_WORDS * 64);
            prop_assert!((suffix_bit(word) as usize) < SIEVE_WORDS * 64);
        }
    }
}
