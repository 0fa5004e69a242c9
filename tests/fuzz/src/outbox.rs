//! The outbox of the webhooks, against a backend that records what it gets: every number arrives
//! once or is reported as lost, and in the end the backend knows which users are online.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longlink::backend::{WebhookConfig, WebhookEvents};
use longlink::fuzz::{Batch, Clock, Event, MAX_BATCH_EVENTS, Outbox};
use serde_json::Value;

use crate::input::Input;
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "outbox",
    run,
    branches: &[
        "online",
        "offline",
        "message",
        "undelivered",
        "lost",
        "sent again",
        "clock set back",
        "all arrived",
    ],
    words: &[],
};

const USERS: usize = 6;
/// How long a closing connection may take.
const CLOSING: Duration = Duration::from_secs(5);

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut config = WebhookConfig::new("http://backend/", &[7; 16]).expect("a URL and a secret");
    config.events = WebhookEvents::named(WebhookEvents::NAMES).expect("all events");
    config.max_queue = input.pick(&[300, 1_000, 5_000, 1 << 20]);
    config.offline_after = Duration::from_millis(input.pick(&[0, 5_000, 100, 60_000]));
    let most_users = input.pick(&[1, 3, 100]);
    let mut world = World::new(&config, most_users);
    while !input.is_empty() {
        world.step(&mut input);
        assert!(world.outbox.queue().bytes() <= config.max_queue, "the queue has a bound");
    }
    world.finish();
}

struct World {
    outbox: Outbox,
    now: Instant,
    unix: Duration,
    /// How many connections each user has.
    connections: [u32; USERS],
    /// The batch that the thread has taken and that has not arrived at the backend.
    in_flight: Option<Arc<Batch>>,
    backend: Backend,
}

/// A backend, and what it knows from the events.
#[derive(Default)]
struct Backend {
    online: HashMap<String, bool>,
    /// The number of the last event that has arrived or was reported as lost.
    last: u64,
    has_losses: bool,
}

impl World {
    fn new(config: &WebhookConfig, most_users: usize) -> Self {
        let (now, unix) = (Instant::now(), Duration::from_secs(1_700_000_000));
        World {
            outbox: Outbox::new(config, most_users, Clock { instant: now, unix }),
            now,
            unix,
            connections: [0; USERS],
            in_flight: None,
            backend: Backend::default(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(10) {
            0 | 1 => {
                let user = input.below(USERS);
                self.connections[user] += 1;
                let is_only = self.connections[user] == 1;
                self.outbox.opened(&name(user), "d", self.now, CLOSING, || is_only);
            }
            2 | 3 => {
                let user = input.below(USERS);
                if self.connections[user] > 0 {
                    self.connections[user] -= 1;
                    self.outbox.closed(&name(user), "d", self.now);
                }
            }
            4 => {
                let text = "x".repeat(usize::from(input.byte()) * 3);
                let frame = &[r#"{"message":""#, &text, "\"}"][..];
                let event = if input.flag() {
                    Event::Message { user: "u0", device: "", to: None, frame }
                } else {
                    Event::Undelivered { user: "u0", device: "d", to: "u1", frame }
                };
                self.outbox.sent(&event, self.now);
            }
            5 => drop(self.deliver(input.flag())),
            6 => {
                let passed = Duration::from_millis(input.u16().into());
                self.now += passed;
                self.unix += passed;
            }
            7 => {
                if input.below(8) == 0 {
                    reached("clock set back");
                    self.unix = self.unix.saturating_sub(Duration::from_secs(input.u16().into()));
                }
                self.outbox.set_clock(Clock { instant: self.now, unix: self.unix });
            }
            8 => self.outbox.advance(self.now, usize::from(input.byte())),
            _ => {
                let (_, last) = self.outbox.list(self.now);
                assert_eq!(last, self.outbox.queue().last_seq());
            }
        }
    }

    /// Lets the thread take a batch, which arrives or does not. Returns whether there was a batch.
    fn deliver(&mut self, arrives: bool) -> bool {
        let Some(batch) = self.outbox.take() else {
            assert!(self.in_flight.is_none(), "a batch is kept until it has arrived");
            return false;
        };
        if let Some(before) = &self.in_flight {
            reached("sent again");
            assert!(Arc::ptr_eq(before, &batch), "the same batch is sent again");
        }
        // A notice of a loss comes with the event after it.
        assert!(batch.events <= MAX_BATCH_EVENTS + 1);
        self.in_flight = Some(Arc::clone(&batch));
        if arrives {
            self.backend.read(&batch);
            self.in_flight = None;
            self.outbox.done(self.now);
        }
        true
    }

    /// Lets everything arrive. Users who have been gone for long enough are reported as offline.
    fn finish(mut self) {
        for _ in 0..3 {
            self.now += Duration::from_secs(100);
            self.outbox.advance(self.now, usize::MAX);
            while self.deliver(true) {}
        }
        let queue = self.outbox.queue();
        assert_eq!((queue.events(), queue.bytes()), (0, 0), "all that waited has arrived");
        if self.backend.last < queue.last_seq() {
            // The notice of these comes with the next event.
            assert!(queue.dropped() >= queue.last_seq() - self.backend.last);
            return;
        }
        if self.backend.has_losses {
            return;
        }
        reached("all arrived");
        for (user, connections) in self.connections.iter().enumerate() {
            let is_online = self.backend.online.get(&name(user)).copied().unwrap_or(false);
            assert_eq!(is_online, *connections > 0, "u{user} has {connections} connections");
        }
    }
}

fn name(user: usize) -> String {
    format!("u{user}")
}

impl Backend {
    fn read(&mut self, batch: &Batch) {
        let events: Vec<Value> =
            serde_json::from_str(&format!("[{}]", batch.text)).expect("a batch is JSON");
        assert_eq!(events.len(), batch.events);
        for event in &events {
            let seq = event["seq"].as_u64().expect("a number");
            let kind = event["type"].as_str().expect("a kind");
            if kind == "lost" {
                reached("lost");
                self.has_losses = true;
                let range = (event["from"].as_u64(), event["to"].as_u64());
                let (Some(from), Some(to)) = range else { panic!("a loss has a range: {event}") };
                assert_eq!(from, self.last + 1, "numbers between them were never told");
                assert!(to >= from);
                self.last = to;
            }
            self.last += 1;
            assert_eq!(seq, self.last, "a number is missing or comes twice");
            match kind {
                "online" => self.is_online(event, true),
                "offline" => self.is_online(event, false),
                "message" => reached("message"),
                "undelivered" => reached("undelivered"),
                "lost" => {}
                other => panic!("an event of the kind {other}"),
            }
        }
    }

    fn is_online(&mut self, event: &Value, online: bool) {
        reached(if online { "online" } else { "offline" });
        let user = event["user"].as_str().expect("a user");
        let before = self.online.insert(user.to_owned(), online);
        // After a listing a user may be told to be online again.
        assert!(online || self.has_losses || before == Some(true), "offline, and never online");
    }
}
