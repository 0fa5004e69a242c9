//! What fragments of messages cost those who send them, and how little they cost the server.

use std::time::Duration;

use longlink::Config;

use crate::*;
use longlink::sim::frames::{Got, frame, handshake, request, text};

/// A hub that allows ten messages a second, ten of them at once.
fn slow() -> Link {
    let mut config = Config::default();
    config.message_rate = 10;
    config.rate_burst = Duration::from_secs(1);
    link_with(config)
}

/// A text in fragments of `size` bytes.
fn fragments(message: &str, size: usize) -> Vec<u8> {
    let pieces = message.as_bytes().chunks(size);
    let last = pieces.len() - 1;
    let first = |n: usize| u8::from(n == 0) | if n == last { 0x80 } else { 0 };
    pieces.enumerate().flat_map(|(n, piece)| frame(first(n), piece, [1, 2, 3, 4])).collect()
}

#[test]
fn empty_fragments_are_taken_no_faster_than_messages() {
    let mut link = slow();
    link.read_size = 600;
    let a = enter(&mut link, "A");
    link.advance(1_000);
    let empty = frame(0x00, b"", [1, 2, 3, 4]);
    link.send(a, &frame(0x01, b"a", [1, 2, 3, 4]));
    link.send(a, &empty.repeat(10_000));
    link.advance(1_000);
    let taken = 10_000 - link.pipes[a].to_server.len() / empty.len();
    assert!(taken <= 20 + 100, "{taken} in a second, a read that waits among them");
    assert!(link.hub.stats().held_back > 0);
    link.reset(a, std::io::ErrorKind::ConnectionReset);
    link.advance(20_000);
    leak_check(link);
}

#[test]
fn a_message_in_fragments_of_one_byte_costs_as_much_as_that_many_messages() {
    let mut link = slow();
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.advance(1_000);
    let message = to("B", &"x".repeat(70));
    link.send(a, &fragments(&message, 1));
    let seconds = message.len() as u64 / 10 - 1;
    link.advance((seconds - 1) * 1_000);
    assert!(link.pipes[b].texts().is_empty(), "the message is held back");
    link.advance(2_000);
    assert_eq!(link.pipes[b].texts(), [from("A", "B", &"x".repeat(70))]);
    leak_check(link);
}

#[test]
fn a_long_message_in_fragments_of_a_usual_size_costs_no_more_than_in_one() {
    for size in [1_024, 4_096, 60_000] {
        let mut link = slow();
        let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
        link.advance(1_000);
        let message = to("B", &"x".repeat(65_000));
        let bytes = fragments(&message, size).repeat(5);
        // The bytes come in the segments of a network.
        bytes.chunks(1_400).for_each(|segment| link.send(a, segment));
        link.settle();
        assert_eq!(link.pipes[b].texts().len(), 5, "in fragments of {size}");
        assert_eq!(link.hub.stats().held_back, 0, "in fragments of {size}");
        leak_check(link);
    }
}

#[test]
fn fragments_count_as_work_and_do_not_keep_other_connections_from_being_handled() {
    let mut config = Config::default();
    config.message_rate = 0;
    config.work_per_turn = 20;
    let mut link = link_with(config);
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.send(a, &frame(0x01, b"a", [1, 2, 3, 4]));
    link.send(a, &frame(0x00, b"", [1, 2, 3, 4]).repeat(5_000));
    link.turn();
    link.send(b, &text(PING));
    link.turn();
    link.turn();
    assert_eq!(link.pipes[b].texts(), [r#"{"type":"pong"}"#]);
    let before = link.turns;
    link.settle();
    assert!(link.turns - before > 200, "{} turns", link.turns - before);
    leak_check(link);
}

#[test]
fn input_that_waits_for_its_rate_is_not_copied_at_each_message() {
    let mut link = slow();
    let a = enter(&mut link, "A");
    link.advance(1_000);
    link.send(a, &text(PING).repeat(1_000));
    link.settle();
    let (mut sizes, mut last) = (0, 0);
    while link.hub.buffered_input() > 0 {
        let size = link.hub.buffered_input();
        sizes += u32::from(size != last);
        last = size;
        link.advance(100);
    }
    assert_eq!(link.pipes[a].texts().len(), 1_000);
    assert!(
        sizes <= 12,
        "the input was moved {sizes} times, and not only when half of it was handled"
    );
    leak_check_later(link);
}

#[test]
fn requests_that_wait_behind_answers_are_not_copied_at_each_answer() {
    let mut config = Config::default();
    config.work_per_turn = 2;
    let mut link = link_with(config);
    let a = link.connect().unwrap();
    link.send(a, &request("GET", "/healthz", "").repeat(90));
    link.send(a, &handshake("/websocket/A", ""));
    let (mut sizes, mut last) = (0, 0);
    while link.is_busy() {
        link.turn();
        let size = link.hub.buffered_input();
        sizes += u32::from(size != last);
        last = size;
    }
    assert_eq!(statuses(&link, a), [[200; 90].as_slice(), &[101]].concat());
    assert!(sizes <= 10, "{sizes}");
    assert!(matches!(link.pipes[a].got.last(), Some(Got::Http(101, ..))));
    leak_check(link);
}

#[test]
fn a_ping_between_the_fragments_of_the_longest_message_is_answered() {
    let mut config = Config::default();
    config.max_message = 100;
    let mut link = link_with(config);
    let a = enter(&mut link, "A");
    link.send(a, &frame(0x01, &[b'x'; 100], [1, 2, 3, 4]));
    link.send(a, &frame(0x89, b"there?", [1, 2, 3, 4]));
    link.settle();
    assert_eq!(link.pipes[a].got.last(), Some(&Got::Pong(b"there?".to_vec())));
    leak_check(link);
}
