//! The relay with a journal on a disk: what is stored comes back after a restart, bodies are read when they
//! are needed, and nothing that was stored is lost, doubled or renumbered.

use super::*;
use crate::journal::{Disk, Kind, Recovered};
use crate::relay::events::{Event, EventKind};

fn site(disk: &Disk) -> Site {
    site_of(disk, Relay::new(RelayConfig::default()))
}

fn site_of(disk: &Disk, relay: Relay) -> Site {
    let now = Instant::now();
    let relay = relay.with_journal(Box::new(disk.open()));
    Site { hub: Hub::new(Config::default(), relay, now), waiting: Waiting::default(), now }
}

impl Site {
    /// The disk handles all that waits, a few requests at a time.
    fn sync(&mut self, disk: &Disk) {
        while disk.contents().waiting > 0 {
            for completed in disk.step(5) {
                self.hub.deliver(completed.into(), self.now);
            }
        }
    }

    /// Connects, and reads what comes at once or from the disk.
    fn come(&mut self, disk: &Disk, user: &str, query: &str) -> (ConnId, Vec<Value>) {
        let conn = self.connect(user, query);
        let mut frames = self.frames(conn);
        self.sync(disk);
        frames.extend(self.frames(conn));
        (conn, frames)
    }

    fn memory(&self) -> usize {
        self.hub.handler().v2.boxes.memory()
    }
}

/// The frames that have a number, without their order in time.
fn kept(frames: &[Value]) -> Vec<(u64, Value)> {
    let has_number = frames.iter().filter(|it| it["type"] == "message" || it["type"] == "receipt");
    has_number.map(|it| (it["seq"].as_u64().unwrap(), it.clone())).collect()
}

fn last_of(frames: &[Value]) -> String {
    let seq = frames.iter().filter_map(|it| it["seq"].as_u64()).max().unwrap();
    format!("{}-{seq}", frames[0]["epoch"].as_str().unwrap())
}

#[test]
fn what_was_stored_comes_after_a_restart_in_its_order_with_its_numbers_and_only_once() {
    let disk = Disk::new(1_000);
    let mut first = site(&disk);
    let (phone, welcome) = first.come(&disk, "bob", "&device=phone");
    let (alice, _) = first.come(&disk, "alice", "&device=a");
    for number in 0..150 {
        first.say(alice, &send(&format!("c{number}"), "bob"));
        first.sync(&disk);
        if number == 1 {
            first.say(phone, r#"{"type":"ack","seq":1}"#);
        }
        if number == 9 {
            first.cut(phone);
        }
    }
    assert_eq!(first.frames(alice).iter().filter(|it| it["state"] == "stored").count(), 150);
    first.sync(&disk);
    let mut second = site(&disk);
    let gauges = second.hub.handler().mailbox_gauges();
    assert_eq!((gauges.waiting, gauges.mailboxes), (64, 2));
    let last = last_of(&welcome).replace("-0", "-1");
    let (phone, frames) = second.come(&disk, "bob", &format!("&device=phone&last={last}"));
    assert_eq!((&frames[0]["resumed"], &frames[1]["type"]), (&true.into(), &"gap".into()));
    assert_eq!((&frames[1]["from"], &frames[1]["to"]), (&2.into(), &86.into()));
    let seqs: Vec<u64> = kept(&frames).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (87..=150).collect::<Vec<_>>());
    assert_eq!(messages(&frames).last(), Some(&"c149"));
    assert_eq!(frames.last().unwrap()["type"], "live");
    second.say(phone, r#"{"type":"ack","seq":150}"#);
    second.sync(&disk);
    let mut third = site(&disk);
    assert_eq!(third.hub.handler().mailbox_gauges().waiting, 0);
    let last = last_of(&frames);
    let (_, frames) = third.come(&disk, "bob", &format!("&device=phone&last={last}"));
    assert_eq!((&frames[0]["resumed"], kept(&frames).len()), (&true.into(), 0));
    third.assert_nothing_waits();
}

#[test]
fn a_message_of_each_kind_is_made_again_as_it_was_sent() {
    let disk = Disk::new(1_000);
    let mut first = site(&disk);
    let people = [("alice", "a"), ("alice", "pad"), ("bob", "b"), ("张", "z")];
    let mut conns = Vec::new();
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for (user, device) in people {
        conns.push(first.come(&disk, user, &format!("&device={device}")).0);
        first.say(*conns.last().unwrap(), r#"{"type":"join","group":"g \"1\""}"#);
        first.sync(&disk);
        seen.push(Vec::new());
    }
    let texts = [
        r#"{"type":"send","cid":"c1","toUserId":"bob","message":{"a":"\"ts\":9","b":[1.50,null]},"receipt":true}"#,
        r#"{"type":"send","cid":"c2","toUserIds":["bob","张","nobody"],"message":"\u0000é"}"#,
        r#"{"type":"send","cid":"c3","group":"g \"1\"","message":[true],"key":"pos"}"#,
        r#"{"type":"send","cid":"c4","toUserId":"bob","message":12345678901234567890,"key":"k\u0000x"}"#,
        r#"{"type":"send","cid":"c5","toUserId":"alice","message":"to myself"}"#,
    ];
    let read = |site: &mut Site, conns: &[ConnId], seen: &mut Vec<Vec<Value>>, disk: &Disk| {
        // The bodies that were read from the disk are in the frames of the second run.
        for turn in 0..conns.len() {
            let _ = turn;
            site.sync(disk);
        }
        for (at, frames) in site.all_frames(conns).into_iter().enumerate() {
            seen[at].extend(kept(&frames).into_iter().map(|(_, frame)| frame));
        }
    };
    for text in texts {
        first.say(conns[0], text);
        first.sync(&disk);
        read(&mut first, &conns, &mut seen, &disk);
    }
    // A receipt for alice.
    let seq = seen[2][0]["seq"].clone();
    first.say(conns[2], &format!(r#"{{"type":"ack","seq":{seq}}}"#));
    first.sync(&disk);
    read(&mut first, &conns, &mut seen, &disk);
    assert!(seen[0].iter().any(|it| it["type"] == "receipt"), "{:?}", seen[0]);
    assert!(seen[1].iter().any(|it| it["own"] == true && it["group"] == "g \"1\""));
    let mut second = site(&disk);
    for ((user, device), before) in people.iter().zip(&seen) {
        let last = format!("&device={device}&last=disk0-0");
        let (_, frames) = second.come(&disk, user, &last);
        let again: Vec<Value> = kept(&frames).into_iter().map(|(_, frame)| frame).collect();
        // Bob has acknowledged the first message in the first run, and says now that he has not.
        let skipped = usize::from(*user == "bob");
        assert_eq!(again, before[skipped..], "{user} {device}");
    }
}

#[test]
fn a_record_of_each_kind_has_the_same_bytes_and_the_same_key_when_it_is_made_again() {
    let disk = Disk::new(1_000);
    let mut site = site(&disk);
    let (alice, _) = site.come(&disk, "alice", "&device=a");
    site.come(&disk, "alice", "&device=pad");
    let (bob, _) = site.come(&disk, "bob", "");
    for conn in [alice, bob] {
        site.say(conn, r#"{"type":"join","group":"g"}"#);
        site.sync(&disk);
    }
    for (cid, to) in [("1", r#""toUserId":"bob""#), ("2", r#""group":"g""#)] {
        for key in ["", r#","key":"pos""#] {
            let text = format!(
                r#"{{"type":"send","cid":"{cid}{}",{to},"message":"m","receipt":{}{key}}}"#,
                key.len(),
                cid == "1"
            );
            site.say(alice, &text);
        }
    }
    // Before the journal completes them, the messages are as they were made.
    let made: Vec<(u64, String, Vec<u8>)> = site.hub.handler().v2.pending.bodies();
    assert_eq!(made.len(), 8);
    site.sync(&disk);
    let mut journal = disk.open();
    let seqs: Vec<u64> = made.iter().map(|(seq, ..)| *seq).collect();
    let _ = journal.load(7, &seqs);
    let loaded = disk.step(10).pop().unwrap();
    let Completion::Loaded(sends) = loaded.completion else { panic!("{loaded:?}") };
    let mut kinds = Vec::new();
    for (seq, text, key) in made {
        let found = |stored: &Stored| {
            let record = stored.records.iter().find(|it| it.seq == seq)?;
            let body = super::super::recorded::body_of(stored, record, &mut String::new());
            Some((record.kind, body.text().to_owned(), body.key().as_bytes().to_vec()))
        };
        let (kind, again, key_again) = sends.iter().find_map(found).unwrap();
        assert_eq!((again, key_again), (text, key), "{kind:?}");
        kinds.push(kind);
    }
    for kind in [Kind::ToUser, Kind::ToMember, Kind::Own] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
fn a_send_that_comes_again_after_a_restart_is_answered_with_its_first_id() {
    let disk = Disk::new(1_000);
    let mut first = site(&disk);
    let (alice, _) = first.come(&disk, "alice", "&device=a");
    let many = r#"{"type":"send","cid":"many","toUserIds":["bob","eve"],"message":1}"#;
    for text in [SEND, many] {
        first.say(alice, text);
    }
    first.sync(&disk);
    let ids: Vec<Value> = first.frames(alice).iter().map(|it| it["id"].clone()).collect();
    let mut second = site(&disk);
    for _ in 0..2 {
        let (alice, _) = second.come(&disk, "alice", "&device=a");
        for text in [SEND, many] {
            second.say(alice, text);
        }
        second.say(alice, &SEND.replace("hi", "else"));
        second.sync(&disk);
        second.turn();
        second.sync(&disk);
        let frames = second.frames(alice);
        assert_eq!(frames.len(), 3, "{frames:?}");
        for (frame, id) in frames.iter().zip(&ids) {
            assert_eq!((&frame["state"], &frame["was"]), (&"duplicate".into(), &"stored".into()));
            assert_eq!(frame["id"], *id);
        }
        assert_eq!(frames[2]["code"], "conflict");
        assert_eq!(disk.contents().sends, 2, "nothing is sent a second time");
        second.cut(alice);
    }
    let (other, _) = second.come(&disk, "alice", "&device=other");
    second.say(other, SEND);
    second.sync(&disk);
    assert_eq!(second.frames(other)[0]["state"], "stored", "another device has names of its own");
    second.assert_nothing_waits();
}

#[test]
fn a_user_who_is_away_has_no_bodies_in_memory_and_twenty_messages_take_at_most_500_bytes() {
    let disk = Disk::new(1_000);
    let mut site = site(&disk);
    let (bob, _) = site.come(&disk, "bob", "&device=phone");
    let (alice, _) = site.come(&disk, "alice", "");
    let empty = site.memory();
    let text = "x".repeat(300);
    for number in 0..20 {
        let text = text.replace('x', &number.to_string());
        let frame =
            format!(r#"{{"type":"send","cid":"n{number}","toUserId":"bob","message":"{text}"}}"#);
        site.say(alice, &frame);
        site.sync(&disk);
        if number == 9 {
            let with_bodies = site.memory();
            assert!(with_bodies > empty + 10 * 300);
            site.cut(bob);
        }
    }
    let of_sender = {
        let v2 = &site.hub.handler().v2;
        v2.boxes.memory_of(v2.boxes.find("alice").unwrap())
    };
    let v2 = &site.hub.handler().v2;
    let of_bob = v2.boxes.memory_of(v2.boxes.find("bob").unwrap());
    assert!(of_bob <= 450, "{of_bob} bytes");
    assert_eq!(site.memory(), of_sender + of_bob, "and nothing else");
    let (_, frames) = site.come(&disk, "bob", "&device=phone");
    assert_eq!(kept(&frames).len(), 20);
}

#[test]
fn a_message_that_the_disk_does_not_have_any_more_is_a_gap_between_the_others() {
    let disk = Disk::new(1_000);
    let mut site = site(&disk);
    let (bob, _) = site.come(&disk, "bob", "&device=phone");
    site.cut(bob);
    let (alice, _) = site.come(&disk, "alice", "");
    for cid in ["c1", "c2", "c3", "c4"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.sync(&disk);
    disk.drop_send(2);
    let (bob, frames) = site.come(&disk, "bob", "&device=phone");
    assert_eq!(messages(&frames), ["c1", "c3", "c4"]);
    let gaps: Vec<&Value> = frames.iter().filter(|it| it["type"] == "gap").collect();
    assert_eq!((&gaps[0]["from"], &gaps[0]["to"]), (&2.into(), &2.into()));
    assert_eq!((gaps.len(), &gaps[0]["reason"]), (1, &"lost".into()));
    site.say(bob, r#"{"type":"ack","seq":4}"#);
    site.sync(&disk);
    assert_eq!(site.hub.handler().mailbox_gauges().waiting, 0);
    site.assert_nothing_waits();
}

#[test]
fn a_lost_message_whose_body_is_on_the_disk_is_reported_with_its_text() {
    let disk = Disk::new(1_000);
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = lost.clone();
    let config = RelayConfig { mailbox_messages: 2, ..RelayConfig::default() };
    let relay = Relay::new(config).with_watcher(&[EventKind::Undelivered], move |_, event| {
        if let Event::Undelivered { user, to, frame, .. } = event {
            told.lock().unwrap().push(format!("{user} to {to}: {}", frame.concat()));
        }
    });
    let mut site = site_of(&disk, relay);
    let (alice, _) = site.come(&disk, "alice", "");
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
        site.sync(&disk);
    }
    let text =
        r#"alice to bob: {"type":"message","formUserId":"alice","toUserId":"bob","message":"c1"}"#;
    assert_eq!(*lost.lock().unwrap(), [text]);
    // It does not come back at the next start, and is not reported again.
    let mut told = Vec::new();
    disk.open().recover(&mut |it| told.push(it));
    let sends = told.iter().filter(|it| matches!(it, Recovered::Send(_))).count();
    assert_eq!(sends, 2);
    site.assert_nothing_waits();
}

#[test]
fn a_receipt_is_made_of_a_message_that_was_acknowledged_when_its_body_was_on_the_disk() {
    let disk = Disk::new(1_000);
    let mut site = site(&disk);
    let (bob, welcome) = site.come(&disk, "bob", "&device=phone");
    let (alice, _) = site.come(&disk, "alice", "");
    let mut ids = Vec::new();
    for cid in ["c1", "c2"] {
        let text = send(cid, "bob").replace(r#","message""#, r#","receipt":true,"message""#);
        site.say(alice, &text);
        site.sync(&disk);
        ids.push(site.frames(alice)[0]["id"].clone());
    }
    // The acknowledgement was lost with the connection, and the device comes back behind it.
    site.cut(bob);
    let last = format!("{}-2", welcome[0]["epoch"].as_str().unwrap());
    let bob = site.connect("bob", &format!("&device=phone&last={last}"));
    site.frames(bob);
    site.sync(&disk);
    let frames = site.frames(alice);
    assert_eq!((frames.len(), &frames[0]["type"]), (1, &"receipt".into()), "{frames:?}");
    assert_eq!(frames[0]["id"], ids[1]);
    site.assert_nothing_waits();
}

#[test]
fn a_v1_page_gets_what_waits_on_the_disk_before_what_comes_meanwhile() {
    let disk = Disk::new(1_000);
    let config = RelayConfig { v1_mailbox: true, ..RelayConfig::default() };
    let mut site = site_of(&disk, Relay::new(config));
    let (alice, _) = site.come(&disk, "alice", "");
    for number in 0..70 {
        site.say(alice, &send(&format!("c{number}"), "bob"));
        site.sync(&disk);
    }
    let page = site.page("bob", "device=tablet");
    assert!(site.frames(page).is_empty());
    site.sync(&disk);
    let frames = site.frames(page);
    let expected: Vec<String> = (6..70).map(|number| format!("c{number}")).collect();
    assert_eq!(messages(&frames), expected);
    site.sync(&disk);
    assert_eq!(site.hub.handler().mailbox_gauges().waiting, 0);
    site.assert_nothing_waits();
}

#[test]
fn a_device_that_connected_once_is_known_after_a_restart_and_a_stranger_is_not() {
    let disk = Disk::new(1_000);
    let mut first = site(&disk);
    first.come(&disk, "bob", "&device=phone");
    let (alice, _) = first.come(&disk, "alice", "");
    first.say(alice, &send("c1", "stranger"));
    first.sync(&disk);
    let second = site(&disk);
    let boxes = &second.hub.handler().v2.boxes;
    assert_eq!(boxes.devices(boxes.find("bob").unwrap()).count(), 1);
    assert_eq!(boxes.devices(boxes.find("stranger").unwrap()).count(), 0);
    assert_eq!(boxes.waiting(), 1);
}

#[test]
fn all_clients_are_sent_bye_on_a_change_of_epoch_and_come_back_without_a_loss() {
    let disk = Disk::new(1_000);
    let mut site = site(&disk);
    let (alice, _) = site.come(&disk, "alice", "&device=a");
    let (bob, welcome) = site.come(&disk, "bob", "&device=b");
    for number in 0..150 {
        site.come(&disk, &format!("u{number}"), "");
    }
    site.say(alice, &send("c1", "bob"));
    site.sync(&disk);
    assert_eq!(messages(&site.frames(bob)), ["c1"]);
    // The disk fails when the next message is on its way to it.
    site.say(alice, &send("c2", "bob"));
    let told = disk.fail();
    site.hub.deliver(told.into(), site.now);
    let bye = site.frames(bob);
    assert_eq!((&bye[0]["type"], &bye[0]["code"]), (&"bye".into(), &4012.into()));
    assert_eq!(
        (&bye[0]["retry"], &bye[0]["after"]),
        (&true.into(), &serde_json::json!([500, 8000]))
    );
    site.flush();
    let open = (0..200).filter(|_| site.hub.connections() > 52).count();
    assert!(open > 0 && site.hub.connections() >= 52, "not all of them at once");
    site.sync(&disk);
    site.now += std::time::Duration::from_millis(40);
    site.turn();
    site.flush();
    assert_eq!(site.hub.handler().mailbox_gauges().links, 0);
    let last = last_of(&welcome).replace("-0", "-1");
    let (bob, frames) = site.come(&disk, "bob", &format!("&device=b&last={last}"));
    assert_ne!(frames[0]["epoch"], welcome[0]["epoch"]);
    assert_eq!((&frames[0]["resumed"], messages(&frames)), (&true.into(), vec!["c2"]));
    let (alice, _) = site.come(&disk, "alice", "&device=a");
    site.say(alice, &send("c2", "bob"));
    site.say(alice, &send("c3", "bob"));
    site.sync(&disk);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["was"], &frames[1]["state"]), (&"queued".into(), &"queued".into()));
    assert!(site.hub.is_open(bob));
    // What was not stored is gone after a restart, and a client that has seen it is told so.
    site.sync(&disk);
    let mut second = super::disk::site(&disk);
    let (_, frames) = second.come(&disk, "bob", "&device=b&last=disk0-2");
    assert_eq!((&frames[0]["resumed"], &frames[1]["reason"]), (&false.into(), &"lost".into()));
}

#[test]
fn messages_that_cannot_be_read_just_now_are_not_lost_and_come_on_the_next_connection() {
    let disk = Disk::new(1_000);
    let mut site = site(&disk);
    let (phone, _) = site.come(&disk, "bob", "&device=phone");
    let (alice, _) = site.come(&disk, "alice", "&device=a");
    site.cut(phone);
    site.say(alice, &send("c1", "bob"));
    site.sync(&disk);
    disk.set_unreadable(true);
    let (phone, frames) = site.come(&disk, "bob", "&device=phone");
    let types: Vec<&str> = frames.iter().filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(types, ["welcome"], "neither a message nor a gap");
    assert!(!site.hub.is_open(phone), "the client has to come again");
    disk.set_unreadable(false);
    site.turn();
    let (_, frames) = site.come(&disk, "bob", "&device=phone");
    assert_eq!(messages(&frames), ["c1"]);
    assert_eq!(frames.last().unwrap()["type"], "live");
    assert_eq!(site.hub.handler().mailbox_counters().lost, 0);
}

#[test]
fn a_send_whose_earlier_sends_cannot_be_read_just_now_is_not_carried_out_twice() {
    let disk = Disk::new(1_000);
    let mut first = site(&disk);
    let (alice, _) = first.come(&disk, "alice", "&device=a");
    first.say(alice, &send("c1", "bob"));
    first.sync(&disk);
    let mut second = site(&disk);
    let (alice, _) = second.come(&disk, "alice", "&device=a");
    disk.set_unreadable(true);
    second.say(alice, &send("c1", "bob"));
    second.sync(&disk);
    assert!(!second.hub.is_open(alice), "the client has to come again");
    disk.set_unreadable(false);
    second.turn();
    let (alice, _) = second.come(&disk, "alice", "&device=a");
    second.say(alice, &send("c1", "bob"));
    second.sync(&disk);
    assert_eq!(second.frames(alice)[0]["state"], "duplicate");
    assert_eq!(disk.contents().sends, 1);
}
