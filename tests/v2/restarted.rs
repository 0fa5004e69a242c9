//! What a server tells after it was killed and started again with its file.

use std::sync::{Arc, Mutex};

use longlink::events::{Event, EventKind};
use longlink::{Config, Relay, RelayConfig};

use super::phone::Phone;
use super::rig::serve;

/// The messages that were reported as undelivered.
type Missed = Arc<Mutex<Vec<String>>>;

fn watched(missed: &Missed) -> Relay {
    let told = missed.clone();
    Relay::new(RelayConfig::default()).with_watcher(&[EventKind::Undelivered], move |_, event| {
        if let Event::Undelivered { user, to, frame, .. } = event {
            let frame = frame.concat();
            let text = frame.split_once("\"message\":").expect("a message").1;
            told.lock().unwrap().push(format!("{user} to {to}: {text}"));
        }
    })
}

fn taken(missed: &Missed) -> Vec<String> {
    let mut all = std::mem::take(&mut *missed.lock().unwrap());
    all.sort();
    all
}

#[test]
fn messages_whose_time_was_over_while_the_server_was_down_are_reported_once_after_the_start() {
    let missed = Missed::default();
    let mut link = serve(Config::default(), watched(&missed));
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    let say = |link: &mut _, alice: &mut Phone, to: &str, text: u32, ttl: u32| {
        alice.say(
            link,
            &format!(
                r#"{{"type":"send","cid":"c{to}{text}","toUserId":"{to}","message":{text},"ttl":{ttl}}}"#
            ),
        );
    };
    say(&mut link, &mut alice, "bob", 1, 60);
    bob.read(&link);
    bob.acknowledge(&mut link);
    bob.cut(&mut link);
    // Bob has a device, and carol was never there.
    for to in ["bob", "carol"] {
        say(&mut link, &mut alice, to, 2, 10);
        say(&mut link, &mut alice, to, 3, 60);
        say(&mut link, &mut alice, to, 4, 600);
    }
    link.advance(20_000);
    assert_eq!(taken(&missed), ["alice to bob: 2}", "alice to carol: 2}"]);

    let mut link = link.restart(120_000, watched(&missed));
    link.advance(5_000);
    assert_eq!(taken(&missed), ["alice to bob: 3}", "alice to carol: 3}"], "those that are new");
    let mut link = link.restart(5_000, watched(&missed));
    link.advance(5_000);
    assert!(taken(&missed).is_empty(), "they were reported by the server before");

    let mut link = link.restart(1_000, watched(&missed));
    bob.connect(&mut link);
    let gaps = bob.frames.iter().filter(|it| it["type"] == "gap");
    let reasons: Vec<_> = gaps.map(|it| it["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["expired"]);
    bob.acknowledge(&mut link);
    link.advance(600_000);
    assert_eq!(taken(&missed), ["alice to carol: 4}"], "bob has the last one");
}

#[test]
fn a_message_expires_also_if_nobody_comes_after_the_start() {
    let missed = Missed::default();
    let mut link = serve(Config::default(), watched(&missed));
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    alice.say(&mut link, r#"{"type":"send","cid":"c","toUserId":"bob","message":1,"ttl":60}"#);
    let mut link = link.restart(1_000, watched(&missed));
    link.advance(50_000);
    assert!(taken(&missed).is_empty());
    link.advance(20_000);
    assert_eq!(taken(&missed), ["alice to bob: 1}"]);
}
