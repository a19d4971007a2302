//! Which name of a pattern the kernel looks for, so that few paths have to be told.

/// A name that every path has that a pattern names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal<'a> {
    /// At most 255 bytes, no slash.
    pub name: &'a [u8],
    /// Whether it is the end of a part, from its last dot on, and not all of it.
    pub is_suffix: bool,
}

/// Names that are part of many paths. Each would have the kernel tell of a great many files.
const COMMON: [&[u8]; 46] = [
    b".cache",
    b".config",
    b".local",
    b".var",
    b"app",
    b"apps",
    b"bin",
    b"boot",
    b"cache",
    b"common",
    b"conf",
    b"config",
    b"config.json",
    b"config.toml",
    b"current",
    b"data",
    b"default",
    b"dev",
    b"etc",
    b"files",
    b"home",
    b"index",
    b"lib",
    b"lib64",
    b"local",
    b"log",
    b"mail",
    b"media",
    b"mnt",
    b"opt",
    b"proc",
    b"root",
    b"run",
    b"sbin",
    b"settings.json",
    b"share",
    b"snap",
    b"spool",
    b"src",
    b"srv",
    b"state",
    b"sys",
    b"tmp",
    b"usr",
    b"user",
    b"var",
];

/// Endings that many files have.
const COMMON_ENDINGS: [&[u8]; 8] = [b".conf", b".db", b".json", b".log", b".so", b".toml", b".txt", b".xml"];

/// Whether many paths hold this name.
pub(super) fn is_common(literal: &Literal<'_>) -> bool {
    let names: &[&[u8]] = if literal.is_suffix { &COMMON_ENDINGS } else { &COMMON };
    names.contains(&literal.name)
}

/// The rarest of a path's names, which come in their order.
pub(super) fn rarest<'a>(literals: impl Iterator<Item = Literal<'a>>) -> Option<Literal<'a>> {
    // The last one of the highest rank, or the longest of the lowest.
    literals.max_by_key(|literal| match (is_common(literal), literal.is_suffix) {
        (false, false) => (3, 0),
        (false, true) => (2, 0),
        (true, false) => (1, literal.name.len()),
        (true, true) => (0, literal.name.len()),
    })
}
