//! The exact bounds at which senders wait, messages are refused and connections are ended.

use std::io::{self, ErrorKind, IoSlice};
use std::time::Instant;

use super::arena::{Arena, FAR, Segment};
use crate::hub::table::record::Phase;
use crate::hub::{Accept, Config, ConnId, Context, Handler, Reject, Sent, Upgrade};
use crate::sim::Bare;
use crate::sim::frames::{TEXT, handshake, server_frame};
use crate::wire::ws::decode::Message;

/// A handler that lets everyone in and says nothing.
struct Silent;

impl Handler for Silent {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::anonymous())
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, (): &mut (), _: Message<'_>) {}
}

/// Sockets that take everything, or nothing.
struct Sockets {
    take: bool,
}

impl super::Sink for Sockets {
    fn write(&mut self, _: usize, bytes: &[u8]) -> io::Result<usize> {
        if self.take { Ok(bytes.len()) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(index, slice)).sum()
    }
}

type World = Bare<Silent, Sockets>;

/// A hub with these bounds, and so many open connections.
fn world(max_buffered: usize, max_queue: usize, count: usize) -> (World, Vec<ConnId>) {
    let mut config = Config::default();
    (config.max_message, config.max_per_address) = (max_queue / 4, 0);
    (config.max_buffered, config.max_queue) = (max_buffered, max_queue);
    let mut world = Bare::new(config, Silent, Sockets { take: true }, Instant::now());
    let conns = (0..count).map(|_| enter(&mut world)).collect();
    (world, conns)
}

fn enter(world: &mut World) -> ConnId {
    let conn = world.open();
    world.receive(conn, &handshake("/", ""));
    world.settle();
    assert!(world.hub.is_open(conn));
    conn
}

/// A text whose frame takes so many bytes, of which four are its header.
fn frame_of(bytes: usize) -> String {
    "x".repeat(bytes - 4)
}

#[test]
fn bytes_that_transports_hold_are_counted_until_they_are_written_or_the_transport_ends() {
    let (mut world, conns) = world(1 << 20, 1 << 16, 2);
    let cx: &mut Context = &mut world.hub;
    let held = |cx: &Context| (cx.buffered_by_transports(), cx.buffered());
    for (conn, holds, all) in
        [(0, 0, 0), (0, 1_000, 1_000), (1, 500, 1_500), (0, 300, 800), (1, 0, 300)]
    {
        cx.note_transport(conns[conn], holds);
        assert_eq!(held(cx), (all, all));
    }
    cx.abort(conns[0]);
    assert_eq!(held(cx), (0, 0));
    cx.note_transport(conns[1], 70);
    cx.note_transport(conns[0], 700);
    assert_eq!(held(cx), (70, 70), "one that has ended holds nothing");
    world.hub.abort(conns[1]);
    world.settle();
    assert_eq!(held(&world.hub), (0, 0));
}

#[test]
fn when_memory_is_full_the_largest_connection_ends_and_bytes_of_this_turn_count_for_none() {
    let (mut world, conns) = world(10_000, 8_000, 3);
    let cx: &mut Context = &mut world.hub;
    cx.note_transport(conns[0], 4_500);
    cx.note_transport(conns[1], 3_000);
    assert!(cx.send(conns[2], &frame_of(2_500)));
    cx.relieve();
    assert_eq!(cx.stats().relieved, 0, "all of the memory may be used");
    for bytes in [2_400, 5_000] {
        assert!(cx.send(conns[2], &frame_of(bytes)));
    }
    assert_eq!(cx.waiting_for_writes(), 9_900);
    // Less than a half of the memory is left for others than those that wait for their turn.
    cx.note_transport(conns[1], 4_000);
    cx.relieve();
    assert_eq!(cx.stats().relieved, 1);
    assert_eq!(conns.iter().map(|conn| cx.is_open(*conn)).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(cx.buffered_by_transports(), 4_000, "it has ended with its transport");
    world.settle();
    assert_eq!(world.hub.buffered(), 4_000);
}

#[test]
fn senders_wait_when_a_byte_more_than_a_quarter_of_the_memory_waits_for_its_turn() {
    let (mut world, conns) = world(40_000, 30_000, 1);
    let cx: &mut Context = &mut world.hub;
    assert!(cx.send(conns[0], &frame_of(10_000)));
    assert_eq!((cx.waiting_for_writes(), cx.is_strained()), (10_000, false));
    assert!(cx.send(conns[0], ""));
    assert_eq!((cx.waiting_for_writes(), cx.is_strained()), (10_002, true));
    world.settle();
    assert!(!world.hub.is_strained());
}

#[test]
fn fan_outs_wait_when_their_lists_take_more_than_a_quarter_of_the_memory() {
    let mut arena = Arena::default();
    arena.mark_fan_out(Segment::default());
    let each = arena.listed();
    let (mut world, _) = world(4 * 1_000 * each, 30_000, 1);
    let cx: &mut Context = &mut world.hub;
    for _ in 0..1_000 {
        cx.output.arena.mark_fan_out(Segment::default());
    }
    assert_eq!((cx.waiting_for_writes(), cx.allowance_with_lists(7)), (1_000 * each, 7));
    cx.output.arena.mark_fan_out(Segment::default());
    assert_eq!((cx.allowance_with_lists(7), cx.allowance(7)), (0, 7));
}

#[test]
fn a_message_that_is_refused_because_memory_is_full_is_counted_once() {
    let (mut world, conns) = world(100_000, 80_000, 10);
    let ten = frame_of(10_000);
    let sent = conns.iter().take_while(|conn| world.hub.send(**conn, &ten)).count();
    assert_eq!((sent, world.hub.stats().overfull), (5, 1), "half of the memory waits");
    assert!(!world.hub.send(conns[9], "x"));
    assert_eq!(world.hub.stats().overfull, 2);
    world.settle();
    assert!(world.hub.send(conns[9], "x"));
    assert_eq!((world.hub.stats().overfull, world.hub.stats().deliveries), (2, 6));
}

#[test]
fn a_queue_that_is_full_in_its_turn_takes_not_even_an_empty_message() {
    let (mut world, conns) = world(1 << 20, 20_000, 1);
    for _ in 0..5 {
        assert!(world.hub.send(conns[0], &frame_of(5_000)));
    }
    assert!(!world.hub.send(conns[0], ""), "it may be one message too long, and no more");
    assert_eq!((world.hub.queued(conns[0]), world.hub.stats().overfull), (25_000, 1));
    world.settle();
    assert!(world.hub.send(conns[0], ""));
}

#[test]
fn a_socket_that_blocks_keeps_a_queue_that_is_full_to_the_byte_and_no_longer_one() {
    for (more, is_kept) in [(10_000, true), (10_001, false)] {
        let (mut world, conns) = world(1 << 20, 20_000, 1);
        world.sink.take = false;
        assert!(world.hub.send(conns[0], &frame_of(10_000)));
        assert!(world.hub.send(conns[0], &frame_of(more)));
        world.turn();
        assert_eq!(world.hub.is_open(conns[0]), is_kept);
        assert_eq!(world.hub.stats().slow_readers, u64::from(!is_kept));
    }
}

#[test]
fn a_full_queue_has_room_for_a_close_frame_and_for_no_ping() {
    for closes in [true, false] {
        let (mut world, conns) = world(1 << 20, 20_000, 1);
        let conn = conns[0];
        world.sink.take = false;
        for _ in 0..2 {
            assert!(world.hub.send(conn, &frame_of(10_000)));
        }
        world.turn();
        if closes {
            world.hub.close(conn, 4_000, "enough");
            world.turn();
            assert_eq!(world.hub.stats().slow_readers, 0);
            assert_eq!(world.hub.table[conn.index].phase(), Phase::FlushThenDrain);
            assert_eq!(world.hub.queued(conn), 20_000 + 2 + 2 + "enough".len());
        } else {
            world.hub.queue_control(conn.index, crate::wire::ws::frame::PING, b"");
            assert_eq!((world.hub.stats().slow_readers, world.hub.is_open(conn)), (1, false));
        }
    }
}

#[test]
fn messages_with_prefixes_are_counted_and_make_senders_wait_as_others_do() {
    let (mut world, conns) = world(1 << 20, 20_000, 2);
    let rest = "r".repeat(9_990);
    let receivers = world.hub.fan_out(&rest, |out| {
        conns.iter().for_each(|conn| assert!(out.send(*conn, "12:")));
    });
    assert_eq!((receivers, world.hub.stats().deliveries), (2, 2));
    assert!(!world.hub.is_strained());
    assert!(world.hub.send_with_prefix(conns[0], "13:", &rest));
    assert!(world.hub.is_strained(), "more than half of a queue waits");
    world.settle();
    assert_eq!((world.hub.is_strained(), world.hub.stats().deliveries), (false, 3));
    // A socket that does not take any more has room for as much as its queue, and not less.
    world.sink.take = false;
    assert!(world.hub.send(conns[1], "blocks"));
    world.turn();
    assert!(world.hub.send_with_prefix(conns[1], "14:", &rest));
    assert!(world.hub.is_open(conns[1]));
}

#[test]
fn nothing_is_pending_for_a_connection_whose_queue_is_empty_or_that_has_ended() {
    let (mut world, conns) = world(1 << 20, 20_000, 1);
    assert!(world.hub.pending(conns[0]).is_none());
    assert!(world.hub.send(conns[0], "x"));
    assert!(world.hub.pending(conns[0]).is_some());
    world.hub.abort(conns[0]);
    assert!(world.hub.pending(conns[0]).is_none());
}

#[test]
fn late_news_of_an_ended_connection_changes_nothing_of_the_next_one_in_its_slot() {
    let (mut world, conns) = world(1 << 20, 20_000, 1);
    world.hub.abort(conns[0]);
    world.settle();
    let next = enter(&mut world);
    assert_eq!(next.index(), conns[0].index());
    assert!(world.hub.send(next, "hello"));
    let before = world.hub.stats().bytes_out;
    assert_eq!(world.hub.sent(conns[0], 3), Sent::Nothing);
    world.hub.blocked(conns[0]);
    assert_eq!((world.hub.queued(next), world.hub.stats().bytes_out), (7, before));
    assert_eq!(world.hub.waiting_for_peers(), 0);
    world.settle();
    assert_eq!(world.hub.stats().bytes_out, before + 7);
}

#[test]
fn senders_wait_when_a_connection_has_a_byte_more_than_half_of_a_queue_to_write() {
    let (mut world, conns) = world(1 << 20, 20_000, 1);
    assert!(world.hub.send(conns[0], &frame_of(10_000)));
    assert!(!world.hub.is_strained());
    assert!(world.hub.send(conns[0], ""));
    assert!(world.hub.is_strained());
    world.settle();
    assert!(!world.hub.is_strained());
}

#[test]
fn a_broadcast_is_refused_when_a_queue_is_over_its_bound_and_not_when_it_is_full_to_the_byte() {
    let (mut world, conns) = world(1 << 20, 20_000, 2);
    for _ in 0..2 {
        assert!(world.hub.send(conns[0], &frame_of(10_000)));
    }
    assert_eq!(world.hub.broadcast("fits"), 2);
    assert_eq!((world.hub.broadcast("no"), world.hub.stats().overfull), (0, 1));
    world.settle();
    assert_eq!(world.hub.broadcast("again"), 2);
}

#[test]
fn a_broadcast_to_nobody_leaves_nothing_to_be_written() {
    let (mut world, _) = world(1 << 20, 20_000, 0);
    assert_eq!(world.hub.broadcast("nobody is here"), 0);
    assert_eq!((world.hub.waiting_for_writes(), world.hub.has_dirty()), (0, false));
}

#[test]
fn only_a_socket_that_was_full_is_tried_again() {
    let (mut world, conns) = world(1 << 20, 20_000, 1);
    assert!(world.hub.send(conns[0], "x"));
    let mut sockets = Sockets { take: true };
    let cx: &mut Context = &mut world.hub;
    assert_eq!(cx.retry(&mut sockets, conns[0]), None);
    assert_eq!(cx.queued(conns[0]), 3);
    world.sink.take = false;
    world.turn();
    let cx: &mut Context = &mut world.hub;
    assert!(cx.retry(&mut sockets, conns[0]).is_some());
    assert_eq!(cx.queued(conns[0]), 0);
}

/// Sockets that take everything, or whose every write is interrupted by a signal.
struct Interrupting(bool);

impl super::Sink for Interrupting {
    fn write(&mut self, _: usize, bytes: &[u8]) -> io::Result<usize> {
        if self.0 { Err(ErrorKind::Interrupted.into()) } else { Ok(bytes.len()) }
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(index, slice)).sum()
    }
}

/// A handler that takes what was written for a sign of life.
struct Trusting;

impl Handler for Trusting {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::anonymous().writes_are_life(true))
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, (): &mut (), _: Message<'_>) {}
}

#[test]
fn a_write_that_was_interrupted_is_no_sign_of_life() {
    let sink = Interrupting(false);
    let mut world = Bare::new(Config::default(), Trusting, sink, Instant::now());
    let conn = world.open();
    world.receive(conn, &handshake("/", ""));
    world.settle();
    world.sink.0 = true;
    assert!(world.hub.send(conn, "are you there"));
    for _ in 0..14 {
        assert!(world.hub.is_open(conn));
        world.turn();
        world.now += std::time::Duration::from_millis(4_500);
    }
    world.turn();
    assert!(!world.hub.is_open(conn), "it has been silent for a minute");
}

/// Returns the bytes that wait for a connection, which lie in at most four slices.
fn waiting(world: &World, conn: ConnId) -> Vec<u8> {
    let pending = world.hub.pending(conn).expect("bytes wait");
    let mut slices = [IoSlice::new(&[]); 4];
    let count = pending.gather(&mut slices);
    slices[..count].iter().map(|slice| &**slice).collect::<Vec<_>>().concat()
}

#[test]
fn a_rest_is_stored_once_however_long_it_is() {
    // Behind a rest of `FAR - 30` bytes there is room for two or three near prefixes.
    for length in [FAR / 2, FAR - 30, FAR, FAR + 1] {
        let (mut world, conns) = world(1 << 30, 1 << 25, 10);
        let rest = "r".repeat(length);
        let mut held = 0;
        let receivers = world.hub.fan_out(&rest, |out| {
            for (number, conn) in conns.iter().enumerate() {
                assert!(out.send(*conn, &format!("{number}:")));
            }
            held = out.buffered();
        });
        assert_eq!(receivers, 10);
        assert!(held < length + 10_000, "{held} bytes are held for a rest of {length} bytes");
        for (number, conn) in conns.iter().enumerate() {
            let whole = server_frame(TEXT, format!("{number}:{rest}").as_bytes());
            assert!(waiting(&world, *conn) == whole, "the message of connection {number}");
        }
        world.settle();
        assert_eq!(world.hub.buffered(), 0);
    }
}
