//! Budgets and bounds: what happens when they are reached, and what must not be lost then.

use longlink::{CloseReason, Config};

use crate::*;
use longlink::sim::frames::{handshake, text};

#[test]
fn no_message_is_lost_when_the_work_budget_is_spent() {
    let mut config = Config::default();
    config.work_per_turn = 3;
    config.writes_per_turn = 2;
    let mut link = link_with(config);
    let pipes: Vec<usize> = (0..10).map(|user| enter(&mut link, &format!("u{user}"))).collect();
    for (user, &pipe) in pipes.iter().enumerate() {
        let all: Vec<u8> = (0..200)
            .flat_map(|n| text(&to(&format!("u{}", (user + 1) % 10), &n.to_string())))
            .collect();
        link.send(pipe, &all);
        link.finish(pipe);
    }
    link.settle();
    assert!(link.turns > 600);
    // A client that finished first was gone before its sender had sent everything. No client got a
    // message twice or out of order.
    let mut total = 0;
    for (user, &pipe) in pipes.iter().enumerate() {
        let sender = format!("u{}", (user + 9) % 10);
        let receiver = format!("u{user}");
        for (n, got) in link.pipes[pipe].texts().iter().enumerate() {
            assert_eq!(*got, from(&sender, &receiver, &n.to_string()));
            total += 1;
        }
    }
    assert!(total > 1_500, "{total}");
    leak_check(link);
}

#[test]
fn a_flood_of_broadcasts_does_not_keep_other_connections_from_being_handled() {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate) = (0, 0);
    config.work_per_turn = 100;
    let mut link = link_with(config);
    let flooder = enter(&mut link, "flooder");
    let other = enter(&mut link, "other");
    for user in 0..200 {
        enter(&mut link, &format!("u{user}"));
    }
    let flood: Vec<u8> = (0..300).flat_map(|_| text("x")).collect();
    link.send(flooder, &flood);
    link.turn();
    link.turn();
    link.send(other, &text(PING));
    for _ in 0..20 {
        link.turn();
    }
    let pong = r#"{"type":"pong"}"#;
    assert!(link.pipes[other].texts().contains(&pong), "it waits behind the whole flood");
    link.settle();
    leak_check(link);
}

/// The limits are the default ones, but without rates. A test of the driver sends such a segment to
/// 10,000 receivers, but does not wait until everything is delivered, which would take a minute.
#[test]
fn nine_thousand_one_byte_broadcasts_in_one_segment_reach_a_thousand_receivers() {
    let receivers = 1_000;
    let due = r#"{"type":"broadcast","formUserId":"s","message":"x"}"#;
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate) = (0, 0);
    config.max_connections = receivers + 1;
    let mut link = link_with(config);
    for user in 0..receivers {
        let pipe = link.connect().unwrap();
        link.pipes[pipe].counted.0 = due.to_owned();
        link.send(pipe, &handshake(&format!("/websocket/u{user}"), ""));
    }
    link.settle();
    let sender = enter(&mut link, "s");
    link.pipes[sender].counted.0 = due.to_owned();
    let flood: Vec<u8> = (0..9_000).flat_map(|_| text("x")).collect();
    assert!(flood.len() <= longlink::run::READ_SIZE);
    link.send(sender, &flood);
    link.settle();
    for pipe in &link.pipes {
        assert_eq!((pipe.counted.1, pipe.got.len()), (9_000, 1), "all of them, and the 101");
    }
    leak_check(link);
}

#[test]
fn a_long_broadcast_that_grows_by_escaping_ends_no_connection() {
    let mut link = link();
    let sender = enter(&mut link, "A");
    let reader = enter(&mut link, "B");
    let slow = enter(&mut link, "C");
    link.set_reading(slow, false);
    say(&mut link, sender, "hello");
    say(&mut link, sender, &"\u{1}".repeat(65_536));
    assert!([sender, reader, slow].into_iter().all(|pipe| is_open(&link, pipe)));
    assert_eq!(link.hub.stats().too_long, 1);
    say(&mut link, sender, "on we go");
    assert_eq!(link.pipes[reader].texts().len(), 2);
    leak_check(link);
}

#[test]
fn when_memory_is_short_no_connection_is_ended_for_bytes_that_are_written_in_the_same_turn() {
    let mut config = Config::default();
    config.max_buffered = 10_000;
    let mut link = link_with(config);
    let slow_sender = enter(&mut link, "A");
    let sender = enter(&mut link, "B");
    // Half a message waits, which is only a few bytes.
    link.send(slow_sender, &text("half of this")[..8]);
    link.settle();
    say(&mut link, sender, &to("B", &"x".repeat(20_000)));
    assert_eq!(link.pipes[sender].texts().len(), 1, "the message was written in the same turn");
    assert!(is_open(&link, slow_sender), "no connection was ended for it");
    leak_check(link);
}

#[test]
fn past_max_buffered_the_connections_that_hold_most_are_ended() {
    let mut config = Config::default();
    config.max_buffered = 100_000;
    let mut link = link_with(config);
    link.capacity = 100;
    let stalled: Vec<usize> = (0..3).map(|user| enter(&mut link, &format!("s{user}"))).collect();
    stalled.iter().for_each(|&pipe| link.set_reading(pipe, false));
    let sender = enter(&mut link, "A");
    for round in 0..9 {
        for (user, _) in stalled.iter().enumerate() {
            let message = "x".repeat(3_000 + 1_000 * user);
            say(&mut link, sender, &to(&format!("s{user}"), &message));
            assert!(link.hub.buffered() <= 100_000, "in round {round}");
        }
    }
    let open: Vec<bool> = stalled.iter().map(|&pipe| is_open(&link, pipe)).collect();
    assert_eq!(open, [true, true, false]);
    assert_eq!(link.handler().looker.closed, [("s2".to_owned(), CloseReason::Memory)]);
    leak_check(link);
}

#[test]
fn a_thousand_clients_that_never_read_hold_no_more_memory_than_the_bounds_allow() {
    let mut config = Config::default();
    config.max_queue = 70_000;
    config.max_message = 60_000;
    config.max_buffered = 4_000_000;
    let mut link = link_with(config);
    link.capacity = 1_000;
    for user in 0..1_000 {
        let pipe = link.connect().unwrap();
        link.send(pipe, &handshake(&format!("/websocket/s{user}"), ""));
    }
    link.settle();
    (0..1_000).for_each(|pipe| link.set_reading(pipe, false));
    link.capacity = 1 << 20;
    let sender = enter(&mut link, "A");
    for _ in 0..30 {
        say(&mut link, sender, &"x".repeat(5_000));
        assert!(link.hub.buffered() <= 4_000_000);
    }
    assert_eq!(link.pipes[sender].texts().len(), 30, "a client that reads gets everything");
    assert_eq!(link.hub.stats().slow_readers, 1_000);
    leak_check(link);
}

#[test]
fn a_broadcast_that_is_being_written_is_pending_for_a_connection_and_is_written_to_it_once() {
    let mut link = link();
    let pipes = [enter(&mut link, "a"), enter(&mut link, "b"), enter(&mut link, "c")];
    let conns = pipes.map(|pipe| link.pipes[pipe].conn);
    assert_eq!(link.hub.broadcast("to all"), 3);
    // The loop may write to a connection that the hub has not handed out for writing.
    let pending = link.hub.pending(conns[1]).expect("bytes").single().expect("one slice").len();
    assert_eq!(pending, link.hub.queued(conns[1]));
    assert_eq!(link.hub.sent(conns[1], pending), longlink::run::Sent::Nothing);
    assert_eq!(conns.map(|conn| link.hub.queued(conn)), [pending, 0, pending]);
    link.settle();
    let got = pipes.map(|pipe| link.pipes[pipe].texts().len());
    assert_eq!(got, [1, 0, 1]);
    leak_check(link);
}

#[test]
fn a_limit_of_one_connection_for_each_user_lets_a_second_one_in_after_the_first() {
    let mut config = Config::default();
    config.max_per_user = 1;
    let mut link = link_with(config);
    let first = enter(&mut link, "A");
    let second = enter(&mut link, "A");
    link.advance(1_100);
    assert_eq!((status(&link, second), is_open(&link, first)), (Some(503), true));
    link.finish(first);
    link.settle();
    let third = enter(&mut link, "A");
    assert!(is_open(&link, third));
    leak_check(link);
}

#[test]
fn the_next_connection_in_a_slot_has_a_number_of_its_own() {
    let mut link = link();
    let first = enter(&mut link, "A");
    link.finish(first);
    link.settle();
    let second = enter(&mut link, "A");
    let [first, second] = [first, second].map(|pipe| link.pipes[pipe].conn);
    assert_eq!(first.index(), second.index());
    assert_ne!(first.serial(), second.serial());
    assert_eq!((link.hub.user(first), link.hub.user(second)), (None, Some("A")));
    leak_check(link);
}

#[test]
fn the_slices_of_a_queue_are_all_of_its_bytes_and_none_of_the_slices_is_empty() {
    use std::io::IoSlice;

    let mut link = link();
    let pipe = enter(&mut link, "a");
    enter(&mut link, "b");
    let conn = link.pipes[pipe].conn;
    let offered = |link: &Link| -> Vec<usize> {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = link.hub.pending(conn).expect("bytes").gather(&mut slices);
        slices[..count].iter().map(|slice| slice.len()).collect()
    };
    // The broadcast has not been queued: the writes walk over the connections with it.
    assert_eq!(link.hub.broadcast("to all"), 2);
    assert_eq!(offered(&link), [link.hub.queued(conn)]);
    // These messages are queued, and one between them is for another connection. The last one is too
    // long to be copied behind the first one.
    assert!(link.hub.send(conn, "one"));
    link.hub.send_to_user("b", "two");
    let three = "three ".repeat(100);
    assert!(link.hub.send(conn, &three));
    let slices = offered(&link);
    assert_eq!(slices.iter().sum::<usize>(), link.hub.queued(conn));
    assert!(slices.len() > 1 && slices.iter().all(|length| *length > 0), "{slices:?}");
    link.settle();
    assert_eq!(link.pipes[pipe].texts(), ["to all", "one", &three]);
    leak_check(link);
}

#[test]
fn a_hub_without_room_refuses_a_connection_and_accepts_one_after_another_has_ended() {
    let mut config = Config::default();
    config.max_connections = 1;
    let mut link = link_with(config);
    let pipes: Vec<usize> = std::iter::from_fn(|| link.connect()).collect();
    assert_eq!(pipes.len(), 33, "32 more are taken in to be told that the server is full");
    let now = link.instant();
    let error = link.hub.open(longlink::Peer::UNKNOWN, true, now).unwrap_err();
    assert_eq!(error.to_string(), "all connections are in use");
    link.finish(pipes[7]);
    link.settle();
    assert!(link.connect().is_some());
    leak_check(link);
}

#[test]
fn pushes_to_everyone_and_to_a_group_are_counted_as_one_each() {
    let mut link = link();
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    let conn = link.pipes[b].conn;
    link.hub.join(conn, "room").unwrap();
    let (cx, spy) = link.hub.parts();
    assert_eq!(spy.handler.push_to_all(cx, "shop", "hello", &[]), 2);
    assert_eq!(spy.handler.counters().broadcasts, 1);
    assert_eq!(spy.handler.push_to_group(cx, "shop", "room", "hello", &[]), 1);
    assert_eq!(spy.handler.counters().broadcasts, 2);
    link.settle();
    assert_eq!([a, b].map(|pipe| link.pipes[pipe].texts().len()), [1, 2]);
    leak_check(link);
}

/// The memory for what is to be written, as `Context::has_memory_for` tells it, is exact to a byte.
#[test]
fn a_message_has_to_fit_twice_into_the_memory_unless_little_waits_for_its_turn() {
    let mut config = Config::default();
    (config.max_buffered, config.max_queue) = (400_000, 390_000);
    let mut link = link_with(config);
    let reader = enter(&mut link, "A");
    let reader = link.pipes[reader].conn;
    let ten = "x".repeat(10_000);
    assert!(link.hub.has_memory_for(1 << 30), "nothing waits for its turn");
    (0..5).for_each(|_| assert!(link.hub.send(reader, &ten)));
    let waiting = link.hub.waiting_for_writes();
    assert!(waiting > 50_000);
    let most = (400_000 - link.hub.buffered() - waiting) / 2;
    assert!(link.hub.has_memory_for(most) && !link.hub.has_memory_for(most + 1));
    link.settle();

    // A client that does not read holds nearly all of the memory. A quarter of the memory may still wait.
    link.capacity = 10;
    let slow = enter(&mut link, "slow");
    link.set_reading(slow, false);
    let slow_conn = link.pipes[slow].conn;
    for _ in 0..6 {
        (0..6).for_each(|_| assert!(link.hub.send(slow_conn, &ten)));
        link.settle();
    }
    assert!(link.hub.buffered() > 350_000 && link.hub.has_memory_for(1 << 30));
    assert!(link.hub.send(reader, &ten));
    let most = 100_000 - link.hub.waiting_for_writes();
    assert!(link.hub.has_memory_for(most) && !link.hub.has_memory_for(most + 1));
    link.pipes[slow].capacity = 1 << 20;
    leak_check(link);
}

#[test]
fn a_fan_out_that_is_too_long_or_finds_a_full_queue_reaches_nobody() {
    let mut config = Config::default();
    (config.max_message, config.max_queue) = (700, 714);
    let mut link = link_with(config);
    let (_a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    let conn = link.pipes[b].conn;
    link.hub.join(conn, "room").unwrap();
    let sent = |link: &mut Link, text: &str| {
        [
            link.hub.broadcast_except(text, &["A"]),
            link.hub.send_to_group("room", text),
            link.hub.send_to_group_except("room", text, &["A"]),
        ]
    };
    let long = "x".repeat(711);
    assert_eq!(sent(&mut link, &long), [0; 3]);
    assert_eq!(link.hub.stats().too_long, 3);
    let receivers = link.hub.fan_out(&long[1..], |out| {
        (0..5).for_each(|_| assert!(!out.send(conn, "1")));
    });
    assert_eq!((receivers, link.hub.stats().too_long), (0, 4), "a fan-out is one message");
    link.settle();
    assert!(is_open(&link, b) && link.pipes[b].texts().is_empty());
    assert_eq!(link.hub.broadcast_except(&long[1..], &["A"]), 1);
    link.settle();
    assert_eq!(link.pipes[b].texts(), [&long[1..]]);

    // More than a queue holds was sent to B in one turn. That is not B's fault.
    while link.hub.queued(conn) <= 714 {
        assert!(link.hub.send(conn, &"y".repeat(300)));
    }
    let before = link.hub.stats().overfull;
    assert_eq!(sent(&mut link, "z"), [0; 3]);
    assert_eq!(link.hub.stats().overfull, before + 3);
    link.settle();
    assert_eq!(sent(&mut link, "z"), [1; 3]);
    leak_check(link);
}

#[test]
fn a_hub_says_for_how_long_it_has_run() {
    let mut link = link();
    let _a = enter(&mut link, "A");
    link.advance(7_250);
    assert_eq!(link.hub.uptime(), std::time::Duration::from_millis(7_250));
    leak_check(link);
}
