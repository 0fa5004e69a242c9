//! Mailboxes whose messages are on a disk: which bodies are in memory, and which are only named.
//!
//! While no device of a user is connected, no body that is on a disk is in memory, and the messages are
//! packed. Whoever looks at them one by one opens the mailbox, and closes it again.

use std::hash::BuildHasher;

use super::message::{Body, Held};
use super::record::{Key, Sent};
use super::set::Mailboxes;

impl Mailboxes {
    /// Unpacks the messages of a mailbox.
    pub fn open(&mut self, key: Key) {
        if self.shared.is_some()
            && let Some(full) = self.full_of(key)
            && !full.ring.is_open()
        {
            full.ring.open();
            self.recount(key);
        }
    }

    /// Drops the bodies that are on a disk, and packs the messages, if no device is connected.
    pub fn close(&mut self, key: Key) {
        let mailbox = &self.boxes[key.0];
        if self.shared.is_none() || mailbox.connected.any() {
            return;
        }
        let Mailboxes { fulls, hasher, held, .. } = self;
        let Some(full) = fulls.get_mut(mailbox.full) else { return };
        *held -= full.ring.close(|name| hasher.hash_one(name));
        if let Some(cids) = &mut full.cids {
            cids.put_away();
        }
        self.recount(key);
    }

    /// Drops the bodies of a mailbox that are on a disk, because memory is short.
    pub(super) fn drop_bodies(&mut self, key: Key) {
        let Mailboxes { fulls, hasher, held, boxes, .. } = self;
        let Some(full) = fulls.get_mut(boxes[key.0].full) else { return };
        *held -= full.ring.drop_bodies(|name| hasher.hash_one(name));
    }

    /// Whether there is a mailbox of this key, of whichever user.
    pub fn has(&self, key: Key) -> bool {
        self.boxes.get(key.0).is_some()
    }

    /// Drops the bodies of a mailbox that were read and written to the devices, if memory is short. They
    /// can be read again.
    pub fn ease(&mut self, key: Key) {
        if self.memory() > self.limits.memory {
            self.drop_bodies(key);
        }
    }

    /// The numbers of the messages from a number on whose bodies are on a disk, up to so many messages and
    /// bytes. It ends at a message whose body is in memory.
    pub fn stubs(&mut self, key: Key, from: u64, most: usize, most_bytes: usize) -> Vec<u64> {
        self.full_of(key).map_or(Vec::new(), |full| full.ring.stubs(from, most, most_bytes))
    }

    /// Gives a message back its body, which was read from a disk.
    pub fn fill(&mut self, key: Key, seq: u64, body: Body) {
        self.held += self.full_of(key).map_or(0, |full| full.ring.fill(seq, body));
    }

    /// Notes that the body of a message is not on the disk any more, so no device will get the message.
    /// Returns whether the message was there.
    pub fn lose_stub(&mut self, key: Key, seq: u64) -> bool {
        let Some(full) = self.full_of(key) else { return false };
        let Some(lost) = full.ring.lose(seq) else { return false };
        self.free(lost);
        self.recount(key);
        true
    }

    /// Those of these numbers whose messages a mailbox holds without their bodies.
    pub fn stubs_among(&mut self, key: Key, seqs: &[u64]) -> Vec<u64> {
        let held = self.messages(key).filter(|held| held.is_stub()).map(|held: &Held| held.seq);
        held.filter(|seq| seqs.contains(seq)).collect()
    }

    /// Whether all users share one counter, and messages may be on a disk.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Remembers the answer to a send that is on a disk under a number.
    pub fn keep_stored_cid(
        &mut self,
        key: Key,
        number: u64,
        names: (u64, u64),
        sent: Sent,
        now: u32,
    ) {
        let full = self.full_mut(key);
        let cids = full.cids.get_or_insert_default();
        let has_changed = cids.insert_stored(number, names, sent, now);
        if has_changed || cids.last_until().is_some_and(|last| last < full.due) {
            self.recount(key);
        }
        self.close(key);
        if self.memory() > self.limits.memory {
            self.relieve(key.0);
        }
    }

    /// Whether a send may have this name that was made before: its answer is remembered, or is on a disk with others.
    #[inline]
    pub fn may_know_cid(&self, key: Key, name: u64) -> bool {
        let cids = self.full(key).and_then(|full| full.cids.as_deref());
        cids.is_some_and(|cids| !cids.away().is_empty() || cids.find(name).is_some())
    }

    /// The numbers of the recent sends of a user whose answers are on a disk and not in memory.
    pub fn away_cids(&self, key: Key) -> &[u64] {
        self.full(key).and_then(|full| full.cids.as_deref()).map_or(&[], |cids| cids.away())
    }

    /// The answers of these sends are in memory now, or are not on the disk any more.
    pub fn forget_away_cids(&mut self, key: Key, numbers: &[u64]) {
        if let Some(cids) = self.full_of(key).and_then(|full| full.cids.as_deref_mut()) {
            cids.forget_away(numbers);
        }
        self.recount(key);
    }

    /// Whether a device of a user is connected.
    pub fn is_connected(&self, key: Key) -> bool {
        self.boxes[key.0].connected.any()
    }
}
