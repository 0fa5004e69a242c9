//! Which connections have something to write: two queues, first come first
//! served, replies and one-to-one before fan-outs.

use crate::hub::table::Table;
use crate::hub::table::record::Flags;
use crate::hub::table::slots::Slot;

/// One of this many writes is for a fan-out, even while other connections wait.
const FAN_OUT_SHARE: u32 = 4;

/// The kind of message that a queued frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A reply, a one-to-one message or a control frame.
    Direct,
    /// A message to a group or to everyone.
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

/// A queue of slots, which is filled and emptied by the thousand.
#[derive(Debug, Default)]
pub struct Queue {
    slots: Vec<Slot>,
    /// How many slots at the front were taken.
    taken: usize,
}

impl Queue {
    #[inline]
    fn is_empty(&self) -> bool {
        self.taken == self.slots.len()
    }

    #[inline]
    fn push(&mut self, index: Slot) {
        self.slots.push(index);
    }

    #[inline]
    pub fn first(&self) -> Option<Slot> {
        self.slots.get(self.taken).copied()
    }

    /// Removes the first slot.
    #[inline]
    pub fn skip(&mut self) {
        self.taken += 1;
    }

    fn pop(&mut self) -> Option<Slot> {
        let first = self.first();
        self.taken += usize::from(first.is_some());
        first
    }

    /// Removes the slots that were taken, if they are more than half.
    fn trim(&mut self) {
        if self.taken > self.slots.len() / 2 {
            self.slots.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// The queues of slots to write to. A slot may stay queued after its connection has gone: an entry
/// is only a hint.
#[derive(Debug, Default)]
pub struct Dirty {
    direct: Queue,
    fan_out: Queue,
    /// Connections that were written to and have more; they come in the next turn.
    later: Vec<Slot>,
    popped: u32,
}

impl Dirty {
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.fan_out.is_empty() && self.later.is_empty()
    }

    /// Queues a connection whose socket takes bytes, once in each queue at most, and not for a
    /// fan-out if it is queued for more urgent things already.
    #[inline(always)]
    pub fn mark(&mut self, index: Slot, flags: &mut Flags, urgency: Urgency) {
        if flags.has(Flags::DIRTY_DIRECT | urgency.flag()) {
            return;
        }
        flags.set(urgency.flag());
        match urgency {
            Urgency::Direct => self.direct.push(index),
            Urgency::FanOut => self.fan_out.push(index),
        }
    }

    /// Queues a connection that is in neither queue for a fan-out.
    #[inline]
    pub fn mark_fan_out(&mut self, index: Slot, flags: &mut Flags) {
        flags.set(Flags::DIRTY_FAN_OUT);
        self.fan_out.push(index);
    }

    /// Queues a connection that was written to in this turn: each is written
    /// to once a turn, however much it has.
    #[inline]
    pub fn mark_later(&mut self, index: Slot, flags: &mut Flags) {
        if !flags.has(Flags::DIRTY_DIRECT) {
            flags.set(Flags::DIRTY_DIRECT);
            self.later.push(index);
        }
    }

    /// Ends the turn's writing. A connection whose socket has blocked waits for its socket, not for
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

    /// Returns the only queue that is not empty, if there is exactly one.
    pub fn only_queue(&mut self) -> Option<&mut Queue> {
        match (self.direct.is_empty(), self.fan_out.is_empty()) {
            (false, true) => Some(&mut self.direct),
            (true, false) => Some(&mut self.fan_out),
            _ => None,
        }
    }

    pub fn pop(&mut self) -> Option<Slot> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u32) -> Slot {
        Slot::from_key(number)
    }

    /// How many slots each queue holds, with those that were taken.
    fn lengths(dirty: &Dirty) -> [usize; 3] {
        [dirty.direct.slots.len(), dirty.fan_out.slots.len(), dirty.later.len()]
    }

    #[test]
    fn a_connection_is_in_each_queue_once_however_often_it_is_marked() {
        let (mut dirty, mut flags) = (Dirty::default(), Flags::default());
        for _ in 0..3 {
            dirty.mark(slot(7), &mut flags, Urgency::FanOut);
        }
        assert_eq!(lengths(&dirty), [0, 1, 0]);
        for _ in 0..3 {
            dirty.mark(slot(7), &mut flags, Urgency::Direct);
            dirty.mark(slot(7), &mut flags, Urgency::FanOut);
        }
        assert_eq!(lengths(&dirty), [1, 1, 0], "a reply overtakes the fan-outs to others");
        let mut flags = Flags::default();
        for _ in 0..3 {
            dirty.mark_later(slot(8), &mut flags);
        }
        assert_eq!(lengths(&dirty), [1, 1, 1]);
    }

    #[test]
    fn the_list_of_a_queue_does_not_grow_by_what_was_taken_from_it() {
        let mut queue = Queue::default();
        (0..100).for_each(|index| queue.push(slot(index)));
        for _ in 0..10 {
            queue.skip();
        }
        queue.trim();
        assert_eq!((queue.slots.len(), queue.taken), (100, 10), "the rest is not moved each time");
        for _ in 0..41 {
            queue.skip();
        }
        queue.trim();
        assert_eq!((queue.slots.len(), queue.taken, queue.first()), (49, 0, Some(slot(51))));
        while queue.pop().is_some() {}
        queue.trim();
        assert_eq!((queue.slots.len(), queue.taken), (0, 0));
    }

    #[test]
    fn the_only_queue_that_has_something_is_known() {
        let only = |queue: Option<&mut Queue>| queue.and_then(|queue| queue.first());
        let mut dirty = Dirty::default();
        assert!(dirty.only_queue().is_none());
        dirty.mark(slot(3), &mut Flags::default(), Urgency::FanOut);
        assert_eq!(only(dirty.only_queue()), Some(slot(3)));
        dirty.mark(slot(4), &mut Flags::default(), Urgency::Direct);
        assert!(dirty.only_queue().is_none(), "there are two");
        assert_eq!(dirty.pop(), Some(slot(4)));
        assert_eq!(dirty.pop(), Some(slot(3)));
        dirty.mark(slot(5), &mut Flags::default(), Urgency::Direct);
        assert_eq!(only(dirty.only_queue()), Some(slot(5)));
    }
}
