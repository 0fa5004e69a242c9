//! The mini-program protocol: the default [`Handler`].
//!
//! Speaks v1, the published page's dialect, at `/websocket/{userId}`. Must not
//! know: sockets, frames, clocks. This is the only layer that touches JSON.

mod config;
mod door;
mod fields;
mod hosts;
#[cfg(any(feature = "backend", feature = "tickets"))]
pub(crate) mod object;
mod observer;
mod opening;
pub(crate) mod page;
#[cfg(feature = "tickets")]
mod tickets;
pub(crate) mod v1;

use crate::hub::{Accept, ConnId, Context, Handler, Printable, Reject, Reply, Upgrade};
#[cfg(feature = "tickets")]
use crate::wire::Peer;
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::json;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;

#[cfg(feature = "backend")]
pub(crate) use crate::wire::json::{is_shallow, write_string};
pub use config::RelayConfig;
#[cfg(feature = "backend")]
pub(crate) use config::SYSTEM;
#[cfg(feature = "backend")]
pub(crate) use door::check_open;
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
    /// Where outgoing messages are put together.
    scratch: String,
    observer: O,
}

/// What is kept of a connection: nothing for nearly all, which takes eight bytes.
#[derive(Debug, Default)]
pub struct Session(Option<Box<Kept>>);

#[derive(Debug)]
#[cfg_attr(not(feature = "tickets"), allow(dead_code))]
pub(crate) enum Kept {
    /// What its ticket allows.
    Rights(Rights),
    /// It shows somebody what this user does.
    #[cfg(feature = "backend")]
    Trace(compact_str::CompactString),
}

/// What a ticket allows beyond entering.
#[derive(Debug)]
pub(crate) struct Rights {
    groups: Vec<String>,
    broadcast: bool,
}

impl Session {
    #[cfg_attr(not(feature = "tickets"), allow(dead_code))]
    pub(crate) fn of(kept: Kept) -> Self {
        Session(Some(Box::new(kept)))
    }

    /// The user that a connection traces.
    #[cfg(feature = "backend")]
    pub(crate) fn traced(&self) -> Option<&str> {
        match self.0.as_deref() {
            Some(Kept::Trace(user)) => Some(user),
            _ => None,
        }
    }

    /// Whether a ticket allows messages to everyone.
    fn may_broadcast(&self) -> bool {
        matches!(self.0.as_deref(), Some(Kept::Rights(Rights { broadcast: true, .. })))
    }

    /// Takes the groups that a ticket names, which are needed once.
    fn take_groups(&mut self) -> Vec<String> {
        let Some(Kept::Rights(rights)) = self.0.as_deref_mut() else { return Vec::new() };
        let groups = std::mem::take(&mut rights.groups);
        if !rights.broadcast {
            self.0 = None;
        }
        groups
    }
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
    pub(crate) fn on_listing(&mut self, cx: &Context) -> Option<(String, u64)> {
        self.observer.on_listing(cx)
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
    /// let relay = Relay::new(RelayConfig::default());
    /// let mut hub = Hub::new(Config::default(), relay, std::time::Instant::now());
    /// let (cx, relay) = hub.parts();
    /// let devices = relay.push(cx, "orders", "alice", r#""your order is ready""#);
    /// assert_eq!(devices, 0); // nobody is online
    /// assert_eq!(relay.counters().offline, 1);
    /// ```
    pub fn push(&mut self, cx: &mut Context, from: &str, to: &str, message: &str) -> usize {
        self.scratch.clear();
        json::escape(from, &mut self.scratch);
        // Who pushes is told by the result; the observer hears of clients alone.
        self.deliver(cx, to, Body::Message(message), |_, _, _, _| ())
    }

    /// The same for ids that stand for themselves in a JSON string.
    #[cfg(feature = "backend")]
    #[inline]
    pub(crate) fn push_plain(
        &mut self,
        cx: &mut Context,
        from: &str,
        to: &str,
        message: &str,
    ) -> usize {
        let devices = cx.send_pieces_to_user(to, &v1::envelope(from, to, message));
        self.count(devices);
        devices
    }

    /// Sends a message from the server to everyone who is online, but not to the users
    /// `except`, in the envelope of a broadcast. Otherwise as [`Relay::push`]; returns to
    /// how many connections.
    pub fn push_to_all(
        &mut self,
        cx: &mut Context,
        from: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, None, message);
        self.counters.broadcasts += 1;
        let queued = cx.broadcast_except(&self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        queued
    }

    /// The same to everyone in a group; its name is in the envelope as `group`.
    pub fn push_to_group(
        &mut self,
        cx: &mut Context,
        from: &str,
        group: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        let queued = cx.send_to_group_except(group, &self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        queued
    }

    /// Sends a message from the user whose id, escaped, is in `scratch`. Returns to
    /// how many devices, after `tell` was told so, with the frame.
    #[inline]
    fn deliver(
        &mut self,
        cx: &mut Context,
        to: &str,
        body: Body<'_>,
        tell: impl FnOnce(&mut O, &Context, &[&str], usize),
    ) -> usize {
        let devices = match body {
            Body::Tail(tail) => {
                let frame = v1::envelope_of_tail(&self.scratch, tail);
                let devices = cx.send_pieces_to_user(to, &frame);
                tell(&mut self.observer, cx, &frame, devices);
                devices
            }
            Body::Message(message) => {
                let end = self.scratch.len();
                json::escape(to, &mut self.scratch);
                let (from, escaped) = self.scratch.split_at(end);
                let frame = v1::envelope(from, escaped, message);
                let devices = cx.send_pieces_to_user(to, &frame);
                tell(&mut self.observer, cx, &frame, devices);
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
    fn handle_text(&mut self, cx: &mut Context, conn: ConnId, session: &Session, text: &str) {
        if v1::is_ping(text) {
            cx.send(conn, v1::PONG);
        } else {
            self.handle_frame(cx, conn, session, text);
        }
    }

    #[inline(never)]
    fn handle_frame(&mut self, cx: &mut Context, conn: ConnId, session: &Session, text: &str) {
        let meaning = v1::meaning(text);
        if let Meaning::Ping = meaning {
            cx.send(conn, v1::PONG);
            return;
        }
        // A message shows that somebody uses this connection; a heartbeat
        // does not, and bytes that were in flight do not either.
        cx.reclaim(conn);
        self.scratch.clear();
        let Some(from) = cx.user(conn) else { return };
        match meaning {
            Meaning::Ping => {}
            Meaning::Ignored => self.counters.ignored += 1,
            Meaning::ToUser { to, body } => {
                json::escape(from, &mut self.scratch);
                self.deliver(cx, &to, body, |observer, cx, frame, devices| {
                    observer.on_message(cx, conn, Some(&to), frame);
                    if devices == 0 {
                        observer.on_undelivered(cx, conn, &to, frame);
                    }
                });
            }
            Meaning::Object { .. } | Meaning::Text(_) if !self.may_broadcast(session) => {
                self.forbid(cx, conn)
            }
            Meaning::Object { text, rename } => {
                match v1::write_object(&mut self.scratch, from, text, rename) {
                    Ok(()) => self.broadcast(cx, conn),
                    Err(_) => self.counters.ignored += 1,
                }
            }
            Meaning::Text(text) => {
                v1::write_text(&mut self.scratch, from, text);
                self.broadcast(cx, conn);
            }
        }
        self.scratch.shrink_to(SCRATCH);
    }

    fn broadcast(&mut self, cx: &mut Context, conn: ConnId) {
        self.counters.broadcasts += 1;
        cx.broadcast(&self.scratch);
        cx.charge_broadcast(conn);
        self.observer.on_message(cx, conn, None, &[&self.scratch]);
    }

    fn may_broadcast(&self, session: &Session) -> bool {
        match self.config.broadcast {
            Some(on) => on,
            None => !self.asks_for_tickets() || session.may_broadcast(),
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
        cx: &Context,
        conn: ConnId,
        user: &str,
        request: &Request<'_>,
    ) -> Result<Accept<Session>, Response> {
        let wish = door::Wish::read(user, request)?;
        door::check_reserved(&self.config, user)?;
        #[cfg(feature = "tickets")]
        if let Some(tickets) = &self.tickets {
            let (accept, rights) = tickets
                .admit(&self.config, &wish, request, cx.now())
                .inspect_err(|why| refused(cx, conn, user, why))?;
            return Ok(accept.session(Session::of(Kept::Rights(rights))));
        }
        door::check_open(&self.config, cx.is_loopback(conn), request)?;
        Ok(wish.accept().session(Session::default()))
    }

    fn page(&self, cx: &Context, request: &Request<'_>) -> Response {
        page::answer(&self.config, self.asks_for_tickets(), cx.is_draining(), request)
    }

    fn forbid(&mut self, cx: &Context, conn: ConnId) {
        self.counters.forbidden += 1;
        // There is no clock here: rarer and rarer instead of once a while.
        if self.counters.forbidden.is_power_of_two() {
            let user = cx.user(conn).unwrap_or("");
            let total = self.counters.forbidden;
            log::warn!("ignored a broadcast by {}: they are off ({total} so far)", Printable(user));
        }
    }
}

impl<O: Observer> Handler for Relay<O> {
    type Session = Session;
    type Event = ();

    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Session>, Reject> {
        let Some(user) = door::user_of(upgrade.path()) else {
            // A server may ignore a wish to upgrade (RFC 9110, section 7.8).
            return Err(Reject(self.page(cx, &upgrade)));
        };
        Ok(self.admit(cx, conn, user, &upgrade)?)
    }

    fn on_request(&mut self, cx: &mut Context, _: ConnId, request: &Request<'_>) -> Reply {
        Reply::Now(self.page(cx, request))
    }

    fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: &mut Session) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("open {}", Identity(cx, conn));
        }
        for group in session.take_groups() {
            // Only what is within the limits was let in.
            let _ = cx.join(conn, &group);
        }
        self.observer.on_open(cx, conn);
    }

    #[inline(always)]
    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Session,
        message: Message<'_>,
    ) {
        match message {
            Message::Text(text) => self.handle_text(cx, conn, session, text),
            Message::Binary(_) => self.counters.ignored += 1,
        }
    }

    fn on_close(&mut self, cx: &mut Context, conn: ConnId, _: Session, reason: &CloseReason) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("close {}: {}", Identity(cx, conn), Printable(&reason.to_string()));
        }
        self.observer.on_close(cx, conn);
    }
}

/// Warns of a refused handshake, and of many from one address rarer and rarer.
#[cfg(feature = "tickets")]
fn refused(cx: &Context, conn: ConnId, user: &str, why: &Response) {
    let count = cx.refusals(conn) + 1;
    if count.is_power_of_two() {
        let peer = cx.peer(conn).unwrap_or(Peer::UNKNOWN);
        let why = why.line();
        log::warn!("refused user {} from {peer}: {why} ({count} from there)", Printable(user));
    }
}

/// A connection in a log line.
struct Identity<'a>(&'a Context, ConnId);

impl std::fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Identity(cx, conn) = self;
        write!(f, "user {}", Printable(cx.user(*conn).unwrap_or("")))?;
        if let Some(device) = cx.device(*conn).filter(|device| !device.is_empty()) {
            write!(f, " device {}", Printable(device))?;
        }
        match cx.peer(*conn) {
            Some(peer) => write!(f, " from {peer}"),
            None => Ok(()),
        }
    }
}
