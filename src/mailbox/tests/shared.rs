//! Mailboxes whose numbers come from one counter for all users.

use super::super::record::Mailbox;
use super::*;

/// Keeps a message for a user, whose number the journal has completed. Returns the number.
fn keep(boxes: &mut Mailboxes, user: &str, text: &str) -> u64 {
    let key = boxes.obtain(user);
    let seq = boxes.next_seq(key);
    boxes.unpin(key, Some(seq));
    boxes.put(key, Held::new(seq, Body::new(text, ""), u32::MAX - 1, Marks::REPORTED), false);
    seq
}

fn sharing(limits: Limits, last: u64) -> Mailboxes {
    let mut boxes = Mailboxes::new(limits);
    boxes.share_numbers(last);
    boxes
}

#[test]
fn numbers_of_all_users_come_from_one_counter_and_a_user_sees_only_the_own_ones_settled() {
    let mut boxes = sharing(Limits::default(), 40);
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    assert_eq!((keep(&mut boxes, "bob", "one"), keep(&mut boxes, "eve", "x")), (41, 42));
    let key = phone.key;
    let (first, second) = (boxes.next_seq(key), boxes.next_seq(key));
    assert_eq!((first, second, boxes.top(key)), (43, 44, 44));
    // 42 belongs to somebody else, and may be lost while 41 is kept.
    assert_eq!(boxes.settled_top(key), 41);
    boxes.hold(key);
    boxes.unpin(key, Some(first));
    assert_eq!(boxes.settled_top(key), 43);
    boxes.unpin(key, None);
    assert_eq!((boxes.settled_top(key), boxes.pinned()), (44, 1));
    boxes.let_go(key);
    assert_eq!(boxes.pinned(), 0);
}

#[test]
fn a_mailbox_that_is_given_up_and_made_again_goes_on_above_the_numbers_of_all_users() {
    let mut boxes = sharing(Limits { memory: 700, ..Limits::default() }, 0);
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    let one = keep(&mut boxes, "bob", "one");
    boxes.acknowledge(phone.key, phone.slot, one);
    leave(&mut boxes, &phone, 1);
    for number in 0..20 {
        keep(&mut boxes, &format!("stranger {number}"), &"x".repeat(50));
    }
    keep(&mut boxes, "eve", &"x".repeat(400));
    assert!(boxes.find("bob").is_none() && boxes.shed() > 0);
    boxes.note_missed();
    let two = keep(&mut boxes, "bob", "two");
    assert!(two > 22, "{two}");
    let phone = connect(&mut boxes, "bob", "phone", Last::Current(one));
    let seen = replay(&boxes, phone.key, phone.slot, phone.cursor);
    assert_eq!((phone.resumed, phone.gap), (true, None));
    assert_eq!(seen.last().map(String::as_str), Some("two"));
    assert!(seen.len() == 2 && seen[0].ends_with(" lost"), "{seen:?}");
}

#[test]
fn the_base_of_a_mailbox_stays_where_it_is_while_numbers_of_others_pass() {
    let mut mailbox = Mailbox::new("bob", 7);
    for top in [8, 9, 5_000_000_000, 1 << 40] {
        mailbox.raise(top);
        assert_eq!((mailbox.top, mailbox.base()), (top, 7));
    }
    // After a trillion numbers the base follows, so a device may get a gap too many.
    mailbox.raise(2 << 40);
    assert_eq!(mailbox.base(), (1 << 40) + 1);
}
