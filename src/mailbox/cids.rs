//! The recent sends of one user by their `cid`s. A send that comes again is answered as before and is
//! not delivered a second time.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// The most sends that are remembered for one user.
pub const MAX_CIDS: usize = 1_024;
/// How long a send is remembered, in seconds.
pub const CID_SECONDS: u32 = 24 * 3_600;

/// The answer to an earlier send. Its content is kept only as a keyed hash of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<A> {
    /// The hash of the device and the `cid`.
    name: u64,
    /// The hash of the recipients and the message.
    pub content: u64,
    /// What the sender was told.
    pub answer: A,
}

/// The answers of one user's recent sends; the oldest one is forgotten first.
#[derive(Debug)]
pub struct Cids<A> {
    by_name: HashTable<Known<A>>,
    /// The names in the order of their sends, with the second of each.
    order: VecDeque<(u64, u32)>,
}

impl<A> Default for Cids<A> {
    fn default() -> Self {
        Cids { by_name: HashTable::new(), order: VecDeque::new() }
    }
}

impl<A: Copy> Cids<A> {
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The earlier send with this name and its answer.
    pub fn find(&self, name: u64) -> Option<&Known<A>> {
        self.by_name.find(name, |known| known.name == name)
    }

    /// Remembers the answer to a send. When there are [`MAX_CIDS`] already, the oldest one is forgotten.
    pub fn insert(&mut self, name: u64, content: u64, answer: A, now: u32) {
        self.forget_old(now);
        if self.order.len() >= MAX_CIDS {
            self.forget_oldest();
        }
        self.by_name.insert_unique(name, Known { name, content, answer }, |known| known.name);
        self.order.push_back((name, now));
    }

    /// Forgets the sends that are older than [`CID_SECONDS`].
    pub fn forget_old(&mut self, now: u32) {
        while self.order.front().is_some_and(|(_, at)| at.saturating_add(CID_SECONDS) < now) {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((name, _)) = self.order.pop_front() else { return };
        if let Ok(entry) = self.by_name.find_entry(name, |known| known.name == name) {
            entry.remove();
        }
    }

    /// The second in which the newest answer is forgotten.
    pub fn last_until(&self) -> Option<u32> {
        self.order.back().map(|(_, at)| at.saturating_add(CID_SECONDS))
    }

    /// The bytes of memory that this takes.
    pub fn memory(&self) -> usize {
        self.by_name.allocation_size() + self.order.capacity() * size_of::<(u64, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_forgotten_after_a_day_or_when_1024_newer_ones_have_come() {
        let mut cids = Cids::default();
        for n in 0..MAX_CIDS as u64 + 10 {
            cids.insert(n, n * 2, n as u8, 5);
        }
        assert!(cids.find(9).is_none());
        assert_eq!(cids.find(10).map(|known| known.content), Some(20));
        assert_eq!(cids.order.len(), MAX_CIDS);
        assert_eq!(cids.find(10).map(|known| known.answer), Some(10));
        cids.forget_old(5 + CID_SECONDS);
        assert_eq!(cids.order.len(), MAX_CIDS);
        cids.forget_old(6 + CID_SECONDS);
        assert!(cids.is_empty());
        assert_eq!(cids.memory(), 0);
    }
}
