//! A device has one place on all nodes.

use longlink::nodes::{Enter, Request, Told};

use crate::rig::Rig;

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
    assert_eq!(rig.displaced(0), [5]);
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
