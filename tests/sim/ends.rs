//! Checks how long the end of a connection takes. The documentation names each bound. A
//! connection whose peer has ended its side too is freed in the same turn.

use longlink::{ConnId, Context};

use super::shadow::{State, TICK};
use super::watch::Watched;

impl Watched {
    /// Called before a tick. From here on the time to close counts for each connection that has
    /// begun to close.
    pub fn time_ends(&mut self) {
        let now = self.shadow.now;
        for conn in self.shadow.conns.values_mut() {
            if matches!(conn.state, State::Closing(..) | State::Draining(..) | State::Refused) {
                conn.ending.get_or_insert(now);
            }
        }
    }

    /// Called after a turn. Checks that no connection takes longer than `close_timeout` to close.
    pub fn check_ends(&self) {
        let now = self.shadow.now / TICK * TICK;
        let most = self.shadow.config.close_timeout.as_millis() as u64;
        for (id, conn) in &self.shadow.conns {
            let Some(since) = conn.ending else { continue };
            let due = (since + most + 1).next_multiple_of(TICK);
            let lingers = matches!(conn.state, State::Closing(..) | State::Draining(..));
            assert!(
                !lingers || now < due,
                "{id:?}: ends since {since}, at {}: {conn:?}",
                self.shadow.now
            );
        }
    }

    /// Called after a turn. Checks that each connection that has ended is freed, and that each
    /// connection whose peer has ended its side too has ended.
    pub fn check_gone(&self) {
        for (id, conn) in &self.shadow.conns {
            let ended = matches!(conn.state, State::Ended(_));
            assert!(!ended, "{id:?}: ended, and not freed: {conn:?}");
            let answered = matches!(conn.state, State::Draining(..)) && conn.eof;
            assert!(!answered, "{id:?}: its peer has ended, too: {conn:?}");
        }
    }

    /// Called when the loop would sleep. Checks that no bytes of a client wait unread in the
    /// kernel.
    pub fn check_read(&mut self, hub: &Context, unread: impl Fn(ConnId) -> bool) {
        for (id, conn) in &self.shadow.conns {
            if conn.told && !self.may_be_held(conn) {
                assert!(!unread(*id), "{id:?}: not read ({}): {conn:?}", hub.is_open(*id));
                let closing = matches!(conn.state, State::Closing(..) | State::Draining(..));
                self.shadow.cover.add("closing at rest", u64::from(closing));
            }
        }
    }
}
