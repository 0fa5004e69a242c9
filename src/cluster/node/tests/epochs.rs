//! Stories of a Redis that was restarted, or has lost its data, so that a new epoch begins.

use super::rig::{Rig, keeping, kept};
use crate::cluster::ask::{Ask, Wanted};
use crate::engine::{Enter, Refused, Request, Told};
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

/// Two nodes whose Redis has lost its data. The first one has begun a new epoch, of which the second one does not know.
fn second_node_is_behind() -> Rig {
    let mut rig = Rig::new(1, 2);
    rig.enter(1, "bob", "phone", 1);
    for cid in ["1", "2", "3"] {
        let append = rig.message("alice", cid, cid);
        kept(rig.send(1, &append, &["bob"]));
    }
    rig.redis(&["FLUSHALL"]);
    rig.cut(0);
    rig.connect(0);
    rig.settle();
    // The leases are gone, too.
    rig.wait(3_000);
    assert_has_heard_of_a_new_epoch(&rig);
    rig
}

fn ask(rig: &mut Rig, at: usize, ticket: u32, request: &Request<'_>) {
    let ask = Ask::Engine(ticket, Wanted::new(request));
    rig.sites[at].node.ask(ask, rig.now);
    rig.settle();
}

#[test]
fn a_node_that_does_not_know_of_a_new_epoch_hands_out_no_number_of_it_under_the_earlier_name() {
    let mut rig = second_node_is_behind();
    let fresh = rig.enter(0, "eve", "phone", 1).epoch;
    rig.sites[1].told.clear();
    let (has_mailbox, visits, groups, alone) = (true, false, &[][..], false);
    let (user, device, conn) = ("eve", "tablet", 2);
    let enter = Enter { user, device, conn, has_mailbox, visits, groups, alone };
    ask(&mut rig, 1, 2, &Request::Enter(enter));
    let has_entered =
        |rig: &Rig| rig.sites[1].told.iter().any(|it| matches!(it, Told::Entered(..)));
    assert!(!has_entered(&rig), "{:?}", rig.sites[1].told);
    ask(&mut rig, 1, 7, &Request::Mailbox { user: "eve", after: 0, limit: 9 });
    let is_refused = |told: &Told| matches!(told, Told::Mailbox(7, Err(Refused::Unavailable)));
    assert!(rig.sites[1].told.iter().any(is_refused), "{:?}", rig.sites[1].told);
    assert!(rig.sites[1].node.wants_reconnect(0), "it has to find out in which epoch Redis is");
    rig.cut(1);
    rig.connect(1);
    rig.settle();
    rig.wait(3_000);
    let told = &rig.sites[1].told;
    let entered = told.iter().find_map(|told| match told {
        Told::Entered(2, entered) => entered.mailbox.as_ref(),
        _ => None,
    });
    assert_eq!(entered.map(|it| &*it.epoch), Some(&*fresh), "{told:?}");
}

#[test]
fn a_node_that_does_not_know_of_a_new_epoch_keeps_and_acknowledges_and_forgets_nothing_in_it() {
    let mut rig = second_node_is_behind();
    rig.enter(0, "bob", "phone", 1);
    for cid in ["4", "5", "6"] {
        let append = Append { round: 1, ..rig.message("alice", cid, cid) };
        kept(rig.send(0, &append, &["bob"]));
    }
    // The sender is known in the new epoch, and has no mailbox.
    let append = Append { round: 1, ..rig.message("alice", "7", "7") };
    assert!(matches!(rig.send(1, &append, &["zoe"]), Completion::Unavailable));
    let append = Append { round: 2, ..rig.message("alice", "8", "8") };
    assert!(matches!(rig.send(1, &append, &["bob", "zoe"]), Completion::Unavailable));
    assert_eq!(rig.number(&["EXISTS", "longlink:u:zoe"]), 0);
    // All three numbers were given in both epochs.
    rig.acknowledge(1, "bob", "phone", 3);
    rig.wait(1_000);
    rig.leave(1, "bob", "phone", 1, 3, None);
    rig.sites[1].node.ask(Ask::Forget { ticket: 9, user: "bob".into(), seq: 3 }, rig.now);
    rig.settle();
    assert!(matches!(rig.sites[1].done.last(), Some((9, Completion::Unavailable))));
    rig.leave(0, "bob", "phone", 1, 0, None);
    let mailbox = rig.enter(0, "bob", "phone", 2);
    assert_eq!((mailbox.messages.len(), mailbox.devices[0].1), (3, 0));
}

#[test]
fn messages_that_are_missing_are_not_read_out_of_a_new_epoch_of_which_the_node_does_not_know() {
    let mut rig = second_node_is_behind();
    rig.enter(0, "bob", "tablet", 1);
    for cid in ["4", "5", "6", "7", "8"] {
        let append = Append { round: 1, ..rig.message("alice", cid, cid) };
        kept(rig.send(0, &append, &["bob"]));
    }
    rig.arrived(1);
    // The newest numbers are compared, and that of the new epoch is greater.
    rig.sites[1].node.subscribed(0, rig.now);
    rig.sites[1].node.tick(rig.now);
    rig.settle();
    assert_eq!(rig.arrived(1), []);
}
