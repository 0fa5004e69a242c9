//! Backpressure: senders wait while what they sent has not had its turn to be
//! written.
//!
//! A queue that grows because its peer does not read is the peer's doing, and
//! past `max_queue` the peer is dropped. One that grows because the turn is not
//! over, or because others are written first, is not: a segment of nine
//! thousand one-byte broadcasts fills every receiver's queue twice over before
//! the first write. So when a connection whose socket takes bytes has more than
//! half of a queue to write, or all together have 256 KiB, nothing more is
//! parsed until that was written. Writes go on meanwhile, so the wait ends, and
//! what has not been read lies in the kernel, which holds it back at its sender.

use crate::conn::{Connection, Flags, Phase};

use super::Hub;

/// When more bytes than these wait for their turn to be written, parsing waits;
/// when a quarter of `max_buffered` do, if that is less. Enough for a turn's
/// writes. More would not be written any sooner: it would fill the memory with
/// what the kernel holds already, and leave the processor's caches.
const MOST_WAITING: usize = 256 * 1024;

impl Hub {
    /// Whether parsing has to wait for writes.
    #[inline]
    pub(super) fn is_strained(&self) -> bool {
        self.pressed > 0 || self.arena.waiting() > MOST_WAITING.min(self.config.max_buffered / 4)
    }

    /// The work a turn may do, if it may do any.
    #[inline]
    pub(super) fn allowance(&self, work: u32) -> u32 {
        if self.is_strained() { 0 } else { work }
    }
}

/// Whether a connection is one of those that others have to wait for.
#[inline]
pub(super) fn is_pressed(conn: &Connection, max_queue: usize) -> bool {
    conn.out.len() > max_queue / 2 && !conn.flags.has(Flags::BLOCKED) && conn.phase != Phase::Ended
}

/// Whether `length` bytes more in a queue of `before` make a connection whose
/// socket takes bytes one of those.
#[inline]
pub(super) fn becomes_pressed(before: usize, length: usize, max_queue: usize) -> bool {
    before <= max_queue / 2 && before + length > max_queue / 2
}

/// Whether a queue of `before` bytes takes `length` more. One whose socket
/// takes bytes may be filled past its bound by one message: it has not yet had
/// its turn.
#[inline]
pub(super) fn has_room(before: usize, length: usize, max_queue: usize, blocked: bool) -> bool {
    if blocked { before + length <= max_queue } else { before <= max_queue }
}
