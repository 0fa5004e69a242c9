//! Messages that begin with something of the receiver's own and go on with a rest that all
//! receivers have in common, such as a number before a message to a group.
//!
//! The rest is encoded once. A short one is copied behind each prefix; a long one is stored once,
//! also for receivers whose sockets have blocked, and each receiver's queue has the place of its
//! prefix beside that of the rest. A receiver that has nothing else queued takes no allocation.

use crate::hub::table::record::Flags;
use crate::hub::{ConnId, Context};
use crate::wire::ws::frame::{self, TEXT};

use super::Settled;
use super::arena::{FAR, Segment};
use super::dirty::Urgency;
use super::pressure::{becomes_pressed, has_room};

/// The rest of a message is copied behind each prefix if it is not longer than this number of
/// bytes.
const COPIED: usize = 256;
/// The rest of a message is stored again, so that it is near to the next prefixes, if it is not
/// longer than this number of bytes. The prefixes since it was last stored then take more memory
/// than the rest does.
const REPEATED: usize = FAR / 2;

/// A message of which the rest is the same for all receivers: see [`Context::fan_out`].
///
/// It dereferences to the [`Context`], for look-ups.
#[derive(Debug)]
pub struct FanOut<'a> {
    cx: &'a mut Context,
    rest: &'a str,
    /// Where the rest lies, unless it is copied. This counts as a reference to the buffer of the
    /// rest's turn: that buffer may be cut behind the rest while no queue refers to it yet.
    shared: Option<Segment>,
    receivers: usize,
    /// Whether the message was too long for one of its receivers.
    is_too_long: bool,
    /// This proves that no broadcast is walking. None can begin while this exists, because a
    /// `FanOut` gives no `&mut Context`.
    _settled: Settled,
}

impl std::ops::Deref for FanOut<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        self.cx
    }
}

impl Context {
    /// Sends a text to several connections that begins differently for each of them and goes on
    /// with the same `rest`, which is encoded once. `fill` names the receivers. Returns how many
    /// got it.
    ///
    /// ```
    /// use longlink::{ConnId, Context};
    ///
    /// /// Tells each member the number of its own message.
    /// fn tell(cx: &mut Context, members: &[(ConnId, u32)], rest: &str) -> usize {
    ///     cx.fan_out(rest, |out| {
    ///         for (conn, number) in members {
    ///             out.send(*conn, &format!("{number}"));
    ///         }
    ///     })
    /// }
    /// ```
    pub fn fan_out(&mut self, rest: &str, fill: impl FnOnce(&mut FanOut<'_>)) -> usize {
        let mut out = FanOut::new(self, rest);
        fill(&mut out);
        let receivers = out.receivers;
        drop(out);
        self.distributions.fan_outs.note(receivers as u64);
        receivers
    }

    /// Sends one connection a text in two parts. Returns whether it was queued, as
    /// [`Context::send`] does.
    pub fn send_with_prefix(&mut self, conn: ConnId, prefix: &str, rest: &str) -> bool {
        self.settle_walk();
        let length = prefix.len() + rest.len();
        // A long rest has to be stored once for all who get it, in case their sockets block.
        rest.len() <= COPIED
            && self.send_at_once(conn, Urgency::FanOut, TEXT, length, &[prefix, rest])
            || FanOut::new(self, rest).send(conn, prefix)
    }
}

impl<'a> FanOut<'a> {
    fn new(cx: &'a mut Context, rest: &'a str) -> Self {
        let settled = cx.settle_walk();
        FanOut { cx, rest, shared: None, receivers: 0, is_too_long: false, _settled: settled }
    }

    /// Queues the message for one connection, beginning with `prefix`. Returns whether it was
    /// queued: it is not for the reasons that [`Context::send`] has.
    pub fn send(&mut self, conn: ConnId, prefix: &str) -> bool {
        let length = prefix.len() + self.rest.len();
        if !self.cx.takes(conn) || !self.fits(length) {
            return false;
        }
        let frame = frame::server_header_len(length) + length;
        let record = &self.cx.table[conn.index];
        let blocked = record.flags.has(Flags::BLOCKED);
        let noted = record.flags.has(Flags::NOTED);
        if !has_room(record.out.len(), frame, self.cx.config.max_queue, blocked) {
            self.cx.refuse_full(conn.index, blocked);
            return false;
        }
        if self.rest.len() <= COPIED {
            let whole = self.cx.output.arena.put_pieces(TEXT, length, &[prefix, self.rest]);
            self.queue(conn, None, whole);
        } else {
            let rest = self.shared();
            let head = self.cx.output.arena.put_head(TEXT, length, prefix);
            self.queue(conn, Some(head), rest);
        }
        self.receivers += 1;
        self.cx.stats.deliveries += 1;
        if noted {
            self.cx.note_out(conn.index, TEXT, length);
        }
        true
    }

    /// Returns whether a message of `length` bytes can be queued at all. The whole fan-out is one
    /// message, so it counts once as too long.
    fn fits(&mut self, length: usize) -> bool {
        if self.cx.fits_a_queue(length) {
            return self.cx.may_queue();
        }
        self.cx.stats.too_long += u64::from(!self.is_too_long);
        self.is_too_long = true;
        false
    }

    /// Where the rest lies. It is stored again when so many prefixes lie behind it already that
    /// a queue could not say how far away the next one is. A queue lists a rest that is too long
    /// for this as a piece of its own.
    fn shared(&mut self) -> Segment {
        let arena = &mut self.cx.output.arena;
        if let Some(shared) = self.shared
            && (arena.is_near(shared) || self.rest.len() > REPEATED)
        {
            return shared;
        }
        let segment = arena.put(self.rest.as_bytes());
        arena.mark_fan_out(segment);
        arena.retain_current(1);
        if let Some(before) = self.shared.replace(segment) {
            arena.release(before.turn);
        }
        segment
    }

    /// Queues a message that there is room for: `last` alone, or behind its head.
    fn queue(&mut self, conn: ConnId, head: Option<Segment>, last: Segment) {
        let Context { table, output, config, .. } = &mut *self.cx;
        let record = &mut table[conn.index];
        let arena = &mut output.arena;
        record.flags.set(Flags::MESSAGE_QUEUED);
        if record.flags.has(Flags::BLOCKED) {
            if let Some(head) = head {
                record.out.push_durable(head, arena);
            }
            record.out.push_durable(last, arena);
        } else {
            let before = record.out.len();
            match head {
                Some(head) => record.out.push_headed(head, last, arena),
                None => {
                    let refs = record.out.push(last, arena);
                    arena.retain_current(refs);
                }
            }
            let added = head.map_or(0, Segment::len) + last.len();
            output.pressed += u32::from(becomes_pressed(before, added, config.max_queue));
            output.dirty.mark(conn.index, &mut record.flags, Urgency::FanOut);
        }
        self.cx.work = self.cx.allowance_with_lists(self.cx.work.saturating_sub(1));
    }
}

impl Drop for FanOut<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            self.cx.output.arena.release(shared.turn);
        }
    }
}
