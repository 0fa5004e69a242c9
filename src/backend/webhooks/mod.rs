//! Webhooks: signed requests that tell the backend what happens to users.
//!
//! The loop puts events into the [`outbox`], which is bounded and never waits. A separate thread
//! sends the events in order, each at least once. The two share a lock, which is held only while
//! events are moved. This module must not know sockets and frames.

mod config;
pub(crate) mod outbox;
mod post;
mod presence;
pub(crate) mod queue;
mod relayed;
mod sign;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Told};
use crate::hub::Context;
use crate::relay::{Event, EventKind, Relay};

pub use config::{BadWebhook, WebhookConfig, WebhookEvents};
use outbox::Outbox;
use post::Poster;
use relayed::Exchange;
use worker::Shared;

/// Tells a backend who is online and what users send. Give the webhooks to a
/// [`Backend`](crate::backend::Backend). All clones share one queue and one thread; call
/// [`stop`](Webhooks::stop) on one of them when the server has ended.
///
/// ```no_run
/// use longlink::backend::{Backend, BackendConfig, WebhookConfig, Webhooks};
/// use longlink::{Config, Relay, RelayConfig, Server};
/// use std::time::Duration;
///
/// let hook = WebhookConfig::new("http://127.0.0.1:5000/longlink", b"a secret of the two").unwrap();
/// let config = Config::default();
/// let webhooks = Webhooks::start(hook, config.max_connections)?;
/// let backend = Backend::new(BackendConfig::default()).with_webhooks(webhooks.clone());
/// let relay = Relay::new(RelayConfig::default()).with_backend(backend);
/// Server::bind("127.0.0.1:8080", config, relay)?.run()?;
/// let left = webhooks.stop(Duration::from_secs(5));
/// # let _ = left;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Webhooks {
    events: WebhookEvents,
    /// The most bytes of events that wait.
    most: usize,
    shared: Arc<Shared>,
}

/// The state of the webhooks. Totals only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookStats {
    /// Events that the backend has accepted.
    pub delivered: u64,
    /// Events that did not fit into the queue; a `lost` event reports them.
    pub dropped: u64,
    /// Requests that failed and had to be repeated.
    pub failures: u64,
    /// Events that wait, or are being sent.
    pub waiting: usize,
    /// Bytes of the events that wait; at most `max_queue`.
    pub waiting_bytes: usize,
    /// How long ago the oldest waiting event happened.
    pub oldest: Option<Duration>,
    /// Whether the latest request has failed, and has to be repeated.
    pub failing: bool,
}

impl Webhooks {
    /// Starts the thread that sends, until [`stop`](Webhooks::stop) is called. Reserves room for
    /// the names of `users` users.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(config: WebhookConfig, users: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(Outbox::new(&config, users, worker::clock())));
        let (events, most) = (config.events, config.max_queue);
        let ours = Arc::clone(&shared);
        let send = move || {
            worker::run(&ours, config, Poster::new);
        };
        thread::Builder::new().name("webhooks".to_owned()).spawn(send)?;
        Ok(Webhooks { events, most, shared })
    }

    /// Shares the events with other nodes, which this engine connects: one of the nodes tells the backend, and
    /// the engine numbers the events. To be called before a relay gets the [`Backend`](crate::backend::Backend).
    pub fn with_engine(self, engine: Box<dyn Engine>) -> Self {
        let exchange = Exchange::new(engine, self.events, self.most);
        self.shared.lock().exchange = Some(exchange);
        self
    }

    /// Handles what the engine tells of events.
    pub(super) fn hear(&self, told: &Told) {
        self.shared.exchange(|exchange| exchange.hear(told));
    }

    /// Uses another URL, another secret, other authorities, other times and another bound of the
    /// queue, from the next request on. Events that wait are kept, and a request that has failed is
    /// repeated at once. [`WebhookConfig::events`] and [`WebhookConfig::offline_after`] stay as they
    /// were; the bound of a queue that nodes share does, too.
    pub fn set_config(&self, config: WebhookConfig) {
        self.shared.set_config(config);
    }

    /// Sends the events that wait, for at most the time `within`, and ends the thread. Returns how
    /// many events the backend has not accepted; they are lost. This function blocks, so call it
    /// when the server has stopped.
    pub fn stop(&self, within: Duration) -> usize {
        self.shared.close(within)
    }

    /// Returns the state of the webhooks.
    pub fn stats(&self) -> WebhookStats {
        let state = self.shared.lock();
        if let Some(exchange) = &state.exchange {
            let (waiting, waiting_bytes, since) = exchange.waiting();
            let now = worker::clock().unix;
            return WebhookStats {
                delivered: state.delivered,
                dropped: 0,
                failures: state.failures,
                waiting,
                waiting_bytes,
                oldest: since.map(|at| now.saturating_sub(Duration::from_millis(at))),
                failing: state.failing,
            };
        }
        let queue = state.outbox.queue();
        WebhookStats {
            delivered: state.delivered,
            dropped: queue.dropped(),
            failures: state.failures,
            waiting: queue.events(),
            waiting_bytes: queue.bytes(),
            oldest: state.outbox.waited(worker::clock()),
            failing: state.failing,
        }
    }

    /// Returns the epoch, and the number of the latest event in it (0 before the first event). All
    /// events up to this number together say who is online now.
    pub fn position(&self) -> (String, u64) {
        let outbox = &self.shared.lock().outbox;
        (outbox.epoch().to_owned(), outbox.queue().last_seq())
    }

    /// Called before an answer that lists users who are online, or some of them. Returns the epoch
    /// and the number of the last event that the answer includes: a backend that takes the answer,
    /// and then the events after this number, knows who is online.
    pub(super) fn list(&self, now: Instant) -> (String, u64) {
        self.shared.lock().outbox.list(now)
    }

    /// Makes a relay tell these webhooks of the events that the backend wants.
    pub(super) fn watch(&self, relay: Relay) -> Relay {
        let mut kinds: Vec<EventKind> = WebhookEvents::ALL.to_vec();
        kinds.retain(|&kind| self.events.has(kind));
        if self.events.has(EventKind::Online) || self.events.has(EventKind::Offline) {
            kinds.extend([EventKind::Opened, EventKind::Closed]);
        }
        let shared = Arc::clone(&self.shared);
        let is_of_nodes = shared.lock().exchange.is_some();
        let watcher = move |cx: &Context, event: &Event<'_>| tell(&shared, cx, event);
        match is_of_nodes {
            true => relay.with_watcher_of_nodes(&kinds, watcher),
            false => relay.with_watcher(&kinds, watcher),
        }
    }
}

fn tell(shared: &Shared, cx: &Context, event: &Event<'_>) {
    let now = cx.now();
    if shared.exchange(|exchange| exchange.tell(event, cx.unix_millis())) {
        return;
    }
    match *event {
        Event::Opened { user: "", .. } | Event::Closed { user: "", .. } => {}
        Event::Opened { user, device, .. } => shared.change(now, |outbox| {
            let is_only = || cx.connections_of(user).len() == 1;
            outbox.opened(user, device, now, cx.config().close_timeout, is_only);
        }),
        Event::Closed { user, device, .. } => {
            shared.change(now, |outbox| outbox.closed(user, device, now));
        }
        _ => shared.change(now, |outbox| outbox.sent(event, now)),
    }
}
