//! Very many connections, or very many messages at once.

use crate::bystanders::scene;
use crate::support::client::{Raw, Socket};
use crate::support::serve;
use longlink::sim::frames::text;

#[test]
fn ten_thousand_connections_that_reset_leave_nothing_behind() {
    let mut scene = scene(|_| {});
    for round in 0..100 {
        for n in 0..100 {
            let mut raw = scene.site.raw();
            match n % 3 {
                0 => {}
                1 => drop(raw.send(b"GET /websocket/a HTTP/1.1\r\n")),
                _ => drop(raw.send(&longlink::sim::frames::handshake("/websocket/a", ""))),
            }
            raw.reset();
        }
        if round % 10 == 0 {
            scene.chat();
        }
    }
    scene.ends_well();
}

#[test]
fn nine_thousand_one_byte_broadcasts_in_one_segment_reach_everyone_in_order() {
    // The queues have room for everything, so a client whose thread does not run is no slow reader here.
    let site = serve::relay(|config| {
        config.max_queue = 4 << 20;
        (config.message_rate, config.broadcast_rate) = (0, 0);
    });
    let mut receivers: Vec<Socket> =
        (0..20).map(|n| site.connect(&format!("receiver{n}"))).collect();
    let mut sender = site.connect("s");
    let bytes: Vec<u8> = (0..9_000)
        .flat_map(|n: usize| text(&char::from(b'a' + (n % 26) as u8).to_string()))
        .collect();
    std::thread::scope(|scope| {
        for receiver in &mut receivers {
            scope.spawn(move || {
                for n in 0..9_000 {
                    let letter = char::from(b'a' + (n % 26) as u8);
                    let expected =
                        format!(r#"{{"type":"broadcast","formUserId":"s","message":"{letter}"}}"#);
                    assert_eq!(receiver.text(), expected, "message {n}");
                }
            });
        }
        sender.send_raw(&bytes);
        assert_eq!(sender.texts().len(), 9_000);
    });
    assert_eq!(site.ask(|hub, _| (hub.stats().slow_readers, hub.buffered())), (0, 0));
    drop((receivers, sender));
    site.until("all are gone", |hub| hub.connections() == 0);
}

#[test]
fn a_flood_of_requests_whose_answers_are_not_read_is_held_back() {
    let mut scene = scene(|config| config.message_timeout = std::time::Duration::from_millis(300));
    let mut raw = scene.site.raw();
    raw.stream.set_nonblocking(true).unwrap();
    let request = b"GET /demo/phone.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    // The client sends as much as the kernel takes, and reads nothing.
    while std::io::Write::write(&mut raw.stream, &request).is_ok() {}
    scene.chat();
    scene.site.until("the connection that does not read its answers is dropped", |hub| {
        hub.connections() == 2
    });
    drop(raw);
    scene.ends_well();
}

#[test]
fn past_the_limit_connections_are_refused_or_wait_until_there_is_room() {
    let site = serve::relay(|config| config.max_connections = 20);
    let members: Vec<Socket> = (0..20).map(|n| site.connect(&format!("m{n}"))).collect();
    let mut refused: Vec<Raw> = (0..100).map(|_| site.raw()).collect();
    for raw in &mut refused {
        raw.send(&longlink::sim::frames::handshake("/websocket/late", ""));
    }
    // 32 connections at a time are answered, and those in the backlog after them.
    for raw in &mut refused {
        let answer = raw.answer().unwrap();
        assert_eq!((answer.status, answer.field("Retry-After").is_some()), (503, true));
        assert!(raw.half_close().end().is_empty());
    }
    drop(members);
    site.until("the members have gone", |hub| hub.connections() == 0);
    let mut late = site.connect("late");
    assert!(late.texts().is_empty());
}

#[test]
fn many_connections_of_one_id_at_once_disturb_no_other_user() {
    let mut scene = scene(|_| {});
    let mut crowd: Vec<Raw> = Vec::new();
    for _ in 0..40 {
        let mut raw = scene.site.raw();
        raw.send(&longlink::sim::frames::handshake("/websocket/same", ""));
        crowd.push(raw);
        scene.chat();
    }
    let statuses: Vec<u16> = crowd.iter_mut().map(|raw| raw.answer().unwrap().status).collect();
    let opened = statuses.iter().filter(|status| **status == 101).count();
    assert_eq!(
        (opened, statuses.len() - opened),
        (6, 34),
        "five stay, and one has made room: {statuses:?}"
    );
    assert!(statuses.iter().all(|status| matches!(status, 101 | 503)));
    drop(crowd);
    scene.ends_well();
}
