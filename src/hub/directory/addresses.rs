//! Counts how many connections come from each address, and how many handshakes from it were refused
//! recently.
//!
//! An IPv6 address counts as its /64, because one customer gets a whole /64. Loopback addresses,
//! Unix sockets and trusted proxies are not limited, because many clients share them.

use foldhash::quality::RandomState;

use crate::wire::Peer;
use crate::wire::proxy::forwarded::TrustedProxies;

/// The hash is keyed, because peers choose their addresses.
type HashMap<T> = std::collections::HashMap<u64, T, RandomState>;

/// How many connections of one address above `max_per_address` are answered with 503.
const SURPLUS_OF_ADDRESS: u32 = 8;
/// How many addresses with refusals are remembered.
const MOST_REFUSED: usize = 4_096;
/// A refusal is forgotten after this time, in milliseconds.
const FORGOTTEN_MS: u64 = 60_000;

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Welcome,
    /// The connection is answered with 503.
    Surplus,
    /// The connection is closed without an answer.
    Refused,
}

#[derive(Debug, Default)]
pub struct Addresses {
    /// The most connections of an address; 0 means no limit, and then nothing is counted.
    limit: u32,
    trusted: TrustedProxies,
    open: HashMap<u32>,
    refused: HashMap<Refusals>,
}

#[derive(Debug)]
struct Refusals {
    count: u32,
    /// When the last handshake was refused, in milliseconds.
    last: u64,
}

impl Addresses {
    pub fn new(limit: usize, trusted: TrustedProxies) -> Self {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Addresses { limit, trusted, ..Addresses::default() }
    }

    /// Sets another limit and other proxies, and forgets how many connections there are. The caller
    /// counts them again by [`Addresses::enter`].
    pub fn set_limit(&mut self, limit: usize, trusted: TrustedProxies) {
        self.limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.trusted = trusted;
        self.open.clear();
    }

    /// Returns whether another connection from this address is within the limit.
    pub fn judge(&self, peer: Peer) -> Verdict {
        let Some(key) = self.counted(peer) else { return Verdict::Welcome };
        let open = self.open.get(&key).copied().unwrap_or(0);
        if open < self.limit {
            Verdict::Welcome
        } else if open < self.limit.saturating_add(SURPLUS_OF_ADDRESS) {
            Verdict::Surplus
        } else {
            Verdict::Refused
        }
    }

    pub fn enter(&mut self, peer: Peer) {
        if let Some(key) = self.counted(peer) {
            *self.open.entry(key).or_default() += 1;
        }
    }

    pub fn leave(&mut self, peer: Peer) {
        let Some(key) = self.counted(peer) else { return };
        if let Some(count) = self.open.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&key);
            }
        }
    }

    /// Returns how many connections of counted addresses are open.
    pub fn total(&self) -> usize {
        self.open.values().map(|count| *count as usize).sum()
    }

    /// Counts a refused handshake.
    pub fn refuse(&mut self, peer: Peer, now: u64) {
        let key = self.key(peer).unwrap_or(0);
        if self.refused.len() >= MOST_REFUSED && !self.refused.contains_key(&key) {
            self.refused.retain(|_, refusals| now < refusals.last + FORGOTTEN_MS);
            // Half of them are removed, because otherwise each new address would cause a search
            // through all of them.
            if self.refused.len() > MOST_REFUSED / 2 {
                self.refused.clear();
            }
        }
        let refusals = self.refused.entry(key).or_insert(Refusals { count: 0, last: now });
        if now >= refusals.last + FORGOTTEN_MS {
            refusals.count = 0;
        }
        refusals.count = refusals.count.saturating_add(1);
        refusals.last = now;
    }

    /// Returns how many handshakes were refused, none of them more than a minute after the one
    /// before.
    pub fn refused(&self, peer: Peer, now: u64) -> u32 {
        let refusals = self.refused.get(&self.key(peer).unwrap_or(0));
        let fresh = refusals.filter(|refusals| now < refusals.last + FORGOTTEN_MS);
        fresh.map_or(0, |refusals| refusals.count)
    }

    /// Whether connections from this address are counted.
    pub fn counts(&self, peer: Peer) -> bool {
        self.counted(peer).is_some()
    }

    fn counted(&self, peer: Peer) -> Option<u64> {
        if self.limit == 0 { None } else { self.key(peer) }
    }

    fn key(&self, peer: Peer) -> Option<u64> {
        key(peer).filter(|_| !self.trusted.trusts(peer))
    }
}

/// Returns the number that an address counts as; `None` if it does not count. Every connection
/// calls this three times, so it compares bits.
fn key(peer: Peer) -> Option<u64> {
    /// The bits before an IPv4 address in IPv6 (RFC 4291, section 2.5.5.2).
    const MAPPED: u64 = 0xFFFF;
    let bits = peer.ip_bits();
    let (network, rest) = ((bits >> 64) as u64, bits as u64);
    match (network, rest >> 32) {
        // No /64 that is assigned to anyone begins with zeros.
        (0, MAPPED) => Some(rest as u32).filter(|ip| ip >> 24 != 127).map(u64::from),
        // `::` is no peer's address, and `::1` is loopback.
        (0, 0) if rest <= 1 => None,
        _ => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(text.parse::<std::net::SocketAddr>().unwrap())
    }

    #[test]
    fn an_address_is_counted_and_forgotten() {
        let mut addresses = Addresses::new(2, TrustedProxies::default());
        let (a, b) = (peer("203.0.113.7:1"), peer("203.0.113.8:1"));
        for _ in 0..2 {
            assert_eq!(addresses.judge(a), Verdict::Welcome);
            addresses.enter(a);
        }
        assert_eq!(addresses.judge(peer("203.0.113.7:2")), Verdict::Surplus);
        (0..SURPLUS_OF_ADDRESS).for_each(|_| addresses.enter(a));
        assert_eq!(addresses.judge(a), Verdict::Refused);
        assert_eq!(addresses.judge(b), Verdict::Welcome);
        (0..2 + SURPLUS_OF_ADDRESS).for_each(|_| addresses.leave(a));
        assert!(addresses.open.is_empty());
        let mut unlimited = Addresses::default();
        (0..3_000).for_each(|_| unlimited.enter(a));
        assert_eq!((unlimited.judge(a), unlimited.total()), (Verdict::Welcome, 0));
    }

    #[test]
    fn all_addresses_of_an_ipv6_customer_count_as_one_network() {
        assert_eq!(key(peer("[2001:db8:1:2::3]:1")), key(peer("[2001:db8:1:2:ffff::9]:1")));
        assert_ne!(key(peer("[2001:db8:1:2::3]:1")), key(peer("[2001:db8:1:3::3]:1")));
        assert_eq!(key(peer("[::ffff:203.0.113.7]:1")), key(peer("203.0.113.7:9")));
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
            assert_eq!(key(peer(text)), None, "{text}");
        }
        assert_eq!(key(Peer::UNKNOWN), None);
        // Addresses that only resemble those above are counted, even if no connection should come
        // from them.
        for text in ["128.0.0.1:1", "126.255.255.255:1", "0.0.0.0:1", "[::2]:1", "[2001:db8::1]:1"]
        {
            assert!(key(peer(text)).is_some(), "{text}");
        }
    }

    #[test]
    fn refusals_are_remembered_for_a_minute_and_for_a_bounded_number_of_addresses() {
        let mut addresses = Addresses::default();
        let a = peer("203.0.113.7:1");
        (0..3).for_each(|n| addresses.refuse(a, n * 1_000));
        assert_eq!((addresses.refused(a, 61_999), addresses.refused(a, 62_000)), (3, 0));
        addresses.refuse(a, 62_000);
        assert_eq!(addresses.refused(a, 62_000), 1);
        for n in 0..20_000_u32 {
            let ip = std::net::Ipv4Addr::from(0x0A00_0000 + n);
            addresses.refuse(Peer::from(std::net::SocketAddr::new(ip.into(), 1)), 62_000);
            assert!(addresses.refused.len() <= MOST_REFUSED);
        }
    }

    #[test]
    fn a_full_table_of_refusals_forgets_the_old_ones_first_and_all_of_them_only_if_most_are_recent()
    {
        let mut addresses = Addresses::default();
        let from = |n: u32| {
            let ip = std::net::Ipv4Addr::from(0x0A00_0000 + n);
            Peer::from(std::net::SocketAddr::new(ip.into(), 1))
        };
        let half = MOST_REFUSED as u32 / 2;
        (0..half).for_each(|n| addresses.refuse(from(n), 1_000));
        (half..2 * half).for_each(|n| addresses.refuse(from(n), 1_001));
        // An address that is known needs no room.
        addresses.refuse(from(0), 1_000);
        assert_eq!((addresses.refused.len(), addresses.refused(from(0), 1_000)), (MOST_REFUSED, 2));

        let now = 1_000 + FORGOTTEN_MS;
        addresses.refuse(from(2 * half), now);
        assert_eq!(addresses.refused.len(), half as usize + 1);
        assert_eq!(addresses.refused(from(half), now), 1, "refused a millisecond later");

        (0..half - 1).for_each(|n| addresses.refuse(from(n), now));
        assert_eq!(addresses.refused.len(), MOST_REFUSED);
        addresses.refuse(from(half - 1), now);
        assert_eq!(addresses.refused.len(), 1);
    }
}
