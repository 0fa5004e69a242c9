//! Pages of the dialect v1 whose users have mailboxes, with and without `--v1-mailbox on`.

use super::phone::Phone;
use super::{KEPT, Link, link_of};
use longlink::sim::frames::{handshake, text};
use longlink::{Config, RelayConfig};

fn link(is_on: bool) -> Link {
    let mut relay = RelayConfig::default();
    relay.v1_mailbox = is_on;
    link_of(Config::default(), relay)
}

fn page(link: &mut Link, query: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(&format!("/websocket/bob{query}"), ""));
    link.settle();
    pipe
}

fn leave(link: &mut Link, pipe: usize) {
    link.finish(pipe);
    link.settle();
}

fn message(text: &str) -> String {
    format!(r#"{{"type":"message","formUserId":"alice","toUserId":"bob","message":"{text}"}}"#)
}

#[test]
fn a_page_gets_the_waiting_messages_of_its_user_in_the_form_of_v1_and_only_once() {
    let mut link = link(true);
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    for cid in ["one", "two"] {
        alice.write_to(&mut link, cid, "bob", cid);
        assert_eq!(alice.state(), KEPT);
    }
    let first = page(&mut link, "");
    assert_eq!(link.pipes[first].texts(), [message("one"), message("two")]);
    alice.write_to(&mut link, "three", "bob", "three");
    assert_eq!(link.pipes[first].texts().last(), Some(&&*message("three")));
    leave(&mut link, first);
    alice.write_to(&mut link, "four", "bob", "four");
    let second = page(&mut link, "");
    assert_eq!(
        link.pipes[second].texts(),
        [message("four")],
        "written messages count as acknowledged"
    );
}

#[test]
fn messages_that_a_page_has_had_still_wait_for_the_other_devices_of_its_user() {
    let mut link = link(true);
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "phone"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    bob.say(&mut link, r#"{"type":"join","group":"g"}"#);
    alice.say(&mut link, r#"{"type":"join","group":"g"}"#);
    bob.cut(&mut link);
    alice.write_to(&mut link, "one", "bob", "one");
    alice.say(&mut link, r#"{"type":"send","cid":"two","group":"g","message":"two"}"#);
    let pipe = page(&mut link, "?device=desk");
    assert!(link.pipes[pipe].texts().is_empty(), "a new device begins with the newest number");
    alice.write_to(&mut link, "three", "bob", "three");
    leave(&mut link, pipe);
    alice.say(&mut link, r#"{"type":"send","cid":"four","group":"g","message":"four"}"#);
    let pipe = page(&mut link, "?device=desk");
    let broadcast =
        r#"{"type":"broadcast","formUserId":"alice","group":"g","message":"four"}"#.to_owned();
    assert_eq!(link.pipes[pipe].texts(), [broadcast]);
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["one", "two", "three", "four"]);
}

#[test]
fn a_sender_gets_a_receipt_for_a_message_that_was_written_to_a_page() {
    let mut link = link(true);
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    let send = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi","receipt":true}"#;
    alice.say(&mut link, send);
    page(&mut link, "");
    alice.read(&link);
    assert_eq!(alice.receipts.len(), 1);
}

#[test]
fn without_the_setting_a_page_gets_no_waiting_messages() {
    let mut link = link(false);
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "one");
    let pipe = page(&mut link, "");
    assert!(link.pipes[pipe].texts().is_empty());
    link.send(pipe, &text("ping"));
    link.settle();
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    assert_eq!(bob.texts(), ["one"]);
}
