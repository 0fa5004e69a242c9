//! Acknowledgements of devices, of which Redis is told at most once a second, or when a device has handled
//! 16 more messages.

use std::collections::{BTreeMap, VecDeque};

use super::{Node, Script};

/// For how many milliseconds an acknowledgement waits for later ones.
const WAIT_MS: u64 = 1_000;
/// With so many messages it does not wait.
const MANY: u64 = 16;

/// A device of a user.
type Name = (Box<str>, Box<str>);

/// The acknowledgements that wait.
#[derive(Debug, Default)]
pub struct Acks {
    /// For each device, the first number that waits, and the last one.
    waiting: BTreeMap<Name, (u64, u64)>,
    /// When each of them has waited long enough. It may have been sent before.
    due: VecDeque<(u64, Name)>,
}

impl Acks {
    /// A new epoch has begun, in which these numbers belong to other messages.
    pub fn forget_all(&mut self) {
        self.waiting.clear();
        self.due.clear();
    }

    pub fn next_due(&self) -> Option<u64> {
        self.due.front().map(|(at, _)| *at)
    }
}

impl Node {
    pub(super) fn acknowledge(&mut self, user: Box<str>, device: Box<str>, seq: u64, now: u64) {
        if self.log.unfollowed > 0 {
            return;
        }
        let name = (user, device);
        match self.log.acks.waiting.get_mut(&name) {
            Some((first, last)) => {
                *last = seq.max(*last);
                if *last >= *first + MANY {
                    *first = *last;
                    let last = *last;
                    self.send_ack(&name, last);
                }
            }
            None => {
                self.log.acks.waiting.insert(name.clone(), (seq.saturating_sub(1), seq));
                self.log.acks.due.push_back((now + WAIT_MS, name));
            }
        }
    }

    pub(super) fn send_acks(&mut self, now: u64) {
        while self.log.acks.next_due().is_some_and(|at| at <= now) {
            let Some((_, name)) = self.log.acks.due.pop_front() else { return };
            let Some((first, last)) = self.log.acks.waiting.remove(&name) else { continue };
            if last > first {
                self.send_ack(&name, last);
            }
        }
    }

    fn send_ack(&mut self, (user, device): &Name, seq: u64) {
        let shard = self.core.shard_of(user);
        if !self.core.is_up(shard) {
            return;
        }
        let (seq, epoch) = (seq.to_string(), self.core.ordinal(shard).to_string());
        self.core.run_words(
            shard,
            Script::Ack,
            &[user, device, &seq, &epoch],
            super::Then::Nothing,
        );
    }

    /// Redis is told of all acknowledgements of a user, because a connection is about to enter.
    pub(super) fn flush_acks(&mut self, user: &str) {
        let first = (Box::from(user), Box::from(""));
        while let Some((name, _)) = self.log.acks.waiting.range(first.clone()..).next()
            && *name.0 == *user
        {
            let name = name.clone();
            let Some((first, last)) = self.log.acks.waiting.remove(&name) else { return };
            if last > first {
                self.send_ack(&name, last);
            }
        }
    }

    /// Acknowledgements of a user who has left say nothing new: the connection has left with its cursor.
    pub(super) fn drop_ack(&mut self, user: &str, device: &str) {
        self.log.acks.waiting.remove(&(Box::from(user), Box::from(device)));
    }
}
