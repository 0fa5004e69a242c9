//! A hash that is the same in each version of this program and on each machine, because it is kept
//! beside messages and compared after a restart.

// Without a backend's interface nothing is hashed for the journal.
#![cfg_attr(not(feature = "backend"), allow(dead_code))]

/// Hashes texts, each with its length, so that no two lists of texts are alike because their ends are
/// moved. Whoever chooses the texts can find two with the same hash.
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hash = START;
    for part in parts {
        hash = mix(hash ^ part.len() as u64, OF_LENGTHS);
        let mut words = part.chunks_exact(size_of::<u64>());
        for word in words.by_ref() {
            hash = mix(hash ^ word_of(word), OF_WORDS);
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            hash = mix(hash ^ word_of(rest), OF_WORDS);
        }
    }
    mix(hash, OF_LENGTHS)
}

const START: u64 = 0x243f_6a88_85a3_08d3;
const OF_LENGTHS: u64 = 0xa409_3822_299f_31d1;
const OF_WORDS: u64 = 0x9e37_79b9_7f4a_7c15;

/// Up to eight bytes as a number; what is missing is zero.
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; size_of::<u64>()];
    if let Some(front) = word.get_mut(..bytes.len()) {
        front.copy_from_slice(bytes);
    }
    u64::from_le_bytes(word)
}

/// Multiplies to 128 bits, and folds the halves.
fn mix(hash: u64, factor: u64) -> u64 {
    let product = u128::from(hash) * u128::from(factor);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_is_kept_in_a_file_never_changes() {
        assert_eq!(stable_hash(&[]), 0xbf65_65d7_7ed0_4d03);
        assert_eq!(stable_hash(&[b""]), 0x02a8_bf89_ec04_a1fe);
        assert_eq!(
            stable_hash(&[b"bob", br#"{"order":17,"state":"paid"}"#]),
            0xe860_a6b3_0132_1beb
        );
    }

    #[test]
    fn texts_that_differ_by_one_bit_or_are_divided_at_another_place_have_other_hashes() {
        let text: Vec<u8> = (0..40).collect();
        let mut seen = vec![stable_hash(&[&text])];
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut other = text.clone();
                other[at] ^= 1 << bit;
                seen.push(stable_hash(&[&other]));
            }
            let (head, tail) = text.split_at(at);
            seen.extend([stable_hash(&[head, tail]), stable_hash(&[head])]);
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
