//! Writing: no byte is lost or written twice, and one turn writes to a connection once.

use std::io::ErrorKind;

use longlink::CloseReason;
use mio::Interest;

use crate::fake::{Output, READABLE, Rig, WRITABLE};
use longlink::sim::frames::{self, text, texts};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[test]
fn a_partial_write_goes_on_exactly_where_it_stopped() {
    let message = "0123456789".repeat(20);
    for stop in [0, 1, 2, 3, 4, 5, 100, 201, 202] {
        let mut rig = Rig::new(|_| {});
        let client = rig.connect("a");
        client.script(Output::Take(stop));
        client.script(Output::Take(1));
        rig.receive(&client, &text(&message));
        assert_eq!(client.writes(), 1, "blocked after {stop} bytes");
        assert!(!rig.is_busy(), "it waits for the socket, not for the clock");
        for expected in 2..=3 {
            rig.event(&client, WRITABLE);
            rig.tick();
            assert_eq!(client.writes(), expected);
        }
        rig.settle();
        assert_eq!(texts(&client.take()), [message.as_str()]);
        assert_eq!(rig.hub().buffered(), 0);
    }
}

#[test]
fn messages_queued_while_the_socket_is_blocked_follow_in_order() {
    let mut rig = Rig::new(|_| {});
    let (slow, other) = (rig.connect("slow"), rig.connect("other"));
    let conn = rig.conn(&slow);
    slow.script(Output::Error(ErrorKind::WouldBlock));
    let mut sent = Vec::new();
    for n in 0..50 {
        let message = format!("message {n}");
        if n % 3 == 0 {
            rig.hub().broadcast(&message);
        } else {
            assert!(rig.hub().send(conn, &message));
        }
        sent.push(message);
        rig.tick();
    }
    assert_eq!(slow.writes(), 1, "a blocked socket is left alone");
    assert_eq!(texts(&other.take()).len(), 17);
    for step in 1.. {
        slow.script(Output::Take(step));
        rig.event(&slow, WRITABLE);
        rig.tick();
        if rig.hub().queued(conn) == 0 {
            break;
        }
    }
    rig.settle();
    assert_eq!(texts(&slow.take()), sent);
    assert_eq!(rig.hub().buffered(), 0);
    assert_eq!(rig.handler().drained, 1);
}

#[test]
fn more_pieces_than_one_write_takes_are_written_over_several_turns() {
    let mut rig = Rig::new(|_| {});
    let (a, b) = (rig.connect("a"), rig.connect("b"));
    let (to_a, to_b) = (rig.conn(&a), rig.conn(&b));
    // The messages alternate, so no two frames for one connection are adjacent, and they are too long
    // to be copied behind each other.
    let long = "x".repeat(520);
    let all: Vec<String> = (0..200).map(|n| format!("message {n} {long}")).collect();
    for message in &all {
        assert!(rig.hub().send(to_a, message));
        assert!(rig.hub().send(to_b, message));
    }
    for turn in 1..=4 {
        rig.tick();
        assert_eq!((a.writes(), b.writes()), (turn, turn), "one write a turn");
    }
    rig.settle();
    assert_eq!(a.writes(), 4);
    assert_eq!(a.0.borrow().slices, 64);
    assert_eq!(texts(&a.take()), all);
    assert_eq!(texts(&b.take()), all);
    assert!(a.reregistrations().is_empty(), "the socket never blocked");
    assert_eq!(rig.hub().buffered(), 0);
}

#[test]
fn a_vectored_write_that_stops_inside_any_piece_goes_on_there() {
    let mut rig = Rig::new(|_| {});
    let (a, b) = (rig.connect("a"), rig.connect("b"));
    let (to_a, to_b) = (rig.conn(&a), rig.conn(&b));
    let mut sent = Vec::new();
    for round in 0..40 {
        for n in 0..70 {
            let message = format!("{round}.{n}");
            rig.hub().send(to_a, &message);
            rig.hub().send(to_b, &message);
            sent.push(message);
        }
        a.script(Output::Take(round * 7));
        rig.tick();
        rig.event(&a, WRITABLE);
        rig.tick();
        rig.settle();
    }
    assert_eq!(texts(&a.take()), sent);
    assert_eq!(texts(&b.take()), sent);
}

#[test]
fn a_connection_is_registered_once_and_never_again_in_the_steady_state() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    for _ in 0..100 {
        rig.receive(&client, &text("hello"));
    }
    assert_eq!(client.0.borrow().registered, 1);
    assert!(client.reregistrations().is_empty());
}

#[test]
fn write_readiness_is_registered_when_a_socket_blocks_and_given_up_when_it_has_drained() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    client.script(Output::Take(3));
    rig.receive(&client, &text("hello"));
    assert_eq!(client.reregistrations(), [BOTH]);
    rig.event(&client, WRITABLE);
    rig.tick();
    rig.settle();
    assert_eq!(client.reregistrations(), [BOTH, Interest::READABLE]);
    rig.receive(&client, &text("again"));
    assert_eq!(client.reregistrations().len(), 2);
    assert_eq!(texts(&client.take()), ["hello", "again"]);
}

#[test]
fn a_blocked_connection_is_still_read() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    client.script(Output::Error(ErrorKind::WouldBlock));
    for n in 0..5 {
        rig.receive(&client, &text(&n.to_string()));
    }
    assert_eq!((client.reads(), client.writes()), (5, 1));
    rig.event(&client, WRITABLE);
    rig.tick();
    assert_eq!(texts(&client.take()), ["0", "1", "2", "3", "4"]);
    assert_eq!(client.writes(), 2, "all that waited leaves in one write");
}

#[test]
fn an_interrupted_write_is_tried_again() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    client.script(Output::Error(ErrorKind::Interrupted));
    rig.receive(&client, &text("hello"));
    rig.settle();
    assert_eq!(texts(&client.take()), ["hello"]);
    assert!(client.reregistrations().is_empty());
}

#[test]
fn a_failed_write_ends_only_that_connection() {
    let mut rig = Rig::new(|_| {});
    let (victim, bystander) = (rig.connect("a"), rig.connect("b"));
    victim.script(Output::Error(ErrorKind::BrokenPipe));
    rig.hub().broadcast("to all");
    rig.tick();
    assert!(victim.is_dropped());
    assert_eq!(rig.handler().closed[0].1, CloseReason::Io(ErrorKind::BrokenPipe));
    assert_eq!(texts(&bystander.take()), ["to all"]);
}

#[test]
fn a_turn_writes_as_often_as_its_budget_allows_and_the_rest_keeps_the_loop_awake() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 3);
    let clients: Vec<_> = (0..20).map(|n| rig.connect(&n.to_string())).collect();
    rig.hub().broadcast("to all");
    for turn in 1..=7 {
        assert!(rig.is_busy());
        rig.tick();
        let written = clients.iter().map(|client| client.writes()).sum::<usize>();
        assert_eq!(written, (3 * turn).min(20));
    }
    assert!(!rig.is_busy());
    for client in &clients {
        assert_eq!(texts(&client.take()), ["to all"]);
    }
}

#[test]
fn a_reply_does_not_wait_for_a_whole_fan_out() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 4);
    let clients: Vec<_> = (0..80).map(|n| rig.connect(&n.to_string())).collect();
    rig.hub().broadcast("to all");
    rig.tick();
    let waiting = clients.iter().find(|client| client.writes() == 0).unwrap();
    rig.receive(waiting, &text("quick"));
    assert_eq!(texts(&waiting.take()), ["to all", "quick"], "in the order they were queued");
    assert!(rig.is_busy(), "the fan-out is not over");
    rig.settle();
    assert_eq!(clients.iter().filter(|client| client.writes() == 1).count(), 80);
}

#[test]
fn a_burst_to_a_client_that_reads_does_not_drop_it() {
    let mut rig = Rig::new(|_| {});
    let (sender, receiver) = (rig.connect("a"), rig.connect("b"));
    // The echoes together are more than a queue may hold.
    rig.hub().broadcast("hello");
    rig.tick();
    let message = "m".repeat(1_000);
    let count = 60 * 1_024 / message.len();
    let bytes = text(&message).repeat(count);
    for _ in 0..8 {
        sender.feed(&bytes);
    }
    rig.event(&sender, READABLE);
    rig.tick();
    for _ in 0..8 {
        rig.event(&sender, READABLE);
        rig.tick();
    }
    rig.settle();
    assert_eq!(texts(&sender.take()).len(), 8 * count + 1);
    assert_eq!(texts(&receiver.take()), ["hello"]);
    assert!(rig.handler().closed.is_empty());
}

#[test]
fn one_segment_of_pings_larger_than_the_queue_is_answered_whole() {
    let mut rig = Rig::new(|config| {
        config.max_message = 100;
        config.max_queue = 200;
    });
    let client = rig.connect("a");
    let ping = frames::masked(frames::FIN | frames::PING, b"are you there");
    rig.receive(&client, &ping.repeat(1_000));
    rig.settle();
    assert_eq!(frames::all(&client.take()).len(), 1_000);
    assert!(rig.handler().closed.is_empty(), "its own pings are no slow reading");
}

#[test]
fn nine_thousand_one_byte_messages_in_one_segment_overflow_no_queue() {
    // Each becomes ten times as long, so one read fills a queue twice over.
    let mut rig = Rig::new(|config| config.work_per_turn = 100_000);
    let (sender, receiver) = (rig.connect("a"), rig.connect("b"));
    rig.handler().shout = Some("y".repeat(60));
    rig.receive(&sender, &text("x").repeat(9_000));
    rig.settle();
    assert!(rig.handler().closed.is_empty(), "{:?}", rig.handler().closed);
    for client in [&sender, &receiver] {
        assert_eq!(texts(&client.take()).len(), 9_000);
    }
}

#[test]
fn new_broadcasts_wait_until_the_last_ones_were_written() {
    // Far more receivers than are written to in a turn, and long messages.
    let mut rig = Rig::new(|config| config.writes_per_turn = 2);
    let clients: Vec<_> = (0..50).map(|n| rig.connect(&n.to_string())).collect();
    rig.handler().shout = Some("y".repeat(60_000));
    let other = rig.connect("other");
    for sender in &clients[..10] {
        sender.feed(&text("x").repeat(4));
        rig.event(sender, READABLE);
    }
    rig.settle();
    assert!(rig.handler().closed.is_empty(), "{:?}", rig.handler().closed.len());
    for client in clients.iter().chain([&other]) {
        assert_eq!(texts(&client.take()).len(), 40);
    }
}

#[test]
fn a_message_that_is_too_long_for_any_queue_goes_to_nobody_and_ends_no_connection() {
    let mut rig = Rig::new(|_| {});
    let (sender, receiver) = (rig.connect("a"), rig.connect("b"));
    rig.handler().shout = Some("y".repeat(300_000));
    rig.receive(&sender, &text("x").repeat(3));
    rig.handler().shout = None;
    rig.receive(&sender, &text("fine"));
    rig.settle();
    assert_eq!(texts(&sender.take()), ["fine"]);
    assert!(receiver.take().is_empty());
    assert!(rig.handler().closed.is_empty());
}

#[test]
fn messages_as_long_as_a_whole_queue_reach_a_client_that_reads() {
    // The smallest queue that the configuration allows.
    let mut rig = Rig::new(|config| {
        config.max_message = 1_000;
        config.max_queue = 1_014;
    });
    let senders: Vec<_> = (0..5).map(|n| rig.connect(&n.to_string())).collect();
    let receiver = rig.connect("b");
    rig.handler().shout = Some("y".repeat(1_000));
    receiver.feed(&frames::masked(frames::FIN | frames::PING, b"in the way"));
    rig.event(&receiver, READABLE);
    for sender in &senders {
        sender.feed(&text("x"));
        rig.event(sender, READABLE);
    }
    rig.settle();
    assert!(rig.handler().closed.is_empty(), "{:?}", rig.handler().closed);
    assert_eq!(texts(&receiver.take()).len(), 5);
}

#[test]
fn a_peer_that_stops_reading_fills_one_queue_and_is_then_dropped() {
    let mut rig = Rig::new(|_| {});
    let (sender, stalled) = (rig.connect("a"), rig.connect("b"));
    let conn = rig.conn(&stalled);
    rig.handler().shout = Some("y".repeat(10_000));
    stalled.script(Output::Error(ErrorKind::WouldBlock));
    let mut most = 0;
    for n in 1..=30 {
        rig.receive(&sender, &text("x"));
        most = most.max(rig.hub().queued(conn));
        assert_eq!(texts(&sender.take()).len(), 1, "message {n}");
    }
    assert!((250_000..=262_144).contains(&most), "{most}");
    assert!(stalled.is_dropped());
    assert_eq!(rig.handler().closed, [(conn, CloseReason::SlowReader)]);
    assert_eq!(rig.hub().buffered(), 0);
}
