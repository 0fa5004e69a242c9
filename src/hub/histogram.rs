//! How often a value was how large.

/// The most upper bounds a histogram has.
const BOUNDS: usize = 12;

/// Counts of values by their size. They only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: [u64; BOUNDS],
    /// By the first bound that is not below the value; the last is for what is above all.
    counts: [u64; BOUNDS + 1],
    sum: u64,
}

impl Histogram {
    /// An empty one; the bounds are in their order.
    pub(super) const fn new(bounds: [u64; BOUNDS]) -> Self {
        Histogram { bounds, counts: [0; BOUNDS + 1], sum: 0 }
    }

    #[inline]
    pub(super) fn note(&mut self, value: u64) {
        let place = self.bounds.iter().take_while(|bound| **bound < value).count();
        self.counts[place] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Upper bounds in their order, each with how many values were not above it but above
    /// the one before; at last, without a bound, how many were above them all.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How large what happens is, value by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distributions {
    /// How long turns of the loop took, from the end of the poll's sleep, in microseconds,
    /// if whoever runs the loop says when they [end](crate::Driver::turn_ended).
    pub turns: Histogram,
    /// By how much the earliest of the timers that were due in a turn was late, in
    /// milliseconds.
    pub timer_lag: Histogram,
    /// How many connections a message to a group or to everyone was for.
    pub fan_outs: Histogram,
}

impl Default for Distributions {
    fn default() -> Self {
        Distributions {
            turns: Histogram::new([
                50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000,
            ]),
            timer_lag: Histogram::new([1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000]),
            fan_outs: Histogram::new([
                0, 1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 100_000, 1_000_000,
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_at_the_first_bound_that_holds_it() {
        let mut turns = Distributions::default().turns;
        for value in [0, 50, 51, 100, 500_000, 500_001, u64::MAX] {
            turns.note(value);
        }
        let counts: Vec<_> = turns.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(Some(50), 2), (Some(100), 2), (Some(500_000), 1), (None, 2)]);
        assert_eq!((turns.count(), turns.sum()), (7, u64::MAX));
        assert_eq!(turns.buckets().count(), BOUNDS + 1);
    }

    #[test]
    fn bounds_are_in_their_order() {
        let Distributions { turns, timer_lag, fan_outs } = Distributions::default();
        for histogram in [turns, timer_lag, fan_outs] {
            assert!(histogram.bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
