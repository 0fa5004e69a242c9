//! Tests of groups, of messages that are not kept, and of presence.

use super::phone::Phone;
use super::{KEPT, Link, link};
use longlink::sim::frames::{handshake, text};

fn phone(link: &mut Link, user: &str) -> Phone {
    let mut phone = Phone::new(user, "phone");
    phone.connect(link);
    phone
}

/// Connects a v1 page as a user. Returns its pipe.
fn page(link: &mut Link, user: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(&format!("/websocket/{user}"), ""));
    link.settle();
    pipe
}

fn join(link: &mut Link, phone: &mut Phone, group: &str) {
    phone.say(link, &format!(r#"{{"type":"join","group":"{group}"}}"#));
    assert_eq!(phone.types(), ["joined"]);
}

fn to_group(cid: &str, group: &str, message: &str) -> String {
    format!(r#"{{"type":"send","cid":"{cid}","group":"{group}","message":"{message}"}}"#)
}

#[test]
fn a_message_to_a_group_waits_for_each_member_who_is_away() {
    let mut link = link();
    let (mut alice, mut bob) = (phone(&mut link, "alice"), phone(&mut link, "bob"));
    let (mut carol, eve) = (phone(&mut link, "carol"), phone(&mut link, "eve"));
    for member in [&mut alice, &mut bob, &mut carol] {
        join(&mut link, member, "g");
    }
    carol.cut(&mut link);
    alice.say(&mut link, &to_group("c1", "g", "hello"));
    assert_eq!((alice.state(), &alice.acks[0]["receivers"]), (KEPT, &2.into()));
    assert!(alice.texts().is_empty(), "the sending device gets none");
    bob.read(&link);
    assert_eq!(bob.texts(), ["hello"]);
    let frame = &bob.messages[0].1;
    assert_eq!((&frame["group"], &frame["formUserId"]), (&"g".into(), &"alice".into()));
    assert!(frame["toUserId"].is_null());
    carol.connect(&mut link);
    assert_eq!(carol.texts(), ["hello"]);
    assert!(eve.texts().is_empty());
    // When the same send comes again, it is answered as before.
    alice.say(&mut link, &to_group("c1", "g", "hello"));
    assert_eq!(alice.state(), "duplicate");
    bob.say(&mut link, r#"{"type":"leave","group":"g"}"#);
    assert_eq!(bob.types(), ["left"]);
    alice.say(&mut link, &to_group("c2", "g", "without bob"));
    assert_eq!(alice.acks.last().unwrap()["receivers"], 1);
    bob.read(&link);
    assert_eq!(bob.texts(), ["hello"]);
}

#[test]
fn only_members_write_to_a_group() {
    let mut link = link();
    let mut eve = phone(&mut link, "eve");
    eve.say(&mut link, &to_group("c1", "g", "let me in"));
    assert_eq!(eve.error(), ("not-member", false));
    assert_eq!(eve.errors[0]["cid"], "c1");
}

#[test]
fn a_client_that_asks_to_join_ten_thousand_groups_joins_64_and_stays_connected() {
    let mut link = link();
    let mut eve = phone(&mut link, "eve");
    for number in 0..10_000 {
        link.send(eve.pipe, &text(&format!(r#"{{"type":"join","group":"g{number}"}}"#)));
        if number % 1_000 == 0 {
            link.advance(2_000);
        }
    }
    link.advance(20_000);
    eve.read(&link);
    assert_eq!(eve.errors.len(), 10_000 - 64);
    assert_eq!(eve.error(), ("full", false));
    assert!(eve.is_open(&link));
}

#[test]
fn the_other_devices_of_a_sender_get_a_copy_of_a_message_to_a_group() {
    let mut link = link();
    let mut alice = phone(&mut link, "alice");
    let mut pad = Phone::new("alice", "pad");
    pad.connect(&mut link);
    join(&mut link, &mut alice, "g");
    alice.say(&mut link, &to_group("c1", "g", "hello"));
    assert_eq!(alice.acks[0]["receivers"], 0);
    pad.read(&link);
    assert_eq!(pad.texts(), ["hello"]);
    assert_eq!(
        (&pad.messages[0].1["own"], &pad.messages[0].1["group"]),
        (&true.into(), &"g".into())
    );
}

#[test]
fn a_message_to_all_reaches_v1_pages_as_a_broadcast_and_v2_clients_without_a_number() {
    let mut link = link();
    let anna = page(&mut link, "anna");
    let (mut alice, mut bob) = (phone(&mut link, "alice"), phone(&mut link, "bob"));
    alice.say(&mut link, r#"{"type":"send","cid":"c1","all":true,"message":{"n":1}}"#);
    assert_eq!((alice.state(), &alice.acks[0]["receivers"]), ("sent", &2.into()));
    assert!(alice.passing.is_empty());
    bob.read(&link);
    assert_eq!(
        (&bob.passing[0]["all"], &bob.passing[0]["message"]["n"]),
        (&true.into(), &1.into())
    );
    let expected = r#"{"type":"broadcast","formUserId":"alice","message":{"n":1}}"#;
    assert_eq!(link.pipes[anna].texts(), [expected]);
    alice.say(&mut link, r#"{"type":"send","cid":"c1","all":true,"message":{"n":1}}"#);
    assert_eq!(alice.state(), "duplicate");
    assert_eq!(link.pipes[anna].texts().len(), 1);
}

#[test]
fn a_volatile_message_reaches_only_users_who_are_connected_and_is_not_kept() {
    let mut link = link();
    let anna = page(&mut link, "anna");
    let (mut alice, mut bob) = (phone(&mut link, "alice"), phone(&mut link, "bob"));
    let typing = |cid: &str, to: &str| {
        format!(r#"{{"type":"send",{cid}"toUserId":"{to}","message":"typing","volatile":true}}"#)
    };
    alice.say(&mut link, &typing("", "bob"));
    assert!(alice.frames.is_empty(), "without a cid there is no answer");
    bob.read(&link);
    assert_eq!(bob.passing.len(), 1);
    assert!(bob.passing[0]["seq"].is_null());
    alice.say(&mut link, &typing(r#""cid":"v1","#, "anna"));
    assert_eq!(alice.state(), "sent");
    assert_eq!(link.pipes[anna].texts().len(), 1);
    bob.say(&mut link, r#"{"type":"background"}"#);
    alice.say(&mut link, &typing(r#""cid":"v2","#, "bob"));
    bob.say(&mut link, r#"{"type":"foreground"}"#);
    assert!(bob.frames.is_empty(), "the message was not kept");
    alice.say(&mut link, &typing(r#""cid":"v3","#, "nobody"));
    assert_eq!(alice.state(), "offline");
    assert_eq!(link.handler().handler.mailbox_counters().kept, 0);
}

#[test]
fn a_watcher_is_told_when_a_user_comes_and_five_seconds_after_the_last_connection_has_gone() {
    let mut link = link();
    let mut alice = phone(&mut link, "alice");
    let mut bob = phone(&mut link, "bob");
    alice.say(&mut link, r#"{"type":"presence","users":["bob","carol"],"watch":true}"#);
    assert_eq!(alice.frames[0]["users"], serde_json::json!({"bob": true, "carol": false}));
    bob.cut(&mut link);
    link.advance(4_000);
    alice.say(&mut link, r#"{"type":"presence","users":["bob"]}"#);
    assert_eq!(alice.frames[0]["users"]["bob"], true, "bob is online for five more seconds");
    link.advance(1_500);
    alice.read(&link);
    assert_eq!(alice.frames[0]["users"], serde_json::json!({"bob": false}));
    bob.connect(&mut link);
    let _page = page(&mut link, "carol");
    link.advance(1_100);
    alice.read(&link);
    assert_eq!(alice.types(), ["presence", "presence"], "carol is online with a v1 page");
    alice.say(&mut link, r#"{"type":"presence","users":["bob"],"watch":false}"#);
    bob.cut(&mut link);
    link.advance(10_000);
    alice.read(&link);
    assert!(alice.frames.is_empty());
}

#[test]
fn a_connection_can_watch_at_most_a_hundred_users() {
    let mut link = link();
    let mut alice = phone(&mut link, "alice");
    let users = |from: usize, to: usize| {
        let users: Vec<String> = (from..to).map(|user| format!("\"u{user}\"")).collect();
        format!(r#"{{"type":"presence","users":[{}],"watch":true}}"#, users.join(","))
    };
    alice.say(&mut link, &users(0, 60));
    alice.say(&mut link, &users(50, 100));
    assert!(alice.errors.is_empty());
    alice.say(&mut link, &users(99, 101));
    assert_eq!(alice.error(), ("full", false));
    alice.say(&mut link, &users(0, 101));
    assert_eq!(alice.error(), ("frame", false));
}

#[test]
fn an_app_that_is_hidden_is_told_of_changes_of_presence_when_it_is_shown() {
    let mut link = link();
    let mut alice = phone(&mut link, "alice");
    alice.say(&mut link, r#"{"type":"presence","users":["bob"],"watch":true}"#);
    alice.say(&mut link, r#"{"type":"background"}"#);
    let _bob = phone(&mut link, "bob");
    link.advance(2_000);
    alice.read(&link);
    assert!(alice.frames.is_empty());
    alice.say(&mut link, r#"{"type":"foreground"}"#);
    assert_eq!(alice.frames[0]["users"], serde_json::json!({"bob": true}));
}
