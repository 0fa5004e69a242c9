//! The part of the shadow for a user with several connections: which of them are active, which
//! are parked, which become active again, and which are ended because there are too many.

use std::collections::BTreeSet;

use longlink::limits::Devices;
use longlink::{CloseReason, ConnId};

use super::order::{Place, take_out};
use super::shadow::{Conn, Shadow, State};

/// What the hub must do with a handshake that the handler has accepted.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Open,
    Held,
    Refused,
    /// The handler has ended the connection before.
    Over,
}

impl Shadow {
    /// Returns the open connections of a user in the order in which they opened.
    pub fn members(&self, user: &str) -> Vec<ConnId> {
        let open = |conn: &Conn| conn.state == State::Open && conn.user == user;
        let mut ids: Vec<_> =
            self.conns.iter().filter(|(_, conn)| open(conn)).map(|(id, _)| *id).collect();
        ids.sort_by_key(|id| self.conns[id].order);
        ids
    }

    /// Returns the users who have an open connection.
    pub fn online(&self) -> BTreeSet<String> {
        let open = self.conns.values().filter(|conn| conn.state == State::Open);
        open.map(|conn| conn.user.clone()).filter(|user| !user.is_empty()).collect()
    }

    fn of_key(&self, user: &str, device: &str) -> Vec<ConnId> {
        let mut ids = self.members(user);
        ids.retain(|id| self.conns[id].device == device);
        ids
    }

    /// Called when the handler has accepted a handshake.
    pub fn enter(&mut self, id: ConnId, user: &str, device: &str) -> Verdict {
        if self.conn(id).surplus || self.draining {
            self.cover.count("503");
            self.tally.unavailable += 1;
            self.tally.ask(503);
            return Verdict::Refused;
        }
        if self.conn(id).state != State::Head {
            return Verdict::Over;
        }
        if !user.is_empty() && !self.make_room(user, device) {
            self.conn_mut(id).state = State::Held(self.now);
            self.cover.count("held");
            self.tally.unavailable += 1;
            self.tally.ask(503);
            return Verdict::Held;
        }
        if !user.is_empty() {
            self.displace(user, device);
        }
        self.next_order += 1;
        let (order, now) = (self.next_order, self.now);
        let conn = self.conn_mut(id);
        conn.state = State::Open;
        conn.user = user.to_owned();
        conn.device = device.to_owned();
        conn.order = order;
        // A handshake that has waited for the answers to earlier requests is not silent.
        conn.heard = now;
        conn.note_life(now, true);
        self.tally.opened += 1;
        Verdict::Open
    }

    /// Applies the limits of a user's connections. A key (a user and a device) has at most four
    /// parked connections: of more, the one that is silent longest is ended, at most one for a key
    /// in 30 s. A user has at most 25 connections.
    fn make_room(&mut self, user: &str, device: &str) -> bool {
        let members = self.members(user);
        let of_key = self.of_key(user, device);
        if members.len() < 2 {
            // The memory of a key goes when its user has one connection left.
            self.evictions.retain(|(name, _), _| name != user);
        }
        if of_key.len() <= 4 {
            return members.len() < 25;
        }
        let key = (user.to_owned(), device.to_owned());
        if self.evictions.get(&key).is_some_and(|at| self.now < at + 30_000) {
            return false;
        }
        let parked = of_key.iter().filter(|id| self.conns[id].parked.is_some());
        let Some(&silent) = parked.min_by_key(|id| self.conns[id].heard) else { return false };
        self.evictions.insert(key, self.now);
        self.close(silent, CloseReason::Crowded, 1008, "too many connections of this user");
        true
    }

    /// Called when a connection opens: it parks the active connection of its key, and if the user
    /// has too many devices, the active connection that has been silent longest.
    fn displace(&mut self, user: &str, device: &str) {
        let mut active = self.members(user);
        active.retain(|id| self.conns[id].parked.is_none());
        let limit = if self.config.devices == Devices::One { 1 } else { 5 };
        let same = active.iter().find(|id| self.conns[id].device == device);
        let silent = || active.iter().min_by_key(|id| self.conns[id].heard);
        let replaced = same.or_else(|| if active.len() >= limit { silent() } else { None });
        if let Some(&id) = replaced {
            self.park(id);
        }
    }

    fn park(&mut self, id: ConnId) {
        self.conn_mut(id).parked = Some(self.now);
        self.tally.parked += 1;
        self.cover.count("parked");
    }

    /// Called when a parked connection has sent a message.
    pub fn reclaim(&mut self, id: ConnId) {
        let conn = self.conn(id);
        let (State::Open, Some(since)) = (&conn.state, conn.parked) else { return };
        if self.now < since + 2_000 {
            self.cover.count("too early to reclaim");
            return;
        }
        let mut active = self.members(&conn.user);
        active.retain(|id| self.conns[id].parked.is_none());
        let same = active.iter().find(|id| self.conns[id].device == conn.device);
        let silent = || active.iter().min_by_key(|id| self.conns[id].heard);
        let Some(&rival) = same.or_else(silent) else { return };
        if self.conn(rival).heard > since {
            return;
        }
        if self.conn(rival).maybe_heard > since {
            // Nobody can see when the hub has handled a pong. So the hub may decide either way.
            self.cover.count("reclaimed or not, as the hub decides");
            if !self.is_active_in_hub {
                return;
            }
        }
        self.park(rival);
        self.conn_mut(id).parked = None;
        self.cover.count("reclaimed");
        self.tally.promoted += 1;
    }

    /// Called when a connection is not open any more. Its user loses it, and if it was active, the
    /// parked connection of its key that was heard last becomes active.
    pub fn leave(&mut self, id: ConnId, state: State) {
        let conn = self.conn_mut(id);
        assert_eq!(conn.state, State::Open);
        if let State::Closing(reason, _) | State::Ended(reason) = &state {
            let reason = reason.clone();
            self.tally.decide(&reason);
        }
        let conn = self.conn_mut(id);
        conn.state = state;
        let was_active = conn.parked.take().is_none();
        let user = conn.user.clone();
        if user.is_empty() {
            return;
        }
        if self.members(&user).is_empty() {
            self.gone_offline.insert(user.clone());
        }
        if !was_active {
            return;
        }
        let conn = self.conn(id);
        let (id, device, heard) = (id, conn.device.clone(), conn.heard);
        let mut places = self.places(&user);
        places.push(Place { id, device, heard, parked: false });
        if let Some(id) = take_out(&mut places, id) {
            self.conn_mut(id).parked = None;
            self.cover.count("promoted");
            self.tally.promoted += 1;
        }
    }
}
