//! The messages that one mailbox holds, in the order of their numbers, and the numbers whose
//! messages were lost.
//!
//! This module must not know to which user the mailbox belongs, and must not know connections and frames.

use std::collections::VecDeque;

use super::devices::Slots;
use super::lost::{Lost, LostRanges, Reason};
use super::message::{Body, Held, Marks};
use super::packed::Messages;

/// An empty ring keeps room for at most so many messages; more room is given back.
const SMALL: usize = 4;

/// What a device gets next: a message, or the news that messages were lost.
#[derive(Debug)]
pub enum Next<'a> {
    Message(&'a Held),
    Gap(Lost),
}

/// Held messages and lost numbers, both in ascending order.
#[derive(Debug, Default)]
pub struct Ring {
    messages: Messages,
    lost: LostRanges,
    /// The bytes of the bodies of all held messages.
    bytes: usize,
    /// No held message expires before this second.
    first_expiry: u32,
}

impl Ring {
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// The bytes of the bodies of all held messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is neither a message nor a lost number.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.lost.is_empty()
    }

    /// The messages, which are unpacked first.
    pub fn iter(&mut self) -> impl Iterator<Item = &Held> {
        self.messages.open().iter()
    }

    /// The lowest number that is held or lost.
    pub fn lowest(&self) -> Option<u64> {
        let held = self.messages.first();
        let lost = self.lost.first().map(|lost| lost.from);
        held.into_iter().chain(lost).min()
    }

    /// The lowest number that is held.
    pub fn first_held(&self) -> Option<u64> {
        self.messages.first()
    }

    /// The second in which the first held message expires, or an earlier second.
    pub fn first_expiry(&self) -> Option<u32> {
        self.has_messages().then_some(self.first_expiry)
    }

    /// Adds a message, whose number has to be above all others. A held message with the same key is taken
    /// out and returned; devices are not told of a gap at its number. `name` makes the hash of a key.
    /// `is_away` says that no device of the user is connected.
    #[inline]
    pub fn push(&mut self, held: Held, name: impl Fn(&[u8]) -> u64, is_away: bool) -> Option<Held> {
        debug_assert!(self.messages.list().back().is_none_or(|last| last.seq < held.seq));
        let replaced = if held.has_key() { self.take_replaced(&held, name) } else { None };
        if let Some(replaced) = &replaced {
            self.bytes -= replaced.size();
        }
        self.bytes += held.size();
        self.first_expiry = match self.messages.is_empty() {
            true => held.expires,
            false => self.first_expiry.min(held.expires),
        };
        self.messages.push(held, is_away);
        replaced
    }

    /// Takes out the message that has the same key as a new one. Where a body is on a disk, only a hash of
    /// its key is known.
    fn take_replaced(&mut self, new: &Held, name: impl Fn(&[u8]) -> u64) -> Option<Held> {
        let list = self.messages.open();
        let of_new = new.key_name(&name);
        let is_same = |old: &Held| match old.is_stub() || new.is_stub() {
            true => old.has_key() && old.key_name(&name) == of_new,
            false => old.key() == new.key(),
        };
        let at = list.iter().position(is_same)?;
        list.remove(at)
    }

    /// What a device gets next that has handled every number below `from`. The messages must not be packed.
    #[inline]
    pub fn next(&self, slot: usize, from: u64) -> Option<Next<'_>> {
        // In nearly every call `from` is the number of the newest message.
        debug_assert!(self.is_open());
        let list = self.messages.list();
        let start = match list.back() {
            Some(last) if last.seq == from => list.len() - 1,
            _ => list.partition_point(|held| held.seq < from),
        };
        let held = list.range(start..).find(|held| !held.skips.has(slot));
        if self.lost.is_empty() {
            return held.map(Next::Message);
        }
        match (held, self.lost.next(slot, from)) {
            (Some(held), Some(lost)) if held.seq < lost.from => Some(Next::Message(held)),
            (_, Some(lost)) => Some(Next::Gap(Lost { from: lost.from.max(from), ..lost })),
            (Some(held), None) => Some(Next::Message(held)),
            (None, None) => None,
        }
    }

    /// The newest message, if it is what a device gets next that has handled every number below `from`, its
    /// body is in memory, and no number was lost.
    #[inline]
    pub fn newest(&self, slot: usize, from: u64) -> Option<&Held> {
        let list = self.messages.list();
        let held = list.back().filter(|held| held.seq >= from)?;
        // The number is larger than that of the message before it by more than one if all users share numbers.
        let is_first = held.seq == from
            || list.len().checked_sub(2).is_none_or(|before| list[before].seq < from);
        let is_next = is_first && !held.skips.has(slot) && self.lost.is_empty();
        (is_next && !held.is_stub()).then_some(held)
    }

    /// Whether a message with a number from `from` to `to`, both included, has a mark.
    #[inline]
    pub fn has_mark(&self, from: u64, to: u64, mark: Marks) -> bool {
        let list = match &self.messages {
            Messages::Open(list) => list,
            // Whoever wants to know more unpacks them.
            Messages::Packed(_) => return true,
        };
        // Nearly always the first message is the one that is looked at.
        let mut at = match list.front() {
            Some(first) if first.seq < from => list.partition_point(|held| held.seq < from),
            _ => 0,
        };
        while let Some(held) = list.get(at).filter(|held| held.seq <= to) {
            if held.marks.has(mark) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// The messages with numbers from `from` to `to`, both included.
    pub fn range_mut(&mut self, from: u64, to: u64) -> impl Iterator<Item = &mut Held> {
        let list = self.messages.open();
        let start = list.partition_point(|held| held.seq < from);
        list.range_mut(start..).take_while(move |held| held.seq <= to)
    }

    /// Takes out the oldest message and notes that its number is lost.
    pub fn lose_oldest(&mut self, reason: Reason) -> Option<Held> {
        let held = self.messages.pop_front()?;
        self.bytes -= held.size();
        self.note_lost(held.seq, held.skips, reason);
        Some(held)
    }

    /// Takes out the message with the number `seq`, and notes that it is lost.
    pub fn lose(&mut self, seq: u64) -> Option<Held> {
        let list = self.messages.open();
        let at = list.binary_search_by_key(&seq, |held| held.seq).ok()?;
        let held = list.remove(at)?;
        self.bytes -= held.size();
        self.note_lost(held.seq, held.skips, Reason::Lost);
        Some(held)
    }

    /// Takes out one message whose time is over, and notes that its number is lost. The caller has to
    /// repeat the call until it returns `None`.
    pub fn lose_expired(&mut self, now: u32) -> Option<Held> {
        let list = self.messages.open();
        let Some(at) = list.iter().position(|held| held.expires < now) else {
            self.first_expiry = list.iter().map(|held| held.expires).min().unwrap_or(0);
            return None;
        };
        let held = list.remove(at)?;
        self.bytes -= held.size();
        self.note_lost(held.seq, held.skips, Reason::Expired);
        Some(held)
    }

    /// Lets one device skip the message with the number `seq`, which is kept for the other devices.
    pub fn skip(&mut self, slot: usize, seq: u64) {
        for held in self.range_mut(seq, seq) {
            held.skips.add(slot);
        }
        self.note_lost(seq, Slots::all_but(slot), Reason::Undeliverable);
    }

    /// One device has lost the numbers from `from` to `to`, of which no message is held.
    pub fn lose_for(&mut self, slot: usize, from: u64, to: u64) {
        debug_assert!(self.first_held().is_none_or(|held| held > to));
        let skips = Slots::all_but(slot);
        self.lose_range(Lost { from, to, reason: Reason::Lost, skips });
    }

    /// Some devices have lost a range of numbers. What is known already to be lost keeps its reason.
    pub fn lose_range(&mut self, lost: Lost) {
        self.lost.add_range(lost);
    }

    /// Notes that the message with the number `seq` will not be delivered.
    fn note_lost(&mut self, seq: u64, skips: Slots, reason: Reason) {
        let messages = &self.messages;
        let is_held = |from, to| messages.has_between(from, to);
        self.lost.add(Lost { from: seq, to: seq, reason, skips }, is_held);
    }

    /// Adds a message at the place of its number, which may be below others. Returns false if a message with
    /// this number is held.
    pub fn insert(&mut self, held: Held) -> bool {
        let list = self.messages.open();
        let Err(at) = list.binary_search_by_key(&held.seq, |held| held.seq) else { return false };
        self.first_expiry = match list.is_empty() {
            true => held.expires,
            false => self.first_expiry.min(held.expires),
        };
        self.bytes += held.size();
        list.insert(at, held);
        true
    }

    /// Notes that those numbers from `from` to `to` are lost whose messages are not held: one range before
    /// each message that is held, and one behind the last. What was known to be lost of them becomes a
    /// part of these ranges.
    pub fn note_gone(&mut self, from: u64, to: u64, skips: Slots, reason: Reason) {
        if from == to && self.lost.last().is_none_or(|last| last.to < from) {
            return self.note_lost(from, skips, reason);
        }
        let list = self.messages.open();
        let held = list.iter().map(|held| held.seq).filter(|seq| (from..=to).contains(seq));
        let (mut next, mut holes) = (from, Vec::new());
        for seq in held.chain([to + 1]) {
            if seq > next {
                holes.push((next, seq - 1));
            }
            next = seq + 1;
        }
        for (from, to) in holes {
            self.lost.cover(Lost { from, to, reason, skips });
        }
    }

    /// Forgets the messages and lost numbers that all devices have handled. `devices` has the slot and the
    /// cursor of each device. Calls `freed` with each message that is forgotten.
    #[inline]
    pub fn prune(&mut self, devices: &[(usize, u64)], mut freed: impl FnMut(Held)) {
        let Some(least) = devices.iter().map(|(_, cursor)| *cursor).min() else { return };
        let list = self.messages.open();
        while let Some(front) = list.front() {
            let has =
                |(slot, cursor): &(usize, u64)| *cursor >= front.seq || front.skips.has(*slot);
            if front.seq > least && !devices.iter().all(has) {
                break;
            }
            if let Some(held) = list.pop_front() {
                self.bytes -= held.size();
                freed(held);
            }
        }
        // What lies between messages that are held is kept: a device that is not known any more has
        // lost everything below the first of them, and only that.
        let held = self.first_held().unwrap_or(u64::MAX);
        self.lost.prune(held, |lost| {
            let knows = |(slot, cursor): &(usize, u64)| *cursor >= lost.to || lost.skips.has(*slot);
            lost.to <= least || devices.iter().all(knows)
        });
        self.shrink();
    }

    /// Gives back memory that is not needed any more.
    fn shrink(&mut self) {
        let is_large = |list: &VecDeque<Held>| list.is_empty() && list.capacity() > SMALL;
        if is_large(self.messages.open()) {
            self.messages = Messages::default();
        }
        self.lost.shrink();
    }

    /// Prepares a slot for another device, which skips no message.
    pub fn forget_slot(&mut self, slot: usize) {
        for held in self.messages.open() {
            held.skips.remove(slot);
        }
        self.lost.forget_slot(slot);
    }

    /// The bytes of memory that this takes, without the bodies and their counters.
    pub fn overhead(&self) -> usize {
        self.messages.memory() + self.lost.memory()
    }

    /// Whether the messages are not packed.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.messages, Messages::Open(_)) || self.messages.is_empty()
    }

    /// Unpacks the messages, because the user comes back.
    pub fn open(&mut self) {
        self.messages.open();
    }

    /// Drops the bodies that are on a disk, and packs the messages if all are. Returns how many bytes of
    /// memory the bodies took. `name` makes the hash of a key.
    pub fn close(&mut self, name: impl Fn(&[u8]) -> u64) -> usize {
        let Messages::Open(list) = &mut self.messages else { return 0 };
        let freed = list.iter_mut().map(|held| held.drop_body(&name)).sum();
        self.messages.pack();
        freed
    }

    /// Drops the bodies that are on a disk. Returns how many bytes of memory they took.
    pub fn drop_bodies(&mut self, name: impl Fn(&[u8]) -> u64) -> usize {
        self.messages.open().iter_mut().map(|held| held.drop_body(&name)).sum()
    }

    /// The numbers of the messages from a number on whose bodies are on a disk, up to so many messages and,
    /// unless the first is larger, so many bytes. It ends at a message whose body is in memory.
    pub fn stubs(&mut self, from: u64, most: usize, most_bytes: usize) -> Vec<u64> {
        let list = self.messages.open();
        let start = list.partition_point(|held| held.seq < from);
        let mut bytes = 0;
        let fits = |held: &&Held| {
            bytes += held.size();
            bytes <= most_bytes || bytes == held.size()
        };
        let stubs = list.range(start..).take_while(|held| held.is_stub());
        stubs.take(most).take_while(fits).map(|held| held.seq).collect()
    }

    /// Gives a message its body back. Returns how many bytes that takes.
    pub fn fill(&mut self, seq: u64, body: Body) -> usize {
        let list = self.messages.open();
        let at = list.binary_search_by_key(&seq, |held| held.seq);
        let Some(held) = at.ok().and_then(|at| list.get_mut(at)).filter(|held| held.is_stub())
        else {
            return 0;
        };
        self.bytes -= held.size();
        held.fill(body);
        self.bytes += held.size();
        held.size()
    }
}

#[cfg(test)]
mod tests;
