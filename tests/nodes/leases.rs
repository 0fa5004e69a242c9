//! Lives of nodes: how they begin, how they end, and who clears up.

use longlink::cluster::node::Claim;
use longlink::nodes::{Request, Told};

use crate::rig::Rig;

fn life(rig: &mut Rig, user: &str) -> String {
    rig.field(user, "r").split('*').next().unwrap_or_default().to_owned()
}

#[test]
fn a_node_that_has_lost_its_lease_begins_a_new_life_and_its_connections_notice_nothing() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 1);
    rig.request(0, u32::MAX, Request::Watch { user: "eve", on: true });
    rig.settle();
    let before = life(&mut rig, "bob");
    rig.told(0);
    rig.expire(0);
    rig.pass(10_000);
    let after = life(&mut rig, "bob");
    assert!(!after.is_empty() && after != before);
    assert_eq!(rig.field("bob", "r").split(' ').count(), 1, "the old life is cleared up");
    let told = rig.told(0);
    assert!(!told.iter().any(|it| matches!(it, Told::Displaced { .. })), "{told:?}");
    rig.enter(1, "eve", "phone", 2);
    assert_eq!(rig.presence(0), [("eve".to_owned(), true)], "eve is watched by the new life");
    assert_eq!(rig.keys("l:*"), 2);
}

#[test]
fn a_connection_that_enters_again_keeps_its_place_though_its_first_command_was_slower() {
    let mut rig = Rig::new(1);
    rig.enter(0, "bob", "phone", 1);
    let before = rig.field("bob", "p");
    rig.told(0);
    rig.expire(0);
    // Redis' clock does not go on with that of the node, so for Redis the connection has begun earlier now.
    rig.pass(10_000);
    assert_ne!(rig.field("bob", "p"), before, "it has entered under another life");
    assert_eq!(rig.displaced(0), [0; 0]);
}

#[test]
fn a_node_that_was_cut_off_for_ten_seconds_takes_itself_for_dead() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 1);
    let before = life(&mut rig, "bob");
    let channel = rig.node(0).channels();
    rig.cut(0, 0);
    rig.pass(9_000);
    assert_eq!(rig.node(0).channels(), channel);
    rig.pass(2_000);
    assert_ne!(rig.node(0).channels(), channel);
    rig.expire(0);
    rig.connect(0, 0);
    rig.settle();
    assert_ne!(life(&mut rig, "bob"), before);
}

#[test]
fn what_a_node_sends_after_its_lease_was_lost_does_not_bring_its_old_life_back() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 1);
    rig.enter_only(0, "eve", "phone", 2);
    rig.expire(0);
    // The other node clears up before the first one can send.
    let now = rig.now;
    rig.now += 4_000;
    rig.tick(1);
    while rig.settle_one(1) {}
    assert_eq!(rig.field("bob", "r"), "");
    rig.now = now;
    rig.settle();
    assert_ne!(rig.field("bob", "r"), "", "bob has entered again");
    assert_ne!(rig.field("eve", "r"), "");
    assert_eq!(rig.keys("n:*"), 1, "only the new life has users");
    assert_eq!(rig.keys("l:*"), 2);
}

#[test]
fn the_users_of_a_dead_node_are_cleared_up_by_one_node_in_steps() {
    let mut rig = Rig::new(3);
    rig.are_pages = true;
    for number in 0..1_000 {
        rig.enter_only(0, &format!("user{number}"), "", number);
    }
    rig.settle();
    let before = [rig.commands(1), rig.commands(2)];
    rig.kill(0);
    rig.pass(4_000);
    assert_eq!((rig.keys("u:*"), rig.keys("n:*"), rig.keys("sweep:*")), (0, 0, 0));
    let swept = [1, 2].map(|at| rig.node(at).numbers().swept);
    assert_eq!(swept.iter().sum::<u64>(), 1, "{swept:?}");
    let sent: u64 = [1, 2].map(|at| rig.commands(at) - before[at - 1]).iter().sum();
    assert!(sent < 30, "{sent} commands for a thousand users");
}

#[test]
fn when_the_node_that_clears_up_dies_another_one_goes_on() {
    let mut rig = Rig::new(3);
    rig.are_pages = true;
    for number in 0..500 {
        rig.enter_only(0, &format!("user{number}"), "", number);
    }
    rig.settle();
    rig.kill(0);
    rig.now += 4_000;
    rig.tick(1);
    // It looks at the leases, and clears up the first step.
    rig.settle_one(1);
    rig.settle_one(1);
    let left = rig.keys("u:*");
    assert!((1..500).contains(&left), "{left} are left");
    rig.kill(1);
    let lock = sweep_lock(&mut rig);
    rig.ask(0, &["DEL", &lock]);
    rig.pass(8_000);
    assert_eq!((rig.keys("u:*"), rig.keys("n:*")), (0, 0));
    assert_eq!(rig.node(2).numbers().nodes, 1);
}

fn sweep_lock(rig: &mut Rig) -> String {
    let redis::Value::Array(keys) = rig.ask(0, &["KEYS", "t:sweep:*"]) else { panic!() };
    crate::rig::text(&keys[0])
}

#[test]
fn a_node_that_ends_gives_everything_back() {
    let mut rig = Rig::new(2);
    rig.are_pages = true;
    for number in 0..300 {
        rig.enter_only(0, &format!("user{number}"), "", number);
    }
    rig.settle();
    let now = rig.now;
    rig.node(0).leave(now);
    rig.settle();
    assert!(rig.node(0).has_left());
    rig.enter(1, "user7", "", 1);
    assert_eq!(rig.keys("l:*"), 1, "its lease is given back");
    assert_eq!(rig.field("user8", "r"), "");
    rig.pass(4_000);
    assert!(rig.field("user8", "a").starts_with(|it: char| it.is_ascii_digit()), "not yet offline");
    for number in (0..300).filter(|number| *number != 7) {
        rig.age(&format!("user{number}"), 6_000);
    }
    rig.pass(6_000);
    assert_eq!(rig.keys("u:*"), 1, "the other node has found out that the others are offline");
    assert_eq!(rig.keys("n:*"), 1);
}

#[test]
fn a_name_is_taken_while_the_lease_of_its_node_runs() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.node(0).claim(), Claim::Ready);
    let second = rig.start_as("n0");
    rig.settle();
    assert_eq!(rig.node(second).claim(), Claim::Taken);
    rig.kill(0);
    rig.pass(2_000);
    assert_eq!(rig.node(second).claim(), Claim::Ready);
}

#[test]
fn a_node_that_does_not_hear_itself_within_five_seconds_subscribes_anew() {
    let mut rig = Rig::new(1);
    rig.pass(3_000);
    let channels = rig.node(0).channels();
    rig.deafen(0);
    rig.pass(4_000);
    assert!(rig.is_deaf(0));
    rig.pass(6_000);
    assert!(!rig.is_deaf(0), "it has made a new connection");
    assert_eq!(rig.node(0).channels(), channels, "and goes on with the same life");
    rig.enter(0, "bob", "phone", 1);
    assert!(matches!(rig.told(0)[..], [Told::Entered(..)]));
}

#[test]
fn after_redis_has_lost_its_data_everybody_enters_again() {
    let mut rig = Rig::new(2);
    rig.enter(0, "bob", "phone", 1);
    rig.enter(1, "eve", "phone", 2);
    rig.ask(0, &["FLUSHALL"]);
    rig.pass(10_000);
    assert_ne!(rig.field("bob", "r"), "");
    assert_ne!(rig.field("eve", "r"), "");
    assert_eq!(rig.keys("l:*"), 2);
}

#[test]
fn nodes_are_listed_with_what_they_say_of_themselves() {
    let mut rig = Rig::new(2);
    for number in 0..3 {
        rig.enter_only(1, "bob", &format!("device{number}"), number);
    }
    rig.settle();
    rig.told(0);
    rig.pass(6_000);
    rig.request(0, 4, Request::Nodes);
    rig.settle();
    let told = rig.told(0);
    let [Told::Nodes(4, Ok(nodes))] = &told[..] else { panic!("{told:?}") };
    assert_eq!(nodes.len(), 2);
    let other = nodes.iter().find(|node| &*node.name == "n1").expect("the other one");
    assert_eq!((other.connections, other.users, &*other.version), (3, 1, "1.0"));
    assert!(other.age >= 3 && other.renewed_ms < 10_000, "{other:?}");
    assert_eq!(rig.node(0).online_elsewhere(), 1);
}
