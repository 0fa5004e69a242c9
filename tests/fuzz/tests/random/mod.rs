//! Random inputs: bytes, and seeds that were changed a little.

use longlink::sim::Rng;

/// The longest random input. A seed may be longer.
const LONGEST: usize = 600;

/// All the inputs of a target. Each has a number and depends on nothing else.
pub struct Inputs {
    seed: u64,
    words: &'static [&'static [u8]],
    seeds: Vec<Vec<u8>>,
}

impl Inputs {
    pub fn new(seed: u64, words: &'static [&'static [u8]], seeds: Vec<Vec<u8>>) -> Self {
        Inputs { seed, words, seeds }
    }

    /// The input with this number.
    pub fn input(&self, number: u64) -> Vec<u8> {
        let mut rng = Rng::new(self.seed.rotate_left(40) ^ number);
        if self.seeds.is_empty() || rng.percent(25) {
            return self.made_up(&mut rng);
        }
        let mut bytes = rng.pick(&self.seeds).clone();
        for _ in 0..rng.range(1, 6) {
            self.change(&mut bytes, &mut rng);
        }
        bytes
    }

    /// Random bytes, with words among them.
    fn made_up(&self, rng: &mut Rng) -> Vec<u8> {
        let length = rng.range(0, *rng.clone().pick(&[4, 40, LONGEST]));
        let words = rng.below(80);
        let mut bytes = Vec::new();
        while bytes.len() < length {
            if !self.words.is_empty() && rng.percent(words) {
                bytes.extend_from_slice(rng.pick::<&[u8]>(self.words));
            } else {
                bytes.push(rng.number() as u8);
            }
        }
        bytes
    }

    /// One change of the kinds that fuzzers make.
    fn change(&self, bytes: &mut Vec<u8>, rng: &mut Rng) {
        let at = rng.range(0, bytes.len());
        let end = (at + rng.range(0, 16)).min(bytes.len());
        match rng.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.number() as u8,
            2 if at < bytes.len() => {
                bytes[at] = bytes[at].wrapping_add(rng.below(5) as u8).wrapping_sub(2)
            }
            3 => bytes.insert(at, rng.number() as u8),
            4 => drop(bytes.drain(at..end)),
            // A piece twice.
            5 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            6 => bytes.truncate(at),
            // The beginning of one seed, and the end of another.
            7 => {
                let other = rng.pick(&self.seeds);
                let from = rng.range(0, other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ if !self.words.is_empty() => {
                drop(bytes.splice(at..at, rng.pick(self.words).to_vec()))
            }
            _ => bytes.push(rng.number() as u8),
        }
    }
}
