//! Taking bytes out: what has to be written to which connection, and what happens after a write.

use std::io::{self, ErrorKind, IoSlice};

use crate::hub::output::arena::{Arena, Segment};
use crate::hub::output::outbound::Outbound;
use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;

use super::Output;
use super::dirty::Urgency;
use super::pressure::is_pressed;
use crate::hub::{ConnId, Context};

/// What the caller has to do after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The caller has nothing to do.
    Nothing,
    /// The caller must shut the write side down and read until the end of the stream: the last
    /// bytes were written, and unread input would destroy them.
    ShutdownWrite,
}

/// The sockets, for [`Hub::write`](crate::Hub::write).
pub trait Sink {
    /// Writes to the socket of the connection in the slot `index`, once and
    /// without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing now; others as the system says.
    fn write(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize>;

    /// Does what [`Sink::write`] does, for bytes in several slices.
    ///
    /// # Errors
    /// In the cases in which [`Sink::write`] fails.
    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// The most slices in one vectored write; more slices wait for the next write.
const SLICES: usize = 64;

/// What the caller of [`Hub::write`](crate::Hub::write) has to do after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wrote {
    /// The caller has nothing to do.
    Done,
    /// See [`Sent::ShutdownWrite`].
    ShutdownWrite,
    /// Wait for the socket to take more, then call [`Hub::writable`](crate::Hub::writable).
    Blocked,
    /// The caller need not wait any longer until the socket takes more.
    Unblocked,
}

/// The bytes that a connection has to write next.
#[derive(Debug)]
pub struct Pending<'a> {
    out: &'a Outbound,
    /// A broadcast that is walking; it comes after all bytes that are queued.
    ahead: Segment,
    arena: &'a Arena,
}

impl<'a> Pending<'a> {
    pub(in crate::hub) fn len(&self) -> usize {
        self.out.len() + self.ahead.len()
    }

    /// Returns all bytes, if they are in one slice; an empty slice if there are none.
    pub fn single(&self) -> Option<&'a [u8]> {
        if self.ahead.is_empty() {
            self.out.single(self.arena)
        } else {
            self.out.is_empty().then(|| self.arena.slice(self.ahead))
        }
    }

    /// Fills `slices` with the next bytes; returns how many slices it has filled.
    pub fn gather(&self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = self.out.gather(self.arena, slices);
        match slices.get_mut(count) {
            Some(slot) if !self.ahead.is_empty() => {
                *slot = IoSlice::new(self.arena.slice(self.ahead));
                count + 1
            }
            _ => count,
        }
    }
}

impl Context {
    /// The next connection that has something to write. Each is handed out
    /// once until more is queued.
    pub(in crate::hub) fn pop_dirty(&mut self) -> Option<ConnId> {
        self.settle_walk();
        self.next_dirty()
    }

    // `Hub::receive_inline` says why this has to be marked.
    #[inline(always)]
    fn next_dirty(&mut self) -> Option<ConnId> {
        while let Some(index) = self.output.dirty.pop() {
            let Some(conn) = self.table.get_mut(index) else { continue };
            conn.flags.clear(Flags::DIRTY_DIRECT | Flags::DIRTY_FAN_OUT);
            if conn.phase() != Phase::Ended
                && !conn.out.is_empty()
                && !conn.flags.has(Flags::BLOCKED)
            {
                return Some(ConnId { index, serial: conn.serial() });
            }
        }
        None
    }

    /// Writes to connections that have something to write, once each and
    /// `budget` of them at most, and takes note of what became of it:
    /// [`Hub::pop_dirty`](crate::Hub::pop_dirty), [`Context::pending`](crate::Context::pending), [`Hub::sent`](crate::Hub::sent), [`Hub::blocked`](crate::Hub::blocked) and
    /// [`Hub::failed`](crate::Hub::failed) in one, for all the writes of a server. Returns early
    /// when the caller has to do something for a connection; `None` when nothing
    /// more is to be written or the budget is spent.
    pub(in crate::hub) fn write<S: Sink>(
        &mut self,
        sink: &mut S,
        budget: &mut u32,
    ) -> Option<(ConnId, Wrote)> {
        while *budget > 0 {
            let wrote = match self.write_plain(sink, budget) {
                None if *budget > 0 => self.write_any(sink, budget)?,
                None => return None,
                Some(wrote) => wrote,
            };
            if wrote.1 != Wrote::Done {
                return Some(wrote);
            }
        }
        None
    }

    /// Writes to the next connection, or lets a broadcast walk on.
    fn write_any<S: Sink>(&mut self, sink: &mut S, budget: &mut u32) -> Option<(ConnId, Wrote)> {
        let Some(conn) = self.next_dirty() else { return self.write_walk(sink, budget) };
        *budget -= 1;
        Some((conn, self.write_one(sink, conn)))
    }

    /// Writes to connections as long as they are like nearly all: open, with
    /// nothing but bytes of the current buffer, which their sockets take whole.
    /// Returns the first whose socket does not.
    #[inline(never)]
    fn write_plain<S: Sink>(&mut self, sink: &mut S, budget: &mut u32) -> Option<(ConnId, Wrote)> {
        const UNUSUAL: u16 = Flags::BLOCKED | Flags::WAS_BLOCKED | Flags::PINGED;
        const DIRTY: u16 = Flags::DIRTY_DIRECT | Flags::DIRTY_FAN_OUT;
        let Context { table, output, now, stats, .. } = self;
        let Output { dirty, arena, pressed, .. } = output;
        let queue = dirty.only_queue().filter(|_| *pressed == 0)?;
        let most = *budget;
        let (mut released, mut length) = (0, 0);
        let mut unusual = None;
        let mut records = table.records();
        while released < most
            && let Some(index) = queue.first()
            && let Some(record) = records.get_mut(index.at())
            && record.phase() == Phase::Open
            && !record.flags.has(UNUSUAL)
            && let Some(bytes) = record.out.current(arena)
        {
            queue.skip();
            record.flags.clear(DIRTY);
            let result = sink.write(index.at(), bytes);
            if !matches!(result, Ok(length) if length == bytes.len()) {
                let conn = ConnId { index, serial: record.serial() };
                unusual = Some((conn, bytes.len(), result));
                break;
            }
            length += bytes.len();
            record.out.forget_run();
            record.note_life(*now);
            released += 1;
        }
        stats.bytes_out += length as u64;
        arena.release_current(released);
        *budget -= released + u32::from(unusual.is_some());
        let (conn, offered, result) = unusual?;
        Some((conn, self.after_write(conn, offered, result)))
    }

    /// Writes to a connection whose socket was full the last time, once: it may take bytes
    /// by now though no event has said so yet. `None` when it was not full.
    pub(crate) fn retry<S: Sink>(&mut self, sink: &mut S, conn: ConnId) -> Option<Wrote> {
        let record = self.resolve(conn)?;
        if !record.flags.has(Flags::BLOCKED) || record.phase() == Phase::Ended {
            return None;
        }
        self.settle_walk();
        self.writable(conn);
        let record = self.resolve(conn).filter(|record| !record.out.is_empty())?;
        (record.phase() != Phase::Ended).then(|| self.write_one(sink, conn))
    }

    fn write_one<S: Sink>(&mut self, sink: &mut S, conn: ConnId) -> Wrote {
        let index = conn.index.at();
        let out = &self.table[conn.index].out;
        let (offered, result) = match out.single(&self.output.arena) {
            Some(bytes) => (bytes.len(), sink.write(index, bytes)),
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = out.gather(&self.output.arena, &mut slices);
                let slices = &slices[..count];
                let offered = slices.iter().map(|slice| slice.len()).sum();
                (offered, sink.write_vectored(index, slices))
            }
        };
        self.after_write(conn, offered, result)
    }

    pub(in crate::hub) fn after_write(
        &mut self,
        conn: ConnId,
        offered: usize,
        result: io::Result<usize>,
    ) -> Wrote {
        let written = match result {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked(conn);
                return Wrote::Blocked;
            }
            // The connection keeps its place for the next turn.
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                let _ = self.note_sent(conn, 0);
                return Wrote::Done;
            }
            Err(error) => {
                self.failed(conn, &error);
                return Wrote::Done;
            }
        };
        match self.note_sent(conn, written) {
            Sent::ShutdownWrite => Wrote::ShutdownWrite,
            Sent::Nothing if written < offered => {
                self.blocked(conn);
                Wrote::Blocked
            }
            Sent::Nothing if self.table[conn.index].out.is_empty() => Wrote::Unblocked,
            Sent::Nothing => Wrote::Done,
        }
    }

    /// Whether [`Hub::pop_dirty`](crate::Hub::pop_dirty) may have something to give.
    pub fn has_dirty(&self) -> bool {
        !self.output.dirty.is_empty() || self.output.walk.is_some() || !self.parting.is_empty()
    }

    /// Returns the bytes that a connection has to write; `None` if it is gone or has none.
    #[inline]
    pub fn pending(&self, conn: ConnId) -> Option<Pending<'_>> {
        let record = self.resolve(conn)?;
        let walk = self.output.walk.as_ref();
        let ahead = walk.and_then(|walk| walk.ahead(conn.index, record));
        let pending = Pending {
            out: &record.out,
            ahead: ahead.unwrap_or_default(),
            arena: &self.output.arena,
        };
        (record.phase() != Phase::Ended && pending.len() > 0).then_some(pending)
    }

    /// `written` bytes of what was pending were written. If that was less than
    /// was offered to the socket, [`Hub::blocked`](crate::Hub::blocked) has to follow; if more is
    /// pending than was offered, it is handed out again after the turn's end.
    pub(in crate::hub) fn sent(&mut self, conn: ConnId, written: usize) -> Sent {
        // It may have been part of what was pending.
        self.settle_walk();
        self.note_sent(conn, written)
    }

    fn note_sent(&mut self, conn: ConnId, written: usize) -> Sent {
        let Some(record) = self.table.get_mut(conn.index) else { return Sent::Nothing };
        if record.serial() != conn.serial || record.phase() == Phase::Ended {
            return Sent::Nothing;
        }
        self.stats.bytes_out += written as u64;
        let pressed = is_pressed(record, self.config.max_queue);
        record.out.advance(written, &mut self.output.arena);
        if pressed && !is_pressed(record, self.config.max_queue) {
            self.output.pressed -= 1;
        }
        if record.out.is_empty() {
            return self.flushed(conn);
        }
        // A slow reader that never quite catches up reads all the same.
        let progresses = written > 0 && record.flags.has(Flags::MESSAGE_QUEUED);
        self.output.dirty.mark_later(conn.index, &mut record.flags);
        if progresses && record.phase() == Phase::Open && record.note_life(self.now) {
            record.flags.set(Flags::MESSAGE_QUEUED);
            self.clear_pinged(conn.index);
        }
        Sent::Nothing
    }

    /// The connection's socket takes nothing more for now: it is not handed
    /// out again before [`Hub::writable`](crate::Hub::writable).
    pub(in crate::hub) fn blocked(&mut self, conn: ConnId) {
        if let Some(record) = self.table.get_mut(conn.index)
            && record.serial() == conn.serial
            && record.phase() != Phase::Ended
        {
            if is_pressed(record, self.config.max_queue) {
                self.output.pressed -= 1;
            }
            self.output.blocked += u32::from(!record.flags.has(Flags::BLOCKED));
            record.flags.set(Flags::BLOCKED);
            record.out.make_durable(&mut self.output.arena);
            // Now that it waits for its peer, the bound is strict.
            if record.phase() == Phase::Open && record.out.len() > self.config.max_queue {
                self.drop_slow_reader(conn.index);
            }
        }
    }

    /// The connection's socket takes bytes again. Harmless for one that was not
    /// blocked.
    pub(in crate::hub) fn writable(&mut self, conn: ConnId) {
        if let Some(record) = self.table.get_mut(conn.index)
            && record.serial() == conn.serial
            && record.flags.has(Flags::BLOCKED)
        {
            record.flags.clear(Flags::BLOCKED);
            self.output.blocked -= 1;
            record.flags.set(Flags::WAS_BLOCKED);
            if is_pressed(record, self.config.max_queue) {
                self.output.pressed += 1;
            }
            self.output.dirty.mark(conn.index, &mut record.flags, Urgency::Direct);
        }
    }

    /// Ends the turn's writing: makes room when `max_buffered` is passed, and
    /// gives back what was written. Call after the writes, before
    /// [`Hub::reap`](crate::Hub::reap).
    // `Hub::receive_inline` says why this has to be marked.
    #[inline(always)]
    pub(in crate::hub) fn end_turn(&mut self) {
        self.output.dirty.end_turn(&mut self.table);
        // This comes first, so that the bytes that were written in this turn do not count any more.
        self.output.arena.end_turn();
        self.relieve();
    }

    /// Everything queued was written.
    fn flushed(&mut self, conn: ConnId) -> Sent {
        let now = self.now;
        let record = &mut self.table[conn.index];
        match record.phase() {
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
                // Not an answer: a 100 that has a body sent.
                if record.flags.has(Flags::ANSWERING) && !self.is_awaited(conn.index) {
                    self.answered(conn);
                }
                Sent::Nothing
            }
            Phase::FlushThenDrain if !record.facts.has(Facts::EOF) => {
                self.go_to(conn.index, Phase::Draining);
                Sent::ShutdownWrite
            }
            Phase::FlushThenDrain | Phase::FlushThenEnd => {
                self.end_closing(conn.index);
                Sent::Nothing
            }
            Phase::Held | Phase::Parting | Phase::Draining | Phase::Ended => Sent::Nothing,
        }
    }
}
