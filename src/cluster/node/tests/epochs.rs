//! Stories of a Redis that was restarted, or has lost its data, so that a new epoch begins.

use super::rig::{Rig, keeping, kept};
use crate::journal::{Append, Completion, Keep};

/// A Redis that comes back without its data, while the loop does not know of it yet.
fn lose_all_data(rig: &mut Rig) {
    rig.shards[0].restart();
    rig.cut(0);
    rig.sites[0].node.unsubscribed(0, rig.now);
    rig.connect(0);
    rig.subscribe(0);
    rig.settle();
}

fn assert_has_heard_of_a_new_epoch(rig: &Rig) {
    let is_new = |(_, it): &(u32, Completion)| matches!(it, Completion::NewEpoch);
    assert!(rig.sites[0].done.iter().any(is_new));
}

#[test]
fn a_restart_of_redis_is_a_new_epoch_that_remembers_where_the_earlier_one_has_ended() {
    let mut rig = Rig::new(1, 1);
    let first = rig.enter(0, "bob", "phone", 1).epoch;
    let append = rig.message("alice", "1", "1");
    kept(rig.send(0, &append, &["bob"]));
    // As if another process had these data now.
    rig.redis(&["HSET", "longlink:epoch", "run", "another"]);
    rig.cut(0);
    rig.connect(0);
    rig.settle();
    assert_has_heard_of_a_new_epoch(&rig);
    rig.leave(0, "bob", "phone", 1, 0, None);
    let mailbox = rig.enter(0, "bob", "phone", 2);
    assert_ne!(mailbox.epoch, first);
    assert_eq!(mailbox.ends, [(first, 1)]);
    let append = Append { round: 1, ..rig.message("alice", "2", "2") };
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [2]);
}

#[test]
fn a_redis_that_comes_back_without_its_data_is_a_new_epoch() {
    let mut rig = Rig::new(1, 1);
    let first = rig.enter(0, "bob", "phone", 1).epoch;
    lose_all_data(&mut rig);
    rig.wait(3_000);
    assert_has_heard_of_a_new_epoch(&rig);
    let mailbox = rig.enter(0, "bob", "tablet", 2);
    assert_ne!(mailbox.epoch, first);
    assert_eq!((mailbox.ends.len(), mailbox.top), (0, 0));
}

#[test]
fn numbers_of_an_earlier_epoch_acknowledge_no_message_of_a_new_one() {
    let mut rig = Rig::new(1, 1);
    rig.enter(0, "bob", "phone", 1);
    for cid in ["1", "2", "3"] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    // This acknowledgement waits in the node for later ones, and the next one in the queue of the loop.
    rig.acknowledge(0, "bob", "phone", 3);
    lose_all_data(&mut rig);
    rig.acknowledge(0, "bob", "phone", 3);
    rig.wait(3_000);
    let append = Append { round: 1, ..rig.message("alice", "4", "4") };
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [1]);
    rig.acknowledge(0, "bob", "phone", 3);
    rig.wait(3_000);
    // The connection ends before the loop knows of the new epoch.
    rig.leave(0, "bob", "phone", 1, 3, None);
    let mailbox = rig.enter(0, "bob", "phone", 2);
    assert_eq!((mailbox.messages.len(), mailbox.top), (1, 1), "the message of the new epoch waits");
    assert_eq!(mailbox.devices[0].1, 0, "the device has handled nothing of the new epoch");
    rig.follow_epoch(0);
    rig.acknowledge(0, "bob", "phone", 1);
    rig.wait(3_000);
    rig.leave(0, "bob", "phone", 2, 1, None);
    let mailbox = rig.enter(0, "bob", "phone", 3);
    assert_eq!((mailbox.messages.len(), mailbox.devices[0].1), (0, 1));
}

#[test]
fn a_connection_that_has_left_while_redis_was_away_acknowledges_nothing_in_the_next_epoch() {
    let mut rig = Rig::new(1, 1);
    rig.enter(0, "bob", "phone", 1);
    for cid in ["1", "2", "3"] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(0, &append, &["bob"]));
    }
    // A replica may have become the master meanwhile, in which the number belongs to another message.
    rig.cut(0);
    rig.leave(0, "bob", "phone", 1, 3, Some(3));
    rig.redis(&["HSET", "longlink:epoch", "run", "another"]);
    rig.connect(0);
    rig.settle();
    rig.wait(3_000);
    let mailbox = rig.enter(0, "bob", "phone", 2);
    assert_eq!((mailbox.messages.len(), mailbox.devices[0].1), (3, 0));
}

#[test]
fn a_redis_that_has_lost_its_data_has_another_ordinal_than_before() {
    let mut rig = Rig::new(1, 1);
    let first = rig.number(&["HGET", "longlink:epoch", "ordinal"]);
    lose_all_data(&mut rig);
    assert_ne!(rig.number(&["HGET", "longlink:epoch", "ordinal"]), first);
}

#[test]
fn a_redis_whose_data_were_deleted_while_it_ran_keeps_nothing_before_its_new_epoch_has_begun() {
    let mut rig = Rig::new(1, 1);
    let first = rig.enter(0, "bob", "phone", 1).epoch;
    let append = rig.message("alice", "1", "1");
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [1]);
    rig.redis(&["FLUSHALL"]);
    let append = rig.message("alice", "2", "2");
    assert!(matches!(rig.send(0, &append, &["bob"]), Completion::Unavailable));
    // A message that is not to be kept was given to no other node either, so the sender's node may deliver it.
    let append = keeping(Append { round: 1, ..rig.message("alice", "3", "3") }, Keep::Never);
    assert!(matches!(rig.send(0, &append, &["bob"]), Completion::Unavailable));
    assert!(rig.sites[0].node.wants_reconnect(0));
    rig.cut(0);
    rig.connect(0);
    rig.settle();
    rig.wait(3_000);
    assert_has_heard_of_a_new_epoch(&rig);
    let mailbox = rig.enter(0, "bob", "tablet", 2);
    assert_ne!(mailbox.epoch, first);
    let append = Append { round: 2, ..rig.message("alice", "2", "2") };
    assert_eq!(kept(rig.send(0, &append, &["bob"])).seqs, [1]);
}
