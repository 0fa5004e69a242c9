//! Heads of requests that are no handshake, or a faulty one.

use crate::bystanders::scene;
use crate::support::client::Answer;
use longlink::sim::frames::{KEY, handshake};

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

#[test]
fn garbage_instead_of_http_is_answered_400_or_dropped() {
    let mut scene = scene(|_| {});
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\x00\x00\x00\x00\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /two-spaces HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
    ] {
        let mut raw = scene.site.raw();
        let answer = raw.send(garbage).answer().expect("an answer");
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(garbage));
        assert_eq!(answer.field("Connection"), Some("close"));
        assert!(raw.half_close().end().is_empty());
        scene.chat();
    }
    scene.ends_well();
}

#[test]
fn a_first_byte_that_can_begin_no_request_is_answered_400_at_once() {
    let scene = scene(|_| {});
    let mut raw = scene.site.raw();
    assert_eq!(raw.status(b"\x16"), 400);
    raw.half_close().end();
    scene.ends_well();
}

#[test]
fn a_head_of_64_kib_is_answered_431() {
    let mut scene = scene(|_| {});
    let fields: String = (0..60).map(|n| format!("X-{n}: {}\r\n", "v".repeat(1_100))).collect();
    for head in [
        get("/websocket/a", &fields),
        get("/websocket/a", &format!("X: {}\r\n", "v".repeat(65_536))),
        get(&format!("/{}", "p".repeat(65_536)), ""),
        vec![b'G'; 65_536],
        // The line never ends, and the head is sent in pieces.
        [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'v'; 65_536]].concat(),
    ] {
        let mut raw = scene.site.raw();
        let mut answer = None;
        for piece in head.chunks(4_000) {
            raw.send(piece);
        }
        answer = answer.or(raw.answer());
        assert_eq!(answer.map(|answer| answer.status), Some(431));
        raw.half_close().end();
        scene.chat();
    }
    scene.ends_well();
}

#[test]
fn a_head_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let scene = scene(|config| config.max_head = 1_000);
    for (length, status) in [(999, 101), (1_000, 101), (1_001, 431)] {
        let padding = length - handshake("/websocket/a", "X: \r\n").len();
        let head = handshake("/websocket/a", &format!("X: {}\r\n", "v".repeat(padding)));
        assert_eq!(head.len(), length);
        let mut raw = scene.site.raw();
        assert_eq!(raw.status(&head), status, "{length} bytes at once");
        let mut raw = scene.site.raw();
        raw.trickle(&head);
        assert_eq!(raw.answer().unwrap().status, status, "{length} bytes one by one");
        raw.half_close().end();
    }
    scene.site.until("all others are gone", |hub| hub.connections() == 2);
    scene.ends_well();
}

#[test]
fn a_hundred_fields_are_taken_and_one_more_is_answered_431() {
    let scene = scene(|_| {});
    for (count, status) in [(95, 101), (96, 431), (500, 431)] {
        // The handshake itself has five.
        let mut raw = scene.site.raw();
        assert_eq!(raw.status(&handshake("/websocket/a", &"X: y\r\n".repeat(count))), status);
        raw.half_close().end();
    }
    scene.ends_well();
}

#[test]
fn a_head_that_comes_byte_by_byte_is_taken() {
    let mut scene = scene(|_| {});
    let mut raw = scene.site.raw();
    raw.trickle(&handshake("/websocket/slow", ""));
    assert_eq!(raw.answer().unwrap().status, 101);
    scene.chat();
    raw.half_close().end();
    scene.ends_well();
}

#[test]
fn a_head_that_never_ends_is_dropped_in_time_although_bytes_still_come() {
    let mut scene = scene(|config| {
        config.handshake_timeout = std::time::Duration::from_millis(300);
    });
    let mut silent = scene.site.raw();
    let mut lively = scene.site.raw();
    lively.send(b"GET / HTTP/1.1\r\nX: ");
    lively.stream.set_nonblocking(false).unwrap();
    let limit = std::time::Instant::now() + crate::support::client::DEADLINE;
    // The client sends on until the server drops the connection. Each send is paced by a chat, and so
    // small that the head does not become too long before.
    while scene.site.ask(|hub, _| hub.connections()) > 2 {
        assert!(std::time::Instant::now() < limit, "never dropped");
        lively.send(b"x");
        scene.chat();
    }
    assert!(lively.end().is_empty());
    assert!(silent.end().is_empty());
    scene.ends_well();
}

/// A handshake with its fields given one by one.
fn handshake_of(fields: &[(&str, &str)]) -> Vec<u8> {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    get("/websocket/a", &lines)
}

#[test]
fn missing_or_bad_handshake_fields_are_answered_426_or_400() {
    let mut scene = scene(|_| {});
    let good = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let ask = |fields: &[(&str, &str)]| -> Answer {
        let mut raw = scene.site.raw();
        let answer = raw.send(&handshake_of(fields)).answer().unwrap();
        raw.half_close().end();
        answer
    };
    let replaced = |name: &str, value: &str| {
        let mut fields = good.to_vec();
        fields.retain(|(field, _)| *field != name || !value.is_empty());
        for field in &mut fields {
            if field.0 == name {
                field.1 = value;
            }
        }
        ask(&fields)
    };
    for (name, value) in [
        ("Connection", ""),
        ("Connection", "keep-alive"),
        ("Upgrade", ""),
        ("Upgrade", "h2c"),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Version", "13, 8"),
        ("Sec-WebSocket-Version", "113"),
    ] {
        let answer = replaced(name, value);
        assert_eq!(answer.status, 426, "{name}: {value}");
        assert_eq!(answer.field("Sec-WebSocket-Version"), Some("13"), "{name}: {value}");
    }
    for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==x", "!!!!"] {
        assert_eq!(replaced("Sec-WebSocket-Key", key).status, 400, "key {key:?}");
    }
    assert_eq!(replaced("Connection", "keep-alive, upgrade").status, 101);
    scene.chat();
    scene.ends_well();
}

#[test]
fn a_body_of_disputed_length_is_answered_400_and_never_read_as_a_request() {
    let mut scene = scene(|_| {});
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        for method in ["GET", "POST"] {
            let request =
                format!("{method} /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{smuggled}");
            let mut raw = scene.site.raw();
            assert_eq!(raw.status(request.as_bytes()), 400, "{method} {fields}");
            assert!(raw.half_close().end().is_empty(), "one answer only");
        }
    }
    // A body that is announced rightly is not taken for a request either.
    for fields in ["Content-Length: 38\r\n", "Transfer-Encoding: chunked\r\n"] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{smuggled}");
        let mut raw = scene.site.raw();
        let answer = raw.send(request.as_bytes()).answer().unwrap();
        assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
        assert!(raw.half_close().end().is_empty(), "one answer only");
    }
    let mut raw = scene.site.raw();
    assert_eq!(raw.status(&handshake("/websocket/a", "Content-Length: 3\r\n")), 400);
    raw.half_close().end();
    scene.chat();
    scene.ends_well();
}

#[test]
fn a_reset_after_a_part_of_a_handshake_leaves_nothing_behind() {
    let mut scene = scene(|_| {});
    let head = handshake("/websocket/a", "");
    for cut in (0..=head.len()).step_by(7) {
        let mut raw = scene.site.raw();
        raw.send(&head[..cut]);
        raw.reset();
        let mut raw = scene.site.raw();
        raw.send(&head[..cut]).half_close();
        let rest = raw.end();
        assert!(rest.is_empty() || cut == head.len(), "{cut}");
    }
    scene.chat();
    scene.ends_well();
}
