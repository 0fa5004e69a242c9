//! Sends: their answers, their order and their receipts.

use super::{KEPT, Phone, numbers, pair, write_all};
use longlink::sim::frames::text;

/// WuKongIM/WuKongIM#158: an app could not learn whether a message had reached the server.
#[test]
fn the_answer_to_each_send_has_the_id_and_the_state_of_the_message() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    alice.write_to(&mut link, "c1", "bob", "kept");
    let (ack, state) = (alice.acks[0].clone(), alice.state());
    assert_eq!(
        (&ack["cid"], state),
        (&"c1".into(), KEPT),
        "the message is kept, because bob is away"
    );
    bob.connect(&mut link);
    assert_eq!(bob.messages[0].1["id"], ack["id"]);
    alice.say(
        &mut link,
        r#"{"type":"send","cid":"c2","toUserId":"nobody","message":1,"volatile":true}"#,
    );
    assert_eq!(alice.state(), "offline", "the message reached nobody");
    alice.say(&mut link, r#"{"type":"send","cid":"c3","group":"no member","message":1}"#);
    assert_eq!(alice.error(), ("not-member", false));
    assert_eq!(alice.errors[0]["cid"], "c3");
}

/// WuKongIM/WuKongIM#94: on a weak network a message was sent twice, and arrived twice.
/// wildfirechat/im-server#452: the answer was lost, and the message was shown as failed.
#[test]
fn a_send_whose_answer_was_lost_is_answered_with_the_first_result_and_comes_once() {
    let (mut link, mut alice, mut bob) = pair();
    let mut ids = Vec::new();
    for _ in 0..5 {
        // The server writes the answer, but the phone has gone before it reads the answer.
        let send = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"once"}"#;
        link.send(alice.pipe, &text(send));
        link.settle();
        let answer = link.pipes[alice.pipe].texts().last().expect("an answer").to_string();
        ids.push(serde_json::from_str::<serde_json::Value>(&answer).expect("JSON")["id"].clone());
        alice.cut(&mut link);
        alice.connect(&mut link);
    }
    assert!(ids.windows(2).all(|two| two[0] == two[1]), "{ids:?}");
    bob.read(&link);
    assert_eq!(bob.texts(), ["once"]);
}

/// MeterSunlight/WX_Chat_YJ#1: later messages overtook a message that was sent again.
#[test]
fn messages_that_are_sent_again_after_a_cut_keep_their_order() {
    let (mut link, mut alice, mut bob) = pair();
    for number in 1..=5 {
        let send =
            format!(r#"{{"type":"send","cid":"n{number}","toUserId":"bob","message":"{number}"}}"#);
        let bytes = text(&send);
        // The connection breaks in the middle of the third message.
        let end = if number == 3 { bytes.len() / 2 } else { bytes.len() };
        link.send(alice.pipe, &bytes[..end]);
        link.settle();
        if number == 3 {
            break;
        }
    }
    alice.cut(&mut link);
    alice.connect(&mut link);
    for number in 1..=5 {
        alice.write_to(&mut link, &format!("n{number}"), "bob", &number.to_string());
    }
    bob.read(&link);
    assert_eq!(bob.texts(), numbers(1..=5));
    let states: Vec<_> = alice.acks.iter().map(|ack| ack["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["duplicate", "duplicate", KEPT, KEPT, KEPT]);
}

/// GoBelieveIO/im_service#53: messages of a backend arrived twice.
#[test]
fn no_number_is_written_to_a_connection_twice() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=64);
    for seq in [3, 3, 1, 64, 64] {
        bob.say(&mut link, &format!(r#"{{"type":"ack","seq":{seq}}}"#));
        bob.say(&mut link, r#"{"type":"background"}"#);
        bob.say(&mut link, r#"{"type":"foreground"}"#);
        bob.say(&mut link, r#"{"type":"foreground"}"#);
    }
    let texts = link.pipes[bob.pipe].texts();
    let messages = texts.iter().filter(|text| text.starts_with(r#"{"type":"message""#));
    assert_eq!(messages.count(), 64);
}

/// uNetworking/uWebSockets#1876: the answer to a heartbeat was dropped under load, so the client
/// thought that the connection was dead.
#[test]
fn a_heartbeat_is_answered_also_when_the_window_is_full() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=90);
    bob.read(&link);
    assert_eq!(bob.messages.len(), 64);
    for t in 0..20 {
        bob.say(&mut link, &format!(r#"{{"type":"ping","t":{t}}}"#));
        assert_eq!(bob.frames.len(), 1);
        assert_eq!((&bob.frames[0]["type"], &bob.frames[0]["t"]), (&"pong".into(), &t.into()));
    }
}

/// dengzii/glide-im#5: a receipt for each message caused as much traffic as the messages.
#[test]
fn only_the_latest_receipt_of_each_receiver_waits() {
    let (mut link, mut alice, mut bob) = pair();
    for number in 1..=30 {
        let send = format!(
            r#"{{"type":"send","cid":"r{number}","toUserId":"bob","message":1,"receipt":true}}"#
        );
        alice.say(&mut link, &send);
    }
    alice.cut(&mut link);
    bob.read(&link);
    for seq in 1..=30 {
        bob.say(&mut link, &format!(r#"{{"type":"ack","seq":{seq}}}"#));
    }
    alice.connect(&mut link);
    assert_eq!(alice.receipts.len(), 1);
    assert_eq!(alice.receipts[0]["id"], alice.acks[29]["id"]);
    assert!(alice.gaps.is_empty());
}

/// Of our own: a message of which there is one copy for each of many users is nobody else's, however
/// little room there is.
#[test]
fn a_message_to_many_strangers_reaches_nobody_else_when_there_is_no_room_for_them() {
    let mut relay = longlink::RelayConfig::default();
    relay.mailbox_memory = 3_000;
    let mut link = super::link_of(longlink::Config::default(), relay);
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    let users: Vec<String> = (0..100).map(|number| format!("\"s{number}\"")).collect();
    for round in 0..20 {
        let send = format!(
            r#"{{"type":"send","cid":"m{round}","toUserIds":[{}],"message":"{round}"}}"#,
            users.join(",")
        );
        alice.say(&mut link, &send);
        assert_eq!(alice.acks.last().expect("an answer")["cid"], format!("m{round}"));
    }
    for number in 0..100 {
        let mut stranger = Phone::new(&format!("s{number}"), "s");
        stranger.connect(&mut link);
        for (_, frame) in &stranger.messages {
            assert_eq!(frame["toUserId"], stranger.user.as_str(), "{frame}");
        }
        stranger.cut(&mut link);
    }
}

/// Of our own: a device that says with its `last` that it has handled a message has acknowledged it,
/// too, and the sender who wanted a receipt gets it.
#[test]
fn a_receipt_is_not_lost_with_the_acknowledgement() {
    let (mut link, mut alice, mut bob) = pair();
    let send = r#"{"type":"send","cid":"c1","toUserId":"bob","message":1,"receipt":true}"#;
    alice.say(&mut link, send);
    bob.read(&link);
    bob.cut(&mut link);
    bob.connect(&mut link);
    alice.read(&link);
    assert_eq!(alice.receipts.len(), 1);
}

/// Of our own: a receipt says that a message and every earlier one was acknowledged. A phone that was
/// away acknowledged an earlier message after a newer phone had acknowledged a later one, and the
/// receipt went back.
#[test]
fn a_receipt_of_an_earlier_message_does_not_follow_that_of_a_later_one() {
    let (mut link, mut alice, mut old) = pair();
    old.cut(&mut link);
    let send = |cid: &str| {
        format!(r#"{{"type":"send","cid":"{cid}","toUserId":"bob","message":1,"receipt":true}}"#)
    };
    alice.say(&mut link, &send("c1"));
    let mut new = Phone::new("bob", "new");
    new.connect(&mut link);
    assert!(new.messages.is_empty(), "a new phone begins at the newest number");
    alice.say(&mut link, &send("c2"));
    new.read(&link);
    new.acknowledge(&mut link);
    old.connect(&mut link);
    old.acknowledge(&mut link);
    assert_eq!(old.messages.len(), 2);
    alice.read(&link);
    let ids: Vec<_> = alice.receipts.iter().map(|receipt| &receipt["id"]).collect();
    assert_eq!(ids, [&alice.acks[1]["id"]]);
}
