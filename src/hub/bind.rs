//! One user, several connections: who is active, who is parked, who comes back.
//!
//! A connection's key is its user and device. The newest of a key is active;
//! the one it replaces is parked, not closed: the published page reconnects
//! whenever a socket of its closes, so closing a replaced one would start an
//! endless loop. A parked connection gets nothing of the user's, but what it
//! sends is handled and its heartbeat answered.

use crate::hub::record::Connection;
use crate::hub::record::Flags;
use crate::wire::ws::close::CloseReason;

use super::trace::Happened;
use super::users::{Crowd, Member, Seat, Seated};
use super::{ConnId, Context, Devices};

/// The most parked connections of one user and device.
pub const MAX_PARKED: usize = 4;
/// The most connections of one user by default.
pub const MAX_PER_USER: usize = 25;
/// One key may have one connection ended for room in this time, in milliseconds.
const EVICTION_MS: u64 = 30_000;
/// A connection parked for less than this stays so: what arrives from it may
/// have been on its way before. In milliseconds.
const PARKED_MS: u64 = 2_000;

impl Context {
    #[inline]
    pub(super) fn find_seat(&self, user: &str) -> Option<Seat> {
        self.users.find(user, &self.conns)
    }

    /// Writes the slots of a user's active connections into `receivers`.
    pub(super) fn active_members(&self, seat: Seat, receivers: &mut [u32; Devices::MOST]) -> usize {
        match seat.get() {
            Seated::Alone(index) => {
                receivers[0] = index;
                usize::from(self.conns[index as usize].is_active())
            }
            Seated::Several(key) => {
                let members = &self.users.crowds[key as usize].members;
                let active = members.iter().filter(|m| self.conns[m.index as usize].is_active());
                receivers.iter_mut().zip(active).map(|(slot, member)| *slot = member.index).count()
            }
        }
    }

    /// Whether a user has at least one open connection.
    pub fn is_online(&self, user: &str) -> bool {
        self.find_seat(user).is_some()
    }

    /// All open connections of a user, parked ones included, in no order. It
    /// allocates: not for every message.
    pub fn connections_of(&self, user: &str) -> Vec<ConnId> {
        let indices = match self.find_seat(user).map(Seat::get) {
            None => Vec::new(),
            Some(Seated::Alone(index)) => vec![index],
            Some(Seated::Several(key)) => {
                self.users.crowds[key as usize].members.iter().map(|m| m.index).collect()
            }
        };
        indices.into_iter().filter_map(|index| self.id_at(index as usize)).collect()
    }

    /// Makes a parked connection active again, if it may be: it was parked 2 s
    /// ago or earlier, and the one in its place has been silent since. Returns
    /// whether it is active now. Call it when a message has come from `conn`,
    /// not for heartbeats: two clients with one id would take turns.
    pub fn reclaim(&mut self, conn: ConnId) -> bool {
        let Some(record) = self.resolve(conn) else { return false };
        if !record.flags.has(Flags::PARKED) {
            return record.is_active();
        }
        let Some(Seated::Several(key)) = self.find_seat(&record.user).map(Seat::get) else {
            return false;
        };
        let crowd = &self.users.crowds[key as usize];
        let Some(since) =
            crowd.members.iter().find(|m| m.index == conn.index).and_then(|m| m.parked)
        else {
            return false;
        };
        if self.now < since + PARKED_MS {
            return false;
        }
        let record = &self.conns[conn.index as usize];
        let Some(rival) = self.rival(crowd, record.device()) else { return false };
        if self.conns[rival as usize].heard > since {
            return false;
        }
        self.set_parked(key, rival, true);
        self.set_parked(key, conn.index, false);
        true
    }

    /// Who would have to make way for a connection of this device: the active
    /// one of its key, else the active one that has been silent longest.
    fn rival(&self, crowd: &Crowd, device: &str) -> Option<u32> {
        let active = || crowd.members.iter().filter(|m| m.parked.is_none()).map(|m| m.index);
        active()
            .find(|&index| self.conns[index as usize].device() == device)
            .or_else(|| active().min_by_key(|&index| self.conns[index as usize].heard))
    }

    /// Makes a new connection its user's active one. Returns false when the
    /// user has too many. An anonymous one has no user to be bound to.
    pub(super) fn bind(&mut self, index: u32) -> bool {
        let user = self.conns[index as usize].user.clone();
        if user.is_empty() {
            return true;
        }
        match self.find_seat(&user) {
            None => {
                self.users.seat(index, &self.conns);
                return true;
            }
            Some(seat) => {
                let has_room = match seat.get() {
                    Seated::Alone(_) => self.config.max_per_user != 1,
                    Seated::Several(key) => self.make_room(key, index),
                };
                if !has_room {
                    return false;
                }
            }
        }
        // Making room may have left one connection, or none, in the seat.
        match self.find_seat(&user) {
            None => self.users.seat(index, &self.conns),
            Some(seat) => self.join_seat(&user, seat, index),
        }
        true
    }

    fn join_seat(&mut self, user: &str, seat: Seat, index: u32) {
        let key = match seat.get() {
            Seated::Several(key) => key,
            Seated::Alone(first) => {
                let members = vec![Member { index: first, parked: None }];
                let key = self.users.crowds.insert(Crowd { members, evictions: Vec::new() }) as u32;
                self.users.reseat(user, seat, Seat::several(key));
                key
            }
        };
        let crowd = &self.users.crowds[key as usize];
        let device = self.conns[index as usize].device();
        let actives = crowd.members.iter().filter(|member| member.parked.is_none());
        let same = |member: &&Member| self.conns[member.index as usize].device() == device;
        let replaced = match actives.clone().find(same) {
            Some(member) => Some(member.index),
            None if actives.count() >= self.config.devices.limit() => self.rival(crowd, device),
            None => None,
        };
        if let Some(replaced) = replaced {
            self.set_parked(key, replaced, true);
        }
        self.users.crowds[key as usize].members.push(Member { index, parked: None });
    }

    /// Makes sure that one more connection of that key is within the limits,
    /// by ending the parked one that has been silent longest if need be and
    /// if none had to go lately.
    fn make_room(&mut self, key: u32, newcomer: u32) -> bool {
        let now = self.now;
        let device = self.conns[newcomer as usize].device();
        let crowd = &self.users.crowds[key as usize];
        let of_key =
            || crowd.members.iter().filter(|m| self.conns[m.index as usize].device() == device);
        // Of the key's connections all but the newcomer will be parked.
        if of_key().count() > MAX_PARKED {
            let lately = |(name, at): &(_, u64)| name == device && now < at + EVICTION_MS;
            if crowd.evictions.iter().any(lately) {
                return false;
            }
            let parked = of_key().filter(|member| member.parked.is_some());
            let heard = |member: &&Member| self.conns[member.index as usize].heard;
            let Some(silent) = parked.min_by_key(heard).map(|member| member.index) else {
                return false;
            };
            let device = device.into();
            let evictions = &mut self.users.crowds[key as usize].evictions;
            evictions.retain(|(_, at)| now < at + EVICTION_MS);
            evictions.push((device, now));
            self.close_with(silent, CloseReason::Crowded);
            return true;
        }
        self.config.max_per_user == 0 || crowd.members.len() < self.config.max_per_user
    }

    /// Takes a connection that is ending out of the index. If it was active,
    /// a parked one takes its place at once.
    pub(super) fn unbind(&mut self, index: u32) {
        let conn = &self.conns[index as usize];
        if !conn.is_bound() {
            return;
        }
        let user = conn.user.clone();
        let Some(seat) = self.find_seat(&user) else { return };
        let key = match seat.get() {
            Seated::Alone(_) => return self.users.unseat(&user, seat),
            Seated::Several(key) => key,
        };
        let members = &mut self.users.crowds[key as usize].members;
        let Some(at) = members.iter().position(|member| member.index == index) else { return };
        let left = members.remove(at);
        if left.parked.is_none() {
            self.promote(key, index);
        }
        if let [last] = self.users.crowds[key as usize].members[..] {
            self.users.crowds.remove(key as usize);
            self.users.reseat(&user, seat, Seat::alone(last.index));
        }
    }

    /// After the active connection `gone` has left: the parked one of its key
    /// heard most recently becomes active, else one of a device that has none.
    fn promote(&mut self, key: u32, gone: u32) {
        let members = &self.users.crowds[key as usize].members;
        let device = |member: &Member| self.conns[member.index as usize].device();
        let heard = |member: &&Member| self.conns[member.index as usize].heard;
        let gone = self.conns[gone as usize].device();
        let parked = || members.iter().filter(|member| member.parked.is_some());
        let has_active = |name: &str| {
            members.iter().any(|member| member.parked.is_none() && device(member) == name)
        };
        let next = parked()
            .filter(|member| device(member) == gone)
            .max_by_key(heard)
            .or_else(|| parked().filter(|member| !has_active(device(member))).max_by_key(heard));
        if let Some(index) = next.map(|member| member.index) {
            self.set_parked(key, index, false);
        }
    }

    fn set_parked(&mut self, key: u32, index: u32, parked: bool) {
        self.settle_walk();
        let now = self.now;
        let members = &mut self.users.crowds[key as usize].members;
        if let Some(member) = members.iter_mut().find(|member| member.index == index) {
            member.parked = parked.then_some(now);
        }
        let conn: &mut Connection = &mut self.conns[index as usize];
        if parked {
            conn.flags.set(Flags::PARKED);
            self.active -= 1;
            self.stats.parked += 1;
        } else {
            conn.flags.clear(Flags::PARKED);
            self.active += 1;
            self.stats.promoted += 1;
        }
        if self.conns[index as usize].flags.has(Flags::NOTED) {
            self.note(index, if parked { Happened::Parked } else { Happened::Promoted });
        }
    }
}
