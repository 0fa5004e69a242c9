//! Tests of the messages and lost numbers of one mailbox.

use super::super::message::{Body, Marks};
use super::*;

/// Keeps a message in memory. Returns the one that it has replaced.
fn push(ring: &mut Ring, held: Held) -> Option<Held> {
    ring.push(held, |_| 7, false)
}

fn message(seq: u64, key: &str) -> Held {
    Held::new(seq, Body::new(&format!("m{seq}"), key), u32::MAX, Marks::NONE)
}

/// All messages and gaps that a device gets from a number on. A message is written as `5`, a gap as
/// `1-4`.
fn all(ring: &Ring, slot: usize, from: u64) -> Vec<String> {
    let (mut from, mut seen) = (from, Vec::new());
    while let Some(next) = ring.next(slot, from) {
        from = match next {
            Next::Message(held) => {
                seen.push(held.seq.to_string());
                held.seq + 1
            }
            Next::Gap(lost) => {
                seen.push(format!("{}-{}", lost.from, lost.to));
                lost.to + 1
            }
        };
    }
    seen
}

#[test]
fn a_newer_message_of_the_same_key_replaces_one_that_waits_without_a_gap() {
    let mut ring = Ring::default();
    push(&mut ring, message(1, "pos"));
    push(&mut ring, message(2, ""));
    assert_eq!(push(&mut ring, message(3, "pos")).map(|held| held.seq), Some(1));
    assert_eq!(all(&ring, 0, 1), ["2", "3"]);
    assert_eq!(ring.bytes(), 2 + 2 + 3);
}

#[test]
fn the_newest_message_is_next_for_a_device_that_has_the_one_before_it_whatever_lies_between_their_numbers()
 {
    let mut ring = Ring::default();
    push(&mut ring, message(3, ""));
    push(&mut ring, message(9, ""));
    let newest = |from| ring.newest(0, from).map(|held| held.seq);
    assert_eq!((newest(4), newest(9)), (Some(9), Some(9)));
    assert_eq!(newest(3), None, "the device has yet to get the one before it");
    assert_eq!(newest(10), None, "the device has it");
}

#[test]
fn messages_that_are_lost_to_a_bound_are_one_gap_for_each_device_that_had_not_handled_them() {
    let mut ring = Ring::default();
    (1..=5).for_each(|seq| drop(push(&mut ring, message(seq, ""))));
    ring.lose_oldest(Reason::Overflow);
    ring.lose_oldest(Reason::Overflow);
    assert_eq!(all(&ring, 0, 1), ["1-2", "3", "4", "5"]);
    assert_eq!(all(&ring, 0, 2), ["2-2", "3", "4", "5"]);
    assert_eq!(all(&ring, 0, 3), ["3", "4", "5"]);
}

#[test]
fn a_message_that_expires_between_others_leaves_a_gap_between_them() {
    let mut ring = Ring::default();
    for seq in 1..=4 {
        let expires = if seq % 2 == 0 { 10 } else { 100 };
        let mut held = message(seq, "");
        held.expires = expires;
        push(&mut ring, held);
    }
    assert!(ring.lose_expired(10).is_none(), "its last second is not over");
    while ring.lose_expired(11).is_some() {}
    assert_eq!(all(&ring, 0, 1), ["1", "2-2", "3", "4-4"]);
    while ring.lose_expired(101).is_some() {}
    assert_eq!(all(&ring, 0, 1), ["1-4"], "neighbours are one gap");
}

#[test]
fn a_device_that_is_skipped_sees_neither_the_message_nor_its_loss() {
    let mut ring = Ring::default();
    let mut held = message(1, "");
    held.skips = Slots::one(2);
    push(&mut ring, held);
    push(&mut ring, message(2, ""));
    assert_eq!(all(&ring, 2, 1), ["2"]);
    assert_eq!(all(&ring, 0, 1), ["1", "2"]);
    ring.lose_oldest(Reason::Overflow);
    assert_eq!(all(&ring, 2, 1), ["2"]);
    assert_eq!(all(&ring, 0, 1), ["1-1", "2"]);
    ring.forget_slot(2);
    assert_eq!(all(&ring, 2, 1), ["1-1", "2"], "another device has the slot");
}

#[test]
fn a_message_or_a_gap_is_forgotten_when_every_device_has_handled_it() {
    let mut ring = Ring::default();
    (1..=4).for_each(|seq| drop(push(&mut ring, message(seq, ""))));
    let mut freed = Vec::new();
    ring.prune(&[(0, 3), (1, 1)], |held| freed.push(held.seq));
    assert_eq!(freed, [1]);
    ring.prune(&[(0, 3), (1, 4)], |held| freed.push(held.seq));
    assert_eq!(freed, [1, 2, 3]);
    ring.prune(&[], |held| freed.push(held.seq));
    assert_eq!(freed, [1, 2, 3], "a user without a device has handled nothing");
    ring.lose_oldest(Reason::Expired);
    ring.prune(&[(0, 4), (1, 4)], |_| ());
    assert!(ring.is_empty());
    assert_eq!(ring.bytes(), 0);
}

#[test]
fn a_message_that_one_device_skips_is_a_gap_for_it_alone_and_is_kept_for_the_others() {
    let mut ring = Ring::default();
    (1..=3).for_each(|seq| drop(push(&mut ring, message(seq, ""))));
    ring.skip(0, 2);
    assert_eq!(all(&ring, 0, 1), ["1", "2-2", "3"]);
    assert_eq!(all(&ring, 1, 1), ["1", "2", "3"]);
    ring.skip(1, 2);
    assert_eq!(all(&ring, 1, 1), ["1", "2-2", "3"]);
    assert_eq!(all(&ring, 2, 1), ["1", "2", "3"]);
    (0..3).for_each(|_| drop(ring.lose_oldest(Reason::Overflow)));
    assert_eq!(all(&ring, 0, 2), ["2-3"]);
    assert_eq!(all(&ring, 2, 1), ["1-3"]);
}

#[test]
fn what_was_lost_between_messages_that_are_held_is_not_forgotten() {
    let mut ring = Ring::default();
    for seq in 1..=3 {
        let mut held = message(seq, "");
        held.expires = if seq == 2 { 10 } else { 100 };
        held.skips = if seq == 2 { Slots::one(0) } else { Slots::NONE };
        push(&mut ring, held);
    }
    while ring.lose_expired(11).is_some() {}
    // The only known device has sent the second message itself.
    ring.prune(&[(0, 0)], |_| ());
    assert_eq!(all(&ring, 1, 1), ["1", "2-2", "3"], "another device comes back");
}

#[test]
fn a_device_can_lose_numbers_that_others_have_lost_or_handled() {
    let mut ring = Ring::default();
    ring.lose_for(1, 4, 6);
    assert_eq!((all(&ring, 1, 1), all(&ring, 0, 1)), (vec!["4-6".to_owned()], vec![]));
    // Again, and with other numbers: nothing grows.
    for from in [4, 5, 6, 4] {
        ring.lose_for(1, from, 6);
        assert_eq!(ring.lost.len(), 1);
    }
    ring.lose_for(2, 2, 5);
    assert_eq!(all(&ring, 2, 1), ["2-3", "4-5"]);
    assert_eq!(all(&ring, 1, 1), ["4-5", "6-6"]);
    assert_eq!(all(&ring, 0, 1), [""; 0]);
    ring.lose_for(0, 1, 9);
    assert_eq!(all(&ring, 0, 1), ["1-1", "2-3", "4-5", "6-6", "7-9"]);
    ring.lose_for(3, 5, 5);
    assert_eq!(all(&ring, 3, 1), ["5-5"]);
    assert_eq!(all(&ring, 1, 1), ["4-4", "5-5", "6-6"]);
    let all_know = [(0, 9), (1, 6), (2, 5), (3, 5)];
    ring.prune(&all_know, |_| ());
    assert!(ring.is_empty());
}

#[test]
fn there_is_at_most_one_range_of_lost_numbers_more_than_there_are_held_messages() {
    let mut ring = Ring::default();
    for seq in 1..=1_000 {
        let expires = if seq % 3 == 0 { 10 } else { 100 };
        let mut held = message(seq, "");
        held.expires = expires;
        push(&mut ring, held);
        if seq % 50 == 0 {
            while ring.lose_expired(11).is_some() {}
            (0..20).for_each(|_| drop(ring.lose_oldest(Reason::Overflow)));
        }
        assert!(ring.lost.len() <= ring.len() + 1, "{seq}");
    }
}
