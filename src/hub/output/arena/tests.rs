//! What the buffers of turns hold, keep for later turns, and give back.

use std::io::IoSlice;

use super::*;
use crate::sim::frames::{TEXT, handshake, server_frame};

#[test]
fn a_turn_is_reused_when_all_of_it_was_written() {
    let mut arena = Arena::default();
    for _ in 0..3 {
        let segment = arena.put_frame(frame::TEXT, b"hello");
        assert_eq!(segment, Segment { turn: 0, start: 0, end: 7 });
        arena.retain_current(1);
        assert_eq!(arena.slice(segment), b"\x81\x05hello");
        arena.release(segment.turn);
        arena.end_turn();
        assert_eq!((arena.held(), arena.past.len()), (0, 0));
    }
}

#[test]
fn an_unwritten_turn_outlives_later_ones() {
    let mut arena = Arena::default();
    let old = arena.put_frame(frame::TEXT, b"old");
    arena.retain_current(1);
    for _ in 0..5 {
        let new = arena.put_frame(frame::TEXT, &[b'n'; FULL]);
        arena.retain_current(1);
        arena.end_turn();
        arena.release(new.turn);
    }
    assert_eq!((arena.past.len(), arena.past_bytes), (5, 5 + 10 + FULL));
    assert_eq!(arena.slice(old), b"\x81\x03old");
    arena.release(old.turn);
    arena.put_frame(frame::TEXT, b"x");
    arena.end_turn();
    assert_eq!((arena.held(), arena.past.len()), (0, 0));
}

#[test]
fn a_fan_out_is_stored_once_for_all_who_wait() {
    let mut arena = Arena::default();
    let own = arena.put_frame(frame::TEXT, b"own");
    let all = arena.put_frame(frame::TEXT, &[b'a'; 1_000]);
    arena.mark_fan_out(all);
    let end = arena.put_frame(frame::TEXT, b"end");
    let whole = Segment { start: own.start + 2, ..end };
    let before = arena.held();
    let mut own_bytes = 0;
    let mut ranges = Vec::new();
    let mut bytes = Vec::new();
    for round in 0..50 {
        arena.durable(whole, |piece, chunks| {
            let slice = match piece {
                Lasting::Own(own) => {
                    own_bytes += own.len();
                    own
                }
                Lasting::Shared(range) => {
                    chunks.retain(range);
                    ranges.push(range);
                    chunks.slice(range)
                }
            };
            if round < 3 {
                bytes.extend_from_slice(slice);
            }
        });
    }
    assert_eq!(own_bytes, 50 * (own.len() - 2 + end.len()));
    assert!(arena.held() - before < 2 * all.len() + 4 * 1_024);
    assert_eq!(bytes, arena.slice(whole).repeat(3));
    arena.end_turn();
    for range in ranges {
        arena.chunks.release(range);
    }
    assert_eq!(arena.held(), 0);
}

#[test]
fn the_bytes_of_a_turn_are_copied_only_a_few_times_while_its_buffer_grows() {
    let mut arena = Arena::default();
    let mut sizes = Vec::new();
    for _ in 0..10_000 {
        arena.put(&[b'x'; 100]);
        sizes.push(arena.current.room.len());
    }
    sizes.dedup();
    assert!(sizes.len() < 10, "{sizes:?}");
}

#[test]
fn a_buffer_is_cut_before_offsets_into_it_leave_32_bits() {
    let mut arena = Arena::default();
    // The memory is zeroed when it is touched, which this test does not do.
    arena.current.room = vec![0; MAX_TURN + 100];
    (arena.current.used, arena.current.refs) = (MAX_TURN, 1);
    let last = arena.put(b"x");
    assert_eq!((last.turn, last.start as usize), (0, MAX_TURN));
    assert_eq!(arena.put(b"x"), Segment { turn: 1, start: 0, end: 1 });
    assert_eq!(arena.past_bytes, MAX_TURN + 1);
}

#[test]
fn a_head_is_the_header_of_the_whole_frame_and_the_beginning_of_its_payload() {
    let mut arena = Arena::default();
    let head = arena.put_head(frame::TEXT, 300, "12:");
    assert_eq!(arena.slice(head), b"\x81\x7e\x01\x2c12:");
    assert_eq!(arena.waiting(), head.len());
}

#[test]
fn a_segment_is_near_as_long_as_its_distance_and_its_turn_can_be_told() {
    let mut arena = Arena::default();
    let segment = Segment { turn: 0, start: 100, end: 200 };
    arena.current.used = 200;
    assert!(arena.is_near(segment));
    assert!(!arena.is_near(Segment { turn: 1, ..segment }), "it is in another turn");
    arena.current.used = 100 + FAR;
    assert!(arena.is_near(segment));
    arena.current.used += 1;
    assert!(!arena.is_near(segment), "it is too far behind");
    let late = Segment { turn: 0, start: MAX_TURN as u32 - 10, end: MAX_TURN as u32 };
    arena.current.used = MAX_TURN;
    assert!(arena.is_near(late));
    arena.current.used += 1;
    assert!(!arena.is_near(late), "what is put next lies in the next turn");
}

#[test]
fn the_memory_of_the_lists_of_fan_outs_is_counted_until_their_turn_is_over() {
    let mut arena = Arena::default();
    for _ in 0..3 {
        arena.put_fan_out(frame::TEXT, b"all");
    }
    assert_eq!((arena.listed(), arena.waiting()), (3 * size_of::<FanOut>(), 15));
    assert_eq!(arena.held(), arena.listed() + arena.waiting());
    arena.end_turn();
    assert_eq!((arena.listed(), arena.held()), (0, 0));
}

#[test]
fn a_message_for_nobody_takes_no_room_if_it_is_the_last_one() {
    let mut arena = Arena::default();
    let first = arena.put_fan_out(frame::TEXT, b"first");
    let last = arena.put_fan_out(frame::TEXT, b"last");
    arena.take_back(first);
    assert_eq!((arena.waiting(), arena.listed()), (13, 2 * size_of::<FanOut>()));
    arena.take_back(last);
    assert_eq!((arena.waiting(), arena.listed()), (7, size_of::<FanOut>()));
    assert_eq!(arena.put_frame(frame::TEXT, b"next").start, last.start);
    assert_eq!(arena.slice(first), b"\x81\x05first");
}

#[test]
fn the_buffer_of_a_long_message_for_nobody_is_given_back_at_the_end_of_the_turn() {
    let mut arena = Arena::default();
    let segment = arena.put(&vec![b'x'; 2 * SPARE_CAPACITY]);
    arena.take_back(segment);
    arena.end_turn();
    assert_eq!(arena.current.room.capacity(), 0);
}

/// A turn of `length` bytes that somebody has not got yet.
fn unwritten_turn(arena: &mut Arena, length: usize) -> u32 {
    let segment = arena.put(&vec![b'x'; length]);
    arena.retain_current(1);
    arena.end_turn();
    segment.turn
}

#[test]
fn a_few_buffers_of_past_turns_are_kept_for_later_turns_and_no_large_ones() {
    let mut arena = Arena::default();
    let large = unwritten_turn(&mut arena, SPARE_CAPACITY + 1);
    arena.release(large);
    assert!(arena.spares.is_empty());
    let turns: Vec<u32> = (0..SPARES + 2).map(|_| unwritten_turn(&mut arena, FULL)).collect();
    turns.into_iter().for_each(|turn| arena.release(turn));
    assert_eq!(arena.spares.len(), SPARES);
    for spare in &arena.spares {
        assert_eq!((spare.used, spare.refs, spare.room.len()), (0, 0, FULL));
    }
    unwritten_turn(&mut arena, FULL);
    assert_eq!((arena.spares.len(), arena.current.room.len()), (SPARES - 1, FULL));
}

#[test]
fn a_turn_that_was_written_keeps_its_buffer_unless_it_or_its_list_is_large() {
    let mut arena = Arena::default();
    arena.put(b"short");
    arena.end_turn();
    assert_eq!(arena.current.room.len(), LEAST_ROOM);
    arena.put(&vec![b'x'; SPARE_CAPACITY]);
    arena.end_turn();
    assert_eq!(arena.current.room.len(), SPARE_CAPACITY);
    arena.put(&vec![b'x'; SPARE_CAPACITY + 1]);
    arena.end_turn();
    assert_eq!(arena.current.room.capacity(), 0);
    for _ in 0..=SPARE_CAPACITY / size_of::<FanOut>() {
        arena.put_fan_out(frame::TEXT, b"x");
    }
    arena.end_turn();
    assert_eq!((arena.current.fan_outs.capacity(), arena.current.room.capacity()), (0, 0));
}

#[test]
fn bytes_in_front_of_a_fan_out_share_nothing_with_it() {
    let mut arena = Arena::default();
    let own = arena.put_frame(frame::TEXT, b"own");
    arena.put_fan_out(frame::TEXT, b"all");
    let mut pieces = 0;
    arena.durable(own, |piece, _| {
        assert!(matches!(piece, Lasting::Own(b"\x81\x03own")));
        pieces += 1;
    });
    assert_eq!((pieces, arena.chunks.held()), (1, 0));
}

#[test]
fn a_segment_of_the_current_turn_can_be_looked_at_directly_and_no_other() {
    let mut arena = Arena::default();
    assert_eq!(arena.current_slice(Segment::default()), None);
    let segment = arena.put(&[b'x'; FULL]);
    arena.retain_current(1);
    assert_eq!(arena.current_slice(segment), Some(&[b'x'; FULL][..]));
    arena.end_turn();
    arena.put(&[b'y'; FULL]);
    assert_eq!(arena.current_slice(segment), None, "the buffer is another one now");
    assert_eq!(arena.slice(segment), [b'x'; FULL]);
}

/// Sockets that keep what they take, and take everything.
#[derive(Default)]
struct Taking(Vec<u8>);

impl crate::hub::Sink for Taking {
    fn write(&mut self, _: usize, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, _: usize, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        slices.iter().for_each(|slice| self.0.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

/// Sends a message with a prefix to each of three connections when the buffer of the turn, to
/// which there are `refs` references, is cut between the rest and the first prefix. `length` is
/// that of the rest.
fn send_where_a_buffer_is_cut(refs: u32, length: usize) {
    let relay = crate::Relay::new(crate::RelayConfig::default());
    let mut config = crate::Config::default();
    (config.max_buffered, config.max_queue) = (16 << 30, 1 << 25);
    let now = std::time::Instant::now();
    let mut bare = crate::sim::Bare::new(config, relay, Taking::default(), now);
    let mut conns = Vec::new();
    for user in 0..3 {
        let conn = bare.open();
        bare.receive(conn, &handshake(&format!("/websocket/{user}"), ""));
        conns.push(conn);
    }
    bare.settle();
    bare.sink.0.clear();
    let arena = &mut bare.hub.output.arena;
    // This memory is zeroed when it is touched, and this test touches only its end.
    arena.current.room = vec![0; MAX_TURN + length];
    (arena.current.used, arena.current.refs) = (MAX_TURN - 100, refs);
    let rest = "r".repeat(length);
    let receivers = bare.hub.fan_out(&rest, |out| {
        conns.iter().for_each(|conn| assert!(out.send(*conn, "1:")));
    });
    assert_eq!(receivers, 3);
    let whole = server_frame(TEXT, format!("1:{rest}").as_bytes());
    for conn in conns {
        let pending = bare.hub.pending(conn).expect("a message waits");
        let mut slices = [IoSlice::new(&[]); 4];
        let count = pending.gather(&mut slices);
        let slices: Vec<&[u8]> = slices[..count].iter().map(|slice| &**slice).collect();
        assert!(slices.concat() == whole);
    }
    let mut budget = 10;
    while bare.hub.write(&mut bare.sink, &mut budget).is_some() {}
    assert!(bare.sink.0 == whole.repeat(3));
    // Only the references that this test has made up are left.
    let arena = &bare.hub.output.arena;
    let left = arena.past.iter().map(|turn| turn.refs).sum::<u32>() + arena.current.refs;
    assert_eq!(left, refs);
}

#[test]
fn a_buffer_may_be_cut_between_the_rest_of_a_message_and_its_first_prefix() {
    for refs in [0, 1] {
        for length in [300, FAR / 2 + 1] {
            send_where_a_buffer_is_cut(refs, length);
        }
    }
}
