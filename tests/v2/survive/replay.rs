//! Coming back.

use super::{Phone, numbers, pair, write_all};

/// socketio/socket.io#5282, socketio/socket.io#4880: a client that had received nothing yet, or whose
/// connection was half open, could not resume, since its place was only in a packet.
#[test]
fn a_client_that_has_received_nothing_yet_resumes_with_the_cursor_of_its_welcome() {
    let (mut link, mut alice, mut bob) = pair();
    assert!(bob.messages.is_empty() && !bob.epoch.is_empty());
    // Nobody tells the server that the phone has gone.
    write_all(&mut link, &mut alice, "bob", 1..=3);
    bob.connect(&mut link);
    assert_eq!(bob.welcomes[1]["resumed"], true);
    assert_eq!(bob.texts(), numbers(1..=3));
    assert!(bob.gaps.is_empty());
}

/// legastero/stanza#494, igniterealtime/Openfire#927: a counter was reset by a resume, or the counter
/// of the other direction was returned, so messages came twice.
#[test]
fn what_a_device_has_sent_never_counts_for_what_it_has_received() {
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
    assert_eq!((bob.cursor, alice.cursor), (40, 2));
    write_all(&mut link, &mut bob, "alice", 3..=3);
    alice.read(&link);
    assert_eq!(alice.texts(), numbers(1..=3));
    assert_eq!(alice.messages.last().map(|(seq, _)| *seq), Some(3));
}

/// strophe/libstrophe#222: what was sent before it had its number was sent again after a resume.
#[test]
fn a_message_has_its_number_when_it_is_written_first_and_keeps_it_when_it_comes_again() {
    let (mut link, mut alice, mut bob) = pair();
    write_all(&mut link, &mut alice, "bob", 1..=5);
    let mut other = Phone::new("bob", "b");
    (other.epoch, other.cursor) = (bob.epoch.clone(), 0);
    bob.read(&link);
    other.connect(&mut link);
    assert_eq!(bob.messages, other.messages, "numbers, ids and texts are those of the first time");
}

/// centrifugal/centrifuge-go#150, centrifugal/centrifuge-dart#142: a connection that was replaced in
/// the middle of a replay gave the app messages twice.
#[test]
fn a_replay_that_is_cut_in_the_middle_goes_on_behind_what_was_handled() {
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

/// centrifugal/centrifugo#230: a client was told that it was not recovered though it had missed
/// nothing, since the newest number was forgotten with the last message.
#[test]
fn a_client_that_has_missed_nothing_is_told_so_however_long_it_was_away() {
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

/// centrifugal/centrifugo#165: seven messages were sent and five kept, and nobody said which.
#[test]
fn a_gap_names_the_numbers_that_are_missing_and_what_is_kept_comes_behind_it() {
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

/// centrifugal/centrifugo#394, centrifugal/centrifugo#798, centrifugal/centrifugo#486: the state was
/// wrong at the first message after a recovery, or the two ways to a client waited for each other.
#[test]
fn messages_that_are_written_during_a_replay_come_behind_it_and_once() {
    let (mut link, mut alice, mut bob) = pair();
    bob.cut(&mut link);
    write_all(&mut link, &mut alice, "bob", 1..=60);
    // Bob's phone reads slowly: the replay waits for it.
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

/// easemob/webim-weixin-xcx#5: of a burst of messages that waited at login some were lost.
#[test]
fn all_that_waits_comes_at_login_however_much_it_is() {
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
        assert!(bob.messages.len() > before, "it goes on with each acknowledgement");
    }
    assert_eq!(bob.texts(), numbers(1..=300));
    assert_eq!((bob.lives, bob.gaps.len()), (2, 0));
}

/// emqx/emqx#11477: a queue was written again and again until its client was kicked out.
#[test]
fn a_client_that_acknowledges_nothing_is_written_a_message_once_on_each_connection() {
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

/// eclipse-mosquitto/mosquitto#1728: what waited for a client was forgotten by default.
/// oimws#32, weapp-socketio/weapp.socket.io#10, netease-im/NIM_Web_Weapp_Demo#25: WeChat ends the
/// socket of an app in the background, and messages of that time were lost.
/// WuKongIM/WuKongIM#492: messages that waited came only when they were asked for.
#[test]
fn without_any_setting_what_was_written_in_the_last_half_hour_comes_unasked() {
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

/// nanomq/nanomq#134, OpenIMSDK/oimws#32, Terry-Mao/goim#283, emqx/emqx#217: what was written to a
/// socket that was dead already was lost, or its assurance was.
#[test]
fn a_message_that_was_written_and_not_acknowledged_comes_again_after_a_reconnect() {
    let (mut link, mut alice, mut bob) = pair();
    for round in 1..=5 {
        write_all(&mut link, &mut alice, "bob", round..=round);
        // Written, and never read.
        bob.cut(&mut link);
        bob.connect_and_read(&mut link, usize::MAX);
    }
    assert_eq!(bob.texts(), numbers(1..=5));
    assert!(bob.gaps.is_empty());
}

/// unfence-labs/hive#67: one message that a client cannot take made it reconnect and be sent the
/// message again, for ever.
#[test]
fn a_message_that_a_client_cannot_take_does_not_come_a_fourth_time() {
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
        assert!(tries <= 3, "it crashes again and again");
        app.cut(&mut link);
    }
    assert_eq!(tries, 3);
}

/// walkor/GatewayWorker#66: ids began at 1 again after a restart and met those of before.
#[test]
fn numbers_of_another_start_of_the_server_are_never_taken_for_those_of_this_one() {
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
