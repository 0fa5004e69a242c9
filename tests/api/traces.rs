//! `GET /api/trace/{user}`: who may watch a user, and what a watcher sees.

use longlink::backend::ApiKey;
use longlink::trace::MAX_TRACED;
use longlink::{Relay, RelayConfig};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Place, place, place_of, place_with};
use crate::support::client::{Raw, Socket};
use longlink::sim::frames;

/// Connects a watcher of a user. Returns also the first event, which lists the user's connections.
fn watch(place: &Place, user: &str) -> (Socket, Value) {
    let field = format!("Authorization: Bearer {KEY}\r\n");
    let mut socket = Socket::connect(place.api, &format!("/api/trace/{user}"), &field);
    let began = event(&mut socket);
    assert_eq!((&began["event"], &began["at"]), (&json!("trace"), &json!(0)));
    (socket, began)
}

fn event(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).expect("JSON")
}

/// The next event without its time and connection.
fn bare(socket: &mut Socket) -> Value {
    let mut event = event(socket);
    let object = event.as_object_mut().expect("an object");
    assert!(object.remove("at").is_some_and(|at| at.is_u64()));
    object.remove("connection");
    event
}

fn refusal(raw: &mut Raw, path: &str, extra: &str) -> (u16, Value) {
    let answer = raw.send(&frames::handshake(path, extra)).answer().expect("an answer");
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, body["error"]["code"].clone())
}

#[test]
fn a_watcher_sees_the_connections_and_the_frames_of_its_user() {
    let place = place();
    let mut phone = place.site.connect("A?device=phone");
    let (mut watcher, began) = watch(&place, "A");
    assert_eq!(began["user"], "A");
    let there = &began["connections"][0];
    assert_eq!((&there["device"], &there["active"]), (&json!("phone"), &json!(true)));
    assert!(there["peer"].as_str().unwrap().starts_with("127.0.0.1:"));

    assert!(phone.texts().is_empty());
    assert_eq!(bare(&mut watcher), json!({"event": "in", "kind": "text", "bytes": 4}));
    assert_eq!(bare(&mut watcher), json!({"event": "out", "kind": "text", "bytes": 15}));

    let mut tablet = Socket::connect(
        place.site.addr,
        "/websocket/A?device=tablet",
        "Sec-WebSocket-Protocol: longlink.v1\r\n",
    );
    let opened = event(&mut watcher);
    assert_eq!((&opened["event"], &opened["device"]), (&json!("open"), &json!("tablet")));
    assert_eq!(opened["protocol"], "longlink.v1");
    assert_ne!(opened["connection"], there["connection"]);
    tablet.send_raw(&frames::close(1000)).close_code();
    let mut seen: Vec<Value> = (0..3).map(|_| bare(&mut watcher)).collect();
    let closed = seen.pop().unwrap();
    assert_eq!(seen[0], json!({"event": "in", "kind": "close", "bytes": 2}));
    assert_eq!(seen[1], json!({"event": "out", "kind": "close", "bytes": 2}));
    assert_eq!((&closed["event"], &closed["code"]), (&json!("close"), &json!(1000)));
    assert_eq!(closed["reason"], "closed by peer (1000)");
}

#[test]
fn a_trace_never_contains_the_content_of_a_message() {
    let place = place();
    let mut a = place.site.connect("A");
    let (mut watcher, _) = watch(&place, "A");
    a.send(r#"{"toUserId":"A","message":"a secret of two"}"#);
    assert!(a.text().contains("a secret of two"));
    assert!(a.texts().is_empty());
    for _ in 0..4 {
        let line = watcher.text();
        assert!(!line.contains("secret") && line.contains(r#""kind":"text""#), "{line}");
    }
}

#[test]
fn a_watcher_is_no_user_and_what_it_sends_is_ignored() {
    let place = place();
    let mut a = place.site.connect("A");
    let (mut watcher, _) = watch(&place, "B");
    watcher.send(r#"{"message":"to everyone"}"#).send("ping");
    watcher.send_raw(&frames::masked(frames::FIN | frames::PING, b"now"));
    let pong = watcher.raw.frame().unwrap();
    assert_eq!((pong.opcode, &pong.payload[..]), (frames::PONG, &b"now"[..]));
    a.send(r#"{"message":"hello"}"#);
    assert_eq!(
        a.texts(),
        [r#"{"formUserId":"A","message":"hello"}"#],
        "nothing else was sent to A"
    );
    // The watcher did not get that broadcast either. The next event that it gets is about its user.
    let _b = place.site.connect("B");
    assert_eq!(event(&mut watcher)["event"], "open");
    assert_eq!(place.backend().get("/api/online").1["count"], 2);
}

#[test]
fn a_user_is_not_traced_any_more_when_the_last_watcher_has_gone() {
    let place = place();
    let (first, _) = watch(&place, "A");
    let (mut second, _) = watch(&place, "A");
    drop(first);
    place.site.until("one is gone", |hub| hub.stats().closed == 1);
    let mut a = place.site.connect("A");
    assert_eq!(event(&mut second)["event"], "open");
    assert!(place.site.ask(|hub, _| hub.is_traced("A")));
    assert_eq!(second.send_raw(&frames::close(1000)).close_code(), Some(1000));
    place.site.until("none is traced", |hub| !hub.is_traced("A"));
    assert!(a.texts().is_empty(), "A stays connected");
}

#[test]
fn a_trace_needs_the_key() {
    let place = place();
    for addr in [place.api, place.site.addr] {
        for (extra, code) in [
            (String::new(), "no_key"),
            (format!("Authorization: Bearer {}\r\n", &KEY[1..]), "bad_key"),
            (format!("Sec-WebSocket-Protocol: key.{KEY}\r\n"), "no_key"),
            ("Sec-WebSocket-Protocol: longlink.ops, key.x%2\r\n".into(), "no_key"),
            ("Sec-WebSocket-Protocol: longlink.ops, key.x\r\n".into(), "bad_key"),
        ] {
            let told = refusal(&mut Raw::connect(addr), "/api/trace/A", &extra);
            assert_eq!(told, (401, json!(code)), "{extra}");
        }
        let field = format!("Authorization: Bearer {KEY}\r\n");
        drop(Socket::connect(addr, "/api/trace/A", &field));
        let told = refusal(&mut Raw::connect(addr), &format!("/api/trace/A?key={KEY}"), &field);
        assert_eq!(told, (401, json!("key_in_query")));
    }
}

#[test]
fn a_browser_can_offer_the_key_as_a_subprotocol_and_the_key_is_not_echoed() {
    let key = "a/key=with+what;no,token~has(it)";
    let place = place_with(|config| config.keys = vec![ApiKey::new(key).unwrap()]);
    let offered = "key.a%2Fkey%3Dwith%2Bwhat%3Bno%2Ctoken~has%28it%29";
    let field = format!("Sec-WebSocket-Protocol: longlink.ops, {offered}\r\n");
    let socket = Socket::connect(place.api, "/api/trace/A", &field);
    assert_eq!(socket.answer.field("Sec-WebSocket-Protocol"), Some("longlink.ops"));
    assert!(!socket.answer.head.contains("key."));
    // This field shows a key only in a handshake, to which a browser adds the origin of its page.
    let request = format!("GET /api/online HTTP/1.1\r\nHost: a\r\n{field}\r\n");
    assert_eq!(Raw::connect(place.api).status(request.as_bytes()), 401);
}

#[test]
fn without_a_key_a_page_of_another_site_cannot_watch() {
    let place = place_with(|_| {});
    let mut raw = Raw::connect(place.api);
    let told = refusal(&mut raw, "/api/trace/A", "Origin: https://evil.test\r\n");
    assert_eq!(told, (403, json!("foreign")));
    drop(Socket::connect(place.api, "/api/trace/A", "Origin: http://127.0.0.1:9090\r\n"));
    assert_eq!(
        Raw::connect(place.site.addr).status(&frames::handshake("/api/trace/A", "")),
        404,
        "the address of clients has no traces"
    );
}

#[test]
fn a_trace_that_is_not_possible_is_refused_with_the_reason() {
    let place = place();
    let field = format!("Authorization: Bearer {KEY}\r\n");
    let ask = |path: &str| refusal(&mut Raw::connect(place.api), path, &field);
    let long = format!("/api/trace/{}", "x".repeat(129));
    assert_eq!(ask(&long), (400, json!("bad_value")));
    assert_eq!(ask("/api/trace/A?x=1"), (400, json!("unknown_field")));
    assert_eq!(ask("/api/trace/"), (400, json!("bad_value")));
    assert_eq!(ask("/api/trace/a/b"), (404, json!("no_such_path")));
    assert_eq!(ask("/api/online"), (404, json!("no_such_path")));
    let (status, answer) = place.backend().get("/api/trace/A");
    assert_eq!((status, &answer["error"]["code"]), (426, &json!("upgrade_required")));
    let (status, _) = place.backend().post("/api/trace/A", "");
    assert_eq!(status, 405);

    let watchers: Vec<_> = (0..MAX_TRACED).map(|_| watch(&place, "A").0).collect();
    assert_eq!(ask("/api/trace/A"), (429, json!("too_many_traces")));
    drop(watchers);
    place.site.until("they are gone", |hub| !hub.is_traced("A"));
    watch(&place, "A");
}

#[test]
fn a_watcher_that_does_not_read_is_dropped_and_its_user_is_not() {
    let place = place();
    let (watcher, _) = watch(&place, "A");
    let mut a = place.site.connect("A");
    let dropped = place.site.watch(|hub| hub.stats().slow_readers > 0);
    let pings = frames::text("ping").repeat(200);
    while dropped.try_recv().is_err() {
        a.send_raw(&pings);
        assert!(a.texts().is_empty());
    }
    place.site.until("nothing is traced", |hub| !hub.is_traced("A"));
    assert!(a.texts().is_empty());
    assert_eq!(Client::connect(place.api, KEY).get("/api/users/A").1["online"], true);
    drop(watcher);
}

/// The events of a watcher up to the first one with this name, without the frames.
fn told_until(watcher: &mut Socket, name: &str) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let event = bare(watcher);
        let is_last = event["event"] == name;
        if !["in", "out"].contains(&event["event"].as_str().unwrap()) {
            told.push(event);
        }
        if is_last {
            return told;
        }
    }
}

#[test]
fn a_trace_shows_the_acknowledgements_gaps_and_replays_of_the_dialect_v2() {
    let mut config = RelayConfig::default();
    config.mailbox_messages = 2;
    let place =
        place_of(Relay::new(config), |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    for number in 1..=3 {
        let body = format!(r#"{{"user":"A","message":"secret {number}","keep":true}}"#);
        backend.post("/api/send", &body);
    }
    let (mut watcher, _) = watch(&place, "A");
    let connect = || {
        let path = "/websocket/A?device=phone";
        Socket::connect(place.site.addr, path, "Sec-WebSocket-Protocol: longlink.v2\r\n")
    };
    let mut phone = connect();
    let told = told_until(&mut watcher, "live");
    assert_eq!((&told[0]["event"], &told[0]["protocol"]), (&json!("open"), &json!("longlink.v2")));
    assert_eq!(
        told[1..],
        [
            json!({"event": "welcome", "cursor": 0, "seq": 3, "resumed": true}),
            json!({"event": "gap", "from": 1, "to": 1, "reason": "overflow"}),
            json!({"event": "live", "seq": 3}),
        ]
    );
    phone.send(r#"{"type":"ack","seq":3}"#);
    assert_eq!(told_until(&mut watcher, "ack"), [json!({"event": "ack", "seq": 3})]);
    let send = r#"{"type":"send","cid":"1","toUserId":"B","message":"secret"}"#;
    phone.send(send);
    let state = |state: &str| [json!({"event": "answer", "state": state})];
    assert_eq!(told_until(&mut watcher, "answer"), state("queued"));
    phone.send(send);
    assert_eq!(told_until(&mut watcher, "answer"), state("duplicate"));
    phone.send(&send.replace("secret", "another"));
    let refused = json!({"event": "refused", "code": "conflict", "retry": false});
    assert_eq!(told_until(&mut watcher, "refused"), [refused]);
    phone.send(r#"{"type":"background"}"#).send(r#"{"type":"foreground"}"#);
    let names = told_until(&mut watcher, "shown");
    assert_eq!(names, [json!({"event": "hidden"}), json!({"event": "shown"})]);
    // A newer connection of the device ends this one.
    let _newer = connect();
    let told = told_until(&mut watcher, "kick");
    assert_eq!(told.last(), Some(&json!({"event": "kick", "code": 4509})));
    assert!(!format!("{told:?}").contains("secret"));
}
