//! What a queue hands out, what it lists, and what it says that it holds.

use super::*;
use crate::sim::Rng;
use crate::wire::ws::frame::TEXT;

fn all(out: &Outbound, arena: &Arena) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 64];
    let count = out.gather(arena, &mut slices);
    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

/// The payload of a frame that is too long to be copied behind another one.
const LONG: [u8; 600] = [b'x'; 600];

/// Queues a segment, and counts it.
fn push(out: &mut Outbound, segment: Segment, arena: &mut Arena) -> u32 {
    let refs = out.push(segment, arena);
    arena.retain_current(refs);
    refs
}

/// The bytes that the arena counts for queues whose sockets have blocked.
fn durable(arena: &Arena) -> usize {
    arena.held() - arena.chunks.held() - arena.listed() - arena.waiting()
}

fn pieces(out: &Outbound) -> &VecDeque<Piece> {
    &out.backlog.as_ref().expect("a list").pieces
}

/// The kinds of a queue's pieces, and how many bytes each has.
fn kinds(out: &Outbound) -> Vec<(&'static str, usize)> {
    let kind = |piece: &Piece| match piece {
        Piece::Turn(segment) => ("turn", segment.len()),
        Piece::Shared(range) => ("shared", range.len()),
        Piece::Owned(bytes) => ("owned", bytes.len()),
    };
    pieces(out).iter().map(kind).collect()
}

/// What the list says of its pieces is what they are.
fn assert_counted(backlog: &Backlog, arena: &Arena) {
    let (mut bytes, mut owned) = (0, 0);
    for piece in &backlog.pieces {
        bytes += piece.slice(arena).len();
        owned += if let Piece::Owned(own) = piece { own.capacity() + OVERHEAD } else { 0 };
    }
    assert_eq!((backlog.bytes, backlog.owned), (bytes - backlog.written, owned));
    assert_eq!(backlog.counted, backlog.held());
}

/// Random pushes, writes and blocks against a plain byte vector.
#[test]
fn the_bytes_of_a_queue_are_written_in_order_after_any_operations() {
    let mut rng = Rng::new(1);
    let mut random = |below: u64| rng.below(below);
    for _ in 0..200 {
        let mut arena = Arena::default();
        let mut outs: Vec<Outbound> = (0..3).map(|_| Outbound::default()).collect();
        let mut models = vec![Vec::new(); 3];
        let mut blocked = [false; 3];
        for step in 0..200u32 {
            match random(7) {
                0..=2 => {
                    let payload = vec![step as u8; random(40) as usize];
                    let segment = arena.put_frame(TEXT, &payload);
                    let fan_out = random(2) == 0;
                    if fan_out {
                        arena.mark_fan_out(segment);
                    }
                    let bytes = arena.slice(segment).to_vec();
                    for i in 0..3 {
                        if !fan_out && i != step as usize % 3 {
                            continue;
                        }
                        models[i].extend_from_slice(&bytes);
                        if blocked[i] {
                            outs[i].push_durable(segment, &mut arena);
                        } else {
                            let refs = outs[i].push(segment, &mut arena);
                            arena.retain_current(refs);
                        }
                    }
                }
                6 => {
                    let rest = arena.put(&vec![step as u8; 1 + random(40) as usize]);
                    arena.mark_fan_out(rest);
                    for i in 0..3 {
                        let head = arena.put(&vec![i as u8; 1 + random(300) as usize]);
                        models[i].extend_from_slice(arena.slice(head));
                        models[i].extend_from_slice(arena.slice(rest));
                        if blocked[i] {
                            outs[i].push_durable(head, &mut arena);
                            outs[i].push_durable(rest, &mut arena);
                        } else {
                            outs[i].push_headed(head, rest, &mut arena);
                        }
                    }
                }
                3 => {
                    let i = random(3) as usize;
                    let n = random(outs[i].len() as u64 + 1) as usize;
                    outs[i].advance(n, &mut arena);
                    models[i].drain(..n);
                    if blocked[i] && outs[i].is_empty() {
                        blocked[i] = false;
                    }
                }
                4 => {
                    let i = random(3) as usize;
                    blocked[i] = true;
                    outs[i].make_durable(&mut arena);
                }
                _ => arena.end_turn(),
            }
            for i in 0..3 {
                assert_eq!(outs[i].len(), models[i].len());
                let seen = all(&outs[i], &arena);
                assert!(models[i].starts_with(&seen));
                if let Some(backlog) = &outs[i].backlog {
                    assert_counted(backlog, &arena);
                }
            }
        }
        for (out, model) in outs.iter_mut().zip(&models) {
            while !out.is_empty() {
                let seen = all(out, &arena);
                assert!(model.ends_with(&seen) || out.len() > seen.len());
                out.advance(seen.len(), &mut arena);
            }
        }
        arena.end_turn();
        arena.end_turn();
        assert_eq!(arena.held(), 0, "nothing is leaked");
    }
}

#[test]
fn an_idle_queue_is_small() {
    assert!(size_of::<Outbound>() <= 24);
}

#[test]
fn frames_that_follow_one_another_are_one_slice_and_take_no_list() {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    let first = arena.put_frame(TEXT, b"a");
    let second = arena.put_frame(TEXT, b"b");
    assert_eq!(push(&mut out, first, &mut arena), 1);
    assert_eq!(push(&mut out, second, &mut arena), 0);
    assert!(out.backlog.is_none());
    assert_eq!(out.single(&arena), Some(&b"\x81\x01a\x81\x01b"[..]));
    assert_eq!(out.current(&arena), out.single(&arena));
    // What lies behind something for another begins a piece, and the next frame goes on with it.
    arena.put_frame(TEXT, b"other");
    let third = arena.put_frame(TEXT, &LONG);
    let fourth = arena.put_frame(TEXT, b"d");
    assert_eq!(push(&mut out, third, &mut arena), 1);
    assert_eq!(push(&mut out, fourth, &mut arena), 0);
    assert_eq!(kinds(&out), [("turn", third.len() + 3)]);
    assert_eq!((out.single(&arena), out.current(&arena)), (None, None));
    out.clear(&mut arena);
}

#[test]
fn short_frames_that_lie_apart_are_copied_behind_each_other_up_to_a_bound() {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    let mut other = Outbound::default();
    let mut expected = Vec::new();
    let first = arena.put_frame(TEXT, b"for both");
    assert_eq!(push(&mut other, first, &mut arena), 1);
    assert_eq!(push(&mut out, first, &mut arena), 1);
    expected.extend_from_slice(arena.slice(first));
    while out.backlog.is_none() {
        arena.put_frame(TEXT, b"for another");
        let next = arena.put_frame(TEXT, &[b'x'; 100]);
        assert!(expected.len() < 512, "only short frames are copied");
        expected.extend_from_slice(arena.slice(next));
        if push(&mut out, next, &mut arena) == 0 {
            assert_eq!((out.single(&arena), out.len()), (Some(&expected[..]), expected.len()));
        }
    }
    assert!(expected.len() > 512);
    assert_eq!(all(&out, &arena), expected);
    assert_eq!(other.single(&arena), Some(arena.slice(first)), "it is still in its place");
    out.clear(&mut arena);
    other.clear(&mut arena);
    arena.end_turn();
    assert_eq!(arena.held(), 0);
}

#[test]
fn a_list_of_a_queue_that_takes_bytes_counts_when_it_is_longer_than_a_few_pieces() {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    for count in 0..=FEW + 1 {
        let segment = arena.put_frame(TEXT, &LONG);
        push(&mut out, segment, &mut arena);
        arena.put_frame(TEXT, b"for another");
        let counted = if count > FEW { FEW * size_of::<Piece>() } else { 0 };
        assert_eq!(arena.listed(), counted, "{count} pieces");
    }
    out.clear(&mut arena);
    assert_eq!(arena.listed(), 0);
}

#[test]
fn a_queue_whose_socket_has_blocked_counts_its_list_its_bytes_and_its_share_of_fan_outs() {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    let own = arena.put(&[b'x'; 100]);
    push(&mut out, own, &mut arena);
    assert_eq!((out.stalled(&arena), durable(&arena)), (0, 0), "it has not blocked");
    out.make_durable(&mut arena);
    let list = size_of::<Backlog>() + FEW * size_of::<Piece>();
    let counted = list + 100 + OVERHEAD;
    assert_eq!((out.stalled(&arena), durable(&arena)), (counted, counted));
    let all = arena.put(&[b'y'; 200]);
    arena.mark_fan_out(all);
    let mut other = Outbound::default();
    for out in [&mut out, &mut other] {
        out.push_durable(all, &mut arena);
    }
    // The half of the chunk is less than what each of the two is to be sent of it.
    assert_eq!(out.stalled(&arena), counted + 200);
    assert_eq!((other.stalled(&arena), durable(&arena)), (list + 200, counted + list));
    out.advance(100, &mut arena);
    assert_eq!((out.stalled(&arena), durable(&arena)), (list + 200, 2 * list));
    out.clear(&mut arena);
    // Now the whole chunk is held for the other one.
    assert_eq!(other.stalled(&arena), list + arena.chunks.held());
    other.clear(&mut arena);
    assert_eq!((durable(&arena), arena.chunks.held()), (0, 0));
}

#[test]
fn bytes_of_ones_own_are_joined_up_to_a_bound() {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    for _ in 0..3 {
        let segment = arena.put(&[b'x'; JOINED / 2]);
        out.push_durable(segment, &mut arena);
    }
    assert_eq!(kinds(&out), [("owned", JOINED), ("owned", JOINED / 2)]);
    assert_counted(out.backlog.as_ref().unwrap(), &arena);
    out.clear(&mut arena);
}

#[test]
fn fan_outs_that_follow_one_another_are_one_piece_and_others_are_listed_or_copied() {
    let (mut arena, mut out, mut other) =
        (Arena::default(), Outbound::default(), Outbound::default());
    let put = |length: usize, outs: &mut [&mut Outbound], arena: &mut Arena| {
        let segment = arena.put(&vec![b'x'; length]);
        arena.mark_fan_out(segment);
        outs.iter_mut().for_each(|out| out.push_durable(segment, arena));
    };
    let own = arena.put(b"own");
    out.push_durable(own, &mut arena);
    // The first one of a chunk is listed however short it is, as others may follow it.
    put(10, &mut [&mut out, &mut other], &mut arena);
    put(10, &mut [&mut out, &mut other], &mut arena);
    assert_eq!(kinds(&out), [("owned", 3), ("shared", 20)]);
    put(10, &mut [&mut other], &mut arena);
    put(10, &mut [&mut out, &mut other], &mut arena);
    assert_eq!(kinds(&out), [("owned", 3), ("shared", 20), ("owned", 10)], "it is short");
    put(10, &mut [&mut other], &mut arena);
    put(100, &mut [&mut out, &mut other], &mut arena);
    assert_eq!(kinds(&out)[3..], [("shared", 100)]);
    assert_eq!(kinds(&other), [("shared", 150)]);
    let queued = all(&out, &arena);
    assert_eq!(queued, [&b"own"[..], &[b'x'; 130]].concat());
    out.clear(&mut arena);
    other.clear(&mut arena);
}

#[test]
fn small_fan_outs_between_messages_to_others_are_not_listed_one_by_one() {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    let put = |length: usize, out: &mut Outbound, arena: &mut Arena| {
        let segment = arena.put(&vec![b'x'; length]);
        arena.mark_fan_out(segment);
        let refs = out.push_fan_out(segment, arena);
        arena.retain_current(refs);
        arena.put(b"for another");
    };
    for _ in 0..20 {
        put(10, &mut out, &mut arena);
    }
    // The first one is no piece, and the list has room for a few.
    assert_eq!(kinds(&out), [("turn", 10), ("turn", 10), ("turn", 10), ("shared", 160)]);
    put(SMALL, &mut out, &mut arena);
    assert_eq!(kinds(&out)[3..], [("shared", 160 + SMALL)]);
    put(SMALL + 1, &mut out, &mut arena);
    assert_eq!(kinds(&out)[4..], [("turn", SMALL + 1)]);
    assert_eq!(all(&out, &arena).len(), out.len());
    out.clear(&mut arena);
}

#[test]
fn the_place_of_a_head_is_kept_beside_that_of_the_rest_if_it_is_near_and_short() {
    let rest = Segment { turn: 3, start: 500, end: 900 };
    let head = |start: usize, length: usize| Segment {
        turn: 3,
        start: start as u32,
        end: (start + length) as u32,
    };
    for (start, length) in [(900, 1), (900, LONGEST_HEAD), (500 + FAR, LONGEST_HEAD)] {
        let kept = Head::of(head(start, length), rest).expect("it is near and short");
        assert_eq!((kept.len(), kept.segment(rest)), (length, head(start, length)));
        assert!(!kept.is_none());
    }
    assert!(Head::default().is_none());
    for far in [head(900, LONGEST_HEAD + 1), head(501 + FAR, 1), head(400, 10)] {
        assert!(Head::of(far, rest).is_none(), "{far:?}");
    }
    let elsewhere = Segment { turn: 4, ..head(900, 1) };
    assert!(Head::of(elsewhere, rest).is_none());
}

/// A message of a head and a rest, and the arena with both.
fn headed(head: usize) -> (Arena, Outbound, Vec<u8>) {
    let (mut arena, mut out) = (Arena::default(), Outbound::default());
    let rest: Vec<u8> = (0..40).collect();
    let behind = arena.put(&rest);
    arena.mark_fan_out(behind);
    let head: Vec<u8> = (0..head).map(|byte| 255 - (byte % 200) as u8).collect();
    let first = arena.put(&head);
    out.push_headed(first, behind, &mut arena);
    (arena, out, [head, rest].concat())
}

#[test]
fn a_message_with_a_head_is_written_whole_wherever_its_socket_stops() {
    for written in 0..=60 {
        for blocks in [false, true] {
            let (mut arena, mut out, whole) = headed(20);
            assert!(out.backlog.is_none(), "it takes no list");
            assert_eq!(out.single(&arena), None);
            out.advance(written, &mut arena);
            let is_listed = out.backlog.is_some();
            assert_eq!(is_listed, (1..20).contains(&written), "after {written} bytes");
            if blocks {
                out.make_durable(&mut arena);
                // The turn is over, and no queue points to it.
                arena.end_turn();
                assert_eq!(arena.waiting(), 0);
            }
            assert_eq!(out.len(), 60 - written);
            assert_eq!(all(&out, &arena), whole[written..], "{written} bytes, {blocks}");
            assert_eq!(out.is_empty(), written == 60);
            out.clear(&mut arena);
            arena.end_turn();
            assert_eq!(arena.held(), 0);
        }
    }
}

#[test]
fn a_long_head_is_listed_with_its_rest() {
    let (mut arena, mut out, whole) = headed(LONGEST_HEAD + 1);
    assert_eq!(all(&out, &arena), whole);
    out.advance(10, &mut arena);
    assert_eq!(all(&out, &arena), whole[10..]);
    out.clear(&mut arena);
    arena.end_turn();
    assert_eq!(arena.held(), 0);
}

#[test]
fn a_long_list_that_is_mostly_empty_is_cut_and_a_short_one_is_kept() {
    for pieces_at_first in [ROOM, 8 * ROOM] {
        let (mut arena, mut out) = (Arena::default(), Outbound::default());
        let own = |arena: &mut Arena| {
            arena.put(b"for another");
            arena.put(&LONG)
        };
        // The first one is no piece.
        for _ in 0..=pieces_at_first {
            let segment = own(&mut arena);
            push(&mut out, segment, &mut arena);
        }
        out.advance(LONG.len(), &mut arena);
        let mut room = pieces(&out).capacity();
        assert_eq!(room, pieces_at_first);
        for left in (1..pieces_at_first).rev() {
            out.advance(LONG.len(), &mut arena);
            if room > ROOM && left < room / 4 {
                room = 2 * left;
            }
            assert_eq!((pieces(&out).len(), pieces(&out).capacity()), (left, room));
        }
        out.clear(&mut arena);
        assert_eq!(arena.listed(), 0);
    }
}
