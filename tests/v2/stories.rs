//! Stories of phones and v1 pages, and which frames each of them must get.

use std::sync::mpsc;

use super::phone::Phone;
use super::{KEPT, Link, link, serve};
use longlink::events::{Event, EventKind};
use longlink::sim::frames::{Got, close, handshake, text};
use longlink::{Config, Relay, RelayConfig};

/// Connects a v1 page as a user. Returns its pipe.
fn page(link: &mut Link, user: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(&format!("/websocket/{user}"), ""));
    link.settle();
    pipe
}

fn say(link: &mut Link, pipe: usize, message: &str) {
    link.send(pipe, &text(message));
    link.settle();
}

#[test]
fn a_client_is_welcomed_with_its_number_and_its_cursor_before_any_message() {
    let mut link = link();
    let mut bob = Phone::new("bob", "phone");
    bob.connect(&mut link);
    assert_eq!(bob.types(), ["welcome", "live"]);
    let welcome = &bob.welcomes[0];
    assert_eq!((&welcome["seq"], &welcome["cursor"]), (&0.into(), &0.into()));
    assert_eq!((&welcome["resumed"], &welcome["window"]), (&true.into(), &64.into()));
    assert_eq!((&welcome["idle"], &welcome["ping"]), (&60_000.into(), &15_000.into()));
    assert_eq!(welcome["maxMessage"], 65_536);
    let Got::Http(101, head, _) = &link.pipes[bob.pipe].got[0] else { panic!("no handshake") };
    assert!(head.contains("Sec-WebSocket-Protocol: longlink.v2\r\n"), "{head}");
}

#[test]
fn watchers_are_told_who_has_sent_a_message_though_the_connection_ends_before_it_is_kept() {
    let (told, senders) = mpsc::channel();
    let relay = Relay::new(RelayConfig::default());
    let mut link = serve(
        Config::default(),
        relay.with_watcher(&[EventKind::Message], move |_, event| {
            let Event::Message { user, device, .. } = event else { return };
            told.send(format!("{user} {device}")).unwrap();
        }),
    );
    let (mut ann, mut bob) = (Phone::new("ann", "phone"), Phone::new("bob", "phone"));
    ann.connect(&mut link);
    bob.connect(&mut link);
    let send = r#"{"type":"send","cid":"a-1","toUserId":"bob","message":"hi"}"#;
    link.send(ann.pipe, &text(send));
    link.send(ann.pipe, &close(1000));
    link.finish(ann.pipe);
    link.settle();
    bob.read(&link);
    assert_eq!(bob.texts(), ["hi"]);
    assert_eq!(senders.try_iter().collect::<Vec<_>>(), ["ann phone"]);
}

#[test]
fn a_query_can_ask_for_v2_too_and_a_connection_that_does_not_ask_speaks_v1() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.send(pipe, &handshake("/websocket/bob?v=2", ""));
    link.settle();
    assert!(link.pipes[pipe].texts()[0].starts_with(r#"{"type":"welcome""#));
    let pipe = link.connect().unwrap();
    link.send(pipe, &handshake("/websocket/bob?v=3&device=x", ""));
    link.settle();
    say(&mut link, pipe, "ping");
    assert_eq!(link.pipes[pipe].texts(), [r#"{"type":"pong"}"#]);
}

#[test]
fn messages_to_a_user_who_is_away_are_there_when_the_phone_comes_back() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "one");
    assert_eq!(alice.state(), KEPT);
    bob.read(&link);
    assert_eq!(bob.texts(), ["one"]);
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    for number in 2..=4 {
        alice.write_to(&mut link, &format!("c{number}"), "bob", &format!("{number}"));
        assert_eq!(alice.state(), KEPT);
    }
    bob.connect(&mut link);
    assert_eq!(bob.types(), ["welcome", "message", "message", "message", "live"]);
    assert_eq!(bob.texts(), ["one", "2", "3", "4"]);
    assert_eq!(bob.welcomes[1]["resumed"], true);
    assert_eq!((&bob.welcomes[1]["seq"], &bob.welcomes[1]["cursor"]), (&4.into(), &1.into()));
    let (_, frame) = &bob.messages[1];
    assert_eq!((&frame["formUserId"], &frame["toUserId"]), (&"alice".into(), &"bob".into()));
    assert_eq!(frame["id"], alice.acks[1]["id"]);
    assert!(frame["ts"].is_u64());
    assert!(bob.gaps.is_empty());
}

#[test]
fn messages_that_were_written_to_a_dead_connection_come_again_and_the_app_gets_each_once() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "seen");
    bob.read(&link);
    // The connection is half open: the phone has gone, and the server does not know it.
    alice.write_to(&mut link, "c2", "bob", "swallowed");
    alice.write_to(&mut link, "c3", "bob", "swallowed too");
    let old = bob.pipe;
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["seen", "swallowed", "swallowed too"]);
    assert!(bob.gaps.is_empty());
    let texts = link.pipes[old].texts();
    let kick = texts.last().unwrap();
    assert!(kick.starts_with(r#"{"type":"kick","code":4509,"#), "{kick}");
    assert!(kick.ends_with(r#""retry":false}"#), "{kick}");
    assert!(matches!(link.pipes[old].got.last(), Some(Got::Close(4509, _))));
    assert!(bob.is_open(&link));
}

#[test]
fn however_many_dead_connections_a_phone_has_left_behind_its_newest_one_is_let_in() {
    let mut link = link();
    let mut bob = Phone::new("bob", "b");
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    for round in 0..60 {
        bob.connect(&mut link);
        assert!(bob.is_open(&link), "connection {round}");
        alice.write_to(&mut link, &format!("c{round}"), "bob", &round.to_string());
        bob.read(&link);
        assert_eq!(bob.messages.len(), round + 1);
    }
}

#[test]
fn a_send_that_comes_again_is_answered_as_before_and_is_not_delivered_again() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    bob.connect(&mut link);
    alice.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "once");
    alice.cut(&mut link);
    alice.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "once");
    let (first, second) = (&alice.acks[0], &alice.acks[1]);
    assert_eq!((&second["state"], &second["was"]), (&"duplicate".into(), &KEPT.into()));
    assert_eq!(first["id"], second["id"]);
    alice.write_to(&mut link, "c1", "bob", "something else");
    assert_eq!(alice.error(), ("conflict", false));
    alice.write_to(&mut link, "c1", "eve", "once");
    assert_eq!(alice.error(), ("conflict", false));
    let mut other = Phone::new("alice", "another");
    other.connect(&mut link);
    other.write_to(&mut link, "c1", "bob", "of another device");
    assert_eq!(other.state(), KEPT);
    bob.read(&link);
    assert_eq!(bob.texts(), ["once", "of another device"]);
}

#[test]
fn a_v1_page_and_a_v2_client_can_chat_with_each_other() {
    let mut link = link();
    let anna = page(&mut link, "anna");
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    say(&mut link, anna, r#"{"toUserId":"bob","message":{"n":12345678901234567890123.0}}"#);
    say(&mut link, anna, r#"{"toUserId":"bob","message":"in the way of the page, to bob"}"#);
    bob.read(&link);
    let frame = &bob.messages[1].1;
    assert_eq!(frame["message"], "in the way of the page, to bob");
    assert_eq!((&frame["formUserId"], &frame["seq"]), (&"anna".into(), &2.into()));
    assert!(
        link.pipes[bob.pipe].texts()[2].contains(r#""message":{"n":12345678901234567890123.0},"#)
    );
    bob.write_to(&mut link, "c1", "anna", "hello");
    assert_eq!(bob.state(), "sent", "a v1 page cannot acknowledge");
    let expected = r#"{"type":"message","formUserId":"bob","toUserId":"anna","message":"hello"}"#;
    assert_eq!(link.pipes[anna].texts(), [expected]);
    // What the page writes while bob is away waits for him.
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    say(&mut link, anna, r#"{"toUserId":"bob","message":"later"}"#);
    bob.connect(&mut link);
    assert_eq!(bob.texts().last(), Some(&"later"));
}

#[test]
fn a_v2_client_gets_the_broadcast_of_a_v1_page_as_a_v2_message_without_a_number() {
    let mut link = link();
    let anna = page(&mut link, "anna");
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    say(&mut link, anna, "hello, all");
    say(&mut link, anna, r#"{"message":{"x":1},"type":"order"}"#);
    bob.read(&link);
    assert_eq!(bob.types(), ["message", "message"]);
    assert_eq!(bob.passing[0]["message"], "hello, all");
    assert_eq!(bob.passing[1]["message"]["x"], 1);
    for frame in &bob.passing {
        assert_eq!((&frame["all"], &frame["formUserId"]), (&true.into(), &"anna".into()));
        assert!(frame["seq"].is_null() && frame["id"].is_string());
    }
    assert_eq!(link.pipes[anna].texts().len(), 2);
}

#[test]
fn the_other_devices_of_a_sender_get_a_copy_and_the_sending_device_gets_none() {
    let mut link = link();
    let (mut phone, mut pad) = (Phone::new("alice", "phone"), Phone::new("alice", "pad"));
    phone.connect(&mut link);
    pad.connect(&mut link);
    pad.cut(&mut link);
    phone.write_to(&mut link, "c1", "bob", "hi");
    phone.write_to(&mut link, "c2", "alice", "note to myself");
    assert_eq!(phone.texts(), ["note to myself"]);
    pad.connect(&mut link);
    assert_eq!(pad.texts(), ["hi", "note to myself"]);
    assert_eq!(pad.messages[0].1["own"], true);
    assert_eq!(pad.messages[0].1["toUserId"], "bob");
    assert!(pad.messages[1].1["own"].is_null());
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["hi"]);
    assert!(bob.messages[0].1["own"].is_null());
}

#[test]
fn a_receipt_comes_after_the_first_device_has_acknowledged_and_at_most_one_for_each_peer_waits() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    let mut pad = Phone::new("bob", "pad");
    bob.connect(&mut link);
    pad.connect(&mut link);
    alice.connect(&mut link);
    for number in 1..=3 {
        alice.say(
            &mut link,
            &format!(
                r#"{{"type":"send","cid":"c{number}","toUserId":"bob","message":{number},"receipt":true}}"#
            ),
        );
    }
    alice.acknowledge(&mut link);
    alice.cut(&mut link);
    bob.read(&link);
    for seq in 1..=3 {
        bob.say(&mut link, &format!(r#"{{"type":"ack","seq":{seq}}}"#));
    }
    pad.read(&link);
    pad.acknowledge(&mut link);
    alice.connect(&mut link);
    assert_eq!(alice.receipts.len(), 1);
    let receipt = &alice.receipts[0];
    assert_eq!((&receipt["toUserId"], &receipt["id"]), (&"bob".into(), &alice.acks[2]["id"]));
    assert!(receipt["seq"].is_u64());
}

#[test]
fn nothing_is_written_to_an_app_that_is_hidden_until_it_is_shown_again() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.say(&mut link, r#"{"type":"background"}"#);
    alice.write_to(&mut link, "c1", "bob", "while hidden");
    bob.say(&mut link, r#"{"type":"ping","t":1}"#);
    assert!(bob.frames.is_empty());
    bob.say(&mut link, r#"{"type":"foreground"}"#);
    assert_eq!(bob.texts(), ["while hidden"]);
    // A send tells the server, too, that the app is shown.
    bob.say(&mut link, r#"{"type":"background"}"#);
    alice.write_to(&mut link, "c2", "bob", "again");
    bob.write_to(&mut link, "b1", "alice", "here I am");
    assert_eq!(bob.types(), ["message", "ack"]);
    // A heartbeat that comes ten seconds after `background` tells it, too: `foreground` may have been lost.
    bob.say(&mut link, r#"{"type":"background"}"#);
    alice.write_to(&mut link, "c3", "bob", "third");
    link.advance(9_900);
    bob.say(&mut link, r#"{"type":"ping"}"#);
    assert!(bob.frames.is_empty());
    link.advance(200);
    bob.say(&mut link, r#"{"type":"ping"}"#);
    assert_eq!(bob.types(), ["message", "pong"]);
}

#[test]
fn a_heartbeat_is_answered_with_its_own_text() {
    let mut link = link();
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    bob.say(&mut link, r#"{"type":"ping","t": {"a":12345678901234567890123.0} }"#);
    let last = *link.pipes[bob.pipe].texts().last().unwrap();
    assert_eq!(last, r#"{"type":"pong","t":{"a":12345678901234567890123.0}}"#);
}

#[test]
fn a_device_skips_a_message_that_it_did_not_acknowledge_on_three_connections() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    alice.write_to(&mut link, "c1", "bob", "bad");
    alice.write_to(&mut link, "c2", "bob", "good");
    for _ in 0..3 {
        // The app crashes at the first message, so it keeps no cursor.
        let mut crashing = Phone::new("bob", "b");
        (crashing.epoch, crashing.cursor) = (bob.epoch.clone(), bob.cursor);
        crashing.connect(&mut link);
        assert_eq!(crashing.texts(), ["bad", "good"]);
        crashing.cut(&mut link);
    }
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(1), 1, "undeliverable".to_owned())]);
    assert_eq!(bob.texts(), ["good"]);
}

#[test]
fn a_device_that_acknowledges_nothing_gets_one_window_of_messages() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    for number in 0..100 {
        alice.write_to(&mut link, &format!("c{number}"), "bob", &number.to_string());
    }
    bob.read(&link);
    assert_eq!(bob.messages.len(), 64);
    bob.acknowledge(&mut link);
    assert_eq!(bob.messages.len(), 100);
    assert!(bob.gaps.is_empty(), "a burst does not overflow a reader that acknowledges");
}

#[test]
fn a_device_that_acknowledges_nothing_for_30_seconds_loses_only_the_messages_above_the_bound() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    alice.write_to(&mut link, "first", "bob", "first");
    for _ in 0..4 {
        link.advance(10_000);
        bob.say(&mut link, r#"{"type":"ping"}"#);
        alice.say(&mut link, r#"{"type":"ping"}"#);
    }
    for number in 0..70 {
        alice.write_to(&mut link, &format!("c{number}"), "bob", &number.to_string());
    }
    bob.read(&link);
    assert_eq!(bob.texts(), ["first"]);
    bob.acknowledge(&mut link);
    assert_eq!(bob.gaps, [(Some(2), 7, "overflow".to_owned())]);
    assert_eq!(bob.texts().len(), 65);
    assert_eq!(bob.texts().last(), Some(&"69"));
}

#[test]
fn an_acknowledgement_above_all_written_numbers_counts_as_one_of_the_highest_of_them() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.say(&mut link, r#"{"type":"ack","seq":18446744073709551616}"#);
    alice.write_to(&mut link, "c1", "bob", "one");
    bob.read(&link);
    bob.say(&mut link, r#"{"type":"ack","seq":99999}"#);
    bob.say(&mut link, r#"{"type":"ack","seq":0}"#);
    assert!(bob.errors.is_empty());
    bob.cut(&mut link);
    alice.write_to(&mut link, "c2", "bob", "two");
    let mut again = Phone::new("bob", "b");
    again.connect(&mut link);
    assert_eq!(again.texts(), ["two"], "the server remembers the cursor of a device");
}

#[test]
fn a_last_of_another_epoch_or_above_all_numbers_is_answered_with_a_gap_and_the_held_messages() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    alice.write_to(&mut link, "c1", "bob", "one");
    bob.connect_with(&mut link, "&last=longgone-77");
    assert_eq!(bob.welcomes[1]["resumed"], false);
    assert_eq!(bob.types(), ["welcome", "gap", "message", "live"]);
    assert_eq!(bob.gaps, [(None, 0, "lost".to_owned())]);
    bob.cut(&mut link);
    let last = format!("&last={}-5", bob.epoch);
    bob.connect_with(&mut link, &last);
    assert_eq!(bob.types(), ["welcome", "gap", "live"]);
    assert_eq!(bob.gaps[1], (None, 1, "lost".to_owned()));
    bob.cut(&mut link);
    bob.connect_with(&mut link, "&last=what%20is%20this");
    assert_eq!(bob.welcomes[3]["resumed"], true, "a last that does not parse is ignored");
}

#[test]
fn the_answer_to_a_message_to_many_users_says_the_state_for_each_of_them() {
    let mut link = link();
    let anna = page(&mut link, "anna");
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    alice.say(
        &mut link,
        r#"{"type":"send","cid":"c1","toUserIds":["anna","bob","no/body"],"message":1}"#,
    );
    let results = alice.acks[0]["results"].as_array().unwrap();
    let of = |at: usize| (results[at]["toUserId"].as_str(), results[at]["state"].as_str());
    assert_eq!(of(0), (Some("anna"), Some("sent")));
    assert_eq!(of(1), (Some("bob"), Some(KEPT)));
    assert_eq!(of(2), (Some("no/body"), Some("offline")));
    assert_eq!(link.pipes[anna].texts().len(), 1);
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    assert_eq!(bob.messages.len(), 1);
}

#[test]
fn a_message_waits_no_longer_than_its_ttl_and_a_newer_one_with_its_key_replaces_it() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    let send = |cid: &str, more: &str| {
        format!(r#"{{"type":"send","cid":"{cid}","toUserId":"bob","message":"{cid}",{more}}}"#)
    };
    alice.say(&mut link, &send("short", r#""ttl":5"#));
    alice.say(&mut link, &send("here", r#""key":"pos""#));
    alice.say(&mut link, &send("there", r#""key":"pos""#));
    alice.say(&mut link, &send("other", r#""key":"mood""#));
    link.advance(7_000);
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(1), 1, "expired".to_owned())]);
    assert_eq!(bob.texts(), ["there", "other"]);
}

#[test]
fn clients_are_told_when_to_come_back_before_the_server_goes_away() {
    let mut link = link();
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    let anna = page(&mut link, "anna");
    link.shutdown();
    link.settle();
    bob.read(&link);
    assert_eq!(bob.types(), ["bye"]);
    assert_eq!(bob.frames[0]["after"], serde_json::json!([500, 8_000]));
    assert_eq!((&bob.frames[0]["code"], &bob.frames[0]["retry"]), (&4012.into(), &true.into()));
    assert!(link.pipes[anna].texts().is_empty(), "a v1 client gets no bye");
}
