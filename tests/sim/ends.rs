//! Checks how long the end of a connection takes. The documentation names each bound. A
//! connection whose peer has ended its side too is freed in the same turn.

use std::time::Duration;

use longlink::{ConnId, Context};

use super::shadow::{Shadow, State, TICK, Wait};
use super::watch::Watched;

/// How long a connection may take for its head when there is no room, and it will only be told so.
const SURPLUS_HEAD: Duration = Duration::from_secs(1);

impl Watched {
    /// Called before a tick. From here on the time to close counts for each connection that has
    /// begun to close.
    pub fn time_ends(&mut self) {
        let now = self.shadow.now;
        for conn in self.shadow.conns.values_mut() {
            if let Some(wait) = conn.plain.wait.as_mut().filter(|wait| !wait.is_timed) {
                wait.is_timed = true;
                wait.since = now;
            }
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

    /// After a turn: no connection of plain HTTP waits longer than the configuration allows, be it
    /// for a request, for a body, for its answer to be read, or for its peer to end, too.
    pub fn check_plain(&mut self, hub: &Context) {
        let Shadow { now, config, conns, cover, .. } = &mut self.shadow;
        let tick = *now / TICK * TICK;
        for (id, conn) in conns {
            if conn.told || !matches!(conn.state, State::Head | State::Refused) {
                conn.plain.wait = None;
                continue;
            }
            let answered = conn.plain.answered;
            if let Some(at) = conn.plain.refused_at {
                // The answer is held back for a moment, and then the time of its end begins.
                let held = config.reject_delay.as_millis() as u64;
                conn.plain.is_last = (at + held).next_multiple_of(TICK) <= tick;
                if !conn.plain.is_last {
                    continue;
                }
            }
            let next = conn.inbound.front();
            let has_begun = next.is_some_and(|it| it.start < conn.received);
            let (what, most) = if conn.plain.is_last || conn.state == State::Refused {
                (("waits for its end", 0), config.close_timeout)
            } else if hub.queued(*id) > 0 {
                (("waits for its answer to be read", 0), config.message_timeout)
            } else if conn.plain.wants_body {
                (("waits for a body", answered), config.message_timeout)
            } else if answered > 0 && !has_begun {
                (("waits for a next request", answered), config.keep_alive_timeout)
            } else if conn.surplus {
                (("waits for a request to refuse", answered), SURPLUS_HEAD)
            } else {
                (("waits for a whole head", answered), config.handshake_timeout)
            };
            match &conn.plain.wait {
                Some(wait) if wait.what == what => {
                    let anew = if wait.is_anew { config.handshake_timeout } else { Duration::ZERO };
                    let most = most.max(anew);
                    let due = (wait.since + most.as_millis() as u64 + 1).next_multiple_of(TICK);
                    // What has arrived and waits to be handled is looked at again.
                    let may_be = conn.fresh || *now <= conn.looked_at_again;
                    assert!(tick < due || may_be, "{id:?}: at {now} still waits: {conn:?}");
                    cover.add(what.0, u64::from(*now > wait.since));
                }
                _ => {
                    let wait = Wait { what, since: *now, is_timed: false, is_anew: false };
                    conn.plain.wait = Some(wait);
                }
            }
        }
    }

    /// After a turn: when a shutdown has taken `close_timeout`, each connection that was there when
    /// it began has ended, or is an HTTP connection for which nothing waits to be written.
    pub fn check_shutdown(&mut self, hub: &Context) {
        let since = self.shadow.draining_since;
        let most = self.shadow.config.close_timeout.as_millis() as u64;
        let due = (since + most + 1).next_multiple_of(TICK);
        let tick = self.shadow.now / TICK * TICK;
        if !self.shadow.draining || tick < due {
            return;
        }
        for (id, conn) in &self.shadow.conns {
            let was_there = conn.opened_at <= since;
            // A client that asks as late as this is answered, and its connection ends with the
            // next tick.
            let is_new = conn.plain.wait.as_ref().is_some_and(|wait| {
                !wait.is_timed || tick < (wait.since + 1).next_multiple_of(TICK)
            });
            let misses = conn.state != State::Head || hub.queued(*id) > 0 && !is_new;
            assert!(!was_there || !misses, "{id:?}: still there at {}: {conn:?}", self.shadow.now);
        }
        self.shadow.cover.count("shutdowns that are over in time");
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
