//! Sending: a message is encoded once, a reference to its bytes is queued for each receiver, and
//! each receiver is marked dirty. The writes follow later in the turn.

use crate::hub::output::arena::{Arena, Segment};
use crate::hub::table::record::Connection;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::hub::table::slots::Slot;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;
use crate::wire::ws::frame::{self, BINARY, TEXT};

use super::Output;
use super::dirty::{Dirty, Urgency};
use super::pressure::{becomes_pressed, has_room, is_pressed};
use crate::hub::directory::users::{Seat, Seated};
use crate::hub::{ConnId, Context};

/// The largest buffer for encoding HTTP answers, in bytes, that is kept between two answers.
const LARGE_ANSWER: usize = 16 * 1024;

/// Flags of a connection for which a message takes the slow path.
const LONG_WAY: u16 = Flags::BLOCKED | Flags::NOTED;

impl Context {
    /// Queues a message for one connection: a text (`&str`) or binary data (`&[u8]`). Returns
    /// whether the message was queued.
    ///
    /// The message is not queued when the connection is gone or closing, when the message is
    /// longer than any queue may be, or when the queue of the connection is full. If the queue is
    /// full because the peer does not read, the connection is dropped as a slow reader. If it is
    /// full because so much was sent since the last writes, or if all queues together hold
    /// `max_buffered` bytes that only wait to be written, the connection stays, and the message
    /// can be sent again in the next turn.
    #[inline(always)]
    pub fn send<'a>(&mut self, conn: ConnId, message: impl Into<Message<'a>>) -> bool {
        let (first, payload) = message.into().encode();
        self.send_frame(conn, first, payload)
    }

    #[inline(always)]
    fn send_frame(&mut self, conn: ConnId, first: u8, payload: &[u8]) -> bool {
        self.settle_walk();
        self.send_at_once(conn, Urgency::Direct, first, payload.len(), &[payload])
            || self.send_behind(conn, first, payload)
    }

    /// Queues a text for one connection as [`Context::send`] does. The text is given in several
    /// pieces, which are joined when it is encoded. `is_fan_out` says that the text belongs to a
    /// message to many, which is written after the messages to single users.
    #[inline(always)]
    pub(crate) fn send_pieces(&mut self, conn: ConnId, is_fan_out: bool, pieces: &[&str]) -> bool {
        self.settle_walk();
        let urgency = if is_fan_out { Urgency::FanOut } else { Urgency::Direct };
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.send_at_once(conn, urgency, TEXT, length, pieces)
            || self.send_behind(conn, TEXT, pieces.concat().as_bytes())
    }

    /// Whether a connection has at most a quarter of a queue to write. It does not look at a broadcast
    /// that is still being queued.
    #[inline]
    pub(crate) fn has_short_queue(&self, conn: ConnId) -> bool {
        let most = self.output.bounds.half_queue / 2;
        self.resolve(conn).is_some_and(|record| record.out.len_at_most() <= most)
    }

    /// Queues a message of `length` bytes, given in pieces, on the fast path: the socket of nearly every connection
    /// takes bytes, and the queue of the connection only has other replies of this turn. Returns
    /// false, having done nothing, if the message has to take the slow path.
    #[inline(always)]
    pub(super) fn send_at_once(
        &mut self,
        conn: ConnId,
        urgency: Urgency,
        first: u8,
        length: usize,
        pieces: &[impl AsRef<[u8]>],
    ) -> bool {
        let most = self.output.bounds.half_queue;
        let Context { table, output: Output { arena, dirty, .. }, .. } = self;
        if let Some(record) = table.get_mut(conn.index)
            && record.serial() == conn.serial
            && record.phase() == Phase::Open
            && !record.flags.has(LONG_WAY)
            && record.out.len_at_most() + length + frame::MAX_HEADER <= most
            // If the work of the turn is used up, the memory may be full.
            && self.work > 0
        {
            let segment = arena.put_pieces(first, length, pieces);
            record.queue(conn.index, segment, arena, dirty, urgency);
            self.queued_one();
            return true;
        }
        false
    }

    #[inline(never)]
    fn send_behind(&mut self, conn: ConnId, first: u8, payload: &[u8]) -> bool {
        if !self.takes(conn) || !self.fits(payload.len()) {
            return false;
        }
        let segment = self.output.arena.put_frame(first, payload);
        let queued = self.queue_message::<0>(conn.index, segment);
        if !queued {
            self.output.arena.take_back(segment);
        }
        queued
    }

    /// Returns whether messages can be queued for a connection: it is open, or its `on_closing`
    /// runs now.
    pub(super) fn takes(&self, conn: ConnId) -> bool {
        self.is_open(conn) || self.speaking == Some(conn) && self.is_parting(conn)
    }

    /// Returns whether a message of `length` bytes can be queued at all. A message that is longer
    /// than any queue may be is sent to no receiver, and no receiver is dropped for it.
    #[inline]
    pub(in crate::hub) fn fits(&mut self, length: usize) -> bool {
        let fits = self.fits_a_queue(length);
        self.stats.too_long += u64::from(!fits);
        fits && self.may_queue()
    }

    /// Returns whether a message of `length` bytes is not longer than any queue may be.
    #[inline]
    pub(super) fn fits_a_queue(&self, length: usize) -> bool {
        frame::server_header_len(length) + length <= self.config.max_queue
    }

    /// Returns whether there is memory for one more message; counts one that there is none for.
    /// Before the memory is full the work of the turn is used up, so memory is looked at only then.
    #[inline]
    pub(super) fn may_queue(&mut self) -> bool {
        self.work > 0 || self.has_memory()
    }

    #[cold]
    fn has_memory(&mut self) -> bool {
        let has_memory = !self.is_overfull();
        self.stats.overfull += u64::from(!has_memory);
        has_memory
    }

    /// Queues a message for the active connections of a user: one for each device. Returns for how
    /// many connections it was queued; 0 means that the user is offline, or that the message was
    /// not queued for one of the reasons that [`Context::send`] lists.
    pub fn send_to_user<'a>(&mut self, user: &str, message: impl Into<Message<'a>>) -> usize {
        let (first, payload) = message.into().encode();
        self.send_frame_to_user(user, payload.len(), |arena| arena.put_frame(first, payload))
    }

    /// Sends a text to a user as [`Context::send_to_user`] does. The text is given in several
    /// pieces, which are joined when it is encoded.
    pub fn send_pieces_to_user(&mut self, user: &str, pieces: &[&str]) -> usize {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.send_frame_to_user(user, length, |arena| arena.put_pieces(TEXT, length, pieces))
    }

    /// Does what [`Context::send_pieces_to_user`] does. There is one function for each number of
    /// pieces, because a loop over an unknown number takes ten instructions more.
    #[inline(never)]
    pub(crate) fn send_parts_to_user<const PIECES: usize>(
        &mut self,
        user: &str,
        pieces: &[&str; PIECES],
    ) -> usize {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.send_frame_to_user(user, length, |arena| arena.put_pieces(TEXT, length, pieces))
    }

    #[inline(always)]
    fn send_frame_to_user<Encode: FnOnce(&mut Arena) -> Segment>(
        &mut self,
        user: &str,
        length: usize,
        encode: Encode,
    ) -> usize {
        self.settle_walk();
        let seat = self.users.find::<Encode>(user, &self.table);
        let Some(seat) = seat.filter(|_| self.fits(length)) else { return 0 };
        let segment = encode(&mut self.output.arena);
        let queued = match seat.get() {
            Seated::Alone(index) => {
                usize::from(self.queue_message::<{ Flags::APART }>(index, segment))
            }
            Seated::Several(_) => self.queue_for_devices(seat, segment),
        };
        if queued == 0 {
            self.output.arena.take_back(segment);
        }
        queued
    }

    /// Returns whether so much was already sent to a user in this turn, on a connection whose
    /// socket takes bytes, that more could fill the queue before it is written. A handler that
    /// sends many messages in one callback should ask this. Other handlers need not, because the
    /// hub parses no input while this is true of any user.
    pub fn is_pressed(&self, user: &str) -> bool {
        self.output.pressed > 0 && self.has_pressed(user)
    }

    #[cold]
    fn has_pressed(&self, user: &str) -> bool {
        let connections = self.connections_of(user);
        let mut records = connections.into_iter().filter_map(|conn| self.resolve(conn));
        records.any(|record| is_pressed(record, self.config.max_queue))
    }

    fn queue_for_devices(&mut self, seat: Seat, segment: Segment) -> usize {
        let mut receivers = [Slot::NONE; crate::hub::Devices::MOST];
        let count = self.active_members(seat, &mut receivers);
        if count > 1 {
            self.output.arena.mark_fan_out(segment);
        }
        receivers[..count].iter().filter(|&&at| self.queue_message::<0>(at, segment)).count()
    }

    /// Queues an encoded message for an open connection that has none of the flags `BUT`. Returns
    /// whether it was queued.
    #[inline(always)]
    fn queue_message<const BUT: u16>(&mut self, index: Slot, segment: Segment) -> bool {
        let conn = &mut self.table[index];
        let length = conn.out.len_at_most() + segment.len();
        if !conn.flags.has(LONG_WAY | BUT) && length <= self.output.bounds.half_queue {
            let Output { arena, dirty, .. } = &mut self.output;
            conn.queue(index, segment, arena, dirty, Urgency::Direct);
            self.queued_one();
            return true;
        }
        if conn.flags.has(BUT) {
            return false;
        }
        self.work = self.work.saturating_sub(1);
        let blocked = conn.flags.has(Flags::BLOCKED);
        if !has_room(conn.out.len(), segment.len(), self.config.max_queue, blocked) {
            self.refuse_full(index, blocked);
            return false;
        }
        conn.flags.set(Flags::MESSAGE_QUEUED);
        let noted = conn.flags.has(Flags::NOTED);
        self.stats.deliveries += 1;
        self.queue(index, segment);
        if noted {
            self.note_queued(index, segment);
        }
        true
    }

    /// Counts a message that was queued, and reduces the work of the turn.
    #[inline(always)]
    fn queued_one(&mut self) {
        self.stats.deliveries += 1;
        self.work = self.allowance(self.work.saturating_sub(1));
    }

    /// Queues a control frame (RFC 6455, section 5.5).
    pub(in crate::hub) fn queue_control(&mut self, index: Slot, first: u8, payload: &[u8]) {
        self.settle_walk();
        let segment = self.output.arena.put_frame(first, payload);
        // A close frame is queued even if the queue is full, because it is the last frame.
        let conn = &self.table[index];
        let blocked = conn.flags.has(Flags::BLOCKED);
        let has_room = has_room(conn.out.len(), segment.len(), self.config.max_queue, blocked);
        if blocked && !has_room && first != frame::CLOSE {
            self.drop_slow_reader(index);
            return;
        }
        if conn.flags.has(Flags::NOTED) {
            self.note_queued(index, segment);
        }
        self.queue(index, segment);
    }

    /// Queues encoded bytes of any kind, even if the queue is full.
    pub(in crate::hub) fn queue(&mut self, index: Slot, segment: Segment) {
        self.settle_walk();
        let conn = &mut self.table[index];
        if conn.flags.has(Flags::BLOCKED) {
            conn.out.push_durable(segment, &mut self.output.arena);
            self.work = self.allowance(self.work);
            return;
        }
        let before = conn.out.len();
        self.output.pressed +=
            u32::from(becomes_pressed(before, segment.len(), self.config.max_queue));
        let refs = conn.out.push(segment, &mut self.output.arena);
        self.output.arena.retain_current(refs);
        self.output.dirty.mark(index, &mut conn.flags, Urgency::Direct);
        self.work = self.allowance(self.work);
    }

    /// Queues an HTTP answer that `put` appends to a vector.
    pub(in crate::hub) fn queue_answer(&mut self, index: Slot, put: impl FnOnce(&mut Vec<u8>)) {
        let Output { arena, answer, .. } = &mut self.output;
        answer.clear();
        put(answer);
        let segment = arena.put(answer);
        answer.shrink_to(LARGE_ANSWER);
        self.queue(index, segment);
    }

    /// Records a queued frame in the trace of the connection's user.
    #[cold]
    pub(super) fn note_queued(&mut self, index: Slot, segment: Segment) {
        let frame = self.output.arena.slice(segment);
        let (first, bytes) = (frame[0], frame::server_payload(frame).len());
        self.note_out(index, first, bytes);
    }

    /// Called when a queue has no room for a message. A connection whose socket has blocked is
    /// dropped as a slow reader. A connection whose socket takes bytes stays, because its peer is
    /// not the cause: more was sent to it in one turn than a queue holds.
    pub(super) fn refuse_full(&mut self, index: Slot, blocked: bool) {
        if blocked {
            self.drop_slow_reader(index);
        } else {
            self.stats.overfull += 1;
        }
    }

    pub(in crate::hub) fn drop_slow_reader(&mut self, index: Slot) {
        if self.table[index].phase() != Phase::Ended {
            self.stats.slow_readers += 1;
            self.end(index, CloseReason::SlowReader);
        }
    }
}

impl<'a> Message<'a> {
    /// Returns the first byte of the message's frame, and its payload.
    #[inline(always)]
    pub(in crate::hub) fn encode(self) -> (u8, &'a [u8]) {
        match self {
            Message::Text(text) => (TEXT, text.as_bytes()),
            Message::Binary(data) => (BINARY, data),
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    #[inline(always)]
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    #[inline(always)]
    fn from(text: &'a String) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    #[inline(always)]
    fn from(data: &'a [u8]) -> Self {
        Message::Binary(data)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    #[inline(always)]
    fn from(data: &'a [u8; N]) -> Self {
        Message::Binary(data)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    #[inline(always)]
    fn from(data: &'a Vec<u8>) -> Self {
        Message::Binary(data)
    }
}

impl Connection {
    /// Queues a message for a connection whose socket takes bytes and whose queue has much room.
    #[inline(always)]
    fn queue(
        &mut self,
        index: Slot,
        segment: Segment,
        arena: &mut Arena,
        dirty: &mut Dirty,
        urgency: Urgency,
    ) {
        self.flags.set(Flags::MESSAGE_QUEUED);
        let refs = self.out.push(segment, arena);
        arena.retain_current(refs);
        dirty.mark(index, &mut self.flags, urgency);
    }
}
