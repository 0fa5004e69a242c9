//! The order of the sends of a device. A send to a group or to several users takes several steps, so a later one to one
//! of these users would overtake it. The later ones wait.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::RandomState;

use crate::cluster::ask::Sending;
use crate::journal::{Completion, Keep, stable_hash};

use super::Node;

/// The devices that have such a send, and what they have sent since, with the places among all sends.
pub(super) type Behind = HashMap<u64, VecDeque<(u64, Box<Sending>)>, RandomState>;

impl Node {
    /// Gives a send to Redis, when all sends of its device before it are carried out that go to several users.
    pub(super) fn send_in_order(&mut self, serial: u64, sending: Box<Sending>) {
        if !self.log.sends.behind.is_empty()
            && has_order(&sending)
            && let Some(waiting) = self.log.sends.behind.get_mut(&device_of(&sending))
        {
            return waiting.push_back((serial, sending));
        }
        self.send(serial, sending);
    }

    /// A send to several users is carried out: those that have waited for it follow.
    pub(super) fn send_what_waited(&mut self, device: u64) {
        let Some(mut waiting) = self.log.sends.behind.remove(&device) else { return };
        while let Some((serial, sending)) = waiting.pop_front() {
            match self.log.is_failed(sending.round) {
                true => self.finish(serial, Completion::Unavailable),
                false => self.send(serial, sending),
            }
            if let Some(others) = self.log.sends.behind.get_mut(&device) {
                others.append(&mut waiting);
            }
        }
    }
}

/// Whether messages to a user arrive in the order of the sends of their device.
pub(super) fn has_order(sending: &Sending) -> bool {
    sending.own && sending.keep != Keep::Never
}

pub(super) fn device_of(sending: &Sending) -> u64 {
    stable_hash(&[sending.user().as_bytes(), sending.device().as_bytes()])
}
