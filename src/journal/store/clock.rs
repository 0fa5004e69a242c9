//! The clock of the store. Retention and statistics need the time; nothing else in this room reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The wall clock, or a time that a test sets.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    /// The wall clock, and a start from which durations are measured.
    Wall(Instant),
    /// The milliseconds since 1970 that a test has set.
    Made(Arc<AtomicU64>),
}

impl Clock {
    pub fn new(made: Option<Arc<AtomicU64>>) -> Self {
        made.map_or_else(|| Clock::Wall(Instant::now()), Clock::Made)
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        match self {
            Clock::Wall(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Clock::Made(millis) => millis.load(Ordering::Relaxed),
        }
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> u64 {
        self.millis() / 1_000
    }

    /// Microseconds from some start on. They never go back, also when the wall clock is set.
    pub fn micros(&self) -> u64 {
        match self {
            Clock::Wall(start) => {
                let passed = Instant::now().saturating_duration_since(*start);
                u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
            }
            Clock::Made(millis) => millis.load(Ordering::Relaxed).saturating_mul(1_000),
        }
    }
}
