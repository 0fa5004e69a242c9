//! Acknowledgements of devices, of which Redis is told at most once a second, or when a device has handled
//! 16 more messages. One that Redis has not taken is told again: otherwise the messages would wait until their time is
//! over, and the backend would be told that no device had them.

use std::collections::{BTreeMap, VecDeque};

use super::log::Then;
use super::{Node, Reply, Script};

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

    /// Makes an acknowledgement wait that is not told yet.
    fn wait(&mut self, name: Name, seq: u64, now: u64) {
        match self.waiting.get_mut(&name) {
            Some((first, last)) => {
                *first = (*first).min(seq.saturating_sub(1));
                *last = seq.max(*last);
            }
            None => {
                self.waiting.insert(name.clone(), (seq.saturating_sub(1), seq));
                self.due.push_back((now + WAIT_MS, name));
            }
        }
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
                    self.send_ack(name, last, now);
                }
            }
            None => self.log.acks.wait(name, seq, now),
        }
    }

    pub(super) fn send_acks(&mut self, now: u64) {
        while self.log.acks.next_due().is_some_and(|at| at <= now) {
            let Some((_, name)) = self.log.acks.due.pop_front() else { return };
            let Some((first, last)) = self.log.acks.waiting.remove(&name) else { continue };
            if last > first {
                self.send_ack(name, last, now);
            }
        }
    }

    fn send_ack(&mut self, name: Name, seq: u64, now: u64) {
        let shard = self.core.shard_of(&name.0);
        if !self.core.is_up(shard) {
            return self.log.acks.wait(name, seq, now);
        }
        let (number, epoch) = (seq.to_string(), self.core.ordinal(shard).to_string());
        let (user, device) = name.clone();
        let then = super::Then::Log(Then::Acked(name, seq));
        self.core.run_words(shard, Script::Ack, &[&user, &device, &number, &epoch], then);
    }

    /// Redis has answered to an acknowledgement. One that it has not taken waits again, unless the user has left, whose
    /// connection has told how far it has come.
    pub(super) fn ack_replied(&mut self, name: Name, seq: u64, reply: Reply, now: u64) {
        if !matches!(reply, Reply::Done(_)) && self.parts.routes.needs_mailbox(&name.0) {
            self.log.acks.wait(name, seq, now);
        }
    }

    /// Redis is told of all acknowledgements of a user, because a connection is about to enter.
    pub(super) fn flush_acks(&mut self, user: &str) {
        if !self.core.is_up(self.core.shard_of(user)) {
            return;
        }
        let (start, now) = ((Box::from(user), Box::from("")), self.core.now);
        while let Some((name, _)) = self.log.acks.waiting.range(start.clone()..).next()
            && *name.0 == *user
        {
            let name = name.clone();
            let Some((first, last)) = self.log.acks.waiting.remove(&name) else { return };
            if last > first {
                self.send_ack(name, last, now);
            }
        }
    }

    /// Acknowledgements of a user who has left say nothing new: the connection has left with its cursor.
    pub(super) fn drop_ack(&mut self, user: &str, device: &str) {
        self.log.acks.waiting.remove(&(Box::from(user), Box::from(device)));
    }
}
