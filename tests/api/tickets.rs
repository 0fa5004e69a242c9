//! Tickets that a backend has minted.

use std::time::SystemTime;

use longlink::backend::ApiKey;
use longlink::tickets::Tickets;
use longlink::{Relay, RelayConfig};
use serde_json::json;

use crate::client::{KEY, place_of};
use crate::support::client::Socket;
use longlink::sim::frames::handshake;

#[test]
fn a_minted_ticket_lets_its_user_connect_and_no_other_user() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let tickets = Tickets::new(&[secret], |_| SystemTime::now()).unwrap();
    let relay = Relay::new(RelayConfig::default()).with_tickets(tickets);
    let place = place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let body = r#"{"user":"alice","ttl":60,"device":"phone","groups":["staff"],"broadcast":true}"#;
    let (status, answer) = backend.post("/api/ticket", body);
    assert_eq!(status, 200, "{answer}");
    let expires = answer["expires"].as_u64().unwrap();
    assert!((now + 59..=now + 80).contains(&expires), "{expires}");
    let ticket = answer["ticket"].as_str().unwrap();

    let field = format!("Authorization: Bearer {ticket}\r\n");
    let mut alice = Socket::connect(place.site.addr, "/websocket/alice?device=phone", &field);
    assert_eq!(place.site.raw().status(&handshake("/websocket/bob", &field)), 401);
    assert_eq!(place.site.raw().status(&handshake("/websocket/alice", "")), 401);
    backend.post("/api/send", r#"{"group":"staff","message":1}"#);
    assert_eq!(alice.texts().len(), 1);

    for (body, field) in [
        (r#"{"user":""}"#, "user"),
        (r#"{"user":"system"}"#, "user"),
        (r#"{"user":"a","ttl":0}"#, "ttl"),
        (r#"{"user":"a","ttl":2678401}"#, "ttl"),
        (r#"{"user":"a","ttl":1.5}"#, "ttl"),
        (r#"{"user":"a","device":"\n"}"#, "device"),
        (r#"{"user":"a","exp":1}"#, "exp"),
    ] {
        let (status, answer) = backend.post("/api/ticket", body);
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{body}");
    }
}

#[test]
fn a_user_who_was_blocked_does_not_come_back_with_a_ticket_that_is_still_good() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let tickets = Tickets::new(&[secret], |_| SystemTime::now()).unwrap();
    let relay = Relay::new(RelayConfig::default()).with_tickets(tickets);
    let place = place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    let (_, answer) = backend.post("/api/ticket", r#"{"user":"alice","ttl":60}"#);
    let field = format!("Authorization: Bearer {}\r\n", answer["ticket"].as_str().unwrap());
    let mut alice = Socket::connect(place.site.addr, "/websocket/alice", &field);
    let (_, blocked) = backend.post("/api/block", r#"{"user":"alice","for":60,"reason":"spam"}"#);
    assert_eq!(blocked["closed"], 1);
    assert_eq!(alice.close_code(), Some(4503));
    assert_eq!(place.site.raw().status(&handshake("/websocket/alice", &field)), 403);
    // Who has no ticket does not learn who is blocked.
    assert_eq!(place.site.raw().status(&handshake("/websocket/alice", "")), 401);
    let v2 = format!("{field}Sec-WebSocket-Protocol: longlink.v2\r\n");
    let mut phone = Socket::connect(place.site.addr, "/websocket/alice", &v2);
    assert_eq!(phone.text(), r#"{"type":"kick","code":4503,"reason":"spam","retry":false}"#);
    assert_eq!(phone.close_code(), Some(4503));
}
