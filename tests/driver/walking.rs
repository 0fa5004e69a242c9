//! What may happen while a broadcast is written to the connections, a few of them in each turn.
//! Each receiver gets the broadcast once, before anything that is sent after it.

use std::io::ErrorKind;
use std::time::Duration;

use longlink::{CloseReason, ConnId};

use crate::fake::{Client, Input, Output, READABLE, Rig, WRITABLE};
use longlink::sim::frames::{self, texts};

/// Opens `count` connections, and begins a broadcast of `length` bytes, which is written to the
/// first `reached` of them.
fn walking(count: usize, reached: u32, length: usize) -> (Rig, Vec<Client>, String) {
    let mut rig = Rig::new(|config| config.writes_per_turn = reached.max(1));
    let clients: Vec<_> = (0..count).map(|n| rig.connect(&format!("u{n}"))).collect();
    let message = "m".repeat(length);
    let before = rig.hub().stats().deliveries;
    assert_eq!(rig.hub().broadcast(&message), count);
    assert_eq!(rig.hub().stats().deliveries, before, "it is not queued");
    if reached > 0 {
        rig.tick();
    }
    let written = clients.iter().map(|client| client.writes()).sum::<usize>();
    assert_eq!(written, reached as usize);
    assert_eq!(rig.hub().stats().deliveries - before, u64::from(reached));
    assert!(rig.is_busy());
    (rig, clients, message)
}

/// Checks that no connection has ended, that no bytes are held, and that every connection has got
/// exactly the texts in `expected`.
fn assert_all_got(rig: &mut Rig, clients: &[Client], expected: &[&str]) {
    rig.settle();
    for (number, client) in clients.iter().enumerate() {
        assert!(texts(&client.take()) == expected, "client {number}");
    }
    assert_eq!(rig.hub().buffered(), 0);
    assert!(rig.handler().closed.is_empty(), "{:?}", rig.handler().closed);
}

fn ids(rig: &mut Rig, clients: &[Client]) -> Vec<ConnId> {
    clients.iter().map(|client| rig.conn(client)).collect()
}

#[test]
fn every_connection_gets_a_broadcast_in_the_order_of_the_slots() {
    let (mut rig, clients, message) = walking(10, 3, 100);
    for turn in 2..=4 {
        rig.tick();
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(client.writes(), usize::from(number < 3 * turn), "client {number}");
        }
    }
    assert!(!rig.is_busy());
    assert_eq!(rig.hub().stats().deliveries, 10);
    assert_all_got(&mut rig, &clients, &[&message]);
}

#[test]
fn a_broadcast_that_has_not_reached_a_connection_counts_as_queued_for_it() {
    let (mut rig, clients, _) = walking(4, 2, 100);
    let ids = ids(&mut rig, &clients);
    let queued: Vec<_> = ids.iter().map(|&id| rig.hub().queued(id)).collect();
    assert_eq!(queued, [0, 0, 102, 102]);
    let pending = rig.driver.hub().pending(ids[3]).unwrap();
    assert!(pending.single().unwrap().ends_with(b"mmm"));
}

#[test]
fn a_message_that_is_sent_during_a_broadcast_arrives_after_it() {
    let (mut rig, clients, message) = walking(6, 2, 100);
    for id in ids(&mut rig, &clients) {
        assert!(rig.hub().send(id, "to one"));
    }
    assert_eq!(rig.hub().stats().deliveries, 12, "what was left of it is queued");
    rig.tick();
    assert_eq!(rig.hub().broadcast("to all"), 6);
    for number in 0..6 {
        assert_eq!(rig.hub().send_to_user(&format!("u{number}"), "to the user"), 1);
    }
    assert_all_got(&mut rig, &clients, &[&message, "to one", "to all", "to the user"]);
}

#[test]
fn a_message_to_a_user_during_a_broadcast_arrives_after_it() {
    let (mut rig, clients, message) = walking(6, 2, 100);
    for number in (0..6).rev() {
        assert_eq!(rig.hub().send_to_user(&format!("u{number}"), "to the user"), 1);
    }
    assert_all_got(&mut rig, &clients, &[&message, "to the user"]);
}

#[test]
fn broadcasts_that_follow_each_other_arrive_in_order() {
    let (mut rig, clients, message) = walking(5, 2, 100);
    rig.settle();
    assert_eq!(rig.hub().broadcast("second"), 5);
    rig.tick();
    assert_eq!(rig.hub().broadcast("third"), 5);
    rig.tick();
    for id in ids(&mut rig, &clients) {
        rig.hub().join(id, "group").unwrap();
    }
    assert_eq!(rig.hub().send_to_group("group", "fourth"), 5);
    assert_all_got(&mut rig, &clients, &[&message, "second", "third", "fourth"]);
    assert_eq!(rig.hub().broadcast("fifth"), 5);
    assert_eq!(rig.hub().stats().deliveries, 20, "the fifth broadcast is not queued");
    rig.tick();
    assert_eq!(rig.hub().send_to_group("group", "sixth"), 5);
    assert_all_got(&mut rig, &clients, &["fifth", "sixth"]);
}

/// The socket of one connection, at any place in the order, takes the broadcast in different ways,
/// also after the buffer with the broadcast was followed by another buffer.
#[test]
fn a_socket_that_takes_only_a_part_of_a_broadcast_holds_up_no_other_connection() {
    for length in [100, 70_000] {
        for at in 0..6 {
            for how in 0..5 {
                let (mut rig, clients, message) = walking(6, 0, length);
                let odd = &clients[at];
                odd.script(match how {
                    0 => Output::Take(0),
                    1 => Output::Take(7),
                    2 => Output::Take(length),
                    3 => Output::Error(ErrorKind::WouldBlock),
                    _ => Output::Error(ErrorKind::Interrupted),
                });
                rig.settle();
                assert_eq!(rig.hub().stats().deliveries, 6);
                for (number, client) in clients.iter().enumerate() {
                    let whole = number != at || how == 4;
                    let written = client.0.borrow().written.len();
                    assert_eq!(written > length, whole, "{number} of {at}, {how}");
                }
                rig.hub().broadcast("next");
                rig.settle();
                rig.event(odd, WRITABLE);
                assert_all_got(&mut rig, &clients, &[&message, "next"]);
            }
        }
    }
}

#[test]
fn a_socket_that_fails_during_a_broadcast_ends_only_its_own_connection() {
    for length in [100, 70_000] {
        for at in 0..6 {
            let (mut rig, mut clients, message) = walking(6, 0, length);
            let failing = rig.conn(&clients[at]);
            clients[at].script(Output::Error(ErrorKind::BrokenPipe));
            rig.settle();
            let reason = CloseReason::Io(ErrorKind::BrokenPipe);
            assert_eq!(std::mem::take(&mut rig.handler().closed), [(failing, reason)]);
            assert!(clients.remove(at).take().is_empty());
            assert_all_got(&mut rig, &clients, &[&message]);
        }
    }
}

/// Connections with a ping in their queues take a slower path, but are written to in the same turn.
#[test]
fn a_connection_that_was_pinged_gets_a_broadcast_in_the_same_turn() {
    let mut rig = Rig::new(|_| {});
    let clients: Vec<_> = (0..6).map(|n| rig.connect(&n.to_string())).collect();
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.hub().stats().pings, 6);
    rig.settle();
    for client in &clients {
        assert_eq!(frames::all(&client.take()).len(), 1);
        client.reset_counters();
    }
    rig.hub().broadcast("to all");
    rig.tick();
    assert!(!rig.is_busy(), "one turn is enough");
    assert!(clients.iter().all(|client| client.writes() == 1));
    assert_all_got(&mut rig, &clients, &["to all"]);
}

/// The broadcast is long, and other buffers follow the one in which it is.
#[test]
fn a_connection_that_was_pinged_gets_a_long_broadcast_too() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 2);
    let clients: Vec<_> = (0..5).map(|n| rig.connect(&n.to_string())).collect();
    rig.pass(Duration::from_secs(30));
    rig.settle();
    for client in &clients[..4] {
        rig.receive(client, &frames::masked(frames::FIN | frames::PONG, b""));
    }
    for client in &clients {
        assert_eq!(frames::all(&client.take()).len(), 1);
    }
    let message = "m".repeat(70_000);
    rig.hub().broadcast(&message);
    assert_all_got(&mut rig, &clients, &[&message]);
}

#[test]
fn a_connection_that_opens_during_a_broadcast_does_not_get_it() {
    let (mut rig, mut clients, message) = walking(5, 2, 100);
    // The slot of a connection that the broadcast has not reached becomes free and is used again.
    let gone = clients.remove(3);
    let id = rig.conn(&gone);
    rig.hub().abort(id);
    rig.tick();
    assert!(gone.is_dropped() && gone.take().is_empty());
    rig.handler().closed.clear();
    let late = rig.connect("late");
    let late_id = rig.conn(&late);
    assert_eq!((late_id.index(), late_id == id), (id.index(), false));
    assert_all_got(&mut rig, &clients, &[&message]);
    assert_all_got(&mut rig, std::slice::from_ref(&late), &[]);
    clients.push(late);
    rig.hub().broadcast("later");
    assert_all_got(&mut rig, &clients, &["later"]);
}

/// The slot becomes free before the broadcast begins, and is used again before it ends.
#[test]
fn a_connection_that_takes_a_free_slot_that_a_broadcast_has_not_reached_does_not_get_it() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 1);
    let mut clients: Vec<_> = (0..5).map(|n| rig.connect(&n.to_string())).collect();
    let gone = clients.remove(3);
    let id = rig.conn(&gone);
    rig.hub().abort(id);
    rig.tick();
    rig.handler().closed.clear();
    assert_eq!(rig.hub().broadcast("first"), 4);
    rig.tick();
    let late = rig.knock();
    rig.tick();
    assert_eq!(rig.conn(&late).index(), id.index());
    assert!(
        clients.iter().any(|client| client.writes() == 0),
        "the broadcast has not reached all connections"
    );
    rig.receive(&late, &frames::handshake("/late", ""));
    rig.settle();
    assert!(late.take().starts_with(b"HTTP/1.1 101 "));
    assert_all_got(&mut rig, &clients, &["first"]);
    clients.push(late);
    rig.hub().broadcast("second");
    assert_all_got(&mut rig, &clients, &["second"]);
}

/// A connection that is parked during a broadcast gets it, because it was active when the broadcast
/// was sent.
#[test]
fn a_connection_that_is_parked_during_a_broadcast_gets_it_and_one_that_becomes_active_does_not() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 1);
    let clients: Vec<_> = (0..4).map(|n| rig.connect(&n.to_string())).collect();
    assert_eq!(rig.hub().broadcast("first"), 4);
    rig.tick();
    let newer = rig.connect("3");
    let parked = rig.conn(&clients[3]);
    assert!(rig.hub().is_parked(parked));
    assert_all_got(&mut rig, &clients, &["first"]);
    assert_all_got(&mut rig, std::slice::from_ref(&newer), &[]);

    assert_eq!(rig.hub().broadcast("second"), 4);
    rig.tick();
    let id = rig.conn(&newer);
    rig.hub().close(id, 4000, "");
    assert!(!rig.hub().is_parked(parked));
    assert_eq!(rig.hub().queued(parked), 0, "the broadcast was for the other connection");
    rig.settle();
    let frames = frames::all(&newer.take());
    assert_eq!((frames[0].text(), frames[1].close_code()), ("second", Some(4000)));
    assert!(clients[3].take().is_empty());
    assert_all_got(&mut rig, &clients[..3], &["second"]);
}

#[test]
fn a_connection_that_is_closed_during_a_broadcast_gets_it_before_the_close_frame() {
    let (mut rig, clients, message) = walking(6, 1, 100);
    for id in ids(&mut rig, &clients) {
        rig.hub().close(id, 4000, "bye");
    }
    rig.settle();
    for client in &clients {
        let frames = frames::all(&client.take());
        assert_eq!((frames[0].text(), frames[1].close_code()), (&message[..], Some(4000)));
        assert!(client.is_shut_down());
    }
}

#[test]
fn a_shutdown_during_a_broadcast_lets_the_broadcast_arrive_before_the_close_frames() {
    let (mut rig, clients, message) = walking(6, 1, 100);
    rig.driver.shutdown();
    rig.settle();
    for client in &clients {
        let frames = frames::all(&client.take());
        assert_eq!((frames[0].text(), frames[1].close_code()), (&message[..], Some(1001)));
        client.end();
        rig.event(client, READABLE);
    }
    rig.settle();
    assert!(rig.hub().is_drained());
}

#[test]
fn a_client_that_ends_its_side_during_a_broadcast_still_gets_it() {
    let (mut rig, clients, message) = walking(6, 2, 100);
    // The first of these clients is one that the broadcast has not reached.
    for client in clients.iter().rev() {
        client.end();
        rig.event(client, READABLE);
    }
    rig.settle();
    for client in &clients {
        assert_eq!(texts(&client.take()), [&message[..]]);
        assert!(client.is_dropped());
    }
    assert_eq!((rig.hub().buffered(), rig.hub().connections()), (0, 0));
}

#[test]
fn a_client_that_resets_during_a_broadcast_ends_only_its_own_connection() {
    let (mut rig, mut clients, message) = walking(6, 2, 100);
    for at in [5, 3, 0] {
        let client = clients.remove(at);
        client.0.borrow_mut().input.push_back(Input::Error(ErrorKind::ConnectionReset));
        rig.event(&client, READABLE);
    }
    rig.tick();
    assert_eq!(std::mem::take(&mut rig.handler().closed).len(), 3);
    assert_all_got(&mut rig, &clients, &[&message]);
}

#[test]
fn control_frames_that_are_queued_during_a_broadcast_arrive_after_it() {
    let (mut rig, clients, message) = walking(4, 1, 100);
    for client in &clients {
        client.feed(&frames::masked(frames::FIN | frames::PING, b"there?"));
        rig.event(client, READABLE);
    }
    rig.settle();
    for client in &clients {
        let frames = frames::all(&client.take());
        assert_eq!((frames[0].text(), frames[1].opcode), (&message[..], frames::PONG));
        assert_eq!(frames.len(), 2);
    }
}

/// A connection that does not read is dropped when its queue is full, and stops no other.
#[test]
fn a_slow_reader_is_dropped_while_broadcasts_walk_and_queue() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 2);
    let mut clients: Vec<_> = (0..6).map(|n| rig.connect(&n.to_string())).collect();
    let slow = clients.remove(4);
    slow.script(Output::Error(ErrorKind::WouldBlock));
    let message = "m".repeat(60_000);
    for _ in 0..8 {
        rig.hub().broadcast(&message);
        rig.settle();
    }
    assert!(slow.is_dropped());
    assert_eq!(rig.handler().closed.pop().map(|(_, reason)| reason), Some(CloseReason::SlowReader));
    assert_all_got(&mut rig, &clients, &[&message[..]; 8]);
}

/// Connections are ended to make room only if they hold bytes. A connection that the broadcast has
/// not reached holds none.
#[test]
fn making_room_in_memory_during_a_broadcast_loses_nothing_for_the_connections_that_stay() {
    let mut rig = Rig::new(|config| {
        config.writes_per_turn = 1;
        config.max_buffered = 20_000;
    });
    let mut clients: Vec<_> = (0..5).map(|n| rig.connect(&n.to_string())).collect();
    // A message that is never complete.
    let hoarder = clients.remove(3);
    let part = [frames::header(frames::FIN | frames::BINARY, 18_000), vec![0; 17_999]].concat();
    rig.receive(&hoarder, &part);
    let message = "m".repeat(4_000);
    assert_eq!(rig.hub().broadcast(&message), 5);
    rig.tick();
    assert_eq!(rig.hub().stats().relieved, 1);
    rig.settle();
    let frames = frames::all(&hoarder.take());
    assert_eq!((frames[0].text(), frames[1].close_code()), (&message[..], Some(1011)));
    assert_all_got(&mut rig, &clients, &[&message]);
}

#[test]
fn each_connection_that_is_left_of_very_many_gets_a_broadcast_in_whatever_slot_it_is() {
    for left in [&[0, 299][..], &[63, 64, 127, 128], &[70], &[150, 151, 290]] {
        let mut rig = Rig::new(|config| {
            config.writes_per_turn = 2;
            config.max_connections = 301;
        });
        let clients: Vec<_> = (0..300).map(|n| rig.connect(&format!("u{n}"))).collect();
        for (number, client) in clients.iter().enumerate() {
            if !left.contains(&number) {
                client.end();
                rig.event(client, READABLE);
            }
        }
        rig.settle();
        let mut there: Vec<_> = left.iter().map(|&number| &clients[number]).collect();
        assert_eq!(rig.hub().broadcast("walks"), left.len());
        rig.tick();
        // One more connection opens, and two further broadcasts have to be queued.
        let late = rig.connect("late");
        assert_eq!(rig.hub().broadcast("is queued"), left.len() + 1);
        rig.settle();
        for client in &there {
            assert_eq!(texts(&client.take()), ["walks", "is queued"], "{left:?}");
        }
        assert_eq!(texts(&late.take()), ["is queued"]);
        there.push(&late);
        assert_eq!(rig.hub().broadcast("again"), there.len());
        rig.settle();
        assert!(there.iter().all(|client| texts(&client.take()) == ["again"]), "{left:?}");
        rig.hub().check_invariants();
    }
}
