//! A small seeded generator of random numbers (splitmix64).

/// A sequence of random numbers that depends on its seed alone: a seed gives the same numbers on
/// every machine and with every version of every dependency.
///
/// ```
/// use longlink::sim::Rng;
///
/// let (mut one, mut other) = (Rng::new(7), Rng::new(7));
/// assert_eq!(one.number(), other.number());
/// assert!(one.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    /// Returns any number of 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to `n` - 1; 0 for an `n` of 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.number() % n.max(1)
    }

    /// Returns the index of one of `count` items; 0 for a `count` of 0.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// Returns a number from `from` to `to`, both of them included.
    ///
    /// # Panics
    /// When `to` is less than `from`, so that there is no such number.
    pub fn range(&mut self, from: usize, to: usize) -> usize {
        assert!(from <= to, "no number is from {from} to {to}");
        let width = (to - from) as u64;
        let offset = match width.checked_add(1) {
            Some(count) => self.below(count),
            None => self.number(),
        };
        from + offset as usize
    }

    /// Returns true with a probability of `n` per cent.
    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// Returns one of the items. There must be at least one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// Puts the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Returns a random mask for a frame of a client.
    pub fn mask(&mut self) -> [u8; 4] {
        (self.number() as u32).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_both_ends_and_may_be_one_number_or_all_numbers() {
        let mut rng = Rng::new(3);
        let mut got = [false; 3];
        for _ in 0..100 {
            got[rng.range(5, 7) - 5] = true;
        }
        assert_eq!(got, [true; 3]);
        assert_eq!(rng.range(9, 9), 9);
        assert_eq!(rng.range(usize::MAX, usize::MAX), usize::MAX);
        let mut same = rng.clone();
        assert_eq!(rng.range(0, usize::MAX), same.number() as usize);
    }

    #[test]
    #[should_panic(expected = "no number is from 5 to 3")]
    fn a_range_without_a_number_panics_with_its_ends() {
        Rng::new(3).range(5, 3);
    }
}
