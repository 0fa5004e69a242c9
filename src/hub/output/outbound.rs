//! The queue of one connection: the bytes that it has not got yet, in order.
//!
//! Three states, by what they cost: nothing; one run of the current turn's
//! buffer, which is part of the record; a boxed queue of pieces, when frames
//! do not lie side by side or the socket does not take them.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::arena::{Arena, FAR, Lasting, Segment};
use super::chunks::{Chunks, Range, SMALL};

/// Bytes of one's own are joined up to this length. What is longer came in one message.
/// A piece is given back when all of it was written, so this is what a connection that
/// never quite catches up holds for nothing.
const JOINED: usize = 4 * 1024;
/// The allocator's overhead for each piece that was copied out.
const OVERHEAD: usize = 16;
/// Pieces that the smallest list has room for.
const FEW: usize = 4;
/// A list of pieces that has room for more, and is mostly empty, is cut.
const ROOM: usize = 32;
/// The most bytes of a message's beginning whose place is kept beside that of the rest.
const LONGEST_HEAD: usize = 0xff;

#[derive(Debug)]
enum Piece {
    /// The piece is in the buffer of a turn and waits to be written; it is made durable if the
    /// socket blocks.
    Turn(Segment),
    /// The piece is part of fan-outs for which several connections wait.
    Shared(Range),
    /// The piece is for this connection alone.
    Owned(Vec<u8>),
}

impl Piece {
    fn slice<'a>(&'a self, arena: &'a Arena) -> &'a [u8] {
        match self {
            Piece::Turn(segment) => arena.slice(*segment),
            Piece::Shared(range) => arena.chunks.slice(*range),
            Piece::Owned(bytes) => bytes,
        }
    }

    fn drop_into(self, arena: &mut Arena) {
        match self {
            Piece::Turn(segment) => arena.release(segment.turn),
            Piece::Shared(range) => arena.chunks.release(range),
            Piece::Owned(_) => {}
        }
    }
}

/// Pieces, and what they hold on the heap beside what they share.
#[derive(Debug, Default)]
struct Backlog {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces` that are not written.
    bytes: usize,
    /// Bytes of the first piece that are written.
    written: usize,
    /// The bytes that the owned pieces hold.
    owned: usize,
    /// What was last counted in the arena, and as what.
    counted: usize,
    durable: bool,
}

impl Backlog {
    /// Bytes it holds on the heap. Until its socket blocks, the room for a few pieces is as
    /// much a part of the connection as its record is, and bounded as that is.
    fn held(&self) -> usize {
        let few = if self.durable { 0 } else { size_of::<Self>() + FEW * size_of::<Piece>() };
        let held = size_of::<Self>() + self.pieces.capacity() * size_of::<Piece>() + self.owned;
        held.saturating_sub(few)
    }

    /// Brings the arena's account up to date.
    fn recount(&mut self, arena: &mut Arena) {
        let held = self.held();
        arena.recount(self.durable, self.counted, held);
        self.counted = held;
    }

    /// From now on it counts as that of a socket that has blocked.
    fn become_durable(&mut self, arena: &mut Arena) {
        if !self.durable {
            arena.recount(false, self.counted, 0);
            (self.durable, self.counted) = (true, 0);
        }
    }

    /// Adds a piece that lasts. One that goes on where the last one ends becomes part of
    /// it, and what is shorter than a piece is copied rather than listed.
    fn append(&mut self, piece: Lasting<'_>, chunks: &mut Chunks) {
        let bytes = match (piece, self.pieces.back_mut()) {
            (Lasting::Shared(range), Some(Piece::Shared(last))) if last.is_followed_by(range) => {
                last.to = range.to;
                return;
            }
            // But not the first of a chunk, which others may follow.
            (Lasting::Shared(range), Some(_))
                if range.len() <= size_of::<Piece>() && range.from > 0 =>
            {
                chunks.slice(range)
            }
            (Lasting::Shared(range), _) => {
                chunks.retain(range);
                self.pieces.push_back(Piece::Shared(range));
                return;
            }
            (Lasting::Own(bytes), _) => bytes,
        };
        match self.pieces.back_mut() {
            Some(Piece::Owned(last)) if last.len() + bytes.len() <= JOINED => {
                let before = last.capacity();
                last.extend_from_slice(bytes);
                self.owned += last.capacity() - before;
            }
            _ => {
                self.owned += bytes.len() + OVERHEAD;
                self.pieces.push_back(Piece::Owned(bytes.to_vec()));
            }
        }
    }

    /// Takes out the first piece.
    fn pop(&mut self, arena: &mut Arena) {
        let Some(piece) = self.pieces.pop_front() else { return };
        if let Piece::Owned(bytes) = &piece {
            self.owned -= bytes.capacity() + OVERHEAD;
        }
        piece.drop_into(arena);
    }
}

/// Where the beginning of a message lies whose rest is `run`, or begins it: how far behind the
/// start of `run` and, in the lowest eight bits, how long it is. 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct Head(u32);

impl Head {
    /// The head of a message that goes on with `rest`; `None` when this has no room for it.
    fn of(head: Segment, rest: Segment) -> Option<Self> {
        let distance = head.start.checked_sub(rest.start)?;
        let is_short = distance as usize <= FAR && head.len() <= LONGEST_HEAD;
        let fits = head.turn == rest.turn && is_short;
        fits.then_some(Head(distance << 8 | head.len() as u32))
    }

    #[inline]
    fn is_none(self) -> bool {
        self.0 == 0
    }

    #[inline]
    fn len(self) -> usize {
        (self.0 & 0xff) as usize
    }

    fn segment(self, run: Segment) -> Segment {
        let start = run.start + (self.0 >> 8);
        Segment { turn: run.turn, start, end: start + self.len() as u32 }
    }
}

/// The queue of one connection. Its segments are counted in the [`Arena`] it
/// was filled from, so it must be [cleared](Outbound::clear) before it is dropped.
#[derive(Debug, Default)]
pub struct Outbound {
    run: Segment,
    head: Head,
    backlog: Option<Box<Backlog>>,
}

impl Outbound {
    /// What of the memory for sockets that have blocked is held for this queue: its own,
    /// and its share of what it has in common with others, but at least what it is to be
    /// sent of that. 0 when its socket has not blocked. It looks at every piece.
    pub fn stalled(&self, arena: &Arena) -> usize {
        let Some(backlog) = self.backlog.as_ref().filter(|backlog| backlog.durable) else {
            return 0;
        };
        let shares = backlog.pieces.iter().map(|piece| match piece {
            Piece::Shared(range) => arena.chunks.share(*range),
            Piece::Turn(_) | Piece::Owned(_) => 0,
        });
        backlog.counted + shares.sum::<usize>()
    }

    /// Bytes not yet written.
    #[inline]
    pub fn len(&self) -> usize {
        self.run.len() + self.head.len() + self.backlog.as_ref().map_or(0, |backlog| backlog.bytes)
    }

    /// At least as many bytes as are not yet written, and up to [`LONGEST_HEAD`] more. It takes
    /// fewer instructions than [`Outbound::len`], which each message would notice.
    #[inline]
    pub fn len_at_most(&self) -> usize {
        self.run.len() + LONGEST_HEAD + self.backlog.as_ref().map_or(0, |backlog| backlog.bytes)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.run.is_empty() && self.backlog.is_none()
    }

    /// Queues a segment of the current turn if nothing else is queued. Returns
    /// whether it was.
    #[inline(always)]
    #[must_use]
    pub(super) fn start(&mut self, segment: Segment) -> bool {
        let starts = self.is_empty();
        if starts {
            self.run = segment;
        }
        starts
    }

    /// Queues a segment of the current turn if one run holds it with what is
    /// queued. Returns how many more segments the arena has to count; `None`
    /// if it was not queued.
    #[inline(always)]
    fn extend(&mut self, segment: Segment) -> Option<u32> {
        if self.start(segment) {
            return Some(1);
        }
        let goes_on = self.backlog.is_none() && self.run.is_followed_by(segment);
        if goes_on {
            self.run.end = segment.end;
        }
        goes_on.then_some(0)
    }

    /// Queues a segment of the current turn. Returns how many more segments the
    /// arena has to count.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, segment: Segment, arena: &mut Arena) -> u32 {
        self.extend(segment).unwrap_or_else(|| self.push_apart(segment, arena))
    }

    /// Queues a segment of the current turn that does not follow what is queued. Short segments,
    /// such as the answer to a client and a message for it, are copied behind each other, which
    /// takes a tenth of what a list of pieces takes.
    #[cold]
    #[inline(never)]
    fn push_apart(&mut self, segment: Segment, arena: &mut Arena) -> u32 {
        if self.backlog.is_none()
            && self.head.is_none()
            && let Some(joined) = arena.join(self.run, segment)
        {
            self.run = joined;
            return 0;
        }
        self.push_back(segment, arena)
    }

    /// Queues a segment of a fan-out. If bytes for other connections are between this segment and
    /// what is queued, the segment is listed where it follows the last fan-out. Otherwise each of
    /// many receivers would have one piece for each of many fan-outs.
    #[must_use]
    pub fn push_fan_out(&mut self, segment: Segment, arena: &mut Arena) -> u32 {
        if let Some(refs) = self.extend(segment) {
            return refs;
        }
        let backlog = self.backlog.get_or_insert_default();
        if segment.len() > SMALL || backlog.pieces.len() < FEW - 1 {
            return self.push_back(segment, arena);
        }
        backlog.bytes += segment.len();
        arena.durable(segment, |piece, chunks| backlog.append(piece, chunks));
        backlog.recount(arena);
        0
    }

    #[cold]
    fn push_back(&mut self, segment: Segment, arena: &mut Arena) -> u32 {
        let backlog = self.backlog.get_or_insert_default();
        backlog.bytes += segment.len();
        if let Some(Piece::Turn(last)) = backlog.pieces.back_mut()
            && last.is_followed_by(segment)
        {
            last.end = segment.end;
            return 0;
        }
        backlog.pieces.push_back(Piece::Turn(segment));
        backlog.recount(arena);
        1
    }

    /// Queues a message that begins with one segment and goes on with another, which may be of
    /// an earlier turn. The arena counts each of them in its own turn.
    pub fn push_headed(&mut self, head: Segment, rest: Segment, arena: &mut Arena) {
        if self.is_empty()
            && let Some(head) = Head::of(head, rest)
        {
            (self.run, self.head) = (rest, head);
            arena.retain(rest.turn, 1);
            return;
        }
        for segment in [head, rest] {
            let refs = self.push(segment, arena);
            arena.retain(segment.turn, refs);
        }
    }

    /// Queues a segment for a socket that does not take any more now.
    pub fn push_durable(&mut self, segment: Segment, arena: &mut Arena) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.become_durable(arena);
        backlog.bytes += segment.len();
        arena.durable(segment, |piece, chunks| backlog.append(piece, chunks));
        backlog.recount(arena);
    }

    /// Makes everything outlive its turn: the socket has blocked.
    pub fn make_durable(&mut self, arena: &mut Arena) {
        if self.run.is_empty() && self.backlog.is_none() {
            return;
        }
        let backlog = self.backlog.get_or_insert_default();
        backlog.become_durable(arena);
        let run = std::mem::take(&mut self.run);
        let pieces = std::mem::take(&mut backlog.pieces);
        if !run.is_empty() {
            let head = std::mem::take(&mut self.head);
            if !head.is_none() {
                backlog.bytes += head.len();
                arena.durable(head.segment(run), |piece, chunks| backlog.append(piece, chunks));
            }
            backlog.bytes += run.len();
            arena.durable(run, |piece, chunks| backlog.append(piece, chunks));
            arena.release(run.turn);
        }
        for (position, piece) in pieces.into_iter().enumerate() {
            match piece {
                Piece::Turn(mut segment) => {
                    if position == 0 {
                        segment.start += std::mem::take(&mut backlog.written) as u32;
                    }
                    arena.durable(segment, |piece, chunks| backlog.append(piece, chunks));
                    arena.release(segment.turn);
                }
                lasting => backlog.pieces.push_back(lasting),
            }
        }
        backlog.recount(arena);
    }

    /// The bytes to write if they lie in one slice, which is the common case.
    #[inline]
    pub fn single<'a>(&'a self, arena: &'a Arena) -> Option<&'a [u8]> {
        if self.backlog.is_none() && self.head.is_none() {
            return Some(arena.slice(self.run));
        }
        None
    }

    /// Fills `slices` with what is to be written next; returns how many.
    pub fn gather<'a>(&'a self, arena: &'a Arena, slices: &mut [IoSlice<'a>]) -> usize {
        let head =
            if self.head.is_none() { Segment::default() } else { self.head.segment(self.run) };
        let mut count = 0;
        for (slot, segment) in
            slices.iter_mut().zip([head, self.run].into_iter().filter(|it| !it.is_empty()))
        {
            *slot = IoSlice::new(arena.slice(segment));
            count += 1;
        }
        let Some(backlog) = &self.backlog else { return count };
        let mut skip = backlog.written;
        for piece in &backlog.pieces {
            let Some(slot) = slices.get_mut(count) else { break };
            *slot = IoSlice::new(&piece.slice(arena)[skip..]);
            skip = 0;
            count += 1;
        }
        count
    }

    /// The bytes to write if they are all in the current turn's buffer.
    #[inline]
    pub fn current<'a>(&self, arena: &'a Arena) -> Option<&'a [u8]> {
        let is_run = self.backlog.is_none() && self.head.is_none();
        if is_run { arena.current_slice(self.run) } else { None }
    }

    /// Forgets those, which were written; the caller [releases](Arena::release)
    /// their buffer.
    #[inline]
    pub(super) fn forget_run(&mut self) {
        self.run = Segment::default();
    }

    /// Takes `written` bytes off the front.
    #[inline]
    pub fn advance(&mut self, mut written: usize, arena: &mut Arena) {
        if !self.head.is_none() && written > 0 {
            if written < self.head.len() {
                return self.split_head(written, arena);
            }
            written -= self.head.len();
            self.head = Head::default();
        }
        let of_run = written.min(self.run.len());
        if of_run > 0 {
            self.run.start += of_run as u32;
            if self.run.is_empty() {
                arena.release(self.run.turn);
                self.run = Segment::default();
            }
        }
        if self.backlog.is_some() {
            self.advance_backlog(written - of_run, arena);
        }
    }

    /// A part of the head was written: what is left of it is listed, and the rest behind it.
    #[cold]
    fn split_head(&mut self, written: usize, arena: &mut Arena) {
        let (run, head) = (std::mem::take(&mut self.run), std::mem::take(&mut self.head));
        let mut head = head.segment(run);
        head.start += written as u32;
        let backlog = self.backlog.get_or_insert_default();
        backlog.bytes += head.len() + run.len();
        backlog.pieces.push_front(Piece::Turn(run));
        backlog.pieces.push_front(Piece::Turn(head));
        arena.retain(head.turn, 1);
        backlog.recount(arena);
    }

    #[cold]
    fn advance_backlog(&mut self, written: usize, arena: &mut Arena) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.bytes -= written;
        backlog.written += written;
        while let Some(front) = backlog.pieces.front() {
            let length = front.slice(arena).len();
            if backlog.written < length {
                break;
            }
            backlog.written -= length;
            backlog.pop(arena);
        }
        if backlog.pieces.is_empty() {
            self.drop_backlog(arena);
            return;
        }
        if backlog.pieces.capacity() > ROOM && backlog.pieces.len() < backlog.pieces.capacity() / 4
        {
            backlog.pieces.shrink_to(2 * backlog.pieces.len());
        }
        backlog.recount(arena);
    }

    /// Forgets everything.
    pub fn clear(&mut self, arena: &mut Arena) {
        self.head = Head::default();
        if !self.run.is_empty() {
            arena.release(self.run.turn);
            self.run = Segment::default();
        }
        self.drop_backlog(arena);
    }

    fn drop_backlog(&mut self, arena: &mut Arena) {
        if let Some(backlog) = self.backlog.take() {
            arena.recount(backlog.durable, backlog.counted, 0);
            for piece in backlog.pieces {
                piece.drop_into(arena);
            }
        }
    }
}

#[cfg(test)]
mod tests;
