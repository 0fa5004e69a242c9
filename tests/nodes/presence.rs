//! Who is online, on whichever node.

use longlink::cluster::Event;
use longlink::cluster::node::Batch;
use longlink::nodes::{Refused, Request, Told};
use redis::Value;

use crate::rig::Rig;

fn watch(rig: &mut Rig, at: usize, user: &str) {
    rig.request(at, u32::MAX, Request::Watch { user, on: true });
    rig.settle();
}

fn change(user: &str, is_online: bool) -> (String, bool) {
    (user.to_owned(), is_online)
}

#[test]
fn a_watcher_hears_of_the_first_connection_and_five_seconds_after_the_last_one_has_gone() {
    let mut rig = Rig::new(3);
    watch(&mut rig, 2, "bob");
    assert_eq!(rig.presence(2), [change("bob", false)], "what it is now");
    rig.enter(0, "bob", "phone", 1);
    assert_eq!(rig.presence(2), [change("bob", true)]);
    rig.enter(1, "bob", "tablet", 2);
    rig.leave(0, "bob", "phone", 1);
    rig.pass(6_000);
    assert_eq!(rig.presence(2), [], "bob is on the other node");
    rig.leave(1, "bob", "tablet", 2);
    rig.pass(4_000);
    assert_eq!(rig.presence(2), []);
    rig.age("bob", 5_000);
    rig.pass(1_000);
    assert_eq!(rig.presence(2), [change("bob", false)]);
    assert_eq!(rig.field("bob", "a"), "");
    assert_eq!(rig.keys("n:*"), 0, "nobody is on any node");
}

#[test]
fn a_user_who_comes_back_on_another_node_within_five_seconds_was_never_offline() {
    let mut rig = Rig::new(3);
    watch(&mut rig, 2, "bob");
    rig.enter(0, "bob", "phone", 1);
    rig.presence(2);
    rig.leave(0, "bob", "phone", 1);
    rig.pass(3_000);
    rig.enter(1, "bob", "phone", 2);
    rig.leave(1, "bob", "phone", 2);
    rig.pass(3_000);
    assert_eq!(rig.presence(2), [], "five seconds have not passed since bob left the second node");
    rig.age("bob", 5_000);
    rig.pass(3_000);
    assert_eq!(rig.presence(2), [change("bob", false)], "one node has found out");
    assert_eq!(rig.keys("n:*"), 0);
}

#[test]
fn a_user_is_offline_although_the_node_dies_within_the_five_seconds() {
    let mut rig = Rig::new(2);
    watch(&mut rig, 1, "bob");
    rig.enter(0, "bob", "phone", 1);
    rig.leave(0, "bob", "phone", 1);
    rig.presence(1);
    rig.kill(0);
    rig.pass(1_000);
    rig.age("bob", 5_000);
    rig.pass(9_000);
    assert_eq!(rig.presence(1), [change("bob", false)]);
    assert_eq!((rig.field("bob", "a"), rig.keys("n:*")), (String::new(), 0));
}

#[test]
fn the_users_of_a_dead_node_are_offline_and_those_who_are_on_another_one_stay_online() {
    let mut rig = Rig::new(2);
    for user in ["bob", "eve"] {
        watch(&mut rig, 1, user);
        rig.enter(0, user, "phone", 1);
    }
    rig.enter(1, "eve", "tablet", 2);
    rig.presence(1);
    rig.kill(0);
    rig.pass(6_000);
    assert_eq!(rig.presence(1), [change("bob", false)]);
    assert_eq!(rig.field("eve", "r").split(' ').count(), 1);
    assert_eq!(rig.field("eve", "p").lines().count(), 1);
}

#[test]
fn nothing_is_asked_about_users_while_nothing_changes() {
    let sent_with = |users: u64| {
        let mut rig = Rig::new(2);
        // Messages of users with mailboxes are compared every forty seconds.
        rig.are_pages = true;
        for number in 0..users {
            let user = format!("user{number}");
            rig.enter_only(0, &user, "", number);
            rig.request(1, u32::MAX, Request::Watch { user: &user, on: true });
        }
        rig.settle();
        rig.pass(1_000);
        let before = [rig.commands(0), rig.commands(1)];
        rig.pass(6_000);
        [0, 1].map(|at| rig.commands(at) - before[at])
    };
    let (none, many) = (sent_with(0), sent_with(50));
    assert_eq!(none, many, "a node sends as much for fifty users as for none");
    assert!(none.iter().all(|sent| (4..=20).contains(sent)), "{none:?} commands in six seconds");
}

#[test]
fn a_question_is_answered_for_users_of_all_nodes_and_refused_when_redis_is_away() {
    let mut rig = Rig::sharded(2, 2);
    for number in 0..150 {
        rig.enter_only(number as usize % 2, &format!("user{number}"), "", number);
    }
    rig.settle();
    rig.told(1);
    let names: Vec<String> = (0..300).map(|number| format!("user{number}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    rig.request(1, 9, Request::AreOnline { users: &users, now: false });
    rig.settle();
    let told = rig.told(1);
    let [Told::Online(9, Ok(online))] = &told[..] else { panic!("{told:?}") };
    assert!(online.iter().enumerate().all(|(at, online)| *online == (at < 150)));
    rig.cut(1, 1);
    rig.request(1, 9, Request::AreOnline { users: &users, now: false });
    rig.settle();
    assert!(matches!(rig.told(1)[..], [Told::Online(9, Err(Refused::Unavailable))]));
}

#[test]
fn a_user_who_has_just_left_is_asked_for_as_online_or_as_connected() {
    let mut rig = Rig::new(2);
    rig.enter(0, "ann", "", 1);
    rig.enter(0, "bob", "", 2);
    rig.leave(0, "bob", "", 2);
    rig.told(1);
    for (now, expected) in [(false, [true, true, false]), (true, [true, false, false])] {
        rig.request(1, 9, Request::AreOnline { users: &["ann", "bob", "eve"], now });
        rig.settle();
        let told = rig.told(1);
        assert!(matches!(&told[..], [Told::Online(9, Ok(it))] if *it == expected), "{told:?}");
    }
}

#[test]
fn a_node_that_has_died_watches_nobody() {
    let mut rig = Rig::new(2);
    watch(&mut rig, 0, "bob");
    watch(&mut rig, 0, "eve");
    assert_ne!(rig.field("bob", "w"), "");
    rig.expire(0);
    rig.kill(0);
    rig.enter(1, "bob", "phone", 1);
    assert_eq!(rig.field("bob", "w"), "", "whoever publishes to it takes it out");
    rig.pass(4_000);
    assert_eq!((rig.field("eve", "w"), rig.keys("w:*"), rig.keys("u:eve")), (String::new(), 0, 0));
}

#[test]
fn a_user_who_is_not_watched_any_more_is_not_reported() {
    let mut rig = Rig::new(2);
    watch(&mut rig, 0, "bob");
    rig.request(0, u32::MAX, Request::Watch { user: "bob", on: false });
    rig.settle();
    rig.presence(0);
    rig.enter(1, "bob", "phone", 1);
    assert_eq!(rig.presence(0), []);
    assert_eq!((rig.field("bob", "w"), rig.keys("w:*")), (String::new(), 0));
}

#[test]
fn a_node_that_was_cut_off_hears_what_has_changed_meanwhile() {
    let mut rig = Rig::new(2);
    watch(&mut rig, 0, "bob");
    rig.presence(0);
    rig.cut(0, 0);
    rig.enter(1, "bob", "phone", 1);
    rig.connect(0, 0);
    rig.settle();
    assert_eq!(rig.presence(0), [change("bob", true)]);
}

#[test]
fn an_answer_that_is_older_than_what_was_published_does_not_make_a_user_offline() {
    let mut rig = Rig::new(2);
    rig.tick(0);
    rig.settle();
    rig.request(0, u32::MAX, Request::Watch { user: "bob", on: true });
    let now = rig.now;
    let mut batch = Batch::default();
    let node = rig.node(0);
    node.tick(now);
    node.take(0, now, &mut batch);
    assert!(String::from_utf8_lossy(&batch.bytes).contains("bob"), "Redis is asked about bob");
    assert_eq!(batch.count, 1, "and about nothing else");
    // Redis has answered that bob is offline, then bob has come, and that is heard first.
    node.published(0, &[1, 2, 1, b'b', b'o', b'b'], now);
    node.replied(0, vec![Value::Array(vec![Value::Int(0)])], now);
    let mut events = Vec::new();
    node.events(&mut events);
    let told = events.into_iter().filter_map(|event| match event {
        Event::Engine(Told::Presence { user, is_online }) => Some((user.into_string(), is_online)),
        _ => None,
    });
    assert_eq!(Vec::from_iter(told), [change("bob", true)]);
    rig.enter(1, "bob", "phone", 1);
    rig.settle();
    assert_eq!(rig.presence(0).last(), Some(&change("bob", true)), "Redis was asked once more");
}
