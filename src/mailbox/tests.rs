//! Tests of mailboxes as a whole: stories of users, and random steps that are compared with a
//! model.

#[cfg(test)]
mod copies;
#[cfg(test)]
mod shared;

use std::collections::BTreeMap;

use super::*;

/// Keeps a message for a user who is away. Returns its number.
fn put(boxes: &mut Mailboxes, user: &str, text: &str) -> u64 {
    let key = boxes.obtain(user);
    let seq = boxes.next_seq(key);
    boxes.put(key, Held::new(seq, Body::new(text, ""), u32::MAX - 1, Marks::REPORTED), false);
    seq
}

/// A message or a gap as text, and the number from which the device goes on.
fn text_of(next: Next<'_>) -> (String, u64) {
    match next {
        Next::Message(held) => (held.text().to_owned(), held.seq + 1),
        Next::Gap(lost) => {
            (format!("{}-{} {}", lost.from, lost.to, lost.reason.name()), lost.to + 1)
        }
    }
}

/// All messages and gaps that a device gets behind a number, as text.
fn replay(boxes: &Mailboxes, key: Key, slot: usize, after: u64) -> Vec<String> {
    let (mut from, mut seen) = (after + 1, Vec::new());
    while let Some(next) = boxes.next(key, slot, from) {
        let (text, next) = text_of(next);
        seen.push(text);
        from = next;
    }
    seen
}

fn connect(boxes: &mut Mailboxes, user: &str, device: &str, last: Last) -> Welcome {
    boxes.connect(user, device, last, 7)
}

fn leave(boxes: &mut Mailboxes, welcome: &Welcome, now: u32) {
    assert_eq!(boxes.disconnect(welcome.key, welcome.slot, 7, false, now), None);
}

#[test]
fn messages_to_a_user_who_never_connected_are_there_when_the_first_device_connects() {
    let mut boxes = Mailboxes::new(Limits::default());
    put(&mut boxes, "bob", "one");
    put(&mut boxes, "bob", "two");
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    assert_eq!((phone.seq, phone.cursor, phone.resumed, phone.gap), (2, 0, true, None));
    assert_eq!(replay(&boxes, phone.key, phone.slot, phone.cursor), ["one", "two"]);
    let pad = connect(&mut boxes, "bob", "pad", Last::Nothing);
    assert_eq!(pad.cursor, 2, "a second device begins at the newest number");
}

#[test]
fn an_acknowledgement_of_one_device_takes_nothing_away_from_another() {
    let mut boxes = Mailboxes::new(Limits::default());
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    let pad = connect(&mut boxes, "bob", "pad", Last::Nothing);
    put(&mut boxes, "bob", "one");
    assert_eq!(boxes.acknowledge(phone.key, phone.slot, 1), 0);
    assert_eq!(replay(&boxes, pad.key, pad.slot, 0), ["one"]);
    assert_eq!(boxes.acknowledge(pad.key, pad.slot, 1), 0);
    assert_eq!(boxes.waiting(), 0);
    assert_eq!(boxes.acknowledge(pad.key, pad.slot, 0), 1, "an acknowledgement never goes back");
}

#[test]
fn a_device_that_was_forgotten_gets_a_gap_over_messages_that_the_others_have_handled() {
    let mut boxes = Mailboxes::new(Limits::default());
    for number in 0..MAX_DEVICES {
        let device = connect(&mut boxes, "bob", &format!("d{number}"), Last::Nothing);
        leave(&mut boxes, &device, number as u32);
    }
    let sixth = connect(&mut boxes, "bob", "sixth", Last::Nothing);
    assert_eq!((sixth.slot, sixth.displaced), (0, None), "d0 was away longest and loses its slot");
    put(&mut boxes, "bob", "one");
    let key = sixth.key;
    for slot in 0..MAX_DEVICES {
        boxes.acknowledge(key, slot, 1);
    }
    leave(&mut boxes, &sixth, 9);
    // It is told as often as it has not acknowledged that.
    for _ in 0..3 {
        let first = connect(&mut boxes, "bob", "d0", Last::Current(0));
        assert_eq!((first.cursor, first.gap), (0, None));
        assert_eq!(replay(&boxes, key, first.slot, 0), ["1-1 lost"]);
        leave(&mut boxes, &first, 10);
    }
}

#[test]
fn a_device_that_comes_back_with_a_lower_number_than_it_acknowledged_is_told_what_is_gone() {
    let mut boxes = Mailboxes::new(Limits::default());
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    let pad = connect(&mut boxes, "bob", "pad", Last::Nothing);
    for number in 1..=5 {
        put(&mut boxes, "bob", &number.to_string());
    }
    boxes.acknowledge(phone.key, phone.slot, 4);
    boxes.acknowledge(pad.key, pad.slot, 2);
    leave(&mut boxes, &phone, 1);
    let phone = connect(&mut boxes, "bob", "phone", Last::Current(1));
    assert_eq!(replay(&boxes, phone.key, phone.slot, 1), ["2-2 lost", "3", "4", "5"]);
    assert_eq!(replay(&boxes, pad.key, pad.slot, 2), ["3", "4", "5"]);
    boxes.acknowledge(phone.key, phone.slot, 5);
    boxes.acknowledge(pad.key, pad.slot, 5);
    assert_eq!(boxes.waiting(), 0);
    leave(&mut boxes, &phone, 1);
    // A device that has handled every message gets none again, however often it connects.
    for last in [Last::Current(5), Last::Nothing] {
        let phone = connect(&mut boxes, "bob", "phone", last);
        assert_eq!(replay(&boxes, phone.key, phone.slot, phone.cursor), [""; 0]);
        leave(&mut boxes, &phone, 1);
    }
}

#[test]
fn a_sixth_device_displaces_one_that_is_connected_only_when_all_are() {
    let mut boxes = Mailboxes::new(Limits::default());
    for number in 0..5 {
        boxes.connect("bob", &format!("d{number}"), Last::Nothing, number);
    }
    let sixth = boxes.connect("bob", "sixth", Last::Nothing, 5);
    assert_eq!(sixth.displaced, Some(0));
    assert!(!boxes.is_newest(sixth.key, sixth.slot, 0));
    assert!(boxes.is_newest(sixth.key, sixth.slot, 5));
}

#[test]
fn a_message_that_three_connections_could_not_take_is_skipped_by_that_device() {
    let mut boxes = Mailboxes::new(Limits::default());
    put(&mut boxes, "bob", "bad");
    put(&mut boxes, "bob", "good");
    for round in 1..=3 {
        let phone = connect(&mut boxes, "bob", "phone", Last::Current(0));
        let skipped = boxes.disconnect(phone.key, phone.slot, 7, true, 0);
        assert_eq!(skipped, (round == 3).then_some(1));
    }
    let phone = connect(&mut boxes, "bob", "phone", Last::Current(0));
    assert_eq!(replay(&boxes, phone.key, phone.slot, 0), ["1-1 undeliverable", "good"]);
    let losses = boxes.take_losses();
    assert_eq!((losses.len(), losses[0].held.text()), (1, "bad"));
    assert_eq!((&*losses[0].user, losses[0].reason), ("bob", Reason::Undeliverable));
}

#[test]
fn a_million_names_that_nobody_has_stay_within_the_budget_and_take_no_place_from_a_user() {
    const NAMES: usize = 1_000_000;
    const USERS: usize = 1_000;
    let memory = 4 << 20;
    let mut boxes = Mailboxes::new(Limits { memory, ..Limits::default() });
    for number in 0..USERS {
        let user = format!("user{number}");
        let phone = connect(&mut boxes, &user, "phone", Last::Nothing);
        leave(&mut boxes, &phone, 0);
        put(&mut boxes, &user, "hello");
    }
    let of_users = boxes.memory();
    assert!(of_users < memory / 4, "the users take only a part of the budget: {of_users}");
    let (mut most, mut losses) = (0, 0);
    for number in 0..NAMES {
        put(&mut boxes, &format!("nobody{number}"), "hello");
        most = most.max(boxes.memory());
        let lost = boxes.take_losses();
        assert!(lost.iter().all(|loss| loss.user.starts_with("nobody")));
        losses += lost.len();
    }
    assert!(most <= memory, "{most} bytes");
    assert!(most > memory / 10 * 9, "the budget is used: {most} bytes");
    let (shed, held) = (boxes.shed(), boxes.len() - USERS);
    assert_eq!(shed as usize + held, NAMES, "each stranger's mailbox is held or was given up");
    assert_eq!(losses, shed as usize, "each message that was given up is reported");
    assert_eq!(boxes.waiting(), held + USERS);
    let newest = boxes.find(&format!("nobody{}", NAMES - 1)).expect("the newest is held");
    assert_eq!(boxes.messages(newest).count(), 1);
    assert_eq!(boxes.find("nobody0"), None, "the oldest was given up first");
    for number in 0..USERS {
        let user = format!("user{number}");
        let phone = connect(&mut boxes, &user, "phone", Last::Current(0));
        let seen = replay(&boxes, phone.key, phone.slot, phone.cursor);
        assert_eq!((phone.gap, seen), (None, vec!["hello".to_owned()]), "{user}");
    }
}

#[test]
fn a_message_that_one_device_skips_is_no_loss_while_another_device_may_get_it() {
    let mut boxes = Mailboxes::new(Limits::default());
    let pad = connect(&mut boxes, "bob", "pad", Last::Nothing);
    boxes.disconnect(pad.key, pad.slot, 7, false, 0);
    for device in ["phone", "pad"] {
        if device == "phone" {
            connect(&mut boxes, "bob", "phone", Last::Nothing);
            put(&mut boxes, "bob", "bad");
        }
        for _ in 0..3 {
            assert!(boxes.take_losses().is_empty());
            let it = connect(&mut boxes, "bob", device, Last::Current(0));
            boxes.disconnect(it.key, it.slot, 7, true, 0);
        }
    }
    let losses = boxes.take_losses();
    assert_eq!((losses.len(), losses[0].reason), (1, Reason::Undeliverable));
}

#[test]
fn the_end_of_an_old_connection_after_the_device_has_a_new_one_changes_nothing() {
    let mut boxes = Mailboxes::new(Limits::default());
    let old = boxes.connect("bob", "phone", Last::Nothing, 1);
    let new = boxes.connect("bob", "phone", Last::Nothing, 2);
    assert_eq!(boxes.disconnect(old.key, old.slot, 1, true, 5), None);
    assert!(boxes.is_newest(new.key, new.slot, 2));
}

#[test]
fn an_empty_mailbox_of_a_user_who_is_away_is_kept_for_a_day_and_the_user_comes_back_without_a_gap()
{
    let mut boxes = Mailboxes::new(Limits::default());
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    put(&mut boxes, "bob", "one");
    boxes.acknowledge(phone.key, phone.slot, 1);
    leave(&mut boxes, &phone, 10);
    boxes.expire(86_400);
    assert_eq!(boxes.len(), 1);
    assert!(boxes.memory() <= 96, "{}", boxes.memory());
    put(&mut boxes, "bob", "two");
    let phone = connect(&mut boxes, "bob", "phone", Last::Current(1));
    assert_eq!((phone.cursor, phone.resumed, phone.gap), (1, true, None));
    assert_eq!(replay(&boxes, phone.key, phone.slot, 1), ["two"]);
}

#[test]
fn a_dropped_mailbox_that_had_given_no_number_makes_no_gap() {
    let mut boxes = Mailboxes::new(Limits { memory: 150, ..Limits::default() });
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    leave(&mut boxes, &phone, 0);
    let eve = connect(&mut boxes, "eve", "phone", Last::Nothing);
    assert!(boxes.find("bob").is_none());
    boxes.forget(eve.key);
    leave(&mut boxes, &eve, 0);
    let phone = connect(&mut boxes, "bob", "phone", Last::Current(phone.cursor));
    assert_eq!((phone.resumed, phone.gap), (true, None));
    assert_eq!(replay(&boxes, phone.key, phone.slot, phone.cursor), [""; 0]);
}

#[test]
fn a_mailbox_that_is_made_again_goes_on_above_its_old_numbers_and_a_gap_tells_what_is_lost() {
    let limits = Limits { memory: 4_000, ..Limits::default() };
    let mut boxes = Mailboxes::new(limits);
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    put(&mut boxes, "bob", "one");
    leave(&mut boxes, &phone, 0);
    for n in 0..20 {
        put(&mut boxes, &format!("stranger {n}"), &"x".repeat(50));
    }
    assert!(boxes.memory() <= limits.memory);
    assert!(boxes.find("bob").is_some(), "the mailboxes of strangers are given up first");
    assert!(boxes.shed() > 0);
    let big = connect(&mut boxes, "eve", "phone", Last::Nothing);
    put(&mut boxes, "eve", &"x".repeat(3_500));
    assert!(boxes.find("bob").is_none(), "then the mailboxes of users who are away are given up");
    boxes.forget(big.key);
    let seq = put(&mut boxes, "bob", "two");
    assert!(seq > 1);
    let phone = connect(&mut boxes, "bob", "phone", Last::Current(0));
    let gap = format!("1-{} lost", seq - 1);
    assert_eq!(replay(&boxes, phone.key, phone.slot, 0), [gap, "two".to_owned()]);
    let losses = boxes.take_losses();
    assert!(losses.iter().any(|loss| loss.user == "bob" && loss.held.text() == "one"));
    assert!(losses.iter().all(|loss| loss.reason == Reason::Overflow));
}

#[test]
fn mailboxes_of_connected_users_stay_within_the_budget_of_memory_too() {
    let limits = Limits { memory: 20_000, ..Limits::default() };
    let mut boxes = Mailboxes::new(limits);
    for user in 0..10 {
        let key = connect(&mut boxes, &format!("u{user}"), "", Last::Nothing).key;
        for _ in 0..50 {
            let seq = boxes.next_seq(key);
            let body = Body::new(&"x".repeat(500), "");
            boxes.put(key, Held::new(seq, body, u32::MAX - 1, Marks::NONE), true);
            // A mailbox keeps its record and its ranges of lost numbers even when the budget is
            // spent.
            assert!(boxes.memory() <= limits.memory + 600 * boxes.len(), "{}", boxes.memory());
        }
    }
    assert_eq!(boxes.len(), 10);
}

#[test]
fn members_of_a_group_share_one_body_and_its_bytes_are_counted_once() {
    let mut boxes = Mailboxes::new(Limits::default());
    let body = Body::new(&"x".repeat(10_000), "");
    boxes.share(&body);
    for n in 0..100 {
        let key = boxes.obtain(&format!("member {n}"));
        let seq = boxes.next_seq(key);
        boxes.put(key, Held::new(seq, body.clone(), 100, Marks::NONE), false);
    }
    boxes.unshare(body);
    assert_eq!(boxes.waiting(), 100);
    let each = (boxes.memory() - 10_000) / 100;
    assert!(each < 700, "{each} bytes for a mailbox with one entry");
    while boxes.expire(102) {}
    assert_eq!((boxes.len(), boxes.memory(), boxes.waiting()), (0, 0, 0));
}

#[test]
fn when_a_mailbox_is_deleted_connected_devices_and_devices_that_come_back_get_a_gap() {
    let mut boxes = Mailboxes::new(Limits::default());
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    let pad = connect(&mut boxes, "bob", "pad", Last::Nothing);
    leave(&mut boxes, &pad, 0);
    put(&mut boxes, "bob", "one");
    boxes.forget(phone.key);
    assert_eq!(replay(&boxes, phone.key, phone.slot, 0), ["1-1 lost"]);
    boxes.acknowledge(phone.key, phone.slot, 1);
    let pad = connect(&mut boxes, "bob", "pad", Last::Current(0));
    assert_eq!(replay(&boxes, pad.key, pad.slot, 0), ["1-1 lost"]);
}

#[test]
fn a_device_that_is_connected_makes_no_bound_smaller() {
    let limits = Limits { messages: 1_000, bytes: 1 << 20, ..Limits::default() };
    let mut boxes = Mailboxes::new(limits);
    let pad = connect(&mut boxes, "bob", "pad", Last::Nothing);
    leave(&mut boxes, &pad, 1);
    let phone = connect(&mut boxes, "bob", "phone", Last::Nothing);
    for _ in 0..500 {
        let seq = boxes.next_seq(phone.key);
        let body = Body::new(&"x".repeat(1_000), "");
        boxes.put(phone.key, Held::new(seq, body, u32::MAX - 1, Marks::REPORTED), true);
    }
    assert_eq!(boxes.waiting_for(phone.key), 500);
}

/// A device of the model must get every message behind its cursor, or be told of a gap over it.
#[test]
fn at_random_no_device_misses_a_message_without_a_gap_or_sees_one_twice_or_out_of_order() {
    let mut gaps = 0;
    let mut replays = 0;
    for seed in 1..=200_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let limits = Limits { messages: 6, bytes: 200, live_bytes: 400, ttl: 50, memory: 6_000 };
        let mut boxes = Mailboxes::new(limits);
        let mut now = 0;
        // The messages to each user by number, and the cursor of each device.
        let mut sent: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
        let mut cursors: BTreeMap<(String, String), u64> = BTreeMap::new();
        for step in 0..300 {
            now += random(4) as u32;
            let user = format!("u{}", random(4));
            match random(10) {
                0..5 => {
                    let key = boxes.obtain(&user);
                    let seq = boxes.next_seq(key);
                    let text = format!("{step}{}", "x".repeat(random(60) as usize));
                    sent.entry(user).or_default().insert(seq, text.clone());
                    let expires = now + 5 + random(40) as u32;
                    let held = Held::new(seq, Body::new(&text, ""), expires, Marks::REPORTED);
                    boxes.put(key, held, random(2) == 0);
                }
                5..9 => {
                    let device = format!("d{}", random(7));
                    let cursor = cursors.get(&(user.clone(), device.clone())).copied();
                    let last = cursor.map_or(Last::Nothing, Last::Current);
                    let welcome = boxes.connect(&user, &device, last, 1);
                    assert!(
                        cursor.is_none_or(|cursor| welcome.resumed && welcome.cursor >= cursor)
                    );
                    let had = cursor.unwrap_or(welcome.cursor);
                    let mut at = welcome.cursor;
                    let mut told = Vec::new();
                    assert_eq!(welcome.gap, None);
                    let of_user = sent.entry(user.clone()).or_default();
                    for _ in 0..random(8) {
                        match boxes.next(welcome.key, welcome.slot, at + 1) {
                            None => break,
                            Some(Next::Message(held)) => {
                                assert!(held.seq > at);
                                assert_eq!(Some(held.text()), of_user.get(&held.seq).map(|t| &**t));
                                told.push((held.seq, held.seq));
                                at = held.seq;
                                replays += 1;
                            }
                            Some(Next::Gap(lost)) => {
                                assert!(lost.from > at && lost.to >= lost.from);
                                told.push((lost.from, lost.to));
                                at = lost.to;
                                gaps += 1;
                            }
                        }
                    }
                    for (seq, _) in of_user.range(had + 1..at + 1) {
                        let is_told = told.iter().any(|(from, to)| (from..=to).contains(&seq));
                        assert!(is_told, "seed {seed} step {step}: {seq} of {user} is missing");
                    }
                    boxes.acknowledge(welcome.key, welcome.slot, at);
                    cursors.insert((user, device), at);
                    boxes.disconnect(welcome.key, welcome.slot, 1, false, now);
                }
                _ => while boxes.expire(now) {},
            }
            assert!(boxes.memory() <= limits.memory, "seed {seed} step {step}");
            boxes.take_losses();
        }
    }
    assert!(gaps > 1_000 && replays > 1_000, "{gaps} gaps, {replays} replays");
}

#[test]
fn expired_mailboxes_of_a_million_users_are_handled_a_few_in_each_turn() {
    let users = 100_000;
    let mut boxes = Mailboxes::new(Limits { memory: 1 << 30, ..Limits::default() });
    for n in 0..users {
        let key = boxes.obtain(&format!("u{n}"));
        let seq = boxes.next_seq(key);
        boxes.put(key, Held::new(seq, Body::new("hello", ""), 60, Marks::REPORTED), false);
    }
    assert!(!boxes.expire(60), "nothing is due yet");
    assert_eq!(boxes.waiting(), users);
    let mut turns = 0;
    loop {
        let before = boxes.waiting();
        let has_more = boxes.expire(62);
        assert!(before - boxes.waiting() <= 256, "{} in one turn", before - boxes.waiting());
        assert!(boxes.take_losses().len() <= 256);
        turns += 1;
        if !has_more {
            break;
        }
    }
    assert_eq!((boxes.waiting(), boxes.len()), (0, 0));
    assert!(turns <= users / 100, "{turns} turns");
}

#[test]
fn one_message_drops_no_more_mailboxes_than_its_room_needs() {
    let limits = Limits { memory: 20 << 20, ..Limits::default() };
    let mut boxes = Mailboxes::new(limits);
    let mut n = 0;
    while boxes.shed() == 0 {
        put(&mut boxes, &format!("u{n}"), "hello");
        n += 1;
    }
    let each = limits.memory / boxes.len();
    for length in [10, 1_000, 30_000, 65_000] {
        for _ in 0..50 {
            let before = boxes.shed();
            put(&mut boxes, &format!("u{n}"), &"x".repeat(length));
            n += 1;
            let shed = (boxes.shed() - before) as usize;
            assert!(shed <= (length + 1_000) / each + 2, "{shed} for {length} bytes");
            boxes.take_losses();
        }
    }
}

#[test]
fn the_mailbox_that_a_user_has_written_to_is_found_until_it_is_given_up_and_no_other_is_taken_for_it()
 {
    let mut boxes = Mailboxes::new(Limits::default());
    let alice = connect(&mut boxes, "alice", "phone", Last::Nothing).key;
    boxes.keep_cid(alice, 1, 1, (1, 0), 0);
    assert_eq!(boxes.find_peer(alice, "bob"), None);
    put(&mut boxes, "bob", "one");
    put(&mut boxes, "eve", "one");
    let (bob, eve) = (boxes.find("bob"), boxes.find("eve"));
    for (user, mailbox) in [("bob", bob), ("bob", bob), ("eve", eve), ("bob", bob)] {
        assert_eq!(boxes.find_peer(alice, user), mailbox, "{user}");
    }
    boxes.forget(bob.expect("the mailbox of bob"));
    put(&mut boxes, "carol", "one");
    assert_eq!(boxes.find("carol"), bob, "the mailbox of carol has the place of the one of bob");
    assert_eq!(boxes.find_peer(alice, "bob"), None);
    assert_eq!(boxes.find_peer(alice, "carol"), boxes.find("carol"));
}
