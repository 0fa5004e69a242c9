//! The hub counts all memory that it holds for a peer.

use crate::rig::Rig;
use longlink::sim::frames::{frame, text};

/// The frame of a message to a user.
fn to(user: &str, message: &str) -> Vec<u8> {
    text(&format!(r#"{{"toUserId":"{user}","message":"{message}"}}"#))
}

#[test]
fn small_broadcasts_to_peers_that_do_not_read_are_counted() {
    let mut rig = Rig::new(|_| ());
    let stalled = rig.enter_stalled(200);
    rig.assert_counted("broadcasts of one byte", |rig| {
        for _ in 0..80_000 {
            rig.hub.broadcast("x");
            rig.turn();
        }
    });
    assert!(stalled.iter().all(|conn| rig.hub.queued(*conn) > 200_000));
}

/// The bytes of the broadcasts are adjacent, so the queue of a peer has few ranges instead of one
/// for each broadcast.
#[test]
fn small_broadcasts_to_peers_that_do_not_read_are_stored_once() {
    let mut rig = Rig::new(|_| ());
    rig.enter_stalled(200);
    let (grown, _) = rig.growth(|rig| {
        for _ in 0..4_000 {
            rig.hub.broadcast("a message of sixty bytes, as many broadcasts are, more or less");
            rig.turn();
        }
    });
    assert!(grown < 4 << 20, "{grown} bytes for 200 peers");
}

#[test]
fn broadcasts_between_messages_to_single_peers_are_counted() {
    let mut rig = Rig::new(|_| ());
    let stalled = rig.enter_stalled(100);
    rig.assert_counted("broadcasts and messages in turn", |rig| {
        for _ in 0..2_500 {
            rig.hub.broadcast("a broadcast that is longer than a range");
            stalled.iter().for_each(|conn| assert!(rig.hub.send(*conn, "y")));
            rig.turn();
        }
    });
}

#[test]
fn messages_to_peers_that_do_not_read_are_counted() {
    let mut rig = Rig::new(|_| ());
    rig.enter_stalled(100);
    let sender = rig.enter("sender");
    rig.assert_counted("small messages", |rig| {
        for _ in 0..800 {
            for number in 0..100 {
                rig.receive(sender, &to(&format!("stalled{number}"), "hi"));
            }
            rig.turn();
        }
    });
    rig.assert_counted("long messages", |rig| {
        for number in 0..100 {
            rig.receive(sender, &to(&format!("stalled{number}"), &"x".repeat(60_000)));
            rig.turn();
        }
    });
}

#[test]
fn messages_to_two_groups_in_turn_before_anything_is_written_are_counted() {
    let mut rig = Rig::new(|config| config.writes_per_turn = 1);
    let conns: Vec<_> = (0..1_000).map(|number| rig.enter(&format!("u{number}"))).collect();
    for (number, conn) in conns.iter().enumerate() {
        rig.hub.join(*conn, if number % 2 == 0 { "even" } else { "odd" }).unwrap();
    }
    rig.settle();
    let before = (crate::allocator::bytes(), rig.hub.buffered());
    // A host sends all this within one callback, before anything is written.
    for _ in 0..2_000 {
        for group in ["even", "odd"] {
            assert_eq!(rig.hub.send_to_group(group, "x"), 500);
        }
    }
    let grown = crate::allocator::bytes() - before.0;
    let counted = rig.hub.buffered() - before.1;
    assert!(grown <= 2 * counted + crate::rig::SCRATCH, "{grown} are held, {counted} counted");
    rig.settle();
    assert_eq!((rig.hub.buffered(), rig.hub.stats().relieved), (0, 0));
}

/// A peer that reads as much as it is sent, and is always a little behind, holds a little.
#[test]
fn a_peer_that_never_quite_catches_up_holds_no_more_than_its_queue() {
    let mut rig = Rig::new(|_| ());
    let slow = rig.enter_stalled(1)[0];
    for _ in 0..20 {
        rig.hub.send(slow, &"x".repeat(96));
        rig.turn();
    }
    let (grown, counted) = rig.growth(|rig| {
        for _ in 0..100_000 {
            assert!(rig.hub.send(slow, &"x".repeat(96)));
            rig.takes(slow, 98);
            rig.turn();
        }
    });
    assert!(rig.hub.queued(slow) <= 20 * 98);
    assert!(counted < 64 * 1_024 && grown < 512 * 1_024, "{grown} held, {counted} counted");
}

#[test]
fn messages_that_are_not_complete_are_counted() {
    let mut rig = Rig::new(|_| ());
    let conns: Vec<_> = (0..2_000).map(|number| rig.enter(&format!("u{number}"))).collect();
    rig.assert_counted("the first byte of a header", |rig| {
        conns.iter().for_each(|conn| rig.receive(*conn, &[0x81]));
    });
    rig.assert_counted("long messages without their ends", |rig| {
        let message = text(&"x".repeat(20_000));
        for conn in &conns {
            rig.receive(*conn, &message[1..message.len() - 1]);
        }
    });
    conns.iter().for_each(|conn| rig.hub.abort(*conn));
    rig.settle();
    let conns: Vec<_> = (0..2_000).map(|number| rig.enter(&format!("u{number}"))).collect();
    rig.assert_counted("pings without their ends", |rig| {
        let ping = frame(0x89, &[b'p'; 125], [1; 4]);
        conns.iter().for_each(|conn| rig.receive(*conn, &ping[..130]));
    });
}

#[test]
fn input_that_waits_is_counted() {
    let mut rig = Rig::new(|config| {
        config.message_rate = 10;
        config.rate_burst = std::time::Duration::from_secs(1);
    });
    let conns: Vec<_> = (0..200).map(|number| rig.enter(&format!("u{number}"))).collect();
    rig.assert_counted("messages above the rate", |rig| {
        let flood: Vec<u8> = (0..6_000).flat_map(|_| text("ping")).collect();
        conns.iter().for_each(|conn| rig.receive(*conn, &flood));
    });
    assert!(rig.hub.buffered_input() > 200 * 50_000);
}

#[test]
fn requests_that_are_not_complete_are_counted() {
    let mut rig = Rig::new(|_| ());
    rig.assert_counted("heads without their ends", |rig| {
        for _ in 0..2_000 {
            let conn = rig.connect();
            rig.receive(conn, format!("GET /{} HTTP/1.1\r\n", "x".repeat(2_000)).as_bytes());
        }
    });
    rig.assert_counted("bodies without their ends", |rig| {
        for _ in 0..100 {
            let conn = rig.connect();
            let body = "x".repeat(100_000);
            let head = "POST /api/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\
                \r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Length: 100001\
                \r\n\r\n";
            rig.receive(conn, head.as_bytes());
            for piece in body.as_bytes().chunks(10_000) {
                rig.receive(conn, piece);
            }
        }
    });
}

#[test]
fn answers_that_are_not_read_are_counted() {
    let mut rig = Rig::new(|_| ());
    for number in 0..1_000 {
        rig.enter(&format!("u{number}{}", "x".repeat(100)));
    }
    rig.assert_counted("listings that nobody reads", |rig| {
        for _ in 0..100 {
            let conn = rig.connect();
            rig.takes(conn, 0);
            rig.request(conn, "GET", "/api/online?limit=1000", "");
            rig.turn();
        }
    });
    assert!(rig.hub.buffered() > 100 * 100_000, "{}", rig.hub.buffered());
}

#[test]
fn all_memory_is_given_back_when_its_peers_are_gone() {
    let mut rig = Rig::new(|_| ());
    let all = rig.enter_stalled(500);
    let before = crate::allocator::bytes();
    for number in 0..200 {
        rig.hub.broadcast(&"b".repeat(number));
        for conn in &all {
            rig.hub.send(*conn, &"o".repeat(number));
        }
        rig.turn();
    }
    all.iter().for_each(|conn| rig.hub.abort(*conn));
    rig.settle();
    assert_eq!((rig.hub.connections(), rig.hub.buffered()), (0, 0));
    let left = crate::allocator::bytes().saturating_sub(before);
    assert!(left < crate::rig::SCRATCH, "{left} bytes are left");
}

#[test]
fn a_long_message_to_several_devices_that_do_not_read_is_stored_once() {
    let mut rig = Rig::new(|_| ());
    for device in ["phone", "tablet", "watch"] {
        let conn = rig.enter(&format!("u?device={device}"));
        rig.takes(conn, 0);
    }
    assert_eq!(rig.hub.send_to_user("u", &"x".repeat(50_000)), 3);
    rig.settle();
    assert_eq!(rig.hub.waiting_for_peers(), 3);
    let held = rig.hub.buffered();
    assert!((50_000..60_000).contains(&held), "{held} bytes are held");
}
