//! Stories of a server that keeps the mailboxes itself, which a node that shares them with others does not.

use std::sync::{Arc, Mutex};

use longlink::events::{Event, EventKind};
use longlink::sim::frames::text;
use longlink::{Config, Relay, RelayConfig};

use super::phone::Phone;
use super::{KEPT, link, link_of, serve};

#[test]
fn a_volatile_message_to_an_app_that_is_hidden_goes_to_nobody() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.say(&mut link, r#"{"type":"background"}"#);
    let send = r#"{"type":"send","cid":"v","toUserId":"bob","message":1,"volatile":true}"#;
    alice.say(&mut link, send);
    assert_eq!(alice.state(), "offline");
}

#[test]
fn mailboxes_for_names_that_nobody_has_stay_in_the_budget_and_are_given_up_before_those_of_users() {
    let mut relay = RelayConfig::default();
    relay.mailbox_memory = 200_000;
    let mut config = Config::default();
    config.message_rate = 0;
    let mut link = link_of(config, relay);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    alice.write_to(&mut link, "c", "bob", "hello");
    for number in 0..20_000 {
        let send = format!(
            r#"{{"type":"send","cid":"n{number}","toUserId":"nobody{number}","message":"hello"}}"#
        );
        link.send(alice.pipe, &text(&send));
        // What waits for the journal cannot be given up, so it is a small part of the budget.
        if number % 100 == 0 {
            link.settle();
            let gauges = link.handler().handler.mailbox_gauges();
            assert!(gauges.memory <= 200_000, "{}", gauges.memory);
        }
    }
    link.settle();
    alice.read(&link);
    assert_eq!(alice.acks.len(), 20_001);
    assert!(alice.acks.iter().all(|ack| ack["state"] == KEPT));
    assert!(link.handler().handler.mailbox_counters().shed > 19_000);
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["hello"]);
    assert!(bob.gaps.is_empty());
}

#[test]
fn a_member_whose_mailbox_was_given_up_gets_a_gap_if_the_group_has_got_messages_meanwhile() {
    let mut relay = RelayConfig::default();
    relay.mailbox_memory = 30_000;
    let mut link = link_of(Config::default(), relay);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    let to_group = |cid: &str, text: &str| {
        format!(r#"{{"type":"send","cid":"{cid}","group":"g","message":"{text}"}}"#)
    };
    for member in [&mut alice, &mut bob] {
        member.connect(&mut link);
        member.say(&mut link, r#"{"type":"join","group":"g"}"#);
    }
    alice.say(&mut link, &to_group("c1", "one"));
    bob.read(&link);
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    for number in 0..400 {
        let mut stranger = Phone::new(&format!("u{number}"), "phone");
        stranger.connect(&mut link);
        stranger.cut(&mut link);
    }
    assert!(link.handler().handler.mailbox_counters().shed > 0);
    alice.say(&mut link, &to_group("c2", "two"));
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["one"]);
    assert_eq!(bob.gaps.len(), 1, "{:?}", bob.welcomes);
    assert_eq!(bob.gaps[0].2, "lost");
}

/// uNetworking/uWebSockets.js#499, #1079: messages to a slow client were dropped without a notice.
#[test]
fn messages_that_a_bound_drops_are_counted_and_reported_with_a_gap() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    for number in 1..=100 {
        alice.write_to(&mut link, &format!("c{number}"), "bob", &number.to_string());
    }
    let counters = link.handler().handler.mailbox_counters();
    assert_eq!((counters.kept, counters.lost), (100, 36));
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(1), 36, "overflow".to_owned())]);
    assert_eq!((bob.texts().len(), bob.texts()[0]), (64, "37"));
}

/// centrifugal/centrifugo#93, #195, #693, #924, #926, sockudo/sockudo#227, WuKongIM/WuKongIM#257: a
/// backend did not learn that a user had missed a message, so it could not send a push
/// notification.
#[test]
fn a_message_that_expires_before_any_device_has_it_is_reported_to_watchers() {
    let missed = Arc::new(Mutex::new(Vec::new()));
    let told = missed.clone();
    let relay = Relay::new(RelayConfig::default());
    let relay = relay.with_watcher(&[EventKind::Undelivered], move |_, event| {
        if let Event::Undelivered { user, to, .. } = event {
            told.lock().expect("nobody has panicked").push(format!("{user} to {to}"));
        }
    });
    let mut link = serve(Config::default(), relay);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    alice.write_to(&mut link, "c", "bob", "1");
    bob.read(&link);
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    let send = r#"{"type":"send","cid":"t","toUserId":"bob","message":"2","ttl":60}"#;
    alice.say(&mut link, send);
    assert!(missed.lock().expect("nobody has panicked").is_empty());
    link.advance(59_000);
    assert!(missed.lock().expect("nobody has panicked").is_empty());
    link.advance(5_000);
    assert_eq!(*missed.lock().expect("nobody has panicked"), ["alice to bob"]);
}
