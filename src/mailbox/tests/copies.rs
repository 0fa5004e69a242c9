//! Copies of mailboxes that several servers share.

use super::super::*;

fn copies() -> Mailboxes {
    let mut boxes = Mailboxes::new(Limits::default());
    boxes.become_copies();
    boxes
}

fn message(seq: u64) -> Held {
    Held::new(seq, Body::new("text", ""), 1_000, Marks::NONE)
}

/// Makes the copy of bob's mailbox for a device, as the mailbox is with these devices and messages.
fn enter(
    boxes: &mut Mailboxes,
    device: &str,
    connection: u32,
    top: u64,
    devices: &[(&str, u64)],
    messages: &[(u64, Option<&str>)],
) -> Welcome {
    let filling = boxes.fill_copy("bob", 0, top);
    for (name, cursor) in devices {
        boxes.add_device(&filling, name, *cursor, 0);
    }
    for (seq, but) in messages {
        boxes.add_message(&filling, message(*seq), *but);
    }
    let welcome = boxes.connect("bob", device, Last::Nothing, connection);
    boxes.forget_others(welcome.key, |_| false);
    welcome
}

/// The numbers that a device gets which has handled everything up to its cursor.
fn numbers(boxes: &Mailboxes, key: Key, slot: usize, cursor: u64) -> Vec<u64> {
    let (mut from, mut all) = (cursor + 1, Vec::new());
    while let Some(next) = boxes.next(key, slot, from) {
        let Next::Message(held) = next else { panic!("{next:?}") };
        all.push(held.seq);
        from = held.seq + 1;
    }
    all
}

#[test]
fn a_copy_holds_what_the_devices_here_have_yet_to_get_and_is_dropped_with_the_last_of_them() {
    let mut boxes = copies();
    let waits = [(3, None), (4, None), (5, None)];
    let phone = enter(&mut boxes, "phone", 1, 5, &[("phone", 4), ("pad", 2)], &waits);
    assert_eq!((phone.cursor, phone.seq, phone.resumed), (4, 5, true));
    assert_eq!(numbers(&boxes, phone.key, phone.slot, 4), [5]);
    assert_eq!(boxes.waiting(), 1, "the pad is not here");
    let pad = enter(&mut boxes, "pad", 2, 5, &[("phone", 4), ("pad", 2)], &waits);
    assert_eq!(numbers(&boxes, pad.key, pad.slot, 2), [3, 4, 5]);
    assert_eq!(numbers(&boxes, phone.key, phone.slot, 0), [5], "these were handled before");
    assert!(boxes.put_arrived(pad.key, message(6), None, true));
    assert!(!boxes.put_arrived(pad.key, message(6), None, true), "it is there");
    assert!(boxes.leave_copy(phone.key, phone.slot, 1));
    assert!(!boxes.leave_copy(phone.key, phone.slot, 1), "it has left");
    boxes.acknowledge(pad.key, pad.slot, 6);
    assert_eq!((boxes.waiting(), boxes.len()), (0, 1));
    assert!(boxes.leave_copy(pad.key, pad.slot, 2));
    assert_eq!((boxes.len(), boxes.waiting(), boxes.shed()), (0, 0, 0));
    assert!(boxes.find("bob").is_none() && !boxes.is_empty());
}

#[test]
fn a_device_gets_no_copy_of_what_it_has_sent_while_it_was_known_elsewhere_only() {
    let mut boxes = copies();
    let pad = enter(&mut boxes, "pad", 1, 0, &[("phone", 0)], &[]);
    // The phone, which is on another server, sends something, and comes here afterwards.
    assert!(boxes.put_arrived(pad.key, message(1), Some("phone"), true));
    let devices = [("phone", 0), ("pad", 0)];
    let phone = enter(&mut boxes, "phone", 2, 1, &devices, &[(1, Some("phone"))]);
    assert_eq!(numbers(&boxes, phone.key, phone.slot, 0), [0_u64; 0]);
    assert_eq!(numbers(&boxes, pad.key, pad.slot, 0), [1]);
}

#[test]
fn a_device_that_was_told_of_a_gap_gets_none_of_its_messages_when_another_device_comes() {
    let mut boxes = copies();
    let phone = enter(&mut boxes, "phone", 1, 0, &[("pad", 0)], &[]);
    for seq in 1..=3 {
        assert!(boxes.put_arrived(phone.key, message(seq), None, true));
    }
    boxes.lose_in_copy(phone.key, (1, 2), Reason::Lost);
    let Some(Next::Gap(lost)) = boxes.next(phone.key, phone.slot, 1) else { panic!("no gap") };
    assert_eq!((lost.from, lost.to), (1, 2));
    let waits = [(1, None), (2, None), (3, None)];
    let pad = enter(&mut boxes, "pad", 2, 3, &[("phone", 0), ("pad", 0)], &waits);
    let Some(Next::Gap(lost)) = boxes.next(phone.key, phone.slot, 1) else { panic!("no gap") };
    assert_eq!((lost.from, lost.to), (1, 2));
    assert_eq!(numbers(&boxes, phone.key, phone.slot, 2), [3]);
    let filling = boxes.fill_copy("bob", 0, 5);
    boxes.add_lost(&filling, (4, 5), Reason::Overflow, ("pad", ""));
    assert_eq!(numbers(&boxes, phone.key, phone.slot, 2), [3], "only the pad has lost them");
    let Some(Next::Gap(lost)) = boxes.next(pad.key, pad.slot, 4) else { panic!("no gap") };
    assert_eq!((lost.from, lost.to, lost.reason), (4, 5, Reason::Overflow));
}

#[test]
fn numbers_below_the_base_of_a_mailbox_are_lost_for_whoever_names_one() {
    let mut boxes = copies();
    boxes.fill_copy("bob", 10, 12);
    let welcome = boxes.connect("bob", "phone", Last::Current(7), 1);
    let Some(Next::Gap(lost)) = boxes.next(welcome.key, welcome.slot, welcome.cursor + 1) else {
        panic!("no gap")
    };
    assert_eq!((welcome.cursor, lost.from), (7, 8));
    assert!(lost.to >= 10);
}

#[test]
fn a_device_gets_no_copy_of_what_it_has_sent_while_its_mailbox_was_on_its_way() {
    let mut boxes = copies();
    let pad = enter(&mut boxes, "pad", 1, 0, &[("phone", 0)], &[]);
    let devices = [("phone", 0), ("pad", 0)];
    // What the phone has sent arrives before the phone, and what was read for the phone is older.
    assert!(boxes.put_arrived(pad.key, message(1), Some("phone"), true));
    assert!(boxes.put_arrived(pad.key, message(2), Some("tv"), true));
    let phone = enter(&mut boxes, "phone", 2, 0, &devices, &[]);
    assert_eq!(numbers(&boxes, phone.key, phone.slot, 0), [2]);
    assert_eq!(numbers(&boxes, pad.key, pad.slot, 0), [1, 2]);
}

#[test]
fn a_client_of_a_lost_epoch_is_told_that_what_the_other_devices_have_handled_is_gone() {
    let mut boxes = copies();
    for (last, held) in
        [(Last::Unknown, vec![]), (Last::Earlier { seq: 9, end: 2 }, vec![(5, None)])]
    {
        let filling = boxes.fill_copy("bob", 0, 5);
        boxes.add_device(&filling, "pad", 5, 0);
        for (seq, but) in &held {
            boxes.add_message(&filling, message(*seq), *but);
        }
        let cursor = if held.is_empty() { 5 } else { 4 };
        let phone = boxes.connect("bob", "phone", last, 1);
        assert_eq!((phone.cursor, phone.gap, phone.resumed), (cursor, Some((None, cursor)), false));
        assert_eq!(numbers(&boxes, phone.key, phone.slot, cursor).len(), held.len());
        boxes.forget_others(phone.key, |_| false);
        assert!(boxes.leave_copy(phone.key, phone.slot, 1));
    }
}
