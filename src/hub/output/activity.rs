//! Whether a connection gets what is sent to everyone. A broadcast on its way goes by that, so it
//! changes only here, after what is left of the broadcast was queued.

use crate::hub::table::record::{Flags, Phase};
use crate::hub::table::slots::Slot;
use crate::hub::{ConnId, Context};

use super::pressure::{Bounds, is_pressed};

impl Context {
    /// Takes a connection from its phase to a later one.
    pub(in crate::hub) fn go_to(&mut self, index: Slot, phase: Phase) {
        let settled = self.settle_walk();
        self.table.go_to(index, phase, settled);
    }

    /// An open connection no longer gets what is sent to its user and to everyone.
    pub(in crate::hub) fn deactivate(&mut self, index: Slot) {
        let settled = self.settle_walk();
        self.table.set_parked(index, true, settled);
    }

    /// An open connection that was parked gets again what is sent to its user and to everyone.
    pub(in crate::hub) fn reactivate(&mut self, index: Slot) {
        let settled = self.settle_walk();
        self.table.set_parked(index, false, settled);
    }

    /// Throws away what a connection that is about to end has yet to be sent, and returns how many
    /// bytes that was. `None`, and nothing was done, when it has ended already.
    pub(in crate::hub) fn discard(&mut self, index: Slot) -> Option<usize> {
        // First: the queue may have no room for what is queued by it, which ends the connection.
        self.settle_walk();
        let conn = &mut self.table[index];
        if conn.phase() == Phase::Ended {
            return None;
        }
        self.output.pressed -= u32::from(is_pressed(conn, self.config.max_queue));
        self.output.blocked -= u32::from(conn.flags.has(Flags::BLOCKED));
        conn.flags.clear(Flags::BLOCKED);
        let unwritten = conn.out.len();
        conn.out.clear(&mut self.output.arena);
        Some(unwritten)
    }

    /// Whether a connection has something queued that its socket will be given in this turn.
    pub(in crate::hub) fn will_write(&mut self, conn: ConnId) -> bool {
        self.settle_walk();
        self.resolve(conn)
            .is_some_and(|record| !record.out.is_empty() && !record.flags.has(Flags::BLOCKED))
    }

    /// Queues what is sent to everyone and was not queued yet, under the bounds that still count.
    pub(in crate::hub) fn queue_all(&mut self) {
        self.settle_walk();
    }

    /// Uses the bounds of the configuration, and counts again which connections have much to write
    /// by them.
    pub(in crate::hub) fn set_bounds(&mut self) {
        self.output.bounds = Bounds::new(&self.config);
        let most = self.config.max_queue;
        let pressed = self.table.iter().filter(|(_, conn)| is_pressed(conn, most)).count();
        self.output.pressed = u32::try_from(pressed).unwrap_or(u32::MAX);
    }

    /// Panics if the counts do not agree with the connections. For
    /// [`Context::check_invariants`].
    pub(in crate::hub) fn check_output(&self) {
        let (mut pressed, mut blocked) = (0, 0);
        for (_, conn) in self.table.iter() {
            pressed += u32::from(is_pressed(conn, self.config.max_queue));
            blocked += u32::from(conn.flags.has(Flags::BLOCKED));
        }
        assert_eq!(pressed, self.output.pressed, "connections with much to write");
        assert_eq!(blocked, self.output.blocked, "connections whose sockets are full");
        let held = self.output.arena.waiting();
        assert!(self.has_dirty() || held == 0, "{held} bytes that nobody will write");
    }
}
