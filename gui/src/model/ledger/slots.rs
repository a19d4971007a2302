//! Numbered places for values: a number is as good as a reference, and copies with the whole.

use std::hash::Hash;

use crate::model::ids::IdMap;

/// Values in numbered places; a place that was left is taken by the next value.
#[derive(Clone, Debug)]
pub(super) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> usize {
        let free = self.free.pop();
        match free.and_then(|slot| Some((slot, self.places.get_mut(slot)?))) {
            Some((slot, place)) => {
                *place = Some(value);
                slot
            }
            None => {
                self.places.push(Some(value));
                self.places.len() - 1
            }
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        self.places.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.places.get_mut(slot)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let value = self.places.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(value)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// Values by id, in places that are taken in the order in which ids come: who goes through neighbouring ids
/// goes through neighbouring memory.
#[derive(Clone, Debug)]
pub(super) struct SlotMap<K, T> {
    slots: Slots<T>,
    of: IdMap<K, usize>,
}

impl<K, T> Default for SlotMap<K, T> {
    fn default() -> Self {
        Self { slots: Slots::default(), of: IdMap::default() }
    }
}

impl<K: Eq + Hash, T> SlotMap<K, T> {
    pub(super) fn get(&self, id: &K) -> Option<&T> {
        self.slots.get(*self.of.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &K) -> Option<&mut T> {
        self.slots.get_mut(*self.of.get(id)?)
    }

    pub(super) fn contains(&self, id: &K) -> bool {
        self.of.contains_key(id)
    }

    /// Puts a value in the place of the id's old one, or in a new place.
    pub(super) fn insert(&mut self, id: K, value: T) {
        match self.get_mut(&id) {
            Some(place) => *place = value,
            None => {
                let slot = self.slots.insert(value);
                self.of.insert(id, slot);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &K) -> Option<T> {
        let slot = self.of.remove(id)?;
        self.slots.remove(slot)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.values_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_left_is_taken_again() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!((slots.remove(a), slots.get(a)), (None, None));
        assert_eq!(slots.insert('c'), a);
        assert_eq!((slots.get(a), slots.get(b), slots.len()), (Some(&'c'), Some(&'b'), 2));
    }

    #[test]
    fn an_id_names_one_value() {
        let mut map = SlotMap::default();
        for (id, value) in [(7_u64, 'a'), (8, 'b'), (7, 'c')] {
            map.insert(id, value);
        }
        assert_eq!((map.remove(&8), map.remove(&8)), (Some('b'), None));
        assert_eq!((map.get(&7), map.get(&8)), (Some(&'c'), None));
        map.insert(9, 'd');
        assert_eq!(map.values().collect::<String>(), "cd");
        assert!(map.contains(&9) && map.slots.len() == 2);
    }
}
