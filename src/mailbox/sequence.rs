//! The messages that one mailbox holds, in the order of their numbers, and the numbers whose
//! messages were lost.
//!
//! This module must not know to which user the mailbox belongs, and must not know connections and frames.

use std::collections::VecDeque;

use super::devices::Slots;
use super::message::{Held, Marks};

/// An empty ring keeps room for at most so many messages; more room is given back.
const SMALL: usize = 4;

/// Why a message will not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The time for which it was kept was over.
    Expired,
    /// A bound of the mailbox, or of all mailboxes together, was reached.
    Overflow,
    /// It was written to a device on three connections, and the device did not acknowledge it.
    Undeliverable,
    /// The server cannot know what became of it after a crash, a failover, a restored copy of the data, or
    /// the deletion of the mailbox.
    Lost,
}

impl Reason {
    /// The word that stands for the reason in a frame to a client.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Expired => "expired",
            Reason::Overflow => "overflow",
            Reason::Undeliverable => "undeliverable",
            Reason::Lost => "lost",
        }
    }
}

/// A range of numbers whose messages will not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub from: u64,
    pub to: u64,
    pub reason: Reason,
    /// The devices for which no message in the range was lost.
    pub skips: Slots,
}

/// What a device gets next: a message, or the news that messages were lost.
#[derive(Debug)]
pub enum Next<'a> {
    Message(&'a Held),
    Gap(Lost),
}

/// Held messages and lost numbers, both in ascending order.
#[derive(Debug, Default)]
pub struct Ring {
    held: VecDeque<Held>,
    lost: VecDeque<Lost>,
    /// The bytes of the bodies of all held messages.
    bytes: usize,
    /// No held message expires before this second.
    first_expiry: u32,
}

impl Ring {
    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn has_messages(&self) -> bool {
        !self.held.is_empty()
    }

    /// The bytes of the bodies of all held messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is neither a message nor a lost number.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.lost.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// The lowest number that is held or lost.
    pub fn lowest(&self) -> Option<u64> {
        let held = self.held.front().map(|held| held.seq);
        let lost = self.lost.front().map(|lost| lost.from);
        held.into_iter().chain(lost).min()
    }

    /// The lowest number that is held.
    pub fn first_held(&self) -> Option<u64> {
        self.held.front().map(|held| held.seq)
    }

    /// The second in which the first held message expires, or an earlier second.
    pub fn first_expiry(&self) -> Option<u32> {
        (!self.held.is_empty()).then_some(self.first_expiry)
    }

    /// Adds a message, whose number has to be above all others. A held message with the same key is taken
    /// out and returned; devices are not told of a gap at its number.
    pub fn push(&mut self, held: Held) -> Option<Held> {
        debug_assert!(self.held.back().is_none_or(|last| last.seq < held.seq));
        let key = held.key();
        let replaced = match key.is_empty() {
            true => None,
            false => self.held.iter().position(|old| old.key() == key),
        };
        let replaced = replaced.and_then(|at| self.held.remove(at));
        if let Some(replaced) = &replaced {
            self.bytes -= replaced.size();
        }
        self.bytes += held.size();
        self.first_expiry = match self.held.is_empty() {
            true => held.expires,
            false => self.first_expiry.min(held.expires),
        };
        self.held.push_back(held);
        replaced
    }

    /// What a device gets next that has handled every number below `from`.
    #[inline]
    pub fn next(&self, slot: usize, from: u64) -> Option<Next<'_>> {
        // In nearly every call `from` is the number of the newest message.
        let start = match self.held.back() {
            Some(last) if last.seq == from => self.held.len() - 1,
            _ => self.held.partition_point(|held| held.seq < from),
        };
        let held = self.held.range(start..).find(|held| !held.skips.has(slot));
        if self.lost.is_empty() {
            return held.map(Next::Message);
        }
        let start = self.lost.partition_point(|lost| lost.to < from);
        let lost = self.lost.range(start..).find(|lost| !lost.skips.has(slot));
        match (held, lost) {
            (Some(held), Some(lost)) if held.seq < lost.from => Some(Next::Message(held)),
            (_, Some(lost)) => Some(Next::Gap(Lost { from: lost.from.max(from), ..*lost })),
            (Some(held), None) => Some(Next::Message(held)),
            (None, None) => None,
        }
    }

    /// The newest message, if it has the number `seq`, a device gets it, and no number was lost.
    #[inline]
    pub fn newest(&self, slot: usize, seq: u64) -> Option<&Held> {
        let held = self.held.back()?;
        (held.seq == seq && !held.skips.has(slot) && self.lost.is_empty()).then_some(held)
    }

    /// Whether a message with a number from `from` to `to`, both included, has a mark.
    #[inline]
    pub fn has_mark(&self, from: u64, to: u64, mark: Marks) -> bool {
        // Nearly always the first message is the one that is looked at.
        let mut at = match self.held.front() {
            Some(first) if first.seq < from => self.held.partition_point(|held| held.seq < from),
            _ => 0,
        };
        while let Some(held) = self.held.get(at).filter(|held| held.seq <= to) {
            if held.marks.has(mark) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// The messages with numbers from `from` to `to`, both included.
    pub fn range_mut(&mut self, from: u64, to: u64) -> impl Iterator<Item = &mut Held> {
        let start = self.held.partition_point(|held| held.seq < from);
        self.held.range_mut(start..).take_while(move |held| held.seq <= to)
    }

    /// Takes out the oldest message and notes that its number is lost.
    pub fn lose_oldest(&mut self, reason: Reason) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.bytes -= held.size();
        self.note_lost(held.seq, held.skips, reason);
        Some(held)
    }

    /// Takes out one message whose time is over, and notes that its number is lost. The caller has to
    /// repeat the call until it returns `None`.
    pub fn lose_expired(&mut self, now: u32) -> Option<Held> {
        let Some(at) = self.held.iter().position(|held| held.expires < now) else {
            self.first_expiry = self.held.iter().map(|held| held.expires).min().unwrap_or(0);
            return None;
        };
        let held = self.held.remove(at)?;
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
        let lost = |from, to| Lost { from, to, reason: Reason::Lost, skips: Slots::all_but(slot) };
        let mut at = self.lost.partition_point(|lost| lost.to < from);
        let mut next = from;
        while next <= to {
            match self.lost.get(at).copied().filter(|known| known.from <= to) {
                None => {
                    self.lost.insert(at, lost(next, to));
                    return;
                }
                Some(known) if known.from > next => {
                    self.lost.insert(at, lost(next, known.from - 1));
                    next = known.from;
                }
                Some(known) => {
                    // Of what other devices have lost a part may be behind the end.
                    if known.skips.has(slot) {
                        let end = known.to.min(to);
                        if end < known.to {
                            self.lost.insert(at + 1, Lost { from: end + 1, ..known });
                        }
                        if known.from < next {
                            self.lost.insert(at, Lost { to: next - 1, ..known });
                            at += 1;
                        }
                        let mut skips = known.skips;
                        skips.remove(slot);
                        self.lost[at] = Lost { from: next, to: end, skips, ..known };
                    }
                    next = self.lost[at].to.saturating_add(1);
                }
            }
            at += 1;
        }
    }

    /// Notes that the message with the number `seq` will not be delivered. Two ranges become one if no held
    /// message lies between them, so there is at most one range more than there are held messages.
    fn note_lost(&mut self, seq: u64, skips: Slots, reason: Reason) {
        let at = self.lost.partition_point(|lost| lost.to < seq);
        if let Some(known) = self.lost.get_mut(at).filter(|lost| lost.from <= seq) {
            // Another device has skipped this message before.
            known.skips = known.skips.and(skips);
            known.reason = reason;
        } else {
            self.lost.insert(at, Lost { from: seq, to: seq, reason, skips });
        }
        self.join(at);
        if let Some(before) = at.checked_sub(1) {
            self.join(before);
        }
    }

    /// Joins the range at a position with the next one, if no held message lies between them.
    fn join(&mut self, at: usize) {
        let (Some(one), Some(two)) = (self.lost.get(at), self.lost.get(at + 1)) else { return };
        let between = self.held.partition_point(|held| held.seq < one.from);
        let is_between = self.held.get(between).is_some_and(|held| held.seq <= two.to);
        if is_between {
            return;
        }
        // A device that has lost a part of a range is told of the whole range. The reason of the later
        // range stands for both.
        let skips = one.skips.and(two.skips);
        let joined = Lost { from: one.from, to: two.to, reason: two.reason, skips };
        self.lost[at] = joined;
        self.lost.remove(at + 1);
    }

    /// Forgets the messages and lost numbers that all devices have handled. `devices` has the slot and the
    /// cursor of each device. Calls `freed` with each message that is forgotten.
    #[inline]
    pub fn prune(&mut self, devices: &[(usize, u64)], mut freed: impl FnMut(Held)) {
        let Some(least) = devices.iter().map(|(_, cursor)| *cursor).min() else { return };
        while let Some(front) = self.held.front() {
            let has =
                |(slot, cursor): &(usize, u64)| *cursor >= front.seq || front.skips.has(*slot);
            if front.seq > least && !devices.iter().all(has) {
                break;
            }
            if let Some(held) = self.held.pop_front() {
                self.bytes -= held.size();
                freed(held);
            }
        }
        // What lies between messages that are held is kept: a device that is not known any more has
        // lost everything below the first of them, and only that.
        let held = self.first_held().unwrap_or(u64::MAX);
        while let Some(front) = self.lost.front().filter(|front| front.to < held) {
            let knows =
                |(slot, cursor): &(usize, u64)| *cursor >= front.to || front.skips.has(*slot);
            if front.to > least && !devices.iter().all(knows) {
                break;
            }
            self.lost.pop_front();
        }
        self.shrink();
    }

    /// Gives back memory that is not needed any more.
    fn shrink(&mut self) {
        if self.held.is_empty() && self.held.capacity() > SMALL {
            self.held = VecDeque::new();
        }
        if self.lost.is_empty() && self.lost.capacity() > 0 {
            self.lost = VecDeque::new();
        }
    }

    /// Prepares a slot for another device, which skips no message.
    pub fn forget_slot(&mut self, slot: usize) {
        for held in &mut self.held {
            held.skips.remove(slot);
        }
        for lost in &mut self.lost {
            lost.skips.remove(slot);
        }
    }

    /// The bytes of memory that this takes, without the bodies and their counters.
    pub fn overhead(&self) -> usize {
        self.held.capacity() * size_of::<Held>() + self.lost.capacity() * size_of::<Lost>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Body, Marks};
    use super::*;

    fn message(seq: u64, key: &str) -> Held {
        Held::new(seq, Body::new(&format!("m{seq}"), key), u32::MAX, Marks::NONE)
    }

    /// All messages and gaps that a device gets from a number on. A message is written as `5`, a gap as
    /// `1-4`.
    fn all(ring: &Ring, slot: usize, from: u64) -> Vec<String> {
        let (mut from, mut seen) = (from, Vec::new());
        while let Some(next) = ring.next(slot, from) {
            from = match next {
                Next::Message(held) => {
                    seen.push(held.seq.to_string());
                    held.seq + 1
                }
                Next::Gap(lost) => {
                    seen.push(format!("{}-{}", lost.from, lost.to));
                    lost.to + 1
                }
            };
        }
        seen
    }

    #[test]
    fn a_newer_message_of_the_same_key_replaces_one_that_waits_without_a_gap() {
        let mut ring = Ring::default();
        ring.push(message(1, "pos"));
        ring.push(message(2, ""));
        assert_eq!(ring.push(message(3, "pos")).map(|held| held.seq), Some(1));
        assert_eq!(all(&ring, 0, 1), ["2", "3"]);
        assert_eq!(ring.bytes(), 2 + 2 + 3);
    }

    #[test]
    fn messages_that_are_lost_to_a_bound_are_one_gap_for_each_device_that_had_not_handled_them() {
        let mut ring = Ring::default();
        (1..=5).for_each(|seq| drop(ring.push(message(seq, ""))));
        ring.lose_oldest(Reason::Overflow);
        ring.lose_oldest(Reason::Overflow);
        assert_eq!(all(&ring, 0, 1), ["1-2", "3", "4", "5"]);
        assert_eq!(all(&ring, 0, 2), ["2-2", "3", "4", "5"]);
        assert_eq!(all(&ring, 0, 3), ["3", "4", "5"]);
    }

    #[test]
    fn a_message_that_expires_between_others_leaves_a_gap_between_them() {
        let mut ring = Ring::default();
        for seq in 1..=4 {
            let expires = if seq % 2 == 0 { 10 } else { 100 };
            let mut held = message(seq, "");
            held.expires = expires;
            ring.push(held);
        }
        assert!(ring.lose_expired(10).is_none(), "its last second is not over");
        while ring.lose_expired(11).is_some() {}
        assert_eq!(all(&ring, 0, 1), ["1", "2-2", "3", "4-4"]);
        while ring.lose_expired(101).is_some() {}
        assert_eq!(all(&ring, 0, 1), ["1-4"], "neighbours are one gap");
    }

    #[test]
    fn a_device_that_is_skipped_sees_neither_the_message_nor_its_loss() {
        let mut ring = Ring::default();
        let mut held = message(1, "");
        held.skips = Slots::one(2);
        ring.push(held);
        ring.push(message(2, ""));
        assert_eq!(all(&ring, 2, 1), ["2"]);
        assert_eq!(all(&ring, 0, 1), ["1", "2"]);
        ring.lose_oldest(Reason::Overflow);
        assert_eq!(all(&ring, 2, 1), ["2"]);
        assert_eq!(all(&ring, 0, 1), ["1-1", "2"]);
        ring.forget_slot(2);
        assert_eq!(all(&ring, 2, 1), ["1-1", "2"], "another device has the slot");
    }

    #[test]
    fn a_message_or_a_gap_is_forgotten_when_every_device_has_handled_it() {
        let mut ring = Ring::default();
        (1..=4).for_each(|seq| drop(ring.push(message(seq, ""))));
        let mut freed = Vec::new();
        ring.prune(&[(0, 3), (1, 1)], |held| freed.push(held.seq));
        assert_eq!(freed, [1]);
        ring.prune(&[(0, 3), (1, 4)], |held| freed.push(held.seq));
        assert_eq!(freed, [1, 2, 3]);
        ring.prune(&[], |held| freed.push(held.seq));
        assert_eq!(freed, [1, 2, 3], "a user without a device has handled nothing");
        ring.lose_oldest(Reason::Expired);
        ring.prune(&[(0, 4), (1, 4)], |_| ());
        assert!(ring.is_empty());
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn a_message_that_one_device_skips_is_a_gap_for_it_alone_and_is_kept_for_the_others() {
        let mut ring = Ring::default();
        (1..=3).for_each(|seq| drop(ring.push(message(seq, ""))));
        ring.skip(0, 2);
        assert_eq!(all(&ring, 0, 1), ["1", "2-2", "3"]);
        assert_eq!(all(&ring, 1, 1), ["1", "2", "3"]);
        ring.skip(1, 2);
        assert_eq!(all(&ring, 1, 1), ["1", "2-2", "3"]);
        assert_eq!(all(&ring, 2, 1), ["1", "2", "3"]);
        (0..3).for_each(|_| drop(ring.lose_oldest(Reason::Overflow)));
        assert_eq!(all(&ring, 0, 2), ["2-3"]);
        assert_eq!(all(&ring, 2, 1), ["1-3"]);
    }

    #[test]
    fn what_was_lost_between_messages_that_are_held_is_not_forgotten() {
        let mut ring = Ring::default();
        for seq in 1..=3 {
            let mut held = message(seq, "");
            held.expires = if seq == 2 { 10 } else { 100 };
            held.skips = if seq == 2 { Slots::one(0) } else { Slots::NONE };
            ring.push(held);
        }
        while ring.lose_expired(11).is_some() {}
        // The only known device has sent the second message itself.
        ring.prune(&[(0, 0)], |_| ());
        assert_eq!(all(&ring, 1, 1), ["1", "2-2", "3"], "another device comes back");
    }

    #[test]
    fn a_device_can_lose_numbers_that_others_have_lost_or_handled() {
        let mut ring = Ring::default();
        ring.lose_for(1, 4, 6);
        assert_eq!((all(&ring, 1, 1), all(&ring, 0, 1)), (vec!["4-6".to_owned()], vec![]));
        // Again, and with other numbers: nothing grows.
        for from in [4, 5, 6, 4] {
            ring.lose_for(1, from, 6);
            assert_eq!(ring.lost.len(), 1);
        }
        ring.lose_for(2, 2, 5);
        assert_eq!(all(&ring, 2, 1), ["2-3", "4-5"]);
        assert_eq!(all(&ring, 1, 1), ["4-5", "6-6"]);
        assert_eq!(all(&ring, 0, 1), [""; 0]);
        ring.lose_for(0, 1, 9);
        assert_eq!(all(&ring, 0, 1), ["1-1", "2-3", "4-5", "6-6", "7-9"]);
        ring.lose_for(3, 5, 5);
        assert_eq!(all(&ring, 3, 1), ["5-5"]);
        assert_eq!(all(&ring, 1, 1), ["4-4", "5-5", "6-6"]);
        let all_know = [(0, 9), (1, 6), (2, 5), (3, 5)];
        ring.prune(&all_know, |_| ());
        assert!(ring.is_empty());
    }

    #[test]
    fn there_is_at_most_one_range_of_lost_numbers_more_than_there_are_held_messages() {
        let mut ring = Ring::default();
        for seq in 1..=1_000 {
            let expires = if seq % 3 == 0 { 10 } else { 100 };
            let mut held = message(seq, "");
            held.expires = expires;
            ring.push(held);
            if seq % 50 == 0 {
                while ring.lose_expired(11).is_some() {}
                (0..20).for_each(|_| drop(ring.lose_oldest(Reason::Overflow)));
            }
            assert!(ring.lost.len() <= ring.held.len() + 1, "{seq}");
        }
    }
}
