//! Events for a backend about kept messages: messages that no device has received, and receipts.

use longlink::RelayConfig;
use longlink::backend::WebhookEvents;
use serde_json::{Value, json};

use super::backend::{Backend, Manner};
use super::ledger::Ledger;
use super::support::client::{DEADLINE, Socket};
use super::support::serve::Site;
use super::{site, site_of};
use longlink::Relay;

/// Connects a user with v2, and waits until the replay is over.
fn phone(site: &Site<Relay>, user: &str) -> Socket {
    let path = format!("/websocket/{user}?device=phone");
    let mut socket = Socket::connect(site.addr, &path, "Sec-WebSocket-Protocol: longlink.v2\r\n");
    wait_for(&mut socket, "live");
    socket
}

/// Waits for the next frame of this type.
fn wait_for(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&socket.text()).unwrap();
        if frame["type"] == kind {
            return frame;
        }
    }
}

/// Waits for the first event of this type.
fn told(ledger: &mut Ledger, backend: &Backend, kind: &str) -> Value {
    let find = |ledger: &Ledger| ledger.events.iter().find(|it| it["type"] == kind).cloned();
    ledger.until(backend, |ledger| find(ledger).is_some());
    find(ledger).unwrap()
}

#[test]
fn a_kept_message_that_a_bound_drops_before_any_device_has_it_is_reported_as_undelivered() {
    let backend = Backend::start(Manner::Takes);
    let mut relay = RelayConfig::default();
    relay.mailbox_messages = 1;
    let (site, webhooks) = site_of(relay, &backend, |_| {});
    let mut alice = phone(&site, "alice");
    for (cid, state) in [("a-1", "queued"), ("a-2", "queued")] {
        alice.send(&format!(
            r#"{{"type":"send","cid":"{cid}","toUserId":"bob","message":"{cid}"}}"#
        ));
        assert_eq!(wait_for(&mut alice, "ack")["state"], state);
    }
    let mut ledger = Ledger::default();
    let event = told(&mut ledger, &backend, "undelivered");
    assert_eq!((&event["user"], &event["toUserId"]), (&json!("alice"), &json!("bob")));
    let frame = r#"{"type":"message","formUserId":"alice","toUserId":"bob","message":"a-1"}"#;
    assert_eq!(event["frame"], frame);
    // A kept message of the server itself is reported, too, because nobody else learns of its loss.
    site.ask(|hub, relay| {
        relay.push(hub, "shop", "bob", "1");
        relay.push(hub, "shop", "bob", "2");
    });
    let is_of_shop = |it: &&Value| it["type"] == "undelivered" && it["user"] == "shop";
    ledger.until(&backend, |ledger| ledger.events.iter().any(|it| is_of_shop(&it)));
    let event = ledger.events.iter().find(is_of_shop).unwrap();
    assert!(event["frame"].as_str().unwrap().ends_with(r#""message":1}"#), "{event}");
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn a_kept_message_that_expires_before_any_device_has_it_is_reported_as_undelivered() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend, |_| {});
    let mut alice = phone(&site, "alice");
    alice.send(r#"{"type":"send","cid":"a-1","toUserId":"bob","message":1,"ttl":1}"#);
    assert_eq!(wait_for(&mut alice, "ack")["state"], "queued");
    let mut ledger = Ledger::default();
    let event = told(&mut ledger, &backend, "undelivered");
    assert_eq!((&event["user"], &event["toUserId"]), (&json!("alice"), &json!("bob")));
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn a_message_that_three_connections_did_not_acknowledge_is_reported_as_undelivered() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend, |_| {});
    let mut alice = phone(&site, "alice");
    alice.send(r#"{"type":"send","cid":"a-1","toUserId":"bob","message":"poison"}"#);
    assert_eq!(wait_for(&mut alice, "ack")["state"], "queued");
    for _ in 0..3 {
        let bob = phone(&site, "bob");
        bob.raw.reset();
        site.until("bob has gone", |hub| !hub.is_online("bob"));
    }
    let mut ledger = Ledger::default();
    let event = told(&mut ledger, &backend, "undelivered");
    assert_eq!((&event["user"], &event["toUserId"]), (&json!("alice"), &json!("bob")));
    assert!(event["frame"].as_str().unwrap().contains("poison"), "{event}");
    let mut bob = phone(&site, "bob");
    bob.send(r#"{"type":"ping"}"#);
    assert_eq!(wait_for(&mut bob, "pong")["type"], "pong");
    let count = ledger.events.iter().filter(|it| it["type"] == "undelivered").count();
    assert_eq!(count, 1);
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn a_receipt_is_reported_to_the_backend_only_if_it_is_among_the_chosen_events() {
    for is_asked_for in [true, false] {
        let backend = Backend::start(Manner::Takes);
        let (site, webhooks) = site(&backend, |hook| {
            if !is_asked_for {
                hook.events = WebhookEvents::default();
            }
        });
        let (mut alice, mut bob) = (phone(&site, "alice"), phone(&site, "bob"));
        alice.send(r#"{"type":"send","cid":"1","toUserId":"bob","message":1,"receipt":true}"#);
        let id = wait_for(&mut alice, "ack")["id"].clone();
        let seq = wait_for(&mut bob, "message")["seq"].clone();
        bob.send(&format!(r#"{{"type":"ack","seq":{seq}}}"#));
        assert_eq!(wait_for(&mut alice, "receipt")["id"], id);
        // The event behind it shows whether the receipt was reported.
        alice.raw.reset();
        let mut ledger = Ledger::default();
        told(&mut ledger, &backend, "offline");
        let receipt = ledger.events.iter().find(|it| it["type"] == "receipt");
        assert_eq!(receipt.is_some(), is_asked_for);
        if let Some(it) = receipt {
            assert_eq!((&it["user"], &it["device"]), (&json!("bob"), &json!("phone")));
            assert_eq!((&it["toUserId"], &it["id"]), (&json!("alice"), &id));
        }
        assert_eq!(webhooks.stop(DEADLINE), 0);
    }
}

#[test]
fn a_message_to_a_group_is_reported_with_its_group() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend, |_| {});
    let mut alice = phone(&site, "alice");
    alice.send(r#"{"type":"join","group":"g"}"#);
    wait_for(&mut alice, "joined");
    for (cid, more) in [("1", ""), ("2", r#","volatile":true"#)] {
        let send =
            format!(r#"{{"type":"send","cid":"{cid}","group":"g","message":"{cid}"{more}}}"#);
        alice.send(&send);
        wait_for(&mut alice, "ack");
    }
    let mut ledger = Ledger::default();
    ledger.until(&backend, |ledger| ledger.last == 3);
    assert_eq!(ledger.told(), ["online alice", "message alice", "message alice"]);
    for (event, message) in ledger.events[1..].iter().zip(["1", "2"]) {
        assert!(event["toUserId"].is_null());
        let frame = format!(
            r#"{{"type":"broadcast","formUserId":"alice","group":"g","message":"{message}"}}"#
        );
        assert_eq!(event["frame"], frame);
    }
    assert_eq!(webhooks.stop(DEADLINE), 0);
}
