//! The mini-program protocol: the default [`Handler`].
//!
//! Speaks v1, the published page's dialect, at `/websocket/{userId}`. Must not
//! know: sockets, frames, clocks. This is the only layer that touches JSON.

mod config;
mod door;
mod fields;
pub(crate) mod json;
mod observer;
mod page;
mod v1;

use crate::conn::close::CloseReason;
use crate::conn::decode::Message;
use crate::conn::head::Request;
use crate::hub::{Accept, ConnId, Handler, Hub, Printable, Reject, Reply, Upgrade};

pub use config::RelayConfig;
pub use observer::Observer;
use v1::{Body, Meaning};

/// Totals of what the relay did with messages. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// One-to-one messages handed to at least one connection.
    pub delivered: u64,
    /// One-to-one messages to users who were offline: dropped.
    pub offline: u64,
    /// Broadcasts.
    pub broadcasts: u64,
    /// Broadcasts refused because clients may not send them.
    pub forbidden: u64,
    /// Frames that mean nothing.
    pub ignored: u64,
}

/// Serves the published mini-program page: heartbeats, one-to-one and group
/// messages between the users who are online.
///
/// Delivery is at most once, to whoever is online; messages from one
/// connection to one recipient arrive in the order sent. It takes a user's id
/// from the path `/websocket/{userId}` and does not ask for proof.
///
/// An [`Observer`] is told what happens in it; by default there is none.
#[derive(Debug)]
pub struct Relay<O = ()> {
    config: RelayConfig,
    counters: Counters,
    /// Where outgoing messages are put together.
    scratch: String,
    observer: O,
}

/// A scratch buffer that has grown larger is given back.
const SCRATCH: usize = 64 * 1024;

impl Relay {
    /// A relay with these settings.
    pub fn new(config: RelayConfig) -> Self {
        Self::with_observer(config, ())
    }
}

impl<O: Observer> Relay<O> {
    /// A relay with these settings that tells `observer` what happens.
    pub fn with_observer(config: RelayConfig, observer: O) -> Self {
        Relay { config, counters: Counters::default(), scratch: String::new(), observer }
    }

    /// Running totals.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sends a message from the server to a user, in the protocol's envelope:
    /// `{"type":"message","formUserId":from,"toUserId":to,"message":message}`.
    /// `from` and `to` are escaped; `message` is JSON text, which is not
    /// checked. Returns to how many devices; 0 when the user is offline. From
    /// outside a callback, the loop has to tick afterwards.
    ///
    /// ```
    /// # use longlink::{Config, Hub, Relay, RelayConfig};
    /// # let mut hub = Hub::new(Config::default(), std::time::Instant::now());
    /// let mut relay = Relay::new(RelayConfig::default());
    /// let devices = relay.push(&mut hub, "orders", "alice", r#""your order is ready""#);
    /// assert_eq!(devices, 0); // nobody is online
    /// assert_eq!(relay.counters().offline, 1);
    /// ```
    pub fn push(&mut self, hub: &mut Hub, from: &str, to: &str, message: &str) -> usize {
        self.scratch.clear();
        json::escape(from, &mut self.scratch);
        // Who pushes is told by the result; the observer hears of clients alone.
        self.deliver(hub, to, Body::Message(message), |_, _, _, _| ())
    }

    /// Sends a message from the user whose id, escaped, is in `scratch`. Returns to
    /// how many devices, after `tell` was told so, with the frame.
    #[inline]
    fn deliver(
        &mut self,
        hub: &mut Hub,
        to: &str,
        body: Body<'_>,
        tell: impl FnOnce(&mut O, &Hub, &[&str], usize),
    ) -> usize {
        let devices = match body {
            Body::Tail(tail) => {
                let frame = v1::envelope_of_tail(&self.scratch, tail);
                let devices = hub.send_pieces_to_user(to, &frame);
                tell(&mut self.observer, hub, &frame, devices);
                devices
            }
            Body::Message(message) => {
                let end = self.scratch.len();
                json::escape(to, &mut self.scratch);
                let (from, escaped) = self.scratch.split_at(end);
                let frame = v1::envelope(from, escaped, message);
                let devices = hub.send_pieces_to_user(to, &frame);
                tell(&mut self.observer, hub, &frame, devices);
                devices
            }
        };
        match devices {
            0 => self.counters.offline += 1,
            _ => self.counters.delivered += 1,
        }
        devices
    }

    #[inline(always)]
    fn handle_text(&mut self, hub: &mut Hub, conn: ConnId, text: &str) {
        if v1::is_ping(text) {
            hub.send_text(conn, v1::PONG);
        } else {
            self.handle_frame(hub, conn, text);
        }
    }

    #[inline(never)]
    fn handle_frame(&mut self, hub: &mut Hub, conn: ConnId, text: &str) {
        let meaning = v1::meaning(text);
        if let Meaning::Ping = meaning {
            hub.send_text(conn, v1::PONG);
            return;
        }
        // A message shows that somebody uses this connection; a heartbeat
        // does not, and bytes that were in flight do not either.
        hub.reclaim(conn);
        self.scratch.clear();
        let Some(from) = hub.user(conn) else { return };
        match meaning {
            Meaning::Ping => {}
            Meaning::Ignored => self.counters.ignored += 1,
            Meaning::ToUser { to, body } => {
                json::escape(from, &mut self.scratch);
                self.deliver(hub, &to, body, |observer, hub, frame, devices| {
                    observer.on_message(hub, conn, Some(&to), frame);
                    if devices == 0 {
                        observer.on_undelivered(hub, conn, &to, frame);
                    }
                });
            }
            Meaning::Object { .. } | Meaning::Text(_) if !self.config.broadcast => {
                self.forbid(hub, conn)
            }
            Meaning::Object { text, rename } => {
                if v1::write_object(&mut self.scratch, from, text, rename).is_ok() {
                    self.broadcast(hub, conn);
                }
            }
            Meaning::Text(text) => {
                v1::write_text(&mut self.scratch, from, text);
                self.broadcast(hub, conn);
            }
        }
        self.scratch.shrink_to(SCRATCH);
    }

    fn broadcast(&mut self, hub: &mut Hub, conn: ConnId) {
        self.counters.broadcasts += 1;
        hub.broadcast(&self.scratch);
        self.observer.on_message(hub, conn, None, &[&self.scratch]);
    }

    fn forbid(&mut self, hub: &Hub, conn: ConnId) {
        self.counters.forbidden += 1;
        // There is no clock here: rarer and rarer instead of once a while.
        if self.counters.forbidden.is_power_of_two() {
            let user = hub.user(conn).unwrap_or("");
            let total = self.counters.forbidden;
            log::warn!("ignored a broadcast by {}: they are off ({total} so far)", Printable(user));
        }
    }
}

impl<O: Observer> Handler for Relay<O> {
    fn on_upgrade(
        &mut self,
        hub: &mut Hub,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        let Some(user) = door::user_of(upgrade.path()) else {
            // A server may ignore a wish to upgrade (RFC 9110, section 7.8).
            return Err(Reject(page::answer(&self.config, hub.is_draining(), &upgrade)));
        };
        Ok(door::admit(&self.config, user, hub.is_loopback(conn), &upgrade)?)
    }

    fn on_request(&mut self, hub: &mut Hub, _: ConnId, request: &Request<'_>) -> Reply {
        Reply::Now(page::answer(&self.config, hub.is_draining(), request))
    }

    fn on_open(&mut self, hub: &mut Hub, conn: ConnId) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("open {}", Identity(hub, conn));
        }
        self.observer.on_open(hub, conn);
    }

    #[inline(always)]
    fn on_message(&mut self, hub: &mut Hub, conn: ConnId, message: Message<'_>) {
        match message {
            Message::Text(text) => self.handle_text(hub, conn, text),
            Message::Binary(_) => self.counters.ignored += 1,
        }
    }

    fn on_close(&mut self, hub: &mut Hub, conn: ConnId, reason: &CloseReason) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("close {}: {}", Identity(hub, conn), Printable(&reason.to_string()));
        }
        self.observer.on_close(hub, conn);
    }
}

/// A connection in a log line.
struct Identity<'a>(&'a Hub, ConnId);

impl std::fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Identity(hub, conn) = self;
        write!(f, "user {}", Printable(hub.user(*conn).unwrap_or("")))?;
        if let Some(device) = hub.device(*conn).filter(|device| !device.is_empty()) {
            write!(f, " device {}", Printable(device))?;
        }
        match hub.peer(*conn) {
            Some(peer) => write!(f, " from {peer}"),
            None => Ok(()),
        }
    }
}
