//! The business behind a server: its backend sends to users and asks who is online.
//!
//! [`Backend`] wraps the [`Relay`]: what clients do goes straight through, requests for
//! the interface are answered here. Must not know: sockets, frames, the clock.

pub(crate) mod api;
mod config;
mod key;
mod members;
pub(crate) mod metrics;
mod ops;
pub(crate) mod webhooks;

use crate::hub::{Accept, ConnId, Context, Handler, Refused, Reject, Reply, Traced, Upgrade};
use crate::relay::{Observer, Relay, Session};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;

use api::Api;
pub use config::BackendConfig;
pub use key::{ApiKey, KeyError};
pub use webhooks::{BadWebhook, WebhookConfig, WebhookEvents, WebhookStats, Webhooks};

/// A [`Relay`] that a backend can talk to, over HTTP: see `docs/api.md`.
///
/// Requests are taken on listeners with the tag [`Backend::LISTENER`] and, if there is a
/// key, at `/metrics` and below `/api/` on all others. Without a key whoever reaches such a listener may
/// send as anyone: it has to be one that only the backend can reach.
///
/// ```no_run
/// use longlink::backend::{Backend, BackendConfig};
/// use longlink::{Config, Listener, Relay, RelayConfig, Server};
///
/// let config = Config::default();
/// let clients = Listener::tcp("127.0.0.1:8080".parse().unwrap(), &config)?;
/// let backend = Listener::tcp("127.0.0.1:9090".parse().unwrap(), &config)?;
/// let listeners = vec![clients, backend.with_tag(Backend::LISTENER)];
/// let relay = Relay::new(RelayConfig::default());
/// Server::new(listeners, config, Backend::new(relay, BackendConfig::default()))?.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Backend<O = ()> {
    relay: Relay<O>,
    api: Api,
}

impl Backend {
    /// The tag of listeners that are for the backend alone.
    pub const LISTENER: u8 = LISTENER;
}

const LISTENER: u8 = 1;

impl<O: Observer> Backend<O> {
    /// A relay with an interface for its backend.
    pub fn new(relay: Relay<O>, config: BackendConfig) -> Self {
        Backend { relay, api: Api::new(config) }
    }

    /// Has the metrics tell how these webhooks are doing.
    pub fn with_webhooks(mut self, webhooks: Webhooks) -> Self {
        self.api.watch(webhooks);
        self
    }

    /// The relay, to send from and to look at.
    pub fn relay(&mut self) -> &mut Relay<O> {
        &mut self.relay
    }

    /// Whether a request is for the interface, and not for the relay.
    fn is_ours(&self, cx: &Context, conn: ConnId, request: &Request<'_>) -> bool {
        let path = request.path();
        match cx.listener(conn) {
            LISTENER => path != "/healthz",
            _ => {
                let api = path == "/metrics" || path == "/api" || path.starts_with("/api/");
                self.api.has_key() && (api || ops::has(path))
            }
        }
    }
}

impl<O: Observer> Handler for Backend<O> {
    type Session = Session;
    type Event = ();

    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Session>, Reject> {
        if self.is_ours(cx, conn, &upgrade) {
            let accept = self.api.admit_trace(cx, &self.relay, conn, &upgrade);
            return accept.map_err(|failure| Reject(failure.response()));
        }
        self.relay.on_upgrade(cx, conn, upgrade)
    }

    fn on_request(&mut self, cx: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        if self.is_ours(cx, conn, request) {
            match ops::answer(request) {
                Some(page) => Reply::Now(page),
                None => self.api.answer(cx, &mut self.relay, conn, request),
            }
        } else {
            self.relay.on_request(cx, conn, request)
        }
    }

    fn on_refused(&mut self, cx: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        let ours = match refused.request {
            Some(request) => self.is_ours(cx, conn, request),
            None => cx.listener(conn) == LISTENER,
        };
        if ours { Api::refused(&refused) } else { self.relay.on_refused(cx, conn, refused) }
    }

    #[inline]
    fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: &mut Session) {
        if self.api.traces.open(cx, conn, session) {
            return;
        }
        self.relay.on_open(cx, conn, session);
        self.api.on_open(cx, conn);
    }

    #[inline(always)]
    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Session,
        message: Message<'_>,
    ) {
        self.relay.on_message(cx, conn, session, message);
    }

    #[inline]
    fn on_drain(&mut self, cx: &mut Context, conn: ConnId, session: &mut Session) {
        self.relay.on_drain(cx, conn, session);
    }

    #[inline]
    fn on_close(&mut self, cx: &mut Context, conn: ConnId, session: Session, reason: &CloseReason) {
        if !self.api.traces.close(cx, conn) {
            self.relay.on_close(cx, conn, session, reason);
        }
    }

    #[inline]
    fn on_turned_away(&mut self, cx: &mut Context, session: Session) {
        self.relay.on_turned_away(cx, session);
    }

    #[inline]
    fn on_closing(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Session,
        reason: &CloseReason,
    ) {
        self.relay.on_closing(cx, conn, session, reason);
    }

    #[inline]
    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        self.relay.on_timer(cx, key);
    }

    #[inline]
    fn on_event(&mut self, cx: &mut Context, event: ()) {
        self.relay.on_event(cx, event);
    }

    fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64) {
        self.api.traces.tell(cx, events, missed);
    }
}
