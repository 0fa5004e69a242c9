//! Justifies what the hub does without a callback. The test notices it by the bytes that the hub
//! queues, or by a connection that is gone, and the shadow must know a reason for it.

use std::collections::HashMap;
use std::io::IoSlice;

use longlink::{CloseReason, ConnId, Context};

use super::shadow::{Conn, In, Known, State, TICK};
use super::watch::{During, Watched};
use longlink::sim::frames::{self, Got, decode_frame, server_frame};

impl Watched {
    /// Updates the shadow with what the hub has done, and justifies each step.
    pub fn sync(&mut self, hub: &Context) {
        assert_eq!(self.opening, None, "a handshake was accepted, and on_open was not called");
        if self.during == During::Tick && hub.returned_at() != self.returned_at {
            self.returned_at = hub.returned_at();
            self.shadow.come_back();
        }
        let pong = |conn: &Conn| conn.inbound.front().is_some_and(|i| matches!(i.what, In::Pong));
        let differs = |(id, conn): &(&ConnId, &Conn)| {
            let same = hub.is_open(**id) && hub.queued(**id) == conn.expected.len();
            // Its close frame, which tells why it is closed, is not there yet.
            let decided = !hub.is_parting(**id);
            conn.state == State::Open && decided && (!same || pong(conn))
        };
        let ids: Vec<ConnId> =
            self.shadow.conns.iter().filter(differs).map(|(id, _)| *id).collect();
        let (open, ended): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| hub.is_open(*id));
        for id in self.shadow.in_order(hub, ended).into_iter().chain(open) {
            if self.shadow.conn(id).state == State::Open {
                self.sync_one(hub, id);
            }
        }
    }

    fn sync_one(&mut self, hub: &Context, id: ConnId) {
        self.skip_pongs(id);
        let open = hub.is_open(id);
        let known = self.shadow.conn(id).expected.len();
        if open && hub.queued(id) == known {
            return;
        }
        let Some(all) = pending(hub, id) else {
            assert!(!open, "{id:?}: {known} bytes are not queued");
            return self.justify_drop(id);
        };
        assert!(all.len() >= known, "{id:?}: {} bytes queued of {known}", all.len());
        let mut rest = &all[known..];
        while !rest.is_empty() {
            let (used, got) = decode_frame(rest).expect("whole frames are queued");
            self.justify_frame(id, got);
            self.shadow.conn_mut(id).expected.extend(&rest[..used]);
            rest = &rest[used..];
            self.skip_pongs(id);
        }
        if !open && self.shadow.conn(id).state == State::Open {
            panic!("{id:?}: closed without a close frame");
        }
    }

    /// Pongs have no answer, so a pong counts as handled as soon as everything before it was
    /// handled. It is certain that the hub has handled it only when the loop would sleep.
    fn skip_pongs(&mut self, id: ConnId) {
        loop {
            let conn = self.shadow.conn_mut(id);
            let next = conn.inbound.front().filter(|item| item.end <= conn.received);
            if !next.is_some_and(|item| matches!(item.what, In::Pong)) {
                return;
            }
            conn.inbound.pop_front();
            if conn.writes_are_life == Known::Yes {
                conn.writes_are_life = Known::Maybe;
            }
            self.charge(id, 1, false);
            self.shadow.conn_mut(id).late_pongs += 1;
            self.shadow.cover.count("pongs");
        }
    }

    /// Called when a control frame was queued without a callback.
    fn justify_frame(&mut self, id: ConnId, got: Got) {
        let now = self.shadow.now;
        let (ping, idle) = (self.shadow.config.ping_after, self.shadow.config.idle_timeout);
        let message = self.shadow.config.message_timeout.as_millis() as u64;
        let in_tick = self.during == During::Tick;
        let conn = self.shadow.conn_mut(id);
        let all_read = conn.sent == conn.received;
        let silent = now - conn.alive;
        let arrived = conn.inbound.front().filter(|item| item.start < conn.received);
        let what = arrived.map(|item| item.what.clone());
        match got {
            Got::Ping(payload) => {
                assert!(in_tick && payload.is_empty(), "{id:?}: a stray ping");
                assert_ne!(conn.pinged, Known::Yes, "{id:?}: pinged twice");
                assert!(u128::from(silent) >= ping.as_millis(), "{id:?}: pinged at {silent} ms");
                conn.pinged = Known::Yes;
                self.shadow.cover.count("pings");
                self.shadow.tally.pings += 1;
            }
            Got::Pong(payload) => {
                let Some(In::Ping(sent)) = what else { panic!("{id:?}: a stray pong") };
                assert_eq!(payload, sent);
                conn.inbound.pop_front();
                if in_tick && conn.is_held {
                    conn.heard = now;
                    conn.note_life(now, true);
                }
                self.charge(id, 1, true);
            }
            Got::Close(code, text) => {
                let reason = match (code, &text[..], what) {
                    (1001, "idle", _)
                        if in_tick && all_read && u128::from(silent) >= idle.as_millis() =>
                    {
                        CloseReason::Idle
                    }
                    (1008, "message took too long", _)
                        if in_tick && (all_read || conn.is_held || conn.is_incomplete()) =>
                    {
                        let since = conn
                            .partial_since()
                            .or_else(|| conn.whole_since())
                            .unwrap_or_else(|| panic!("{id:?}: no part of a message: {conn:?}"));
                        assert!(now >= since + message, "{id:?}: since {since}");
                        CloseReason::MessageTimeout
                    }
                    (1011, "out of memory", _) if self.over => CloseReason::Memory,
                    (_, "", Some(In::Close(sent))) if sent == code => CloseReason::Peer { code },
                    (_, _, Some(In::Bad(due, reason))) if due == code => reason,
                    other => panic!("{id:?}: no reason is known for this close frame: {other:?}"),
                };
                self.shadow.start_closing(id, reason);
            }
            other => panic!("{id:?}: no reason is known for this frame: {other:?}"),
        }
    }

    /// Called when a connection was dropped without a close frame and without a callback.
    fn justify_drop(&mut self, id: ConnId) {
        let most = self.shadow.config.max_queue;
        let conn = self.shadow.conn(id);
        // The answers to all pings that are next, which nobody could see.
        let next = conn.inbound.iter().take_while(|item| item.end <= conn.received);
        let answers = next.map_while(|item| match &item.what {
            In::Ping(payload) => Some(server_frame(frames::PONG, payload).len()),
            In::Pong => Some(0),
            _ => None,
        });
        let pinged = if self.during == During::Tick { 2 } else { 0 };
        let full = !conn.has_room(answers.sum::<usize>() + pinged, most);
        let last = conn.expected.len() + 2 * 127 > most; // the last of them was one too many
        let full = full || last && !conn.blocked;
        let reason = if self.over {
            CloseReason::Memory
        } else {
            assert!(full, "{id:?}: dropped for no reason: {conn:?}");
            self.shadow.tally.pings_without_room += u64::from(pinged > 0);
            CloseReason::SlowReader
        };
        self.shadow.end(id, reason);
    }

    /// Called after a tick. Checks that each connection that needed a ping got one, and that each
    /// connection whose time was over was closed.
    pub fn check_timers(&self) {
        let config = &self.shadow.config;
        let now = self.shadow.now / TICK * TICK;
        let due = |since: u64, timeout: std::time::Duration| {
            (since + timeout.as_millis() as u64).next_multiple_of(TICK) <= now
        };
        for (id, conn) in &self.shadow.conns {
            if conn.state != State::Open {
                continue;
            }
            if self.shadow.now <= conn.looked_at_again {
                continue;
            }
            let silent = self.shadow.now - conn.maybe_alive;
            let pinged = conn.pinged != Known::No || !due(conn.maybe_alive, config.ping_after);
            assert!(pinged, "{id:?}: silent for {silent} ms and not pinged: {conn:?}");
            let alive = !due(conn.maybe_alive, config.idle_timeout);
            assert!(alive, "{id:?}: silent for {silent} ms and not expired");
            let partial = conn.partial_since();
            let late = partial.is_some_and(|at| due(at.max(conn.held_at), config.message_timeout));
            assert!(!late, "{id:?}: a message has taken since {partial:?}");
        }
    }

    /// Checks that each refusal whose delay is over was sent.
    pub fn refuse_held(&mut self, hub: &Context) {
        let now = self.shadow.now / TICK * TICK;
        for (id, conn) in &mut self.shadow.conns {
            if let State::Held(since) = conn.state
                && (since + 1_000).next_multiple_of(TICK) <= now
            {
                assert!(conn.eof || hub.queued(*id) > 0, "{id:?}: still held");
                conn.state = State::Refused;
            }
        }
    }

    /// Called after a turn. Checks that hub and shadow agree on which connections there are and in
    /// which state each of them is.
    pub fn check_agreement(&self, hub: &Context) {
        let mut users = HashMap::new();
        for (id, conn) in &self.shadow.conns {
            let open = conn.state == State::Open;
            assert_eq!(hub.is_open(*id), open, "{id:?}: {conn:?}");
            if open {
                assert_eq!(hub.is_parked(*id), conn.parked.is_some(), "{id:?}: {conn:?}");
                assert_eq!(hub.user(*id), Some(&conn.user[..]));
                *users.entry(&conn.user[..]).or_insert(0) += 1;
            }
        }
        assert_eq!(hub.online(), users.len());
        for (user, count) in users {
            let of_user = hub.connections_of(user);
            assert_eq!(of_user.len(), count);
            let theirs = |id: &ConnId| self.shadow.conn(*id).user == user;
            assert!(hub.is_online(user) && of_user.iter().all(theirs));
        }
        assert_eq!(hub.connections(), self.shadow.conns.len());
        self.check_counters(hub);
        for id in self.gone.values() {
            assert!(hub.user(*id).is_none() && !hub.is_open(*id) && hub.peer(*id).is_none());
            assert_eq!((hub.queued(*id), hub.is_parked(*id)), (0, false), "an id came back");
        }
    }

    /// Called when the loop would sleep. Checks that everything that has arrived was handled, and
    /// that a client that reads has got everything.
    pub fn check_rest(&mut self, hub: &Context, reads: impl Fn(ConnId) -> bool) {
        self.sync(hub);
        self.settle_pongs();
        self.check_held();
        self.shadow.conns.values_mut().for_each(|conn| conn.fresh = false);
        self.note_held();
        self.rested_at = self.shadow.now;
        for (id, conn) in &mut self.shadow.conns {
            let certain = conn.state == State::Open && !conn.waits();
            if certain && conn.writes_are_life == Known::Maybe {
                conn.writes_are_life = Known::No;
            }
            if conn.told && reads(*id) {
                assert!(conn.expected.is_empty(), "{id:?}: not written: {conn:?}");
            }
        }
    }
}

/// All bytes queued for a connection; `None` when there are none.
pub fn pending(hub: &Context, id: ConnId) -> Option<Vec<u8>> {
    let pending = hub.pending(id)?;
    let mut slices = vec![IoSlice::new(&[]); 4_096];
    let count = pending.gather(&mut slices);
    let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!(all.len(), hub.queued(id), "what is gathered is what is queued");
    Some(all)
}
