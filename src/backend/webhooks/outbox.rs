//! Derives from what happens which events the backend is told. This type is pure: time is an
//! argument, and nothing waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{LONGEST, WebhookConfig, WebhookEvents};
use super::presence::{Before, Presence};
use crate::relay::{Event, EventKind};

use super::queue::{Batch, Queue, Share};

/// How many users who are due to be offline are handled when another event happens. The number is
/// small, because the caller has other work to do.
const DUE_ASIDE: usize = 16;

/// By how much the loop may be late.
const LATE: Duration = Duration::from_secs(1);

/// A time of the wall clock, and the same moment as an instant.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub instant: Instant,
    /// The time since 1970.
    pub unix: Duration,
}

impl Clock {
    /// Converts an instant to milliseconds since 1970.
    fn millis(&self, at: Instant) -> u64 {
        let unix = match at.checked_duration_since(self.instant) {
            Some(later) => self.unix.saturating_add(later),
            None => self.unix.saturating_sub(self.instant.saturating_duration_since(at)),
        };
        unix.as_millis().try_into().unwrap_or(u64::MAX)
    }
}

/// Who is online, and the queue of events.
#[derive(Debug)]
pub struct Outbox {
    epoch: String,
    clock: Clock,
    events: WebhookEvents,
    presence: Presence,
    queue: Queue,
    /// When a list of online users was last given out.
    listed: Option<Instant>,
}

impl Outbox {
    /// Makes an empty outbox whose epoch begins at `clock`. Reserves room for `users` users.
    pub fn new(config: &WebhookConfig, users: usize, clock: Clock) -> Self {
        Outbox {
            epoch: epoch(clock),
            clock,
            events: config.events,
            presence: Presence::new(users, config.offline_after.min(LONGEST)),
            queue: Queue::new(config.max_queue),
            listed: None,
        }
    }

    /// Returns which run of the server this is. Of two runs, the later one's epoch is greater as
    /// text, unless the clock was set back in between.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Adjusts to a wall clock that may have been set.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Called when a connection of a user has opened. `is_only` says whether the user has no other
    /// connection that is not closing yet; closing takes `closing` at most.
    pub fn opened(
        &mut self,
        user: &str,
        device: &str,
        now: Instant,
        closing: Duration,
        is_only: impl FnOnce() -> bool,
    ) {
        self.advance(now, DUE_ASIDE);
        // A reconnect causes no event, unless a list could have been given out while the user was
        // away: who uses that list would never learn that the user is online.
        let listed_since = |left| self.listed.is_some_and(|at| at + closing + LATE >= left);
        let is_news = match self.presence.opened(user) {
            Before::Offline => true,
            Before::Left(at) => listed_since(at),
            Before::Here => listed_since(now) && is_only(),
        };
        if is_news && self.events.has(EventKind::Online) {
            self.push(&Event::Online { user, device }, Share::All, now);
        }
    }

    /// Called when a list of online users is given out. Returns the epoch and the number of the
    /// last event that the list includes.
    pub fn list(&mut self, now: Instant) -> (String, u64) {
        self.listed = Some(now);
        (self.epoch.clone(), self.queue.last_seq())
    }

    /// Called when a connection of a user has ended.
    pub fn closed(&mut self, user: &str, device: &str, now: Instant) {
        self.presence.closed(user, device, now);
        self.advance(now, DUE_ASIDE);
    }

    /// Called when a user has sent a message.
    pub fn sent(&mut self, event: &Event<'_>, now: Instant) {
        self.advance(now, DUE_ASIDE);
        self.push(event, Share::Most, now);
    }

    /// Sets how many bytes of events may wait.
    pub fn set_bound(&mut self, max_bytes: usize) {
        self.queue.set_bound(max_bytes);
    }

    /// Adds the `offline` events of at most `most` users who are due to be offline.
    pub fn advance(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some(leaving) = self.presence.pop_due(now) else { return };
            if self.events.has(EventKind::Offline) {
                let event = Event::Offline { user: &leaving.user, device: &leaving.device };
                // The event has the time when the user left, not the time when this became certain.
                self.push(&event, Share::All, leaving.left);
            }
        }
    }

    /// Called when the process was absent until `now`: this time makes nobody offline.
    pub fn come_back(&mut self, now: Instant) {
        self.presence.come_back(now);
    }

    /// Returns when [`Outbox::advance`] next has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.presence.next_due()
    }

    /// Returns the batch to send. It stays the same until [`Outbox::done`] is called.
    pub fn take(&mut self) -> Option<Arc<Batch>> {
        self.queue.take()
    }

    /// Called when the batch that was taken has arrived.
    pub fn done(&mut self, now: Instant) {
        self.queue.done(self.clock.millis(now));
    }

    /// Returns how long the oldest event has waited.
    pub fn waited(&self, clock: Clock) -> Option<Duration> {
        let since = Duration::from_millis(self.queue.oldest()?);
        // If the clock was set back, the event counts as new.
        Some(clock.unix.saturating_sub(since))
    }

    /// Returns the queue, for metrics.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    fn push(&mut self, event: &Event<'_>, share: Share, at: Instant) {
        self.queue.push(event, share, self.clock.millis(at));
    }
}

/// Converts a time in milliseconds since 1970 to base 36: eight characters until 2059.
fn epoch(clock: Clock) -> String {
    let mut rest = clock.unix.as_millis();
    let mut digits = Vec::new();
    while rest > 0 || digits.len() < 8 {
        digits.push(char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize]));
        rest /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const SECOND: Duration = Duration::from_secs(1);
    /// The start time in milliseconds since 1970.
    const START: u64 = 1_700_000_000_000;

    /// Makes an outbox for these events; returns it with the instant at which it starts.
    fn outbox(names: &[&str], max_queue: usize) -> (Outbox, Instant) {
        let mut config = WebhookConfig::new("http://backend/", &[7; 16]).unwrap();
        config.events = WebhookEvents::named(names.iter().copied()).unwrap();
        config.max_queue = max_queue;
        let clock = Clock { instant: Instant::now(), unix: Duration::from_millis(START) };
        (Outbox::new(&config, 100, clock), clock.instant)
    }

    /// Returns all events that are to be sent, as `seq type user at`, and reports them as arrived.
    fn told(outbox: &mut Outbox, now: Instant) -> Vec<String> {
        outbox.advance(now, usize::MAX);
        let mut told = Vec::new();
        while let Some(batch) = outbox.take() {
            let events: Vec<Value> = serde_json::from_str(&format!("[{}]", batch.text)).unwrap();
            told.extend(events.iter().map(|event| {
                let at = event["at"].as_u64().unwrap() - START;
                let (kind, user) = (event["type"].as_str().unwrap(), event["user"].as_str());
                format!("{} {kind} {} {at}", event["seq"], user.unwrap_or("-"))
            }));
            outbox.done(now);
        }
        told
    }

    /// Opens a user's only connection.
    fn open(outbox: &mut Outbox, user: &str, now: Instant) {
        outbox.opened(user, "", now, Duration::ZERO, || true);
    }

    #[test]
    fn an_online_event_is_sent_at_once_and_an_offline_event_after_five_seconds() {
        let (mut outbox, start) = outbox(&["online", "offline"], 1 << 20);
        open(&mut outbox, "A", start + SECOND);
        assert_eq!(told(&mut outbox, start + SECOND), ["1 online A 1000"]);
        outbox.closed("A", "", start + 2 * SECOND);
        assert_eq!(outbox.next_due(), Some(start + 7 * SECOND));
        assert_eq!(outbox.waited(outbox.clock), None);
        assert_eq!(told(&mut outbox, start + 6 * SECOND), [""; 0]);
        assert_eq!(told(&mut outbox, start + 7 * SECOND), ["2 offline A 2000"]);
    }

    #[test]
    fn a_user_who_reconnects_in_time_causes_no_event() {
        let (mut outbox, start) = outbox(&["online", "offline"], 1 << 20);
        for second in 0..20 {
            open(&mut outbox, "A", start + second * SECOND);
            outbox.closed("A", "", start + second * SECOND + SECOND / 2);
        }
        assert_eq!(told(&mut outbox, start + 23 * SECOND), ["1 online A 0"]);
        assert_eq!(told(&mut outbox, start + 25 * SECOND), ["2 offline A 19500"]);
    }

    #[test]
    fn a_user_who_comes_back_causes_an_online_event_if_a_listing_could_have_missed_the_user() {
        let (mut outbox, start) = outbox(&["online", "offline"], 1 << 20);
        open(&mut outbox, "A", start);
        assert_eq!(outbox.list(start + SECOND), (outbox.epoch().to_owned(), 1));
        // The user was away when the list was given out.
        outbox.closed("A", "", start + SECOND / 2);
        open(&mut outbox, "A", start + 2 * SECOND);
        assert_eq!(told(&mut outbox, start + 2 * SECOND), ["1 online A 0", "2 online A 2000"]);
        // The user left long after the list was given out.
        outbox.closed("A", "", start + 60 * SECOND);
        open(&mut outbox, "A", start + 61 * SECOND);
        assert_eq!(told(&mut outbox, start + 61 * SECOND), [""; 0]);
        // The list was given out while the only connection was closing; a closing connection counts
        // until it has gone.
        outbox.list(start + 70 * SECOND);
        for (is_only, expected) in [(false, &[][..]), (true, &["3 online A 74000"])] {
            let now = start + 74 * SECOND;
            outbox.opened("A", "", now, 5 * SECOND, || is_only);
            assert_eq!(told(&mut outbox, now), expected);
        }
    }

    #[test]
    fn an_offline_event_that_is_due_comes_before_later_events() {
        let (mut outbox, start) = outbox(&["online", "offline", "message"], 1 << 20);
        open(&mut outbox, "A", start);
        outbox.closed("A", "", start);
        let message = Event::Message { user: "B", device: "", to: None, frame: &[] };
        outbox.sent(&message, start + 5 * SECOND);
        open(&mut outbox, "A", start + 5 * SECOND);
        assert_eq!(
            told(&mut outbox, start + 5 * SECOND),
            ["1 online A 0", "2 offline A 0", "3 message B 5000", "4 online A 5000"]
        );
    }

    #[test]
    fn the_time_of_the_oldest_event_is_that_of_the_batch_on_its_way() {
        let (mut outbox, start) = outbox(&["online"], 1 << 20);
        let later = |outbox: &Outbox, seconds| {
            let unix = outbox.clock.unix + seconds * SECOND;
            outbox.waited(Clock { unix, ..outbox.clock })
        };
        open(&mut outbox, "A", start + SECOND);
        assert!(outbox.take().is_some());
        open(&mut outbox, "B", start + 3 * SECOND);
        assert_eq!(later(&outbox, 11), Some(10 * SECOND));
        outbox.done(start);
        assert_eq!(later(&outbox, 11), Some(8 * SECOND));
        assert_eq!(later(&outbox, 0), Some(Duration::ZERO), "the clock was set back");
    }

    #[test]
    fn only_the_chosen_types_of_events_are_sent() {
        let (mut outbox, start) = outbox(&["offline"], 1 << 20);
        open(&mut outbox, "A", start);
        outbox.closed("A", "", start);
        assert_eq!(told(&mut outbox, start + 5 * SECOND), ["1 offline A 0"]);
    }

    #[test]
    fn a_loss_of_events_is_reported_with_the_range_of_their_numbers() {
        let (mut outbox, start) = outbox(&["online", "offline"], 1_000);
        for user in 0..100 {
            open(&mut outbox, &format!("user-{user}"), start);
        }
        let kept = outbox.queue().events();
        assert!((5..20).contains(&kept), "{kept}");
        let told = told(&mut outbox, start + SECOND);
        assert_eq!(told.len(), kept + 1);
        assert_eq!(told[kept], "101 lost - 1000");
    }

    #[test]
    fn the_times_of_events_follow_a_clock_that_was_set() {
        let (mut outbox, start) = outbox(&["online"], 1 << 20);
        let unix = Duration::from_millis(START) + 100 * SECOND;
        outbox.set_clock(Clock { instant: start + 2 * SECOND, unix });
        open(&mut outbox, "A", start + SECOND);
        assert_eq!(told(&mut outbox, start + SECOND), ["1 online A 99000"]);
    }

    #[test]
    fn epochs_are_ordered_as_text() {
        let instant = Instant::now();
        let at = |millis| epoch(Clock { instant, unix: Duration::from_millis(millis) });
        assert_eq!((at(0), at(START)), ("00000000".into(), "loyw3v28".into()));
        assert!(at(START) < at(START + 1) && at(START + 1) < at(START * 3 / 2));
    }
}
