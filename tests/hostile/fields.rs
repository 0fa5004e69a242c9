//! Header fields and request targets, by their grammar and not by what is usual.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::bystanders::{Scene, scene};
use crate::support::client::Answer;
use longlink::sim::frames::{KEY, handshake};

const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

fn ask(scene: &Scene, request: &[u8]) -> Answer {
    let mut raw = scene.site.raw();
    let answer = raw.send(request).answer().expect("an answer");
    raw.half_close().end();
    answer
}

/// The answer to a handshake in which `lines` stand instead of the fields of that name.
fn shake(scene: &Scene, name: &str, lines: &[&str]) -> Answer {
    let mut head = "GET /websocket/a HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for (field, value) in HANDSHAKE {
        if field != name {
            head += &format!("{field}: {value}\r\n");
        }
    }
    for line in lines {
        head += &format!("{name}: {line}\r\n");
    }
    ask(scene, format!("{head}\r\n").as_bytes())
}

#[test]
fn a_list_in_a_header_field_may_be_split_over_several_lines() {
    let mut scene = scene(|_| {});
    for (name, lines) in [
        ("Connection", &["keep-alive", "Upgrade"][..]),
        ("Connection", &["Upgrade", "keep-alive"]),
        ("Connection", &["", ", x ,,upgrade,"]),
        ("Upgrade", &["h2c, WebSocket"]),
        ("Upgrade", &["HTTP/2.0", "websocket"]),
        ("Sec-WebSocket-Extensions", &["a; b=\"c\", d", "permessage-deflate; x"]),
    ] {
        assert_eq!(shake(&scene, name, lines).status, 101, "{name}: {lines:?}");
    }
    let answer = shake(&scene, "Sec-WebSocket-Protocol", &["", "longlink.v2", "b ,c"]);
    assert_eq!((answer.status, answer.field("Sec-WebSocket-Protocol")), (101, Some("longlink.v2")));
    let two = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: y, close\r\n\r\n";
    assert_eq!(ask(&scene, two).field("Connection"), Some("close"));
    scene.chat();
    scene.ends_well();
}

#[test]
fn a_field_that_breaks_its_grammar_is_answered_400_with_the_name_of_the_field() {
    let mut scene = scene(|_| {});
    for (name, lines) in [
        ("Sec-WebSocket-Key", &[KEY, KEY][..]),
        ("Sec-WebSocket-Key", &[KEY, "AAAAAAAAAAAAAAAAAAAAAA=="]),
        ("Sec-WebSocket-Key", &["not 16 bytes"]),
        ("Sec-WebSocket-Version", &["13", "13"]),
        ("Sec-WebSocket-Version", &["8", "13"]),
        ("Connection", &["keep-alive Upgrade"]),
        ("Connection", &["Upgrade", "a;b"]),
        ("Upgrade", &["websocket", "a b"]),
        ("Sec-WebSocket-Protocol", &["chat room"]),
        ("Sec-WebSocket-Protocol", &["a", "\"b\""]),
        ("Sec-WebSocket-Extensions", &["permessage-deflate; x=\"10"]),
        ("Sec-WebSocket-Extensions", &["a=b"]),
        ("Origin", &["http://localhost", "http://localhost"]),
        ("Host", &["other"]),
    ] {
        let answer = shake(&scene, name, lines);
        let why = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == 400 && why.contains(name), "{name}: {lines:?}: {why}");
    }
    for host in ["a b", "u@a", "a:+80", "a:65536", "a, b", "http://a", "[::1", "a/b", "é"] {
        let answer = ask(&scene, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 400, "{host}");
    }
    scene.chat();
    scene.ends_well();
}

#[test]
fn the_host_in_a_request_target_that_is_a_whole_url_wins_over_the_host_field() {
    let mut scene = scene(|_| {});
    let answers = |scene: &Scene, target: &str, host: &str| {
        let head = String::from_utf8(handshake(target, "")).unwrap();
        ask(scene, head.replace("Host: 127.0.0.1", &format!("Host: {host}")).as_bytes()).status
    };
    // A foreign name that was made to point at this machine must not be hidden behind `Host`.
    assert_eq!(answers(&scene, "http://evil.test/websocket/a", "localhost"), 403);
    assert_eq!(
        answers(&scene, "http://evil.test:80/websocket/a?x=http://localhost", "127.0.0.1"),
        403
    );
    assert_eq!(answers(&scene, "/websocket/a", "evil.test"), 403);
    assert_eq!(answers(&scene, "http://localhost/websocket/a", "evil.test"), 101);
    assert_eq!(answers(&scene, "HTTP://[::1]:8080/websocket/a", "127.0.0.1"), 101);
    for target in [
        "http://u@localhost/websocket/a",
        "http:///websocket/a",
        "http://localhost:+80/websocket/a",
        "ftp://localhost/websocket/a",
        "/websocket/a#b",
        "http://localhost/websocket/a?x#y",
    ] {
        assert_eq!(answers(&scene, target, "localhost"), 400, "{target}");
    }
    scene.chat();
    scene.ends_well();
}

#[test]
fn every_answer_of_a_server_has_the_date() {
    const DAY: u64 = 86_400;
    let mut scene = scene(|_| {});
    for request in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET /websocket/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        handshake("/websocket/a", ""),
        handshake("/websocket/a", "Origin: http://evil.test\r\n"),
    ] {
        let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let before = since_1970();
        let mut raw = scene.site.raw();
        let head_only = if request.starts_with(b"HEAD") { "HEAD" } else { "GET" };
        let answer = raw.send(&request).answer_to(head_only).expect("an answer");
        let date = answer.field("Date").expect("a date");
        let day = date.strip_suffix(" GMT").unwrap();
        let numbers: Vec<u64> = day[17..].split(':').map(|it| it.parse().unwrap()).collect();
        let second = (numbers[0] * 60 + numbers[1]) * 60 + numbers[2];
        // The clock may have gone on since, also past midnight.
        let earliest = (before + DAY - 1) % DAY;
        let late = (second + DAY - earliest) % DAY;
        assert!(date.len() == 29 && late <= since_1970() + 1 - before, "{date}, {late} s late");
        assert_eq!(answer.head.matches("Date:").count(), 1);
        raw.half_close().end();
    }
    scene.chat();
    scene.ends_well();
}
