//! The return of a device: the replay of messages that it has missed.

use super::{Phone, numbers, pair, write_all};

/// socketio/socket.io#5282, socketio/socket.io#4880: a client that had received no message yet, or
/// whose connection was half open, could not resume, because only messages had a cursor.
#[test]
fn a_client_that_has_received_nothing_yet_resumes_with_the_cursor_of_its_welcome() {
    let (mut link, mut alice, mut bob) = pair();
    assert!(bob.messages.is_empty() && !bob.epoch.is_empty());
    // The server does not notice that the phone has gone.
    write_all(&mut link, &mut alice, "bob", 1..=3);
    bob.connect(&mut link);
    assert_eq!(bob.welcomes[1]["resumed"], true);
    assert_eq!(bob.texts(), numbers(1..=3));
    assert!(bob.gaps.is_empty());
}

/// legastero/stanza#494, igniterealtime/Openfire#927: a counter was reset by a resume, or the
/// counter of the other direction was returned, so messages came twice.
#[test]
fn messages_that_a_device_has_sent_do_not_move_its_cursor() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=40);
    bob.read(&link);
    write_all(&mut link, &mut bob, "alice", 1..=2);
    for _ in 0..3 {
        bob.cut(&mut link);
        bob.connect(&mut link);
        assert_eq!(bob.types(), ["welcome", "live"], "nothing comes again");
        alice.connect(&mut link);
    }
    let cursors = (bob.cursor, alice.cursor);
    let last = |phone: &Phone| phone.messages.last().map(|(seq, _)| *seq);
    assert_eq!(cursors, (40, last(&alice).expect("a message")));
    write_all(&mut link, &mut bob, "alice", 3..=3);
    alice.read(&link);
    assert_eq!(alice.texts(), numbers(1..=3));
    assert_eq!(last(&alice), Some(cursors.1 + 1));
}

/// strophe/libstrophe#222: messages that were sent before they had their number were sent again
/// after a resume.
#[test]
fn a_message_that_is_written_again_has_the_same_number_as_at_first() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=5);
    let mut other = Phone::new("bob", "b");
    (other.epoch, other.cursor) = (bob.epoch.clone(), 0);
    bob.read(&link);
    other.connect(&mut link);
    assert_eq!(bob.messages, other.messages, "numbers, ids and texts are those of the first time");
}

/// centrifugal/centrifuge-go#150, centrifugal/centrifuge-dart#142: the app got messages twice when
/// a connection was replaced in the middle of a replay.
#[test]
fn a_replay_that_is_cut_in_the_middle_continues_behind_the_last_handled_message() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=60);
    for most in [7, 1, 20, 0, 60] {
        bob.connect_and_read(&mut link, most);
    }
    bob.read(&link);
    assert_eq!(bob.texts(), numbers(1..=60));
    assert!(bob.gaps.is_empty());
}

/// centrifugal/centrifugo#230: a client that had missed nothing was not resumed, because the newest
/// number was forgotten with the last message.
#[test]
fn a_client_that_has_missed_nothing_resumes_without_a_gap_however_long_it_was_away() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=3);
    bob.read(&link);
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    alice.cut(&mut link);
    link.advance(3 * 24 * 3_600_000);
    bob.connect(&mut link);
    assert_eq!(bob.types(), ["welcome", "live"]);
    assert_eq!((&bob.welcomes[1]["resumed"], &bob.welcomes[1]["seq"]), (&true.into(), &3.into()));
}

/// centrifugal/centrifugo#165: of seven messages five were kept, and the client did not learn
/// which.
#[test]
fn a_gap_names_the_missing_numbers_and_the_kept_messages_follow_it() {
    let mut relay = longlink::RelayConfig::default();
    relay.mailbox_messages = 5;
    let mut link = super::link_of(longlink::Config::default(), relay);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=7);
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(1), 2, "overflow".to_owned())]);
    assert_eq!(bob.texts(), numbers(3..=7));
    assert_eq!(bob.welcomes[1]["resumed"], true);
}

/// centrifugal/centrifugo#394, centrifugal/centrifugo#798, centrifugal/centrifugo#486: the state of
/// a client was wrong at the first message after a replay, or replay and live delivery waited for
/// each other.
#[test]
fn messages_that_are_written_during_a_replay_come_behind_it_and_once() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=60);
    // The phone of bob does not read yet, so the replay waits for it.
    link.capacity = 700;
    bob.connect_without_reading(&mut link);
    write_all(&mut link, &mut alice, "bob", 61..=64);
    link.set_reading(bob.pipe, true);
    link.advance(100);
    bob.read(&link);
    write_all(&mut link, &mut alice, "bob", 65..=65);
    bob.acknowledge(&mut link);
    assert_eq!(bob.texts(), numbers(1..=65));
    assert_eq!((bob.lives, bob.gaps.len()), (2, 0), "live comes once on each connection");
}

/// easemob/webim-weixin-xcx#5: some messages of a burst that waited for a login were lost.
#[test]
fn all_waiting_messages_come_after_a_login_however_many_they_are() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=64);
    bob.connect(&mut link);
    // The burst goes on while the phone has acknowledged nothing yet.
    write_all(&mut link, &mut alice, "bob", 65..=300);
    bob.read(&link);
    assert_eq!(bob.messages.len(), 64, "a window");
    while bob.messages.len() < 300 {
        let before = bob.messages.len();
        bob.acknowledge(&mut link);
        assert!(bob.messages.len() > before, "each acknowledgement brings more messages");
    }
    assert_eq!(bob.texts(), numbers(1..=300));
    assert_eq!((bob.lives, bob.gaps.len()), (2, 0));
}

/// emqx/emqx#11477: a queue was written again and again until the connection of its client was
/// ended.
#[test]
fn each_message_is_written_once_on_a_connection_that_acknowledges_nothing() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=10);
    for _ in 0..30 {
        link.advance(10_000);
        bob.say(&mut link, r#"{"type":"ping"}"#);
        alice.say(&mut link, r#"{"type":"ping"}"#);
    }
    assert!(bob.is_open(&link));
    let texts = link.pipes[bob.pipe].texts();
    let messages = texts.iter().filter(|text| text.starts_with(r#"{"type":"message""#));
    assert_eq!(messages.count(), 10);
}

/// eclipse-mosquitto/mosquitto#1728: messages that waited for a client were dropped by default.
/// oimws#32, weapp-socketio/weapp.socket.io#10, netease-im/NIM_Web_Weapp_Demo#25: WeChat ends the
/// socket of an app in the background, and messages of that time were lost.
/// WuKongIM/WuKongIM#492: waiting messages came only when the client requested them.
#[test]
fn messages_of_the_last_half_hour_come_by_default_and_without_a_request() {
    let (mut link, mut alice, mut bob) = pair();
    bob.say(&mut link, r#"{"type":"background"}"#);
    link.advance(5_000);
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=3);
    for _ in 0..29 * 6 {
        link.advance(10_000);
        alice.say(&mut link, r#"{"type":"ping"}"#);
    }
    bob.connect(&mut link);
    assert_eq!(bob.texts(), numbers(1..=3));
    assert!(bob.gaps.is_empty());
}

/// nanomq/nanomq#134, OpenIMSDK/oimws#32, Terry-Mao/goim#283, emqx/emqx#217: messages that were
/// written to a socket that was already dead were lost, or were no longer repeated.
#[test]
fn a_message_that_was_written_and_not_acknowledged_comes_again_after_a_reconnect() {
    let (mut link, mut alice, mut bob) = pair();
    for round in 1..=5 {
        write_all(&mut link, &mut alice, "bob", round..=round);
        // The message was written, but the phone has not read it.
        bob.cut(&mut link);
        bob.connect_and_read(&mut link, usize::MAX);
    }
    assert_eq!(bob.texts(), numbers(1..=5));
    assert!(bob.gaps.is_empty());
}

/// unfence-labs/hive#67: a client crashed at one message, reconnected and got the message again,
/// for ever.
#[test]
fn a_message_at_which_a_client_crashes_is_not_written_a_fourth_time() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=2);
    let mut tries = 0;
    loop {
        let mut app = Phone::new("bob", "b");
        (app.epoch, app.cursor) = (bob.epoch.clone(), bob.cursor);
        app.connect(&mut link);
        if app.texts().first() != Some(&"1") {
            assert_eq!(app.gaps, [(Some(1), 1, "undeliverable".to_owned())]);
            assert_eq!(app.texts(), ["2"]);
            break;
        }
        tries += 1;
        assert!(tries <= 3, "the message came a fourth time");
        app.cut(&mut link);
    }
    assert_eq!(tries, 3);
}

/// walkor/GatewayWorker#66: ids began at 1 again after a restart, and equalled ids of the time
/// before.
#[test]
fn numbers_of_an_earlier_run_of_the_server_are_not_confused_with_those_of_this_run() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=3);
    bob.read(&link);
    bob.acknowledge(&mut link);
    let (epoch, first) = (bob.epoch.clone(), bob.messages[0].1["id"].clone());
    let mut link = super::link();
    alice.connect(&mut link);
    alice.write_to(&mut link, "new", "bob", "of the second start");
    bob.connect(&mut link);
    assert_ne!(bob.epoch, epoch);
    assert_eq!(bob.welcomes[1]["resumed"], false);
    assert_eq!(bob.types(), ["welcome", "gap", "message", "live"]);
    assert_eq!(bob.gaps, [(None, 0, "lost".to_owned())]);
    let (seq, frame) = bob.messages.last().expect("a message");
    assert_eq!((*seq, frame["message"].as_str()), (1, Some("of the second start")));
    assert_ne!(frame["id"], first);
}

/// Of our own: a number that a client has acknowledged, and does not remember, is not silence.
#[test]
fn a_device_that_has_lost_what_it_stored_last_is_told_what_it_had_acknowledged() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=5);
    bob.read(&link);
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 6..=6);
    // The platform kept an older copy of the storage.
    bob.cursor = 2;
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(3), 5, "lost".to_owned())]);
    assert_eq!(bob.texts().last(), Some(&"6"));
}

/// The same report: an app that hangs at a message, and is ended since it is silent.
#[test]
fn a_message_at_which_a_client_hangs_does_not_come_a_fourth_time() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=2);
    for _ in 0..3 {
        let mut app = Phone::new("bob", "b");
        (app.epoch, app.cursor) = (bob.epoch.clone(), bob.cursor);
        app.connect(&mut link);
        assert_eq!(app.texts(), ["1", "2"]);
        for _ in 0..14 {
            link.advance(5_000);
            alice.say(&mut link, r#"{"type":"ping"}"#);
        }
        assert!(!app.is_open(&link), "it is ended, since it is silent");
    }
    bob.connect(&mut link);
    assert_eq!(bob.gaps, [(Some(1), 1, "undeliverable".to_owned())]);
    assert_eq!(bob.texts(), ["2"]);
}
