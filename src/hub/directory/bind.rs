//! Several connections of one user: which is active, which are parked, and which becomes active
//! again.
//!
//! A connection's key is its user and device. The newest connection of a key is active. The
//! connection that it replaces is parked and not closed: the published page reconnects whenever one
//! of its sockets closes, so closing the replaced connection would start an endless loop. A parked
//! connection gets no messages for the user, but what it sends is handled, and its heartbeats are
//! answered.

use crate::hub::table::record::Flags;
use crate::hub::table::slots::Slot;
use crate::wire::ws::close::CloseReason;

use super::users::{Crowd, Member, Seat, Seated};
use crate::hub::trace::Happened;
use crate::hub::{ConnId, Context, Devices};

/// The most parked connections of one user and device.
pub const MAX_PARKED: usize = 4;
/// The most connections of one user by default.
pub const MAX_PER_USER: usize = 25;
/// For each key at most one connection in this time, in milliseconds, is ended to make room.
const EVICTION_MS: u64 = 30_000;
/// A connection that was parked for less than this time, in milliseconds, stays parked, because what
/// arrives from it may have been on its way before.
const PARKED_MS: u64 = 2_000;

impl Context {
    #[inline(never)]
    pub(in crate::hub) fn find_seat(&self, user: &str) -> Option<Seat> {
        self.users.find::<()>(user, &self.table)
    }

    /// Writes the slots of a user's active connections into `receivers`.
    pub(in crate::hub) fn active_members(
        &self,
        seat: Seat,
        receivers: &mut [Slot; Devices::MOST],
    ) -> usize {
        match seat.get() {
            Seated::Alone(index) => {
                receivers[0] = index;
                usize::from(self.table[index].is_active())
            }
            Seated::Several(key) => {
                let members = &self.users.crowds[key as usize].members;
                let active = members.iter().filter(|m| self.table[m.index].is_active());
                receivers.iter_mut().zip(active).map(|(slot, member)| *slot = member.index).count()
            }
        }
    }

    /// Returns on how many connections a user gets what is sent to the user.
    pub(crate) fn active_of(&self, user: &str) -> usize {
        let Some(seat) = self.find_seat(user) else { return 0 };
        self.active_members(seat, &mut [Slot::NONE; Devices::MOST])
    }

    /// Whether a connection gets what is sent to its user, to its groups and to everyone.
    pub(crate) fn is_active(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|record| record.is_active())
    }

    /// Whether a user has at least one open connection.
    pub fn is_online(&self, user: &str) -> bool {
        self.find_seat(user).is_some()
    }

    /// Returns all open connections of a user, including parked ones, in no particular order. It
    /// allocates, so do not call it for every message.
    pub fn connections_of(&self, user: &str) -> Vec<ConnId> {
        let indices = match self.find_seat(user).map(Seat::get) {
            None => Vec::new(),
            Some(Seated::Alone(index)) => vec![index],
            Some(Seated::Several(key)) => {
                self.users.crowds[key as usize].members.iter().map(|m| m.index).collect()
            }
        };
        indices.into_iter().filter_map(|index| self.table.id_at(index)).collect()
    }

    /// Makes a parked connection active again, if that is allowed: it was parked at least 2 s ago,
    /// and the connection that has replaced it has been silent since. Returns whether `conn` is
    /// active now. Call it when a message has come from `conn`, but not for heartbeats, because two
    /// clients with one id would replace each other all the time.
    pub fn reclaim(&mut self, conn: ConnId) -> bool {
        let Some(record) = self.resolve(conn) else { return false };
        if !record.is_parked() {
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
        let record = &self.table[conn.index];
        let Some(rival) = self.rival(&crowd.members, record.device()) else { return false };
        if self.table[rival].heard > since {
            return false;
        }
        let ends = self.displace(key, rival);
        self.set_parked(key, conn.index, false);
        self.end_replaced(ends);
        true
    }

    /// Returns the connection that would be parked for a connection of this device: the active one
    /// of its key, otherwise the active one that has been silent longest.
    fn rival(&self, members: &[Member], device: &str) -> Option<Slot> {
        let active = || members.iter().filter(|m| m.parked.is_none()).map(|m| m.index);
        active()
            .find(|&index| self.table[index].device() == device)
            .or_else(|| active().min_by_key(|&index| self.table[index].heard))
    }

    /// Makes a new connection the active one of its user. Returns false if the user has too many
    /// connections. An anonymous connection has no user, so nothing is done for it.
    pub(in crate::hub) fn bind(&mut self, index: Slot) -> bool {
        let user = self.table[index].user.clone();
        if user.is_empty() {
            return true;
        }
        match self.find_seat(&user) {
            None => {
                self.users.seat(index, &self.table);
                return true;
            }
            Some(seat) => {
                let has_room = match seat.get() {
                    Seated::Alone(first) => {
                        let only = [Member { index: first, parked: None }];
                        let device = self.table[index].device();
                        self.config.max_per_user != 1 || self.leaving(&only, device).is_some()
                    }
                    Seated::Several(key) => self.make_room(key, index),
                };
                if !has_room {
                    return false;
                }
            }
        }
        // After room was made, the user may have one connection or none.
        match self.find_seat(&user) {
            None => self.users.seat(index, &self.table),
            Some(seat) => self.join_seat(&user, seat, index),
        }
        true
    }

    fn join_seat(&mut self, user: &str, seat: Seat, index: Slot) {
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
        let replaced = self.replaced(&crowd.members, self.table[index].device());
        let ends = replaced.and_then(|replaced| self.displace(key, replaced));
        self.users.crowds[key as usize].members.push(Member { index, parked: None });
        self.end_replaced(ends);
    }

    /// Returns the active connection that a new connection of this device replaces: that of the
    /// device or, if the largest number of devices is active, the one that has been silent longest.
    fn replaced(&self, members: &[Member], device: &str) -> Option<Slot> {
        let active = || members.iter().filter(|m| m.parked.is_none()).map(|m| m.index);
        let full = active().count() >= self.config.devices.limit();
        self.rival(members, device).filter(|&index| full || self.table[index].device() == device)
    }

    /// Returns the connection that would be replaced, if it ends when it is replaced.
    fn leaving(&self, members: &[Member], device: &str) -> Option<Slot> {
        self.replaced(members, device).filter(|&index| self.replaced_codes.get(index) != 0)
    }

    /// Makes room for another active connection of the user. A connection that ends when it is
    /// replaced is returned, for [`Context::end_replaced`] after the new one is active; any other
    /// connection is parked.
    fn displace(&mut self, key: u32, index: Slot) -> Option<Slot> {
        if self.replaced_codes.get(index) == 0 {
            self.set_parked(key, index, true);
            return None;
        }
        self.mark_parked(key, index, true);
        self.deactivate(index);
        Some(index)
    }

    fn end_replaced(&mut self, ends: Option<Slot>) {
        if let Some(index) = ends {
            let code = self.replaced_codes.get(index);
            self.close_with(index, CloseReason::Replaced { code });
        }
    }

    /// Makes sure that one more connection of this key is within the limits. If there are too many,
    /// it ends the parked connection that has been silent longest, unless one was ended recently.
    fn make_room(&mut self, key: u32, newcomer: Slot) -> bool {
        let now = self.now;
        let device = self.table[newcomer].device();
        let crowd = &self.users.crowds[key as usize];
        // A connection that ends when it is replaced makes room by itself.
        let leaving = self.leaving(&crowd.members, device);
        let staying = || crowd.members.iter().filter(|m| Some(m.index) != leaving);
        let of_key = || staying().filter(|m| self.table[m.index].device() == device);
        // All connections of the key but the new one will be parked.
        if of_key().count() > MAX_PARKED {
            let lately = |(name, at): &(_, u64)| name == device && now < at + EVICTION_MS;
            if crowd.evictions.iter().any(lately) {
                return false;
            }
            let parked = of_key().filter(|member| member.parked.is_some());
            let heard = |member: &&Member| self.table[member.index].heard;
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
        self.config.max_per_user == 0 || staying().count() < self.config.max_per_user
    }

    /// Takes a connection that is ending out of the index. If it was active, a parked connection
    /// becomes active at once.
    pub(in crate::hub) fn unbind(&mut self, index: Slot) {
        let conn = &self.table[index];
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

    /// Called after the active connection `gone` has left. The parked connection of its key that
    /// was heard most recently becomes active; if there is none, one of a device without an active
    /// connection.
    fn promote(&mut self, key: u32, gone: Slot) {
        let members = &self.users.crowds[key as usize].members;
        let device = |member: &Member| self.table[member.index].device();
        let heard = |member: &&Member| self.table[member.index].heard;
        let gone = self.table[gone].device();
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

    fn mark_parked(&mut self, key: u32, index: Slot, parked: bool) {
        let now = self.now;
        let members = &mut self.users.crowds[key as usize].members;
        if let Some(member) = members.iter_mut().find(|member| member.index == index) {
            member.parked = parked.then_some(now);
        }
    }

    fn set_parked(&mut self, key: u32, index: Slot, parked: bool) {
        self.mark_parked(key, index, parked);
        if parked {
            self.deactivate(index);
            self.stats.parked += 1;
        } else {
            self.reactivate(index);
            self.stats.promoted += 1;
        }
        if self.table[index].flags.has(Flags::NOTED) {
            self.note(index, if parked { Happened::Parked } else { Happened::Promoted });
        }
    }
}
