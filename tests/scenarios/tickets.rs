//! A connection and the ticket it came with, by a wall clock that is made up.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longlink::tickets::{Ticket, Tickets};
use longlink::{CloseReason, Config, Relay, RelayConfig};

use crate::*;

const SECRET: &[u8] = b"a secret of thirty-two bytes: 32";
/// The wall clock's time at the hub's time 0, in seconds since 1970.
const START: u64 = 1_800_000_000;

/// Tickets by a wall clock that goes with the hub's. The first check has to be
/// at the hub's time 0.
fn tickets() -> Tickets {
    let base = OnceLock::<Instant>::new();
    let clock = move |now: Instant| at(0) + (now - *base.get_or_init(|| now));
    Tickets::new(&[SECRET], clock).unwrap()
}

/// So many seconds after the start.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START + seconds)
}

fn gated_with(config: Config, relay: RelayConfig, tickets: Tickets) -> Link {
    let relay = Relay::new(relay).with_tickets(tickets);
    link_of(config, relay)
}

fn gated() -> Link {
    gated_with(Config::default(), RelayConfig::default(), tickets())
}

/// Connects a client with a ticket. Returns its pipe.
fn enter_with(link: &mut Link, path: &str, ticket: &Ticket) -> usize {
    let ticket = tickets().sign(ticket).unwrap();
    enter(link, &format!("{path}?ticket={ticket}"))
}

/// Keeps a connection alive for so many seconds.
fn beat(link: &mut Link, pipe: usize, seconds: u64) {
    for _ in 0..seconds {
        say(link, pipe, PING);
        link.advance(1_000);
    }
}

#[test]
fn a_connection_lives_no_longer_than_its_ticket() {
    let mut link = gated();
    let short = enter_with(&mut link, "short", &Ticket::new("short", at(90)));
    let long = enter_with(&mut link, "long", &Ticket::new("long", at(100_000)));
    beat(&mut link, short, 50);
    say(&mut link, long, PING);
    beat(&mut link, short, 44);
    say(&mut link, long, PING);
    assert!(is_open(&link, short), "5 s of leeway");
    link.advance(2_000);
    assert_eq!(close_code(&link, short), Some(4501));
    assert!(is_open(&link, long));
    link.finish(short);
    link.settle();
    assert_eq!(link.handler().looker.closed, [("short".to_owned(), CloseReason::Expired)]);
    assert_eq!(link.hub.stats().expired, 1);
    // The client cannot connect again with the old ticket.
    let again = enter_with(&mut link, "short", &Ticket::new("short", at(90)));
    link.advance(2_000);
    assert_eq!(status(&link, again), Some(401));
    leak_check(link);
}

#[test]
fn a_silent_connection_is_ended_although_its_ticket_is_valid() {
    let mut link = gated();
    let silent = enter_with(&mut link, "A", &Ticket::new("A", at(100_000)));
    link.advance(61_000);
    assert_eq!(close_code(&link, silent), Some(1001));
    leak_check(link);
}

#[test]
fn a_ticket_ends_a_connection_even_where_silence_never_does() {
    let mut config = Config::default();
    (config.ping_after, config.idle_timeout) = (Duration::ZERO, Duration::ZERO);
    let mut link = gated_with(config, RelayConfig::default(), tickets());
    let silent = enter_with(&mut link, "A", &Ticket::new("A", at(86_400)));
    link.advance(86_400_000);
    assert!(is_open(&link, silent));
    link.advance(7_000);
    assert_eq!(close_code(&link, silent), Some(4501));
    leak_check(link);
}

#[test]
fn with_tickets_checked_only_at_the_handshake_a_connection_outlives_its_ticket() {
    let mut link =
        gated_with(Config::default(), RelayConfig::default(), tickets().at_door_only(true));
    let pipe = enter_with(&mut link, "A", &Ticket::new("A", at(10)));
    beat(&mut link, pipe, 200);
    assert!(is_open(&link, pipe));
    leak_check(link);
}

#[test]
fn the_next_connection_in_a_slot_has_its_own_expiry() {
    let mut link = gated();
    let first = enter_with(&mut link, "A", &Ticket::new("A", at(30)));
    let slot = link.pipes[first].conn.index();
    link.finish(first);
    link.settle();
    let second = enter_with(&mut link, "B", &Ticket::new("B", at(1_000)));
    assert_eq!(link.pipes[second].conn.index(), slot);
    beat(&mut link, second, 60);
    assert!(is_open(&link, second));
    leak_check(link);
}

#[test]
fn the_ticket_decides_whether_a_connection_may_broadcast() {
    let heard = r#"{"type":"broadcast","formUserId":"loud","message":"hello"}"#;
    for (setting, loud_may, quiet_may) in
        [(None, true, false), (Some(true), true, true), (Some(false), false, false)]
    {
        let mut relay = RelayConfig::default();
        relay.broadcast = setting;
        let mut link = gated_with(Config::default(), relay, tickets());
        let quiet = enter_with(&mut link, "quiet", &Ticket::new("quiet", at(99)));
        let loud = Ticket::new("loud", at(99)).broadcast(true);
        let loud = enter_with(&mut link, "loud", &loud);
        say(&mut link, loud, "hello");
        assert_eq!(link.pipes[quiet].texts().contains(&heard), loud_may, "{setting:?}");
        say(&mut link, quiet, "hello too");
        let said = link.pipes[loud].texts().iter().any(|text| text.contains("hello too"));
        assert_eq!(said, quiet_may, "{setting:?}");
        // The next connection in the same slot has not inherited the right.
        link.finish(loud);
        link.settle();
        let next = enter_with(&mut link, "loud", &Ticket::new("loud", at(99)));
        say(&mut link, next, "again");
        let again = link.pipes[quiet].texts().iter().any(|text| text.contains("again"));
        assert_eq!(again, setting == Some(true), "{setting:?}");
        leak_check(link);
    }
}

#[test]
fn a_connection_is_in_the_groups_of_its_ticket() {
    let mut link = gated();
    let ticket = Ticket::new("A", at(99)).group("staff").group("room-7");
    let inside = enter_with(&mut link, "A", &ticket);
    let outside = enter_with(&mut link, "B", &Ticket::new("B", at(99)));
    assert_eq!(link.hub.send_to_group("room-7", "to seven"), 1);
    assert_eq!(link.hub.send_to_group("staff", "to staff"), 1);
    link.settle();
    assert_eq!(link.pipes[inside].texts(), ["to seven", "to staff"]);
    assert!(link.pipes[outside].texts().is_empty());
    leak_check(link);
}

#[test]
fn a_ticket_names_the_device_of_a_client_that_names_none() {
    let mut link = gated();
    let ticket = Ticket::new("A", at(99)).device("phone");
    let pipe = enter_with(&mut link, "A", &ticket);
    assert_eq!(link.hub.device(link.pipes[pipe].conn), Some("phone"));
    let signed = tickets().sign(&ticket).unwrap();
    let other = enter(&mut link, &format!("A?device=pad&ticket={signed}"));
    link.advance(2_000);
    assert_eq!(status(&link, other), Some(401));
    leak_check(link);
}

#[test]
fn a_ticket_from_the_server_itself_lasts_as_long_as_it_should() {
    let mut link = gated();
    let now = link.instant();
    let tickets = link.handler().handler.tickets().expect("they are asked for");
    let until = tickets.until(now, Duration::from_secs(60));
    assert_eq!(until, at(60));
    let signed = tickets.sign(&Ticket::new("A", until)).unwrap();
    let pipe = enter(&mut link, &format!("A?ticket={signed}"));
    beat(&mut link, pipe, 64);
    assert!(is_open(&link, pipe));
    link.advance(3_000);
    assert_eq!(close_code(&link, pipe), Some(4501));
    leak_check(link);
}
