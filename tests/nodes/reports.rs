//! Events of which the backend is told in the step in which a message is kept.

use longlink::keeping::{Append, Completion, Keep, Kind, Reach, Record, Report};
use longlink::nodes::Happened;

use crate::events::{events, lines, rig_with, tell};
use crate::rig::Rig;

fn rig(nodes: usize) -> Rig {
    rig_with(nodes, 1 << 20)
}

/// The event of a message, or of a receipt.
fn report(kind: char, text: &str) -> Report {
    let name = if kind == 'r' { "receipt" } else { "message" };
    Report { kind, event: format!(r#""type":"{name}","user":"ann","text":"{text}","at":1}}"#) }
}

/// Ann's phone sends a message to some users, with a name and with events. Nothing is sent to Redis yet.
fn send(rig: &mut Rig, at: usize, cid: &str, users: &[&str], reports: &[Report]) {
    send_in(rig, at, 0, cid, users, reports);
}

fn send_in(rig: &mut Rig, at: usize, round: u32, cid: &str, users: &[&str], reports: &[Report]) {
    let record = |user| Record { user, seq: 0, kind: Kind::ToUser, to: "", marks: 0 };
    let records: Vec<Record<'_>> = users.iter().map(|user| record(*user)).collect();
    let append = Append {
        user: "ann",
        device: "phone",
        cid,
        content: 5,
        id: 7 << 80,
        group: "",
        message: "1",
        key: "",
        ttl: 60,
        round,
        records: &records,
        reach: Reach { keep: Keep::Usual, has_own: true, reports, ..Reach::default() },
    };
    rig.append_only(at, 1, &append);
}

/// A device of Bob has acknowledged a message of Ann.
fn receipt(rig: &mut Rig, at: usize, id: &str) {
    let record = Record { user: "ann", seq: 0, kind: Kind::Receipt, to: "", marks: 0 };
    let append = Append {
        user: "bob",
        device: "",
        cid: "",
        content: 0,
        id: 7 << 80,
        group: "",
        message: id,
        key: "r",
        ttl: 60,
        round: 0,
        records: &[record],
        reach: Reach { keep: Keep::IfMailbox, reports: &[report('r', id)], ..Reach::default() },
    };
    rig.append_only(at, 1, &append);
}

/// What all nodes tell the backend, in the order of the numbers.
fn all(rig: &mut Rig, nodes: std::ops::Range<usize>) -> Vec<String> {
    let mut all: Vec<Happened> = nodes.flat_map(|at| events(rig, at)).collect();
    all.sort_by_key(|it| it.seq);
    all.dedup_by_key(|it| it.seq);
    lines(&all)
}

#[test]
fn the_event_of_a_message_is_there_with_the_message_and_once_though_its_node_dies_and_it_is_sent_again()
 {
    let mut rig = rig(3);
    // Whichever node tells the backend, it is not the one that dies.
    for at in 0..3 {
        rig.enter(at, "dee", &at.to_string(), at as u64 + 1);
    }
    let teller = (0..3).find(|at| !events(&mut rig, *at).is_empty()).expect("a node tells");
    let (first, second) = ((teller + 1) % 3, (teller + 2) % 3);
    send(&mut rig, first, "k1", &["bob"], &[report('m', "m1")]);
    rig.cut_before_replies(first);
    rig.kill(first);
    send(&mut rig, second, "k1", &["bob"], &[report('m', "m1")]);
    rig.settle();
    let completion = rig.completed(second).pop().expect("it is completed").completion;
    assert!(matches!(completion, Completion::Repeated { .. }), "{completion:?}");
    rig.pass(3_000);
    assert_eq!(lines(&events(&mut rig, teller)), ["2 m1"]);
}

#[test]
fn a_message_to_users_at_several_redis_that_two_nodes_finish_is_told_once() {
    let mut rig = Rig::sharded(2, 3);
    (0..2).for_each(|at| crate::events::wants(&mut rig, at, 1 << 20));
    rig.pass(3_000);
    let names: Vec<String> = (0..9).map(|user| format!("user-{user}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let reports: Vec<Report> = users.iter().map(|user| report('m', user)).collect();
    send(&mut rig, 0, "k1", &users, &reports);
    // The first node has begun, and the second one does the rest at the same time.
    rig.settle_one(0);
    send(&mut rig, 1, "k1", &users, &reports);
    rig.settle_one(1);
    rig.settle();
    rig.pass(3_000);
    let mut told: Vec<String> = all(&mut rig, 0..2);
    told.iter_mut().for_each(|line| *line = line.split_once(' ').unwrap().1.to_owned());
    assert_eq!(told, users);
}

#[test]
fn a_message_that_is_refused_is_not_told() {
    let mut rig = rig(1);
    rig.cut(0, 0);
    send(&mut rig, 0, "k1", &["bob"], &[report('m', "m1")]);
    rig.connect(0, 0);
    rig.pass(3_000);
    assert_eq!(all(&mut rig, 0..1), [""; 0]);
    send_in(&mut rig, 0, 1, "k1", &["bob"], &[report('m', "m1")]);
    rig.settle();
    assert_eq!(all(&mut rig, 0..1), ["1 m1"]);
}

#[test]
fn what_a_node_has_seen_is_told_before_the_event_of_a_send_that_follows_though_other_events_are_under_way()
 {
    let mut rig = rig(1);
    tell(&mut rig, 0, "ann", "v1");
    let under_way = rig.take(0);
    tell(&mut rig, 0, "ann", "v2");
    send(&mut rig, 0, "k1", &["bob"], &[report('m', "m1")]);
    tell(&mut rig, 0, "ann", "v3");
    rig.carry_out(0, &under_way);
    rig.settle();
    assert_eq!(all(&mut rig, 0..1), ["1 v1", "2 v2", "3 m1", "4 v3"]);
}

#[test]
fn events_behind_others_that_redis_has_refused_are_told_behind_them() {
    let mut rig = rig(1);
    tell(&mut rig, 0, "ann", "v1");
    // The commands behind the first one are carried out as if Redis had had no room for the first one.
    let first = rig.take(0);
    tell(&mut rig, 0, "ann", "v2");
    send(&mut rig, 0, "k1", &["bob"], &[report('m', "m1")]);
    rig.refuse(0, &first);
    rig.settle();
    rig.pass(3_000);
    assert_eq!(all(&mut rig, 0..1), ["1 m1", "2 v1", "3 v2"]);
}

#[test]
fn a_receipt_that_devices_on_two_nodes_cause_is_told_once() {
    let mut rig = rig(2);
    rig.enter(0, "ann", "", 1);
    assert_eq!(all(&mut rig, 0..2), ["1 online ann"]);
    receipt(&mut rig, 0, "0000000001");
    receipt(&mut rig, 1, "0000000001");
    rig.settle();
    receipt(&mut rig, 1, "0000000002");
    receipt(&mut rig, 0, "0000000001");
    rig.settle();
    assert_eq!(all(&mut rig, 0..2), ["2 0000000001", "3 0000000002"]);
}
