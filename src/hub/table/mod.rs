//! The table of connections: a record for each, which slots are in use, and how many connections
//! are in which phase.
//!
//! [`Table`] is the only place where a connection appears, changes its phase, is parked and goes,
//! so the counts that follow from that change nowhere else. A change that decides whether a
//! connection gets what is sent to everyone takes a [`Settled`], which only the room `output`
//! can give.
//!
//! This room must not know of bytes, users or time.

pub(in crate::hub) mod column;
pub(in crate::hub) mod details;
pub(in crate::hub) mod phases;
pub(in crate::hub) mod record;
pub(in crate::hub) mod slots;

use std::ops::{Index, IndexMut, Range};

use slab::Slab;

use super::output::Settled;
use super::{ConnId, Serial};
use phases::Census;
use record::{Connection, Flags, Phase};
use slots::{Slot, Slots};

/// All connections, by their slots.
#[derive(Debug)]
pub struct Table {
    conns: Slab<Connection>,
    next_serial: Serial,
    slots: Slots,
    census: Census,
    /// How many connections get what is sent to everyone.
    active: u32,
}

impl Table {
    /// Creates an empty table with room for `most` connections.
    pub fn with_capacity(most: usize) -> Self {
        Table {
            conns: Slab::with_capacity(most),
            next_serial: Serial::MIN,
            slots: Slots::with_capacity(most),
            census: Census::default(),
            active: 0,
        }
    }

    /// Returns how many connections there are, in any phase.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Returns how many connections get what is sent to everyone.
    #[inline]
    pub fn active(&self) -> u32 {
        self.active
    }

    /// Returns how many connections are in a phase.
    pub fn in_phase(&self, phase: Phase) -> usize {
        self.census.of(phase)
    }

    #[inline(always)]
    pub fn get(&self, index: Slot) -> Option<&Connection> {
        self.conns.get(index.at())
    }

    #[inline(always)]
    pub fn get_mut(&mut self, index: Slot) -> Option<&mut Connection> {
        self.conns.get_mut(index.at())
    }

    /// Returns the connection that an id means; `None` when this connection is gone. A caller must
    /// expect that, since a handler may keep an id for longer than the connection lives.
    #[inline(always)]
    pub fn resolve(&self, conn: ConnId) -> Option<&Connection> {
        self.get(conn.index).filter(|record| record.serial == conn.serial)
    }

    #[inline(always)]
    pub fn resolve_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.get_mut(conn.index).filter(|record| record.serial == conn.serial)
    }

    /// Returns the id of the connection that uses a slot now.
    pub fn id_at(&self, index: Slot) -> Option<ConnId> {
        Some(ConnId { index, serial: self.get(index)?.serial })
    }

    /// Iterates over all connections with their slots, in the order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Connection)> {
        self.conns.iter().map(|(index, conn)| (Slot::taken(index), conn))
    }

    /// Returns the slots that are in use, for a loop that changes the table while it runs.
    pub fn indices(&self) -> Vec<Slot> {
        self.iter().map(|(index, _)| index).collect()
    }

    /// Returns the next range of slots, from `from` on, that has connections; `None` when no slot
    /// from there on has one. The range lies within one block of slots.
    #[inline]
    pub fn next(&self, from: usize) -> Option<Range<usize>> {
        self.slots.next(from)
    }

    /// Returns access to all records, for a loop over many of them. The loop then looks up the
    /// fields of the table once and not for each record.
    #[inline(always)]
    pub fn records(&mut self) -> Records<'_> {
        Records { conns: &mut self.conns, slots: &self.slots }
    }

    /// Adds a connection to the table. It gets a serial number and begins in [`Phase::Head`].
    pub fn insert(&mut self, mut conn: Connection) -> ConnId {
        let serial = self.next_serial;
        self.next_serial = serial.checked_add(1).unwrap_or(Serial::MIN);
        (conn.serial, conn.phase) = (serial, Phase::Head);
        self.census.enter(Phase::Head);
        let index = self.conns.insert(conn);
        self.slots.fill(index);
        ConnId { index: Slot::taken(index), serial }
    }

    /// Frees the slot of a connection that has ended.
    pub fn remove(&mut self, index: Slot) -> Connection {
        let conn = self.conns.remove(index.at());
        self.census.leave(conn.phase);
        self.slots.empty(index.at());
        conn
    }

    /// Moves a connection from its phase to a later one.
    pub fn go_to(&mut self, index: Slot, phase: Phase, settled: Settled) {
        let before = self[index].phase;
        self.census.leave(before);
        self.census.enter(phase);
        self.change(index, settled, |conn| conn.phase = phase);
    }

    /// Parks a connection, or makes a parked one active again.
    pub fn set_parked(&mut self, index: Slot, parked: bool, settled: Settled) {
        self.change(index, settled, |conn| match parked {
            true => conn.flags.set(Flags::PARKED),
            false => conn.flags.clear(Flags::PARKED),
        });
    }

    fn change(&mut self, index: Slot, _: Settled, change: impl FnOnce(&mut Connection)) {
        let conn = &mut self.conns[index.at()];
        let was_active = conn.is_active();
        change(conn);
        self.active = self.active - u32::from(was_active) + u32::from(conn.is_active());
    }

    /// Panics if the counts do not agree with the connections.
    pub fn check(&self) {
        let mut census = Census::default();
        let mut active = 0;
        for (index, conn) in self.iter() {
            census.enter(conn.phase);
            active += u32::from(conn.is_active());
            let next = self.slots.next(index.at()).map(|slots| slots.start);
            assert_eq!(next, Some(index.at()), "the blocks leave out connection {index}");
        }
        assert_eq!(self.slots.filled(), self.len(), "slots with connections");
        assert_eq!(census, self.census, "connections by phase");
        assert_eq!(active, self.active, "connections that get what everyone gets");
    }
}

/// The records of a table, and which slots are in use. See [`Table::records`].
#[derive(Debug)]
pub struct Records<'a> {
    conns: &'a mut Slab<Connection>,
    slots: &'a Slots,
}

impl Records<'_> {
    /// Returns the next range of slots that has connections; see [`Table::next`].
    #[inline(always)]
    pub fn next(&self, from: usize) -> Option<Range<usize>> {
        self.slots.next(from)
    }

    #[inline(always)]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Connection> {
        self.conns.get_mut(index)
    }
}

impl Index<Slot> for Table {
    type Output = Connection;

    #[inline(always)]
    fn index(&self, index: Slot) -> &Connection {
        &self.conns[index.at()]
    }
}

impl IndexMut<Slot> for Table {
    #[inline(always)]
    fn index_mut(&mut self, index: Slot) -> &mut Connection {
        &mut self.conns[index.at()]
    }
}
