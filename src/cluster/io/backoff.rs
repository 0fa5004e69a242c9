//! How long to wait before the next try to connect.

use std::time::Duration;

/// The shortest and the longest pause.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(3);

/// Pauses that double from 100 ms to 3 s. Each is shortened by up to a half at random, so that nodes
/// that have lost the same Redis do not all come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    tries: u32,
    random: u64,
}

impl Backoff {
    /// Makes the pauses of one connection; the seed should differ from node to node.
    pub fn new(seed: u64) -> Self {
        Backoff { tries: 0, random: seed | 1 }
    }

    /// Returns the pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let longest = LEAST.saturating_mul(1 << self.tries.min(10)).min(MOST);
        self.tries = self.tries.saturating_add(1);
        // Xorshift: an even spread is enough here.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = (self.random >> 40) as f64 / (1_u64 << 24) as f64;
        longest.mul_f64(1.0 - part / 2.0).max(LEAST / 2)
    }

    /// Begins with short pauses again. It is called when a connection has been useful, not when it was
    /// made: a Redis that accepts connections and ends them is not asked without a pause.
    pub fn succeeded(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_50_ms_to_3_s_and_differ_between_nodes() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(9_876_543_210));
        let mut differ = 0;
        for step in 0..40_u32 {
            let (a, b) = (one.pause(), other.pause());
            let longest = Duration::from_millis(100 << step.min(10)).min(MOST);
            for pause in [a, b] {
                assert!(pause >= longest / 2 && pause <= longest, "{step}: {pause:?}");
            }
            differ += usize::from(a != b);
        }
        assert!(differ > 30);
        one.succeeded();
        assert!(one.pause() <= LEAST);
    }
}
