//! The backend's side of a server: a backend sends to users, asks who is online, and is told of
//! events.
//!
//! [`Backend`] is an extension of the [`Relay`], which asks it first for each request. This module
//! must not know sockets, frames and the clock.

pub(crate) mod api;
mod config;
mod key;
pub(crate) mod metrics;
mod nodes;
mod ops;
mod search;
pub(crate) mod webhooks;

use std::any::Any;

use crate::engine::Told;
use crate::hub::{Accept, ConnId, Context, Refused, Reject, Reply, Traced, Upgrade};
use crate::relay::{Extension, Page, Pushed, Relay, Session, TIMER_OF_HOUR, Unread};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use api::Api;
pub use config::BackendConfig;
pub use key::{ApiKey, KeyError};
pub use webhooks::{BadWebhook, WebhookConfig, WebhookEvents, WebhookStats, Webhooks};

/// The HTTP interface through which a backend uses a [`Relay`]; `docs/api.md` describes it.
///
/// The interface is on listeners with the tag [`Backend::LISTENER`] and, if there is a key, at
/// `/metrics` and below `/api/` on all other listeners. If there is no key, every client that can
/// reach such a listener may send as anyone, so only the backend must be able to reach it.
///
/// ```no_run
/// use longlink::backend::{Backend, BackendConfig};
/// use longlink::{Config, Listener, Relay, RelayConfig, Server};
///
/// let config = Config::default();
/// let clients = Listener::tcp("127.0.0.1:8080".parse().unwrap(), &config)?;
/// let backend = Listener::tcp("127.0.0.1:9090".parse().unwrap(), &config)?;
/// let listeners = vec![clients, backend.with_tag(Backend::LISTENER)];
/// let backend = Backend::new(BackendConfig::default());
/// let relay = Relay::new(RelayConfig::default()).with_backend(backend);
/// Server::new(listeners, config, relay)?.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Backend {
    api: Api,
}

impl Backend {
    /// The tag of listeners that are for the backend alone.
    pub const LISTENER: u8 = 1;

    /// Makes an interface, to be given to [a relay](Relay::with_backend).
    pub fn new(config: BackendConfig) -> Self {
        Backend { api: Api::new(config) }
    }

    /// Adds webhooks, which tell the backend what happens. The metrics then include the webhooks'
    /// numbers.
    pub fn with_webhooks(mut self, webhooks: Webhooks) -> Self {
        self.api.webhooks = Some(webhooks);
        self
    }

    /// Uses other keys from now on. A connection that has shown a key stays open, but each of its
    /// requests has to show one that is valid now. Without a key the interface is only on its own
    /// listeners, and open to every client that can reach them.
    pub fn set_keys(&mut self, keys: Vec<ApiKey>) {
        self.api.set_keys(keys);
    }

    /// Returns the webhooks, if there are any.
    pub fn webhooks(&self) -> Option<&Webhooks> {
        self.api.webhooks.as_ref()
    }

    /// Whether a request is for the interface, and not for the relay.
    fn is_ours(&self, cx: &Context, conn: ConnId, request: &Request<'_>) -> bool {
        let path = request.path();
        match cx.listener(conn) {
            Self::LISTENER => path != "/healthz",
            _ => {
                let api = path == "/metrics" || path == "/api" || path.starts_with("/api/");
                self.api.has_key() && (api || ops::has(path))
            }
        }
    }
}

impl Relay {
    /// Adds an interface for a backend to the relay. A second call replaces the first interface,
    /// but the webhooks of the first one are still told what happens.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.groups.members.limit(backend.api.max_memberships());
        let relay = match &backend.api.webhooks {
            Some(webhooks) => webhooks.watch(self),
            None => self,
        };
        relay.with_extension(Box::new(backend))
    }
}

impl Relay {
    /// Returns the interface that [`Relay::with_backend`] has added, to change its settings.
    pub fn backend(&mut self) -> Option<&mut Backend> {
        let extension: &mut dyn Any = self.extension_mut()?;
        extension.downcast_mut()
    }
}

impl Extension for Backend {
    fn on_upgrade(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        conn: ConnId,
        upgrade: &Upgrade<'_>,
    ) -> Option<Result<Accept<Session>, Reject>> {
        self.api.begin_hour(relay, cx);
        if !self.is_ours(cx, conn, upgrade) {
            return None;
        }
        let accept = self.api.admit_trace(cx, relay, conn, upgrade);
        Some(accept.map_err(|failure| Reject(failure.response())))
    }

    fn on_request(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Option<Reply> {
        self.api.begin_hour(relay, cx);
        if !self.is_ours(cx, conn, request) {
            return None;
        }
        Some(match ops::answer(request) {
            Some(page) => Reply::Now(page),
            None => self.api.answer(cx, relay, conn, request),
        })
    }

    fn on_refused(
        &mut self,
        cx: &Context,
        conn: ConnId,
        refused: &Refused<'_>,
    ) -> Option<Response> {
        let ours = match refused.request {
            Some(request) => self.is_ours(cx, conn, request),
            None => cx.listener(conn) == Self::LISTENER,
        };
        ours.then(|| Api::refused(refused))
    }

    fn on_tracer_open(&mut self, relay: &mut Relay, cx: &mut Context, conn: ConnId, user: &str) {
        self.api.traces.begin(relay, cx, conn, user);
    }

    fn on_tracer_close(&mut self, relay: &mut Relay, cx: &mut Context, conn: ConnId) {
        self.api.traces.end(relay, cx, conn);
    }

    fn on_timer(&mut self, relay: &mut Relay, cx: &mut Context, key: u32) {
        match key {
            TIMER_OF_HOUR => self.api.go_on_with_hour(relay, cx),
            _ => self.api.traces.go_on(relay, cx),
        }
    }

    fn on_kept(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        place: (u32, u32),
        state: Pushed,
        connections: u64,
    ) {
        self.api.complete(relay, cx, place, state, connections);
    }

    fn on_changed(&mut self, cx: &mut Context, request: u32, is_kept: bool) {
        self.api.complete_change(cx, request, is_kept);
    }

    fn on_blocked(&mut self, cx: &mut Context, request: u32, closed: Option<usize>) {
        self.api.complete_block(cx, request, closed);
    }

    fn on_noted(&mut self, relay: &mut Relay, cx: &mut Context, request: u32) {
        self.api.complete_note(relay, cx, request);
    }

    fn on_user(&mut self, cx: &Context, user: &str, is_open: bool) {
        self.api.note_user(cx, user, is_open);
    }

    fn on_history(&mut self, cx: &mut Context, request: u32, answer: Result<Page, Unread>) {
        self.api.complete_history(cx, request, answer);
    }

    fn on_told(&mut self, relay: &mut Relay, cx: &mut Context, told: Told) {
        self.api.hear(relay, cx, told);
    }

    fn on_trace(&mut self, relay: &mut Relay, cx: &mut Context, events: &[Traced], missed: u64) {
        self.api.traces.tell(relay, cx, events, missed);
    }
}
