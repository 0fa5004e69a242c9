//! Pins on mailboxes that wait for the journal. A pinned mailbox is not given up, whatever the bounds
//! say, and a number counts only when the journal has completed its message.

use foldhash::quality::RandomState;
use std::collections::HashMap;

use super::record::{Key, Place};
use super::set::Mailboxes;

/// What a pinned mailbox waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pin {
    /// The number of its messages that the journal has not completed.
    numbers: u32,
    /// The number of sends of its user that the journal has not completed.
    sends: u32,
}

/// The pinned mailboxes, by their keys.
pub type Pins = HashMap<u32, Pin, RandomState>;

impl Mailboxes {
    /// Pins a mailbox, because the message with its newest number waits for the journal.
    pub fn pin(&mut self, key: Key) {
        self.pins.entry(key.0).or_default().numbers += 1;
        self.settle_place(key);
    }

    /// Takes the pin of one message off a mailbox, because the journal has completed the message.
    pub fn unpin(&mut self, key: Key) {
        if let Some(pin) = self.pins.get_mut(&key.0) {
            pin.numbers -= 1;
            self.drop_pin(key);
        }
    }

    /// Pins a mailbox, because a send of its user waits for the journal. The mailbox will remember the
    /// answer.
    pub fn hold(&mut self, key: Key) {
        self.pins.entry(key.0).or_default().sends += 1;
        self.settle_place(key);
    }

    /// Takes the pin of one send off a mailbox, because the journal has completed the send.
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
            false => top - self.pins.get(&key.0).map_or(0, |pin| u64::from(pin.numbers)),
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
        }
    }
}
