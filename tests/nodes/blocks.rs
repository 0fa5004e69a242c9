//! Blocks on all nodes.

use longlink::nodes::{Refused, Request, Told};

use crate::rig::Rig;

/// Blocks a user, or lifts the block. The answer comes behind what this node is told of the change.
fn change(rig: &mut Rig, at: usize, user: &str, time: u64, most: usize) -> Result<u64, Refused> {
    rig.request(at, 3, Request::Block { user, time, reason: "spam", most });
    rig.settle();
    let told = rig.told(at);
    let place = told.iter().position(|it| matches!(it, Told::Blocked(3, _)));
    let Some(Told::Blocked(_, result)) = place.map(|at| &told[at]) else { panic!("{told:?}") };
    let knows = told[..place.unwrap()].iter().any(|it| matches!(it, Told::Block(_)));
    assert_eq!(knows, result.is_ok(), "{told:?}");
    *result
}

/// The blocks that a node was told of one by one: the users, and whether each is blocked.
fn changes(rig: &mut Rig, at: usize) -> Vec<(String, bool)> {
    let it = |told| match told {
        Told::Block(block) => Some((block.user.into_string(), block.left > 0)),
        _ => None,
    };
    rig.told(at).into_iter().filter_map(it).collect()
}

/// The list of all blocks that a node was told, which has to be complete.
fn list(rig: &mut Rig, at: usize) -> Vec<String> {
    let (mut users, mut after, mut is_whole) = (Vec::new(), String::new(), false);
    for told in rig.lists(at) {
        if let Told::Blocks(part) = told {
            assert!(!is_whole && *part.after == *after, "{part:?} behind {after}");
            users.extend(part.blocks.iter().map(|block| block.user.to_string()));
            (after, is_whole) = (users.last().cloned().unwrap_or_default(), !part.has_more);
        }
    }
    assert!(is_whole, "{users:?}");
    users
}

#[test]
fn all_nodes_are_told_of_a_block_before_the_one_that_has_asked_is_answered() {
    let mut rig = Rig::sharded(3, 2);
    for at in 0..3 {
        assert_eq!(list(&mut rig, at), [""; 0]);
    }
    for user in ["bob", "ann", "张"] {
        let until = change(&mut rig, 0, user, 60_000, 9).unwrap();
        assert!(until > 1_700_000_000_000 + 60_000);
        assert_eq!(changes(&mut rig, 1), [(user.to_owned(), true)]);
        assert_eq!(changes(&mut rig, 2), [(user.to_owned(), true)]);
    }
    assert_eq!(change(&mut rig, 1, "bob", 0, 9), Ok(0));
    assert_eq!(changes(&mut rig, 0), [("bob".to_owned(), false)]);
    assert_eq!(change(&mut rig, 1, "nobody", 0, 9), Ok(0), "it is so already");
    let late = rig.start();
    rig.settle();
    assert_eq!(list(&mut rig, late), ["ann", "张"]);
}

#[test]
fn blocks_are_bounded_and_one_that_has_ended_makes_room() {
    let mut rig = Rig::new(1);
    rig.told(0);
    assert!(change(&mut rig, 0, "ann", 60_000, 2).is_ok());
    assert!(change(&mut rig, 0, "bob", 60_000, 2).is_ok());
    assert_eq!(change(&mut rig, 0, "carol", 60_000, 2), Err(Refused::BlocksAreFull));
    assert!(change(&mut rig, 0, "bob", 90_000, 2).is_ok(), "bob has one already");
    rig.ask(0, &["ZADD", "t:blocks:e", "1000", "ann"]);
    assert!(change(&mut rig, 0, "carol", 60_000, 2).is_ok());
    assert_eq!(rig.keys("blocks*"), 4);
    for user in ["bob", "carol"] {
        assert_eq!(change(&mut rig, 0, user, 0, 2), Ok(0));
    }
    assert_eq!(rig.keys("blocks*"), 1, "the number of the last change stays");
}

#[test]
fn a_node_that_could_not_hear_of_changes_reads_the_whole_list_again() {
    let mut rig = Rig::new(2);
    for number in 0..450 {
        let name = format!("user{number:03}");
        assert!(change(&mut rig, 0, &name, 60_000, 1_000).is_ok());
    }
    rig.told(1);
    rig.lists(1);
    rig.cut(1, 0);
    assert_eq!(
        {
            rig.request(1, 3, Request::Block { user: "x", time: 1, reason: "", most: 9 });
            rig.settle_one(0);
            rig.told(1).into_iter().find_map(|it| match it {
                Told::Blocked(3, result) => Some(result),
                _ => None,
            })
        },
        Some(Err(Refused::Unavailable))
    );
    assert_eq!(change(&mut rig, 0, "user007", 0, 1_000), Ok(0));
    rig.connect(1, 0);
    rig.settle();
    let users = list(&mut rig, 1);
    assert_eq!(users.len(), 449);
    assert!(users.is_sorted() && !users.contains(&"user007".to_owned()));
}
