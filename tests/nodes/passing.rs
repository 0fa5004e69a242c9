//! Messages that are not kept, to users on any node.

use longlink::keeping::{Completed, Completion, Fate, Keep, Kept};
use longlink::nodes::Told;

use crate::rig::Rig;

/// The messages that have arrived at a node, in their order.
fn arrived(rig: &mut Rig, at: usize) -> Vec<String> {
    let texts = |told| match told {
        Told::Arrived(all) => all.iter().map(|it| it.message.to_string()).collect(),
        _ => Vec::new(),
    };
    rig.told(at).into_iter().flat_map(texts).collect()
}

/// The ticket and the fate of each send that is completed.
fn fates(rig: &mut Rig, at: usize) -> Vec<(u32, Option<Fate>)> {
    let fate = |it: Completed| match it.completion {
        Completion::Appended(Kept { fates, .. }) => (it.ticket, fates.first().copied()),
        _ => (it.ticket, None),
    };
    rig.completed(at).into_iter().map(fate).collect()
}

#[test]
fn messages_of_a_page_arrive_at_each_node_of_the_user_in_their_order() {
    let mut rig = Rig::new(3);
    rig.enter(0, "bob", "phone", 1);
    rig.enter(1, "bob", "tablet", 2);
    let (mut expected, mut sent) = (Vec::new(), Vec::new());
    for number in 0..300_u32 {
        let message = number.to_string();
        rig.pass_only(0, number, ("ann", "bob"), &message, Keep::Never);
        expected.push(message);
        sent.push((number, Some(Fate::Sent)));
        if number % 70 == 0 {
            rig.settle_one(0);
        }
    }
    rig.settle();
    assert_eq!(arrived(&mut rig, 0), expected);
    assert_eq!(arrived(&mut rig, 1), expected);
    assert_eq!(arrived(&mut rig, 2), [""; 0]);
    assert_eq!(fates(&mut rig, 0), sent);
}

#[test]
fn a_message_to_a_user_who_is_nowhere_is_told_to_be_offline() {
    let mut rig = Rig::new(2);
    rig.pass_only(0, 1, ("ann", "bob"), "1", Keep::IfMailbox);
    rig.enter(1, "bob", "phone", 1);
    rig.pass_only(0, 2, ("ann", "bob"), "2", Keep::Never);
    rig.settle();
    assert_eq!(fates(&mut rig, 0), [(1, Some(Fate::Offline)), (2, Some(Fate::Sent))]);
}

#[test]
fn a_message_to_a_user_of_a_node_that_has_died_is_told_to_be_offline() {
    let mut rig = Rig::new(2);
    rig.enter(1, "bob", "phone", 1);
    rig.kill(1);
    rig.pass_only(0, 1, ("ann", "bob"), "1", Keep::Never);
    rig.settle();
    assert_eq!(fates(&mut rig, 0), [(1, Some(Fate::Offline))]);
}

#[test]
fn a_message_of_a_page_to_a_user_with_a_mailbox_is_kept() {
    let mut rig = Rig::new(2);
    rig.enter(1, "bob", "phone", 1);
    rig.pass_only(0, 1, ("ann", "bob"), "1", Keep::IfMailbox);
    rig.settle();
    assert_eq!(fates(&mut rig, 0), [(1, Some(Fate::Kept))]);
    assert_eq!(arrived(&mut rig, 1), ["1"]);
}

#[test]
fn a_message_is_refused_when_redis_is_away_and_is_not_when_nobody_knows_whether_it_was_published() {
    let mut rig = Rig::new(2);
    rig.enter(1, "bob", "phone", 1);
    rig.pass_only(0, 1, ("ann", "bob"), "1", Keep::Never);
    // The user is looked up, and the connection is lost while the message is published.
    rig.settle_one(0);
    rig.cut_before_replies(0);
    assert_eq!(fates(&mut rig, 0), [(1, Some(Fate::Sent))], "nobody delivers it a second time");
    rig.pass_only(0, 2, ("ann", "bob"), "2", Keep::Never);
    rig.settle();
    assert_eq!(fates(&mut rig, 0), [(2, None)]);
    assert_eq!(arrived(&mut rig, 1), ["1"]);
}

#[test]
fn a_volatile_message_with_copies_for_the_sender_is_not_refused_when_nobody_knows_whether_it_was_given()
 {
    let mut rig = Rig::new(1);
    rig.enter(0, "bob", "phone", 1);
    rig.has_own = true;
    rig.pass_only(0, 1, ("ann", "bob"), "1", Keep::Never);
    rig.cut_before_replies(0);
    assert_eq!(fates(&mut rig, 0), [(1, Some(Fate::Sent))]);
    rig.pass_only(0, 2, ("ann", "bob"), "2", Keep::Never);
    rig.settle();
    assert_eq!(fates(&mut rig, 0), [(2, None)], "it was surely not given");
}
