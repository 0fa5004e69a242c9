//! Records that are named by small numbers, which are used again.
//!
//! They lie in pieces of one size, so growing moves none of them and leaves little room unused: a
//! server may have a million, and nobody may wait while they are moved.

use std::ops::{Index, IndexMut};

use slab::Slab;

/// How many records a piece has.
const PIECE: usize = 256;

/// Records of one kind.
#[derive(Debug)]
pub struct Records<T> {
    pieces: Vec<Box<[Place<T>; PIECE]>>,
    /// The number that is used next, if one was used before.
    free: u32,
    len: usize,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Records { pieces: Vec::new(), with_room: Vec::new(), len: 0 }
    }
}

impl<T> Records<T> {
    /// Returns how many records there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn get(&self, key: u32) -> Option<&T> {
        match &self.pieces.get(key as usize / PIECE)?[key as usize % PIECE] {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match &mut self.pieces.get_mut(key as usize / PIECE)?[key as usize % PIECE] {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    /// Adds a record and returns its number.
    pub fn insert(&mut self, record: T) -> u32 {
        self.len += 1;
        if self.free == NONE {
            self.grow();
        }
        let key = self.free;
        let place = &mut self.pieces[key as usize / PIECE][key as usize % PIECE];
        if let Place::Free(next) = std::mem::replace(place, Place::Taken(record)) {
            self.free = next;
        }
        key
    }

    /// Adds a piece, whose numbers are all free.
    fn grow(&mut self) {
        let first = (self.pieces.len() * PIECE) as u32;
        let last = first + PIECE as u32 - 1;
        let free = |key: u32| Place::Free(if key == last { NONE } else { key + 1 });
        let piece: Box<[Place<T>]> = (first..=last).map(free).collect();
        if let Ok(piece) = piece.try_into() {
            self.pieces.push(piece);
            self.free = first;
        }
    }

    /// Takes a record out. Its number may be used again.
    pub fn remove(&mut self, key: u32) -> Option<T> {
        let place = &mut self.pieces.get_mut(key as usize / PIECE)?[key as usize % PIECE];
        if let Place::Free(_) = place {
            return None;
        }
        self.len -= 1;
        Some(taken)
    }

    /// All records with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.pieces.iter().flat_map(|piece| piece.iter()).enumerate();
        places.filter_map(|(key, place)| match place {
            Place::Taken(record) => Some((key as u32, record)),
            Place::Free(_) => None,
        })
    }
}

/// The record of a number that is known to be used.
impl<T> Index<u32> for Records<T> {
    type Output = T;

    #[inline]
    fn index(&self, key: u32) -> &T {
        &self.pieces[key as usize / PIECE][key as usize % PIECE]
    }
}

impl<T> IndexMut<u32> for Records<T> {
    #[inline]
    fn index_mut(&mut self, key: u32) -> &mut T {
        &mut self.pieces[key as usize / PIECE][key as usize % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_growing_moves_no_record() {
        let mut records = Records::default();
        let keys: Vec<u32> = (0..1_000).map(|n| records.insert(n)).collect();
        assert!(keys.iter().copied().eq(0..1_000));
        let first = std::ptr::from_ref(&records[0]);
        (1_000..5_000).for_each(|n| assert_eq!(records.insert(n), n));
        assert_eq!(std::ptr::from_ref(&records[0]), first);
        for key in [7, 300, 4_999] {
            assert_eq!(records.remove(key), Some(key));
            assert_eq!((records.remove(key), records.get(key)), (None, None));
        }
        assert_eq!((records.len(), records.iter().count()), (4_997, 4_997));
        let again: Vec<u32> = (0..3).map(|n| records.insert(n)).collect();
        assert!(again.iter().all(|key| [7, 300, 4_999].contains(key)), "{again:?}");
        assert_eq!((records[again[0]], records[again[2]], records.get(9_999)), (0, 2, None));
    }
}
