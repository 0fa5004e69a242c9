//! Counts wrong keys by the address that they come from, so that nobody can find a key by trying.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How many wrong keys an address may show within [`WINDOW`].
pub const MOST_TRIES: u32 = 10;
pub const WINDOW: Duration = Duration::from_secs(60);
/// The largest number of addresses that are remembered. When there are more, all are forgotten. An
/// attacker with so many addresses gains nothing by that, because each of them may try anyway.
const MOST_ADDRESSES: usize = 10_000;

/// Wrong keys by address; `None` is for connections without an address, such as those of a Unix
/// socket.
#[derive(Debug, Default)]
pub struct Tries(HashMap<Option<IpAddr>, Wrong>);

#[derive(Debug)]
struct Wrong {
    since: Instant,
    count: u32,
}

impl Tries {
    /// How long an address has to wait before it may show a key again; `None` if it need not wait.
    pub fn wait(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        if self.0.is_empty() {
            // This is nearly always so.
            return None;
        }
        let wrong = self.0.get(&network(address))?;
        let passed = now.saturating_duration_since(wrong.since);
        (wrong.count >= MOST_TRIES && passed < WINDOW).then(|| WINDOW - passed)
    }

    /// Counts a wrong key of an address. Returns whether the address has now reached the limit.
    pub fn note(&mut self, address: Option<IpAddr>, now: Instant) -> bool {
        let old = |wrong: &Wrong| now.saturating_duration_since(wrong.since) >= WINDOW;
        // An address that is remembered already needs no additional room.
        if self.0.len() >= MOST_ADDRESSES && !self.0.contains_key(&network(address)) {
            self.0.retain(|_, wrong| !old(wrong));
            if self.0.len() >= MOST_ADDRESSES {
                self.0.clear();
            }
        }
        let wrong = self.0.entry(network(address)).or_insert(Wrong { since: now, count: 0 });
        if old(wrong) {
            *wrong = Wrong { since: now, count: 0 };
        }
        wrong.count += 1;
        wrong.count == MOST_TRIES
    }
}

/// Whoever has one IPv6 address can use all of its /64, so these addresses count as one.
fn network(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_may_try_ten_wrong_keys_in_a_minute() {
        let start = Instant::now();
        let mut tries = Tries::default();
        for count in 1..=MOST_TRIES {
            assert_eq!(tries.wait(at("2001:db8::1"), start), None);
            assert_eq!(tries.note(at("2001:db8::1"), start), count == MOST_TRIES);
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(tries.wait(at("2001:db8::2"), later), Some(Duration::from_secs(40)));
        assert_eq!(tries.wait(at("2001:db8:0:1::1"), later), None);
        assert_eq!(tries.wait(None, later), None);
        assert_eq!(tries.wait(at("2001:db8::1"), start + WINDOW), None);
        assert!(!tries.note(at("2001:db8::1"), start + WINDOW));
    }

    #[test]
    fn the_number_of_addresses_with_wrong_keys_that_are_remembered_is_bounded() {
        let start = Instant::now();
        let mut tries = Tries::default();
        for number in 0..3 * MOST_ADDRESSES as u32 {
            tries.note(Some(IpAddr::from(number.to_be_bytes())), start);
            assert!(tries.0.len() <= MOST_ADDRESSES);
        }
    }

    #[test]
    fn an_address_that_goes_on_guessing_displaces_no_other_address() {
        let start = Instant::now();
        let mut tries = Tries::default();
        for number in 0..MOST_ADDRESSES as u32 {
            tries.note(Some(IpAddr::from(number.to_be_bytes())), start);
        }
        let one = Some(IpAddr::from([0, 0, 0, 1]));
        for _ in 1..MOST_TRIES {
            tries.note(one, start);
        }
        assert_eq!(tries.0.len(), MOST_ADDRESSES);
        assert_eq!(tries.wait(one, start), Some(WINDOW));
    }
}
