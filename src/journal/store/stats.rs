//! What the store tells operators in numbers. The thread counts, and anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::journal::{Counts, Numbers};

/// The bounds of the histogram of times, in microseconds.
pub(super) const TIMES: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];
/// The bounds of the histogram of messages in a commit.
pub(super) const BATCHES: [u64; 9] = [1, 2, 5, 10, 25, 100, 250, 1_000, 2_500];

/// One histogram.
#[derive(Debug)]
pub(super) struct Ranges<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Ranges<N> {
    fn new(bounds: [u64; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Ranges { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub fn add(&self, value: u64) {
        let place = self.bounds.iter().position(|bound| value <= *bound);
        let count = place.map_or(&self.above, |place| &self.counts[place]);
        count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn read(&self) -> Counts {
        let counts = self.bounds.iter().zip(&self.counts);
        let counts = counts.map(|(bound, count)| (Some(*bound), count.load(Ordering::Relaxed)));
        let above = (None, self.above.load(Ordering::Relaxed));
        Counts { sum: self.sum.load(Ordering::Relaxed), buckets: counts.chain([above]).collect() }
    }
}

/// What the thread counts.
#[derive(Debug)]
pub(super) struct Stats {
    pub commits: AtomicU64,
    pub commit_failures: AtomicU64,
    pub times: Ranges<12>,
    pub batches: Ranges<9>,
    pub file_bytes: AtomicU64,
    pub used_bytes: AtomicU64,
    pub wal_bytes: AtomicU64,
    /// `u64::MAX` if the system does not tell.
    pub free_bytes: AtomicU64,
    /// 0 if there is no message.
    pub oldest: AtomicU64,
    pub unwritten: AtomicU64,
    pub unwritten_bytes: AtomicU64,
    pub given_up: AtomicU64,
    pub segments: AtomicU64,
    pub dropped_by_size: AtomicU64,
    pub damaged: AtomicU64,
    size_limit: u64,
}

/// Adds to a number.
pub(super) fn add(number: &AtomicU64, value: u64) {
    number.fetch_add(value, Ordering::Relaxed);
}

/// Sets a number.
pub(super) fn set(number: &AtomicU64, value: u64) {
    number.store(value, Ordering::Relaxed);
}

impl Stats {
    pub fn new(size_limit: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Stats {
            commits: zero(),
            commit_failures: zero(),
            times: Ranges::new(TIMES),
            batches: Ranges::new(BATCHES),
            file_bytes: zero(),
            used_bytes: zero(),
            wal_bytes: zero(),
            free_bytes: AtomicU64::new(u64::MAX),
            oldest: zero(),
            unwritten: zero(),
            unwritten_bytes: zero(),
            given_up: zero(),
            segments: zero(),
            dropped_by_size: zero(),
            damaged: zero(),
            size_limit,
        }
    }

    /// The numbers at this moment, with the requests that are not completed and their bytes.
    pub fn numbers(&self, (queued, queued_bytes): (u64, u64)) -> Numbers {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Numbers {
            commits: read(&self.commits),
            failed_commits: read(&self.commit_failures),
            commit_micros: self.times.read(),
            commit_requests: self.batches.read(),
            queued,
            queued_bytes,
            unwritten: read(&self.unwritten),
            unwritten_bytes: read(&self.unwritten_bytes),
            given_up: read(&self.given_up),
            file_bytes: read(&self.file_bytes),
            wal_bytes: read(&self.wal_bytes),
            limit_bytes: self.size_limit,
            free_bytes: Some(read(&self.free_bytes)).filter(|free| *free != u64::MAX),
            segments: read(&self.segments),
            dropped_by_size: read(&self.dropped_by_size),
            damaged: read(&self.damaged),
            oldest_millis: read(&self.oldest),
        }
    }
}
