//! What the other files of this room share: the parts of a mailbox, its place in the lists, and how much
//! memory it takes.

use std::hash::BuildHasher;

use super::cids::Cids;
use super::devices::{Device, MAX_DEVICES, Slots, State};
use super::list::{List, NONE};
use super::message::Held;
use super::record::{Full, Key, Mailbox, Place};
use super::set::Mailboxes;

impl Mailboxes {
    #[inline]
    pub(super) fn full(&self, key: Key) -> Option<&Full> {
        self.fulls.get(self.boxes[key.0].full)
    }

    pub(super) fn full_of(&mut self, key: Key) -> Option<&mut Full> {
        self.fulls.get_mut(self.boxes[key.0].full)
    }

    /// The [`Full`] of a mailbox, which is made if there is none.
    #[inline]
    pub(super) fn full_mut(&mut self, key: Key) -> &mut Full {
        let mut full = self.boxes[key.0].full;
        if full == NONE {
            full = self.make_full(key);
        }
        &mut self.fulls[full]
    }

    #[inline(never)]
    fn make_full(&mut self, key: Key) -> u32 {
        let full = Full { owner: key.0, due: u32::MAX, ..Full::default() };
        let full = self.fulls.insert(full);
        self.boxes[key.0].full = full;
        full
    }

    #[inline]
    pub(super) fn device(&self, key: Key, slot: usize) -> &Device {
        let mailbox = &self.boxes[key.0];
        match slot.checked_sub(1) {
            None => &mailbox.first,
            Some(other) => &self.fulls[mailbox.full].others[other].0,
        }
    }

    pub(super) fn state(&self, key: Key, slot: usize) -> State {
        let mailbox = &self.boxes[key.0];
        match slot.checked_sub(1) {
            None => mailbox.state,
            Some(other) => self.fulls[mailbox.full].others[other].1,
        }
    }

    #[inline]
    pub(super) fn device_mut(&mut self, key: Key, slot: usize) -> (&mut Device, &mut State) {
        let Mailbox { first, state, full, .. } = &mut self.boxes[key.0];
        match slot.checked_sub(1) {
            None => (first, state),
            Some(other) => {
                let (device, state) = &mut self.fulls[*full].others[other];
                (device, state)
            }
        }
    }

    /// Accounts for a message that was taken out of its mailbox and is not reported as lost.
    pub(super) fn free(&mut self, held: Held) {
        self.waiting -= 1;
        self.held -= held.owned();
    }

    /// Forgets the messages that every known device has handled.
    pub(super) fn prune(&mut self, key: Key) {
        let mailbox = &self.boxes[key.0];
        let (mut devices, mut count) = ([(0, 0); MAX_DEVICES], 0);
        if mailbox.known == Slots::one(0) {
            // Nearly every user has one device.
            (devices[0], count) = ((0, mailbox.first.cursor), 1);
        } else {
            for slot in mailbox.known.iter() {
                devices[count] = (slot, self.device(key, slot).cursor);
                count += 1;
            }
        }
        let Some(full) = self.fulls.get_mut(mailbox.full) else { return };
        let (held, waiting) = (&mut self.held, &mut self.waiting);
        let before = full.ring.overhead();
        full.ring.prune(&devices[..count], |message| {
            *waiting -= 1;
            *held -= message.owned();
        });
        // Nearly always the ring keeps its room for the next messages, and nothing else has changed.
        if full.is_empty() || full.due == u32::MAX || full.ring.overhead() != before {
            self.recount(key);
        }
    }

    /// Removes the entry of a mailbox from the index.
    pub(super) fn unindex(&mut self, key: u32) {
        let hash = self.hasher.hash_one(self.boxes[key].user.as_str());
        self.index.remove(hash, key);
    }

    pub(super) fn enlist(&mut self, key: u32, place: Place) {
        self.boxes[key].place = place;
        if let Some(list) = self.list_of(place) {
            let mut changed = *list;
            changed.push(key, &mut self.boxes);
            self.set_list(place, changed);
        }
    }

    pub(super) fn unlist(&mut self, key: u32) {
        let place = self.boxes[key].place;
        if let Some(list) = self.list_of(place) {
            let mut changed = *list;
            changed.remove(key, &mut self.boxes);
            self.set_list(place, changed);
        }
        self.boxes[key].place = Place::Nowhere;
    }

    fn list_of(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Nowhere => None,
            Place::Here => Some(&mut self.here),
            Place::Strangers => Some(&mut self.strangers),
            Place::Away => Some(&mut self.away),
        }
    }

    fn set_list(&mut self, place: Place, changed: List) {
        if let Some(list) = self.list_of(place) {
            *list = changed;
        }
    }

    /// Updates the total of memory after a mailbox has changed, removes its [`Full`] if that is empty, and
    /// sets the time when something in the mailbox expires next.
    pub(super) fn recount(&mut self, key: Key) {
        let mailbox = &mut self.boxes[key.0];
        let index = mailbox.full;
        let Some(full) = self.fulls.get_mut(index) else { return };
        if full.is_empty() {
            self.held -= full.counted as usize;
            self.fulls.remove(index);
            self.wheel.disarm(index);
            mailbox.full = NONE;
            return;
        }
        let counted = full.memory();
        self.held = self.held - full.counted as usize + counted;
        full.counted = counted as u32;
        let cids = full.cids.as_deref().and_then(Cids::last_until);
        let due = full.ring.first_expiry().into_iter().chain(cids).min();
        let due = due.unwrap_or(u32::MAX);
        // An earlier deadline stays, and the true one is set when it has come.
        if due < full.due {
            full.due = due;
            self.wheel.arm(index, (u64::from(due) + 1) * 1_000);
        }
    }
}
