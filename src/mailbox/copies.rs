//! Copies of mailboxes that several servers share. The mailboxes are elsewhere, and a server has a copy of
//! each user who is connected to it, for the devices that are connected there.
//!
//! When a device connects, the copy is made, or completed, from what the user's mailbox holds. All devices of
//! the user count until [`Mailboxes::connect`] has found out where this device begins; then those that are
//! not here are [forgotten](Mailboxes::forget_others). A copy without a device is dropped.

use super::devices::{Device, Slots};
use super::lost::{Lost, Reason};
use super::message::Held;
use super::record::Key;
use super::set::Mailboxes;

/// So many messages of devices that are not in the copies of their users are remembered. Without one of them the device
/// gets a copy of what it has sent itself.
const MOST_STRAYS: usize = 256;

/// A copy that is being made or completed.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    pub key: Key,
    /// The devices that were here before.
    here: Slots,
    /// The newest number that they had been given.
    top: u64,
}

impl Filling {
    /// Whether the devices that were here before have no use for a message: they have had it, or they were
    /// told that it is gone.
    fn is_old(&self, seq: u64) -> bool {
        self.here.any() && seq <= self.top
    }
}

impl Mailboxes {
    /// From now on all mailboxes are copies of those that several servers share. There is always one, of
    /// nobody: who looks whether there is any mailbox at all must not be told that there is none.
    pub fn become_copies(&mut self) {
        self.are_copies = true;
        // The numbers below the base of a mailbox were given, so whoever has not had them is told so.
        self.missed = u64::MAX;
        let key = self.obtain("");
        // It is in no list, so it is not given up.
        self.unlist(key.0);
    }

    /// Begins to make or to complete the copy of a user's mailbox. `top` is the newest number, and those up
    /// to `base` were given by an earlier mailbox of the user.
    pub fn fill_copy(&mut self, user: &str, base: u64, top: u64) -> Filling {
        let key = self.obtain(user);
        let mailbox = &mut self.boxes[key.0];
        let here = mailbox.known;
        if !here.any() {
            (mailbox.top, mailbox.given, mailbox.given_high) = (base, 0, 0);
        }
        let before = mailbox.top;
        if top > before {
            mailbox.raise(top);
        }
        self.full_mut(key);
        Filling { key, here, top: before }
    }

    /// Adds a device of the user, which may be connected elsewhere, to the copy. `since` is the second since
    /// which it has been away.
    pub fn add_device(&mut self, filling: &Filling, name: &str, cursor: u64, since: u32) {
        let key = filling.key;
        if self.slot_of_device(key, name).is_some() || self.boxes[key.0].known.all() {
            return;
        }
        let (slot, _) = self.take_slot(key, name);
        let (device, state) = self.device_mut(key, slot);
        (*device, *state) = (Device { name: name.into(), cursor }, since);
    }

    /// Adds a message to the copy, unless the copy has it already. `but` is the device that does not get it.
    pub fn add_message(&mut self, filling: &Filling, mut held: Held, but: Option<&str>) {
        let key = filling.key;
        if filling.is_old(held.seq) {
            filling.here.iter().for_each(|slot| held.skips.add(slot));
        }
        let sender = but.and_then(|device| self.slot_of_device(key, device));
        if let Some(slot) = sender {
            held.skips.add(slot);
            // The copy may have it from a time when the device was not known here.
            self.range_mut(key, held.seq - 1, held.seq).for_each(|held| held.skips.add(slot));
        }
        let owned = held.owned();
        if self.full_mut(key).ring.insert(held) {
            self.held += owned;
            self.waiting += 1;
        }
    }

    /// Adds numbers that are lost to the copy: for one device, or for all but one, if these are named.
    pub fn add_lost(
        &mut self,
        filling: &Filling,
        (from, to): (u64, u64),
        reason: Reason,
        (only, but): (&str, &str),
    ) {
        let key = filling.key;
        let mut skips = Slots::NONE;
        if !only.is_empty() {
            let Some(slot) = self.slot_of_device(key, only) else { return };
            skips = Slots::all_but(slot);
            self.range_mut(key, from.saturating_sub(1), to).for_each(|held| held.skips.add(slot));
        }
        if let Some(slot) = Some(but).filter(|it| !it.is_empty())
            && let Some(slot) = self.slot_of_device(key, slot)
        {
            skips.add(slot);
        }
        let ring = &mut self.full_mut(key).ring;
        let old = match filling.here.any() {
            true => to.min(filling.top),
            false => 0,
        };
        if from <= old {
            let mut skips = skips;
            filling.here.iter().for_each(|slot| skips.add(slot));
            ring.lose_range(Lost { from, to: old, reason, skips });
        }
        if to > old {
            ring.lose_range(Lost { from: from.max(old + 1), to, reason, skips });
        }
    }

    /// Forgets the devices that are neither connected here nor wanted for another reason.
    pub fn forget_others(&mut self, key: Key, is_wanted: impl Fn(&str) -> bool) {
        let mut known = self.boxes[key.0].connected;
        for (slot, device, _) in self.devices(key) {
            if is_wanted(&device.name) {
                known.add(slot);
            }
        }
        self.boxes[key.0].known = known;
        self.prune(key);
        self.settle_place(key);
        self.recount(key);
    }

    /// Takes a device out of a copy, because its connection has ended. If it was the last one, the copy is
    /// dropped. A connection that is not the newest one of its device changes nothing; then this returns
    /// false.
    pub fn leave_copy(&mut self, key: Key, slot: usize, connection: u32) -> bool {
        if !self.is_newest(key, slot, connection) {
            return false;
        }
        self.boxes[key.0].connected.remove(slot);
        self.forget_device(key, slot);
        true
    }

    /// Takes a device that has no connection out of a copy. If it was the last one, the copy is dropped.
    pub fn forget_device(&mut self, key: Key, slot: usize) {
        self.boxes[key.0].known.remove(slot);
        if !self.boxes[key.0].known.any() {
            return self.give_up(key.0, None);
        }
        self.prune(key);
        self.settle_place(key);
        self.recount(key);
    }

    /// Drops all copies, because their numbers mean nothing any more.
    pub fn drop_copies(&mut self) {
        let others = self.boxes.iter().filter(|(_, mailbox)| !mailbox.user.is_empty());
        let keys: Vec<u32> = others.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.give_up(key, None));
    }

    /// Puts a message that has arrived into a copy. `but` is the device that does not get it. Returns false
    /// if the copy has it already.
    pub fn put_arrived(
        &mut self,
        key: Key,
        mut held: Held,
        but: Option<&str>,
        is_live: bool,
    ) -> bool {
        if held.seq <= self.boxes[key.0].top {
            return false;
        }
        if let Some(device) = but {
            match self.slot_of_device(key, device) {
                Some(slot) => held.skips.add(slot),
                None => {
                    if self.strays.len() == MOST_STRAYS {
                        self.strays.pop_front();
                    }
                    self.strays.push_back((key.0, device.into(), held.seq));
                }
            }
        }
        self.put(key, held, is_live);
        true
    }

    /// A device has connected that may have sent messages before it was in the copy. It gets no copies of them.
    pub(super) fn skip_strays(&mut self, key: Key, slot: usize) {
        if self.strays.is_empty() {
            return;
        }
        let name = self.device(key, slot).name.clone();
        let is_its = |of: u32, device: &str| of == key.0 && *device == *name;
        let its = self.strays.iter().filter(|(of, device, _)| is_its(*of, device));
        let numbers: Vec<u64> = its.map(|(.., seq)| *seq).collect();
        self.strays.retain(|(of, device, _)| !is_its(*of, device));
        for seq in numbers {
            self.range_mut(key, seq - 1, seq).for_each(|held| held.skips.add(slot));
        }
    }

    /// Takes out the messages of a copy with these numbers, because they are not kept any more. The devices
    /// that have not had them are told so.
    pub fn lose_in_copy(&mut self, key: Key, (from, to): (u64, u64), reason: Reason) {
        let top = self.boxes[key.0].top;
        let lost: Vec<u64> = self.messages(key).map(|held| held.seq).collect();
        for seq in lost.into_iter().filter(|seq| (from..=to).contains(seq)) {
            if let Some(held) = self.full_of(key).and_then(|full| full.ring.lose(seq)) {
                self.free(held);
            }
        }
        // Numbers that have come before and are not held were handled, or their loss is known.
        let from = from.max(top + 1);
        if from <= to {
            self.boxes[key.0].raise(to);
            let skips = Slots::NONE;
            self.full_mut(key).ring.lose_range(Lost { from, to, reason, skips });
        }
        self.prune(key);
        self.recount(key);
    }
}
