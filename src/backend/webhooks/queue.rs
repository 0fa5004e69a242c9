//! A bounded queue of numbered events that wait to be sent, in batches. An event that does not fit
//! is dropped, and the next event that fits comes after a `lost` event with the numbers that are
//! missing.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::relay::Event;

/// The most events in one request.
pub const MAX_BATCH_EVENTS: usize = 1_000;
/// The most bytes of events in one request, unless one event alone is longer.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// A scratch buffer that has grown beyond this number of bytes is freed.
const SCRATCH: usize = 64 * 1024;

/// The events of one request.
#[derive(Debug, Default)]
pub struct Batch {
    /// The number of the first event.
    pub first: u64,
    pub events: usize,
    /// The time of the first event, in milliseconds since 1970.
    pub since: u64,
    /// The events as JSON objects, with commas between them.
    pub text: String,
}

/// How much of the queue an event may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of the queue: for events that say who is online.
    All,
    /// Three quarters of the queue: for messages of users, so that a flood of messages does not
    /// push out the events that say who is online.
    Most,
}

/// The queue. Every number from 1 to the last one given is in exactly one event, or in the range of
/// exactly one `lost` event, or in the range of the next `lost` event.
#[derive(Debug)]
pub struct Queue {
    max_bytes: usize,
    /// Bytes in `batches` and `in_flight`.
    bytes: usize,
    events: usize,
    batches: VecDeque<Batch>,
    in_flight: Option<Arc<Batch>>,
    next_seq: u64,
    /// The first number that was dropped since the last `lost` event. All numbers after it were
    /// dropped, too.
    lost: Option<u64>,
    dropped: u64,
    scratch: String,
}

impl Queue {
    /// Sets how many bytes may wait. What waits already is kept.
    pub fn set_bound(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    pub fn new(max_bytes: usize) -> Self {
        Queue {
            max_bytes,
            bytes: 0,
            events: 0,
            batches: VecDeque::new(),
            in_flight: None,
            next_seq: 1,
            lost: None,
            dropped: 0,
            scratch: String::new(),
        }
    }

    /// Queues an event, or drops it if it does not fit. `at` is the event's time in milliseconds
    /// since 1970.
    pub fn push(&mut self, event: &Event<'_>, share: Share, at: u64) {
        let max = match share {
            Share::All => self.max_bytes,
            Share::Most => self.max_bytes / 4 * 3,
        };
        let notice = self.notice();
        // While the queue is full, the event is not even written, because that is when events are
        // most frequent.
        let fits = self.bytes < max && self.try_append(notice.iter().chain([event]), max, at);
        if !fits {
            self.lost.get_or_insert(self.next_seq);
            self.next_seq += 1;
            self.dropped += 1;
        }
    }

    /// Returns the batch that is to be sent. It stays the same until [`Queue::done`] is called.
    pub fn take(&mut self) -> Option<Arc<Batch>> {
        if self.in_flight.is_none() {
            self.in_flight = self.batches.pop_front().map(Arc::new);
        }
        self.in_flight.clone()
    }

    /// Called when the batch that was taken has arrived. If events were lost meanwhile, a `lost`
    /// event is queued at once, even if nothing else happens.
    pub fn done(&mut self, at: u64) {
        if let Some(batch) = self.in_flight.take() {
            self.bytes -= batch.text.len();
            self.events -= batch.events;
        }
        if let Some(notice) = self.notice() {
            self.try_append([&notice], self.max_bytes, at);
        }
    }

    /// Returns how many events wait, including those of the batch that was taken.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Returns how many bytes the waiting events have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the time of the event that has waited longest, in milliseconds since 1970.
    pub fn oldest(&self) -> Option<u64> {
        self.in_flight.as_deref().or(self.batches.front()).map(|batch| batch.since)
    }

    /// Returns how many events did not fit so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the last number that was given, 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    fn notice(&self) -> Option<Event<'static>> {
        self.lost.map(|from| Event::Lost { from, to: self.last_seq() })
    }

    /// Numbers these events and appends all of them or none. If events were lost, the first of
    /// `events` must be the `lost` event.
    fn try_append<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a Event<'a>>,
        max: usize,
        at: u64,
    ) -> bool {
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH);
        let mut seq = self.next_seq;
        for event in events {
            if !self.scratch.is_empty() {
                self.scratch.push(',');
            }
            event.write(seq, at, &mut self.scratch);
            seq += 1;
        }
        let fits = self.bytes + self.scratch.len() < max;
        if fits {
            self.append((seq - self.next_seq) as usize, at);
            self.next_seq = seq;
            self.lost = None;
        }
        fits
    }

    /// Moves `events` events with the time `at` from `scratch` into the last batch, or into a new
    /// one.
    fn append(&mut self, events: usize, at: u64) {
        let text = &self.scratch;
        let is_full = |batch: &Batch| {
            batch.events + events > MAX_BATCH_EVENTS
                || batch.text.len() + text.len() >= MAX_BATCH_BYTES
        };
        if self.batches.back().is_none_or(is_full) {
            if let Some(full) = self.batches.back_mut() {
                full.text.shrink_to_fit();
            }
            self.batches.push_back(Batch { first: self.next_seq, since: at, ..Batch::default() });
        }
        let Some(batch) = self.batches.back_mut() else { return };
        let before = batch.text.len();
        if before > 0 {
            batch.text.push(',');
        }
        batch.text.push_str(text);
        batch.events += events;
        self.events += events;
        self.bytes += batch.text.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const ONLINE: Event<'_> = Event::Online { user: "A", device: "" };

    /// Returns the numbers for which the next batch accounts, including those that were lost.
    fn deliver(queue: &mut Queue) -> Vec<u64> {
        let Some(batch) = queue.take() else { return Vec::new() };
        queue.done(0);
        let events: Vec<Value> = serde_json::from_str(&format!("[{}]", batch.text)).unwrap();
        assert_eq!(events.len(), batch.events);
        assert_eq!(events[0]["seq"], batch.first);
        let numbers = |event: &Value| {
            let number = |key: &str| event[key].as_u64().unwrap();
            match event["type"] == "lost" {
                true => (number("from")..=number("to")).chain([number("seq")]).collect(),
                false => vec![number("seq")],
            }
        };
        events.iter().flat_map(numbers).collect()
    }

    fn deliver_all(queue: &mut Queue) -> Vec<u64> {
        let mut all = Vec::new();
        while queue.events() > 0 {
            all.extend(deliver(queue));
        }
        assert_eq!((queue.bytes(), queue.take().is_none()), (0, true));
        all
    }

    #[test]
    fn events_come_in_order_in_batches_of_bounded_size() {
        let mut queue = Queue::new(1 << 20);
        for _ in 0..2_500 {
            queue.push(&ONLINE, Share::All, 0);
        }
        assert_eq!((queue.events(), queue.last_seq()), (2_500, 2_500));
        assert_eq!(deliver(&mut queue), (1..=1_000).collect::<Vec<_>>());
        assert_eq!(deliver_all(&mut queue), (1_001..=2_500).collect::<Vec<_>>());

        let long = "x".repeat(100_000);
        let event = Event::Message { user: "A", device: "", to: None, frame: &[&long] };
        for _ in 0..5 {
            queue.push(&event, Share::All, 0);
        }
        let sizes = std::iter::from_fn(|| {
            let batch = queue.take()?;
            queue.done(0);
            assert!(batch.text.len() < MAX_BATCH_BYTES);
            Some(batch.events)
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn a_batch_stays_the_same_until_it_has_arrived() {
        let mut queue = Queue::new(1 << 20);
        queue.push(&ONLINE, Share::All, 0);
        let first = queue.take().unwrap();
        queue.push(&ONLINE, Share::All, 0);
        assert_eq!(queue.take().unwrap().text, first.text);
        assert_eq!(queue.events(), 2, "what is on its way counts");
        assert_eq!(deliver(&mut queue), [1]);
        assert_eq!(deliver(&mut queue), [2]);
    }

    #[test]
    fn events_that_do_not_fit_into_the_queue_are_reported_as_a_range_of_lost_numbers() {
        let mut queue = Queue::new(10_000);
        for _ in 0..1_000 {
            queue.push(&ONLINE, Share::All, 0);
        }
        let kept = queue.events() as u64;
        assert!((100..200).contains(&kept), "{kept}");
        assert!(queue.bytes() < 10_000);
        assert_eq!(queue.dropped(), 1_000 - kept);
        let batch = queue.take().unwrap();
        queue.done(5);
        assert_eq!(batch.events as u64, kept);
        let notice = queue.take().unwrap();
        assert_eq!(
            notice.text,
            format!(r#"{{"seq":1001,"type":"lost","from":{},"to":1000,"at":5}}"#, kept + 1)
        );
        queue.done(0);
        queue.push(&ONLINE, Share::All, 0);
        assert_eq!(deliver_all(&mut queue), [1_002]);
    }

    #[test]
    fn every_number_arrives_or_is_reported_as_lost() {
        for (max, pushes) in [(500, 7), (3_000, 11), (10_000, 400), (300_000, 3_000)] {
            let mut queue = Queue::new(max);
            let mut told = Vec::new();
            for round in 0..200 {
                for push in 0..(round * 7) % pushes {
                    let frame = "x".repeat((round * push) % 97);
                    let message =
                        Event::Message { user: "A", device: "", to: None, frame: &[&frame] };
                    match push % 3 {
                        0 => queue.push(&ONLINE, Share::All, 0),
                        _ => queue.push(&message, Share::Most, 0),
                    }
                    assert!(queue.bytes() <= max);
                }
                told.extend(deliver(&mut queue));
            }
            told.extend(deliver_all(&mut queue));
            assert_eq!(told, (1..=queue.last_seq()).collect::<Vec<_>>(), "{max}");
        }
    }

    #[test]
    fn a_flood_of_messages_leaves_room_in_the_queue_for_online_and_offline_events() {
        let mut queue = Queue::new(100_000);
        let message = Event::Message { user: "A", device: "", to: None, frame: &["x"] };
        for _ in 0..10_000 {
            queue.push(&message, Share::Most, 0);
        }
        let dropped = queue.dropped();
        for _ in 0..100 {
            queue.push(&ONLINE, Share::All, 0);
        }
        assert_eq!(queue.dropped(), dropped);
    }

    #[test]
    fn an_event_longer_than_the_queue_is_reported_as_lost() {
        let mut queue = Queue::new(1_000);
        let long = "x".repeat(2_000);
        let message = Event::Message { user: "A", device: "", to: None, frame: &[&long] };
        queue.push(&message, Share::Most, 0);
        assert!(queue.take().is_none());
        queue.push(&ONLINE, Share::All, 0);
        assert_eq!(deliver_all(&mut queue), [1, 2, 3]);
    }
}
