//! When very much is sent at once, no connection whose client reads is ended, and the sender is told
//! which messages were not queued.

use longlink::ConnId;

use crate::rig::Rig;
use longlink::sim::frames::{frame, text};

/// Sends a request to many users. Returns how many users the answer reports in each state.
fn send(rig: &mut Rig, users: &[String], length: usize) -> (usize, usize) {
    let conn = rig.connect();
    let ids: Vec<String> = users.iter().map(|user| format!("{user:?}")).collect();
    let message = "x".repeat(length);
    let body = format!(r#"{{"users":[{}],"message":"{message}"}}"#, ids.join(","));
    rig.request(conn, "POST", "/api/send", &body);
    // No turn writes here, so the answer is behind the messages that it tells of.
    rig.tick();
    let answer = rig.hub.pending(conn).expect("an answer");
    let answer = String::from_utf8_lossy(answer.single().unwrap()).into_owned();
    let count = |state: &str| answer.matches(&format!(r#""state":"{state}""#)).count();
    assert_eq!(count("sent") + count("busy"), users.len(), "{}", &answer[..300]);
    (count("sent"), count("busy"))
}

fn enter(rig: &mut Rig, count: usize) -> (Vec<String>, Vec<ConnId>) {
    let users: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
    let conns = users.iter().map(|user| rig.enter(user)).collect();
    (users, conns)
}

#[test]
fn a_long_message_to_a_thousand_users_ends_no_connection_and_its_answer_says_who_is_busy() {
    let mut rig = Rig::new(|config| config.max_buffered = 16 << 20);
    let (users, _) = enter(&mut rig, 1_000);
    let (delivered, busy) = send(&mut rig, &users, 60_000);
    assert!(delivered >= 100 && busy > 0, "{delivered} delivered, {busy} busy");
    assert!(rig.hub.buffered() <= 16 << 20);
    rig.settle();
    assert_eq!((rig.hub.online(), rig.hub.stats().relieved), (1_000, 0));
    // The message is sent again to the users who were busy, until all users have it.
    let mut rest = &users[delivered..];
    while !rest.is_empty() {
        let (delivered, _) = send(&mut rig, rest, 60_000);
        assert!(delivered >= 100.min(rest.len()));
        rest = &rest[delivered..];
        rig.settle();
    }
    assert_eq!((rig.hub.online(), rig.hub.stats().relieved), (1_000, 0));
}

/// The sockets take a part of the message and block, so that the rest is held twice for some turns.
#[test]
fn a_long_message_ends_no_connection_whose_network_is_slow() {
    let mut rig = Rig::new(|config| config.max_buffered = 16 << 20);
    let (users, conns) = enter(&mut rig, 1_000);
    conns.iter().for_each(|conn| rig.takes(*conn, 1_000));
    send(&mut rig, &users, 60_000);
    for _ in 0..20 {
        rig.turn();
        assert!(rig.hub.buffered() <= 16 << 20);
    }
    conns.iter().for_each(|conn| rig.takes_all(*conn));
    rig.settle();
    assert_eq!((rig.hub.online(), rig.hub.stats().relieved), (1_000, 0));
}

#[test]
fn when_stalled_peers_hold_the_memory_other_users_are_busy_and_no_connection_is_ended() {
    let mut rig = Rig::new(|config| config.max_buffered = 16 << 20);
    let stalled = rig.enter_stalled(60);
    for conn in &stalled {
        assert!(rig.hub.send(*conn, &"s".repeat(250_000)));
        rig.turn();
    }
    let (users, _) = enter(&mut rig, 100);
    let (delivered, busy) = send(&mut rig, &users, 60_000);
    assert!(delivered > 0 && busy > delivered, "{delivered} delivered, {busy} busy");
    rig.settle();
    assert_eq!((rig.hub.online(), rig.hub.stats().relieved), (160, 0));
    // However full the memory is, a single message gets through.
    assert_eq!(send(&mut rig, &users[..1], 60_000), (1, 0));
}

#[test]
fn past_max_buffered_connections_that_hold_most_and_do_not_read_are_ended() {
    let mut rig = Rig::new(|config| config.max_buffered = 4 << 20);
    let (_, readers) = enter(&mut rig, 50);
    let stalled = rig.enter_stalled(30);
    for round in 0..20 {
        for (number, conn) in stalled.iter().enumerate() {
            let length = if number < 3 { 10_000 } else { 6_900 };
            rig.hub.send(*conn, &"s".repeat(length));
        }
        readers.iter().for_each(|conn| assert!(rig.hub.send(*conn, &"r".repeat(9_000))));
        rig.turn();
        assert!(rig.hub.buffered() <= 4 << 20, "in round {round}");
    }
    rig.settle();
    assert!(rig.hub.stats().relieved >= 1);
    assert!(readers.iter().all(|conn| rig.hub.is_open(*conn)));
    assert!(
        !stalled[..3].iter().all(|conn| rig.hub.is_open(*conn)),
        "at least one of those that hold most was ended"
    );
    assert!(
        stalled[3..].iter().all(|conn| rig.hub.is_open(*conn)),
        "no other connection was ended"
    );
}

/// The handler of a host does not have to ask whether there is room before it sends.
#[test]
fn however_much_a_host_sends_in_one_callback_no_connection_that_reads_is_ended() {
    let mut rig = Rig::new(|config| config.max_buffered = 8 << 20);
    let (_, conns) = enter(&mut rig, 200);
    for conn in &conns {
        rig.hub.join(*conn, "all").unwrap();
    }
    rig.settle();
    // The host sends to one connection more than its queue holds.
    let sent = (0..1_000).filter(|_| rig.hub.send(conns[0], &"x".repeat(1_000))).count();
    assert!((250..300).contains(&sent), "{sent} messages");
    rig.settle();
    // The host sends as much to a user, to a group, and to everyone.
    let sent = (0..1_000).filter(|_| rig.hub.send_to_user("u1", &"x".repeat(1_000)) > 0).count();
    assert!((250..300).contains(&sent), "{sent} messages");
    rig.settle();
    let sent: Vec<usize> =
        (0..1_000).map(|_| rig.hub.send_to_group("all", &"x".repeat(1_000))).collect();
    let whole = sent.iter().filter(|count| **count == 200).count();
    assert!((250..300).contains(&whole), "{whole} messages");
    assert!(sent[whole..].iter().all(|count| *count == 0), "to all of them or to none");
    rig.settle();
    let sent = (0..1_000).filter(|_| rig.hub.broadcast(&"x".repeat(1_000)) > 0).count();
    assert!((250..300).contains(&sent), "{sent} messages");
    rig.settle();
    // The host sends to each connection, in all more than the memory holds.
    for _ in 0..100 {
        for conn in &conns {
            rig.hub.send(*conn, &"x".repeat(2_000));
        }
        assert!(rig.hub.buffered() <= 8 << 20);
    }
    rig.settle();
    let stats = rig.hub.stats();
    assert_eq!((rig.hub.online(), stats.relieved, stats.slow_readers), (200, 0, 0));
    assert!(stats.overfull > 0);
    // After that the hub sends as before.
    assert_eq!(rig.hub.broadcast("and now"), 200);
}

/// Several senders send the longest texts in one turn, which become six times as long by escaping.
#[test]
fn long_broadcasts_of_clients_end_no_connection_that_reads() {
    let mut rig = Rig::new(|config| config.max_buffered = 4 << 20);
    let (_, conns) = enter(&mut rig, 500);
    for conn in &conns[..20] {
        rig.receive(*conn, &text(&"\u{1}".repeat(40_000)));
        rig.receive(*conn, &text(&"x".repeat(60_000)));
    }
    for _ in 0..20 {
        rig.turn();
        assert!(rig.hub.buffered_input() <= 4 << 20);
    }
    rig.settle();
    assert_eq!((rig.hub.online(), rig.hub.stats().slow_readers), (500, 0));
}

#[test]
fn http_answers_that_nobody_reads_end_no_connection_that_reads() {
    let mut rig = Rig::new(|config| config.max_buffered = 1 << 20);
    let (_, conns) = enter(&mut rig, 1_000);
    for path in ["/api/online?limit=1000", "/api/stats", "/metrics", "/ops"] {
        for _ in 0..50 {
            let conn = rig.connect();
            rig.takes(conn, 0);
            rig.request(conn, "GET", path, "");
            // One user is in the middle of a small message meanwhile.
            rig.receive(conns[0], &frame(0x01, b"part", [1; 4])[..8]);
            rig.turn();
            assert!(rig.hub.buffered() <= 1 << 20, "{path}");
            rig.receive(conns[0], &frame(0x01, b"part", [1; 4])[8..]);
            rig.receive(conns[0], &frame(0x80, b"", [1; 4]));
        }
    }
    rig.settle();
    assert_eq!(rig.hub.online(), 1_000);
}
