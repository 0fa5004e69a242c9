//! The recent sends of one user by their `cid`s. A send that comes again is answered as before and is
//! not delivered a second time.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// The most sends that are remembered for one user.
pub const MAX_CIDS: usize = 1_024;
/// How long a send is remembered, in seconds.
pub const CID_SECONDS: u32 = 24 * 3_600;
/// The number of newest sends of a connected user that are remembered even when memory is short.
pub const LEAST_CIDS: usize = 64;

/// The answer to an earlier send. Its content is kept only as a keyed hash of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The hash of the device and the `cid`.
    name: u64,
    /// The hash of the recipients and the message.
    pub content: u64,
    /// The id of the message, in two halves, because an aligned `u128` would take more room.
    id: [u64; 2],
    /// The second of the send.
    at: u32,
    /// The state of the message, as a number.
    pub state: u8,
}

// With its place in the index an answer takes 48 bytes.
const _: () = assert!(size_of::<Known>() == 40);

impl Known {
    pub fn id(&self) -> u128 {
        u128::from(self.id[0]) << 64 | u128::from(self.id[1])
    }
}

/// The answers of one user's recent sends; the oldest one is forgotten first.
#[derive(Debug, Default)]
pub struct Cids {
    /// The answers in the order of the sends.
    known: VecDeque<Known>,
    /// The places of the answers by their names. A place counts all sends that there ever were.
    places: HashTable<u32>,
    /// The place of the oldest answer.
    first: u32,
    /// The number in the journal of each send whose answer is `known`, or 0. It is empty, or has as many
    /// numbers as there are answers.
    numbers: VecDeque<u64>,
    /// The numbers of sends whose answers are in the journal and not here.
    away: Vec<u64>,
    /// The second of the newest of them.
    away_at: u32,
}

impl Cids {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.away.is_empty()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The answer to an earlier send of this name.
    pub fn find(&self, name: u64) -> Option<&Known> {
        let is_it = |place: &u32| self.at(*place).is_some_and(|known| known.name == name);
        self.places.find(name, is_it).and_then(|place| self.at(*place))
    }

    fn at(&self, place: u32) -> Option<&Known> {
        self.known.get(place.wrapping_sub(self.first) as usize)
    }

    /// The numbers of sends whose answers are in the journal and not here.
    pub fn away(&self) -> &[u64] {
        &self.away
    }

    /// The answers of these sends have been read from the journal, and added to the others.
    pub fn forget_away(&mut self, numbers: &[u64]) {
        self.away.retain(|number| !numbers.contains(number));
        if self.away.is_empty() {
            self.away = Vec::new();
        }
    }

    /// Remembers that the answer to a send is in the journal. It was sent at `at` or before.
    pub fn add_away(&mut self, number: u64, at: u32) {
        if self.away.len() >= MAX_CIDS {
            self.away.remove(0);
        }
        if self.away.len() == self.away.capacity() {
            let more = self.away.len() / 4;
            self.away.reserve_exact(more.clamp(2, MAX_CIDS - self.away.len()));
        }
        self.away.push(number);
        self.away_at = self.away_at.max(at);
    }

    /// Keeps only the numbers of the sends whose answers are in the journal, because the user has gone.
    pub fn put_away(&mut self) {
        let Some(last) = self.known.back().filter(|_| !self.numbers.is_empty()) else { return };
        let at = last.at;
        let (known, numbers) = (std::mem::take(&mut self.known), std::mem::take(&mut self.numbers));
        let mut left = Cids { away: std::mem::take(&mut self.away), ..Cids::default() };
        left.away_at = self.away_at;
        for (known, number) in known.into_iter().zip(numbers) {
            match number {
                0 => {
                    left.insert(known.name, known.content, (known.id(), known.state), known.at);
                }
                number => left.add_away(number, at),
            }
        }
        left.away.shrink_to_fit();
        *self = left;
    }

    /// Remembers the answer to a send that is in the journal under a number. Returns whether this takes another
    /// amount of memory now.
    pub fn insert_stored(
        &mut self,
        number: u64,
        (name, content): (u64, u64),
        sent: (u128, u8),
        now: u32,
    ) -> bool {
        let before = self.numbers.capacity();
        let has_changed = self.insert(name, content, sent, now);
        if self.numbers.len() < self.known.len() {
            self.numbers.resize(self.known.len(), 0);
        }
        if let Some(last) = self.numbers.back_mut() {
            *last = number;
        }
        has_changed || self.numbers.capacity() != before
    }

    /// Remembers an answer, and forgets the oldest one beyond the bound. Returns whether this takes
    /// another amount of memory now.
    pub fn insert(&mut self, name: u64, content: u64, (id, state): (u128, u8), now: u32) -> bool {
        let before = self.capacities();
        self.forget_old(now);
        if self.known.len() >= MAX_CIDS {
            self.forget_oldest();
        }
        let id = [(id >> 64) as u64, id as u64];
        let place = self.first.wrapping_add(self.known.len() as u32);
        self.known.push_back(Known { name, content, id, at: now, state });
        if !self.numbers.is_empty() {
            self.numbers.push_back(0);
        }
        let Cids { known, places, first, .. } = self;
        let name_at = |place: &u32| known[place.wrapping_sub(*first) as usize].name;
        places.insert_unique(name, place, name_at);
        self.capacities() != before
    }

    /// What the memory that this takes depends on.
    #[inline]
    fn capacities(&self) -> [usize; 4] {
        let Cids { known, places, numbers, away, .. } = self;
        [known.capacity(), places.num_buckets(), numbers.capacity(), away.capacity()]
    }

    /// Forgets the sends that are older than [`CID_SECONDS`].
    pub fn forget_old(&mut self, now: u32) {
        if !self.away.is_empty() && self.away_at.saturating_add(CID_SECONDS) < now {
            self.away = Vec::new();
        }
        let is_old = |known: &Known| known.at.saturating_add(CID_SECONDS) < now;
        if !self.known.front().is_some_and(is_old) {
            return;
        }
        while self.known.front().is_some_and(is_old) {
            self.forget_oldest();
        }
        self.shrink();
    }

    /// Forgets the older half, but not the newest few. Returns how many were forgotten.
    pub fn forget_half(&mut self) -> usize {
        let before = self.known.len();
        let left = (before / 2).max(LEAST_CIDS);
        while self.known.len() > left {
            self.forget_oldest();
        }
        let forgotten = before.saturating_sub(self.known.len());
        if forgotten > 0 {
            self.shrink();
        }
        forgotten
    }

    fn shrink(&mut self) {
        let Cids { known, places, first, numbers, .. } = self;
        numbers.shrink_to_fit();
        known.shrink_to_fit();
        let name_at = |place: &u32| known[place.wrapping_sub(*first) as usize].name;
        places.shrink_to_fit(name_at);
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.known.front() else { return };
        let place = self.first;
        if let Ok(entry) = self.places.find_entry(oldest.name, |known| *known == place) {
            entry.remove();
        }
        self.known.pop_front();
        self.numbers.pop_front();
        self.first = self.first.wrapping_add(1);
    }

    /// The second in which the newest answer is forgotten.
    pub fn last_until(&self) -> Option<u32> {
        let away = (!self.away.is_empty()).then_some(self.away_at);
        let newest = self.known.back().map(|known| known.at).into_iter().chain(away).max();
        newest.map(|at| at.saturating_add(CID_SECONDS))
    }

    /// The bytes of memory that this takes.
    pub fn memory(&self) -> usize {
        let numbers = self.numbers.capacity() + self.away.capacity();
        let known = self.known.capacity() * size_of::<Known>();
        size_of::<Cids>() + self.places.allocation_size() + known + numbers * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_forgotten_after_a_day_or_when_1024_newer_ones_have_come() {
        let mut cids = Cids::default();
        for n in 0..MAX_CIDS as u64 + 10 {
            cids.insert(n, n * 2, (u128::from(n) << 70 | 7, n as u8), 5);
        }
        assert!(cids.find(9).is_none());
        let tenth = cids.find(10).unwrap();
        assert_eq!((tenth.content, tenth.state, tenth.id()), (20, 10, 10 << 70 | 7));
        assert_eq!(cids.len(), MAX_CIDS);
        cids.forget_old(5 + CID_SECONDS);
        assert_eq!(cids.len(), MAX_CIDS);
        cids.forget_old(6 + CID_SECONDS);
        assert!(cids.is_empty());
        assert_eq!(cids.memory(), size_of::<Cids>());
    }

    #[test]
    fn an_answer_takes_48_bytes_when_there_are_many() {
        let mut cids = Cids::default();
        for n in 0..MAX_CIDS as u64 {
            cids.insert(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n, (0, 0), 5);
        }
        let each = cids.memory() / MAX_CIDS;
        assert!(each <= 52, "{each} bytes");
    }

    #[test]
    fn when_memory_is_short_the_older_half_is_forgotten_and_never_the_newest_few() {
        let mut cids = Cids::default();
        for n in 0..200 {
            cids.insert(n, n, (0, 0), 5);
        }
        let before = cids.memory();
        assert_eq!(cids.forget_half(), 100);
        assert!(cids.find(99).is_none() && cids.find(100).is_some() && cids.find(199).is_some());
        assert!(cids.memory() < before);
        while cids.forget_half() > 0 {}
        assert_eq!(cids.len(), LEAST_CIDS);
        assert!(cids.find(200 - LEAST_CIDS as u64).is_some());
        cids.insert(7, 7, (1, 1), 6);
        assert_eq!(cids.find(7).map(Known::id), Some(1));
    }
}
