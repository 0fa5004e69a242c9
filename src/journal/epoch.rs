//! The names of epochs.

use std::hash::{BuildHasher, RandomState};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Returns a name for an epoch that no other run and no other opening of a file has, made of the time in
/// milliseconds since 1970 and of 32 random bits.
pub fn new_epoch(millis: u64) -> String {
    // The keys of a new hasher are random.
    let random = RandomState::new().hash_one(0_u64) & 0xFFFF_FFFF;
    let mut name = String::new();
    for number in [millis, random] {
        let mut digits = Vec::new();
        let mut rest = number;
        while rest > 0 || digits.is_empty() {
            digits.push(char::from(DIGITS[(rest % 36) as usize]));
            rest /= 36;
        }
        name.extend(digits.iter().rev());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_short_and_never_the_same_twice() {
        let (one, two) = (new_epoch(1_700_000_000_000), new_epoch(1_700_000_000_000));
        assert_ne!(one, two);
        for name in [one, two, new_epoch(0), new_epoch(u64::MAX)] {
            assert!((1..=32).contains(&name.len()), "{name}");
            let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            assert!(name.bytes().all(is_digit), "{name}");
        }
    }
}
