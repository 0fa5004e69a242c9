//! How mailboxes stay within their bounds: which messages go when a mailbox is full, when the time of a
//! message is over, and when all mailboxes together need too much memory.

use super::cids::Cids;
use super::list::NONE;
use super::lost::Reason;
use super::message::{Held, Marks};
use super::record::{Key, Place};
use super::set::{Loss, Mailboxes};

/// The most mailboxes that are searched for sends that can be forgotten when memory is short.
const LOOKS: usize = 64;
/// The most mailboxes that one call of [`Mailboxes::expire`] looks at.
const MAILBOXES_PER_TURN: u32 = 256;

impl Mailboxes {
    /// Takes out the messages whose time is over, and then gives up the mailboxes of strangers that are
    /// empty. One call looks at a bounded number of mailboxes. `now` is in seconds. Returns whether more
    /// mailboxes are due now.
    ///
    /// The empty mailbox of a user who was connected is given up only when its room is needed, so that
    /// a user who comes back after days is told exactly which messages are missing.
    pub fn expire(&mut self, now: u32) -> bool {
        let mut looks = MAILBOXES_PER_TURN;
        while let Some(full) = self.wheel.pop_due(u64::from(now) * 1_000, &mut looks) {
            self.expire_messages(full, now);
        }
        looks == 0
    }

    /// Whether the time of any message was over since the last call.
    pub fn take_expired(&mut self) -> bool {
        std::mem::take(&mut self.has_expired)
    }

    /// The second in which [`Mailboxes::expire`] has to be called next at the latest.
    pub fn next_expiry(&self) -> Option<u32> {
        self.wheel.next_deadline().map(|at| at.div_ceil(1_000) as u32)
    }

    fn expire_messages(&mut self, full: u32, now: u32) {
        let Some(found) = self.fulls.get_mut(full) else { return };
        found.due = u32::MAX;
        let owner = Key(found.owner);
        while let Some(held) = self.fulls.get_mut(full).and_then(|full| full.ring.lose_expired(now))
        {
            self.lose(owner, held, Reason::Expired);
            self.has_expired = true;
        }
        if let Some(cids) = &mut self.fulls[full].cids {
            cids.forget_old(now);
        }
        self.prune(owner);
        self.close(owner);
        let is_empty = self.full(owner).is_none_or(|full| !full.ring.has_messages());
        if self.boxes[owner.0].place == Place::Strangers && is_empty {
            self.give_up(owner.0, None);
        }
    }

    /// How many messages a mailbox may hold, and how many bytes of messages.
    #[inline]
    pub(super) fn bounds(&self, is_live: bool) -> (usize, usize) {
        match is_live {
            true => (usize::MAX, self.limits.live_bytes),
            false => (self.limits.messages, self.limits.bytes),
        }
    }

    /// Takes out the oldest messages of a mailbox until the others are within its bounds. `is_live` says
    /// that a device of the user is connected and acknowledges, so that the larger bound counts.
    pub(super) fn bound(&mut self, key: Key, is_live: bool) {
        let (messages, bytes) = self.bounds(is_live);
        while let Some(full) = self.full_of(key)
            && (full.ring.len() > messages || full.ring.bytes() > bytes)
        {
            let Some(held) = full.ring.lose_oldest(Reason::Overflow) else { break };
            self.lose(key, held, Reason::Overflow);
        }
    }

    /// Takes out the oldest messages of one mailbox until all mailboxes together are within their
    /// budget of memory, or this one is empty.
    pub(super) fn squeeze(&mut self, key: Key) {
        while self.memory() > self.limits.memory
            && let Some(held) =
                self.full_of(key).and_then(|it| it.ring.lose_oldest(Reason::Overflow))
        {
            self.lose(key, held, Reason::Overflow);
        }
    }

    /// Accounts for a message that was lost. If no device has had it, the loss is reported.
    fn lose(&mut self, key: Key, held: Held, reason: Reason) {
        let had = self
            .devices(key)
            .any(|(slot, device, _)| device.cursor >= held.seq && !held.skips.has(slot));
        self.waiting -= 1;
        self.held -= held.owned();
        if reason == Reason::Overflow && self.shared.is_some() {
            let user = &self.boxes[key.0].user;
            match self.dropped.last_mut().filter(|(last, _)| last == user) {
                Some((_, seq)) => *seq = held.seq,
                None => self.dropped.push((user.clone(), held.seq)),
            }
        }
        if !had && held.marks.has(Marks::REPORTED) {
            let user = self.boxes[key.0].user.clone();
            self.losses.push(Loss { user, held, reason });
        }
    }

    /// Gives up mailboxes until all of them fit into their budget of memory: first those of strangers,
    /// then those of the users who have been away longest. The mailbox `but` stays.
    pub(super) fn relieve(&mut self, but: u32) {
        while self.memory() > self.limits.memory {
            let lists = [self.strangers, self.away];
            let oldest = lists.iter().find_map(|list| list.first_but(but, &mut self.boxes));
            match oldest {
                Some(key) => {
                    self.shed += 1;
                    self.give_up(key, Some(Reason::Overflow));
                }
                None if self.forget_cids() => {}
                None => return,
            }
        }
    }

    /// Forgets the older half of the remembered sends of one connected user, each user in turn.
    /// Searches a bounded number of mailboxes. Returns false if none of them had such sends.
    fn forget_cids(&mut self) -> bool {
        for _ in 0..LOOKS {
            let Some(key) = self.here.first() else { return false };
            self.unlist(key);
            self.enlist(key, Place::Here);
            let cids = self.full_of(Key(key)).and_then(|full| full.cids.as_deref_mut());
            let forgotten = cids.map_or(0, Cids::forget_half);
            if forgotten > 0 {
                self.forgotten += forgotten as u64;
                self.recount(Key(key));
                return true;
            }
        }
        false
    }

    /// Forgets a mailbox of a user who is not connected.
    pub(super) fn give_up(&mut self, key: u32, reason: Option<Reason>) {
        if self.boxes[key].given > 0 && !self.are_copies {
            self.missed = self.missed.max(self.boxes[key].top);
        }
        while let Some(held) = self
            .full_of(Key(key))
            .and_then(|full| full.ring.lose_oldest(reason.unwrap_or(Reason::Lost)))
        {
            match reason {
                Some(reason) => self.lose(Key(key), held, reason),
                None => self.free(held),
            }
        }
        self.unlist(key);
        self.unindex(key);
        self.strays.retain(|(of, ..)| *of != key);
        let Some(mailbox) = self.boxes.remove(key) else { return };
        if !self.are_copies {
            self.high = self.high.max(mailbox.top);
        }
        if mailbox.full != NONE {
            self.wheel.disarm(mailbox.full);
            self.held -= self.fulls.remove(mailbox.full).map_or(0, |full| full.counted as usize);
        }
    }
}
