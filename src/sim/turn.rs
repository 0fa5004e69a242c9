//! One turn of a hub, as whoever runs the loop takes it.

use std::time::Instant;

use super::{Note, owner};
use crate::hub::{ConnId, Handler, Hub};

/// A loop without sockets of the system: what [`turn`] asks of it.
pub(super) trait Loop {
    type Handler: Handler;

    fn hub(&mut self) -> &mut Hub<Self::Handler>;

    /// Reads a connection whose deadline has passed, before the hub judges it. Returns whether
    /// all that has arrived was read.
    fn read_overdue(&mut self, _conn: ConnId) -> bool {
        true
    }

    /// A connection that was not read for a while may be read again.
    fn may_read_again(&mut self, _conn: ConnId) {}

    /// Reads the connections from which there may be more to read.
    fn read_queued(&mut self) {}

    /// Writes what is queued.
    fn write(&mut self);

    /// A connection has ended, and its socket is closed.
    fn free(&mut self, _conn: ConnId) {}

    /// The turn has come so far.
    fn tell(&mut self, _note: Note<'_>) {}
}

/// One turn, after what has arrived was given to the hub: the calls that a driver makes, in an
/// order that a driver may choose.
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
