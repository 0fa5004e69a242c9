//! So many accepts a second: what comes faster waits in the kernel's backlog.

use std::time::{Duration, Instant};

/// How far behind the clock may be: as much as a second's worth at once.
const BURST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Rate {
    /// What one costs; zero for nothing.
    cost: Duration,
    /// Until when all so far have been paid for.
    until: Instant,
}

impl Rate {
    /// So many a second, 0 for no limit.
    pub fn new(per_second: u32, now: Instant) -> Self {
        let cost = match per_second {
            0 => Duration::ZERO,
            rate => (BURST / rate).max(Duration::from_nanos(1)),
        };
        Rate { cost, until: now }
    }

    /// When the next one may be; it may be now if that is not later.
    pub fn next(&self) -> Instant {
        (self.until + self.cost).checked_sub(BURST).unwrap_or(self.until)
    }

    pub fn take(&mut self, now: Instant) {
        if !self.cost.is_zero() {
            self.until = self.until.max(now) + self.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many may be until `at`, from one burst on.
    fn taken(rate: &mut Rate, at: Instant) -> u32 {
        let mut count = 0;
        while rate.next() <= at && count < 10_000 {
            rate.take(at);
            count += 1;
        }
        count
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_as_many_a_second() {
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
