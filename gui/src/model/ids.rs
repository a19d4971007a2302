//! Hashing for ids that the helper issues one after the other: a multiplication instead of a keyed hash.

use std::hash::{BuildHasherDefault, Hasher};

/// A map from ids. Only for keys that the helper numbers; what strangers choose needs the keyed hash.
pub type IdMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// 2^64 divided by the golden ratio: neighbours end far apart (Knuth, TAOCP 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes integers.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(SPREAD);
    }

    fn write_isize(&mut self, n: isize) {
        // The discriminant of an `Option`.
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        // Tables index with the low bits; the high ones are mixed best.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::Hash};

    use super::*;

    fn hash(value: impl Hash) -> u64 {
        let mut hasher = IdHasher::default();
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn ids_in_a_row_spread_over_a_table() {
        for mask in [0xff, 0x3fff] {
            let places: HashSet<u64> = (0..=mask).map(|id: u64| hash(id) & mask).collect();
            assert!(places.len() as u64 > mask / 2, "{} of {mask}", places.len());
        }
        assert_ne!(hash(None::<u64>), hash(Some(0_u64)));
    }
}
