//! Sending: encode once, queue a reference to it for every receiver, mark the
//! receivers dirty. Nothing is written here.

use crate::conn::arena::{Arena, Segment};
use crate::conn::close::CloseReason;
use crate::conn::frame::{self, BINARY, TEXT};
use crate::conn::{Connection, Flags, Phase};

use super::dirty::{Dirty, Urgency};
use super::pressure::{becomes_pressed, has_room};
use super::users::{Seat, Seated};
use super::{ConnId, Hub};

impl Hub {
    /// Queues a text message for one connection. Returns whether it was
    /// queued: not when the connection is gone or closing, when the message is
    /// longer than any queue, or when this queue is full, in which case the
    /// connection is dropped as a slow reader.
    #[inline(always)]
    pub fn send_text(&mut self, conn: ConnId, text: &str) -> bool {
        self.send(conn, TEXT, text.as_bytes())
    }

    /// Queues a binary message for one connection. As [`Hub::send_text`].
    pub fn send_binary(&mut self, conn: ConnId, data: &[u8]) -> bool {
        self.send(conn, BINARY, data)
    }

    #[inline(always)]
    fn send(&mut self, conn: ConnId, first: u8, payload: &[u8]) -> bool {
        // Nearly every connection's socket takes bytes, and it has no more
        // queued than other replies of this turn.
        let most = self.config.max_queue / 2;
        let Hub { conns, arena, dirty, .. } = self;
        if let Some(record) = conns.get_mut(conn.index as usize)
            && record.serial == conn.serial
            && record.phase == Phase::Open
            && !record.flags.has(Flags::BLOCKED)
            && record.out.len() + payload.len() + frame::MAX_HEADER <= most
        {
            let segment = arena.put_frame(first, payload);
            record.queue(conn.index, segment, arena, dirty);
            self.queued_one();
            return true;
        }
        self.send_behind(conn, first, payload)
    }

    #[inline(never)]
    fn send_behind(&mut self, conn: ConnId, first: u8, payload: &[u8]) -> bool {
        if !self.is_open(conn) || !self.fits(payload.len()) {
            return false;
        }
        let segment = self.arena.put_frame(first, payload);
        let queued = self.queue_message(conn.index, segment);
        if !queued {
            self.arena.take_back(segment);
        }
        queued
    }

    /// Whether a queue could ever hold that message. If not, no receiver is to
    /// blame: it is sent to nobody, and nobody is dropped for it.
    #[inline]
    fn fits(&mut self, length: usize) -> bool {
        let fits = frame::server_header_len(length) + length <= self.config.max_queue;
        self.stats.too_long += u64::from(!fits);
        fits
    }

    /// Queues a text message for the active connections of a user: one for
    /// each device. Returns how many; 0 means that the user is offline, or that
    /// the message is longer than any queue.
    pub fn send_to_user(&mut self, user: &str, text: &str) -> usize {
        self.send_pieces_to_user(user, &[text])
    }

    /// The same for a text in several pieces, which are put together where it
    /// is encoded.
    #[inline]
    pub fn send_pieces_to_user(&mut self, user: &str, pieces: &[&str]) -> usize {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let Some(seat) = self.find_seat(user).filter(|_| self.fits(length)) else { return 0 };
        let segment = self.arena.put_pieces(TEXT, length, pieces);
        let queued = match seat.get() {
            Seated::Alone(index) => usize::from(self.queue_message(index, segment)),
            Seated::Several(_) => self.queue_for_devices(seat, segment),
        };
        if queued == 0 {
            self.arena.take_back(segment);
        }
        queued
    }

    fn queue_for_devices(&mut self, seat: Seat, segment: Segment) -> usize {
        let mut receivers = [0; super::Devices::MOST];
        let count = self.active_members(seat, &mut receivers);
        if count > 1 {
            self.arena.mark_fan_out(segment);
        }
        receivers[..count].iter().filter(|&&index| self.queue_message(index, segment)).count()
    }

    /// Queues a text message for every active connection. Returns how many; 0
    /// also when the message is longer than any queue. The whole fan-out is
    /// queued before anything else is handled.
    pub fn broadcast(&mut self, text: &str) -> usize {
        if !self.fits(text.len()) {
            return 0;
        }
        let mut fan_out = self.start_fan_out(text);
        for (index, conn) in &mut self.conns {
            fan_out.queue(index as u32, conn, &mut self.dirty, &mut self.arena);
        }
        self.finish_fan_out(fan_out)
    }

    /// Queues a text message for every active connection in a group, encoded
    /// once. Returns how many; 0 when there is no such group.
    pub fn send_to_group(&mut self, group: &str, text: &str) -> usize {
        if !self.fits(text.len()) {
            return 0;
        }
        if self.groups.members(group).is_none() {
            return 0;
        }
        let mut fan_out = self.start_fan_out(text);
        for &index in self.groups.members(group).unwrap_or_default() {
            if let Some(conn) = self.conns.get_mut(index as usize) {
                fan_out.queue(index, conn, &mut self.dirty, &mut self.arena);
            }
        }
        self.finish_fan_out(fan_out)
    }

    fn start_fan_out(&mut self, text: &str) -> FanOut {
        let segment = self.arena.put_frame(TEXT, text.as_bytes());
        self.arena.mark_fan_out(segment);
        FanOut::new(segment, self.config.max_queue)
    }

    fn finish_fan_out(&mut self, fan_out: FanOut) -> usize {
        self.arena.retain(fan_out.refs);
        if fan_out.queued == 0 {
            self.arena.take_back(fan_out.segment);
        }
        self.pressed += fan_out.pressed;
        self.work = self.allowance(self.work.saturating_sub(fan_out.queued));
        self.stats.deliveries += u64::from(fan_out.queued);
        for index in fan_out.full {
            self.drop_slow_reader(index);
        }
        fan_out.queued as usize
    }

    /// Queues a message that was encoded, for an open connection.
    #[inline(always)]
    fn queue_message(&mut self, index: u32, segment: Segment) -> bool {
        let conn = &mut self.conns[index as usize];
        let blocked = conn.flags.has(Flags::BLOCKED);
        let length = conn.out.len() + segment.len();
        if !blocked && length <= self.config.max_queue / 2 {
            conn.queue(index, segment, &mut self.arena, &mut self.dirty);
            self.queued_one();
            return true;
        }
        self.work = self.work.saturating_sub(1);
        if !has_room(conn.out.len(), segment.len(), self.config.max_queue, blocked) {
            self.drop_slow_reader(index);
            return false;
        }
        conn.flags.set(Flags::MESSAGE_QUEUED);
        self.stats.deliveries += 1;
        self.queue(index, segment);
        true
    }

    /// Accounts for a message that was queued.
    #[inline(always)]
    fn queued_one(&mut self) {
        self.stats.deliveries += 1;
        self.work = self.allowance(self.work.saturating_sub(1));
    }

    /// Queues a control frame (RFC 6455, section 5.5).
    pub(super) fn queue_control(&mut self, index: u32, first: u8, payload: &[u8]) {
        let segment = self.arena.put_frame(first, payload);
        // A close frame always has room: it is the last.
        let conn = &self.conns[index as usize];
        let blocked = conn.flags.has(Flags::BLOCKED);
        let full = !has_room(conn.out.len(), segment.len(), self.config.max_queue, blocked);
        if full && first != frame::CLOSE {
            self.drop_slow_reader(index);
            return;
        }
        self.queue(index, segment);
    }

    /// Queues bytes that were encoded, whatever they are and however full the
    /// queue is.
    pub(super) fn queue(&mut self, index: u32, segment: Segment) {
        let conn = &mut self.conns[index as usize];
        if conn.flags.has(Flags::BLOCKED) {
            conn.out.push_durable(segment, &mut self.arena);
            return;
        }
        let before = conn.out.len();
        self.pressed += u32::from(becomes_pressed(before, segment.len(), self.config.max_queue));
        self.arena.retain(conn.out.push(segment));
        self.dirty.mark(index, conn, Urgency::Direct);
        self.work = self.allowance(self.work);
    }

    pub(super) fn drop_slow_reader(&mut self, index: u32) {
        if self.conns[index as usize].phase != Phase::Ended {
            self.stats.slow_readers += 1;
            self.end(index, CloseReason::SlowReader);
        }
    }
}

impl Connection {
    /// Queues a message, as the socket takes bytes and there is not much queued.
    #[inline(always)]
    fn queue(&mut self, index: u32, segment: Segment, arena: &mut Arena, dirty: &mut Dirty) {
        self.flags.set(Flags::MESSAGE_QUEUED);
        arena.retain(self.out.push(segment));
        dirty.mark(index, self, Urgency::Direct);
    }
}

/// One encoding on its way into many queues.
struct FanOut {
    segment: Segment,
    max_queue: usize,
    queued: u32,
    /// How many more connections have much to write now.
    pressed: u32,
    /// How many segments the arena has to count.
    refs: u32,
    /// Those whose queues are full.
    full: Vec<u32>,
}

impl FanOut {
    fn new(segment: Segment, max_queue: usize) -> Self {
        FanOut { segment, max_queue, queued: 0, pressed: 0, refs: 0, full: Vec::new() }
    }

    /// Queues it for one receiver, if that is active.
    #[inline]
    fn queue(&mut self, index: u32, conn: &mut Connection, dirty: &mut Dirty, arena: &mut Arena) {
        const UNUSUAL: u16 =
            Flags::PARKED | Flags::BLOCKED | Flags::DIRTY_DIRECT | Flags::DIRTY_FAN_OUT;
        // Nearly every receiver has nothing queued, and its socket takes bytes.
        if conn.phase == Phase::Open && !conn.flags.has(UNUSUAL) && conn.out.start(self.segment) {
            self.queued += 1;
            self.refs += 1;
            conn.flags.set(Flags::MESSAGE_QUEUED);
            dirty.mark_fan_out(index, conn);
            self.pressed += u32::from(becomes_pressed(0, self.segment.len(), self.max_queue));
        } else if conn.is_active() {
            self.queue_behind(index, conn, dirty, arena);
        }
    }

    fn queue_behind(
        &mut self,
        index: u32,
        conn: &mut Connection,
        dirty: &mut Dirty,
        arena: &mut Arena,
    ) {
        let length = self.segment.len();
        let before = conn.out.len();
        let blocked = conn.flags.has(Flags::BLOCKED);
        if !has_room(before, length, self.max_queue, blocked) {
            return self.full.push(index);
        }
        conn.flags.set(Flags::MESSAGE_QUEUED);
        self.queued += 1;
        if blocked {
            return conn.out.push_durable(self.segment, arena);
        }
        self.refs += conn.out.push(self.segment);
        self.pressed += u32::from(becomes_pressed(before, length, self.max_queue));
        dirty.mark(index, conn, Urgency::FanOut);
    }
}
