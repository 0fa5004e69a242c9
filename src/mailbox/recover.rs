//! Mailboxes as an earlier run of the server has left them: devices, what is gone, and messages whose bodies
//! are on a disk. All of them are told before there is a connection.

use std::hash::BuildHasher;

use super::devices::Slots;
use super::lost::Reason;
use super::message::{Held, Marks, Stub};
use super::record::{Key, Place};
use super::set::Mailboxes;

/// A message of an earlier run.
#[derive(Clone, Copy, Debug)]
pub struct Old<'a> {
    pub seq: u64,
    /// The bytes of its body.
    pub size: usize,
    /// The key under which it replaces others; empty if there is none.
    pub key: &'a str,
    /// For how many more seconds it is kept; `None` if its time is over. With 0 it expires in the first call of
    /// [`Mailboxes::expire`], as any message does.
    pub left: Option<u32>,
    pub marks: Marks,
    /// The device that does not get it, because it has sent it.
    pub but: Option<&'a str>,
}

impl Mailboxes {
    /// Makes the mailbox of a user with a device, which has handled every message up to `cursor` and has
    /// been away for so many seconds.
    pub fn recover_device(&mut self, user: &str, device: &str, cursor: u64, away: u32) {
        let key = self.obtain(user);
        // The clock begins when the server is started.
        let since = 0_u32.wrapping_sub(away.min(i32::MAX as u32));
        let is_older = |(.., away): (usize, _, Option<u32>)| {
            away.is_some_and(|away| (away as i32) < since as i32)
        };
        if self.boxes[key.0].known.all() && !self.devices(key).any(is_older) {
            return;
        }
        let slot = match self.slot_of_device(key, device) {
            Some(slot) => slot,
            None => self.take_slot(key, device).0,
        };
        let (device, state) = self.device_mut(key, slot);
        (device.cursor, *state) = (cursor, since);
        self.raise(key, cursor);
        self.settle_place(key);
        self.recount(key);
    }

    fn raise(&mut self, key: Key, seq: u64) {
        let mailbox = &mut self.boxes[key.0];
        if seq > mailbox.top {
            mailbox.raise(seq);
        }
    }

    /// Adds a message of an earlier run, whose number is above those that were added before, unless every
    /// device of the user has handled it.
    pub fn recover_message(&mut self, user: &str, old: Old<'_>) {
        let Old { seq, left, but, .. } = old;
        let key = match (self.find(user), left) {
            (Some(key), _) => key,
            (None, Some(_)) => self.obtain(user),
            // Nobody misses it.
            (None, None) => return,
        };
        self.raise(key, seq);
        let but = but.and_then(|device| self.slot_of_device(key, device));
        let skips = but.map_or(Slots::NONE, Slots::one);
        let known = self.boxes[key.0].known;
        let mut had = skips;
        known.iter().filter(|slot| self.cursor(key, *slot) >= seq).for_each(|slot| had.add(slot));
        if known.any() && known.iter().all(|slot| had.has(slot)) {
            return;
        }
        match left {
            Some(left) => self.push_old(key, old, skips, left),
            None if known.any() => {
                self.full_mut(key).ring.note_gone(seq, seq, had, Reason::Expired)
            }
            None => {}
        }
        self.recount(key);
    }

    fn push_old(&mut self, key: Key, old: Old<'_>, skips: Slots, left: u32) {
        let name = match old.key.is_empty() {
            true => 0,
            false => Stub::key_of(self.hasher.hash_one(old.key.as_bytes())),
        };
        let stub = Stub { size: u32::try_from(old.size).unwrap_or(u32::MAX), key: name };
        let mut held = Held::of_stub(old.seq, stub, left, old.marks);
        held.skips = skips;
        self.waiting += 1;
        self.full_mut(key);
        let ring = &mut self.fulls[self.boxes[key.0].full].ring;
        if let Some(replaced) = ring.push(held, |_| 0, true) {
            self.free(replaced);
        }
        self.bound(key, false);
    }

    /// Notes that messages of a user with numbers above `after` and up to `seq` are not kept any more. To be called when
    /// all messages are added, with the lowest numbers of a user first.
    pub fn recover_gone(&mut self, user: &str, (after, seq): (u64, u64), reason: Reason) {
        let Some(key) = self.find(user).filter(|key| self.boxes[key.0].known.any()) else { return };
        self.raise(key, seq);
        let known = self.boxes[key.0].known;
        let mut had = Slots::NONE;
        known.iter().filter(|slot| self.cursor(key, *slot) >= seq).for_each(|slot| had.add(slot));
        let behind = known.iter().filter(|slot| !had.has(*slot));
        let Some(least) = behind.map(|slot| self.cursor(key, slot)).min() else { return };
        let from = least.max(after) + 1;
        if from <= seq {
            self.full_mut(key).ring.note_gone(from, seq, had, reason);
        }
        self.close(key);
        self.recount(key);
    }

    /// Remembers the number of a recent send of a user.
    pub fn recover_cid(&mut self, user: &str, number: u64) {
        if let Some(key) = self.find(user) {
            self.full_mut(key).cids.get_or_insert_default().add_away(number, 0);
            self.recount(key);
        }
    }

    /// Puts the mailboxes in order when everything is told: those of users who have been away longest come
    /// first.
    pub fn finish_recovery(&mut self) {
        let mut away: Vec<(i32, u32)> = Vec::new();
        let keys: Vec<u32> = self.boxes.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.close(Key(key)));
        for (key, mailbox) in self.boxes.iter().filter(|(_, it)| it.place == Place::Away) {
            let newest = mailbox.known.iter().map(|slot| self.state(Key(key), slot) as i32).max();
            away.push((newest.unwrap_or_default(), key));
        }
        away.sort_unstable();
        for (_, key) in away {
            self.unlist(key);
            self.enlist(key, Place::Away);
        }
    }
}
