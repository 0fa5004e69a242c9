//! One turn of a hub: the calls that the loop of a server makes.

use std::time::Instant;

use super::{Note, owner};
use crate::hub::{ConnId, Handler, Hub};

/// What [`turn`] needs from a simulated loop, which has no sockets of the system.
pub(super) trait Loop {
    type Handler: Handler;

    fn hub(&mut self) -> &mut Hub<Self::Handler>;

    /// Reads a connection whose deadline has passed, before the hub judges it. Returns whether
    /// all that has arrived was read.
    fn read_overdue(&mut self, _conn: ConnId) -> bool {
        true
    }

    /// Called when a connection that was not read for a while may be read again.
    fn may_read_again(&mut self, _conn: ConnId) {}

    /// Reads the connections from which there may be more to read.
    fn read_queued(&mut self) {}

    /// Writes what is queued.
    fn write(&mut self);

    /// Called when a connection has ended, to close its socket.
    fn free(&mut self, _conn: ConnId) {}

    /// Called at each step of the turn.
    fn tell(&mut self, _note: Note<'_>) {}
}

/// Takes one turn, after the hub was given what has arrived. It makes the calls that a driver
/// makes, in an order that a driver may choose.
pub(super) fn turn<L: Loop>(it: &mut L, now: Instant) {
    it.tell(Note::Ticking);
    owner::server(|| it.hub().tick(now));
    while let Some(overdue) = it.hub().pop_overdue() {
        let all_read = it.read_overdue(overdue.conn());
        owner::server(|| it.hub().judge(overdue, all_read));
    }
    owner::server(|| it.hub().say_last_words());
    it.tell(Note::Ticked);
    while let Some(conn) = it.hub().pop_readable() {
        it.may_read_again(conn);
    }
    it.read_queued();
    owner::server(|| it.hub().say_last_words());
    it.tell(Note::Flushing);
    it.write();
    it.tell(Note::EndingTurn);
    owner::server(|| it.hub().end_turn());
    it.tell(Note::EndedTurn);
    while let Some(conn) = owner::server(|| it.hub().reap()) {
        it.free(conn);
    }
}
