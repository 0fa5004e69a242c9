//! All mailboxes: which users have one, what each mailbox holds, and how much memory all of them take.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use super::Limits;
use super::cids::Known;
use super::devices::{Device, Slots};
use super::index::Index;
use super::list::{Entries, Links, List};
use super::lost::{Lost, Reason};
use super::message::{Body, Held, Marks};
use super::pins::Pins;
use super::record::{Full, Key, Mailbox, Place, Sent};
use super::records::Records;
use super::sequence::Next;
use crate::wheel::Wheel;

/// A message that no device has had, and never will.
#[derive(Debug)]
pub struct Loss {
    pub user: CompactString,
    pub held: Held,
    pub reason: Reason,
}

/// The mailboxes of all users.
#[derive(Debug)]
pub struct Mailboxes {
    pub(super) limits: Limits,
    /// Finds a mailbox by its user; each entry is a key of `boxes`.
    pub(super) index: Index,
    pub(super) hasher: RandomState,
    pub(super) boxes: Records<Mailbox>,
    pub(super) fulls: Records<Full>,
    /// Mailboxes that are not given up, in the order in which their remembered sends are forgotten.
    pub(super) here: List,
    /// Those of users who never connected, the oldest first.
    pub(super) strangers: List,
    /// The mailboxes of users who are away; the user who has been away longest comes first.
    pub(super) away: List,
    /// Mailboxes that wait for the journal.
    pub(super) pins: Pins,
    /// By the key of a [`Full`], when the first of its messages or answers is over.
    pub(super) wheel: Wheel,
    /// The number that was given last to a message of any user, where all users share one counter.
    pub(super) shared: Option<u64>,
    /// The highest newest number of all mailboxes that were given up. A new mailbox goes on above it.
    pub(super) high: u64,
    /// Like `high`, but only of mailboxes that had given a number themselves. A device of such a user may
    /// have missed the message with that number.
    pub(super) missed: u64,
    /// The bytes of all bodies and of all [`Full`]s.
    pub(super) held: usize,
    /// How many messages all mailboxes hold.
    pub(super) waiting: usize,
    /// Messages that were lost before any device had them, until [`Mailboxes::take_losses`] takes them.
    pub(super) losses: Vec<Loss>,
    /// Whether the time of any message was over, until [`Mailboxes::take_expired`] is called.
    pub(super) has_expired: bool,
    /// Up to which number a bound has taken messages of a user that may be on a disk.
    pub(super) dropped: Vec<(CompactString, u64)>,
    /// Whether all mailboxes are [copies](Mailboxes::become_copies).
    pub(super) are_copies: bool,
    /// The last copies of users' own messages that have come while the device that has sent them was not in the copy of
    /// the mailbox: the mailbox, the device, and the number.
    pub(super) strays: VecDeque<(u32, CompactString, u64)>,
    pub(super) shed: u64,
    pub(super) forgotten: u64,
}

impl Entries for Records<Mailbox> {
    fn links(&mut self, key: u32) -> &mut Links {
        &mut self[key].links
    }
}

impl Mailboxes {
    pub fn new(mut limits: Limits) -> Self {
        // A device that is connected must not make a bound smaller for the other devices of its user.
        limits.live_bytes = limits.live_bytes.max(limits.bytes);
        Mailboxes {
            limits,
            index: Index::default(),
            hasher: RandomState::default(),
            boxes: Records::default(),
            fulls: Records::default(),
            here: List::default(),
            strangers: List::default(),
            away: List::default(),
            pins: Pins::default(),
            wheel: Wheel::default(),
            shared: None,
            high: 0,
            missed: 0,
            held: 0,
            waiting: 0,
            losses: Vec::new(),
            has_expired: false,
            dropped: Vec::new(),
            are_copies: false,
            strays: VecDeque::new(),
            shed: 0,
            forgotten: 0,
        }
    }

    /// Sets other bounds. They count from the next change of each mailbox on.
    pub fn set_limits(&mut self, mut limits: Limits) {
        limits.live_bytes = limits.live_bytes.max(limits.bytes);
        self.limits = limits;
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many users have a mailbox.
    pub fn len(&self) -> usize {
        self.boxes.len() - usize::from(self.are_copies)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// How many messages wait in all mailboxes. A message to a group counts once for each member.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many mailboxes were given up to make room.
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// How many sends of users who are connected were forgotten to make room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Bytes of memory that all mailboxes take, which [`Limits::memory`] bounds.
    pub fn memory(&self) -> usize {
        self.boxes.len() * (size_of::<Mailbox>() + 8) + self.held
    }

    /// Bytes of memory that one mailbox takes without the bodies of its messages.
    #[cfg(test)]
    pub fn memory_of(&self, key: Key) -> usize {
        size_of::<Mailbox>() + 8 + self.full(key).map_or(0, |full| full.counted as usize)
    }

    /// The mailbox of a user. Nothing is looked for while there is no mailbox at all.
    #[inline(always)]
    pub fn find(&self, user: &str) -> Option<Key> {
        if self.boxes.is_empty() { None } else { self.look_up(user) }
    }

    /// The mailbox of a user to whom the user of the mailbox `from` writes. Most users write to one user
    /// several times, so the mailbox that was found last is looked at first.
    #[inline]
    pub fn find_peer(&mut self, from: Key, user: &str) -> Option<Key> {
        let last = self.full(from).map(|full| Key(full.peer));
        if let Some(last) = last.filter(|last| self.is_of(*last, user)) {
            return Some(last);
        }
        let found = self.find(user)?;
        if let Some(full) = self.full_of(from) {
            full.peer = found.0;
        }
        Some(found)
    }

    #[inline(never)]
    fn look_up(&self, user: &str) -> Option<Key> {
        let hash = self.hasher.hash_one(user);
        self.index.find(hash, |key| self.boxes[key].user == user).map(Key)
    }

    /// The mailbox of a user, which is made if there is none. If there is no room for it, other mailboxes
    /// are given up.
    pub fn obtain(&mut self, user: &str) -> Key {
        let Mailboxes { index, hasher, boxes, .. } = self;
        let hash = hasher.hash_one(user);
        if let Some(key) = index.find(hash, |key| boxes[key].user == user) {
            return Key(key);
        }
        let key = boxes.insert(Mailbox::new(user, self.high));
        index.insert(hash, key, |key| hasher.hash_one(boxes[key].user.as_str()));
        self.enlist(key, Place::Strangers);
        self.relieve(key);
        Key(key)
    }

    /// Whether a mailbox is still that of a user.
    #[inline]
    pub fn is_of(&self, key: Key, user: &str) -> bool {
        self.boxes.get(key.0).is_some_and(|mailbox| mailbox.user == user)
    }

    /// Notes that a message to a user without a mailbox is not kept. If mailboxes were given up to make
    /// room, that of this user may have been one of them, so a device that comes back will get a gap.
    pub fn note_missed(&mut self) {
        if self.shed > 0 {
            self.high = match &mut self.shared {
                Some(last) => {
                    *last += 1;
                    *last
                }
                None => self.high + 1,
            };
            self.missed = self.high;
        }
    }

    /// Gives the next number of a user. Where all users share one counter, the mailbox is also
    /// [pinned](Mailboxes::pin).
    #[inline]
    pub fn next_seq(&mut self, key: Key) -> u64 {
        if self.shared.is_some() {
            return self.next_shared(key);
        }
        let mailbox = &mut self.boxes[key.0];
        mailbox.top += 1;
        mailbox.given = mailbox.given.saturating_add(1);
        mailbox.top
    }

    /// The number that was given last to a message to a user.
    pub fn top(&self, key: Key) -> u64 {
        self.boxes[key.0].top
    }

    /// Counts the bytes of a body once, before several mailboxes share it. The caller calls
    /// [`Mailboxes::unshare`] when all of these mailboxes have the body.
    pub fn share(&mut self, body: &Body) {
        self.held += body.size();
    }

    /// Drops the caller's own copy of a body that it gave to [`Mailboxes::share`].
    pub fn unshare(&mut self, body: Body) {
        if body.is_last() {
            self.held -= body.size();
        }
    }

    /// Keeps a message, whose number [`Mailboxes::next_seq`] has given. `is_live` says that a
    /// device of the user is connected and acknowledges. Returns whether the message has replaced an
    /// older one with the same key.
    pub fn put(&mut self, key: Key, mut held: Held, is_live: bool) -> bool {
        let is_away = held.marks.has(Marks::STORED) && !self.boxes[key.0].connected.any();
        if is_away {
            held.drop_body(|name| self.hasher.hash_one(name));
        }
        // The bytes of a body that is shared are counted already.
        self.held += held.owned();
        self.waiting += 1;
        let mailbox = &mut self.boxes[key.0];
        if held.seq > mailbox.top {
            // The journal has given the number.
            mailbox.raise(held.seq);
        }
        let (most, most_bytes) = self.bounds(is_live);
        self.full_mut(key);
        let Mailboxes { fulls, hasher, boxes, .. } = self;
        let full = &mut fulls[boxes[key.0].full];
        let before = full.ring.overhead();
        let replaced = full.ring.push(held, |name| hasher.hash_one(name), is_away);
        let had_key = replaced.is_some();
        let is_beyond = full.ring.len() > most || full.ring.bytes() > most_bytes;
        let is_due = full.ring.first_expiry().is_some_and(|first| first < full.due);
        let has_grown = full.ring.overhead() != before;
        if let Some(replaced) = replaced {
            self.free(replaced);
        }
        if is_beyond {
            self.bound(key, is_live);
        }
        // Nearly always the ring has room, and something in the mailbox is due earlier.
        if is_beyond || is_due || has_grown {
            self.recount(key);
        }
        if is_away {
            self.close(key);
        }
        if self.memory() > self.limits.memory {
            self.relieve(key.0);
        }
        if self.memory() > self.limits.memory {
            self.drop_bodies(key);
            self.bound(key, false);
            self.squeeze(key);
            self.recount(key);
        }
        had_key
    }

    /// What a device gets next that has handled every number below `from`.
    #[inline]
    pub fn next(&self, key: Key, slot: usize, from: u64) -> Option<Next<'_>> {
        let mailbox = &self.boxes[key.0];
        let base = mailbox.base();
        if from <= base {
            // These numbers were given by an earlier mailbox of the user, which was given up.
            let reason = Reason::Lost;
            return Some(Next::Gap(Lost { from, to: base, reason, skips: Slots::NONE }));
        }
        self.fulls.get(mailbox.full)?.ring.next(slot, from)
    }

    /// The newest message, if it is what a device gets next that has handled every number below `from`;
    /// otherwise [`Mailboxes::next`] knows more.
    #[inline]
    pub fn newest(&self, key: Key, slot: usize, from: u64) -> Option<&Held> {
        let mailbox = &self.boxes[key.0];
        self.fulls.get(mailbox.full).filter(|_| from > mailbox.base())?.ring.newest(slot, from)
    }

    /// Notes that a device has handled every message up to the number `seq`. Returns the cursor that the
    /// device had before.
    pub fn acknowledge(&mut self, key: Key, slot: usize, seq: u64) -> u64 {
        let (device, _) = self.device_mut(key, slot);
        let before = device.cursor;
        if seq > before {
            device.cursor = seq;
            self.prune(key);
            self.close(key);
        }
        before
    }

    /// The number up to which a device has handled every message.
    pub fn cursor(&self, key: Key, slot: usize) -> u64 {
        self.device(key, slot).cursor
    }

    /// Whether a message with a number above `from` and up to `to` has a mark.
    #[inline]
    pub fn has_mark(&self, key: Key, (from, to): (u64, u64), mark: Marks) -> bool {
        self.full(key).is_some_and(|full| full.ring.has_mark(from.saturating_add(1), to, mark))
    }

    /// The messages with numbers above `from` and up to `to`. The caller looks at their marks before they
    /// are acknowledged.
    pub fn range_mut(&mut self, key: Key, from: u64, to: u64) -> impl Iterator<Item = &mut Held> {
        let full = self.fulls.get_mut(self.boxes[key.0].full);
        full.into_iter().flat_map(move |full| full.ring.range_mut(from.saturating_add(1), to))
    }

    /// The known devices of a user: the slot of each, the device, and the second since which it has been
    /// away, or `None` if it is connected.
    pub fn devices(&self, key: Key) -> impl Iterator<Item = (usize, &Device, Option<u32>)> {
        let Mailbox { known, connected, .. } = self.boxes[key.0];
        known.iter().map(move |slot| {
            let away = (!connected.has(slot)).then(|| self.state(key, slot));
            (slot, self.device(key, slot), away)
        })
    }

    /// The names of the connections of a user's devices, as [`Mailboxes::connect`] was given them.
    pub fn connections(&self, key: Key) -> impl Iterator<Item = u32> {
        self.boxes[key.0].connected.iter().map(move |slot| self.state(key, slot))
    }

    /// Whether a user has another known device beside the one in `slot`.
    pub fn has_others(&self, key: Key, slot: usize) -> bool {
        self.boxes[key.0].known.and(Slots::all_but(slot)).any()
    }

    /// The user and the name of the device in a slot, if the user has no other known device, and it is the
    /// first one that the user had.
    #[inline]
    pub fn sole_device(&self, key: Key, slot: u8) -> Option<(&CompactString, &CompactString)> {
        let mailbox = &self.boxes[key.0];
        let is_sole = slot == 0 && mailbox.known == Slots::one(0);
        is_sole.then_some((&mailbox.user, &mailbox.first.name))
    }

    /// The name of the only connection of a user's devices, if it is that of the first device that the
    /// user had.
    #[inline]
    pub fn sole_connection(&self, key: Key) -> Option<u32> {
        let mailbox = &self.boxes[key.0];
        (mailbox.connected == Slots::one(0)).then_some(mailbox.state)
    }

    /// Whether messages were lost since the last call of [`Mailboxes::take_losses`], or taken by a bound since
    /// that of [`Mailboxes::take_dropped`].
    #[inline]
    pub fn has_losses(&self) -> bool {
        !self.losses.is_empty() || !self.dropped.is_empty()
    }

    /// The messages that a mailbox holds, the oldest one first.
    pub fn messages(&mut self, key: Key) -> impl Iterator<Item = &Held> {
        self.full_of(key).into_iter().flat_map(|full| full.ring.iter())
    }

    /// How many messages a mailbox holds.
    pub fn waiting_for(&self, key: Key) -> usize {
        self.full(key).map_or(0, |full| full.ring.len())
    }

    /// Returns the remembered answer to an earlier send with this [name](Mailboxes::name_of), which stands for
    /// a device and a `cid`; `None` if there was no such send, or if it is forgotten.
    pub fn find_cid(&self, key: Key, name: u64) -> Option<&Known> {
        self.full(key)?.cids.as_deref()?.find(name)
    }

    /// Remembers the answer to a send.
    pub fn keep_cid(&mut self, key: Key, name: u64, content: u64, sent: Sent, now: u32) {
        let full = self.full_mut(key);
        let cids = full.cids.get_or_insert_default();
        let has_changed = cids.insert(name, content, sent, now);
        if has_changed || cids.last_until().is_some_and(|last| last < full.due) {
            self.recount(key);
        }
        if self.memory() > self.limits.memory {
            self.relieve(key.0);
        }
    }

    /// The user of a mailbox.
    #[inline]
    pub fn user(&self, key: Key) -> &CompactString {
        &self.boxes[key.0].user
    }

    /// The name of a known device.
    #[inline]
    pub fn device_name(&self, key: Key, slot: usize) -> &CompactString {
        &self.device(key, slot).name
    }

    /// A hash of a device and a `cid`, which names a send of a user. It is keyed at random.
    #[inline]
    pub fn name_of(&self, device: &str, cid: &str) -> u64 {
        self.hasher.hash_one((device, cid))
    }

    /// Forgets all messages and remembered sends of a mailbox. Devices that are connected are told of a
    /// gap; the other devices are forgotten.
    pub fn forget(&mut self, key: Key) {
        let is_pinned = self.is_pinned(key.0);
        let mailbox = &mut self.boxes[key.0];
        if !mailbox.connected.any() && !is_pinned {
            return self.give_up(key.0, None);
        }
        mailbox.known = mailbox.connected;
        let Some(full) = self.full_of(key) else { return };
        full.cids = None;
        while let Some(held) = self.full_of(key).and_then(|it| it.ring.lose_oldest(Reason::Lost)) {
            self.free(held);
        }
        self.recount(key);
    }

    /// Takes the messages that were lost before any device had them since the last call.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    /// Takes the users of whom a bound has taken messages since the last call, and up to which number. Only
    /// where the messages may be on a disk.
    pub fn take_dropped(&mut self) -> Vec<(CompactString, u64)> {
        std::mem::take(&mut self.dropped)
    }
}
