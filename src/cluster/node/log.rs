//! Messages that are kept: how they are given to Redis, and how they arrive.

use super::{Node, Reply};
use crate::cluster::Event;
use crate::cluster::ask::Sending;
use crate::journal::{Completed, Completion, Ticket, new_epoch};

/// What is to be done with a reply.
#[derive(Debug)]
pub enum Then {
    /// It names the epoch.
    Epoch,
}

/// What a node knows of messages.
#[derive(Debug, Default)]
pub(super) struct Log {}

impl Node {
    pub(super) fn append(&mut self, sending: Box<Sending>, now: u64) {
        let _ = now;
        self.complete(sending.ticket, Completion::Unavailable);
    }

    pub(super) fn acknowledge(&mut self, user: Box<str>, device: Box<str>, seq: u64, now: u64) {
        let _ = (user, device, seq, now);
    }

    pub(super) fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) {
        let _ = (user, seq);
        self.complete(ticket, Completion::Unavailable);
    }

    fn complete(&mut self, ticket: Ticket, completion: Completion) {
        self.core.tell(Event::Journal(Completed { ticket, completion }));
    }

    pub(super) fn ask_for_epoch(&mut self, shard: usize) {
        let Some(it) = self.core.shards.get(shard) else { return };
        let info = it.info.clone();
        let name = new_epoch(self.core.settings.seed);
        let args = [&info.run_id, &info.replid, &info.replid2, &name].map(|text| text.as_bytes());
        self.core.run(shard, super::Script::Epoch, &args, super::Then::Log(Then::Epoch));
    }

    pub(super) fn log_replied(&mut self, shard: usize, then: Then, reply: Reply, now: u64) {
        match (then, reply) {
            (Then::Epoch, Reply::Done(_)) => self.is_ready(shard, now),
            (Then::Epoch, _) => {}
        }
    }

    pub(super) fn log_connected(&mut self, shard: usize, now: u64) {
        let _ = (shard, now);
    }

    pub(super) fn log_broken(&mut self, shard: usize, now: u64) {
        let _ = (shard, now);
    }

    pub(super) fn log_subscribed(&mut self, shard: usize, now: u64) {
        let _ = (shard, now);
    }

    pub(super) fn log_tick(&mut self, now: u64) {
        let _ = now;
    }

    pub(super) fn log_next_due(&self) -> Option<u64> {
        None
    }

    pub(super) fn messages_published(&mut self, shard: usize, payload: &[u8], now: u64) {
        let _ = (shard, payload, now);
    }
}
