//! The mini-program protocol: the default [`Handler`].
//!
//! Speaks v1, the published page's dialect, at `/websocket/{userId}`. Must not
//! know: sockets, frames, clocks. This is the only layer that touches JSON.

mod config;
mod door;
mod fields;
mod hosts;
pub(crate) mod json;
#[cfg(any(feature = "backend", feature = "tickets"))]
pub(crate) mod object;
mod observer;
mod opening;
pub(crate) mod page;
#[cfg(feature = "tickets")]
mod tickets;
pub(crate) mod v1;

use std::collections::HashSet;

#[cfg(feature = "tickets")]
use crate::conn::Peer;
use crate::conn::close::CloseReason;
use crate::conn::decode::Message;
use crate::conn::head::Request;
use crate::conn::response::Response;
use crate::hub::{Accept, ConnId, Handler, Hub, Printable, Reject, Reply, Upgrade};

pub use config::RelayConfig;
#[cfg(feature = "backend")]
pub(crate) use config::SYSTEM;
#[cfg(feature = "backend")]
pub(crate) use door::check_open;
#[cfg(feature = "backend")]
pub(crate) use json::{is_shallow, write_string};
pub use observer::Observer;
#[cfg(feature = "tickets")]
pub use tickets::{Ticket, TicketError, Tickets};
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
/// from the path `/websocket/{userId}`, and asks for proof if it was given
/// [`Tickets`].
///
/// An [`Observer`] is told what happens in it; by default there is none.
#[derive(Debug)]
pub struct Relay<O = ()> {
    config: RelayConfig,
    counters: Counters,
    #[cfg(feature = "tickets")]
    tickets: Option<Tickets>,
    /// What the connection may that has been let in and is about to open.
    entering: Option<(ConnId, Rights)>,
    /// Connections whose ticket lets them send to everyone.
    speakers: HashSet<ConnId>,
    /// Where outgoing messages are put together.
    scratch: String,
    observer: O,
}

/// What a ticket allows beyond entering.
#[derive(Debug)]
struct Rights {
    groups: Vec<String>,
    broadcast: bool,
}

/// A scratch buffer that has grown larger is given back.
const SCRATCH: usize = 64 * 1024;

impl Relay {
    /// A relay with these settings.
    pub fn new(config: RelayConfig) -> Self {
        Self::with_observer(config, ())
    }

    /// Whether that can be a user's id: 1 to 128 bytes, no slash, no control characters.
    pub fn is_user_id(id: &str) -> bool {
        !id.is_empty() && door::is_name(id, v1::MAX_ID)
    }
}

impl<O: Observer> Relay<O> {
    /// A relay with these settings that tells `observer` what happens.
    pub fn with_observer(config: RelayConfig, observer: O) -> Self {
        Relay {
            config,
            counters: Counters::default(),
            #[cfg(feature = "tickets")]
            tickets: None,
            entering: None,
            speakers: HashSet::new(),
            scratch: String::new(),
            observer,
        }
    }

    /// Lets in only clients with a ticket. Pages of any origin may then
    /// connect, unless [`allow_origins`](RelayConfig::allow_origins) names some.
    #[cfg(feature = "tickets")]
    pub fn with_tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// The settings it was made with.
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// What checks and signs the tickets that are asked for, if any are.
    #[cfg(feature = "tickets")]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    /// What the observer says of a listing of those who are online.
    #[cfg(feature = "backend")]
    pub(crate) fn on_listing(&mut self, hub: &Hub) -> Option<(String, u64)> {
        self.observer.on_listing(hub)
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

    /// The same for ids that stand for themselves in a JSON string.
    #[cfg(feature = "backend")]
    #[inline]
    pub(crate) fn push_plain(
        &mut self,
        hub: &mut Hub,
        from: &str,
        to: &str,
        message: &str,
    ) -> usize {
        let devices = hub.send_pieces_to_user(to, &v1::envelope(from, to, message));
        self.count(devices);
        devices
    }

    /// Sends a message from the server to everyone who is online, but not to the users
    /// `except`, in the envelope of a broadcast. Otherwise as [`Relay::push`]; returns to
    /// how many connections.
    pub fn push_to_all(
        &mut self,
        hub: &mut Hub,
        from: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, None, message);
        self.counters.broadcasts += 1;
        let queued = hub.broadcast_except(&self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        queued
    }

    /// The same to everyone in a group; its name is in the envelope as `group`.
    pub fn push_to_group(
        &mut self,
        hub: &mut Hub,
        from: &str,
        group: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        let queued = hub.send_to_group_except(group, &self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        queued
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
        self.count(devices);
        devices
    }

    #[inline(always)]
    fn count(&mut self, devices: usize) {
        match devices {
            0 => self.counters.offline += 1,
            _ => self.counters.delivered += 1,
        }
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
            Meaning::Object { .. } | Meaning::Text(_) if !self.may_broadcast(conn) => {
                self.forbid(hub, conn)
            }
            Meaning::Object { text, rename } => {
                match v1::write_object(&mut self.scratch, from, text, rename) {
                    Ok(()) => self.broadcast(hub, conn),
                    Err(_) => self.counters.ignored += 1,
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
        hub.charge_broadcast(conn);
        self.observer.on_message(hub, conn, None, &[&self.scratch]);
    }

    fn may_broadcast(&self, conn: ConnId) -> bool {
        match self.config.broadcast {
            Some(on) => on,
            None => !self.asks_for_tickets() || self.speakers.contains(&conn),
        }
    }

    #[cfg(feature = "tickets")]
    fn asks_for_tickets(&self) -> bool {
        self.tickets.is_some()
    }

    #[cfg(not(feature = "tickets"))]
    fn asks_for_tickets(&self) -> bool {
        false
    }

    /// Decides a handshake for a path that names a user.
    fn admit(
        &mut self,
        hub: &Hub,
        conn: ConnId,
        user: &str,
        request: &Request<'_>,
    ) -> Result<Accept, Response> {
        let wish = door::Wish::read(user, request)?;
        door::check_reserved(&self.config, user)?;
        #[cfg(feature = "tickets")]
        if let Some(tickets) = &self.tickets {
            let (accept, rights) = tickets
                .admit(&self.config, &wish, request, hub.now())
                .inspect_err(|why| refused(hub, conn, user, why))?;
            self.entering = Some((conn, rights));
            return Ok(accept);
        }
        door::check_open(&self.config, hub.is_loopback(conn), request)?;
        Ok(wish.accept())
    }

    fn page(&self, hub: &Hub, request: &Request<'_>) -> Response {
        page::answer(&self.config, self.asks_for_tickets(), hub.is_draining(), request)
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
            return Err(Reject(self.page(hub, &upgrade)));
        };
        Ok(self.admit(hub, conn, user, &upgrade)?)
    }

    fn on_request(&mut self, hub: &mut Hub, _: ConnId, request: &Request<'_>) -> Reply {
        Reply::Now(self.page(hub, request))
    }

    fn on_open(&mut self, hub: &mut Hub, conn: ConnId) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("open {}", Identity(hub, conn));
        }
        if let Some((_, rights)) = self.entering.take_if(|(entering, _)| *entering == conn) {
            for group in &rights.groups {
                // Only what is within the limits was let in.
                let _ = hub.join(conn, group);
            }
            if rights.broadcast {
                self.speakers.insert(conn);
            }
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
        if !self.speakers.is_empty() {
            self.speakers.remove(&conn);
        }
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("close {}: {}", Identity(hub, conn), Printable(&reason.to_string()));
        }
        self.observer.on_close(hub, conn);
    }
}

/// Warns of a refused handshake, and of many from one address rarer and rarer.
#[cfg(feature = "tickets")]
fn refused(hub: &Hub, conn: ConnId, user: &str, why: &Response) {
    let count = hub.refusals(conn) + 1;
    if count.is_power_of_two() {
        let peer = hub.peer(conn).unwrap_or(Peer::UNKNOWN);
        let why = why.line();
        log::warn!("refused user {} from {peer}: {why} ({count} from there)", Printable(user));
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
