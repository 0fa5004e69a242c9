//! The hot path of a message that is stored: what the relay does around a journal that completes later, a
//! batch at a time, and costs nearly nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use longlink::keeping::{Append, Completed, Completion, Journal, Kept, Progress, Question, Ticket};
use longlink::{Config, Relay, RelayConfig};
use mio::Token;

use super::paths::{CLIENTS, READY, measure};
use crate::support::{Input, World};

/// How many sends one completion ends.
const BATCH: u32 = 64;

/// A journal that remembers only the ticket of the last append.
#[derive(Debug)]
struct Batches(Arc<AtomicU32>);

impl Journal for Batches {
    fn epoch(&self) -> &str {
        "batches"
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn shares_numbers(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, ticket: Ticket, _: &Append<'_>) -> Progress {
        self.0.store(ticket, Ordering::Relaxed);
        Progress::Later
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Later
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Later
    }
}

/// A message from one user to another, as [`super::kept::one_to_one`] has it, with 64 in flight.
pub fn one_to_one(operations: u32) {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.max_per_address) = (0, 0, 0);
    config.max_connections = CLIENTS as usize;
    let last = Arc::new(AtomicU32::new(0));
    let journal = Box::new(Batches(last.clone()));
    let relay = Relay::new(RelayConfig::default()).with_journal(journal);
    let mut world = World::with(config, relay);
    let clients: Vec<Token> = (0..CLIENTS).map(|user| world.connect_v2(user)).collect();
    measure(&mut world, |world| {
        for first in (0..operations).step_by(BATCH as usize) {
            let batch = first..operations.min(first + BATCH);
            for cid in batch.clone() {
                let (from, to) = (cid % CLIENTS, (cid + 1) % CLIENTS);
                world.read(clients[from as usize], Input::Send { cid, to });
                if (cid + 1) % READY as u32 == 0 {
                    world.turn();
                }
            }
            let kept = Kept { is_stored: true, ..Kept::default() };
            let completion = Completion::Appended(kept);
            let completed = Completed { ticket: last.load(Ordering::Relaxed), completion };
            world.driver.deliver(completed.into(), world.now);
            world.turn();
            for cid in batch {
                // All users share one counter, and nothing else is given a number.
                world.read(clients[((cid + 1) % CLIENTS) as usize], Input::Ack(cid + 1));
                if (cid + 1) % READY as u32 == 0 {
                    world.turn();
                }
            }
        }
    });
    let counters = world.driver.parts().1.mailbox_counters();
    let all = u64::from(operations);
    assert_eq!((counters.kept, counters.delivered, counters.acknowledged), (all, all, all));
    let gauges = world.driver.parts().1.mailbox_gauges();
    assert_eq!((gauges.waiting, gauges.pending), (0, 0));
}
