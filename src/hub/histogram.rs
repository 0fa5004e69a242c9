//! Histograms, which count values by their size.

/// How many upper bounds a histogram has.
const BOUNDS: usize = 12;

/// Counts of values by their size. They only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: [u64; BOUNDS],
    /// The counts, by the first bound that is not below the value; the last count is for values
    /// above all bounds.
    counts: [u64; BOUNDS + 1],
    sum: u64,
}

impl Histogram {
    /// Makes an empty histogram; the bounds must be in ascending order.
    pub(super) const fn new(bounds: [u64; BOUNDS]) -> Self {
        Histogram { bounds, counts: [0; BOUNDS + 1], sum: 0 }
    }

    #[inline]
    pub(crate) fn note(&mut self, value: u64) {
        let place = self.bounds.iter().take_while(|bound| **bound < value).count();
        self.counts[place] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Returns the upper bounds in ascending order, each with the number of values that are not
    /// above it but above the bound before it; and at the end, without a bound, the number of
    /// values above all bounds.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// Returns the sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns how many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Histograms of what the hub measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distributions {
    /// How long turns of the loop took, from the end of the poll's sleep, in microseconds. It is
    /// measured if whoever runs the loop calls [`turn_ended`](crate::Driver::turn_ended).
    pub turns: Histogram,
    /// How late the earliest timer that was due in a turn was, in milliseconds.
    pub timer_lag: Histogram,
    /// How many receivers a message to a group or to everyone had.
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
    fn the_bounds_of_a_histogram_are_in_ascending_order() {
        let Distributions { turns, timer_lag, fan_outs } = Distributions::default();
        for histogram in [turns, timer_lag, fan_outs] {
            assert!(histogram.bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
