//! Where outgoing bytes are encoded: one growing buffer per turn.
//!
//! A frame is encoded once, at the end of the current turn's buffer; every
//! connection it is for keeps a [`Segment`] that points there, so an ordinary
//! message allocates nothing, and frames that follow one another in a turn go
//! out as one slice. A turn's buffer lives until the last segment has been
//! written. Before a connection is left waiting for its socket its segments
//! are made durable: a fan-out becomes a shared piece, stored once for all who
//! wait ([`Chunks`]), anything else is copied out, so that no stalled peer pins a
//! turn.
//!
//! It also keeps the account of all that waits to be written, and of what the lists
//! of it cost.

use std::collections::VecDeque;

use super::chunks::{Chunks, Range};
use crate::wire::ws::frame;

/// A buffer is cut here, so that offsets fit 32 bits.
const MAX_TURN: usize = 1 << 30;
/// The longest segment: one that begins where a buffer is about to be cut ends
/// within 32 bits.
pub const MAX_SEGMENT: usize = u32::MAX as usize - MAX_TURN;
/// A turn that has not been written whole is gone on with while it is smaller:
/// a fan-out takes several turns to be written.
const FULL: usize = 64 * 1024;
/// The first room of a turn.
const LEAST_ROOM: usize = 4 * 1024;
/// Buffers of past turns kept for reuse, and how large they may be.
const SPARES: usize = 4;
const SPARE_CAPACITY: usize = 256 * 1024;

/// Two segments are copied behind each other if they have at most this number of bytes together.
/// Their first places are not used again in the turn, so this bounds what a frame wastes.
const JOINED: usize = 512;

/// How far behind the rest of its message a head may lie.
pub const FAR: usize = (1 << 24) - 1;

/// A range of one turn's buffer. Empty means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub turn: u32,
    pub start: u32,
    pub end: u32,
}

impl Segment {
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `next` begins where this one ends.
    pub fn is_followed_by(self, next: Segment) -> bool {
        self.turn == next.turn && self.end == next.start
    }
}

/// A piece of a waiting connection's queue that no turn's end can touch.
#[derive(Debug)]
pub enum Lasting<'a> {
    /// Part of a fan-out, which is stored once for all who wait for it.
    Shared(Range),
    /// Bytes for this connection alone, to be copied.
    Own(&'a [u8]),
}

#[derive(Debug, Default)]
struct Turn {
    /// Room, zeroed once: writing into a slice is cheaper than growing a vector.
    room: Vec<u8>,
    /// How much of it has been written.
    used: usize,
    /// Segments that point here.
    refs: u32,
    /// The fan-outs in this turn, in order.
    fan_outs: Vec<FanOut>,
}

impl Turn {
    #[inline(always)]
    fn has_room(&self, length: usize) -> bool {
        self.used + length <= self.room.len()
    }

    /// The next `length` bytes of the room, which has them, to be written.
    #[inline(always)]
    fn take(&mut self, length: usize) -> &mut [u8] {
        let start = self.used;
        self.used += length;
        &mut self.room[start..start + length]
    }

    fn grow(&mut self, length: usize) {
        let needed = (self.used + length).max(LEAST_ROOM);
        self.room.resize(needed.max(2 * self.room.len()), 0);
    }
}

/// Where a fan-out lies in its turn.
#[derive(Debug)]
struct FanOut {
    start: u32,
    end: u32,
    /// A copy for all who wait, once somebody does and as long as anybody does.
    shared: Option<Range>,
}

/// The buffers of the current turn and of earlier ones not wholly written.
#[derive(Debug, Default)]
pub struct Arena {
    current: Turn,
    /// Number of the current turn; numbers wrap.
    number: u32,
    /// The turns before it, oldest first.
    past: VecDeque<Turn>,
    /// Bytes of those.
    past_bytes: usize,
    /// Bytes of the lists of fan-outs in all turns.
    fan_out_bytes: usize,
    spares: Vec<Turn>,
    /// Shared pieces.
    pub chunks: Chunks,
    /// Bytes of the queues whose sockets have blocked: what was copied out, and the
    /// lists of their pieces.
    durable: usize,
    /// Bytes of the lists of pieces in all other queues.
    lists: usize,
}

impl Arena {
    /// Bytes held for connections that have yet to be written to: turns, shared
    /// pieces (once each), what was copied out, and the lists of all that.
    pub fn held(&self) -> usize {
        self.durable + self.chunks.held() + self.listed() + self.waiting()
    }

    /// What the lists cost of all that waits for its turn to be written, not for a socket.
    #[inline]
    pub fn listed(&self) -> usize {
        self.lists + self.fan_out_bytes
    }

    /// The bytes to be written that wait for their turn, not for a socket.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.past_bytes + self.current.used
    }

    /// Encodes one unfragmented server frame (RFC 6455, section 5.2) that begins
    /// with the byte `first`.
    #[inline(always)]
    pub fn put_frame(&mut self, first: u8, payload: &[u8]) -> Segment {
        let header = frame::server_header_len(payload.len());
        let (segment, room) = self.take(header + payload.len());
        let (header, rest) = room.split_at_mut(header);
        frame::write_header(first, payload.len(), header);
        rest.copy_from_slice(payload);
        segment
    }

    /// Encodes one server frame whose payload is given in several pieces, of `length` bytes in all.
    ///
    /// It is part of the path of every one-to-one message. Left to itself, the compiler makes a
    /// function of it, because it has two callers; that costs 40 instructions a message.
    #[inline(always)]
    pub fn put_pieces(&mut self, first: u8, length: usize, pieces: &[impl AsRef<[u8]>]) -> Segment {
        let header = frame::server_header_len(length);
        let (segment, room) = self.take(header + length);
        let (header, mut rest) = room.split_at_mut(header);
        frame::write_header(first, length, header);
        for piece in pieces {
            let piece = piece.as_ref();
            let (here, after) = rest.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            rest = after;
        }
        segment
    }

    /// The header of a frame with `length` bytes of payload, and the first of those. The rest of
    /// it lies elsewhere.
    pub fn put_head(&mut self, first: u8, length: usize, prefix: &str) -> Segment {
        let header = frame::server_header_len(length);
        let (segment, room) = self.take(header + prefix.len());
        let (header, rest) = room.split_at_mut(header);
        frame::write_header(first, length, header);
        rest.copy_from_slice(prefix.as_bytes());
        segment
    }

    /// Whether what is put next can be told by how far behind `segment` it lies.
    pub fn is_near(&self, segment: Segment) -> bool {
        segment.turn == self.number
            && self.current.used <= MAX_TURN
            && self.current.used - segment.start as usize <= FAR
    }

    /// Encodes one server frame for a fan-out, as [`Arena::put_frame`] does for one receiver.
    pub fn put_fan_out(&mut self, first: u8, payload: &[u8]) -> Segment {
        let segment = self.put_frame(first, payload);
        self.mark_fan_out(segment);
        segment
    }

    /// Appends bytes that are no frame: an HTTP answer.
    pub fn put(&mut self, bytes: &[u8]) -> Segment {
        let (segment, room) = self.take(bytes.len());
        room.copy_from_slice(bytes);
        segment
    }

    /// The next `length` bytes, to be written.
    #[inline(always)]
    fn take(&mut self, length: usize) -> (Segment, &mut [u8]) {
        // If there is no room, all the rest is done in a function of its own: when both ways met
        // again, each message would look twice whether its bytes are within the room.
        if self.current.used > MAX_TURN || !self.current.has_room(length) {
            return self.make_room_and_take(length);
        }
        self.take_ready(length)
    }

    #[cold]
    #[inline(never)]
    fn make_room_and_take(&mut self, length: usize) -> (Segment, &mut [u8]) {
        if self.current.used > MAX_TURN {
            self.next_turn();
        }
        if !self.current.has_room(length) {
            self.current.grow(length);
        }
        self.take_ready(length)
    }

    #[inline(always)]
    fn take_ready(&mut self, length: usize) -> (Segment, &mut [u8]) {
        let start = self.current.used;
        let room = self.current.take(length);
        let end = start + room.len();
        (Segment { turn: self.number, start: start as u32, end: end as u32 }, room)
    }

    /// Copies two segments of the current turn behind each other; `None` if they are long or of
    /// another turn. Whoever else has one of them still finds it in its place.
    pub fn join(&mut self, one: Segment, two: Segment) -> Option<Segment> {
        let length = one.len() + two.len();
        let is_current = one.turn == self.number && two.turn == self.number;
        if !is_current || length > JOINED || self.current.used > MAX_TURN {
            return None;
        }
        if !self.current.has_room(length) {
            self.current.grow(length);
        }
        let Turn { room, used, .. } = &mut self.current;
        let (start, middle) = (*used, *used + one.len());
        room.copy_within(one.start as usize..one.end as usize, start);
        room.copy_within(two.start as usize..two.end as usize, middle);
        *used += length;
        Some(Segment { turn: one.turn, start: start as u32, end: *used as u32 })
    }

    /// Says that `segment`, the last one put, goes to many.
    pub fn mark_fan_out(&mut self, segment: Segment) {
        self.fan_out_bytes += size_of::<FanOut>();
        self.current.fan_outs.push(FanOut { start: segment.start, end: segment.end, shared: None });
    }

    /// Takes back `segment`, the last one put, that turned out to be for nobody.
    pub fn take_back(&mut self, segment: Segment) {
        let Turn { used, fan_outs, .. } = &mut self.current;
        if *used == segment.end as usize {
            *used = segment.start as usize;
            let taken = fan_outs.pop_if(|fan_out| fan_out.start == segment.start);
            self.fan_out_bytes -= taken.map_or(0, |_| size_of::<FanOut>());
        }
    }

    /// Counts `refs` more segments that point to that turn.
    #[inline]
    pub fn retain(&mut self, turn: u32, refs: u32) {
        if turn == self.number {
            self.current.refs += refs;
        } else if let Some(turn) = self.turn_mut(turn) {
            turn.refs += refs;
        }
    }

    /// Adds references to the buffer of the current turn.
    #[inline]
    pub fn retain_current(&mut self, refs: u32) {
        self.current.refs += refs;
    }

    /// Counts one segment less; a turn nothing points to is given back, the
    /// current one at its end.
    #[inline]
    pub fn release(&mut self, turn: u32) {
        if turn == self.number {
            self.current.refs -= 1;
        } else {
            self.release_past(turn);
        }
    }

    /// Counts `refs` segments of the current turn less.
    pub fn release_current(&mut self, refs: u32) {
        self.current.refs -= refs;
    }

    fn release_past(&mut self, turn: u32) {
        let Some(turn) = self.turn_mut(turn) else { return };
        turn.refs -= 1;
        if turn.refs == 0 {
            let turn = std::mem::take(turn);
            self.past_bytes -= turn.used;
            let turn = self.emptied(turn);
            if !turn.room.is_empty() && self.spares.len() < SPARES {
                self.spares.push(turn);
            }
        }
    }

    #[inline]
    pub fn slice(&self, segment: Segment) -> &[u8] {
        let turn = if segment.turn == self.number {
            &self.current
        } else {
            &self.past[self.past_index(segment.turn)]
        };
        &turn.room[segment.start as usize..segment.end as usize]
    }

    /// The bytes of a segment that points to the current turn and is not empty.
    #[inline]
    pub fn current_slice(&self, segment: Segment) -> Option<&[u8]> {
        if segment.turn != self.number || segment.is_empty() {
            return None;
        }
        self.current.room.get(segment.start as usize..segment.end as usize)
    }

    /// Ends the turn. What was written whole is gone; the rest stays for the
    /// segments that point to it.
    pub fn end_turn(&mut self) {
        if self.current.used >= FULL || self.current.refs == 0 {
            self.next_turn();
        }
        while self.past.front().is_some_and(|turn| turn.refs == 0) {
            self.past.pop_front();
        }
    }

    #[cold]
    fn next_turn(&mut self) {
        if self.current.refs == 0 {
            let turn = std::mem::take(&mut self.current);
            self.current = self.emptied(turn);
            return;
        }
        self.past_bytes += self.current.used;
        let next = self.spares.pop().unwrap_or_default();
        self.past.push_back(std::mem::replace(&mut self.current, next));
        self.number = self.number.wrapping_add(1);
    }

    /// Hands out `segment` in pieces that outlive its turn. Ranges have yet to be counted.
    pub fn durable(&mut self, segment: Segment, mut push: impl FnMut(Lasting<'_>, &mut Chunks)) {
        let index = self.past_index(segment.turn);
        let Arena { current, past, chunks, number, .. } = self;
        let turn = if segment.turn == *number { current } else { &mut past[index] };
        let mut at = segment.start;
        let mut next = turn.fan_outs.partition_point(|fan_out| fan_out.end <= at);
        while at < segment.end {
            let fan_out = turn.fan_outs.get_mut(next).filter(|fan_out| fan_out.start < segment.end);
            let own_end = fan_out.as_ref().map_or(segment.end, |fan_out| fan_out.start);
            if at < own_end {
                push(Lasting::Own(&turn.room[at as usize..own_end as usize]), chunks);
                at = own_end;
            }
            if let Some(FanOut { start, end, shared }) = fan_out {
                let bytes = &turn.room[*start as usize..*end as usize];
                let known = shared.filter(|range| chunks.has(*range));
                let whole = known.unwrap_or_else(|| chunks.put(bytes));
                *shared = Some(whole);
                let to = segment.end.min(*end);
                push(Lasting::Shared(whole.part(at - *start, to - *start)), chunks);
                if known.is_none() {
                    chunks.release(whole);
                }
                at = to;
                next += 1;
            }
        }
    }

    /// A queue's lists, and what was copied out for it, hold so many bytes now and held so
    /// many `before`; `durable` says whether its socket has blocked.
    pub fn recount(&mut self, durable: bool, before: usize, now: usize) {
        let total = if durable { &mut self.durable } else { &mut self.lists };
        *total = *total - before + now;
    }

    fn past_index(&self, turn: u32) -> usize {
        self.past.len().wrapping_sub(self.number.wrapping_sub(turn) as usize)
    }

    fn turn_mut(&mut self, turn: u32) -> Option<&mut Turn> {
        if turn == self.number {
            return Some(&mut self.current);
        }
        let index = self.past_index(turn);
        self.past.get_mut(index)
    }

    /// Empties a turn that nothing points to, for a later one; its memory is
    /// given back if that is much.
    fn emptied(&mut self, mut turn: Turn) -> Turn {
        self.fan_out_bytes -= turn.fan_outs.len() * size_of::<FanOut>();
        turn.fan_outs.clear();
        turn.used = 0;
        let listed = turn.fan_outs.capacity() * size_of::<FanOut>();
        if turn.room.len().max(listed) > SPARE_CAPACITY {
            turn = Turn::default();
        }
        turn
    }
}

#[cfg(test)]
mod tests;
