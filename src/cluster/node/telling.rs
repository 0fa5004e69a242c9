//! The events that a node has seen and gives to a Redis, in their order and each once. Several batches may be under way at
//! once, because what is sent to Redis behind an event must not come before it.

use std::collections::VecDeque;

use crate::journal::Report;

use super::core::Core;
use super::events::{AGAIN_AFTER_MS, EventThen, SIZE};
use super::{Script, Then};

/// The most bytes of events of this node that wait for Redis. What comes beyond it is dropped, and reported.
const MOST_WAITING: usize = 4 << 20;
/// The most events of this node that one command has, and about how many bytes.
const MOST_IN_BATCH: usize = 100;
const MOST_BYTES_IN_BATCH: usize = 64 << 10;
/// The kind that stands for events which were dropped.
const DROPPED: char = Report::DROPPED;

/// The events of this node that are not in the stream yet.
#[derive(Debug, Default)]
pub struct Telling {
    waiting: VecDeque<(char, Box<str>)>,
    /// What was sent and is not known to be in the stream. It is sent again until it is.
    sent: VecDeque<Sent>,
    /// The bytes of both.
    bytes: usize,
    /// The number of the last batch, and of the last one that is known to be in the stream.
    batch: u64,
    taken: u64,
    /// How many commands are not answered.
    in_flight: usize,
    /// One of them has failed, so Redis does not take those behind it either.
    has_failed: bool,
    /// Nothing is sent before this time, because Redis has refused it.
    not_before: u64,
}

/// A batch of events of this node.
#[derive(Debug)]
struct Sent {
    number: u64,
    events: Vec<(char, Box<str>)>,
}

impl Telling {
    pub fn push(&mut self, kind: char, event: Box<str>) {
        let size = event.len() + SIZE;
        if self.bytes + size <= MOST_WAITING {
            self.bytes += size;
            self.waiting.push_back((kind, event));
            return;
        }
        // The last entry counts what was dropped.
        let dropped = match self.waiting.pop_back() {
            Some((DROPPED, count)) => count.parse::<u64>().unwrap_or(0),
            Some(other) => {
                self.waiting.push_back(other);
                0
            }
            None => 0,
        };
        self.waiting.push_back((DROPPED, (dropped + 1).to_string().into()));
    }

    /// When [`Telling::pump`] has events to send.
    pub fn next_due(&self) -> Option<u64> {
        let has_work = !self.sent.is_empty() || !self.waiting.is_empty();
        (has_work && self.in_flight == 0).then_some(self.not_before)
    }

    /// A connection to the Redis was made, on which nothing is under way yet.
    pub fn connected(&mut self) {
        (self.in_flight, self.not_before) = (0, 0);
    }

    /// Sends what was not taken again, and the next batch, when all replies have come. So a batch has many events if there
    /// are many.
    pub fn pump(&mut self, core: &mut Core, shard: usize) {
        if self.in_flight > 0 || core.now < self.not_before {
            return;
        }
        self.has_failed = false;
        for sent in std::mem::take(&mut self.sent) {
            self.send(core, shard, sent);
        }
        if let Some(next) = self.next() {
            self.send(core, shard, next);
        }
    }

    /// Sends everything that waits, behind what is under way.
    pub fn flush(&mut self, core: &mut Core, shard: usize) {
        self.pump(core, shard);
        // Behind a batch that has failed nothing is taken.
        while !self.has_failed
            && core.now >= self.not_before
            && let Some(next) = self.next()
        {
            self.send(core, shard, next);
        }
    }

    fn next(&mut self) -> Option<Sent> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < MOST_IN_BATCH
            && bytes < MOST_BYTES_IN_BATCH
            && let Some(event) = self.waiting.pop_front()
        {
            bytes += event.1.len();
            events.push(event);
        }
        if events.is_empty() {
            return None;
        }
        self.batch += 1;
        Some(Sent { number: self.batch, events })
    }

    fn send(&mut self, core: &mut Core, shard: usize, sent: Sent) {
        let source = core.settings.seed.to_string();
        let (number, taken) = (sent.number.to_string(), self.taken.to_string());
        let kinds: Vec<String> = sent.events.iter().map(|(kind, _)| kind.to_string()).collect();
        let mut words: Vec<&str> = vec![&source, &number, &taken];
        for (kind, (_, event)) in kinds.iter().zip(&sent.events) {
            words.extend([kind.as_str(), event]);
        }
        self.in_flight += 1;
        core.run_words(shard, Script::Tell, &words, Then::Event(EventThen::Told(sent.number)));
        self.sent.push_back(sent);
    }

    /// Redis has answered to a batch. The answers come in the order of the batches.
    pub fn replied(&mut self, batch: u64, is_taken: bool, now: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if !is_taken {
            self.has_failed = true;
            self.not_before = now + AGAIN_AFTER_MS;
            return;
        }
        self.taken = self.taken.max(batch);
        while self.sent.front().is_some_and(|sent| sent.number <= batch)
            && let Some(sent) = self.sent.pop_front()
        {
            let told = sent.events.iter().filter(|(kind, _)| *kind != DROPPED);
            self.bytes -= told.map(|(_, event)| event.len() + SIZE).sum::<usize>();
        }
    }
}
