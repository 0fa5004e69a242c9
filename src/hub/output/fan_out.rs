//! Fan-outs, which are encoded once for many receivers.
//!
//! A broadcast is not even queued at first. It walks: the next writes go over the connections and
//! give it to each socket, which is all that nearly every broadcast needs. Before anything else is
//! queued, opened or ended, the rest of the walk is queued (`settle_walk`), so that each connection
//! gets its messages in the order in which they were sent.

use crate::hub::table::slots::Slot;
use std::io;

use crate::hub::output::arena::{Arena, Segment};
use crate::hub::table::record::Connection;
use crate::hub::table::record::Phase;
use crate::hub::table::record::{Flags, Mask};
use crate::wire::ws::decode::Message;

use super::dirty::{Dirty, Urgency};
use super::flush::{Sink, Wrote};
use super::pressure::{becomes_pressed, has_room};
use super::{Output, Settled};
use crate::hub::{ConnId, Context};

/// A broadcast that has reached the connections in the slots before `next`.
#[derive(Debug)]
pub struct Walk {
    segment: Segment,
    next: usize,
}

impl Walk {
    /// Returns what the connection in the slot `index` has not got yet.
    pub fn ahead(&self, index: Slot, conn: &Connection) -> Option<Segment> {
        (index.at() >= self.next && conn.is_active()).then_some(self.segment)
    }
}

impl Context {
    /// Queues a message for every active connection. Returns how many; 0
    /// also when the message is longer than any queue, or when so much was sent
    /// since the last writes that a queue or the memory is full of what has not
    /// had its turn: then nobody gets it, and it can be sent again in the next
    /// turn. The whole fan-out comes before anything that is sent later.
    pub fn broadcast<'a>(&mut self, message: impl Into<Message<'a>>) -> usize {
        let message = message.into();
        self.settle_walk();
        if !self.fits(message.encode().1.len()) || !self.have_room(None) {
            return 0;
        }
        let receivers = self.begin_broadcast(message);
        self.distributions.fan_outs.note(receivers as u64);
        receivers
    }

    fn begin_broadcast(&mut self, message: Message<'_>) -> usize {
        let (first, payload) = message.encode();
        let segment = self.output.arena.put_fan_out(first, payload);
        // Messages that are queued already go out together with the broadcast, and the queue of a
        // connection that does not read may be full; then the broadcast has to be queued.
        let can_walk =
            self.output.dirty.is_empty() && self.output.blocked == 0 && self.table.active() > 0;
        if can_walk && segment.len() <= self.output.bounds.half_queue {
            self.output.arena.retain(segment.turn, 1);
            self.output.walk = Some(Walk { segment, next: 0 });
            return self.table.active() as usize;
        }
        let queued = self.queue_from(segment, 0, |_| true);
        if queued == 0 {
            self.output.arena.take_back(segment);
        }
        queued
    }

    /// Does what [`Context::broadcast`] does, without the connections of some users.
    pub fn broadcast_except<'a>(
        &mut self,
        message: impl Into<Message<'a>>,
        users: &[&str],
    ) -> usize {
        let message = message.into();
        let skipped = self.slots_of(users);
        if skipped.is_empty() {
            return self.broadcast(message);
        }
        self.settle_walk();
        let (first, payload) = message.encode();
        if !self.fits(payload.len()) || !self.have_room(None) {
            return 0;
        }
        let segment = self.output.arena.put_fan_out(first, payload);
        let queued =
            self.queue_from(segment, 0, |index: Slot| skipped.binary_search(&index).is_err());
        if queued == 0 {
            self.output.arena.take_back(segment);
        }
        self.distributions.fan_outs.note(queued as u64);
        queued
    }

    /// Queues a message for every active connection in a group, encoded
    /// once. Returns how many; 0 when there is no such group.
    pub fn send_to_group<'a>(&mut self, group: &str, message: impl Into<Message<'a>>) -> usize {
        self.send_to_members(group, message.into(), |_| true)
    }

    /// Does what [`Context::send_to_group`] does, without the connections of some users.
    pub fn send_to_group_except<'a>(
        &mut self,
        group: &str,
        message: impl Into<Message<'a>>,
        users: &[&str],
    ) -> usize {
        let skipped = self.slots_of(users);
        let wanted = |index: Slot| skipped.binary_search(&index).is_err();
        self.send_to_members(group, message.into(), wanted)
    }

    /// The slots of all connections of some users, in their order.
    fn slots_of(&self, users: &[&str]) -> Vec<Slot> {
        let conns = users.iter().flat_map(|user| self.connections_of(user));
        let mut slots: Vec<Slot> = conns.map(|conn| conn.index).collect();
        slots.sort_unstable();
        slots
    }

    fn send_to_members(
        &mut self,
        group: &str,
        message: Message<'_>,
        wanted: impl Fn(Slot) -> bool,
    ) -> usize {
        let (first, payload) = message.encode();
        self.settle_walk();
        if !self.fits(payload.len()) || !self.have_room(Some(group)) {
            return 0;
        }
        let Some(members) = self.groups.members(group) else { return 0 };
        let segment = self.output.arena.put_fan_out(first, payload);
        let mut fan_out = FanOut::new(segment, self.config.max_queue);
        for &index in members.iter().filter(|&&index| wanted(index)) {
            if let Some(conn) = self.table.get_mut(index) {
                fan_out.queue(index, conn, &mut self.output.dirty, &mut self.output.arena);
            }
        }
        let queued = self.finish_fan_out(fan_out);
        if queued == 0 {
            self.output.arena.take_back(segment);
        }
        self.distributions.fan_outs.note(queued as u64);
        queued
    }

    /// Whether no queue of a group, or of everyone, is full of what has not had its turn to
    /// be written. A fan-out reaches all who read or none.
    #[inline]
    fn have_room(&mut self, group: Option<&str>) -> bool {
        self.output.pressed == 0 || self.have_room_in_all(group)
    }

    #[cold]
    fn have_room_in_all(&mut self, group: Option<&str>) -> bool {
        let most = self.config.max_queue;
        let is_full = |conn: &Connection| {
            conn.is_active() && !conn.flags.has(Flags::BLOCKED) && conn.out.len() > most
        };
        let full = match group {
            None => self.table.iter().filter(|(_, conn)| is_full(conn)).count(),
            Some(group) => {
                let members = self.groups.members(group).unwrap_or_default();
                let records = members.iter().filter_map(|&at| self.table.get(at));
                records.filter(|conn| is_full(conn)).count()
            }
        };
        self.stats.overfull += full as u64;
        full == 0
    }

    /// Queues a segment for every active connection in the slots from `first` on that
    /// is wanted.
    fn queue_from(
        &mut self,
        segment: Segment,
        first: usize,
        wanted: impl Fn(Slot) -> bool,
    ) -> usize {
        let mut fan_out = FanOut::new(segment, self.config.max_queue);
        let mut from = first;
        while let Some(range) = self.table.next(from) {
            from = range.end;
            for index in range.map(Slot::taken) {
                if let Some(conn) = self.table.get_mut(index)
                    && wanted(index)
                {
                    fan_out.queue(index, conn, &mut self.output.dirty, &mut self.output.arena);
                }
            }
        }
        self.finish_fan_out(fan_out)
    }

    fn finish_fan_out(&mut self, fan_out: FanOut) -> usize {
        self.output.arena.retain(fan_out.segment.turn, fan_out.refs);
        self.output.pressed += fan_out.pressed;
        self.work = self.allowance_with_lists(self.work.saturating_sub(fan_out.queued));
        self.stats.deliveries += u64::from(fan_out.queued);
        for index in fan_out.noted {
            self.note_queued(index, fan_out.segment);
        }
        for index in fan_out.full {
            self.drop_slow_reader(index);
        }
        fan_out.queued as usize
    }

    /// Whether a broadcast is walking.
    pub(in crate::hub) fn is_broadcasting(&self) -> bool {
        self.output.walk.is_some()
    }

    /// Has what a broadcast on its way has not reached queued. To be called before
    /// anything that a connection it has not reached could tell from it.
    #[inline(always)]
    pub(super) fn settle_walk(&mut self) -> Settled {
        if self.output.walk.is_some() {
            self.queue_walk();
        }
        Settled(())
    }

    #[inline(never)]
    fn queue_walk(&mut self) {
        if let Some(Walk { segment, next }) = self.output.walk.take() {
            self.queue_from(segment, next, |_| true);
            self.output.arena.release(segment.turn);
        }
    }

    /// Goes on with the walk, within the budget, to the first connection that did not
    /// take it whole, or was not asked: there it is queued.
    pub(in crate::hub) fn write_walk<S: Sink>(
        &mut self,
        sink: &mut S,
        budget: &mut u32,
    ) -> Option<(ConnId, Wrote)> {
        let segment = self.output.walk.as_ref()?.segment;
        let stopped = self.walk_on(sink, budget);
        if let Some((index, _)) = stopped {
            let mut fan_out = FanOut::new(segment, self.config.max_queue);
            let record = &mut self.table[index];
            fan_out.queue(index, record, &mut self.output.dirty, &mut self.output.arena);
            self.finish_fan_out(fan_out);
        }
        // The broadcast releases its buffer only now, when the connection that stopped it refers to
        // this buffer as well.
        if self.output.walk.as_ref().is_some_and(|walk| self.table.next(walk.next).is_none()) {
            self.settle_walk();
        }
        let (index, result) = stopped?;
        let conn = ConnId { index, serial: self.table[index].serial() };
        let wrote = result.map(|result| self.after_write(conn, segment.len(), result));
        Some((conn, wrote.unwrap_or(Wrote::Done)))
    }

    /// Walks as long as connections are like nearly all: open, with nothing queued,
    /// and their sockets take it whole. Returns the first that is not, and what its
    /// socket said if it was asked.
    #[inline(never)]
    fn walk_on<S: Sink>(
        &mut self,
        sink: &mut S,
        budget: &mut u32,
    ) -> Option<(Slot, Option<io::Result<usize>>)> {
        const UNUSUAL: Mask = Mask::with_parked(
            Flags::APART
                | Flags::BLOCKED
                | Flags::NOTED
                | Flags::WAS_BLOCKED
                | Flags::PINGED
                | Flags::DIRTY_DIRECT
                | Flags::DIRTY_FAN_OUT,
        );
        let Context { table, output: Output { arena, walk, .. }, now, .. } = self;
        let Walk { segment, next } = walk.as_mut()?;
        let bytes = arena.slice(*segment);
        let length = bytes.len();
        let (mut index, mut left) = (*next, *budget);
        let mut unusual = None;
        let mut records = table.records();
        'walk: while left > 0
            && let Some(block) = records.next(index)
        {
            index = block.start;
            while left > 0 && index < block.end {
                if let Some(record) = records.get_mut(index) {
                    if record.phase() == Phase::Open && !record.flags.meets(UNUSUAL) {
                        left -= 1;
                        let result = sink.write(index, bytes);
                        if !matches!(result, Ok(length) if length == bytes.len()) {
                            unusual = Some((Slot::taken(index), Some(result)));
                            break 'walk;
                        }
                        record.note_message(*now);
                    } else if record.is_active() {
                        unusual = Some((Slot::taken(index), None));
                        break 'walk;
                    }
                }
                index += 1;
            }
        }
        let written = *budget - left;
        *budget = left;
        *next = index + usize::from(unusual.is_some());
        let stuck = matches!(unusual, Some((_, Some(_))));
        let delivered = u64::from(written - u32::from(stuck));
        self.stats.deliveries += delivered;
        self.stats.bytes_out += delivered * length as u64;
        unusual
    }
}

/// One encoded message that is put into many queues.
struct FanOut {
    segment: Segment,
    max_queue: usize,
    queued: u32,
    /// How many more connections have much to write now.
    pressed: u32,
    /// How many segments the arena has to count.
    refs: u32,
    /// The receivers whose frames are traced.
    noted: Vec<Slot>,
    /// The receivers whose queues are full because they do not read.
    full: Vec<Slot>,
}

impl FanOut {
    fn new(segment: Segment, max_queue: usize) -> Self {
        let (noted, full) = (Vec::new(), Vec::new());
        FanOut { segment, max_queue, queued: 0, pressed: 0, refs: 0, noted, full }
    }

    /// Queues it for one receiver, if that is active.
    #[inline]
    fn queue(&mut self, index: Slot, conn: &mut Connection, dirty: &mut Dirty, arena: &mut Arena) {
        const UNUSUAL: Mask = Mask::with_parked(
            Flags::APART
                | Flags::BLOCKED
                | Flags::NOTED
                | Flags::DIRTY_DIRECT
                | Flags::DIRTY_FAN_OUT,
        );
        // Nearly every receiver has nothing queued, and its socket takes bytes.
        if conn.phase() == Phase::Open && !conn.flags.meets(UNUSUAL) && conn.out.start(self.segment)
        {
            self.queued += 1;
            self.refs += 1;
            conn.flags.set(Flags::MESSAGE_QUEUED);
            dirty.mark_fan_out(index, &mut conn.flags);
            self.pressed += u32::from(becomes_pressed(0, self.segment.len(), self.max_queue));
        } else if conn.is_active() {
            self.queue_behind(index, conn, dirty, arena);
        }
    }

    fn queue_behind(
        &mut self,
        index: Slot,
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
        if conn.flags.has(Flags::NOTED) {
            self.noted.push(index);
        }
        if blocked {
            return conn.out.push_durable(self.segment, arena);
        }
        self.refs += conn.out.push_fan_out(self.segment, arena);
        self.pressed += u32::from(becomes_pressed(before, length, self.max_queue));
        dirty.mark(index, &mut conn.flags, Urgency::FanOut);
    }
}
