//! Slots of the table of connections, and how many connections each block of slots has. A loop
//! over all connections skips the empty blocks. After a peak of connections most blocks may be
//! empty.

use std::ops::Range;

/// The slot of a connection: its index in the table of records and in the other lists that have
/// an entry for each connection. A type of its own keeps the compiler from accepting another
/// number, such as the key of a group. A slot is used again when its connection is gone;
/// [`ConnId`](crate::ConnId) distinguishes the connections that have used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// A value that means no slot. The table never has so many slots.
    pub const NONE: Slot = Slot(u32::MAX);

    /// Returns the slot of an index that came from outside the hub; `None` when it is too large
    /// for a slot.
    #[inline]
    pub fn of(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Slot)
    }

    /// Returns the slot of an index that is known to be valid.
    #[inline(always)]
    pub fn taken(index: usize) -> Self {
        Slot(index as u32)
    }

    /// Returns the slot of a [key](Slot::key).
    #[inline(always)]
    pub fn from_key(key: u32) -> Self {
        Slot(key)
    }

    /// Returns the slot as an index of a list.
    #[inline(always)]
    pub fn at(self) -> usize {
        self.0 as usize
    }

    /// Returns the slot as a key for the timer wheel and for the user index.
    #[inline(always)]
    pub fn key(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How many slots a block has.
const BLOCK: usize = 64;

/// How many connections each block of slots holds.
#[derive(Debug)]
pub struct Slots(Vec<u8>);

impl Slots {
    /// Creates the counts with room for so many slots.
    pub fn with_capacity(slots: usize) -> Self {
        Slots(Vec::with_capacity(slots.div_ceil(BLOCK)))
    }

    /// Records that a connection uses this slot now.
    pub fn fill(&mut self, index: usize) {
        let block = index / BLOCK;
        if block >= self.0.len() {
            self.0.resize(block + 1, 0);
        }
        self.0[block] += 1;
    }

    /// Records that the connection in this slot is gone.
    pub fn empty(&mut self, index: usize) {
        self.0[index / BLOCK] -= 1;
    }

    /// Returns the next range of slots, from `from` on, that has connections; `None` when no slot
    /// from there on has one. The range lies within one block.
    #[inline]
    pub fn next(&self, from: usize) -> Option<Range<usize>> {
        let first = from / BLOCK;
        let skipped = self.0.get(first..)?.iter().position(|count| *count > 0)?;
        let block = first + skipped;
        Some(from.max(block * BLOCK)..(block + 1) * BLOCK)
    }

    /// Returns how many connections all blocks have together, for the check of the invariants.
    pub fn filled(&self) -> usize {
        self.0.iter().map(|count| usize::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which slots a loop visits that begins at `from`.
    fn assert_seen(slots: &Slots, from: usize, expected: impl Iterator<Item = usize>) {
        let next = |range: &Range<usize>| slots.next(range.end);
        let ranges = std::iter::successors(slots.next(from), next);
        assert_eq!(ranges.flatten().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_loop_over_the_slots_skips_empty_blocks_and_no_others() {
        let mut slots = Slots::with_capacity(1);
        assert_seen(&slots, 0, 0..0);
        for index in [0, 63, 64, 1000, 1001] {
            slots.fill(index);
        }
        assert_seen(&slots, 0, (0..128).chain(960..1024));
        assert_seen(&slots, 100, (100..128).chain(960..1024));
        assert_seen(&slots, 1001, 1001..1024);
        assert_seen(&slots, 1024, 0..0);
        assert_seen(&slots, usize::MAX, 0..0);
        slots.empty(1000);
        slots.empty(0);
        assert_seen(&slots, 0, (0..128).chain(960..1024));
        slots.empty(63);
        slots.empty(1001);
        assert_seen(&slots, 0, 64..128);
        assert_eq!(slots.filled(), 1);
    }
}
