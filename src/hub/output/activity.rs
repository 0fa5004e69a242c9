//! Whether a connection gets what is sent to everyone. A broadcast on its way goes by that, so it
//! changes only here, after what is left of the broadcast was queued.

use crate::hub::table::record::{Flags, Phase};
use crate::hub::{ConnId, Context};

use super::pressure::is_pressed;

impl Context {
    /// Takes a connection from its phase to a later one.
    pub(in crate::hub) fn go_to(&mut self, index: u32, phase: Phase) {
        self.settle_walk();
        let conn = &mut self.conns[index as usize];
        let was_active = conn.is_active();
        self.census.leave(conn.phase);
        self.census.enter(phase);
        conn.phase = phase;
        self.active = self.active - u32::from(was_active) + u32::from(conn.is_active());
    }

    /// An open connection no longer gets what is sent to its user and to everyone.
    pub(in crate::hub) fn deactivate(&mut self, index: u32) {
        self.settle_walk();
        let conn = &mut self.conns[index as usize];
        self.active -= u32::from(conn.is_active());
        conn.flags.set(Flags::PARKED);
    }

    /// An open connection that was parked gets again what is sent to its user and to everyone.
    pub(in crate::hub) fn reactivate(&mut self, index: u32) {
        self.settle_walk();
        let conn = &mut self.conns[index as usize];
        conn.flags.clear(Flags::PARKED);
        self.active += u32::from(conn.is_active());
    }

    /// Throws away what a connection that is about to end has yet to be sent. Returns false,
    /// having done nothing, when it has ended already.
    pub(in crate::hub) fn discard(&mut self, index: u32) -> bool {
        // First: the queue may have no room for what is queued by it, which ends the connection.
        self.settle_walk();
        let conn = &mut self.conns[index as usize];
        if conn.phase == Phase::Ended {
            return false;
        }
        self.output.pressed -= u32::from(is_pressed(conn, self.config.max_queue));
        self.output.blocked -= u32::from(conn.flags.has(Flags::BLOCKED));
        conn.flags.clear(Flags::BLOCKED);
        conn.out.clear(&mut self.output.arena);
        true
    }

    /// Whether a connection has something queued that its socket will be given in this turn.
    pub(in crate::hub) fn will_write(&mut self, conn: ConnId) -> bool {
        self.settle_walk();
        self.resolve(conn)
            .is_some_and(|record| !record.out.is_empty() && !record.flags.has(Flags::BLOCKED))
    }

    /// Panics if the counts do not agree with the connections. For
    /// [`Context::check_invariants`].
    pub(in crate::hub) fn check_output(&self) {
        let (mut pressed, mut active, mut blocked) = (0, 0, 0);
        for (_, conn) in &self.conns {
            pressed += u32::from(is_pressed(conn, self.config.max_queue));
            active += u32::from(conn.is_active());
            blocked += u32::from(conn.flags.has(Flags::BLOCKED));
        }
        assert_eq!(pressed, self.output.pressed, "connections with much to write");
        assert_eq!(active, self.active, "connections that get what everyone gets");
        assert_eq!(blocked, self.output.blocked, "connections whose sockets are full");
        let held = self.output.arena.waiting();
        assert!(self.has_dirty() || held == 0, "{held} bytes that nobody will write");
    }
}
