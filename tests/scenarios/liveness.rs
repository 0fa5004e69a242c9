//! Signs of life: which connections stay, which get a ping, and which are ended.

use std::time::Duration;

use longlink::{CloseReason, Config};

use crate::*;
use longlink::sim::frames::{self, frame, handshake, text};

#[test]
fn writes_keep_a_receiver_that_never_sends_alive_until_it_has_once_answered_a_ping() {
    let mut link = link();
    let silent = enter(&mut link, "A");
    let sender = enter(&mut link, "B");
    for _ in 0..60 {
        link.advance(5_000);
        say(&mut link, sender, &to("A", "are you there"));
    }
    assert!(is_open(&link, silent), "what was written to it is a sign of life");
    assert_eq!(pings(&link, silent), 0);

    link.send(silent, &frame(0x80 | frames::PONG, b"", [1, 2, 3, 4]));
    for _ in 0..11 {
        link.advance(5_000);
        say(&mut link, sender, &to("A", "are you there"));
    }
    assert!(is_open(&link, silent));
    assert_eq!(pings(&link, silent), 1);
    link.advance(5_100);
    assert_eq!(close_code(&link, silent), Some(1001));
    assert!(is_open(&link, sender));
    leak_check(link);
}

#[test]
fn a_reader_that_never_quite_catches_up_is_alive() {
    let mut link = link();
    link.capacity = 100;
    let slow = enter(&mut link, "A");
    let sender = enter(&mut link, "B");
    for _ in 0..40 {
        link.set_reading(slow, false);
        say(&mut link, sender, &to("A", &"x".repeat(3_000)));
        link.set_reading(slow, true);
        link.turn();
        link.set_reading(slow, false);
        link.advance(4_000);
        say(&mut link, sender, "ping");
        assert!(is_open(&link, slow) && link.hub.queued(link.pipes[slow].conn) > 0);
    }
    leak_check(link);
}

#[test]
fn a_silent_connection_is_pinged_after_25_seconds_and_closed_after_60() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    link.advance(24_999);
    assert_eq!(pings(&link, pipe), 0);
    link.advance(1 + longlink::run::TICK_MS);
    assert_eq!(pings(&link, pipe), 1);
    link.advance(34_980);
    assert!(is_open(&link, pipe));
    link.advance(4 + longlink::run::TICK_MS);
    assert_eq!((close_code(&link, pipe), pings(&link, pipe)), (Some(1001), 1));
    link.finish(pipe);
    link.settle();
    assert_eq!(link.handler().looker.closed, [("A".to_owned(), CloseReason::Idle)]);
    leak_check(link);
}

#[test]
fn a_message_that_trickles_in_is_closed_with_1008_when_its_time_is_over() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    let bytes = text("a message with a byte every five seconds");
    for byte in &bytes[..6] {
        link.send(pipe, &[*byte]);
        link.advance(5_000);
    }
    link.advance(longlink::run::TICK_MS);
    assert_eq!(close_code(&link, pipe), Some(1008));
    leak_check(link);
}

#[test]
fn pings_cut_at_every_read_are_not_a_message_that_takes_too_long() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    let ping = frame(0x80 | frames::PING, b"keepalive", [1, 2, 3, 4]);
    link.send(pipe, &ping[..5]);
    for _ in 0..20 {
        link.advance(5_000);
        let next = [&ping[5..], &ping[..5]].concat();
        link.send(pipe, &next);
    }
    link.settle();
    assert!(is_open(&link, pipe), "{:?}", link.pipes[pipe].got);
    leak_check(link);
}

#[test]
fn a_head_has_eight_seconds_however_it_trickles() {
    let mut link = link();
    let silent = link.connect().unwrap();
    let trickling = link.connect().unwrap();
    for byte in &handshake("/websocket/A", "")[..79] {
        link.send(trickling, &[*byte]);
        link.advance(100);
    }
    assert!(!link.pipes[silent].closed && !link.pipes[trickling].closed);
    link.advance(100 + longlink::run::TICK_MS);
    assert!(link.pipes[silent].closed && link.pipes[trickling].closed);
    leak_check(link);
}

#[test]
fn a_slow_reader_that_does_read_is_not_expired() {
    let mut config = Config::default();
    config.ping_after = Duration::from_secs(25);
    let mut link = link_with(config);
    link.capacity = 500;
    let slow = enter(&mut link, "A");
    link.capacity = 1 << 20;
    let sender = enter(&mut link, "B");
    // The client reads 500 bytes a second, and always has more to read.
    link.set_reading(slow, false);
    for second in 0..180 {
        if second % 2 == 0 {
            say(&mut link, sender, &to("A", &"x".repeat(900)));
        }
        link.set_reading(slow, true);
        link.turn();
        link.set_reading(slow, false);
        link.advance(1_000);
        say(&mut link, sender, PING);
    }
    assert!(is_open(&link, slow), "closed: {:?}", link.handler().looker.closed);
    leak_check(link);
}
