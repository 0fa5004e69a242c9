//! Which slots have connections, by blocks: who goes over all connections
//! passes over the empty blocks that a peak has left behind.

use std::ops::Range;

/// The place of a connection's record in the table, and of what is kept about it in other lists.
/// It is a type of its own so that it cannot be taken for another number, such as the key of a
/// group. A slot is used again when its connection has gone: [`ConnId`](crate::ConnId) tells the
/// connections apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// No slot: the table never has so many.
    pub const NONE: Slot = Slot(u32::MAX);

    /// The slot of a number that came from outside; `None` when no slot has such a number.
    #[inline]
    pub fn of(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Slot)
    }

    /// The slot of a place in the table of which it is known that it is one.
    #[inline(always)]
    pub fn taken(index: usize) -> Self {
        Slot(index as u32)
    }

    /// The slot of a [key](Slot::key).
    #[inline(always)]
    pub fn from_key(key: u32) -> Self {
        Slot(key)
    }

    /// The slot as a place in a list.
    #[inline(always)]
    pub fn at(self) -> usize {
        self.0 as usize
    }

    /// The slot as a number, for the timer wheel and for the user index.
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

/// Slots in a block.
const BLOCK: usize = 64;

/// How many connections each block of slots holds.
#[derive(Debug)]
pub struct Slots(Vec<u8>);

impl Slots {
    /// Room for so many slots is reserved.
    pub fn with_capacity(slots: usize) -> Self {
        Slots(Vec::with_capacity(slots.div_ceil(BLOCK)))
    }

    /// A connection has taken this slot.
    pub fn fill(&mut self, index: usize) {
        let block = index / BLOCK;
        if block >= self.0.len() {
            self.0.resize(block + 1, 0);
        }
        self.0[block] += 1;
    }

    /// The connection in this slot has gone.
    pub fn empty(&mut self, index: usize) {
        self.0[index / BLOCK] -= 1;
    }

    /// The next slots from `from` on with connections among them; within one
    /// block. `None`: there are none.
    #[inline]
    pub fn next(&self, from: usize) -> Option<Range<usize>> {
        let first = from / BLOCK;
        let skipped = self.0.get(first..)?.iter().position(|count| *count > 0)?;
        let block = first + skipped;
        Some(from.max(block * BLOCK)..(block + 1) * BLOCK)
    }

    /// How many connections all blocks hold. For the invariants.
    pub fn filled(&self) -> usize {
        self.0.iter().map(|count| usize::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which slots are looked at from `from` on.
    fn assert_seen(slots: &Slots, from: usize, expected: impl Iterator<Item = usize>) {
        let next = |range: &Range<usize>| slots.next(range.end);
        let ranges = std::iter::successors(slots.next(from), next);
        assert_eq!(ranges.flatten().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn empty_blocks_are_passed_over_and_no_other() {
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
