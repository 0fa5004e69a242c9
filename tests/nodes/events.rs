//! Events of which the backend is told: they get their numbers from Redis, and one node tells them.

use longlink::nodes::{Happened, Listing, Request, Told, Wants};

use crate::rig::Rig;

const KINDS: &str = "ofumr";

/// Some nodes that all have webhooks, with room for so many bytes of events.
pub fn rig_with(nodes: usize, most: u64) -> Rig {
    let mut rig = Rig::new(nodes);
    for at in 0..nodes {
        wants(&mut rig, at, most);
    }
    rig.pass(3_000);
    rig
}

fn rig(nodes: usize) -> Rig {
    rig_with(nodes, 1 << 20)
}

pub fn wants(rig: &mut Rig, at: usize, most: u64) {
    rig.request(at, u32::MAX, Request::Wants(Wants { kinds: KINDS, most }));
    rig.settle();
}

pub fn tell(rig: &mut Rig, at: usize, user: &str, text: &str) {
    let event = format!(r#""type":"message","user":"{user}","text":"{text}","at":1}}"#);
    rig.request(at, u32::MAX, Request::Tell { user, kind: 'm', event: &event });
}

pub fn events(rig: &mut Rig, at: usize) -> Vec<Happened> {
    let events = |told| match told {
        Told::Events(events) => events,
        _ => Vec::new(),
    };
    rig.told(at).into_iter().flat_map(events).collect()
}

/// The number, the type and the user or the text of each event.
pub fn lines(events: &[Happened]) -> Vec<String> {
    let line = |it: &Happened| {
        let json: serde_json::Value = serde_json::from_str(&format!("{{{}", it.text)).unwrap();
        let kind = json["type"].as_str().unwrap();
        match kind {
            "lost" => format!("{} lost {}-{}", it.seq, json["from"], json["to"]),
            "message" | "receipt" => format!("{} {}", it.seq, json["text"].as_str().unwrap()),
            _ => format!("{} {kind} {}", it.seq, json["user"].as_str().unwrap()),
        }
    };
    events.iter().map(line).collect()
}

#[test]
fn one_node_tells_the_events_of_all_and_each_user_has_them_in_order() {
    let mut rig = rig(3);
    rig.enter(1, "ann", "", 1);
    for text in ["a1", "a2", "a3"] {
        tell(&mut rig, 1, "ann", text);
    }
    rig.settle();
    rig.enter(2, "bob", "", 2);
    tell(&mut rig, 2, "bob", "b1");
    rig.settle();
    rig.leave(1, "ann", "", 1);
    rig.pass(3_000);
    let told: Vec<Vec<Happened>> = (0..3).map(|at| events(&mut rig, at)).collect();
    let tellers = told.iter().filter(|events| !events.is_empty()).count();
    assert_eq!(tellers, 1, "{told:?}");
    let all = lines(&told.concat());
    assert_eq!(all, ["1 online ann", "2 a1", "3 a2", "4 a3", "5 online bob", "6 b1"]);
}

/// The node that gets events now.
fn teller(rig: &mut Rig, nodes: std::ops::Range<usize>) -> (usize, Vec<Happened>) {
    let mut found = None;
    for at in nodes {
        let events = events(rig, at);
        if !events.is_empty() {
            assert!(found.is_none(), "two nodes tell");
            found = Some((at, events));
        }
    }
    found.expect("a node tells")
}

#[test]
fn when_the_node_that_tells_dies_another_one_begins_with_the_first_event_that_was_not_taken() {
    let mut rig = rig(2);
    rig.enter(0, "ann", "", 1);
    rig.enter(1, "bob", "", 2);
    for (at, text) in [(0, "m1"), (1, "m2"), (0, "m3")] {
        tell(&mut rig, at, "ann", text);
        rig.settle();
    }
    let (first, told) = teller(&mut rig, 0..2);
    assert_eq!(lines(&told), ["1 online ann", "2 online bob", "3 m1", "4 m2", "5 m3"]);
    // The backend has taken the first three of them.
    rig.request(first, u32::MAX, Request::Accept { event: &told[2].name });
    rig.settle();
    rig.kill(first);
    tell(&mut rig, 1 - first, "ann", "m4");
    rig.pass(6_000);
    let again = events(&mut rig, 1 - first);
    let gone = if first == 0 { "ann" } else { "bob" };
    let mut expected = vec!["4 m2".to_owned(), "5 m3".to_owned(), "6 m4".to_owned()];
    expected.push(format!("7 offline {gone}"));
    assert_eq!(lines(&again), expected);
    assert_eq!(again[0].name, told[3].name, "an event keeps its name and its number");
    assert_eq!(again[0].epoch, told[0].epoch);
}

#[test]
fn what_was_sent_twice_because_the_reply_was_lost_is_told_once() {
    let mut rig = rig(1);
    tell(&mut rig, 0, "ann", "m1");
    rig.cut_before_replies(0);
    tell(&mut rig, 0, "ann", "m2");
    rig.connect(0, 0);
    rig.pass(3_000);
    let told = events(&mut rig, 0);
    assert_eq!(lines(&told), ["1 m1", "2 m2"]);
}

#[test]
fn what_happens_while_redis_is_away_is_told_when_it_is_back() {
    let mut rig = rig(1);
    rig.cut(0, 0);
    for text in ["m1", "m2"] {
        tell(&mut rig, 0, "ann", text);
    }
    rig.pass(2_000);
    assert!(events(&mut rig, 0).is_empty());
    rig.connect(0, 0);
    rig.pass(1_000);
    assert_eq!(lines(&events(&mut rig, 0)), ["1 m1", "2 m2"]);
}

#[test]
fn events_that_do_not_fit_are_reported_with_the_range_of_their_numbers() {
    let mut rig = rig_with(1, 2_000);
    let long = "x".repeat(400);
    for _ in 0..6 {
        tell(&mut rig, 0, "ann", &long);
        rig.settle();
    }
    // Messages take three quarters, so there is room for a user who comes.
    rig.enter(0, "ann", "", 1);
    let told = events(&mut rig, 0);
    assert_eq!(lines(&told)[3..], ["7 lost 4-6".to_owned(), "8 online ann".to_owned()]);
    rig.request(0, u32::MAX, Request::Accept { event: &told.last().unwrap().name });
    rig.settle();
    tell(&mut rig, 0, "ann", "m");
    rig.settle();
    assert_eq!(lines(&events(&mut rig, 0)), ["9 m"]);
    assert_eq!(rig.ask(0, &["XLEN", "t:ev"]), redis::Value::Int(1));
}

#[test]
fn a_node_drops_what_redis_cannot_take_and_reports_it() {
    let mut rig = rig_with(1, 64 << 20);
    rig.cut(0, 0);
    let long = "x".repeat(1 << 20);
    for _ in 0..6 {
        tell(&mut rig, 0, "ann", &long);
    }
    rig.connect(0, 0);
    rig.pass(2_000);
    tell(&mut rig, 0, "ann", "m");
    rig.settle();
    let mut told = Vec::new();
    while let Some(last) = {
        told.extend(events(&mut rig, 0));
        told.last().map(|it: &Happened| it.name.clone())
    } {
        rig.request(0, u32::MAX, Request::Accept { event: &last });
        rig.pass(1_000);
        if lines(&told).last().unwrap().ends_with(" m") {
            break;
        }
    }
    let lines = lines(&told);
    assert_eq!(lines[3..], ["7 lost 4-6".to_owned(), "8 m".to_owned()]);
}

#[test]
fn after_a_failover_the_numbers_begin_anew_and_the_first_one_counts_as_lost() {
    let mut rig = rig(1);
    tell(&mut rig, 0, "ann", "m1");
    rig.settle();
    let before = events(&mut rig, 0);
    // Another master has another epoch, which is named after the millisecond in which it has begun.
    let millis = |rig: &mut Rig| match rig.ask(0, &["TIME"]) {
        redis::Value::Array(parts) => {
            let [seconds, micros] = [0, 1].map(|at| crate::rig::text(&parts[at]));
            (seconds, micros.parse::<u32>().expect("microseconds") / 1_000)
        }
        other => panic!("{other:?}"),
    };
    let began = millis(&mut rig);
    while millis(&mut rig) == began {}
    rig.ask(0, &["HINCRBY", "t:epoch", "ordinal", "1"]);
    tell(&mut rig, 0, "ann", "m2");
    rig.settle();
    let after = events(&mut rig, 0);
    assert_eq!(
        (lines(&before), lines(&after)),
        (vec!["1 m1".into()], vec!["2 lost 1-1".into(), "3 m2".into()])
    );
    assert_ne!(after[0].epoch, before[0].epoch, "{after:?}");
    rig.request(0, u32::MAX, Request::Accept { event: &after[1].name });
    rig.settle();
    assert_eq!(rig.ask(0, &["XLEN", "t:ev"]), redis::Value::Int(0));
}

#[test]
fn without_webhooks_there_are_no_events() {
    let mut rig = Rig::new(1);
    rig.enter(0, "ann", "", 1);
    rig.pass(3_000);
    assert_eq!((rig.keys("ev*"), events(&mut rig, 0)), (0, vec![]));
}

#[test]
fn the_events_of_users_at_several_redis_come_in_one_order_and_are_told_once() {
    let mut rig = Rig::sharded(2, 3);
    (0..2).for_each(|at| wants(&mut rig, at, 1 << 20));
    rig.pass(3_000);
    let users: Vec<String> = (0..12).map(|user| format!("user-{user}")).collect();
    for (at, user) in users.iter().enumerate() {
        rig.enter(at % 2, user, "", at as u64 + 1);
        tell(&mut rig, at % 2, user, &format!("{user} m1"));
        rig.settle();
        tell(&mut rig, at % 2, user, &format!("{user} m2"));
        rig.settle();
        if at == 6 {
            // What was read at other Redis and not yet noted as taken is read again.
            (0..3).for_each(|shard| rig.cut(0, shard));
            (0..3).for_each(|shard| rig.connect(0, shard));
            rig.pass(3_000);
        }
    }
    rig.pass(3_000);
    let mut all: Vec<Happened> = (0..2).flat_map(|at| events(&mut rig, at)).collect();
    all.sort_by_key(|it| it.seq);
    all.dedup_by_key(|it| it.seq);
    assert_eq!(all.iter().map(|it| it.seq).collect::<Vec<_>>(), (1..=36).collect::<Vec<_>>());
    let lines = lines(&all);
    for user in &users {
        let of_user = |line: &&String| line.split(' ').any(|word| word == user);
        let of_user: Vec<&str> =
            lines.iter().filter(of_user).map(|it| it.split_once(' ').unwrap().1).collect();
        assert_eq!(
            of_user,
            [&*format!("online {user}"), &*format!("{user} m1"), &*format!("{user} m2")]
        );
    }
    // Only the first Redis has events that wait.
    let waiting: Vec<redis::Value> =
        (0..3).map(|shard| rig.ask(shard, &["XLEN", "t:ev"])).collect();
    assert_eq!(waiting[1..], [redis::Value::Int(0), redis::Value::Int(0)]);
}

fn list(rig: &mut Rig, at: usize) -> Listing {
    rig.request(at, 9, Request::List);
    rig.settle();
    let listing = |told| match told {
        Told::Listing(9, listing) => Some(listing.expect("Redis is there")),
        _ => None,
    };
    rig.told(at).into_iter().find_map(listing).expect("it is told")
}

#[test]
fn while_a_list_is_made_a_user_who_goes_to_another_node_is_told_as_online_again() {
    let mut rig = rig(2);
    rig.enter(0, "ann", "", 1);
    rig.enter(0, "bob", "", 2);
    let listing = list(&mut rig, 1);
    assert_eq!((listing.count, listing.position.as_ref().map(|it| it.1)), (2, Some(2)));
    let mut told: Vec<Happened> = (0..2).flat_map(|at| events(&mut rig, at)).collect();
    told.clear();
    // She connects to another node, and then leaves this one.
    rig.enter(1, "ann", "", 3);
    rig.leave(0, "ann", "", 1);
    // Another device on a node that has her already is no news.
    rig.enter(1, "ann", "pad", 4);
    told.extend((0..2).flat_map(|at| events(&mut rig, at)));
    assert_eq!(lines(&told), ["3 online ann"]);
    assert_eq!(told[0].epoch, listing.position.unwrap().0);
}

#[test]
fn the_users_at_several_redis_are_counted_together() {
    let mut rig = Rig::sharded(1, 2);
    for user in 0..10 {
        rig.enter(0, &format!("user-{user}"), "", user + 1);
    }
    assert_eq!(list(&mut rig, 0), Listing { count: 10, position: None });
}

#[test]
fn a_user_is_looked_up_on_any_node() {
    let mut rig = rig(2);
    rig.enter(0, "ann", "", 1);
    rig.request(0, 3, Request::Change { group: "g", user: "ann", joins: true });
    rig.settle();
    let mut look = |user: &str| {
        rig.request(1, 4, Request::Look { user });
        rig.settle();
        let looked = |told| match told {
            Told::Looked(4, looked) => Some(looked.unwrap()),
            _ => None,
        };
        let looked = rig.told(1).into_iter().find_map(looked).unwrap();
        (looked.is_online, looked.groups.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(look("ann"), (true, vec!["g".to_owned()]));
    assert_eq!(look("nobody"), (false, vec![]));
}
