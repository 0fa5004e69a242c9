//! The numbers of one mailbox whose messages will not be delivered, as ranges.

use std::collections::VecDeque;

use super::devices::Slots;

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

/// Ranges of lost numbers, in ascending order. No two of them have a number in common. Most mailboxes have none.
// The box makes a mailbox without lost numbers smaller.
#[allow(clippy::box_collection)]
#[derive(Debug, Default)]
pub struct LostRanges(Option<Box<VecDeque<Lost>>>);

/// Stands for the list of a mailbox that has lost nothing.
static NOTHING: VecDeque<Lost> = VecDeque::new();

impl LostRanges {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.as_deref().is_none_or(VecDeque::is_empty)
    }

    #[inline]
    pub fn first(&self) -> Option<&Lost> {
        self.list().front()
    }

    pub fn last(&self) -> Option<&Lost> {
        self.list().back()
    }

    #[inline]
    fn list(&self) -> &VecDeque<Lost> {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.list().len()
    }

    fn list_mut(&mut self) -> &mut VecDeque<Lost> {
        self.0.get_or_insert_default()
    }

    /// The first range that the device in a slot is to be told of, if it has handled every number below `from`.
    /// The range may begin below `from`.
    pub fn next(&self, slot: usize, from: u64) -> Option<Lost> {
        let all = self.list();
        let start = all.partition_point(|lost| lost.to < from);
        all.range(start..).find(|lost| !lost.skips.has(slot)).copied()
    }

    /// Adds a single number. Two ranges become one if no held message lies between them, which `is_held` says, so
    /// there is at most one range more than there are held messages.
    pub fn add(&mut self, lost: Lost, is_held: impl Fn(u64, u64) -> bool) {
        debug_assert_eq!(lost.from, lost.to);
        let all = self.list_mut();
        let at = all.partition_point(|known| known.to < lost.from);
        if let Some(known) = all.get_mut(at).filter(|known| known.from <= lost.from) {
            // Another device has skipped this message before.
            known.skips = known.skips.and(lost.skips);
            known.reason = lost.reason;
        } else {
            all.insert(at, lost);
        }
        self.join(at, &is_held);
        if let Some(before) = at.checked_sub(1) {
            self.join(before, &is_held);
        }
    }

    /// Joins the range at a position with the next one, if no held message lies between them.
    fn join(&mut self, at: usize, is_held: impl Fn(u64, u64) -> bool) {
        let all = self.list_mut();
        let (Some(one), Some(two)) = (all.get(at), all.get(at + 1)) else { return };
        if is_held(one.from, two.to) {
            return;
        }
        // A device that has lost a part of a range is told of the whole range. The reason of the later
        // range stands for both.
        let skips = one.skips.and(two.skips);
        let joined = Lost { from: one.from, to: two.to, reason: two.reason, skips };
        all[at] = joined;
        all.remove(at + 1);
    }

    /// Adds a range that some devices have lost. What is known already to be lost keeps its reason.
    pub fn add_range(&mut self, lost: Lost) {
        let Lost { from, to, skips, .. } = lost;
        let all = self.list_mut();
        let mut at = all.partition_point(|lost| lost.to < from);
        let mut next = from;
        while next <= to {
            match all.get(at).copied().filter(|known| known.from <= to) {
                None => {
                    all.insert(at, Lost { from: next, ..lost });
                    return;
                }
                Some(known) if known.from > next => {
                    all.insert(at, Lost { from: next, to: known.from - 1, ..lost });
                    next = known.from;
                }
                Some(known) => {
                    // Of what other devices have lost a part may be behind the end.
                    let both = known.skips.and(skips);
                    if both != known.skips {
                        let end = known.to.min(to);
                        if end < known.to {
                            all.insert(at + 1, Lost { from: end + 1, ..known });
                        }
                        if known.from < next {
                            all.insert(at, Lost { to: next - 1, ..known });
                            at += 1;
                        }
                        all[at] = Lost { from: next, to: end, skips: both, ..known };
                    }
                    next = all[at].to.saturating_add(1);
                }
            }
            at += 1;
        }
    }

    /// Adds a range. What was known to be lost and has a number in common with it becomes a part of it.
    pub fn cover(&mut self, mut lost: Lost) {
        let all = self.list_mut();
        all.retain(|known| {
            let is_part = known.from <= lost.to && known.to >= lost.from;
            if is_part {
                (lost.from, lost.to) = (lost.from.min(known.from), lost.to.max(known.to));
                lost.skips = lost.skips.and(known.skips);
            }
            !is_part
        });
        let at = all.partition_point(|known| known.to < lost.from);
        all.insert(at, lost);
    }

    /// Forgets the first ranges, as long as each ends below a number and `is_handled`.
    #[inline]
    pub fn prune(&mut self, below: u64, is_handled: impl Fn(&Lost) -> bool) {
        while self.first().is_some_and(|lost| lost.to < below && is_handled(lost)) {
            self.list_mut().pop_front();
        }
    }

    /// Prepares a slot for another device, which skips nothing.
    pub fn forget_slot(&mut self, slot: usize) {
        for lost in self.0.iter_mut().flat_map(|all| all.iter_mut()) {
            lost.skips.remove(slot);
        }
    }

    /// Gives back memory that is not needed any more.
    #[inline]
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// The bytes of memory that this takes.
    pub fn memory(&self) -> usize {
        self.list().capacity() * size_of::<Lost>()
    }
}
