//! Wrong keys, counted by the address they come from: a key is not found by trying.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong keys that an address may show in [`WINDOW`].
pub const MOST_TRIES: u32 = 10;
pub const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. When there are more, all are forgotten: to come from so
/// many is no cheaper than to wait.
const MOST_ADDRESSES: usize = 10_000;

/// By address; `None` for those who have none, such as a Unix socket's.
#[derive(Debug, Default)]
pub struct Tries(HashMap<Option<IpAddr>, Wrong>);

#[derive(Debug)]
struct Wrong {
    since: Instant,
    count: u32,
}

impl Tries {
    /// How long an address has to wait before it may show a key again; `None` when it may.
    pub fn wait(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        if self.0.is_empty() {
            // Nearly always.
            return None;
        }
        let wrong = self.0.get(&network(address))?;
        let passed = now.saturating_duration_since(wrong.since);
        (wrong.count >= MOST_TRIES && passed < WINDOW).then(|| WINDOW - passed)
    }

    /// It has shown a wrong one. Returns whether that was one too many.
    pub fn note(&mut self, address: Option<IpAddr>, now: Instant) -> bool {
        let old = |wrong: &Wrong| now.saturating_duration_since(wrong.since) >= WINDOW;
        // An address that is known already takes no room.
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

/// Who has one address of IPv6 has all of its /64.
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
    fn ten_wrong_keys_in_a_minute_and_no_more() {
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
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let mut tries = Tries::default();
        for number in 0..3 * MOST_ADDRESSES as u32 {
            tries.note(Some(IpAddr::from(number.to_be_bytes())), start);
            assert!(tries.0.len() <= MOST_ADDRESSES);
        }
    }

    #[test]
    fn a_known_address_that_goes_on_guessing_lets_nobody_else_be_forgotten() {
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
