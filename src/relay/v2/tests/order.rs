//! Sends that the journal keeps, refuses or has no room for: what is answered, and in which order.

use super::*;

#[test]
fn a_send_that_comes_again_while_it_is_being_kept_is_answered_once_on_the_new_connection() {
    let mut site = Site::new();
    let old = site.connect("alice", "&device=a");
    site.say(old, SEND);
    let new = site.connect("alice", "&device=a");
    site.frames(new);
    site.say(new, SEND);
    assert_eq!(site.waits(), 1);
    site.complete(stored());
    assert_eq!(site.types(new), ["ack"]);
    site.say(new, SEND);
    let frames = site.frames(new);
    assert_eq!((&frames[0]["state"], &frames[0]["was"]), (&"duplicate".into(), &"stored".into()));
}

#[test]
fn after_a_refusal_that_may_be_tried_again_later_sends_wait_for_the_first_one() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, SEND);
    site.complete(Completion::Unavailable);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"unavailable".into(), &true.into()));
    assert_eq!(frames[0]["cid"], "c1");
    site.say(alice, r#"{"type":"send","cid":"c2","toUserId":"bob","message":"later"}"#);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"after".into(), &true.into()));
    site.say(alice, r#"{"type":"send","toUserId":"bob","message":1,"volatile":true}"#);
    assert!(site.types(alice).is_empty(), "volatile messages are not affected");
    site.say(alice, SEND);
    site.say(alice, r#"{"type":"send","cid":"c2","toUserId":"bob","message":"later"}"#);
    assert_eq!(site.waits(), 2);
    site.complete(stored());
    site.complete(stored());
    assert_eq!(site.types(alice), ["ack", "ack"]);
}

#[test]
fn more_than_256_sends_without_an_answer_are_refused_and_may_be_tried_again() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    for number in 0..257 {
        let send = format!(r#"{{"type":"send","cid":"n{number}","toUserId":"bob","message":1}}"#);
        site.say(alice, &send);
    }
    assert_eq!(site.waits(), 256);
    assert!(site.types(alice).is_empty(), "answers come in the order of the sends");
    for _ in 0..256 {
        site.complete(stored());
    }
    let frames = site.frames(alice);
    assert_eq!(frames.len(), 257);
    assert!(frames[..256].iter().all(|frame| frame["type"] == "ack"));
    assert_eq!((&frames[256]["code"], &frames[256]["retry"]), (&"rate".into(), &true.into()));
    site.assert_nothing_waits();
}

#[test]
fn what_was_given_to_the_journal_behind_a_failure_does_not_overtake_it() {
    let mut site = Site::new();
    let (alice, bob) = (site.connect("alice", ""), site.connect("bob", ""));
    site.frames(alice);
    site.frames(bob);
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.fail();
    let frames = site.frames(alice);
    let codes: Vec<_> = frames.iter().map(|it| (it["cid"].clone(), it["code"].clone())).collect();
    let expected = [("c1", "unavailable"), ("c2", "after"), ("c3", "after")];
    assert_eq!(codes, expected.map(|(cid, code)| (cid.into(), code.into())));
    assert!(frames.iter().all(|frame| frame["retry"] == true));
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
        site.complete(stored());
    }
    assert_eq!(messages(&site.frames(bob)), ["c1", "c2", "c3"]);
    site.assert_nothing_waits();
}

#[test]
fn answers_come_in_the_order_of_the_sends_whatever_they_are() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, &send("c1", "bob"));
    site.say(alice, r#"{"type":"send","cid":"c2","message":1}"#);
    site.say(alice, r#"{"type":"send","cid":"c3","all":true,"message":1}"#);
    site.say(alice, r#"{"type":"send","cid":"c4","toUserId":"x","message":1,"volatile":true}"#);
    site.say(alice, &send("c5", "bob"));
    assert!(site.types(alice).is_empty());
    site.complete(stored());
    let cids = |frames: Vec<Value>| -> Vec<String> {
        frames.iter().map(|it| it["cid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(cids(site.frames(alice)), ["c1", "c2", "c3", "c4"]);
    site.complete(stored());
    assert_eq!(cids(site.frames(alice)), ["c5"]);
    site.assert_nothing_waits();
}

#[test]
fn while_the_journal_has_no_room_senders_are_not_read_and_nothing_is_dropped() {
    let mut site = Site::with(RelayConfig::default(), 2);
    let bob = site.connect("bob", "");
    let senders: Vec<ConnId> = (0..4).map(|n| site.connect(&format!("u{n}"), "")).collect();
    let page = site.page("anna", "");
    site.frames(bob);
    for (at, sender) in senders.iter().enumerate() {
        for number in 0..3 {
            site.say(*sender, &send(&format!("{at}-{number}"), "bob"));
        }
    }
    for number in 0..3 {
        let text = format!(r#"{{"toUserId":"bob","message":"page-{number}"}}"#);
        site.say(page, &text);
    }
    assert_eq!(site.waits(), 2);
    site.flush();
    site.hub.check_invariants();
    // However long that lasts, nobody is ended for being silent meanwhile.
    site.now += std::time::Duration::from_secs(50);
    site.turn();
    let mut got = Vec::new();
    while site.waits() > 0 {
        assert!(site.waits() <= 2, "no more than there is room for");
        site.complete(stored());
        site.turn();
        got.extend(messages(&site.frames(bob)).iter().map(|text| (*text).to_owned()));
    }
    assert_eq!(got.len(), 15, "{got:?}");
    for sender in ["0-", "1-", "2-", "3-", "page-"] {
        let of_sender: Vec<&String> = got.iter().filter(|it| it.starts_with(sender)).collect();
        assert!(of_sender.is_sorted() && of_sender.len() == 3, "{of_sender:?}");
    }
    assert!(senders.iter().all(|conn| site.hub.is_open(*conn)));
    site.assert_nothing_waits();
}

#[test]
fn a_failure_gives_back_at_once_what_was_given_to_the_journal_after_it() {
    let mut site = Site::new();
    let (alice, bob) = (site.connect("alice", "&device=a"), site.connect("bob", ""));
    site.frames(alice);
    site.frames(bob);
    for cid in ["c15", "c16", "c17"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.complete(Completion::Unavailable);
    let cids: Vec<Value> = site.frames(alice).iter().map(|frame| frame["cid"].clone()).collect();
    assert_eq!(cids, ["c15", "c16", "c17"]);
    site.cut(alice);
    let alice = site.connect("alice", "&device=a");
    site.frames(alice);
    for cid in ["c15", "c16", "c17", "c18"] {
        site.say(alice, &send(cid, "bob"));
    }
    // These completions belong to the failed round.
    site.complete(Completion::Unavailable);
    site.complete(Completion::Unavailable);
    for _ in 0..4 {
        site.complete(stored());
    }
    assert_eq!(messages(&site.frames(bob)), ["c15", "c16", "c17", "c18"]);
    site.assert_nothing_waits();
}

#[test]
fn a_send_that_failed_has_to_come_again_before_those_that_were_refused_meanwhile() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    for number in 0..257 {
        site.say(alice, &send(&format!("n{number}"), "bob"));
    }
    site.fail();
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["cid"], &frames[0]["code"]), (&"n0".into(), &"unavailable".into()));
    assert_eq!((&frames[256]["cid"], &frames[256]["code"]), (&"n256".into(), &"rate".into()));
    site.say(alice, &send("n256", "bob"));
    assert_eq!(site.frames(alice)[0]["code"], "after");
    site.say(alice, &send("n0", "bob"));
    site.say(alice, &send("n1", "bob"));
    assert_eq!(site.waits(), 2);
    site.complete(stored());
    site.complete(stored());
    assert_eq!(site.types(alice), ["ack", "ack"]);
    site.assert_nothing_waits();
}
