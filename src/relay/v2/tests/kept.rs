//! What is delivered when the journal has it, and what waits for the journal meanwhile.

use super::*;

#[test]
fn nothing_is_delivered_or_answered_before_the_journal_says_that_it_is_kept() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    let bob = site.connect("bob", "");
    site.frames(alice);
    site.say(alice, SEND);
    assert!(site.types(bob).is_empty());
    assert!(site.types(alice).is_empty());
    let records = site.complete(stored());
    assert_eq!(records, [("bob".to_owned(), 1)]);
    // `frames` writes the queues of all connections, so each connection has a send of its own.
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["type"], &frames[0]["state"]), (&"ack".into(), &"stored".into()));
    site.say(alice, r#"{"type":"send","cid":"c2","toUserId":"bob","message":"again"}"#);
    site.complete(stored());
    let frames = site.frames(bob);
    assert_eq!((&frames[0]["message"], &frames[0]["seq"]), (&"again".into(), &2.into()));
}

#[test]
fn numbers_that_the_journal_gives_are_those_that_devices_see() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    let bob = site.connect("bob", "");
    site.frames(bob);
    site.say(alice, SEND);
    site.complete(Completion::Appended(Kept { seqs: vec![77], ..Kept::default() }));
    let frames = site.frames(bob);
    assert_eq!(frames[0]["seq"], 77);
}

#[test]
fn a_last_of_an_epoch_that_is_remembered_is_known_up_to_its_end() {
    let mut site = Site::new();
    let bob = site.connect("bob", "&last=before-9");
    let frames = site.frames(bob);
    assert_eq!(frames[0]["resumed"], false);
    assert_eq!((&frames[1]["type"], &frames[1]["reason"]), (&"gap".into(), &"lost".into()));
    assert!(frames[1]["from"].is_null());
    assert_eq!(frames[1]["to"], frames[0]["cursor"]);
}

#[test]
fn a_message_of_a_v1_page_is_delivered_when_the_journal_has_it_and_not_before() {
    let mut site = Site::new();
    let bob = site.connect("bob", "");
    let page = site.page("anna", "");
    let tablet = site.page("bob", "device=tablet");
    site.frames(bob);
    site.say(page, r#"{"toUserId":"bob","message":"hi"}"#);
    assert_eq!(site.waits(), 1);
    assert!(site.types(bob).is_empty() && site.types(tablet).is_empty());
    site.complete(stored());
    assert_eq!(messages(&site.frames(bob)), ["hi"]);
    site.say(page, r#"{"toUserId":"bob","message":"again"}"#);
    site.complete(stored());
    assert_eq!(messages(&site.frames(tablet)), ["again"]);
    site.say(page, r#"{"toUserId":"anna","message":"to a page alone"}"#);
    assert_eq!(site.waits(), 0, "a message from page to page never touches the journal");
    site.assert_nothing_waits();
}

#[test]
fn receipts_and_copies_for_the_senders_other_devices_go_through_the_journal() {
    let mut site = Site::new();
    let (alice, pad) = (site.connect("alice", "&device=a"), site.connect("alice", "&device=pad"));
    let bob = site.connect("bob", "");
    site.frames(alice);
    let text = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi","receipt":true}"#;
    site.say(alice, text);
    let records = site.complete(stored());
    let names: Vec<&str> = records.iter().map(|(user, _)| &**user).collect();
    assert_eq!(names, ["bob", "alice"], "both are kept together");
    assert_eq!(site.frames(pad)[0]["own"], true);
    site.say(bob, r#"{"type":"ack","seq":1}"#);
    assert_eq!(site.waits(), 1);
    assert!(site.types(alice).is_empty());
    let records = site.complete(stored());
    assert_eq!(records, [("alice".to_owned(), 2)]);
    assert_eq!(site.types(alice), ["receipt"]);
    site.assert_nothing_waits();
}

#[test]
fn a_mailbox_with_something_that_waits_for_the_journal_is_not_given_up() {
    let config = RelayConfig { mailbox_memory: 600, ..RelayConfig::default() };
    let mut site = Site::with(config, usize::MAX);
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, &send("c1", "stranger"));
    site.say(alice, r#"{"type":"send","cid":"many","toUserIds":["s1","s2","s3"],"message":1}"#);
    for number in 0..20 {
        site.connect(&format!("u{number}"), "");
    }
    site.cut(alice);
    site.complete(stored());
    site.complete(stored());
    let v2 = &site.hub.handler().v2;
    assert!(v2.boxes.shed() > 0 || v2.boxes.find("stranger").is_some());
    site.assert_nothing_waits();
}

#[test]
fn what_waits_for_the_journal_counts_for_a_device_that_connects_meanwhile() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    let old = site.connect("bob", "&device=old");
    site.frames(old);
    site.say(alice, &send("c1", "bob"));
    let new = site.connect("bob", "&device=new");
    let frames = site.frames(new);
    assert_eq!((&frames[0]["seq"], &frames[0]["cursor"]), (&0.into(), &0.into()));
    assert_eq!((&frames[1]["type"], &frames[1]["seq"]), (&"live".into(), &0.into()));
    site.complete(stored());
    assert_eq!(messages(&site.frames(new)), ["c1"]);
}

#[test]
fn nothing_is_left_when_the_journal_completes_what_its_sender_has_left_behind() {
    let mut site = Site::new();
    let alice = site.connect("alice", "&device=a");
    site.frames(alice);
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.cut(alice);
    site.complete(stored());
    site.fail();
    site.assert_nothing_waits();
    let alice = site.connect("alice", "&device=a");
    site.frames(alice);
    for cid in ["c1", "c2"] {
        site.say(alice, &send(cid, "bob"));
    }
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["state"], &frames[0]["was"]), (&"duplicate".into(), &"stored".into()));
    assert_eq!((frames.len(), site.waits()), (1, 1), "what failed is taken anew");
    site.complete(stored());
    site.assert_nothing_waits();
}

#[test]
fn a_receipt_that_could_not_be_kept_comes_when_the_journal_keeps_something_again() {
    let mut site = Site::new();
    let (alice, bob) = (site.connect("alice", ""), site.connect("bob", ""));
    let text = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi","receipt":true}"#;
    site.say(alice, text);
    site.complete(stored());
    let id = site.frames(alice).last().unwrap()["id"].clone();
    site.say(bob, r#"{"type":"ack","seq":1}"#);
    site.complete(Completion::Unavailable);
    assert!(site.types(alice).is_empty());
    site.say(bob, &send("b1", "carol"));
    site.complete(stored());
    site.complete(stored());
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["type"], &frames[0]["id"]), (&"receipt".into(), &id));
    site.assert_nothing_waits();
}
