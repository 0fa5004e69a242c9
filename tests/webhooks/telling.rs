//! Which events a backend gets, and in which form.

use std::time::{Duration, SystemTime};

use super::backend::{Backend, Manner, SECRET};
use super::ledger::Ledger;
use super::site;
use super::support::client::{DEADLINE, Socket};

#[test]
fn events_tell_that_users_come_send_and_leave() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend, |_| {});
    let mut ledger = Ledger::default();

    let mut alice = Socket::connect(site.addr, "/websocket/alice?device=phone", "");
    alice.send(r#"{"toUserId":"bob","message":"hi"}"#).send("to all");
    alice.texts();
    let pad = Socket::connect(site.addr, "/websocket/alice?device=pad", "");
    alice.raw.reset();
    site.until("the phone is gone", |hub| hub.connections() == 1);
    drop(pad);
    ledger.until(&backend, |ledger| ledger.last == 5);
    assert_eq!(
        ledger.told(),
        ["online alice", "message alice", "undelivered alice", "message alice", "offline alice"]
    );
    let [online, to_bob, undelivered, to_all, offline] = &ledger.events[..] else { panic!() };
    assert_eq!((&online["device"], &offline["device"]), (&"phone".into(), &"pad".into()));
    let frame = r#"{"type":"message","formUserId":"alice","toUserId":"bob","message":"hi"}"#;
    for event in [to_bob, undelivered] {
        assert_eq!((&event["toUserId"], &event["frame"]), (&"bob".into(), &frame.into()));
    }
    let frame = r#"{"type":"broadcast","formUserId":"alice","message":"to all"}"#;
    assert_eq!(to_all["frame"], frame);
    assert!(to_all["toUserId"].is_null());
    assert_eq!(webhooks.position(), (ledger.epoch.clone().unwrap(), 5));

    let stats = webhooks.stats();
    assert_eq!((stats.dropped, stats.failures), (0, 0));
    assert_eq!(webhooks.stop(DEADLINE), 0);
    assert_eq!(webhooks.stats().delivered, 5);
}

#[test]
fn requests_are_signed_with_their_time() {
    let backend = Backend::start(Manner::Status(500));
    let (site, _webhooks) = site(&backend, |_| {});
    let _alice = site.connect("张三");
    // Each attempt is signed with its own time.
    for _ in 0..3 {
        let request = backend.request();
        assert!(request.head.starts_with("POST /hook?key=token HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.field("Content-Type"), "application/json");
        assert!(request.is_signed_with(SECRET));
        assert!(!request.is_signed_with(b"another secret of the two"));
        let sent = Duration::from_secs(request.field("Longlink-Timestamp").parse().unwrap());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(now.abs_diff(sent) < DEADLINE, "{sent:?}");
    }
}

#[test]
fn a_user_who_reconnects_in_time_causes_no_event() {
    let backend = Backend::start(Manner::Takes);
    // This is longer than the test takes, so a user comes back in time even on a busy machine.
    let (site, webhooks) = site(&backend, |hook| hook.offline_after = 10 * DEADLINE);
    for _ in 0..3 {
        drop(site.connect("alice"));
        site.until("alice is gone", |hub| hub.connections() == 0);
    }
    let _bob = site.connect("bob");
    let mut ledger = Ledger::default();
    ledger.until(&backend, |ledger| ledger.last == 2);
    assert_eq!(ledger.told(), ["online alice", "online bob"]);
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn messages_of_the_server_itself_cause_no_event() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend, |_| {});
    let mut alice = site.connect("alice");
    let sent = site.ask(|hub, relay| {
        (relay.push(hub, "shop", "alice", "1"), relay.push(hub, "shop", "nobody", "2"))
    });
    assert_eq!(sent, (1, 0));
    assert!(alice.text().ends_with(r#""message":1}"#));
    let _bob = site.connect("bob");
    let mut ledger = Ledger::default();
    ledger.until(&backend, |ledger| ledger.last == 2);
    assert_eq!(ledger.told(), ["online alice", "online bob"], "neither a message nor a loss");
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn waiting_events_are_sent_before_the_server_stops() {
    let backend = Backend::start(Manner::Status(503));
    let (site, webhooks) = site(&backend, |hook| {
        (hook.retry_min, hook.retry_max) = (Duration::from_millis(5), 10 * DEADLINE);
    });
    let mut alice = site.connect("alice");
    for _ in 0..10 {
        alice.send("x");
    }
    alice.texts();
    // By now the pause between two attempts is far longer than the time that is left.
    while webhooks.stats().failures < 8 {
        backend.request();
    }
    backend.behave(Manner::Takes);
    assert_eq!(webhooks.stop(DEADLINE), 0);
    assert_eq!(webhooks.stats().delivered, 11);
}
