//! What no client should send: it is answered or ignored, and costs nobody else anything.

use super::link;
use super::phone::Phone;

#[test]
fn what_is_no_frame_is_answered_with_an_error_and_the_connection_goes_on() {
    let mut link = link();
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let nested = format!(r#"{{"type":"send","cid":"c","toUserId":"x","message":{deep}}}"#);
    let long_cid =
        format!(r#"{{"type":"send","cid":"{}","toUserId":"x","message":1}}"#, "c".repeat(65));
    let bad =
        ["ping", "", "{", "[]", "{}", r#"{"type":1}"#, r#"{"type":"ack"}"#, &nested, &long_cid];
    for frame in bad {
        bob.say(&mut link, frame);
        assert_eq!(bob.types(), ["error"], "{frame}");
        assert_eq!(bob.error(), ("frame", false));
    }
    bob.say(&mut link, r#"{"type":"send","cid":"c9","message":1}"#);
    assert_eq!(bob.errors.last().unwrap()["cid"], "c9");
    bob.say(&mut link, r#"{"type":"dance"}"#);
    assert!(bob.frames.is_empty(), "types that nobody knows are ignored");
    bob.say(&mut link, r#"{"type":"history","cid":"h1","with":"a"}"#);
    assert_eq!(bob.error(), ("unavailable", false));
    assert!(bob.is_open(&link));
}

#[test]
fn an_app_that_is_hidden_and_asks_without_end_is_ended_and_holds_no_memory() {
    let mut link = link();
    let mut eve = Phone::new("eve", "e");
    eve.connect(&mut link);
    eve.say(&mut link, r#"{"type":"background"}"#);
    for _ in 0..600 {
        eve.say(&mut link, "nonsense");
    }
    assert!(eve.frames.is_empty());
    assert!(!eve.is_open(&link));
}

#[test]
fn a_client_that_acknowledges_each_message_alone_or_none_costs_nobody_else_anything() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    let mut carol = Phone::new("carol", "c");
    for phone in [&mut alice, &mut bob, &mut carol] {
        phone.connect(&mut link);
    }
    for number in 0..200 {
        let text = number.to_string();
        for to in ["bob", "carol"] {
            alice.write_to(&mut link, &format!("{to}{number}"), to, &text);
            assert_eq!(alice.state(), "queued");
        }
        bob.read(&link);
        bob.acknowledge(&mut link);
    }
    assert_eq!(bob.messages.len(), 200);
    carol.read(&link);
    assert_eq!(carol.messages.len(), 64, "a window, and no more");
    carol.acknowledge(&mut link);
    carol.acknowledge(&mut link);
    carol.acknowledge(&mut link);
    assert_eq!(carol.messages.len(), 200);
    assert!(carol.gaps.is_empty());
}

#[test]
fn mailboxes_for_names_that_nobody_has_stay_within_the_budget_and_go_before_those_of_users() {
    let mut relay = longlink::RelayConfig::default();
    relay.mailbox_memory = 200_000;
    let mut link = super::link_of(longlink::Config::default(), relay);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    alice.write_to(&mut link, "c", "bob", "hello");
    for number in 0..1_000 {
        alice.write_to(&mut link, &format!("n{number}"), &format!("nobody{number}"), "hello");
        assert_eq!(alice.state(), "queued");
        if number % 100 == 0 {
            link.advance(1_000);
        }
    }
    let gauges = link.handler().handler.mailbox_gauges();
    assert!(gauges.memory <= 200_000, "{}", gauges.memory);
    assert!(link.handler().handler.mailbox_counters().shed > 500);
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["hello"]);
}
