//! The server under load, and when it stops.

use longlink::{Config, RelayConfig};

use super::{KEPT, Phone, link, link_of};

/// mattermost/mattermost-webapp#10960, phoenixframework/phoenix#4045, rails/rails#40229: after a
/// restart all clients came back within one second.
#[test]
fn clients_of_a_server_that_stops_get_a_range_for_their_return_before_the_close() {
    let mut link = link();
    let mut phones: Vec<Phone> =
        (0..100).map(|number| Phone::new(&format!("u{number}"), "d")).collect();
    phones.iter_mut().for_each(|phone| phone.connect(&mut link));
    link.shutdown();
    link.advance(10_000);
    for phone in &mut phones {
        phone.read(&link);
        assert_eq!(phone.types(), ["bye"], "the reason comes before the close");
        let after = phone.frames[0]["after"].as_array().expect("a range");
        let after: Vec<u64> = after.iter().filter_map(|at| at.as_u64()).collect();
        assert!(after[0] >= 500 && after[1] >= 8_000, "{after:?}");
    }
    assert_eq!(link.hub.connections(), 0);
}

/// housleyjk/ws-rs#291 (rustsec/advisory-db#394): the queue of a slow reader took all memory.
#[test]
fn a_client_that_reads_nothing_holds_no_more_than_its_queue_and_its_mailbox() {
    let mut relay = RelayConfig::default();
    relay.mailbox_memory = 1 << 20;
    let mut link = link_of(Config::default(), relay);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    link.capacity = 1_000;
    bob.epoch = "none".to_owned();
    bob.connect_without_reading(&mut link);
    let long = "x".repeat(20_000);
    for number in 0..200 {
        alice.write_to(&mut link, &format!("n{number}"), "bob", &long);
        assert_eq!(alice.state(), KEPT, "nobody waits for a slow reader");
        link.advance(10);
    }
    let gauges = link.handler().handler.mailbox_gauges();
    assert!(link.hub.buffered() <= 300_000, "{}", link.hub.buffered());
    assert!(gauges.memory <= 400_000, "{gauges:?}");
}

/// sockudo/sockudo#56: after very many clients were cut at once, nobody could log in for half a
/// minute.
#[test]
fn when_all_clients_are_cut_at_once_a_new_one_is_welcomed_in_the_next_turn() {
    let mut link = link();
    let mut phones: Vec<Phone> =
        (0..2_000).map(|number| Phone::new(&format!("u{number}"), "d")).collect();
    phones.iter_mut().for_each(|phone| phone.connect(&mut link));
    for phone in &phones {
        link.reset(phone.pipe, std::io::ErrorKind::ConnectionReset);
    }
    let before = link.now;
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    assert_eq!(bob.types(), ["welcome", "live"]);
    assert_eq!(link.now, before, "the welcome came in a turn without waiting");
}
