//! Records that are named by small numbers, which are used again.
//!
//! They lie in pieces of one size, so growing moves none of them and leaves little room unused: a
//! server may have a million, and nobody may wait while they are moved.

use std::ops::{Index, IndexMut};

/// How many records a piece has.
const PIECE: usize = 256;
/// No record.
const NONE: u32 = u32::MAX;

/// Records of one kind.
#[derive(Debug)]
pub struct Records<T> {
    pieces: Vec<Vec<Place<T>>>,
    /// The number that is used next, if one was used before.
    free: u32,
    len: usize,
}

/// One place of a piece.
#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// The next number that is free.
    Free(u32),
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Records { pieces: Vec::new(), free: NONE, len: 0 }
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
        match self.pieces.get(key as usize / PIECE)?.get(key as usize % PIECE)? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self.pieces.get_mut(key as usize / PIECE)?.get_mut(key as usize % PIECE)? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    /// Adds a record and returns its number.
    pub fn insert(&mut self, record: T) -> u32 {
        self.len += 1;
        let key = self.free;
        if key != NONE {
            let place = &mut self.pieces[key as usize / PIECE][key as usize % PIECE];
            if let Place::Free(next) = std::mem::replace(place, Place::Taken(record)) {
                self.free = next;
            }
            return key;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let last = self.pieces.len() - 1;
        let piece = &mut self.pieces[last];
        piece.push(Place::Taken(record));
        (last * PIECE + piece.len() - 1) as u32
    }

    /// Takes a record out. Its number may be used again.
    pub fn remove(&mut self, key: u32) -> Option<T> {
        let place = self.pieces.get_mut(key as usize / PIECE)?.get_mut(key as usize % PIECE)?;
        if let Place::Free(_) = place {
            return None;
        }
        let taken = std::mem::replace(place, Place::Free(self.free));
        self.free = key;
        self.len -= 1;
        match taken {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    /// All records with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.pieces.iter().flatten().enumerate();
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
        match self.get(key) {
            Some(record) => record,
            None => panic!("no record has the number {key}"),
        }
    }
}

impl<T> IndexMut<u32> for Records<T> {
    #[inline]
    fn index_mut(&mut self, key: u32) -> &mut T {
        match self.get_mut(key) {
            Some(record) => record,
            None => panic!("no record has the number {key}"),
        }
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
        assert_eq!(again, [4_999, 300, 7]);
        assert_eq!((records[4_999], records[7], records.get(9_999)), (0, 2, None));
    }

    #[test]
    fn a_place_takes_no_more_than_its_record() {
        assert_eq!(size_of::<Place<Option<Box<u8>>>>(), 16);
        assert_eq!(size_of::<Place<crate::mailbox::record::Mailbox>>(), 88);
    }
}
