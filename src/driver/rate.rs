//! A rate of accepts: connections that come faster wait in the kernel's backlog.

use std::time::{Duration, Instant};

/// How far the paid time may be behind the clock: connections for one second may be accepted at
/// once.
const BURST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Rate {
    /// The time that one connection costs; zero means no limit.
    cost: Duration,
    /// The time until which all accepted connections have been paid for.
    until: Instant,
}

impl Rate {
    /// Makes a rate of `per_second` connections in a second; 0 means no limit.
    pub fn new(per_second: u32, now: Instant) -> Self {
        let cost = match per_second {
            0 => Duration::ZERO,
            rate => (BURST / rate).max(Duration::from_nanos(1)),
        };
        Rate { cost, until: now }
    }

    /// Sets another rate. What has been accepted stays paid for.
    pub fn set(&mut self, per_second: u32) {
        self.cost = Self::new(per_second, self.until).cost;
    }

    /// Returns how many connections may be accepted now.
    pub fn available(&self, now: Instant) -> u32 {
        let free = BURST.saturating_sub(self.until.saturating_duration_since(now));
        match u64::try_from(self.cost.as_nanos()) {
            Ok(0) | Err(_) => u32::MAX,
            Ok(cost) => (free.as_nanos() as u64 / cost) as u32,
        }
    }

    /// When the next connection may be accepted, if none may be accepted now.
    pub fn next(&self) -> Instant {
        (self.until + self.cost).checked_sub(BURST).unwrap_or(self.until)
    }

    /// Counts `count` accepted connections.
    pub fn take(&mut self, count: u32, now: Instant) {
        if !self.cost.is_zero() {
            self.until = self.until.max(now) + self.cost * count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many connections may be accepted until `at`, if a full burst is available now.
    fn taken(rate: &mut Rate, at: Instant) -> u32 {
        let count = rate.available(at).min(10_000);
        rate.take(count, at);
        assert!(count == 10_000 || rate.next() > at);
        count
    }

    #[test]
    fn a_rate_allows_the_number_of_one_second_at_once_and_then_as_many_each_second() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut rate = Rate::new(100, start);
        assert_eq!(taken(&mut rate, start), 100);
        assert_eq!(taken(&mut rate, start), 0);
        assert_eq!(taken(&mut rate, start + Duration::from_millis(500)), 50);
        assert_eq!(taken(&mut rate, start + Duration::from_millis(510)), 1);
        assert_eq!(taken(&mut rate, start + Duration::from_secs(3_600)), 100);
        assert!(rate.next() > start + Duration::from_secs(3_600));
        let mut free = Rate::new(0, start);
        assert_eq!(taken(&mut free, start), 10_000);
    }
}
