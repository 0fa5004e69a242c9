//! Tests of how bytes become messages: whole, in pieces, and wrong.

use super::*;
use crate::sim::frames::masked;

/// Messages up to this length, and no longer ones.
fn longest(message: usize) -> Longest {
    Longest { message, dropped: 0 }
}

/// Feeds `bytes` in pieces of `step`, and writes down what came out.
fn run(bytes: &[u8], step: usize) -> (Vec<String>, Option<Violation>) {
    let mut partial = None;
    let mut seen = Vec::new();
    for piece in bytes.chunks(step) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            match decode(&mut partial, &mut piece[at..], longest(70_000)) {
                Ok((used, event)) => {
                    at += used;
                    if let Some(event) = event.filter(|it| !matches!(it, Event::Fragment(_))) {
                        let text = format!("{event:?}");
                        seen.push(text.chars().take(60).collect());
                    }
                }
                Err(violation) => return (seen, Some(violation)),
            }
        }
    }
    (seen, None)
}

#[test]
fn the_events_are_the_same_wherever_the_bytes_are_cut() {
    let mut bytes = masked(0x81, "你好, hub".as_bytes());
    bytes.extend(masked(0x01, &"长".as_bytes()[..2]));
    bytes.extend(masked(0x89, b"are you there"));
    bytes.extend(masked(0x00, &"长".as_bytes()[2..]));
    bytes.extend(masked(0x8A, b""));
    bytes.extend(masked(0x80, b" link"));
    bytes.extend(masked(0x82, &[7; 300]));
    bytes.extend(masked(0x82, &[8; 66_000]));
    bytes.extend(masked(0x81, b""));
    bytes.extend(masked(0x88, b"\x03\xe8"));
    let (whole, violation) = run(&bytes, bytes.len());
    assert_eq!(violation, None);
    assert_eq!(whole.len(), 8);
    assert!(whole[2].contains("Pong"), "{whole:?}");
    assert!(whole[3].contains("长 link"), "{whole:?}");
    for step in [1, 2, 3, 5, 7, 64, 1000, 65_536] {
        assert_eq!(run(&bytes, step), (whole.clone(), None), "in steps of {step}");
    }
}

#[test]
fn a_bad_byte_fails_the_message_before_its_end() {
    let bytes = masked(0x81, b"good \xff and a long rest that never comes");
    assert_eq!(run(&bytes[..12], 12).1, Some(Violation::InvalidUtf8));
    let bytes = masked(0x81, b"\xf4\x90\x80\x80");
    assert_eq!(run(&bytes[..8], 1).1, Some(Violation::InvalidUtf8));
    let half = masked(0x81, &"长".as_bytes()[..2]);
    assert_eq!(run(&half, half.len()).1, Some(Violation::InvalidUtf8));
}

#[test]
fn the_order_and_the_sizes_of_frames_are_checked() {
    let mut twice = masked(0x01, b"a");
    twice.extend(masked(0x01, b"b"));
    assert_eq!(run(&twice, 3).1, Some(Violation::BadFragment));
    assert_eq!(run(&masked(0x80, b"a"), 9).1, Some(Violation::BadFragment));
    let mut long = masked(0x02, &[0; 40_000]);
    long.extend(masked(0x80, &[0; 40_000]));
    assert_eq!(run(&long, 1_000).1, Some(Violation::TooBig));
    assert_eq!(
        run(&[0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4], 14).1,
        Some(Violation::TooBig)
    );
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut partial = None;
    let mut input = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 9];
    let (used, event) = decode(&mut partial, &mut input, longest(70_000)).unwrap();
    assert_eq!((used, event), (15, None));
    assert!(partial.unwrap().capacity() <= 2);
}

#[test]
fn a_buffer_of_small_fragments_grows_by_doubling_and_not_above_the_longest_message() {
    let mut partial = None;
    let mut capacities = Vec::new();
    for n in 0..1_000 {
        let first = if n == 0 { 0x02 } else { 0x00 };
        let mut fragment = masked(first, b"x");
        let (_, event) = decode(&mut partial, &mut fragment, longest(1_001)).unwrap();
        assert_eq!(event, Some(Event::Fragment(1)));
        let capacity = partial.as_ref().unwrap().capacity();
        if capacities.last() != Some(&capacity) {
            capacities.push(capacity);
        }
    }
    assert!(capacities.len() <= 11, "{capacities:?}");
    assert!(capacities.iter().all(|capacity| *capacity <= 1_001), "{capacities:?}");
}

#[test]
fn each_fragment_is_an_event_with_its_length_however_it_is_cut() {
    let bytes = [masked(0x02, &[1; 300]), masked(0x00, b""), masked(0x00, &[2; 70])].concat();
    for step in [1, 3, 64, bytes.len()] {
        let mut partial = None;
        let mut lengths = Vec::new();
        for piece in bytes.chunks(step) {
            let (mut piece, mut at) = (piece.to_vec(), 0);
            while at < piece.len() {
                let (used, event) = decode(&mut partial, &mut piece[at..], longest(1_000)).unwrap();
                at += used;
                match event {
                    Some(Event::Fragment(length)) => lengths.push(length),
                    other => assert_eq!(other, None),
                }
            }
        }
        assert_eq!(lengths, [300, 0, 70], "in steps of {step}");
    }
}

/// What becomes of a message of which too much arrives, in fragments and between others.
#[test]
fn a_message_that_is_too_long_is_dropped_as_it_arrives_and_the_next_one_is_handed_out() {
    let mut bytes = masked(0x01, &[b'a'; 600]);
    bytes.extend(masked(0x89, b"between"));
    bytes.extend(masked(0x00, &[0xFF; 500]));
    bytes.extend(masked(0x80, b""));
    bytes.extend(masked(0x81, b"next"));
    bytes.extend(masked(0x82, &[0xFF; 4_000]));
    bytes.extend(masked(0x82, b"last"));
    for step in [1, 7, 64, 1_000, bytes.len()] {
        let (mut partial, mut seen, mut most) = (None, Vec::new(), 0);
        for piece in bytes.chunks(step) {
            let (mut piece, mut at) = (piece.to_vec(), 0);
            while at < piece.len() {
                let bounds = Longest { message: 1_000, dropped: 4_000 };
                let (used, event) = decode(&mut partial, &mut piece[at..], bounds).unwrap();
                at += used;
                match event {
                    Some(Event::Dropped { is_last: true }) => seen.push("dropped".to_owned()),
                    Some(Event::Dropped { .. } | Event::Fragment(_)) | None => {}
                    Some(event) => seen.push(format!("{event:?}")),
                }
                most = most.max(partial.as_ref().map_or(0, |partial| partial.capacity()));
            }
        }
        let ping = format!("{:?}", Event::Ping(b"between"));
        let next = format!("{:?}", Event::Message(Message::Text("next")));
        let last = format!("{:?}", Event::Message(Message::Binary(b"last")));
        assert_eq!(seen, [&*ping, "dropped", &next, "dropped", &last], "in steps of {step}");
        // With the payload of a control frame.
        assert!(most <= 1_200, "{most} bytes were kept in steps of {step}");
    }
}

#[test]
fn a_message_that_is_too_long_to_be_dropped_is_a_violation() {
    let bounds = Longest { message: 1_000, dropped: 4_000 };
    let mut partial = None;
    let mut frame = masked(0x82, &[0; 4_001]);
    assert_eq!(decode(&mut partial, &mut frame, bounds).unwrap_err(), Violation::TooBig);
    let mut partial = None;
    let mut first = masked(0x02, &[0; 3_000]);
    assert!(decode(&mut partial, &mut first, bounds).is_ok());
    let mut second = masked(0x80, &[0; 1_001]);
    assert_eq!(decode(&mut partial, &mut second, bounds).unwrap_err(), Violation::TooBig);
}

#[test]
fn nothing_is_held_after_a_message_was_taken() {
    let mut partial = None;
    let bytes = masked(0x82, &[1; 500]);
    let (mut head, mut tail) = (bytes[..100].to_vec(), bytes[100..].to_vec());
    decode(&mut partial, &mut head, longest(1_000)).unwrap();
    assert!(!partial.as_ref().unwrap().is_idle());
    let (_, event) = decode(&mut partial, &mut tail, longest(1_000)).unwrap();
    assert!(event.is_some());
    assert!(partial.as_ref().unwrap().is_idle());
}
