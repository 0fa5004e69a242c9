//! The ids of messages, and the cursor that a client names with `last`.

use std::hash::{BuildHasher, RandomState};

/// Digits whose order as text is their order as numbers (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// All pairs of digits, in the order of their numbers.
const PAIRS: [[u8; 2]; 1_024] = all_pairs();

const fn all_pairs() -> [[u8; 2]; 1_024] {
    let mut pairs = [[0; 2]; 1_024];
    let mut number = 0;
    while number < 1_024 {
        pairs[number] = [DIGITS[number >> 5], DIGITS[number & 31]];
        number += 1;
    }
    pairs
}

/// The length of an id as text.
pub const ID: usize = 26;

/// Makes ids of messages: 48 bits of time in milliseconds since 1970, 40 bits that count the ids of
/// this run, and 40 random bits that distinguish runs and servers. Ids sort by time, also as text.
#[derive(Debug)]
pub struct Ids {
    count: u64,
    /// No message has an earlier time.
    least: u64,
    server: u64,
}

impl Ids {
    /// Makes ids for one run of one server.
    pub fn new() -> Self {
        Ids { count: 0, least: 0, server: random() }
    }

    /// Makes ids above one of an earlier run from now on, even if the clock was set back meanwhile.
    pub fn begin_above(&mut self, id: u128) {
        self.least = self.least.max((id >> 80) as u64 + 1);
    }

    /// The time of a message, which its id has: the present time, unless that is before an earlier run.
    #[inline]
    pub fn time(&self, now: u64) -> u64 {
        now.max(self.least)
    }

    /// Returns the next id, for a message of this time.
    pub fn next(&mut self, millis: u64) -> u128 {
        self.count = self.count.wrapping_add(1);
        let low = |bits: u64| u128::from(bits & ((1 << 40) - 1));
        u128::from(millis & ((1 << 48) - 1)) << 80 | low(self.count) << 40 | low(self.server)
    }
}

/// Returns 64 unpredictable bits, because the keys of a new hasher are random.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Appends an id as text.
#[inline]
pub fn write_id(id: u128, out: &mut String) {
    let mut text = Text([0; 32]);
    let (pairs, _) = text.0[..ID].as_chunks_mut::<2>();
    let (high, low) = ((id >> 60) as u64, id as u64);
    let (first, rest) = pairs.split_at_mut(7);
    // Each half has 60 bits, or six pairs; the first half also has the highest eight bits.
    let shifts = [60, 50, 40, 30, 20, 10, 0];
    for (pair, shift) in first.iter_mut().zip(shifts) {
        *pair = PAIRS[(high >> shift) as usize & 1_023];
    }
    for (pair, shift) in rest.iter_mut().zip(&shifts[1..]) {
        *pair = PAIRS[(low >> shift) as usize & 1_023];
    }
    let text = std::str::from_utf8(&text.0).unwrap_or_default();
    out.push_str(text.get(..ID).unwrap_or_default());
}

/// The text of an id, and zeros behind it. So aligned and of this length it is checked to be UTF-8
/// sixteen bytes at a time.
#[repr(align(16))]
struct Text([u8; 32]);

/// Whether a text can be the id of a message.
pub fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| DIGITS.contains(&byte))
}

/// Splits the cursor `EPOCH-SEQ` that a client has kept; `None` if it has another form.
pub fn parse_last(last: &str) -> Option<(&str, u64)> {
    let (epoch, seq) = last.rsplit_once('-')?;
    let is_number = (1..=20).contains(&seq.len()) && seq.bytes().all(|byte| byte.is_ascii_digit());
    let is_epoch = (1..=32).contains(&epoch.len())
        && epoch.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (is_number && is_epoch).then(|| (epoch, seq.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(id: u128) -> String {
        let mut out = String::new();
        write_id(id, &mut out);
        out
    }

    #[test]
    fn ids_sort_by_time_and_then_by_their_order_also_as_text() {
        let mut ids = Ids::new();
        let times = [0, 0, 5, 5, 6, 1_700_000_000_000, 1_700_000_000_000, (1 << 48) - 1];
        let made: Vec<u128> = times.iter().map(|time| ids.next(*time)).collect();
        assert!(made.is_sorted_by(|one, two| one < two));
        assert!(made.iter().map(|id| text(*id)).is_sorted_by(|one, two| one < two));
        assert!(made.iter().all(|id| text(*id).len() == ID));
        assert_ne!(Ids::new().next(7), Ids::new().next(7), "servers have different ids");
    }

    #[test]
    fn ids_go_on_above_those_of_an_earlier_run_although_the_clock_was_set_back() {
        let mut earlier = Ids::new();
        let newest = (0..5).map(|_| earlier.next(1_000)).max().unwrap();
        let mut ids = Ids::new();
        ids.begin_above(newest);
        let time = ids.time(3);
        assert!(time > 1_000 && ids.next(time) > newest);
        assert_eq!(ids.time(5_000), 5_000);
    }

    #[test]
    fn a_last_that_is_no_cursor_is_ignored() {
        for last in ["", "-", "k3f9", "k3f9-", "-7", "k3f9-x", "k3f9-1.0", "K-7", "a b-7", "é-7"] {
            assert_eq!(parse_last(last), None, "{last}");
        }
        assert_eq!(parse_last(&format!("{}-7", "k".repeat(33))), None);
        assert_eq!(parse_last(&format!("k-{}", "7".repeat(21))), None);
        assert_eq!(parse_last("k3f9-1041"), Some(("k3f9", 1041)));
        assert_eq!(parse_last("k-18446744073709551616"), Some(("k", u64::MAX)));
    }
}
