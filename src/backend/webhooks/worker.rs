//! The thread that sends. It sends one batch at a time, and repeats it until it has arrived. This
//! is the only part of the webhooks that waits, and that reads a clock.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::config::{LONGEST, WebhookConfig};
use super::outbox::{Clock, Outbox};
use super::post::Post;
use super::queue::Batch;
use super::relayed::{Exchange, Relayed};

/// How many users who are due to be offline are handled while the lock is held, so that the loop
/// can use the outbox in between.
const DUE: usize = 256;
/// If the thread wakes this much later than it wanted to, the process was stopped.
const ABSENCE: Duration = Duration::from_secs(5);
/// After this many failures in a row there is a warning. One failure alone is usual: the backend
/// may close a kept connection at the moment of a request.
const WARN_AFTER: u32 = 2;

/// The data that the loop and the thread share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// Notified when the thread has something to do, or has ended.
    changed: Condvar,
}

#[derive(Debug)]
pub struct State {
    pub outbox: Outbox,
    /// The events that all nodes share; `None` if the server is alone.
    pub exchange: Option<Exchange>,
    /// Whether the thread sleeps because there is nothing to do. It sleeps until a user is due to
    /// be offline, if there is such a user.
    idle: bool,
    until: Option<Instant>,
    /// Set when the webhooks are stopped; the thread tries to send until this time.
    closing: Option<Instant>,
    ended: bool,
    pub delivered: u64,
    pub failures: u64,
    /// Whether the latest request has failed.
    pub failing: bool,
    /// Other settings, which the thread takes before its next request.
    pub changed: Option<WebhookConfig>,
}

impl State {
    /// Notices an absence of the process. The thread sleeps until a user is due to be offline; if
    /// the thread, or the loop, finds that this time is long past, the process was stopped or the
    /// machine suspended. Users who were due to be offline may have come back meanwhile: their
    /// connections may wait to be accepted.
    fn note_absence(&mut self, now: Instant) {
        let sleeps_until = self.until.filter(|_| self.idle);
        if sleeps_until.is_some_and(|until| now >= until + ABSENCE) {
            self.outbox.come_back(now);
            self.until = self.outbox.next_due();
        }
    }
}

/// Returns the time now.
pub fn clock() -> Clock {
    // A clock before 1970 has never been set.
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Clock { instant: Instant::now(), unix }
}

impl Shared {
    pub fn new(outbox: Outbox) -> Self {
        let state = State {
            outbox,
            exchange: None,
            idle: false,
            until: None,
            closing: None,
            ended: false,
            delivered: 0,
            failures: 0,
            failing: false,
            changed: None,
        };
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Locks the state. The lock is held only to read the state or to move events, never while the
    /// caller waits. If the thread panics, the state is consistent, because the thread does not
    /// hold the lock while it sends.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the outbox, and wakes the thread if it has to do something now.
    pub fn change(&self, now: Instant, change: impl FnOnce(&mut Outbox)) {
        let mut state = self.lock();
        state.note_absence(now);
        change(&mut state.outbox);
        let has_work = state.outbox.queue().events() > 0
            || (state.until.is_none() && state.outbox.next_due().is_some());
        if state.idle && has_work {
            state.idle = false;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Uses the exchange with other nodes, and wakes the thread if it has to do something. Returns false if
    /// there are no other nodes.
    pub fn exchange(&self, act: impl FnOnce(&mut Exchange)) -> bool {
        let mut state = self.lock();
        let Some(exchange) = &mut state.exchange else { return false };
        act(exchange);
        let has_work = exchange.has_work();
        if state.idle && has_work {
            state.idle = false;
            drop(state);
            self.changed.notify_all();
        }
        true
    }

    /// Uses other settings from the next request on. A pause after a failure ends, because the
    /// settings may be what had to be changed.
    pub fn set_config(&self, config: WebhookConfig) {
        let mut state = self.lock();
        state.outbox.set_bound(config.max_queue);
        state.changed = Some(config);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns other settings, if there are some since the last call.
    fn take_changed(&self) -> Option<WebhookConfig> {
        self.lock().changed.take()
    }

    /// Makes the thread send the events that wait, within this time, and end. Returns how many
    /// events were left.
    pub fn close(&self, within: Duration) -> usize {
        let until = Instant::now() + within.min(LONGEST);
        let mut state = self.lock();
        state.closing = Some(until);
        self.changed.notify_all();
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.wait(state, Some(left));
        }
        state.outbox.queue().events()
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        most: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match most {
            Some(most) => {
                let waited = self.changed.wait_timeout(state, most);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Waits for the next batch and returns it; `None` if there will be no more.
    fn next(&self) -> Option<Sending> {
        loop {
            let mut state = self.lock();
            let clock = clock();
            state.outbox.set_clock(clock);
            state.outbox.advance(clock.instant, DUE);
            if let Some(relayed) = state.exchange.as_ref().and_then(Exchange::first) {
                return Some(Sending::Relayed(relayed));
            }
            if let Some(batch) = state.outbox.take() {
                return Some(Sending::Own(batch));
            }
            if state.closing.is_some() {
                return None;
            }
            state.until = state.outbox.next_due();
            let most = state.until.map(|until| until.saturating_duration_since(clock.instant));
            state.idle = true;
            let mut state = self.wait(state, most);
            state.note_absence(Instant::now());
            state.idle = false;
        }
    }

    /// Waits before the next attempt. Returns false if there is no time for one. While the webhooks
    /// are being stopped, the wait is `hurried` at most.
    fn pause(&self, wait: Duration, hurried: Duration) -> bool {
        let mut until = Instant::now() + wait;
        let mut is_hurried = false;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(end) = state.closing {
                if now >= end {
                    return false;
                }
                if !is_hurried {
                    until = until.min(now + hurried);
                    is_hurried = true;
                }
            }
            if now >= until || state.changed.is_some() {
                return true;
            }
            state = self.wait(state, Some(until - now));
        }
    }

    fn delivered(&self, sending: &Sending) {
        let mut state = self.lock();
        state.delivered += sending.batch().events as u64;
        state.failing = false;
        match (sending, &mut state.exchange) {
            (Sending::Relayed(relayed), Some(exchange)) => exchange.done(relayed),
            _ => state.outbox.done(Instant::now()),
        }
    }
}

/// The events of one request.
enum Sending {
    /// Events of this server, which is alone.
    Own(Arc<Batch>),
    /// Events that all nodes share.
    Relayed(Relayed),
}

impl Sending {
    fn batch(&self) -> &Batch {
        match self {
            Sending::Own(batch) => batch,
            Sending::Relayed(relayed) => &relayed.batch,
        }
    }
}

/// The shortest pause between two attempts; no setting makes it shorter.
const SHORTEST: Duration = Duration::from_millis(1);

/// The pauses between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration) -> Self {
        let (min, max) = (min.clamp(SHORTEST, LONGEST), max.clamp(SHORTEST, LONGEST));
        Backoff { min, max, next: min.min(max) }
    }

    /// Returns the pause after a failure: twice the pause before. Half of it is random, so that
    /// several servers do not come back to a backend at the same moment.
    fn wait(&mut self, random: u8) -> Duration {
        let wait = self.next / 2 + self.next / 2 * u32::from(random) / 255;
        self.next = self.next.saturating_mul(2).min(self.max);
        wait
    }

    fn reset(&mut self) {
        *self = Backoff::new(self.min, self.max);
    }
}

/// Sends until [`Shared::close`] is called. A panic is a bug, but the thread goes on, because the
/// batch is still there.
pub fn run<P: Post>(shared: &Shared, config: WebhookConfig, make: impl Fn(&WebhookConfig) -> P) {
    let mut config = config;
    loop {
        let backoff = Backoff::new(config.retry_min, config.retry_max);
        let sending = AssertUnwindSafe(|| deliver(shared, &mut config, &make));
        if panic::catch_unwind(sending).is_ok() {
            break;
        }
        log::error!("webhooks: the thread that sends has panicked, and goes on");
        if !shared.pause(backoff.max.min(PANICKED), backoff.min) {
            break;
        }
    }
    shared.lock().ended = true;
    shared.changed.notify_all();
}

/// The longest rest of the thread after a panic.
const PANICKED: Duration = Duration::from_secs(1);

fn deliver<P: Post>(
    shared: &Shared,
    config: &mut WebhookConfig,
    make: &impl Fn(&WebhookConfig) -> P,
) {
    let mut post = make(config);
    let mut origin = config.origin();
    let mut backoff = Backoff::new(config.retry_min, config.retry_max);
    let random = ring::rand::SystemRandom::new();
    let epoch = shared.lock().outbox.epoch().to_owned();
    let mut failures = 0_u32;
    while let Some(sending) = shared.next() {
        if let Some(changed) = shared.take_changed() {
            *config = changed;
            (post, origin) = (make(config), config.origin());
            backoff = Backoff::new(config.retry_min, config.retry_max);
        }
        let batch = sending.batch();
        let epoch = match &sending {
            Sending::Own(_) => &*epoch,
            Sending::Relayed(relayed) => &*relayed.epoch,
        };
        let body = format!(r#"{{"epoch":"{epoch}","events":[{}]}}"#, batch.text);
        match post.post(clock().unix.as_secs(), &body) {
            Ok(()) => {
                shared.delivered(&sending);
                if failures >= WARN_AFTER {
                    log::info!(
                        event = "webhook_accepted", origin:%, count = failures;
                        "webhooks: {origin} accepts events again, after {failures} failures"
                    );
                }
                failures = 0;
                backoff.reset();
            }
            Err(failure) => {
                failures = failures.saturating_add(1);
                let random = ring::rand::generate::<[u8; 1]>(&random);
                let wait = backoff.wait(random.map_or(255, |random| random.expose()[0]));
                let (waiting, dropped) = {
                    let mut state = shared.lock();
                    state.failures += 1;
                    state.failing = true;
                    match &state.exchange {
                        Some(exchange) => (exchange.waiting().0, 0),
                        None => (state.outbox.queue().events(), state.outbox.queue().dropped()),
                    }
                };
                let level =
                    if failures >= WARN_AFTER { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    event = "webhook_failed", origin:%, count = failures, error:% = failure,
                    events = batch.events, seconds = wait.as_secs_f64(), waiting, dropped;
                    "webhooks: {origin} has not accepted {} events from number {} on: {failure}; next \
                     attempt in {:.1} s, {waiting} events wait, {dropped} were dropped",
                    batch.events,
                    batch.first,
                    wait.as_secs_f64()
                );
                if !shared.pause(wait, backoff.min) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::config::WebhookConfig;
    use super::super::post::Failure;
    use super::*;

    /// The result of a request in a test.
    #[derive(Clone, Copy)]
    enum Fate {
        Arrives,
        Fails,
        Panics,
    }

    /// A backend with planned results for its first requests; it accepts later ones.
    struct Plan {
        fates: Mutex<std::vec::IntoIter<Fate>>,
        bodies: Sender<String>,
    }

    impl Post for Plan {
        fn post(&self, _: u64, body: &str) -> Result<(), Failure> {
            let fate = self.fates.lock().unwrap().next().unwrap_or(Fate::Arrives);
            match fate {
                Fate::Panics => panic!("as planned"),
                Fate::Fails => return Err(Failure::Status(500)),
                Fate::Arrives => {}
            }
            self.bodies.send(body.to_owned()).unwrap();
            Ok(())
        }
    }

    impl<P: Post> Post for Arc<P> {
        fn post(&self, timestamp: u64, body: &str) -> Result<(), Failure> {
            (**self).post(timestamp, body)
        }
    }

    fn start(fates: Vec<Fate>) -> (Arc<Shared>, Receiver<String>) {
        let mut config = WebhookConfig::new("http://backend/", &[7; 16]).unwrap();
        let shared = Arc::new(Shared::new(Outbox::new(&config, 10, clock())));
        let (bodies, arrived) = channel();
        let plan = Arc::new(Plan { fates: Mutex::new(fates.into_iter()), bodies });
        let ours = Arc::clone(&shared);
        config.retry_min = Duration::from_millis(1);
        config.retry_max = Duration::from_millis(4);
        std::thread::spawn(move || run(&ours, config, |_| Arc::clone(&plan)));
        (shared, arrived)
    }

    const DEADLINE: Duration = Duration::from_secs(20);

    fn online(shared: &Shared, user: &str) {
        let opened = |outbox: &mut Outbox| {
            outbox.opened(user, "", Instant::now(), Duration::ZERO, || true);
        };
        shared.change(Instant::now(), opened);
    }

    /// The loop and the thread can both notice an absence; in this test it is the loop.
    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count_until_a_user_is_offline() {
        let mut config = WebhookConfig::new("http://backend/", &[7; 16]).unwrap();
        config.offline_after = Duration::from_secs(7);
        let shared = Shared::new(Outbox::new(&config, 10, clock()));
        let start = Instant::now();
        let open = |user: &'static str, now: Instant| {
            shared.change(now, |it| it.opened(user, "", now, Duration::ZERO, || true));
        };
        let close = |user: &'static str, now: Instant| {
            shared.change(now, |it| it.closed(user, "", now));
        };
        let told = || shared.lock().outbox.queue().events();
        for user in ["A", "B"] {
            open(user, start);
            close(user, start);
        }
        assert_eq!(told(), 2, "both were online");
        // The thread sleeps until a user is due, and then the process is stopped for a minute.
        let mut state = shared.lock();
        (state.idle, state.until) = (true, state.outbox.next_due());
        drop(state);
        let later = start + Duration::from_secs(67);
        open("C", later);
        assert_eq!(told(), 3, "C is online, and nobody is offline");
        open("A", later + Duration::from_secs(1));
        assert_eq!(told(), 3, "A was never away");
        // B's waiting time has begun anew.
        open("C", later + Duration::from_millis(6_900));
        assert_eq!(told(), 3);
        open("C", later + Duration::from_secs(7));
        assert_eq!(told(), 4, "B is offline");
    }

    fn user_of(body: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["events"][0]["user"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_batch_that_fails_is_sent_again_and_a_panic_loses_no_event() {
        use Fate::{Fails, Panics};
        let (shared, arrived) = start(vec![Panics, Fails, Fails, Panics, Fails]);
        for user in ["A", "B", "C"] {
            online(&shared, user);
            assert_eq!(user_of(&arrived.recv_timeout(DEADLINE).unwrap()), user);
        }
        assert_eq!(shared.close(DEADLINE), 0);
        let state = shared.lock();
        assert_eq!((state.delivered, state.failures), (3, 3));
    }

    #[test]
    fn a_server_that_stops_sends_the_waiting_events_and_gives_up_in_time() {
        let (shared, arrived) = start(vec![Fate::Fails; 3]);
        online(&shared, "A");
        assert_eq!(shared.close(DEADLINE), 0);
        assert_eq!(user_of(&arrived.recv_timeout(DEADLINE).unwrap()), "A");

        let (shared, _arrived) = start(vec![Fate::Fails; 100_000]);
        online(&shared, "A");
        assert_eq!(shared.close(Duration::from_millis(50)), 1);
    }

    #[test]
    fn the_time_between_tries_doubles_up_to_its_bound() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(60));
        let mut backoff = Backoff::new(min, max);
        let longest: Vec<_> = (0..9).map(|_| backoff.wait(255).as_millis()).collect();
        assert_eq!(longest, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        backoff.reset();
        assert_eq!(backoff.wait(0), min / 2);

        let mut extreme = Backoff::new(Duration::ZERO, Duration::MAX);
        assert_eq!(extreme.wait(255), SHORTEST);
        for _ in 0..100 {
            assert!(extreme.wait(255) <= LONGEST);
        }
    }
}
