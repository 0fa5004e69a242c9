//! Where outgoing bytes are encoded: one growing buffer per turn.
//!
//! A frame is encoded once, at the end of the current turn's buffer; every
//! connection it is for keeps a [`Segment`] that points there, so an ordinary
//! message allocates nothing, and frames that follow one another in a turn go
//! out as one slice. A turn's buffer lives until the last segment has been
//! written. Before a connection is left waiting for its socket its segments
//! are made durable: a fan-out becomes a shared piece, stored once for all who
//! wait, anything else is copied out, so that no stalled peer pins a turn.

use std::collections::VecDeque;
use std::sync::Arc;

use tungstenite::protocol::frame::coding::OpCode;

use super::frame;

/// A turn's buffer is cut here, so that offsets fit 32 bits.
const MAX_TURN: usize = 1 << 30;
/// Buffers of past turns kept for reuse, and how large they may be.
const SPARES: usize = 4;
const SPARE_CAPACITY: usize = 256 * 1024;

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
pub enum Durable {
    /// Part of a fan-out that all who wait for it share.
    Shared(Arc<[u8]>, u32, u32),
    /// Bytes for this connection alone.
    Owned(Vec<u8>),
}

#[derive(Debug, Default)]
struct Turn {
    bytes: Vec<u8>,
    /// Segments that point here.
    refs: u32,
    /// Where fan-outs lie, in order, and their shared copies once one was needed.
    fan_outs: Vec<(u32, u32, Option<Arc<[u8]>>)>,
}

/// The buffers of the current turn and of earlier ones not wholly written.
#[derive(Debug)]
pub struct Arena {
    /// Number of the oldest turn in `turns`; numbers wrap.
    first: u32,
    /// Never empty; the last one is the current turn.
    turns: VecDeque<Turn>,
    spares: Vec<Vec<u8>>,
    held: usize,
    /// Bytes of `turns`, part of `held`.
    waiting: usize,
}

impl Arena {
    pub fn new() -> Self {
        Arena {
            first: 0,
            turns: VecDeque::from([Turn::default()]),
            spares: Vec::new(),
            held: 0,
            waiting: 0,
        }
    }

    /// Bytes held for connections that have yet to be written to: turns,
    /// shared pieces (once each) and what was copied out.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Those of them that wait for their turn to be written, not for a socket.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Encodes one unfragmented server frame (RFC 6455, section 5.2).
    pub fn put_frame(&mut self, opcode: OpCode, payload: &[u8]) -> Segment {
        self.put(|bytes| {
            frame::put_header(opcode, payload.len(), bytes);
            bytes.extend_from_slice(payload);
        })
    }

    /// Appends what `write` writes.
    pub fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Segment {
        if self.turns.back().is_none_or(|turn| turn.bytes.len() > MAX_TURN) {
            self.turns.push_back(Turn::default());
        }
        let turn = self.first.wrapping_add(self.turns.len() as u32 - 1);
        let Some(current) = self.turns.back_mut() else { return Segment::default() };
        let start = current.bytes.len();
        write(&mut current.bytes);
        let length = current.bytes.len() - start;
        self.held += length;
        self.waiting += length;
        Segment { turn, start: start as u32, end: current.bytes.len() as u32 }
    }

    /// Says that `segment`, the last one put, goes to many.
    pub fn mark_fan_out(&mut self, segment: Segment) {
        if let Some(turn) = self.turns.back_mut() {
            turn.fan_outs.push((segment.start, segment.end, None));
        }
    }

    /// Counts `refs` more segments that point to that turn.
    pub fn retain(&mut self, turn: u32, refs: u32) {
        let index = self.index(turn);
        self.turns[index].refs += refs;
    }

    /// Counts one segment less; a turn nothing points to is given back, the
    /// current one at its end.
    pub fn release(&mut self, turn: u32) {
        let index = self.index(turn);
        let last = self.turns.len() - 1;
        let turn = &mut self.turns[index];
        turn.refs -= 1;
        if turn.refs == 0 && index != last {
            self.retire(index);
        }
    }

    pub fn slice(&self, segment: Segment) -> &[u8] {
        &self.turns[self.index(segment.turn)].bytes[segment.start as usize..segment.end as usize]
    }

    /// Ends the turn. What was written whole is gone; the rest stays for the
    /// segments that point to it.
    pub fn end_turn(&mut self) {
        let last = self.turns.len() - 1;
        if self.turns[last].bytes.is_empty() {
            return;
        }
        if self.turns[last].refs == 0 {
            self.retire(last);
        }
        if self.turns.len() == last + 1 && !self.turns[last].bytes.is_empty() {
            let bytes = self.spares.pop().unwrap_or_default();
            self.turns.push_back(Turn { bytes, ..Turn::default() });
        }
        while self.turns.len() > 1 && self.turns[0].refs == 0 {
            self.turns.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Turns `segment` into pieces that outlive its turn.
    pub fn durable(&mut self, segment: Segment, mut push: impl FnMut(Durable)) {
        let index = self.index(segment.turn);
        let turn = &mut self.turns[index];
        let mut at = segment.start;
        let mut next = turn.fan_outs.partition_point(|&(_, end, _)| end <= at);
        while at < segment.end {
            let fan_out = turn.fan_outs.get_mut(next).filter(|(start, ..)| *start < segment.end);
            let own_end = fan_out.as_ref().map_or(segment.end, |(start, ..)| *start);
            if at < own_end {
                let own = turn.bytes[at as usize..own_end as usize].to_vec();
                self.held += own.len();
                push(Durable::Owned(own));
                at = own_end;
            }
            if let Some((start, end, shared)) = fan_out {
                let bytes = &turn.bytes[*start as usize..*end as usize];
                let shared = shared.get_or_insert_with(|| {
                    self.held += bytes.len();
                    bytes.into()
                });
                let to = segment.end.min(*end);
                push(Durable::Shared(Arc::clone(shared), at - *start, to - *start));
                at = to;
                next += 1;
            }
        }
    }

    /// Forgets a durable piece.
    pub fn drop_durable(&mut self, piece: Durable) {
        match piece {
            Durable::Shared(bytes, ..) => self.drop_shared(bytes),
            Durable::Owned(bytes) => self.held -= bytes.len(),
        }
    }

    fn drop_shared(&mut self, bytes: Arc<[u8]>) {
        if Arc::strong_count(&bytes) == 1 {
            self.held -= bytes.len();
        }
    }

    fn index(&self, turn: u32) -> usize {
        turn.wrapping_sub(self.first) as usize
    }

    fn retire(&mut self, index: usize) {
        let turn = &mut self.turns[index];
        let mut bytes = std::mem::take(&mut turn.bytes);
        let fan_outs = std::mem::take(&mut turn.fan_outs);
        self.held -= bytes.len();
        self.waiting -= bytes.len();
        for shared in fan_outs.into_iter().filter_map(|(_, _, shared)| shared) {
            self.drop_shared(shared);
        }
        bytes.clear();
        if bytes.capacity() > SPARE_CAPACITY {
            return;
        }
        if index == self.turns.len() - 1 {
            self.turns[index].bytes = bytes;
        } else if self.spares.len() < SPARES {
            self.spares.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_reused_when_all_of_it_was_written() {
        let mut arena = Arena::new();
        for _ in 0..3 {
            let segment = arena.put_frame(frame::TEXT, b"hello");
            assert_eq!(segment, Segment { turn: 0, start: 0, end: 7 });
            arena.retain(segment.turn, 1);
            assert_eq!(arena.slice(segment), b"\x81\x05hello");
            arena.release(segment.turn);
            arena.end_turn();
            assert_eq!((arena.held(), arena.turns.len()), (0, 1));
        }
    }

    #[test]
    fn an_unwritten_turn_outlives_later_ones() {
        let mut arena = Arena::new();
        let old = arena.put_frame(frame::TEXT, b"old");
        arena.retain(old.turn, 1);
        arena.end_turn();
        for _ in 0..5 {
            let new = arena.put_frame(frame::TEXT, b"new");
            arena.retain(new.turn, 1);
            arena.end_turn();
            arena.release(new.turn);
        }
        assert_eq!(arena.slice(old), b"\x81\x03old");
        arena.release(old.turn);
        arena.put_frame(frame::TEXT, b"x");
        arena.end_turn();
        assert_eq!((arena.held(), arena.turns.len()), (0, 1));
    }

    #[test]
    fn a_fan_out_is_stored_once_for_all_who_wait() {
        let mut arena = Arena::new();
        let own = arena.put_frame(frame::TEXT, b"own");
        let all = arena.put_frame(frame::TEXT, &[b'a'; 1_000]);
        arena.mark_fan_out(all);
        let end = arena.put_frame(frame::TEXT, b"end");
        let whole = Segment { start: own.start + 2, ..end };
        let before = arena.held();
        let mut pieces = Vec::new();
        for _ in 0..50 {
            arena.durable(whole, |piece| pieces.push(piece));
        }
        assert_eq!(arena.held(), before + all.len() + 50 * (own.len() - 2 + end.len()));
        let mut bytes = Vec::new();
        for piece in &pieces[..3] {
            match piece {
                Durable::Owned(own) => bytes.extend_from_slice(own),
                Durable::Shared(all, from, to) => {
                    bytes.extend_from_slice(&all[*from as usize..*to as usize])
                }
            }
        }
        assert_eq!(bytes, arena.slice(whole));
        arena.end_turn();
        for piece in pieces {
            arena.drop_durable(piece);
        }
        assert_eq!(arena.held(), 0);
    }
}
