//! Backpressure: senders wait until the bytes that they have caused were written.
//!
//! A queue may grow because its peer does not read; beyond `max_queue` the peer is dropped. A queue
//! may also grow because the turn is not over, or because other connections are written first, and
//! that is not the peer's fault: one TCP segment with nine thousand one-byte broadcasts fills every
//! receiver's queue twice before the first write. So, when a connection whose socket takes bytes
//! has more than half of a queue to write, or all together have 256 KiB, nothing more is parsed
//! until these bytes are written. Writes go on meanwhile, so the wait ends, and bytes that were not
//! read stay in the kernel, which holds their sender back.
//!
//! A handler or a host can send more than that within one callback, in which nothing is written. No
//! connection that reads is ended because of it: a message that would be too much is not queued,
//! and the call says so.
//!
//! When `max_buffered` is exceeded, the hub ends connections that have a queue and do not read, or
//! that have begun something and do not finish it, the largest first. A connection that only waits
//! for the turn's writes is not one of them.

use crate::hub::table::record::Connection;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::hub::table::slots::Slot;
use crate::wire::ws::close::CloseReason;

use crate::hub::{Config, ConnId, Context};

/// When more bytes than these wait for their turn to be written, parsing waits;
/// when a quarter of `max_buffered` do, if that is less. Enough for a turn's
/// writes. More would not be written any sooner: it would fill the memory with
/// what the kernel holds already, and leave the processor's caches.
const MOST_WAITING: usize = 256 * 1024;

/// Bounds that follow from the configuration, worked out once: each message is compared with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Half of `max_queue`.
    pub half_queue: usize,
    /// Parsing waits when more bytes than these wait for their turn to be written.
    pub waiting: usize,
}

impl Bounds {
    pub fn new(config: &Config) -> Self {
        Bounds {
            half_queue: config.max_queue / 2,
            waiting: MOST_WAITING.min(config.max_buffered / 4),
        }
    }
}

impl Context {
    /// Whether parsing has to wait for writes.
    #[inline]
    pub(in crate::hub) fn is_strained(&self) -> bool {
        self.output.pressed > 0 || self.output.arena.waiting() > self.output.bounds.waiting
    }

    /// Returns the work that is allowed, as [`Context::allowance`] does, but also counts the memory
    /// of the lists, which grow by fan-outs. The work of a turn already bounds what messages to
    /// one connection add to the lists.
    #[inline]
    pub(in crate::hub) fn allowance_with_lists(&self, work: u32) -> u32 {
        let most = self.config.max_buffered / 4;
        if self.output.arena.listed() > most { 0 } else { self.allowance(work) }
    }

    /// The work a turn may do, if it may do any.
    #[inline]
    pub(in crate::hub) fn allowance(&self, work: u32) -> u32 {
        if self.is_strained() { 0 } else { work }
    }

    /// Bytes of [`Context::buffered`](crate::Context::buffered) that only wait for their turn to be written, not for a
    /// peer: nobody is ended for them.
    pub fn waiting_for_writes(&self) -> usize {
        self.output.arena.waiting() + self.output.arena.listed()
    }

    /// Whether a message of `length` bytes more fits into the memory for all that is to be
    /// written. For whoever sends many messages in one callback, and can say of the rest
    /// that it has to be sent again later; others need not ask. It does not fit while
    /// `max_buffered` is used up, by whatever that is, unless so little waits for its turn
    /// to be written that even clients would be read.
    #[inline]
    pub fn has_memory_for(&self, length: usize) -> bool {
        let waiting = self.output.arena.waiting();
        // What waits for its turn counts twice: while some of a turn is still to be
        // written, what others of it do not read is held once more.
        waiting == 0
            || waiting + length <= self.output.bounds.waiting
            || self.buffered() + waiting + 2 * length <= self.config.max_buffered
    }

    /// Whether so much was sent since the last writes that nothing more is queued: half of
    /// `max_buffered`, as it counts twice.
    pub(in crate::hub) fn is_overfull(&self) -> bool {
        let most = self.config.max_buffered;
        self.waiting_for_writes() >= most / 2 || self.buffered() >= most.saturating_mul(2)
    }

    /// The transport of a connection holds so many bytes for it now.
    #[inline]
    pub(in crate::hub) fn note_transport(&mut self, conn: ConnId, held: usize) {
        if held > 0 || self.transport_bytes > 0 {
            self.count_transport(conn, held);
        }
    }

    fn count_transport(&mut self, conn: ConnId, held: usize) {
        if self.resolve(conn).is_some_and(|record| record.phase() != Phase::Ended) {
            let held = u32::try_from(held).unwrap_or(u32::MAX);
            self.transport_bytes -= self.transports.get(conn.index) as usize;
            self.transport_bytes += held as usize;
            self.transports.set(conn.index, held);
        }
    }

    /// A connection has ended, and its transport goes with it.
    pub(in crate::hub) fn drop_transport(&mut self, index: Slot) {
        self.transport_bytes -= self.transports.get(index) as usize;
        self.transports.set(index, 0);
    }

    /// Makes room when `max_buffered` is used up.
    pub(in crate::hub) fn relieve(&mut self) {
        if self.buffered() > self.config.max_buffered {
            self.end_largest();
        }
    }

    /// Ends connections whose peers do not read or do not finish a message or request, those that
    /// hold most first, until the rest fits.
    #[cold]
    fn end_largest(&mut self) {
        let mut holders: Vec<(usize, Slot)> = Vec::new();
        for (index, conn) in self.table.iter() {
            let reads = !conn.flags.has(Flags::BLOCKED);
            let output = if reads { 0 } else { conn.out.stalled(&self.output.arena) };
            let input = conn.inbound.as_ref().map_or(0, |inbound| inbound.counted);
            let transport = self.transports.get(index) as usize;
            let held = output + input + transport;
            if held > 0 && conn.phase() != Phase::Ended {
                holders.push((held, index));
            }
        }
        holders.sort_unstable_by(|a, b| b.cmp(a));
        for (_, index) in holders {
            // What waits for writes will have been written soon. That others go for more
            // of it than the half would not make it less.
            let waiting = self.waiting_for_writes();
            let most = self.config.max_buffered;
            if self.buffered() - waiting <= (most / 2).max(most.saturating_sub(waiting)) {
                break;
            }
            self.stats.relieved += 1;
            // A transport gives back what it holds when its connection has ended.
            let is_held = self.transports.get(index) > 0;
            if !is_held && self.table[index].out.is_empty() {
                self.close_with(index, CloseReason::Memory);
            } else {
                self.end(index, CloseReason::Memory);
            }
        }
        self.output.arena.end_turn();
    }
}

/// Whether a connection is one of those that others have to wait for.
#[inline]
pub(in crate::hub) fn is_pressed(conn: &Connection, max_queue: usize) -> bool {
    conn.out.len() > max_queue / 2
        && !conn.flags.has(Flags::BLOCKED)
        && conn.phase() != Phase::Ended
}

/// Whether `length` bytes more in a queue of `before` make a connection whose
/// socket takes bytes one of those.
#[inline]
pub(in crate::hub) fn becomes_pressed(before: usize, length: usize, max_queue: usize) -> bool {
    before <= max_queue / 2 && before + length > max_queue / 2
}

/// Whether a queue of `before` bytes takes `length` more. One whose socket
/// takes bytes may be filled past its bound by one message: it has not yet had
/// its turn.
#[inline]
pub(in crate::hub) fn has_room(
    before: usize,
    length: usize,
    max_queue: usize,
    blocked: bool,
) -> bool {
    if blocked { before + length <= max_queue } else { before <= max_queue }
}
