//! The names that the kernel programs look for in the paths of files, and the files that they know by all their names.

use std::collections::HashSet;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use sekhmet_common::kernel::{
    LINKS_MAX, NAME_MAX, NAMES_MAX, NameKey, ProgramKey, SUFFIX, Sieve, first_bytes, suffix_bit, tail,
    whole_bit,
};

use crate::{
    engine::input::{self, NameFilter},
    kernel::load::{LoadError, take_typed},
};

/// Why names cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// There are too many.
    #[error("{0} names are more than the {NAMES_MAX} that can be looked for")]
    TooMany(usize),
    /// More files are to be known by all their names than can be.
    #[error("more than {LINKS_MAX} files cannot be known by all their names")]
    TooManyLinks,
    /// The kernel refused.
    #[error("the kernel refused: {0}")]
    Map(#[from] MapError),
}

/// The hold on these names. Works through descriptors that are open already.
pub struct Names {
    sieve: Array<MapData, Sieve>,
    names: HashMap<MapData, NameKey, u32>,
    linked: HashMap<MapData, ProgramKey, u32>,
    /// What stands in both.
    now: HashSet<NameKey>,
    links: HashSet<ProgramKey>,
    bits: Box<Sieve>,
}

impl Names {
    /// `resolved` goes into the sieve as it is.
    pub(in crate::kernel) fn take(ebpf: &mut Ebpf, resolved: u32) -> Result<Self, LoadError> {
        Ok(Self {
            sieve: take_typed(ebpf, "SIEVE")?,
            names: take_typed(ebpf, "NAMES")?,
            linked: take_typed(ebpf, "LINKED")?,
            now: HashSet::new(),
            links: HashSet::new(),
            bits: Box::new(Sieve { resolved, ..Sieve::default() }),
        })
    }

    /// Looks for these names and no others. A name that was looked for before and still is, is looked for all the
    /// time in between.
    ///
    /// # Errors
    /// [`NamesError`]; then some of the new names are looked for and none of the old ones is forgotten.
    pub fn set(&mut self, filters: &[NameFilter]) -> Result<(), NamesError> {
        let wanted: HashSet<NameKey> = filters.iter().filter_map(key).collect();
        if wanted.len() > NAMES_MAX / 2 {
            // Old and new ones stand in the map together for a moment.
            return Err(NamesError::TooMany(wanted.len()));
        }
        for key in wanted.difference(&self.now) {
            self.names.insert(key, 0, 0)?;
        }
        let (links, resolved) = (self.bits.links, self.bits.resolved);
        let bits = Box::new(Sieve { links, resolved, ..*sieve(&wanted) });
        self.write(join(&bits, &self.bits))?;
        self.write(bits)?;
        for key in self.now.difference(&wanted) {
            match self.names.remove(key) {
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => {}
            }
        }
        self.now = wanted;
        Ok(())
    }

    /// Tells of a file by whatever of its names it is asked for (`is_watched`), or no longer.
    ///
    /// # Errors
    /// [`NamesError`]; then nothing has changed.
    pub fn link(&mut self, file: input::ProgramKey, is_watched: bool) -> Result<(), NamesError> {
        let key = ProgramKey { device: file.device, reserved: 0, inode: file.inode };
        if self.links.contains(&key) == is_watched {
            return Ok(());
        }
        if is_watched {
            if self.links.len() >= LINKS_MAX {
                return Err(NamesError::TooManyLinks);
            }
            self.linked.insert(key, 0, 0)?;
            self.links.insert(key);
        } else {
            match self.linked.remove(&key) {
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => self.links.remove(&key),
            };
        }
        // It matters only whether there is one.
        let links = u32::from(!self.links.is_empty());
        if links != self.bits.links {
            self.write(Box::new(Sieve { links, ..*self.bits }))?;
        }
        Ok(())
    }

    /// Does once, without any effect, what [`set`](Self::set) and [`link`](Self::link) do.
    ///
    /// # Errors
    /// What the kernel says.
    pub(in crate::kernel) fn rehearse(&mut self) -> Result<(), NamesError> {
        // No file has a name without a byte.
        let nobody = NameKey { length: 0, name: [0; 32] };
        self.names.insert(nobody, 0, 0)?;
        self.names.remove(&nobody)?;
        let nothing = ProgramKey { device: 0, reserved: 0, inode: 0 };
        self.linked.insert(nothing, 0, 0)?;
        self.linked.remove(&nothing)?;
        self.write(self.bits.clone())?;
        Ok(())
    }

    fn write(&mut self, bits: Box<Sieve>) -> Result<(), MapError> {
        self.sieve.set(0, *bits, 0)?;
        self.bits = bits;
        Ok(())
    }
}

fn is_gone(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}

/// Nothing for a name that no part of a path can have.
fn key(filter: &NameFilter) -> Option<NameKey> {
    let name = filter.name.as_bytes();
    if name.is_empty() || name.len() > NAME_MAX || name.contains(&b'/') || name.contains(&0) {
        return None;
    }
    let length = u64::try_from(name.len()).ok()?;
    if filter.is_suffix {
        let mut key = NameKey { length: SUFFIX, name: [0; 32] };
        *key.name.first_mut()? = tail(last_bytes(name));
        return Some(key);
    }
    let mut words = [0; 32];
    for (word, bytes) in words.iter_mut().zip(name.chunks(8)) {
        *word = u64::from_ne_bytes(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0)));
    }
    Some(NameKey { length, name: words })
}

/// The last eight bytes, the last one uppermost; zeros below a shorter name.
fn last_bytes(name: &[u8]) -> u64 {
    name.iter().fold(0, |word, byte| word >> 8 | u64::from(*byte) << 56)
}

fn sieve(names: &HashSet<NameKey>) -> Box<Sieve> {
    let mut sieve = Box::<Sieve>::default();
    for key in names {
        let first = key.name.first().copied().unwrap_or(0);
        let bit = match u32::try_from(key.length) {
            Ok(length) => whole_bit(length, first_bytes(length, first)),
            Err(_suffix) => {
                sieve.suffixes += 1;
                suffix_bit(first)
            }
        };
        sieve.names += 1;
        if let Some(word) = sieve.words.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }
    sieve
}

/// Lets everything pass that one of the two does.
fn join(one: &Sieve, other: &Sieve) -> Box<Sieve> {
    let mut both = Box::new(*one);
    both.names = one.names.max(other.names);
    both.suffixes = one.suffixes.max(other.suffixes);
    for (word, more) in both.words.iter_mut().zip(&other.words) {
        *word |= more;
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(name: &[u8], is_suffix: bool) -> NameFilter {
        NameFilter { name: name.into(), is_suffix }
    }

    #[test]
    fn names_that_no_part_can_have_are_left_out() {
        for name in [&b""[..], b"a/b", b"a\0", &[b'a'; 256]] {
            assert_eq!(key(&filter(name, false)), None);
        }
        let longest = key(&filter(&[0xff; 255], false)).unwrap();
        assert_eq!((longest.length, longest.name[30], longest.name[31]), (255, u64::MAX, u64::MAX >> 8));
    }

    #[test]
    fn suffixes_are_one_if_their_last_part_is() {
        let of = |name: &[u8]| key(&filter(name, true)).unwrap();
        assert_eq!(of(b".tar.gz"), of(b".gz"));
        assert_ne!(of(b".kdbx"), of(b".kdb"));
        assert_eq!(of(b".sqlite-journal").length, SUFFIX);
    }

    #[test]
    fn every_name_passes_the_sieve_and_few_others_do() {
        let names: HashSet<NameKey> =
            (0..1000).filter_map(|n| key(&filter(format!("name-{n}").as_bytes(), n % 2 == 0))).collect();
        let sieve = sieve(&names);
        assert_eq!((sieve.names, sieve.suffixes), (1000, 500));
        let has = |bit: u32| sieve.words[bit as usize / 64] >> (bit % 64) & 1 == 1;
        let bit = |name: &str| {
            let key = key(&filter(name.as_bytes(), false)).unwrap();
            whole_bit(key.length as u32, first_bytes(key.length as u32, key.name[0]))
        };
        assert!((1..1000).step_by(2).all(|n| has(bit(&format!("name-{n}")))));
        let others = (0..10_000).filter(|n| has(bit(&format!("{n}-other")))).count();
        assert!(others < 300, "{others} of 10,000");
    }
}
