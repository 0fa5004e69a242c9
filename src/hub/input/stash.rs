//! Bytes that have arrived and wait to be handled.
//!
//! They are handled from the front, often one message at a time, so what is left must
//! not be moved each time: it moves only when at least as many bytes were handled as are
//! left. Each byte is therefore moved once at most, on average.

use std::ops::Range;

/// Bytes that wait, in the order in which they arrived.
#[derive(Debug, Default)]
pub struct Stash {
    bytes: Vec<u8>,
    /// How many bytes at the front of `bytes` were handled: fewer than are left.
    handled: usize,
}

impl Stash {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.handled
    }

    /// Bytes this holds on the heap.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.handled..]
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.handled..]
    }

    /// Appends bytes that have arrived.
    pub fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
    }

    /// Keeps `kept` of what waits: what stands before it was handled, and what stands
    /// behind it is not needed.
    pub fn keep(&mut self, kept: Range<usize>) {
        self.bytes.truncate(self.handled + kept.end);
        self.handled += kept.start;
        let left = self.bytes.len() - self.handled;
        if left == 0 {
            *self = Stash::default();
        } else if left <= self.handled {
            self.bytes = self.as_slice().to_vec();
            self.handled = 0;
        }
    }

    /// Takes out what is in the middle.
    pub fn cut_out(&mut self, range: Range<usize>) {
        self.bytes.drain(self.handled + range.start..self.handled + range.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_are_moved_once_for_each_halving_and_not_for_each_message() {
        let mut stash = Stash::default();
        let all: Vec<u8> = (0..60_000).map(|n| (n % 251) as u8).collect();
        stash.push(&all);
        let (mut moved, mut at) = (0, 0);
        while !stash.is_empty() {
            let end = stash.as_slice().as_ptr_range().end;
            let count = 10.min(stash.len());
            assert_eq!(stash.as_slice(), &all[at..]);
            at += count;
            stash.keep(count..stash.len());
            let has_moved = stash.as_slice().as_ptr_range().end != end;
            moved += if has_moved { stash.len() } else { 0 };
            assert!(stash.capacity() <= (2 * stash.len()).max(all.len()));
        }
        assert_eq!((at, stash.capacity()), (all.len(), 0));
        assert!(moved <= all.len(), "{moved} bytes were moved");
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut stash = Stash::default();
        stash.push(b"abcdef");
        stash.keep(2..5);
        assert_eq!(stash.as_slice(), b"cde");
        stash.push(b"ghij");
        stash.cut_out(1..3);
        assert_eq!((stash.as_mut_slice().to_vec(), stash.len()), (b"cghij".to_vec(), 5));
        stash.keep(5..5);
        assert!(stash.is_empty());
        stash.push(b"x");
        stash.keep(0..1);
        assert_eq!(stash.as_slice(), b"x");
    }
}
