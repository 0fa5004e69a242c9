//! Several devices and several connections of one user.

use super::{Phone, numbers, pair, write_all};
use longlink::sim::frames::Got;

/// processone/ejabberd#1151: messages that one device had acknowledged were sent to it again
/// because of another device. WuKongIM/WuKongIM#317, #516, #259: acknowledged messages came again,
/// or a retry made messages unread that had been read.
#[test]
fn each_device_has_a_cursor_of_its_own_and_what_it_acknowledged_never_comes_again() {
    let (mut link, mut alice, mut phone) = pair();
    let mut pad = Phone::new("bob", "pad");
    pad.connect(&mut link);
    pad.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=3);
    phone.read(&link);
    phone.acknowledge(&mut link);
    for _ in 0..3 {
        phone.connect(&mut link);
        assert_eq!(phone.types(), ["welcome", "live"]);
    }
    // A phone that has lost its cursor does not get them again either, because the server knows it.
    let mut wiped = Phone::new("bob", "b");
    wiped.connect(&mut link);
    assert_eq!(wiped.types(), ["welcome", "live"]);
    pad.connect(&mut link);
    assert_eq!(pad.texts(), numbers(1..=3), "the other device still gets all of them");
    // The sender repeats its sends, as it does when it has not seen the answers.
    write_all(&mut link, &mut alice, "bob", 1..=3);
    assert_eq!(alice.state(), "duplicate");
    pad.read(&link);
    wiped.read(&link);
    assert_eq!((pad.messages.len(), wiped.messages.len()), (3, 0));
}

/// WuKongIM/WuKongIM#461, #494, easemob/webim-uniapp-demo#38: the messages of a user were counted
/// as unread on the other devices of that user.
#[test]
fn the_other_devices_of_a_sender_get_copies_marked_as_own_and_the_sending_device_gets_none() {
    let (mut link, mut alice, mut bob) = pair();
    let mut pad = Phone::new("alice", "pad");
    pad.connect(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=2);
    pad.read(&link);
    alice.read(&link);
    let is_unread =
        |phone: &Phone| phone.messages.iter().filter(|(_, frame)| frame["own"] != true).count();
    assert_eq!((pad.messages.len(), is_unread(&pad)), (2, 0));
    assert!(alice.messages.is_empty());
    bob.read(&link);
    assert_eq!((bob.messages.len(), is_unread(&bob)), (2, 2));
}

/// wildfirechat/im-server#753: several agents work with one account, and each has to see all
/// messages.
#[test]
fn five_agents_on_one_account_see_all_messages_and_all_answers() {
    let (mut link, mut alice, _) = pair();
    let mut agents: Vec<Phone> =
        (0..5).map(|number| Phone::new("shop", &format!("agent{number}"))).collect();
    agents.iter_mut().for_each(|agent| agent.connect(&mut link));
    write_all(&mut link, &mut alice, "shop", 1..=3);
    agents[2].write_to(&mut link, "answer", "alice", "sold");
    for (at, agent) in agents.iter_mut().enumerate() {
        agent.read(&link);
        assert!(agent.is_open(&link));
        let expected = match at {
            2 => vec!["1", "2", "3"],
            _ => vec!["1", "2", "3", "sold"],
        };
        assert_eq!(agent.texts(), expected, "{at}");
    }
}

/// OpenIMSDK/oimws#151: an app that came from the background could not log in, because its old
/// login still existed. walkor/GatewayWorker#60, walkor/workerman#231: messages went to dead
/// sockets.
#[test]
fn a_new_connection_takes_the_place_of_half_open_ones() {
    let (mut link, mut alice, mut bob) = pair();
    for round in 1..=20 {
        // The network drops everything, and the server does not notice.
        write_all(&mut link, &mut alice, "bob", round..=round);
        bob.connect(&mut link);
        assert_eq!(bob.welcomes.last().map(|it| &it["resumed"]), Some(&true.into()));
        assert_eq!(bob.texts(), numbers(1..=round));
    }
}

/// link1st/gowebsocket#19: after a second login the old connection got no messages and no reason.
/// OpenIMSDK/open-im-sdk-android#27, OpenIMSDK/openim-sdk-core#44, emqx/emqx#151: two clients ended
/// each other's connections for ever. zimv/websocket-heartbeat-miniprogram: a page whose connection
/// is closed reconnects, because it does not learn why.
#[test]
fn a_replaced_connection_gets_a_kick_that_forbids_a_retry_before_it_is_closed() {
    let (mut link, _, mut bob) = pair();
    let old = bob.pipe;
    bob.connect(&mut link);
    let got = &link.pipes[old].got;
    let [.., Got::Text(kick), Got::Close(code, _)] = &got[..] else { panic!("{got:?}") };
    let kick: serde_json::Value = serde_json::from_str(kick).expect("JSON");
    assert_eq!((&kick["type"], &kick["retry"]), (&"kick".into(), &false.into()));
    assert_eq!((&kick["code"], *code), (&4509.into(), 4509));
    assert!(bob.is_open(&link));
}

/// iohao/ioGame#319: the end of an old socket removed the entry of the new one.
#[test]
fn the_end_of_an_old_connection_takes_nothing_from_the_new_one() {
    let (mut link, mut alice, mut bob) = pair();
    let old = bob.pipe;
    link.set_reading(old, false);
    bob.connect(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=1);
    link.reset(old, std::io::ErrorKind::ConnectionReset);
    link.settle();
    link.advance(10_000);
    write_all(&mut link, &mut alice, "bob", 2..=2);
    bob.read(&link);
    assert_eq!(bob.texts(), numbers(1..=2));
    alice.say(&mut link, r#"{"type":"presence","users":["bob"]}"#);
    assert_eq!(alice.frames[0]["users"]["bob"], true);
}

/// WuKongIM/WuKongIM#76: a user was reported as offline though another device was connected.
#[test]
fn a_user_is_online_as_long_as_one_device_is() {
    let (mut link, mut alice, mut bob) = pair();
    let mut pad = Phone::new("bob", "pad");
    pad.connect(&mut link);
    alice.say(&mut link, r#"{"type":"presence","users":["bob"],"watch":true}"#);
    bob.cut(&mut link);
    link.advance(10_000);
    alice.read(&link);
    assert!(alice.frames.is_empty(), "{:?}", alice.frames);
    pad.cut(&mut link);
    link.advance(6_000);
    alice.read(&link);
    assert_eq!(alice.frames[0]["users"]["bob"], false);
}

/// The same reports: more waits on the way to the phone than would be kept for one that is away.
#[test]
fn a_device_that_takes_its_own_place_loses_nothing_by_it() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=300);
    bob.connect(&mut link);
    for _ in 0..5 {
        bob.acknowledge(&mut link);
    }
    assert!(bob.gaps.is_empty(), "{:?}", bob.gaps);
    assert_eq!(bob.texts(), numbers(1..=300));
}

#[test]
fn a_device_that_skips_a_message_makes_no_receipt_of_it_and_another_device_that_gets_it_does() {
    let (mut link, mut alice, mut bob) = pair();
    let mut pad = Phone::new("bob", "pad");
    pad.connect(&mut link);
    bob.cut(&mut link);
    pad.cut(&mut link);
    let send = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"bad","receipt":true}"#;
    alice.say(&mut link, send);
    for _ in 0..3 {
        // The app crashes at the message, so it keeps no cursor.
        let mut crashing = Phone::new("bob", "b");
        (crashing.epoch, crashing.cursor) = (bob.epoch.clone(), bob.cursor);
        crashing.connect(&mut link);
        crashing.cut(&mut link);
    }
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(1), 1, "undeliverable".to_owned())]);
    bob.acknowledge(&mut link);
    alice.read(&link);
    assert!(alice.receipts.is_empty(), "the phone has not had the message");
    pad.connect(&mut link);
    assert_eq!(pad.texts(), ["bad"]);
    pad.acknowledge(&mut link);
    alice.read(&link);
    assert_eq!(alice.receipts.len(), 1);
    assert_eq!(alice.receipts[0]["id"], alice.acks[0]["id"]);
}
