//! Groups on all nodes.

use longlink::nodes::{Enter, Refused, Request, Told};

use crate::rig::Rig;

fn change(rig: &mut Rig, at: usize, group: &str, user: &str, joins: bool) -> Result<(), Refused> {
    rig.request(at, 3, Request::Change { group, user, joins });
    rig.settle();
    let told = rig.told(at);
    let changed = told.into_iter().find_map(|it| match it {
        Told::Changed(3, result) => Some(result),
        _ => None,
    });
    changed.expect("the change is completed")
}

fn members(
    rig: &mut Rig,
    at: usize,
    group: &str,
    after: &str,
    limit: usize,
) -> (Vec<String>, u64, bool) {
    rig.request(at, 3, Request::Members { group, after, limit });
    rig.settle();
    let mut told = rig.told(at);
    let Some(Told::Members(3, Ok((names, count, more)))) = told.pop() else { panic!("{told:?}") };
    (names.into_iter().map(|name| name.into_string()).collect(), count, more)
}

fn member(rig: &mut Rig, at: usize) -> Vec<(String, bool)> {
    let it = |told| match told {
        Told::Member { group, joins, .. } => Some((group.into_string(), joins)),
        _ => None,
    };
    rig.told(at).into_iter().filter_map(it).collect()
}

#[test]
fn the_nodes_of_a_user_hear_of_a_membership_that_another_node_has_changed() {
    let mut rig = Rig::sharded(3, 2);
    for group in ["g0", "g1", "g2", "g3"] {
        rig.enter(1, "bob", "phone", 1);
        rig.told(1);
        assert_eq!(change(&mut rig, 0, group, "bob", true), Ok(()));
        assert_eq!(change(&mut rig, 0, group, "bob", true), Ok(()), "it is so already");
        assert_eq!(member(&mut rig, 1), [(group.to_owned(), true)]);
        assert_eq!(member(&mut rig, 2), []);
        assert_eq!(members(&mut rig, 2, group, "", 10), (vec!["bob".to_owned()], 1, false));
        assert_eq!(change(&mut rig, 2, group, "bob", false), Ok(()));
        assert_eq!(member(&mut rig, 1), [(group.to_owned(), false)]);
        assert_eq!(members(&mut rig, 2, group, "", 10), (vec![], 0, false));
        rig.leave(1, "bob", "phone", 1);
    }
}

#[test]
fn a_connection_that_enters_learns_the_groups_of_its_user_and_joins_those_of_its_ticket() {
    let mut rig = Rig::sharded(2, 2);
    rig.enter(1, "bob", "tablet", 1);
    assert_eq!(change(&mut rig, 0, "club", "bob", true), Ok(()));
    rig.told(1);
    let groups = &["g0", "g1", "g2", "g3"];
    let (user, device, conn) = ("bob", "phone", 2);
    let (has_mailbox, visits, alone) = (true, false, false);
    let enter = Enter { user, device, conn, has_mailbox, visits, groups, alone };
    rig.request(0, 8, Request::Enter(enter));
    rig.settle();
    let told = rig.told(0);
    let Some(Told::Entered(8, entered)) = told.first() else { panic!("{told:?}") };
    let mut all = entered.groups.clone();
    all.sort();
    assert_eq!(all.iter().map(|it| &**it).collect::<Vec<_>>(), ["club", "g0", "g1", "g2", "g3"]);
    let mut heard: Vec<String> = member(&mut rig, 1).into_iter().map(|(group, _)| group).collect();
    heard.sort();
    assert_eq!(heard, groups, "the other node of the user hears of them");
    for group in groups {
        assert_eq!(members(&mut rig, 1, group, "", 10).1, 1);
    }
}

#[test]
fn pages_of_members_follow_each_other() {
    let mut rig = Rig::new(1);
    for number in 0..25 {
        assert_eq!(change(&mut rig, 0, "g", &format!("user{number:02}"), true), Ok(()));
    }
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let (names, count, more) = members(&mut rig, 0, "g", &after, 10);
        assert_eq!(count, 25);
        all.extend(names);
        after = all.last().cloned().unwrap_or_default();
        if !more {
            break;
        }
    }
    assert!(all.len() == 25 && all.is_sorted());
}

#[test]
fn a_user_is_in_64_groups_at_most() {
    let mut rig = Rig::new(1);
    for number in 0..64 {
        assert_eq!(change(&mut rig, 0, &format!("g{number}"), "bob", true), Ok(()));
    }
    assert_eq!(change(&mut rig, 0, "one more", "bob", true), Err(Refused::UserIsFull));
    assert_eq!(change(&mut rig, 0, "g7", "bob", true), Ok(()), "bob is in it");
    assert_eq!(members(&mut rig, 0, "one more", "", 1).1, 0);
}

#[test]
fn a_change_is_refused_when_redis_is_away() {
    let mut rig = Rig::new(1);
    rig.cut(0, 0);
    assert_eq!(change(&mut rig, 0, "g", "bob", true), Err(Refused::Unavailable));
}
