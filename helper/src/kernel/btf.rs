//! Reader for the kernel's type information: where a field lies, how large a struct is.
//!
//! Only what offsets need (`Documentation/bpf/btf.rst`). The input is trusted no more than any file: every
//! access is checked, nesting is limited, and nothing panics.

use std::collections::HashMap;

/// `0xeB9F` in the byte order of the machine.
const MAGIC: u16 = 0xeb9f;
/// Bytes of the header that every version has.
const HEADER: usize = 24;
/// Bytes that every type begins with.
const TYPE: usize = 12;
/// Bytes of a struct's member.
const MEMBER: usize = 12;
/// Unnamed structs inside unnamed structs, and typedefs of typedefs, that are followed.
const DEPTH_MAX: usize = 32;
/// Most members that one search looks at; `task_struct` with everything inside it has fewer than 1,000.
const STEPS_MAX: u32 = 10_000;
/// Far above the 130,000 types of a large kernel.
const TYPES_MAX: usize = 4_000_000;

/// Why type information could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// It ends inside a header, a type or the strings.
    #[error("type information is cut off at byte {0}")]
    Truncated(usize),
    /// It does not begin with the magic number of this machine's byte order.
    #[error("this is not type information of this machine")]
    Magic,
    /// A kind of type that came after this reader was written: its length is unknown.
    #[error("type {id} is of the unknown kind {kind}")]
    Kind {
        /// Number of the type.
        id: usize,
        /// Its kind.
        kind: u32,
    },
    /// More types than any kernel has.
    #[error("more than {TYPES_MAX} types")]
    TooMany,
}

/// Parsed type information, borrowing the bytes.
#[derive(Debug)]
pub struct Btf<'a> {
    /// One slice for each type from its first byte on; the first stands for `void`.
    types: Vec<&'a [u8]>,
    /// Structs by name. Forward declarations are another kind and do not get in the way.
    structs: HashMap<&'a [u8], u32>,
    strings: &'a [u8],
}

/// Kinds of types (`include/uapi/linux/btf.h`).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Reads raw type information, such as `/sys/kernel/btf/vmlinux`.
///
/// # Errors
/// The bytes are not what they should be; nothing of them is used then.
pub fn parse(bytes: &[u8]) -> Result<Btf<'_>, BtfError> {
    let header = bytes.get(..HEADER).ok_or(BtfError::Truncated(bytes.len()))?;
    if header.first_chunk().map(|m| u16::from_ne_bytes(*m)) != Some(MAGIC) {
        return Err(BtfError::Magic);
    }
    let field = |at| word(header, at).unwrap_or(0) as usize;
    let body = bytes.get(field(4)..).ok_or(BtfError::Truncated(bytes.len()))?;
    let section = |at: usize| {
        let (start, length) = (field(at), field(at + 4));
        start.checked_add(length).and_then(|end| body.get(start..end)).ok_or(BtfError::Truncated(bytes.len()))
    };
    let (mut rest, strings) = (section(8)?, section(16)?);
    let whole = rest.len();
    let mut btf = Btf { types: vec![&[]], structs: HashMap::new(), strings };
    while !rest.is_empty() {
        let id = btf.types.len();
        if id > TYPES_MAX {
            return Err(BtfError::TooMany);
        }
        let cut = BtfError::Truncated(whole - rest.len());
        let info = word(rest, 4).ok_or(cut.clone())?;
        let length = TYPE + extra(info).ok_or(BtfError::Kind { id, kind: kind_of(info) })?;
        let one = rest.get(..length).ok_or(cut)?;
        btf.register(one, info, id);
        btf.types.push(one);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(btf)
}

impl<'a> Btf<'a> {
    /// How many types there are.
    pub fn len(&self) -> usize {
        self.types.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the field at `path` lies in the struct, in bytes. The path has a dot between a field and a field
    /// of it; unnamed structs and unions are passed through. Nothing for a field that is missing or does not
    /// begin at a byte.
    pub fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = *self.structs.get(structure.as_bytes())?;
        let mut bits = 0u32;
        for field in path.split('.') {
            let (at, of_type) = self.member(id, field.as_bytes(), 0, &mut { STEPS_MAX })?;
            bits = bits.checked_add(at)?;
            id = of_type;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// The size of a struct in bytes.
    pub fn size(&self, structure: &str) -> Option<u32> {
        let id = *self.structs.get(structure.as_bytes())?;
        word(self.types.get(id as usize)?, 8)
    }

    /// How many parameters a function has.
    pub fn parameters(&self, function: &str) -> Option<u32> {
        // Looked for one by one: a table of all 60,000 functions would cost every start more than this does.
        let wanted = |one: &&[u8]| {
            word(one, 4).map(kind_of) == Some(kind::FUNC)
                && word(one, 0).map(|at| string(self.strings, at)) == Some(function.as_bytes())
        };
        let prototype = word(self.types.iter().copied().find(|one| wanted(one))?, 8)?;
        let info = word(self.types.get(prototype as usize)?, 4)?;
        (kind_of(info) == kind::FUNC_PROTO).then_some(count_of(info) as u32)
    }

    fn register(&mut self, one: &'a [u8], info: u32, id: usize) {
        if kind_of(info) != kind::STRUCT || count_of(info) == 0 {
            return;
        }
        let name = word(one, 0).map_or(&[][..], |at| string(self.strings, at));
        if !name.is_empty() {
            // The first definition counts; a second one of the same name is some driver's own.
            self.structs.entry(name).or_insert(u32::try_from(id).unwrap_or(0));
        }
    }

    /// Bit offset and type of a member, also of those inside unnamed members. `steps` is what the whole search
    /// may still look at: a struct with several unnamed members of its own kind would otherwise be searched
    /// through as many times as there are ways down.
    fn member(&self, id: u32, name: &[u8], depth: usize, steps: &mut u32) -> Option<(u32, u32)> {
        if depth > DEPTH_MAX {
            return None;
        }
        let one = self.types.get(id as usize)?;
        let info = word(one, 4)?;
        if !matches!(kind_of(info), kind::STRUCT | kind::UNION) {
            return None;
        }
        for member in one.get(TYPE..)?.chunks_exact(MEMBER) {
            *steps = steps.checked_sub(1)?;
            // With the kind flag, the upper byte is the width of a bit field.
            let at = word(member, 8)? & if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
            let of_type = self.plain(word(member, 4)?)?;
            let found = string(self.strings, word(member, 0)?);
            if found == name {
                return Some((at, of_type));
            }
            if found.is_empty()
                && let Some((inner, of_type)) = self.member(of_type, name, depth + 1, steps)
            {
                return Some((at.checked_add(inner)?, of_type));
            }
        }
        None
    }

    /// The type behind names, qualifiers and tags.
    fn plain(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH_MAX {
            if id == 0 {
                return Some(0);
            }
            let one = self.types.get(id as usize)?;
            match kind_of(word(one, 4)?) {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = word(one, 8)?
                }
                _ => return Some(id),
            }
        }
        None
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn kind_of(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

fn count_of(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// The string at an offset, without its end mark; empty if there is none.
fn string(strings: &[u8], at: u32) -> &[u8] {
    let rest = strings.get(at as usize..).unwrap_or_default();
    rest.iter().position(|b| *b == 0).and_then(|end| rest.get(..end)).unwrap_or_default()
}

/// Bytes that follow the common part of a type; nothing for an unknown kind.
fn extra(info: u32) -> Option<usize> {
    let count = count_of(info);
    Some(match kind_of(info) {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
        kind::ENUM | kind::FUNC_PROTO => count * 8,
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
