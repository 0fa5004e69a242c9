//! How many requests wait in the store, and how many bytes they have.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows: of requests, and of their bytes.
#[derive(Debug, Default)]
struct Total {
    count: AtomicU64,
    bytes: AtomicU64,
}

/// The requests that were made and those that are completed. Two totals that each grow cost less than one number that the loop
/// and the thread both change.
#[derive(Debug, Default)]
pub(super) struct Tally {
    made: Total,
    done: Total,
}

impl Tally {
    /// A request of so many bytes was made. Two threads must not call this at the same time.
    #[inline]
    pub fn make(&self, bytes: u64) {
        let Total { count, bytes: all } = &self.made;
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        all.store(all.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// So many requests, of so many bytes, are completed.
    pub fn complete(&self, count: u64, bytes: u64) {
        self.done.count.fetch_add(count, Ordering::Relaxed);
        self.done.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The requests that are not completed, and their bytes.
    #[inline]
    pub fn pending(&self) -> (u64, u64) {
        let left = |made: &AtomicU64, done: &AtomicU64| {
            // What is read of the requests that are done may be newer than what is read of those that were made.
            made.load(Ordering::Relaxed).saturating_sub(done.load(Ordering::Relaxed))
        };
        let Tally { made, done } = self;
        (left(&made.count, &done.count), left(&made.bytes, &done.bytes))
    }
}
