//! Which connections have something to write: two queues, first come first
//! served, replies and one-to-one before fan-outs.

use crate::hub::table::Table;
use crate::hub::table::record::Connection;
use crate::hub::table::record::Flags;

/// Out of so many writes one goes to a fan-out even while others wait.
const FAN_OUT_SHARE: u32 = 4;

/// What a queued frame is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A reply, a one-to-one message or a control frame.
    Direct,
    /// One of many alike.
    FanOut,
}

impl Urgency {
    fn flag(self) -> u16 {
        match self {
            Urgency::Direct => Flags::DIRTY_DIRECT,
            Urgency::FanOut => Flags::DIRTY_FAN_OUT,
        }
    }
}

/// Slots, first in, first out; filled and emptied by the thousand.
#[derive(Debug, Default)]
pub struct Queue {
    slots: Vec<u32>,
    /// How many of them have been taken.
    taken: usize,
}

impl Queue {
    #[inline]
    fn is_empty(&self) -> bool {
        self.taken == self.slots.len()
    }

    #[inline]
    fn push(&mut self, index: u32) {
        self.slots.push(index);
    }

    #[inline]
    pub fn first(&self) -> Option<u32> {
        self.slots.get(self.taken).copied()
    }

    /// Takes the first.
    #[inline]
    pub fn skip(&mut self) {
        self.taken += 1;
    }

    fn pop(&mut self) -> Option<u32> {
        let first = self.first();
        self.taken += usize::from(first.is_some());
        first
    }

    /// Forgets what was taken, once that is the larger part.
    fn trim(&mut self) {
        if self.taken > self.slots.len() / 2 {
            self.slots.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// The queues of slots to write to. A slot may be queued after its connection
/// has gone: it is a hint, as readiness is.
#[derive(Debug, Default)]
pub struct Dirty {
    direct: Queue,
    fan_out: Queue,
    /// Were written to and have more: in the next turn.
    later: Vec<u32>,
    popped: u32,
}

impl Dirty {
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.fan_out.is_empty() && self.later.is_empty()
    }

    /// Queues a connection, once in each queue at most. One with its socket
    /// blocked is not queued: it becomes writable first.
    #[inline(always)]
    pub fn mark(&mut self, index: u32, conn: &mut Connection, urgency: Urgency) {
        if conn.flags.has(Flags::BLOCKED | Flags::DIRTY_DIRECT | urgency.flag()) {
            return;
        }
        conn.flags.set(urgency.flag());
        match urgency {
            Urgency::Direct => self.direct.push(index),
            Urgency::FanOut => self.fan_out.push(index),
        }
    }

    /// Queues one that is in neither queue, and not blocked, for a fan-out.
    #[inline]
    pub fn mark_fan_out(&mut self, index: u32, conn: &mut Connection) {
        conn.flags.set(Flags::DIRTY_FAN_OUT);
        self.fan_out.push(index);
    }

    /// Queues a connection that was written to in this turn: each is written
    /// to once a turn, however much it has.
    #[inline]
    pub fn mark_later(&mut self, index: u32, conn: &mut Connection) {
        if !conn.flags.has(Flags::BLOCKED | Flags::DIRTY_DIRECT) {
            conn.flags.set(Flags::DIRTY_DIRECT);
            self.later.push(index);
        }
    }

    /// Ends the turn's writing. Whose socket has blocked waits for it, not for
    /// the next turn.
    pub(in crate::hub) fn end_turn(&mut self, table: &mut Table) {
        for index in self.later.drain(..) {
            let Some(conn) = table.get_mut(index) else { continue };
            if conn.flags.has(Flags::BLOCKED) || conn.out.is_empty() {
                conn.flags.clear(Flags::DIRTY_DIRECT);
            } else {
                self.direct.push(index);
            }
        }
        self.direct.trim();
        self.fan_out.trim();
    }

    /// The queue that is not empty, when one alone is.
    pub fn only_queue(&mut self) -> Option<&mut Queue> {
        match (self.direct.is_empty(), self.fan_out.is_empty()) {
            (false, true) => Some(&mut self.direct),
            (true, false) => Some(&mut self.fan_out),
            _ => None,
        }
    }

    pub fn pop(&mut self) -> Option<u32> {
        if self.direct.is_empty() {
            return self.fan_out.pop();
        }
        self.popped = self.popped.wrapping_add(1);
        if self.popped.is_multiple_of(FAN_OUT_SHARE) {
            return self.fan_out.pop().or_else(|| self.direct.pop());
        }
        self.direct.pop()
    }
}
