//! A device has one place on all nodes.

use longlink::nodes::{Enter, Request, Told};

use crate::rig::{PREFIX, Rig};

#[test]
fn a_device_that_connects_to_another_node_takes_the_place_of_its_older_connection() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 5);
    rig.enter(0, "bob", "tablet", 6);
    rig.now += 100;
    rig.enter(1, "bob", "phone", 7);
    assert_eq!(rig.displaced(0), [5]);
    assert_eq!(rig.displaced(1), [0; 0]);
    rig.leave(0, "bob", "phone", 5);
    assert!(rig.field("bob", "p").contains(" 7 "), "the newer one keeps its place");
    assert_eq!(
        rig.field("bob", "r").split(' ').count(),
        2,
        "the tablet is still on the first node"
    );
    rig.leave(0, "bob", "tablet", 6);
    assert_eq!(rig.field("bob", "r").split(' ').count(), 1);
}

#[test]
fn a_connection_that_enters_late_does_not_take_the_place_of_a_newer_one() {
    let mut rig = Rig::new(2);
    rig.cut(0, 0);
    rig.enter(0, "bob", "phone", 5);
    rig.now += 500;
    rig.enter(1, "bob", "phone", 7);
    rig.connect(0, 0);
    rig.settle();
    assert_eq!(were_let_in(&mut rig, 0), [false]);
    assert_eq!(rig.displaced(1), [0; 0]);
    assert!(rig.field("bob", "p").contains(" 7 ") && !rig.field("bob", "p").contains(" 5 "));
}

#[test]
fn a_node_that_has_missed_that_a_connection_lost_its_place_finds_out_when_it_subscribes_again() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 5);
    rig.deafen(0);
    rig.now += 100;
    rig.enter(1, "bob", "phone", 7);
    assert_eq!(rig.displaced(0), [0; 0]);
    rig.pass(9_000);
    assert_eq!(rig.displaced(0), [5]);
    assert!(rig.field("bob", "p").contains(" 7 "));
}

#[test]
fn it_does_not_matter_whether_the_leave_of_the_old_or_the_enter_of_the_new_connection_comes_first()
{
    for old_is_first in [true, false] {
        let mut rig = Rig::new(2);
        rig.enter(0, "bob", "phone", 5);
        rig.now += 100;
        rig.leave_only(0, "bob", "phone", 5);
        rig.enter_only(1, "bob", "phone", 7);
        let order = if old_is_first { [0, 1] } else { [1, 0] };
        for at in order {
            rig.settle_one(at);
        }
        rig.settle();
        assert_eq!(rig.displaced(0), [0; 0], "the connection is not there any more");
        assert_eq!(rig.field("bob", "r").split(' ').count(), 1);
        assert!(rig.field("bob", "p").contains(" 7 "));
        assert_eq!(rig.field("bob", "a"), "", "nobody asks whether bob is offline");
    }
}

#[test]
fn a_user_has_five_devices_on_all_nodes_together() {
    let mut rig = Rig::new(2);
    for conn in 0..6 {
        rig.now += 10;
        rig.enter(conn % 2, "bob", &format!("device{conn}"), conn as u64);
    }
    assert_eq!(rig.displaced(0), [0], "the one that has connected first");
    assert_eq!(rig.displaced(1), [0; 0]);
    assert_eq!(rig.field("bob", "p").lines().count(), 5);
}

#[test]
fn with_one_device_for_each_user_the_newest_one_stays_on_all_nodes() {
    let mut rig = Rig::new(2);
    for (at, device) in ["phone", "tablet"].into_iter().enumerate() {
        rig.now += 10;
        let (user, conn, groups) = ("bob", at as u64, &[][..]);
        let (has_mailbox, visits, alone) = (true, false, true);
        let enter = Enter { user, device, conn, has_mailbox, visits, groups, alone };
        rig.request(at, 1, Request::Enter(enter));
        rig.settle();
    }
    assert_eq!(rig.displaced(0), [0]);
    assert_eq!(rig.displaced(1), [0; 0]);
}

#[test]
fn a_command_whose_outcome_is_unknown_is_carried_out_once_in_effect() {
    let mut rig = Rig::new(2);
    rig.enter_only(0, "bob", "phone", 5);
    rig.cut_before_replies(0);
    rig.connect(0, 0);
    rig.settle();
    assert!(matches!(rig.told(0)[..], [Told::Entered(5, ref it)] if !it.is_alone));
    assert!(rig.field("bob", "r").ends_with("*1"), "one connection, although it entered twice");
    rig.leave_only(0, "bob", "phone", 5);
    rig.cut_before_replies(0);
    rig.connect(0, 0);
    rig.settle();
    assert_eq!((rig.field("bob", "r"), rig.field("bob", "p")), (String::new(), String::new()));
    assert_ne!(rig.field("bob", "a"), "");
}

#[test]
fn a_connection_that_cannot_enter_within_five_seconds_is_alone_and_enters_later() {
    let mut rig = Rig::new(1);
    rig.cut(0, 0);
    rig.enter(0, "bob", "phone", 5);
    rig.pass(4_900);
    assert!(rig.told(0).is_empty());
    rig.pass(100);
    assert!(matches!(rig.told(0)[..], [Told::Entered(5, ref it)] if it.is_alone));
    rig.connect(0, 0);
    rig.settle();
    assert!(matches!(&rig.told(0)[..], [Told::Groups { user, .. }] if &**user == "bob"));
    assert_ne!(rig.field("bob", "r"), "");
}

#[test]
fn when_a_newer_connection_of_the_device_leaves_the_older_one_of_the_node_has_the_place_again() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "", 5);
    rig.now += 10;
    rig.enter(0, "bob", "", 6);
    assert!(rig.field("bob", "r").ends_with("*2"));
    rig.leave(0, "bob", "", 6);
    assert!(rig.field("bob", "p").contains(" 5 "));
    rig.now += 10;
    rig.enter(1, "bob", "", 7);
    assert_eq!(rig.displaced(0), [5]);
}

/// Only one node runs for some seconds. The others stand still.
fn run_only(rig: &mut Rig, at: usize, seconds: u64) {
    for _ in 0..seconds {
        rig.now += 1_000;
        rig.tick(at);
        while rig.settle_one(at) {}
    }
}

/// Changes the time of the only place of a user, whose node and Redis have clocks of their own here.
fn change_place(rig: &mut Rig, user: &str, ms: i64) {
    let place = rig.field(user, "p");
    let since = place.split(' ').nth(2).expect("a time").to_owned();
    let later = (since.parse::<i64>().expect("a number") + ms).to_string();
    rig.ask(0, &["HSET", &format!("{PREFIX}u:{user}"), "p", &place.replace(&since, &later)]);
}

/// Whether the connections of a node that have entered since this was asked last were given a mailbox.
fn were_let_in(rig: &mut Rig, at: usize) -> Vec<bool> {
    let is_let_in = |told| match told {
        Told::Entered(_, it) => Some(it.mailbox.is_some()),
        _ => None,
    };
    rig.told(at).into_iter().filter_map(is_let_in).collect()
}

#[test]
fn a_connection_that_may_be_older_than_a_standstill_of_its_node_does_not_take_the_place_of_another()
{
    let mut rig = Rig::new(2);
    rig.pass(4_000);
    // The first node stands still. The client gives up, and goes to the other one.
    run_only(&mut rig, 1, 3);
    rig.enter_only(1, "bob", "phone", 7);
    run_only(&mut rig, 1, 3);
    rig.enter(0, "bob", "phone", 5);
    assert_eq!(were_let_in(&mut rig, 0), [false], "its client has to come again");
    assert_eq!(rig.displaced(1), [0; 0], "the other one keeps its place");
    assert!(rig.field("bob", "p").contains(" 7 "));
    rig.leave(0, "bob", "phone", 5);
    // Soon the node has no connection any more that it has not looked at.
    rig.pass(6_000);
    rig.enter(0, "bob", "phone", 6);
    assert_eq!(were_let_in(&mut rig, 0), [true]);
    assert_eq!(rig.displaced(1), [7]);
    assert!(rig.field("bob", "p").contains(" 6 "));
}

#[test]
fn a_connection_takes_the_place_of_one_that_is_older_than_the_standstill_of_its_node() {
    let mut rig = Rig::new(2);
    rig.pass(4_000);
    rig.enter(1, "bob", "phone", 7);
    change_place(&mut rig, "bob", -10_000);
    run_only(&mut rig, 1, 6);
    rig.enter(0, "bob", "phone", 5);
    assert_eq!(were_let_in(&mut rig, 0), [true]);
    assert_eq!(rig.displaced(1), [7]);
}

#[test]
fn a_page_that_may_be_older_than_a_standstill_of_its_node_is_let_in_without_the_place_of_another() {
    let mut rig = Rig::new(2);
    rig.are_pages = true;
    rig.pass(4_000);
    run_only(&mut rig, 1, 3);
    rig.enter_only(1, "bob", "", 7);
    run_only(&mut rig, 1, 3);
    rig.enter(0, "bob", "", 5);
    let told = rig.told(0);
    assert!(
        matches!(&told[..], [Told::Entered(5, it), Told::Displaced { conn: 5, .. }] if !it.is_alone),
        "{told:?}"
    );
    assert_eq!(rig.displaced(1), [0; 0]);
    assert!(rig.field("bob", "p").contains(" 7 "));
}

#[test]
fn a_connection_whose_command_was_under_way_for_long_does_not_take_the_place_of_a_newer_one() {
    let mut rig = Rig::new(2);
    rig.pass(12_000);
    rig.enter(1, "bob", "phone", 7);
    // As if the command of the first node had been sent eight seconds ago.
    rig.now -= 8_000;
    rig.enter(0, "bob", "phone", 5);
    assert_eq!(were_let_in(&mut rig, 0), [false]);
    assert_eq!(rig.displaced(1), [0; 0]);
    assert!(rig.field("bob", "p").contains(" 7 "));
}

#[test]
fn a_place_that_was_given_before_the_clock_of_redis_was_set_back_makes_way_for_a_new_connection() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 5);
    change_place(&mut rig, "bob", 60_000);
    rig.enter(1, "bob", "phone", 7);
    assert_eq!(were_let_in(&mut rig, 1), [true]);
    assert_eq!(rig.displaced(0), [5]);
    assert!(rig.field("bob", "p").contains(" 7 "));
}

#[test]
fn a_new_connection_that_waited_after_the_clock_of_redis_was_set_back_is_asked_to_come_again() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 5);
    // The clock was set back since then, so the place seems to be younger than the connection that waits for Redis now.
    change_place(&mut rig, "bob", -500);
    rig.cut(1, 0);
    rig.enter(1, "bob", "phone", 7);
    rig.now += 1_500;
    rig.connect(1, 0);
    rig.settle();
    assert_eq!(were_let_in(&mut rig, 1), [false]);
    assert_eq!(rig.displaced(1), [0; 0]);
    rig.enter(1, "bob", "phone", 8);
    assert_eq!(were_let_in(&mut rig, 1), [true]);
    assert_eq!(rig.displaced(0), [5]);
}

#[test]
fn a_user_who_left_while_the_memory_of_redis_was_full_is_not_online_for_ever() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 5);
    rig.ask(0, &["CONFIG", "SET", "maxmemory", "1"]);
    rig.leave(0, "bob", "phone", 5);
    rig.ask(0, &["CONFIG", "SET", "maxmemory", "0"]);
    assert_ne!(rig.field("bob", "r"), "", "Redis did not take that the user has left");
    rig.pass(3_000);
    assert_eq!(rig.field("bob", "r"), "");
}

#[test]
fn users_are_spread_over_several_redis_and_each_knows_its_own() {
    let mut rig = Rig::sharded(2, 2);
    for number in 0..40 {
        rig.enter_only(0, &format!("user{number}"), "", number);
    }
    rig.settle();
    let count = |rig: &mut Rig, shard: usize| match rig.ask(shard, &["KEYS", "t:u:*"]) {
        redis::Value::Array(keys) => keys.len(),
        _ => 0,
    };
    let (first, second) = (count(&mut rig, 0), count(&mut rig, 1));
    assert!(first + second == 40 && first.min(second) > 8, "{first} {second}");
    assert!(rig.told(0).len() == 40);
}
