//! Stories of nodes over a real Redis.

#[cfg(test)]
mod epochs;
#[cfg(test)]
mod rig;

use rig::{Rig, keeping, kept};

use super::Bounds;
use crate::engine::{Gone, Told};
use crate::journal::{Append, Completion, Fate, Keep, Kind, Reach};

fn line(user: &str, seq: u64, message: &str) -> (String, u64, String) {
    (user.to_owned(), seq, message.to_owned())
}

fn gone(rig: &mut Rig, at: usize) -> Vec<Gone> {
    let told = std::mem::take(&mut rig.sites[at].told);
    let all = told.into_iter().filter_map(|told| match told {
        Told::Gone { gone, .. } => Some(gone),
        _ => None,
    });
    all.collect()
}

#[test]
fn a_message_is_kept_and_arrives_on_the_node_of_its_receiver() {
    let mut rig = Rig::new(1, 2);
    rig.enter(0, "alice", "phone", 1);
    let mailbox = rig.enter(1, "bob", "tablet", 1);
    assert_eq!((mailbox.top, mailbox.base), (0, 0));
    let append = rig.message("alice", "c1", r#"{"text":"hello"}"#);
    let kept = kept(rig.send(0, &append, &["bob"]));
    assert_eq!((kept.seqs, kept.fates), (vec![1], vec![Fate::Kept]));
    assert_eq!(rig.arrived(1), [line("bob", 1, r#"{"text":"hello"}"#)]);
    assert_eq!(rig.arrived(0), []);
    rig.acknowledge(1, "bob", "tablet", 1);
    assert_eq!(rig.number(&["XLEN", "longlink:s:bob"]), 1);
    rig.wait(1_000);
    assert_eq!(rig.number(&["EXISTS", "longlink:s:bob"]), 0);
}

#[test]
fn a_message_that_one_device_has_skipped_and_a_bound_takes_later_is_a_gap_for_the_other_device() {
    let mut rig = Rig::with_bounds(1, 1, Bounds { messages: 2, ..Bounds::default() });
    rig.enter(0, "bob", "tablet", 1);
    rig.leave(0, "bob", "tablet", 1, 0, None);
    rig.enter(0, "bob", "phone", 2);
    let append = rig.message("alice", "1", "1");
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [1]);
    // The phone hangs at the message three times.
    for conn in 2..5 {
        rig.leave(0, "bob", "phone", conn, 0, Some(1));
        rig.enter(0, "bob", "phone", conn + 1);
    }
    rig.leave(0, "bob", "phone", 5, 0, None);
    for cid in ["2", "3"] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    let mailbox = rig.enter(0, "bob", "tablet", 6);
    assert_eq!(mailbox.messages.len(), 2);
    let lost: Vec<_> = mailbox.lost.iter().map(|it| (it.from, it.to, &*it.only)).collect();
    assert_eq!(lost, [(1, 1, "")], "both devices have lost it");
}

#[test]
fn a_send_that_comes_again_is_a_repetition_or_a_conflict() {
    for shards in [1, 3] {
        let mut rig = Rig::new(shards, 2);
        rig.enter(0, "alice", "phone", 1);
        for (cid, to) in [("c1", &["bob"][..]), ("c2", &["bob", "carol", "dave", "erin"])] {
            let append = rig.message("alice", cid, "1");
            kept(rig.send(0, &append, to));
            for (at, content, same) in [(1, append.content, true), (0, 99, false)] {
                let again = Append { content, id: 5_000, ..append };
                match rig.send(at, &again, to) {
                    Completion::Repeated { id, fate, is_same, .. } => {
                        let was = (append.id, same);
                        assert_eq!((id, is_same), was);
                        assert!(!same || fate == Fate::Kept);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        // Other users may be in another database than those of the first send.
        for to in ["carol", "dave", "erin"] {
            let other = Append { content: 98, ..rig.message("alice", "c1", "1") };
            let again = rig.send(1, &other, &[to]);
            assert!(matches!(again, Completion::Repeated { is_same: false, .. }), "{again:?}");
        }
        let mailbox = rig.enter(1, "bob", "phone", 2);
        assert_eq!((mailbox.top, mailbox.messages.len()), (2, 2));
        let mailbox = rig.enter(1, "carol", "phone", 3);
        assert_eq!((mailbox.top, mailbox.messages.len()), (1, 1));
    }
}

#[test]
fn a_send_that_comes_again_is_stored_if_it_was_stored_the_first_time() {
    for shards in [1, 3] {
        let mut rig = Rig::syncing(shards, 2);
        for (cid, to) in [("c1", &["bob"][..]), ("c2", &["bob", "carol", "dave"])] {
            let append = rig.message("alice", cid, "1");
            assert!(kept(rig.send(0, &append, to)).is_stored);
            let again = rig.send(1, &append, to);
            let is_stored = matches!(again, Completion::Repeated { is_stored: true, .. });
            assert!(is_stored, "{again:?}");
        }
    }
}

#[test]
fn a_send_for_everyone_only_claims_its_name() {
    let mut rig = Rig::new(1, 2);
    let append = rig.message("alice", "c1", "1");
    assert_eq!(kept(rig.send(0, &append, &[])).fates, []);
    let again = rig.send(1, &append, &[]);
    assert!(
        matches!(again, Completion::Repeated { fate: Fate::Sent, is_same: true, .. }),
        "{again:?}"
    );
}

#[test]
fn other_devices_of_the_sender_get_copies_and_the_sending_one_does_not_hold_them() {
    for shards in [1, 3] {
        let mut rig = Rig::new(shards, 2);
        rig.enter(0, "alice", "phone", 1);
        let append = rig.message("alice", "c1", "1");
        kept(rig.send(0, &append, &["bob"]));
        rig.enter(1, "alice", "tablet", 2);
        rig.acknowledge(1, "alice", "tablet", 0);
        let append = rig.message("alice", "c2", "2");
        kept(rig.send(0, &append, &["bob", "carol"]));
        let copies = [line("alice", 1, "own to bob: 2"), line("alice", 2, "own to carol: 2")];
        assert_eq!(rig.arrived(0), copies, "{shards} shards");
        assert_eq!(rig.arrived(1), copies);
        // To oneself there are no copies.
        let append = rig.message("alice", "c3", "3");
        kept(rig.send(0, &append, &["alice"]));
        assert_eq!(rig.arrived(1), [line("alice", 3, "3")]);
        rig.acknowledge(1, "alice", "tablet", 2);
        rig.wait(1_100);
        let rest = rig.enter(1, "alice", "desk", 3);
        let seqs: Vec<u64> = rest.messages.iter().map(|it| it.records[0].seq).collect();
        // The phone has sent the first two, so only the third waits for it.
        assert_eq!(seqs, [3]);
    }
}

#[test]
fn messages_wait_for_an_absent_user_with_their_time_and_their_order() {
    let mut rig = Rig::new(1, 2);
    for n in 1..=3 {
        let (cid, text) = (format!("c{n}"), format!("{n}"));
        let append = rig.message("alice", &cid, &text);
        assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [n]);
    }
    let mailbox = rig.enter(1, "bob", "phone", 1);
    assert_eq!((mailbox.top, mailbox.base, mailbox.devices.len()), (3, 0, 0));
    let texts: Vec<&str> = mailbox.messages.iter().map(|it| &*it.message).collect();
    assert_eq!(texts, ["1", "2", "3"]);
    assert!(
        mailbox.messages.iter().all(|it| it.left.is_some_and(|left| left > 590 && left <= 600))
    );
    rig.leave(1, "bob", "phone", 1, 2, None);
    let mailbox = rig.enter(0, "bob", "phone", 2);
    assert_eq!(mailbox.messages.len(), 1);
    assert_eq!((mailbox.devices[0].0.as_ref(), mailbox.devices[0].1), ("phone", 2));
}

#[test]
fn a_newer_message_with_the_same_key_replaces_the_one_that_waits() {
    let mut rig = Rig::new(1, 1);
    for (cid, text, key) in [("c1", "old", "pos"), ("c2", "other", ""), ("c3", "new", "pos")] {
        let append = Append { key, ..rig.message("alice", cid, text) };
        kept(rig.send(0, &append, &["bob"]));
    }
    let mailbox = rig.enter(0, "bob", "phone", 1);
    let texts: Vec<&str> = mailbox.messages.iter().map(|it| &*it.message).collect();
    assert_eq!((texts, mailbox.lost.len()), (vec!["other", "new"], 0));
}

#[test]
fn a_bound_takes_the_oldest_messages_and_the_next_device_is_told_of_it() {
    let bounds = Bounds { messages: 3, bytes: 64 * 1024, live_bytes: 256 * 1024 };
    let mut rig = Rig::with_bounds(1, 1, bounds);
    rig.enter(0, "bob", "phone", 1);
    let cids: Vec<String> = (0..9).map(|n| format!("c{n}")).collect();
    for cid in &cids[..5] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    // While a device is connected, more may wait.
    assert_eq!(rig.number(&["XLEN", "longlink:s:bob"]), 5);
    rig.leave(0, "bob", "phone", 1, 1, None);
    assert_eq!(rig.number(&["XLEN", "longlink:s:bob"]), 3);
    for cid in &cids[5..7] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    let mailbox = rig.enter(0, "bob", "phone", 2);
    let lost: Vec<_> = mailbox.lost.iter().map(|it| (it.from, it.to, it.why)).collect();
    assert_eq!((lost, mailbox.messages.len()), (vec![(2, 4, 'o')], 3));
}

#[test]
fn a_message_whose_time_is_over_is_gone_with_a_gap() {
    let mut rig = Rig::new(1, 1);
    rig.enter(0, "bob", "phone", 1);
    rig.leave(0, "bob", "phone", 1, 0, None);
    for (cid, ttl) in [("c1", 0), ("c2", 600)] {
        let append = Append { ttl, ..rig.message("alice", cid, cid) };
        kept(rig.send(0, &append, &["bob"]));
    }
    rig.wait(2_000);
    let mailbox = rig.enter(0, "bob", "phone", 2);
    let lost: Vec<_> = mailbox.lost.iter().map(|it| (it.from, it.to, it.why)).collect();
    assert_eq!((lost, mailbox.messages.len()), (vec![(1, 1, 'e')], 1));
}

#[test]
fn what_is_kept_depends_on_the_wish_of_the_sender() {
    let mut rig = Rig::new(1, 2);
    rig.enter_as(1, "page", "", 1, false);
    rig.enter(1, "v2", "phone", 2);
    rig.leave(1, "v2", "phone", 2, 0, None);
    let wishes = [
        (Keep::Usual, [Fate::Kept, Fate::Sent, Fate::Kept]),
        (Keep::IfMailbox, [Fate::Offline, Fate::Sent, Fate::Kept]),
        (Keep::Never, [Fate::Offline, Fate::Sent, Fate::Offline]),
        (Keep::Always, [Fate::Kept, Fate::Kept, Fate::Kept]),
    ];
    for (at, (keep, fates)) in wishes.into_iter().enumerate() {
        let (cid, absent) = (format!("c{at}"), format!("absent{at}"));
        let append = keeping(rig.message("alice", &cid, "1"), keep);
        assert_eq!(kept(rig.send(0, &append, &[&absent, "page", "v2"])).fates, fates, "{keep:?}");
    }
    let seqs: Vec<u64> = rig.arrived(1).into_iter().map(|(_, seq, _)| seq).collect();
    assert_eq!(seqs, [0, 0, 0, 1]);
}

#[test]
fn a_group_is_given_its_messages_in_steps_and_each_member_gets_them_once() {
    for shards in [1, 3] {
        let mut rig = Rig::new(shards, 2);
        let members: Vec<String> = (0..250).map(|n| format!("m{n:03}")).collect();
        for (at, user) in members.iter().enumerate().take(230) {
            rig.enter(at % 2, user, "phone", at as u64 + 1);
        }
        for user in &members {
            let ask = crate::engine::Request::Change { group: "g", user, joins: true };
            let ask = crate::cluster::ask::Ask::Engine(900, crate::cluster::ask::Wanted::new(&ask));
            rig.sites[0].node.ask(ask, rig.now);
        }
        rig.settle();
        rig.sites.iter_mut().for_each(|site| site.told.clear());
        let append = Append { group: "g", ..rig.message("m000", "c1", "1") };
        let answer = kept(rig.send(0, &append, &[]));
        assert_eq!((answer.members, answer.fates), (Some((229, 229)), vec![Fate::Kept]));
        let mut all = rig.arrived(0);
        all.extend(rig.arrived(1));
        all.sort();
        let want: Vec<_> = members[1..230].iter().map(|user| line(user, 1, "1")).collect();
        assert_eq!(all, want);
        // The same again, on another node, gives nobody anything.
        let again = rig.send(1, &append, &[]);
        assert!(matches!(again, Completion::Repeated { fate: Fate::Kept, .. }), "{again:?}");
        assert_eq!(rig.arrived(0), []);
    }
}

#[test]
fn a_receipt_is_made_once_although_two_nodes_see_the_acknowledgement() {
    let mut rig = Rig::new(1, 2);
    rig.enter(0, "alice", "phone", 1);
    let records =
        [crate::journal::Record { user: "alice", seq: 0, kind: Kind::Receipt, to: "", marks: 0 }];
    for (at, id, count) in [(0, "01B", 1), (1, "01B", 0), (0, "01A", 0), (1, "01C", 1)] {
        let append = rig.message("bob", "", id);
        let reach = Reach { keep: Keep::IfMailbox, ..Reach::default() };
        let append = Append { records: &records, device: "", reach, ..append };
        let sending = crate::cluster::ask::Sending::new(5, &append);
        rig.sites[at].node.ask(crate::cluster::ask::Ask::Append(Box::new(sending)), rig.now);
        rig.settle();
        assert_eq!(rig.arrived(0).len(), count, "{id}");
    }
}

#[test]
fn a_node_that_has_missed_payloads_reads_the_missing_messages_in_their_order() {
    let mut rig = Rig::new(1, 2);
    rig.enter(1, "bob", "phone", 1);
    rig.sites[1].is_deaf = true;
    for cid in ["1", "2", "3"] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    assert_eq!(rig.arrived(1), []);
    rig.sites[1].is_deaf = false;
    let append = rig.message("alice", "4", "4");
    kept(rig.send(0, &append, &["bob"]));
    let all: Vec<_> = (1..=4).map(|n| line("bob", n, &n.to_string())).collect();
    assert_eq!(rig.arrived(1), all);
}

#[test]
fn the_last_payload_that_a_node_has_missed_is_found_within_forty_seconds() {
    let mut rig = Rig::new(1, 2);
    rig.enter(1, "bob", "phone", 1);
    rig.sites[1].is_deaf = true;
    let append = rig.message("alice", "1", "1");
    kept(rig.send(0, &append, &["bob"]));
    rig.sites[1].is_deaf = false;
    rig.wait(40_500);
    assert_eq!(rig.arrived(1), [line("bob", 1, "1")]);
}

#[test]
fn a_device_enters_with_everything_that_waits_also_beside_another_device_that_has_had_it() {
    let mut rig = Rig::new(1, 1);
    rig.enter(0, "bob", "phone", 1);
    rig.enter(0, "bob", "tablet", 2);
    rig.leave(0, "bob", "tablet", 2, 0, None);
    let cids: Vec<String> = (1..=600).map(|n| n.to_string()).collect();
    for (cid, seq) in cids.iter().zip(1..) {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
        if seq % 20 == 0 {
            rig.acknowledge(0, "bob", "phone", seq);
            rig.wait(1_000);
        }
    }
    let mailbox = rig.enter(0, "bob", "tablet", 3);
    assert_eq!((mailbox.top, mailbox.lost.len()), (600, 0));
    let all = mailbox.messages.iter().map(|it| it.records[0].seq);
    assert_eq!(all.collect::<Vec<u64>>(), (1..=600).collect::<Vec<u64>>());
    let append = rig.message("alice", "601", "601");
    rig.arrived(0);
    kept(rig.send(0, &append, &["bob"]));
    assert_eq!(rig.arrived(0), [line("bob", 601, "601")]);
}

#[test]
fn after_three_connections_a_device_skips_a_message_that_it_cannot_take() {
    let mut rig = Rig::new(1, 1);
    rig.enter(0, "bob", "phone", 1);
    let append = rig.message("alice", "1", "1");
    kept(rig.send(0, &append, &["bob"]));
    for conn in 1..=3 {
        rig.leave(0, "bob", "phone", conn, 0, Some(1));
        let mailbox = rig.enter(0, "bob", "phone", conn + 1);
        let lost: Vec<_> =
            mailbox.lost.iter().map(|it| (it.from, it.to, it.why, &*it.only)).collect();
        let want = if conn == 3 { vec![(1, 1, 'u', "phone")] } else { vec![] };
        assert_eq!(lost, want);
    }
}

#[test]
fn a_deleted_mailbox_is_told_as_lost_and_its_numbers_are_not_given_again() {
    let mut rig = Rig::new(1, 2);
    rig.enter(1, "bob", "phone", 1);
    for cid in ["1", "2"] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    rig.arrived(1);
    let forget = |rig: &mut Rig| {
        let ask = crate::cluster::ask::Ask::Forget { ticket: 9, user: "bob".into(), seq: u64::MAX };
        rig.sites[0].node.ask(ask, rig.now);
        rig.settle();
        assert!(matches!(rig.sites[0].done.pop(), Some((9, Completion::Forgotten))));
    };
    forget(&mut rig);
    let all: Vec<_> = gone(&mut rig, 1).iter().map(|it| (it.from, it.to, it.why)).collect();
    assert_eq!(all, [(1, 2, 'l')]);
    rig.leave(1, "bob", "phone", 1, 2, None);
    forget(&mut rig);
    assert_eq!(rig.number(&["HEXISTS", "longlink:u:bob", "t"]), 0);
    let append = rig.message("alice", "3", "3");
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [3]);
    assert_eq!(rig.enter(0, "bob", "phone", 2).base, 2);
}

#[test]
fn a_lost_connection_fails_what_was_given_to_it_and_all_later_sends_of_that_round() {
    let mut rig = Rig::new(1, 1);
    let append = rig.message("alice", "1", "1");
    rig.give(0, 1, &append, &["bob"]);
    rig.cut(0);
    rig.connect(0);
    let append = rig.message("alice", "2", "2");
    rig.give(0, 2, &append, &["bob"]);
    rig.settle();
    let done = std::mem::take(&mut rig.sites[0].done);
    let failed = |(_, completion): &_| matches!(completion, Completion::Unavailable);
    assert!(done.len() == 2 && done.iter().all(failed), "{done:?}");
    let append = Append { round: 1, ..rig.message("alice", "1", "1") };
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [1]);
}

#[test]
fn scripts_that_redis_has_forgotten_are_loaded_again_and_nothing_fails() {
    let mut rig = Rig::new(1, 1);
    rig.redis(&["SCRIPT", "FLUSH"]);
    let cids: Vec<String> = (0..5).map(|n| n.to_string()).collect();
    for (at, cid) in cids.iter().enumerate() {
        let append = rig.message("alice", cid, cid);
        rig.give(0, at as u32, &append, &["bob"]);
    }
    rig.settle();
    let done = std::mem::take(&mut rig.sites[0].done);
    let seqs: Vec<u64> = done.into_iter().flat_map(|(_, it)| kept(it).seqs).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

#[test]
fn a_send_does_not_overtake_the_one_before_it_that_redis_could_not_run() {
    let mut rig = Rig::new(1, 1);
    for (ticket, cid) in [(0, "1"), (1, "2"), (2, "3")] {
        let append = rig.message("alice", cid, cid);
        rig.give(0, ticket, &append, &["bob"]);
    }
    rig.spoil_first_script(0);
    rig.settle();
    let mailbox = rig.enter(0, "bob", "phone", 1);
    // The script is loaded and called again for the first one; the others come again from the client.
    let texts: Vec<&str> = mailbox.messages.iter().map(|it| &*it.message).collect();
    assert_eq!(texts, ["1"]);
    let done = std::mem::take(&mut rig.sites[0].done);
    let is_kept = |(_, it): &(u32, Completion)| matches!(it, Completion::Appended(_));
    assert_eq!(done.iter().map(is_kept).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn without_room_in_redis_a_send_and_all_later_ones_of_its_round_fail() {
    let mut rig = Rig::new(1, 1);
    rig.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    let cids: Vec<String> = (0..3).map(|n| n.to_string()).collect();
    for (at, cid) in cids.iter().enumerate() {
        let append = rig.message("alice", cid, cid);
        rig.give(0, at as u32, &append, &["bob"]);
    }
    rig.settle();
    let done = std::mem::take(&mut rig.sites[0].done);
    assert!(done.iter().all(|(_, it)| matches!(it, Completion::Unavailable)), "{done:?}");
    rig.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    let append = Append { round: 1, ..rig.message("alice", "9", "9") };
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [1]);
}

#[test]
fn a_message_of_a_request_that_comes_again_is_made_once_unless_it_has_reached_nobody() {
    let mut rig = Rig::new(2, 2);
    let users: Vec<String> = (0..8).map(|at| format!("user{at}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    rig.enter(1, users[0], "phone", 1);
    let once = |append: Append<'static>, keep| {
        let reach = Reach { keep, once: "k", ..Reach::default() };
        Append { device: "", reach, ..append }
    };
    let all: &[&str] = &users;
    let append = once(rig.message("system", "0", "to many"), Keep::Usual);
    let first = rig.send(0, &append, all);
    assert_eq!(kept(first).fates, [Fate::Kept; 8]);
    // Another node gets the same request, in which the message has another id.
    let append = Append { id: 99, ..append };
    assert!(matches!(rig.send(1, &append, all), Completion::Repeated { is_same: true, .. }));
    for user in &users {
        let stream = format!("longlink:s:{user}");
        let of_shard = |redis: &rig::Redis| match redis.connect().command(&["XLEN", &stream]) {
            redis::Value::Int(count) => count,
            other => panic!("{other:?}"),
        };
        assert_eq!(rig.shards.iter().map(of_shard).sum::<i64>(), 1, "{user}");
    }
    // Another place of the request, or another content, is another message.
    let other = Append { cid: "1", ..append };
    assert_eq!(kept(rig.send(1, &other, &users[..1])).fates, [Fate::Kept]);
    let other = Append { content: 1_000, ..append };
    assert_eq!(kept(rig.send(1, &other, &users[..1])).fates, [Fate::Kept]);
    // What has reached nobody is tried again.
    let append = once(rig.message("system", "2", "to nobody"), Keep::IfMailbox);
    for _ in 0..2 {
        assert_eq!(kept(rig.send(0, &append, &["nobody"])).fates, [Fate::Offline]);
    }
}
