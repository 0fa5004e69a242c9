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
    pieces: Vec<Slab<T>>,
    /// The pieces that have room; the last one is used first.
    with_room: Vec<u32>,
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
        self.pieces.get(key as usize / PIECE)?.get(key as usize % PIECE)
    }

    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.pieces.get_mut(key as usize / PIECE)?.get_mut(key as usize % PIECE)
    }

    /// Adds a record and returns its number.
    pub fn insert(&mut self, record: T) -> u32 {
        self.len += 1;
        let piece = match self.with_room.last() {
            Some(piece) => *piece as usize,
            None => {
                self.pieces.push(Slab::with_capacity(PIECE));
                self.with_room.push(self.pieces.len() as u32 - 1);
                self.pieces.len() - 1
            }
        };
        let place = self.pieces[piece].insert(record);
        if self.pieces[piece].len() == PIECE {
            self.with_room.pop();
        }
        (piece * PIECE + place) as u32
    }

    /// Takes a record out. Its number may be used again.
    pub fn remove(&mut self, key: u32) -> Option<T> {
        let piece = self.pieces.get_mut(key as usize / PIECE)?;
        let taken = piece.try_remove(key as usize % PIECE)?;
        if piece.len() == PIECE - 1 {
            self.with_room.push(key / PIECE as u32);
        }
        self.len -= 1;
        Some(taken)
    }

    /// All records with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let pieces = self.pieces.iter().enumerate();
        pieces.flat_map(|(piece, records)| {
            records.iter().map(move |(place, record)| ((piece * PIECE + place) as u32, record))
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
