//! `/metrics` and `/api/stats`, which show the metrics of the whole server.

use longlink::backend::ApiKey;
use longlink::{Relay, RelayConfig};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Place, place, place_of};
use crate::support::client::{Raw, Socket};

#[test]
fn both_formats_of_the_metrics_have_equal_values() {
    let place = place();
    let _alice = place.site.connect("alice");
    let mut backend = place.backend();
    let answer = backend.answer("GET", "/metrics", "");
    assert_eq!(answer.status, 200);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.field("Content-Type"), Some(kind));
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains("\nlonglink_users 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let (status, stats) = backend.get("/api/stats");
    assert_eq!((status, &stats["longlink_users"]), (200, &json!(1)));
}

#[test]
fn metrics_on_the_address_of_clients_need_the_key() {
    let place = place();
    for path in ["/metrics", "/api/stats"] {
        let mut stranger = Client::connect(place.site.addr, "");
        assert_eq!(stranger.answer("GET", path, "").status, 401, "{path}");
        let mut backend = Client::connect(place.site.addr, KEY);
        assert_eq!(backend.answer("GET", path, "").status, 200, "{path}");
        assert_eq!(backend.answer("POST", path, "").status, 405, "{path}");
    }
    let open = crate::client::place_with(|_| ());
    let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    assert_eq!(Raw::connect(open.site.addr).status(request), 404, "the server has no key");
    assert_eq!(Raw::connect(open.api).status(request), 200);
}

/// The numbers of a metric by its label, without those that are 0.
fn by_label(backend: &mut Client, name: &str) -> Value {
    let (_, stats) = backend.get("/api/stats");
    let values = stats[name].as_object().unwrap_or_else(|| panic!("{name} in {stats}"));
    values.iter().filter(|(_, value)| **value != 0).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn phone(place: &Place, user: &str, query: &str) -> Socket {
    let path = format!("/websocket/{user}?device=phone{query}");
    Socket::connect(place.site.addr, &path, "Sec-WebSocket-Protocol: longlink.v2\r\n")
}

#[test]
fn connections_are_counted_by_the_dialect_they_speak() {
    let place = place();
    let mut backend = place.backend();
    assert_eq!(by_label(&mut backend, "longlink_dialects"), json!({}));
    let _pages = ["alice", "alice", "bob"].map(|user| place.site.connect(user));
    let first = phone(&place, "carol", "");
    let mut second = phone(&place, "carol", "");
    let key = format!("Authorization: Bearer {KEY}\r\n");
    let _watcher = Socket::connect(place.api, "/api/trace/alice", &key);
    // The first phone was told to go, and has not gone.
    assert!(second.text().contains(r#""type":"welcome""#));
    assert_eq!(by_label(&mut backend, "longlink_dialects"), json!({"v1": 3, "v2": 1}));
    drop((first, second));
    place.site.until("carol has gone", |hub| hub.connections_of("carol").is_empty());
    assert_eq!(by_label(&mut backend, "longlink_dialects"), json!({"v1": 3}));
}

#[test]
fn the_metrics_count_what_mailboxes_do() {
    let mut config = RelayConfig::default();
    config.mailbox_messages = 2;
    let place =
        place_of(Relay::new(config), |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    for message in 1..=3 {
        let body = format!(r#"{{"user":"bob","message":{message},"keep":true}}"#);
        backend.post("/api/send", &body);
    }
    // The first message is lost to the bound, and the two others are written. The gap that tells a phone of another epoch
    // what it cannot have reaches over that message, so there is one gap and not two.
    let mut bob = phone(&place, "bob", "&last=another-7");
    while !bob.text().contains(r#""type":"live""#) {}
    bob.send(r#"{"type":"presence","users":["alice","bob"],"watch":true}"#);
    bob.send(r#"{"type":"send","cid":"1","toUserId":"bob","message":1,"volatile":true}"#);
    bob.send(r#"{"type":"ack","seq":3}"#).send(r#"{"type":"ping"}"#);
    while !bob.text().contains(r#""type":"pong""#) {}
    let gaps = by_label(&mut backend, "longlink_mailbox_gaps_total");
    assert_eq!(gaps, json!({"lost": 1}));
    let messages = by_label(&mut backend, "longlink_mailbox_messages_total");
    assert_eq!(messages, json!({"kept": 3, "delivered": 2, "lost": 1}));
    let (_, stats) = backend.get("/api/stats");
    for (name, value) in [
        ("longlink_mailboxes", 1),
        ("longlink_mailbox_waiting", 0),
        ("longlink_mailbox_acknowledgements_total", 1),
        ("longlink_mailbox_resumes_total", 0),
        ("longlink_mailbox_shed_total", 0),
        ("longlink_presence_watches", 2),
        ("longlink_journal_pending", 0),
        ("longlink_journal_unavailable_total", 0),
    ] {
        assert_eq!(stats[name], value, "{name}");
    }
    assert!(stats["longlink_mailbox_memory_bytes"].as_u64().unwrap() > 80, "{stats}");
    // One to oneself that is volatile went to one connection.
    assert_eq!(by_label(&mut backend, "longlink_relay_messages_total")["delivered"], 1);
}
