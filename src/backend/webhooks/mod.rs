//! Webhooks: what happens to users, told to the backend by signed requests.
//!
//! The loop puts events into the [`outbox`], which is bounded and never waits;
//! a thread of its own sends them, in order, each at least once. Between the two
//! is a lock that is held for a move. Must not know: sockets, frames.

mod config;
mod event;
pub(crate) mod outbox;
mod post;
pub(crate) mod queue;
mod sign;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::hub::Context;
use crate::relay::{Event, EventKind, Relay};

pub use config::{BadWebhook, WebhookConfig, WebhookEvents};
use outbox::Outbox;
use post::Poster;
use worker::{Backoff, Shared};

/// Tells a backend who is online and what users send; a [`Backend`](crate::Backend) is given
/// them, and has its relay tell them what happens. Clones are the same;
/// [stop](Webhooks::stop) one of them when the server has gone.
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
    shared: Arc<Shared>,
}

/// How the webhooks are doing. Totals only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookStats {
    /// Events that the backend has taken.
    pub delivered: u64,
    /// Events that did not fit into the queue, and that a `lost` tells of.
    pub dropped: u64,
    /// Requests that have to be repeated.
    pub failures: u64,
    /// Events that wait, or are on their way.
    pub waiting: usize,
    /// Bytes of those; at most `max_queue`.
    pub waiting_bytes: usize,
    /// How long ago the oldest of those happened.
    pub oldest: Option<Duration>,
    /// Whether the latest request has failed, and has to be repeated.
    pub failing: bool,
}

impl Webhooks {
    /// Starts the thread that sends, until it is [stopped](Webhooks::stop). Room to
    /// know so many users by name is reserved.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: WebhookConfig, users: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(Outbox::new(&config, users, worker::clock())));
        let events = config.events;
        let ours = Arc::clone(&shared);
        let send = move || {
            let backoff = Backoff::new(config.retry_min, config.retry_max);
            worker::run(&ours, &Poster::new(&config), backoff, &config.origin());
        };
        thread::Builder::new().name("webhooks".to_owned()).spawn(send)?;
        Ok(Webhooks { events, shared })
    }

    /// Sends what waits, for at most so long, and ends the thread. Returns how many
    /// events the backend has not taken: they are gone. Blocks; for when the
    /// server has stopped.
    pub fn stop(&self, within: Duration) -> usize {
        self.shared.close(within)
    }

    /// How it stands.
    pub fn stats(&self) -> WebhookStats {
        let state = self.shared.lock();
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

    /// The epoch, and the number of the latest event in it (0 before the first):
    /// what is known of users now is the sum of all events up to that one.
    pub fn position(&self) -> (String, u64) {
        let outbox = &self.shared.lock().outbox;
        (outbox.epoch().to_owned(), outbox.queue().last_seq())
    }

    /// Somebody is about to be told who is online, or a part of them. Returns the epoch and the
    /// number of the last event that this answer includes: who takes the answer, and then the
    /// events behind that one, knows who is online.
    pub(super) fn list(&self, now: Instant) -> (String, u64) {
        self.shared.lock().outbox.list(now)
    }

    /// Has a relay tell these webhooks what the backend wants to be told.
    pub(super) fn watch(&self, relay: Relay) -> Relay {
        let mut kinds: Vec<EventKind> = WebhookEvents::ALL.to_vec();
        kinds.retain(|&kind| self.events.has(kind));
        if self.events.has(EventKind::Online) || self.events.has(EventKind::Offline) {
            kinds.extend([EventKind::Opened, EventKind::Closed]);
        }
        let shared = Arc::clone(&self.shared);
        relay.with_watcher(&kinds, move |cx, event| tell(&shared, cx, event))
    }
}

fn tell(shared: &Shared, cx: &Context, event: &Event<'_>) {
    let now = cx.now();
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
