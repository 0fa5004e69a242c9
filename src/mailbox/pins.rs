//! Mailboxes with messages that wait for the log. They stay whatever their bounds say, and their
//! numbers count only when the log has said what became of them.

use foldhash::quality::RandomState;
use std::collections::HashMap;

use super::record::{Key, Place};
use super::set::Mailboxes;

/// Why a mailbox stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pin {
    /// How many numbers were given whose messages the log has not completed.
    numbers: u32,
    /// For how many sends of its user the log has to answer.
    sends: u32,
}

/// The mailboxes that stay, by their keys.
pub type Pins = HashMap<u32, Pin, RandomState>;

impl Mailboxes {
    /// A message with the newest number of a mailbox waits for the log: the mailbox stays.
    pub fn pin(&mut self, key: Key) {
        self.pins.entry(key.0).or_default().numbers += 1;
        self.settle_place(key);
    }

    /// The log has completed the oldest message of a mailbox that waited for it.
    pub fn unpin(&mut self, key: Key) {
        if let Some(pin) = self.pins.get_mut(&key.0) {
            pin.numbers -= 1;
            self.drop_pin(key);
        }
    }

    /// A send of a mailbox's user waits for the log: the mailbox stays, to remember the answer.
    pub fn hold(&mut self, key: Key) {
        self.pins.entry(key.0).or_default().sends += 1;
        self.settle_place(key);
    }

    /// The log has completed a send of a mailbox's user.
    pub fn let_go(&mut self, key: Key) {
        if let Some(pin) = self.pins.get_mut(&key.0) {
            pin.sends -= 1;
            self.drop_pin(key);
        }
    }

    fn drop_pin(&mut self, key: Key) {
        if self.pins.get(&key.0).is_some_and(|pin| pin.numbers == 0 && pin.sends == 0) {
            self.pins.remove(&key.0);
            self.settle_place(key);
        }
    }

    /// How many mailboxes stay because something waits for the log.
    #[cfg(test)]
    pub fn pinned(&self) -> usize {
        self.pins.len()
    }

    /// The newest number of a user whose message the log has completed.
    #[inline]
    pub fn settled_top(&self, key: Key) -> u64 {
        let top = self.boxes[key.0 as usize].top;
        match self.pins.is_empty() {
            true => top,
            false => top - self.pins.get(&key.0).map_or(0, |pin| u64::from(pin.numbers)),
        }
    }

    pub(super) fn is_pinned(&self, key: u32) -> bool {
        !self.pins.is_empty() && self.pins.contains_key(&key)
    }

    /// Puts a mailbox into the list in which it belongs now.
    pub(super) fn settle_place(&mut self, key: Key) {
        let mailbox = &self.boxes[key.0 as usize];
        let place = match mailbox {
            _ if mailbox.connected.any() || self.is_pinned(key.0) => Place::Here,
            _ if mailbox.known.any() => Place::Away,
            _ => Place::Strangers,
        };
        if mailbox.place != place {
            self.unlist(key.0);
            self.enlist(key.0, place);
        }
    }
}
