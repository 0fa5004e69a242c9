//! Pins on mailboxes that wait for the journal. A pinned mailbox is not given up, whatever the bounds
//! say, and a number counts only when the journal has completed its message.

use foldhash::fast::RandomState;
use std::collections::HashMap;

use super::record::{Key, Place};
use super::set::Mailboxes;

/// What a pinned mailbox waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pin {
    /// The newest number whose message the journal has completed, while `numbers` is not 0.
    settled: u64,
    /// The number of its messages that the journal has not completed.
    numbers: u32,
    /// The number of sends of its user that the journal has not completed.
    sends: u32,
}

impl Pin {
    fn is_over(&self) -> bool {
        self.numbers == 0 && self.sends == 0
    }
}

/// The pinned mailboxes, by their keys.
pub type Pins = HashMap<u32, Pin, RandomState>;

impl Mailboxes {
    /// From now on the messages of all users get their numbers from one counter. `last` was given last.
    pub fn share_numbers(&mut self, last: u64) {
        self.shared = Some(last.max(self.shared.unwrap_or_default()));
    }

    /// The number that was given last to a message of any user, where all users share one counter.
    pub fn last_shared(&self) -> Option<u64> {
        self.shared
    }

    /// Gives the next number of the counter that all users share. The numbers between it and the one
    /// before it belong to others, so what is settled is remembered before the number is given.
    pub(super) fn next_shared(&mut self, key: Key) -> u64 {
        let last = self.shared.get_or_insert(0);
        *last += 1;
        let (seq, mailbox) = (*last, &mut self.boxes[key.0]);
        let before = mailbox.top;
        mailbox.raise(seq);
        self.pin_behind(key, before);
        seq
    }

    /// Pins a mailbox, because the message with the number `seq`, its newest one, waits for the journal.
    /// Where all users share one counter, [`Mailboxes::next_seq`] has done so.
    pub fn pin(&mut self, key: Key, seq: u64) {
        if self.shared.is_none() {
            self.pin_behind(key, seq - 1);
        }
    }

    fn pin_behind(&mut self, key: Key, settled: u64) {
        let pin = self.pins.entry(key.0).or_default();
        if pin.numbers == 0 {
            pin.settled = settled;
        }
        pin.numbers += 1;
        self.stay(key);
    }

    /// Takes the pin of one message off a mailbox, because the journal has completed the message. `seq` is
    /// its number if it is kept.
    pub fn unpin(&mut self, key: Key, seq: Option<u64>) {
        let Some(pin) = self.pins.get_mut(&key.0) else { return };
        pin.numbers = pin.numbers.saturating_sub(1);
        pin.settled = pin.settled.max(seq.unwrap_or_default());
        if pin.is_over() {
            self.drop_pin(key);
        }
    }

    /// Pins a mailbox, because a send of its user waits for the journal. The mailbox will remember the
    /// answer.
    pub fn hold(&mut self, key: Key) {
        self.pins.entry(key.0).or_default().sends += 1;
        self.stay(key);
    }

    /// Takes the pin of one send off a mailbox, because the journal has completed the send.
    pub fn let_go(&mut self, key: Key) {
        let Some(pin) = self.pins.get_mut(&key.0) else { return };
        pin.sends -= 1;
        if pin.is_over() {
            self.drop_pin(key);
        }
    }

    fn drop_pin(&mut self, key: Key) {
        self.pins.remove(&key.0);
        if !self.boxes[key.0].connected.any() {
            self.settle_place(key);
        }
    }

    /// Takes a mailbox that was pinned out of the lists of those that may be given up.
    #[inline]
    fn stay(&mut self, key: Key) {
        if self.boxes[key.0].place != Place::Here {
            self.settle_place(key);
        }
    }

    /// The number of pinned mailboxes.
    #[cfg(test)]
    pub fn pinned(&self) -> usize {
        self.pins.len()
    }

    /// The newest number of a user whose message the journal has completed.
    #[inline]
    pub fn settled_top(&self, key: Key) -> u64 {
        let top = self.boxes[key.0].top;
        match self.pins.is_empty() {
            true => top,
            false => match self.pins.get(&key.0) {
                Some(pin) if pin.numbers > 0 => pin.settled,
                _ => top,
            },
        }
    }

    pub(super) fn is_pinned(&self, key: u32) -> bool {
        !self.pins.is_empty() && self.pins.contains_key(&key)
    }

    /// Puts a mailbox into the list in which it belongs now.
    pub(super) fn settle_place(&mut self, key: Key) {
        let mailbox = &self.boxes[key.0];
        let place = match mailbox {
            _ if mailbox.connected.any() || self.is_pinned(key.0) => Place::Here,
            _ if mailbox.known.any() => Place::Away,
            _ => Place::Strangers,
        };
        if mailbox.place != place {
            self.unlist(key.0);
            self.enlist(key.0, place);
            if place != Place::Here {
                self.close(key);
            }
        }
    }
}
