//! How fast a connection may send: the messages of a faster one wait, and none of them is lost.

use std::time::Duration;

use longlink::Config;

use crate::*;
use longlink::sim::Rng;
use longlink::sim::frames::{Got, frame, handshake, text};

/// A hub that allows so many messages and broadcasts a second, and has this burst.
fn paced(messages: u32, broadcasts: u32, burst: Duration) -> Link {
    let mut config = Config::default();
    config.message_rate = messages;
    config.broadcast_rate = broadcasts;
    config.rate_burst = burst;
    link_with(config)
}

const SECOND: Duration = Duration::from_secs(1);

/// Messages to B with these numbers.
fn numbered(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|n| text(&to("B", &n.to_string()))).collect()
}

fn heard(link: &Link, pipe: usize) -> usize {
    link.pipes[pipe].texts().len()
}

#[test]
fn a_flood_of_messages_arrives_completely_and_in_order_at_the_rate() {
    let mut link = paced(100, 0, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(a, &numbered(0..1_000));
    link.settle();
    assert_eq!(heard(&link, b), 100, "the burst is handled at once");
    for second in 1..=9 {
        link.advance(1_000);
        let due = 100 + 100 * second;
        assert!(heard(&link, b).abs_diff(due) <= 2, "after {second} s: {}", heard(&link, b));
    }
    link.advance(100);
    let expected: Vec<String> = (0..1_000).map(|n| from("A", "B", &n.to_string())).collect();
    assert_eq!(link.pipes[b].texts(), expected);
    assert!(link.hub.stats().held_back > 0);
    leak_check(link);
}

#[test]
fn a_connection_that_waits_for_its_rate_is_not_read_and_the_others_are() {
    let mut link = paced(10, 0, SECOND);
    link.read_size = 200;
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(a, &numbered(0..1_000));
    link.settle();
    let unread = link.pipes[a].to_server.len();
    assert!(unread > 35_000, "{unread} bytes stay in the kernel");
    assert!(link.hub.buffered() < 1_000, "{}", link.hub.buffered());
    say(&mut link, b, PING);
    assert_eq!(link.pipes[b].texts().last(), Some(&r#"{"type":"pong"}"#));
    link.advance(5_000);
    assert!(link.pipes[a].to_server.len() < unread);
    link.reset(a, std::io::ErrorKind::ConnectionReset);
    leak_check_later(link);
}

#[test]
fn a_connection_that_waits_long_for_its_rate_does_not_count_as_silent() {
    // All messages are read at once, and handling them takes 250 s.
    let mut link = paced(2, 0, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(a, &numbered(0..500));
    for _ in 0..260 {
        link.advance(1_000);
        say(&mut link, b, PING);
    }
    assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
    let messages = link.pipes[b].texts().iter().filter(|text| text.contains("toUserId")).count();
    assert_eq!(messages, 500);
    // After that the connection is silent, and is ended for that.
    link.advance(61_000);
    assert_eq!(close_code(&link, a), Some(1001));
    leak_check(link);
}

#[test]
fn messages_that_arrive_with_the_handshake_are_held_to_the_rate() {
    let mut link = paced(100, 0, SECOND);
    let a = link.connect().unwrap();
    let pings = (0..500).flat_map(|_| text(PING));
    let bytes: Vec<u8> = handshake("/websocket/A", "").into_iter().chain(pings).collect();
    link.send(a, &bytes);
    link.settle();
    assert!((99..=101).contains(&heard(&link, a)), "{}", heard(&link, a));
    link.advance(5_000);
    assert_eq!(heard(&link, a), 500);
    leak_check(link);
}

#[test]
fn control_frames_count_as_messages() {
    let mut link = paced(100, 0, SECOND);
    let a = enter(&mut link, "A");
    link.advance(1_000);
    let pings: Vec<u8> = (0..500).flat_map(|_| frame(0x89, b"x", [0; 4])).collect();
    link.send(a, &pings);
    link.settle();
    let pongs = |link: &Link| {
        let pong = |got: &&Got| matches!(got, Got::Pong(_));
        link.pipes[a].got.iter().filter(pong).count()
    };
    assert!((99..=101).contains(&pongs(&link)), "{}", pongs(&link));
    link.advance(2_000);
    assert!((299..=301).contains(&pongs(&link)), "{}", pongs(&link));
    leak_check_later(link);
}

#[test]
fn broadcasts_have_a_rate_of_their_own() {
    let mut link = paced(1_000, 10, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    let all: Vec<u8> = (0..50).flat_map(|n| text(&format!("to all {n}"))).collect();
    link.send(a, &all);
    link.settle();
    let burst = heard(&link, b);
    assert!((9..=11).contains(&burst), "{burst}");
    link.advance(2_000);
    assert!(heard(&link, b).abs_diff(burst + 20) <= 1, "{}", heard(&link, b));
    // Messages to one user are not slowed down by the rate of broadcasts.
    link.send(b, &(0..500).flat_map(|_| text(&to("B", "x"))).collect::<Vec<u8>>());
    let before = heard(&link, b);
    link.settle();
    assert_eq!(heard(&link, b), before + 500);
    link.advance(3_000);
    let last = link.pipes[a].texts().last().map(|text| (*text).to_owned());
    assert!(last.unwrap().contains("to all 49"));
    leak_check(link);
}

/// Half of the credit is 500 messages, the other half is 5 messages to everyone. The order
/// does not matter.
#[test]
fn the_messages_and_the_broadcasts_of_one_read_use_one_credit() {
    let broadcasts =
        |most| (0..most).flat_map(|n| text(&format!("to all {n}"))).collect::<Vec<u8>>();
    for broadcasts_first in [false, true] {
        let mut link = paced(1_000, 10, SECOND);
        let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
        link.advance(1_000);
        let read = if broadcasts_first {
            [broadcasts(5), numbered(0..1_000)].concat()
        } else {
            [numbered(0..500), broadcasts(50)].concat()
        };
        link.send(a, &read);
        link.settle();
        let texts = link.pipes[b].texts();
        let to_all = texts.iter().filter(|text| text.contains("to all")).count();
        let to_b = texts.len() - to_all;
        assert!((499..=506).contains(&to_b), "{to_b} messages to one, {to_all} to everyone");
        assert!((5..=7).contains(&to_all), "{to_b} messages to one, {to_all} to everyone");
        drop(texts);
        leak_check_later(link);
    }
}

#[test]
fn broadcasts_alone_may_be_limited() {
    let mut link = paced(0, 5, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(a, &numbered(0..3_000));
    link.settle();
    assert_eq!(heard(&link, b), 3_000);
    // Each message comes in a read of its own.
    for _ in 0..100 {
        link.send(a, &text("x"));
        link.turn();
    }
    link.settle();
    let burst = heard(&link, b) - 3_000;
    assert!((5..=7).contains(&burst), "{burst}");
    link.advance(20_000);
    assert_eq!(heard(&link, b), 3_100);
    leak_check(link);
}

#[test]
fn a_connection_that_keeps_to_its_rate_never_waits_and_has_no_record_of_a_debt() {
    let mut link = paced(100, 20, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    for round in 0..2_000 {
        link.advance(10);
        link.send(a, &text(&to("B", "x")));
        link.settle();
        assert_eq!(heard(&link, b), round + 1);
    }
    for round in 0..200 {
        link.advance(60);
        link.send(a, &text("to all"));
        link.settle();
        assert_eq!(heard(&link, b), 2_000 + round + 1);
    }
    assert_eq!(link.hub.stats().held_back, 0);
    leak_check(link);
}

#[test]
fn the_rate_also_counts_messages_that_arrive_one_in_each_read() {
    let mut link = paced(100, 0, SECOND);
    let a = enter(&mut link, "A");
    link.advance(1_000);
    // The client sends twice as fast as it may.
    let mut sent = 0;
    while link.now < 11_000 {
        link.send(a, &text(PING));
        sent += 1;
        link.advance(5);
    }
    let answered = heard(&link, a);
    assert!((1_080..=1_120).contains(&answered), "{answered} of {sent}");
    link.advance(20_000);
    assert_eq!(heard(&link, a), sent, "nothing is dropped");
    leak_check(link);
}

#[test]
fn the_next_connection_in_a_slot_does_not_inherit_the_debt_of_the_last_one() {
    let mut link = paced(10, 0, SECOND);
    let a = enter(&mut link, "A");
    link.advance(1_000);
    link.send(a, &(0..5).flat_map(|_| text(PING)).collect::<Vec<u8>>());
    link.settle();
    link.finish(a);
    link.settle();
    let slot = link.pipes[a].conn.index();
    let next = enter(&mut link, "next");
    assert_eq!(link.pipes[next].conn.index(), slot);
    link.advance(100);
    link.send(next, &(0..9).flat_map(|_| text(PING)).collect::<Vec<u8>>());
    link.settle();
    assert_eq!(heard(&link, next), 9);
    leak_check(link);
}

#[test]
fn without_a_rate_no_connection_waits() {
    let mut link = paced(0, 0, Duration::ZERO);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.send(a, &numbered(0..20_000));
    link.settle();
    assert_eq!((heard(&link, b), link.hub.stats().held_back), (20_000, 0));
    leak_check(link);
}

/// The bytes of a sender are cut at random, and budgets may be small. All messages arrive in order, and
/// never faster than they may.
#[test]
fn no_connection_is_faster_than_its_rate_and_no_message_is_lost() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let rate = *rng.pick(&[20_u32, 100, 3_000]);
        let burst = *rng.pick(&[0_u64, 100, 2_000]);
        let mut config = Config::default();
        (config.message_rate, config.broadcast_rate) = (rate, 0);
        config.rate_burst = Duration::from_millis(burst);
        config.work_per_turn = *rng.pick(&[16_384, 50, 2]);
        let mut link = link_with(config);
        link.read_size = *rng.pick(&[65_536, 300, 7]);
        let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
        link.advance(5_000);
        let started = link.now;
        let mut sent = 0;
        let mut bytes = std::collections::VecDeque::new();
        while sent < 400 {
            for _ in 0..rng.range(1, 60) {
                bytes.extend(frame(0x81, to("B", &sent.to_string()).as_bytes(), rng.mask()));
                sent += 1;
            }
            let cut = rng.range(0, bytes.len());
            let piece: Vec<u8> = bytes.drain(..cut).collect();
            link.send(a, &piece);
            link.advance(rng.below(120));
            let passed = link.now - started + 16;
            let most = 2 + (passed + burst) * u64::from(rate) / 1_000;
            assert!(heard(&link, b) as u64 <= most, "seed {seed}: {} > {most}", heard(&link, b));
        }
        let rest: Vec<u8> = bytes.drain(..).collect();
        link.send(a, &rest);
        // Without a burst a connection loses the time by which the wheel rounds up.
        link.advance(40_000);
        let expected: Vec<String> = (0..sent).map(|n| from("A", "B", &n.to_string())).collect();
        let texts = link.pipes[b].texts();
        let closed = &link.handler().looker.closed;
        assert!(texts == expected, "seed {seed}: {} of {sent}, {closed:?}", texts.len());
        leak_check(link);
    }
}

#[test]
fn a_broadcast_that_the_host_charges_between_turns_is_owed_like_any_other() {
    let mut link = paced(0, 10, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(10_000);
    let conn = link.pipes[a].conn;
    (0..30).for_each(|_| link.hub.charge_broadcast(conn));
    say(&mut link, a, "to all");
    say(&mut link, a, "to all again");
    let before = heard(&link, b);
    assert!(before <= 1, "it owes for three seconds and has credit for one");
    link.advance(1_800);
    assert_eq!(heard(&link, b), before);
    link.advance(600);
    assert_eq!(heard(&link, b), 2);
    leak_check(link);
}

#[test]
fn a_charge_for_a_connection_that_is_gone_is_charged_to_no_other_connection() {
    let mut link = paced(0, 10, SECOND);
    let (gone, b) = (enter(&mut link, "gone"), enter(&mut link, "B"));
    let conn = link.pipes[gone].conn;
    link.finish(gone);
    link.settle();
    link.hub.charge_broadcast(conn);
    let next = enter(&mut link, "next");
    assert_eq!(link.pipes[next].conn.index(), conn.index(), "the slot is used again");
    (0..100).for_each(|_| link.hub.charge_broadcast(conn));
    say(&mut link, next, "to all");
    say(&mut link, next, "to all again");
    assert_eq!(heard(&link, b), 2);
    leak_check(link);
}

/// A connection that is held to its credit must not use up the turn's work, because others would
/// wait for it.
#[test]
fn a_message_that_must_wait_for_its_rate_takes_no_work_of_the_turn() {
    for all in [numbered(0..1_000), text("to all").repeat(1_000)] {
        let mut link = paced(100, 50, SECOND);
        let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
        let (c, d) = (enter(&mut link, "C"), enter(&mut link, "D"));
        link.advance(1_000);
        for n in 0..50 {
            say(&mut link, b, &to("C", &n.to_string()));
        }
        link.advance(1_000);
        link.send(a, &all);
        link.send(c, &text(&to("D", "hello")));
        link.turn();
        let conn = link.pipes[d].conn;
        link.settle();
        assert!(link.hub.is_open(conn));
        assert_eq!(link.exhausted, 0, "the turn has work left");
        let greeting = from("C", "D", "hello");
        assert!(link.pipes[d].texts().contains(&greeting.as_str()));
        leak_check_later(link);
    }
}

#[test]
fn messages_within_the_rate_are_handled_in_one_turn() {
    let mut link = paced(100, 20, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(b, &text(PING).repeat(60));
    link.advance(5_000);
    let some = [text("to all"), numbered(0..10), text("to all"), numbered(0..10)].concat();
    link.send(a, &some);
    link.turn();
    assert_eq!(link.hub.stats().messages_in, 60 + 22);
    leak_check(link);
}

/// A message to a user who is not there. It takes one unit of work.
fn to_nobody() -> Vec<u8> {
    text(&to("nobody", "x"))
}

/// The messages reach nobody, so they take only their own work, and one read handles them all.
#[test]
fn messages_before_a_broadcast_in_the_same_read_use_its_credit_and_earlier_reads_do_not() {
    let mut link = paced(1_000, 10, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(a, &[to_nobody().repeat(500), text("to all").repeat(50)].concat());
    link.settle();
    let burst = heard(&link, b);
    assert!((5..=7).contains(&burst), "{burst}");

    let mut link = paced(1_000, 10, SECOND);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    link.send(b, &to_nobody().repeat(900));
    link.advance(5_000);
    let before = link.hub.stats().messages_in;
    let (conn, now) = (link.pipes[a].conn, link.instant());
    link.hub.receive(conn, &mut [to_nobody(), text("to all").repeat(3)].concat(), now);
    assert_eq!(link.hub.stats().messages_in - before, 4, "no message waits");
    leak_check_later(link);
}

#[test]
fn a_lone_broadcast_costs_the_price_of_a_message_too_and_a_wait_is_counted_once() {
    // A message costs 100 ms, a broadcast 100 ms more, and a connection may owe 900 ms.
    let mut link = paced(10, 5, SECOND);
    let a = enter(&mut link, "A");
    link.advance(10_000);
    let conn = link.pipes[a].conn;
    (0..9).for_each(|_| link.hub.charge_broadcast(conn));
    say(&mut link, a, PING);
    assert_eq!((heard(&link, a), link.hub.stats().held_back), (0, 1), "it owes 1,000 ms");
    link.advance(200);
    assert_eq!(heard(&link, a), 1);
    leak_check_later(link);
}

/// A deadline of the request must not take the place of the time at which the debt is paid.
#[test]
fn a_connection_that_was_kept_for_a_second_request_waits_for_its_rate_no_longer_than_others() {
    let mut link = paced(10, 0, Duration::from_millis(100));
    let a = link.connect().unwrap();
    link.send(a, &longlink::sim::frames::request("GET", "/healthz", ""));
    link.settle();
    link.send(a, &handshake("/websocket/A", ""));
    link.settle();
    link.advance(1_000);
    link.send(a, &text(PING).repeat(2));
    link.advance(500);
    let pongs = link.pipes[a].texts().iter().filter(|text| text.contains("pong")).count();
    assert_eq!(pongs, 2);
    leak_check(link);
}
