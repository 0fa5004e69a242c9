//! Listing the users who are online, page by page, while others come and go.

use std::collections::{HashMap, VecDeque};
use std::io::{IoSlice, Result};
use std::time::Instant;

use longlink::run::Sink;
use longlink::sim::Bare;
use longlink::sim::frames::handshake;
use longlink::{Config, ConnId, Relay, RelayConfig};

/// A socket that takes everything.
struct Taking;

impl Sink for Taking {
    fn write(&mut self, _: usize, bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, _: usize, slices: &[IoSlice<'_>]) -> Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

/// A hub without sockets, whose connections open in one call.
struct Place {
    bare: Bare<Relay, Taking>,
}

impl Place {
    fn new(most: usize) -> Self {
        let mut config = Config::default();
        config.max_connections = most;
        config.writes_per_turn = 1_000;
        let relay = Relay::new(RelayConfig::default());
        Place { bare: Bare::new(config, relay, Taking, Instant::now()) }
    }

    fn open(&mut self, path: &str) -> ConnId {
        let conn = self.bare.open();
        self.bare.receive(conn, &handshake(&format!("/websocket/{path}"), ""));
        assert!(self.bare.hub.is_open(conn), "{path}");
        self.bare.turn();
        conn
    }

    fn end(&mut self, conn: ConnId) {
        self.bare.hub.abort(conn);
        self.bare.turn();
    }

    /// Lists all users in pages of at most `most` users. Returns how often each user was listed. `between`
    /// runs after each page.
    fn list(&mut self, most: usize, mut between: impl FnMut(&mut Self)) -> HashMap<String, u32> {
        let (mut seen, mut from) = (HashMap::new(), 0);
        loop {
            let (page, next) = self.bare.hub.users(from, most);
            assert!(page.len() == most || next.is_none(), "only the last page is shorter");
            for user in page {
                *seen.entry(user.to_owned()).or_default() += 1;
            }
            let Some(next) = next else { return seen };
            assert!(next > from);
            from = next;
            between(self);
        }
    }
}

#[test]
fn a_search_looks_at_a_bounded_number_of_users_and_finds_all_of_them_in_all_pages() {
    let mut place = Place::new(7_000);
    for n in 0..6_000 {
        place.open(&format!("u{n:04}"));
    }
    let (mut found, mut from, mut requests) = (Vec::new(), 0, 0);
    loop {
        let mut looked = 0;
        let matches = |user: &str| {
            looked += 1;
            user.ends_with("77")
        };
        let (page, next) = place.bare.hub.find_users(from, matches, 5, 1_000);
        assert!(page.len() <= 5);
        found.extend(page.into_iter().map(str::to_owned));
        assert!(looked < 1_000 + 2 * 400, "one request has looked at {looked} users");
        requests += 1;
        let Some(next) = next else { break };
        assert!(next > from);
        from = next;
    }
    found.sort();
    let all: Vec<String> = (0..60).map(|n| format!("u{n:02}77")).collect();
    assert_eq!(found, all, "each is found once");
    assert!((6..=30).contains(&requests), "{requests} requests");
}

/// How many of the listed users stay throughout, and how many of these were listed more than once.
fn stayed(seen: &HashMap<String, u32>) -> (usize, usize) {
    let stayed = seen.iter().filter(|(user, _)| user.starts_with("stay"));
    (stayed.clone().count(), stayed.filter(|(_, count)| **count > 1).count())
}

#[test]
fn a_user_who_stays_online_throughout_a_listing_is_in_exactly_one_page() {
    let most = 7_000;
    let stay = most * 3 / 7;
    let mut place = Place::new(most);
    for n in 0..stay {
        place.open(&format!("stay{n}"));
    }
    let mut others: VecDeque<ConnId> =
        (stay..most).map(|n| place.open(&format!("other{n}"))).collect();
    let mut names = 0;
    for round in 0..12 {
        let seen = place.list(500, |place| {
            for _ in 0..200 {
                place.end(others.pop_front().unwrap());
                names += 1;
                others.push_back(place.open(&format!("newer{names}")));
            }
        });
        assert_eq!(stayed(&seen), (stay, 0), "round {round}");
        let most_often = seen.values().max();
        assert_eq!(most_often, Some(&1), "a user who comes and goes is not in two pages either");
    }
    place.bare.hub.check_invariants();
}

#[test]
fn a_user_who_changes_devices_during_a_listing_stays_in_the_same_page() {
    let mut place = Place::new(3_000);
    let mut phones: Vec<ConnId> = (0..600).map(|n| place.open(&format!("stay{n}"))).collect();
    for round in 0..10 {
        let mut moved = 0..phones.len();
        let seen = place.list(50, |place| {
            for at in moved.by_ref().take(60) {
                let newer = place.open(&format!("stay{at}?device={round}"));
                place.end(std::mem::replace(&mut phones[at], newer));
            }
        });
        assert_eq!(stayed(&seen), (600, 0), "round {round}");
    }
    place.bare.hub.check_invariants();
}

#[test]
fn all_users_are_listed_even_if_a_table_of_the_index_has_more_than_it_was_made_for() {
    // The index has a few tables, and far more users than one of them is made for.
    for most in [1, 50, 900] {
        let mut place = Place::new(most);
        let users = (0..most).map(|n| place.open(&format!("stay{n}"))).count();
        for page in [1, 7, 1_000] {
            assert_eq!(stayed(&place.list(page, |_| {})), (users, 0), "{most} in pages of {page}");
        }
        assert_eq!(place.bare.hub.online(), users);
    }
}
