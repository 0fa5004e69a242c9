//! Taking bytes out: what is to be written where, and what follows when it was.

use std::io::IoSlice;

use crate::conn::{Flags, Phase};

use super::dirty::Urgency;
use super::pressure::is_pressed;
use super::{ConnId, Hub};

/// What the caller has to do after bytes were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// Shut the write side down and read on until the end of the stream: the
    /// last bytes were written and unread input must not destroy them.
    ShutdownWrite,
}

/// The bytes a connection has to write next.
#[derive(Debug)]
pub struct Pending<'a> {
    hub: &'a Hub,
    index: usize,
}

impl<'a> Pending<'a> {
    /// All of them, if they lie in one slice; empty when there are none.
    #[inline]
    pub fn single(&self) -> Option<&'a [u8]> {
        self.hub.conns[self.index].out.single(&self.hub.arena)
    }

    /// Fills `slices` with the next of them; returns how many.
    pub fn gather(&self, slices: &mut [IoSlice<'a>]) -> usize {
        self.hub.conns[self.index].out.gather(&self.hub.arena, slices)
    }
}

impl Hub {
    /// The next connection that has something to write. Each is handed out
    /// once until more is queued.
    #[inline]
    pub fn pop_dirty(&mut self) -> Option<ConnId> {
        while let Some(index) = self.dirty.pop() {
            let Some(conn) = self.conns.get_mut(index as usize) else { continue };
            conn.flags.clear(Flags::DIRTY_DIRECT | Flags::DIRTY_FAN_OUT);
            if conn.phase != Phase::Ended && !conn.out.is_empty() && !conn.flags.has(Flags::BLOCKED)
            {
                return Some(ConnId { index, serial: conn.serial });
            }
        }
        None
    }

    /// Whether [`Hub::pop_dirty`] may have something to give.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What a connection has to write; `None` when it is gone or has nothing.
    #[inline]
    pub fn pending(&self, conn: ConnId) -> Option<Pending<'_>> {
        let record = self.resolve(conn)?;
        let index = conn.index as usize;
        (record.phase != Phase::Ended && !record.out.is_empty())
            .then_some(Pending { hub: self, index })
    }

    /// `written` bytes of what was pending were written. If that was less than
    /// was offered to the socket, [`Hub::blocked`] has to follow; if more is
    /// pending than was offered, it is handed out again after the turn's end.
    #[inline]
    pub fn sent(&mut self, conn: ConnId, written: usize) -> Sent {
        let Some(record) = self.conns.get_mut(conn.index as usize) else { return Sent::Nothing };
        if record.serial != conn.serial || record.phase == Phase::Ended {
            return Sent::Nothing;
        }
        // Nearly every write: an open connection took all of one slice.
        if record.phase == Phase::Open
            && !record.flags.has(Flags::BLOCKED | Flags::WAS_BLOCKED | Flags::PINGED)
            && written > 0
            && record.out.take_run(written, &mut self.arena)
        {
            self.pressed -= u32::from(written > self.config.max_queue / 2);
            record.note_life(self.now);
            return Sent::Nothing;
        }
        let pressed = is_pressed(record, self.config.max_queue);
        record.out.advance(written, &mut self.arena);
        if pressed && !is_pressed(record, self.config.max_queue) {
            self.pressed -= 1;
        }
        if record.out.is_empty() {
            return self.flushed(conn);
        }
        // A slow reader that never quite catches up reads all the same.
        let progresses = written > 0 && record.flags.has(Flags::MESSAGE_QUEUED);
        self.dirty.mark_later(conn.index, record);
        if progresses && record.phase == Phase::Open && record.note_life(self.now) {
            record.flags.set(Flags::MESSAGE_QUEUED);
            self.clear_pinged(conn.index);
        }
        Sent::Nothing
    }

    /// The connection's socket takes nothing more for now: it is not handed
    /// out again before [`Hub::writable`].
    pub fn blocked(&mut self, conn: ConnId) {
        if let Some(record) = self.conns.get_mut(conn.index as usize)
            && record.serial == conn.serial
            && record.phase != Phase::Ended
        {
            if is_pressed(record, self.config.max_queue) {
                self.pressed -= 1;
            }
            record.flags.set(Flags::BLOCKED);
            record.out.make_durable(&mut self.arena);
            // Now that it waits for its peer, the bound is strict.
            if record.phase == Phase::Open && record.out.len() > self.config.max_queue {
                self.drop_slow_reader(conn.index);
            }
        }
    }

    /// The connection's socket takes bytes again. Harmless for one that was not
    /// blocked.
    pub fn writable(&mut self, conn: ConnId) {
        if let Some(record) = self.conns.get_mut(conn.index as usize)
            && record.serial == conn.serial
            && record.flags.has(Flags::BLOCKED)
        {
            record.flags.clear(Flags::BLOCKED);
            record.flags.set(Flags::WAS_BLOCKED);
            if is_pressed(record, self.config.max_queue) {
                self.pressed += 1;
            }
            self.dirty.mark(conn.index, record, Urgency::Direct);
        }
    }

    /// Everything queued was written.
    fn flushed(&mut self, conn: ConnId) -> Sent {
        let now = self.now;
        let record = &mut self.conns[conn.index as usize];
        match record.phase {
            Phase::Open => {
                if record.flags.has(Flags::WAS_BLOCKED) {
                    record.flags.clear(Flags::WAS_BLOCKED);
                    self.drained.push(conn);
                }
                if record.note_life(now) {
                    self.clear_pinged(conn.index);
                }
                Sent::Nothing
            }
            Phase::Head => {
                self.answered(conn);
                Sent::Nothing
            }
            Phase::FlushThenDrain if !record.flags.has(Flags::EOF) => {
                record.phase = Phase::Draining;
                Sent::ShutdownWrite
            }
            Phase::FlushThenDrain | Phase::FlushThenEnd => {
                self.end_closing(conn.index);
                Sent::Nothing
            }
            Phase::Held | Phase::Draining | Phase::Ended => Sent::Nothing,
        }
    }
}
