//! Other limits and timeouts while connections are open.

use std::time::Duration;

use longlink::{Config, Peer};

use crate::*;
use longlink::sim::frames::text;

fn with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[test]
fn an_open_connection_follows_new_timeouts_also_if_it_had_none() {
    let never = |config: &mut Config| {
        (config.ping_after, config.idle_timeout) = (Duration::ZERO, Duration::ZERO);
    };
    for first in [with(never), Config::default()] {
        let mut link = link_with(first);
        let pipe = enter(&mut link, "A");
        link.hub.set_config(with(|config| config.ping_after = Duration::from_secs(2))).unwrap();
        link.hub.check_invariants();
        link.advance(2_200);
        assert_eq!(pings(&link, pipe), 1);
        link.hub.set_config(with(|config| config.idle_timeout = Duration::from_secs(5))).unwrap();
        link.advance(3_200);
        assert_eq!(close_code(&link, pipe), Some(1001));
        leak_check(link);
    }
}

#[test]
fn a_connection_whose_timeouts_become_longer_is_not_ended_at_the_old_time() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    link.hub.set_config(with(|config| config.idle_timeout = Duration::from_secs(600))).unwrap();
    link.advance(61_000);
    assert!(is_open(&link, pipe));
    link.advance(600_000);
    assert_eq!(close_code(&link, pipe), Some(1001));
    leak_check(link);
}

#[test]
fn a_smaller_bound_of_queues_ends_no_connection_that_holds_more_and_counts_for_what_comes_next() {
    let mut link = link();
    link.capacity = 0;
    let slow = enter(&mut link, "A");
    let sender = enter(&mut link, "B");
    link.set_reading(slow, false);
    for _ in 0..3 {
        say(&mut link, sender, &to("A", &"x".repeat(50_000)));
    }
    let queued = link.hub.queued(link.pipes[slow].conn);
    assert!(queued > 100_000, "{queued}");
    let small = with(|config| (config.max_message, config.max_queue) = (1_000, 2_000));
    link.hub.set_config(small).unwrap();
    link.hub.check_invariants();
    link.turn();
    assert!(is_open(&link, slow), "the change itself ends nobody");
    say(&mut link, sender, &to("A", "one more"));
    link.settle();
    assert!(!is_open(&link, slow) && is_open(&link, sender));
    leak_check(link);
}

#[test]
fn connections_are_counted_again_when_the_limit_of_an_address_begins_or_ends() {
    let mut link = link_with(with(|config| config.max_per_address = 0));
    let peer = Peer::from("203.0.113.7:1".parse::<std::net::SocketAddr>().unwrap());
    let pipes = [link.connect_from(peer).unwrap(), link.connect_from(peer).unwrap()];
    for limit in [1, 0, 5, 2] {
        link.hub.set_config(with(|config| config.max_per_address = limit)).unwrap();
        link.hub.check_invariants();
    }
    pipes.into_iter().for_each(|pipe| link.finish(pipe));
    link.settle();
    leak_check(link);
}

#[test]
fn a_configuration_that_contradicts_itself_changes_nothing() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    assert!(link.hub.set_config(with(|config| config.max_queue = 1)).is_err());
    assert_eq!(link.hub.config(), &Config::default());
    link.send(pipe, &text(PING));
    link.settle();
    assert_eq!(link.pipes[pipe].texts(), [r#"{"type":"pong"}"#]);
    leak_check(link);
}

#[test]
fn a_rate_that_becomes_higher_frees_a_connection_that_is_held_back() {
    let slow = with(|config| (config.message_rate, config.rate_burst) = (1, Duration::ZERO));
    let mut link = link_with(slow);
    let pipe = enter(&mut link, "A");
    let burst: Vec<u8> = (0..20).flat_map(|_| text(PING)).collect();
    link.send(pipe, &burst);
    link.advance(1_500);
    assert!(link.pipes[pipe].texts().len() < 5);
    link.hub.set_config(with(|config| config.message_rate = 0)).unwrap();
    link.hub.check_invariants();
    link.advance(3_000);
    assert_eq!(link.pipes[pipe].texts().len(), 20);
    leak_check(link);
}
