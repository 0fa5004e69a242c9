//! A limit of operations in a second.

use std::time::{Duration, Instant};

/// Allows operations at even intervals, from the first operation on. If the generator is late, it
/// may catch up.
#[derive(Debug)]
pub struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// Makes a pace of this many operations in a second; `None` means no limit.
    pub fn new(rate: Option<f64>, now: Instant) -> Self {
        Pace { interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)), next: now }
    }

    pub fn allows(&self, now: Instant) -> bool {
        self.interval.is_none() || now >= self.next
    }

    /// Counts an operation.
    pub fn take(&mut self) {
        self.next += self.interval.unwrap_or_default();
    }

    /// Returns when the next operation is allowed; `None` means at any time.
    pub fn next(&self) -> Option<Instant> {
        self.interval.map(|_| self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_keeps_to_the_rate_and_catches_up_after_a_delay() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        assert!(pace.allows(start));
        pace.take();
        assert_eq!(pace.next(), Some(start + Duration::from_millis(100)));
        assert!(!pace.allows(start + Duration::from_millis(99)));
        let late = start + Duration::from_millis(250);
        let caught_up = std::iter::from_fn(|| pace.allows(late).then(|| pace.take())).count();
        assert_eq!(caught_up, 2);
        let unlimited = Pace::new(None, start);
        assert!(unlimited.allows(start) && unlimited.next().is_none());
    }
}
