//! What an application implements, and what it is handed.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use compact_str::CompactString;

use super::{ConnId, Context, Traced};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::http::upgrade::UpgradeState;
use crate::wire::ws::close::{CloseReason, may_be_sent};
use crate::wire::ws::decode::Message;

/// The application: it decides who may connect and what a message means.
///
/// Every callback gets the [`Context`], with which it sends. Nothing is written inside a callback,
/// and no callback runs inside another one: sending queues bytes, which are written at the end of
/// the turn. Callbacks run on the loop's thread and must not block. Each of them may send to any
/// connection, close it, or put it into a group.
///
/// A handler keeps a [`Session`](Handler::Session) for each connection.
/// [`on_upgrade`](Handler::on_upgrade) makes it, every callback about the connection gets it, and
/// it is given back exactly once: to [`on_close`](Handler::on_close), or, if the connection never
/// opened, to [`on_turned_away`](Handler::on_turned_away).
///
/// ```
/// use longlink::http::Response;
/// use longlink::{Accept, ConnId, Context, Handler, Message, Reject, Upgrade};
///
/// /// Everyone in a room hears what is said there.
/// struct Rooms;
///
/// impl Handler for Rooms {
///     /// The name of the room that the connection is in.
///     type Session = String;
///     type Event = ();
///
///     fn on_upgrade(
///         &mut self,
///         _: &mut Context,
///         _: ConnId,
///         upgrade: Upgrade<'_>,
///     ) -> Result<Accept<String>, Reject> {
///         match upgrade.path().strip_prefix("/room/") {
///             Some(room) if !room.is_empty() => Ok(Accept::anonymous().session(room.to_owned())),
///             _ => Err(Reject(Response::text(404, "no such room"))),
///         }
///     }
///
///     fn on_open(&mut self, cx: &mut Context, conn: ConnId, room: &mut String) {
///         if let Err(error) = cx.join(conn, room) {
///             cx.close(conn, 1008, &error.to_string());
///         }
///     }
///
///     fn on_message(
///         &mut self,
///         cx: &mut Context,
///         _: ConnId,
///         room: &mut String,
///         message: Message<'_>,
///     ) {
///         if let Message::Text(text) = message {
///             cx.send_to_group(room, text);
///         }
///     }
/// }
/// ```
pub trait Handler {
    /// What the handler keeps for each connection. Use `()` for nothing; it takes no memory.
    type Session;

    /// What other threads, and other parts of a host, send to the handler; see
    /// [`on_event`](Handler::on_event). Use `()` for nothing.
    type Event;

    /// Called when a valid WebSocket handshake has arrived. Return the user of the connection with
    /// the session, or the answer that refuses the handshake. An accepted handshake can still be
    /// answered with 503, because the server is full or stopping or the user has too many
    /// connections; then [`on_turned_away`](Handler::on_turned_away) gets the session. The peer can
    /// be looked up here, but nothing can be sent yet.
    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Self::Session>, Reject>;

    /// Called when the handler has accepted a handshake but the server has refused it with 503. The
    /// session is given back. By default it is dropped.
    fn on_turned_away(&mut self, cx: &mut Context, session: Self::Session) {
        let _ = (cx, session);
    }

    /// Called for a request, of any method, that is not a valid handshake. The default answer says
    /// how to make it one: 426, or 400 for a bad key. longlink reads a body only if the handler
    /// [asks for it](Reply::Read); otherwise the connection of a request with a body is closed
    /// after the answer. In an answer to `HEAD` longlink leaves out the body.
    fn on_request(&mut self, cx: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        let _ = (cx, conn);
        Reply::Now(request.upgrade_required())
    }

    /// Called when a request is refused before the handler could get it: the request or its body is
    /// malformed, too long or too slow. Return the answer; the default is the reason in a line of
    /// text. The connection is closed. The request counts as refused, whatever the answer is.
    fn on_refused(&mut self, cx: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        let _ = (cx, conn);
        Response::text(refused.status, refused.why)
    }

    /// Called when the connection is open; its user and device can be looked up. What is sent here
    /// follows the handshake's answer.
    fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: &mut Self::Session) {
        let _ = (cx, conn, session);
    }

    /// Called when a whole message has arrived. The message borrows the read buffer: copy what you
    /// want to keep.
    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Self::Session,
        message: Message<'_>,
    );

    /// Called when a message that is longer than [`max_message`](crate::Config::max_message) has
    /// passed, on a connection that [outlasts](Accept::outlasts_long_messages) such messages. Its
    /// bytes were dropped as they arrived.
    fn on_too_long(&mut self, cx: &mut Context, conn: ConnId, session: &mut Self::Session) {
        let _ = (cx, conn, session);
    }

    /// Called when everything that was queued for a connection whose socket had blocked was
    /// written: the handler can go on sending large amounts. It is called in the turn after the
    /// write.
    fn on_drain(&mut self, cx: &mut Context, conn: ConnId, session: &mut Self::Session) {
        let _ = (cx, conn, session);
    }

    /// Called when the server is about to close an open connection with a close frame, for
    /// `reason`: the server stops, the connection was idle, a newer connection has replaced it, or
    /// the handler itself has [closed](Context::close) it. What is sent to `conn` here is written
    /// before the close frame. The callback runs for every reason of the server that has a [close
    /// frame](CloseReason::wire), with one exception: when memory is short, a connection that has
    /// something to be written is dropped without a close frame. It does not run when the peer
    /// closes, when the socket fails, when the connection reads too slowly, or when it is
    /// [aborted](Context::abort).
    fn on_closing(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Self::Session,
        reason: &CloseReason,
    ) {
        let _ = (cx, conn, session, reason);
    }

    /// Called with what the connections of [traced](Context::trace) users did, in order, and with
    /// the number of events that were not kept. It is called once in a turn, and before each
    /// `on_close` of such a connection. What the handler does to traced users in this callback is
    /// reported in the next call, so a handler that reacts to every event would keep the loop busy
    /// for ever.
    fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64) {
        let _ = (cx, events, missed);
    }

    /// Called when a timer that was [set](Context::set_timer) is due; it is not set any more.
    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        let _ = (cx, key);
    }

    /// Called with an event that another thread, or another part of the host, has
    /// [sent](crate::Sender::send) to the loop.
    fn on_event(&mut self, cx: &mut Context, event: Self::Event) {
        let _ = (cx, event);
    }

    /// Called when the connection is gone, exactly once for every `on_open`. Its user, device and
    /// peer can still be looked up; sending to it does nothing. [`Context::is_online`] says whether
    /// its user has another connection. A connection that was closed with a close frame is gone
    /// when its peer has ended its side, at the latest after `close_timeout`.
    fn on_close(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: Self::Session,
        reason: &CloseReason,
    ) {
        let _ = (cx, conn, session, reason);
    }
}

/// A valid WebSocket handshake (RFC 6455, section 4.2.1). It derefs to its
/// [`Request`]: path, query, header fields, offered subprotocols.
#[derive(Debug)]
pub struct Upgrade<'a> {
    pub(crate) request: &'a Request<'a>,
}

impl<'a> std::ops::Deref for Upgrade<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        self.request
    }
}

impl Request<'_> {
    /// Returns the answer for a path that only speaks WebSocket: 400 for a handshake with a bad
    /// key, otherwise 426 with the supported version (RFC 6455, section 4.4).
    pub fn upgrade_required(&self) -> Response {
        match self.upgrade {
            UpgradeState::BadKey => Response::text(400, "bad Sec-WebSocket-Key"),
            _ => Response::text(426, "this is a WebSocket endpoint (version 13)")
                .field("Sec-WebSocket-Version", "13")
                .field("Upgrade", "websocket"),
        }
    }
}

/// Accepts a handshake, with the session of its connection.
///
/// ```
/// use longlink::Accept;
///
/// let accept = Accept::user("alice").device("phone").protocol(Some("chat")).session(7);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept<S = ()> {
    pub(crate) user: CompactString,
    pub(crate) device: CompactString,
    pub(crate) protocol: Option<String>,
    pub(crate) writes_are_life: bool,
    pub(crate) until: Option<Instant>,
    pub(crate) aside: bool,
    pub(crate) apart: bool,
    pub(crate) outlasts: bool,
    pub(crate) told_when_full: bool,
    pub(crate) leaves_in_turn: bool,
    /// The close code for a connection that ends when it is replaced; 0 if it is parked instead.
    pub(crate) replaced_code: u16,
    pub(crate) session: S,
}

impl Accept {
    /// A connection without a user: it gets what is sent to everyone, to its groups and to its id.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// An anonymous connection that only listens: it gets what is sent to its id but nothing that
    /// is sent to everyone, and messages that it sends are dropped.
    pub fn aside() -> Self {
        Accept { aside: true, ..Self::default() }
    }

    /// A connection of this user, on the default device. An empty id means
    /// [anonymous](Accept::anonymous).
    ///
    /// Of several connections of one user and device only the newest gets messages. The connection
    /// that it replaces is parked: it stays open, but gets nothing that is sent to the user, to a
    /// group or to everyone, until it is the newest again or [reclaims](Context::reclaim) its
    /// place. A phone that has changed its network leaves such a connection behind. If several
    /// connections are all to get messages, give them different [devices](Accept::device).
    pub fn user(id: &str) -> Self {
        Accept { user: id.into(), ..Self::default() }
    }
}

impl<S> Accept<S> {
    /// Gives the connection a session, which replaces the one that it had.
    pub fn session<T>(self, session: T) -> Accept<T> {
        let Accept { user, device, protocol, writes_are_life, until, .. } = self;
        let Accept { aside, apart, outlasts, told_when_full, leaves_in_turn, .. } = self;
        let Accept { replaced_code, .. } = self;
        Accept {
            user,
            device,
            protocol,
            writes_are_life,
            until,
            aside,
            apart,
            outlasts,
            told_when_full,
            leaves_in_turn,
            replaced_code,
            session,
        }
    }

    /// Lets a shutdown close the connection in its turn: 10,000 such connections in a second, or
    /// more if otherwise half of [`close_timeout`](crate::Config::close_timeout) would not suffice.
    /// All other connections are closed at once.
    pub fn leaves_in_turn(mut self) -> Self {
        self.leaves_in_turn = true;
        self
    }

    /// Lets the handler tell the client in a frame when there is no room for its connection: when
    /// the server is full, or the user or the address has too many connections. The connection then
    /// opens without a user, as one that only [listens](Accept::aside); in
    /// [`on_open`](Handler::on_open) [`Context::is_refused`] is true of it. It is closed after a
    /// second. A few connections at a time are told so; all others are answered with 503.
    pub fn told_when_full(mut self) -> Self {
        self.told_when_full = true;
        self
    }

    /// Makes the connection outlast messages that are longer than
    /// [`max_message`](crate::Config::max_message) and have at most 16 MiB: such a message is
    /// dropped as it arrives, each of its pieces counts as a message for the rate, and
    /// [`Handler::on_too_long`] is called when it is over. Without this a message that is too long
    /// ends the connection with 1009, as a longer one always does.
    pub fn outlasts_long_messages(mut self) -> Self {
        self.outlasts = true;
        self
    }

    /// Makes the connection end when a newer connection of the same user and device replaces it: it
    /// is closed with `code` instead of being parked. [`Handler::on_closing`] gets
    /// [`CloseReason::Replaced`]. The connection does not count in the limits of its user, so the
    /// newer one is never refused because of it. A code that must not be sent becomes 1011. Use
    /// this for clients that do not come back when they are closed with this code; otherwise two
    /// clients would replace each other for ever.
    pub fn ends_when_replaced(mut self, code: u16) -> Self {
        self.replaced_code = if may_be_sent(code) { code } else { 1011 };
        self
    }

    /// The connection counts for its user, and gets what is sent to its id and nothing that is sent
    /// to its user, to a group or to everyone. This is for clients that are written to in a form
    /// of their own.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Names the user's device; empty is the default device. At most
    /// [`Devices::MOST`](crate::limits::Devices::MOST) devices of a user are active at once.
    pub fn device(mut self, name: &str) -> Self {
        self.device = name.into();
        self
    }

    /// Chooses the subprotocol for the answer. It must be one of those that were
    /// [offered](Request::protocols), or the client fails the connection.
    pub fn protocol(mut self, name: Option<&str>) -> Self {
        self.protocol = name.map(str::to_owned);
        self
    }

    /// Sets until when the connection may be open. It is then closed with code 4501, at most one
    /// second later. `None` means without an end.
    pub fn until(mut self, at: Option<Instant>) -> Self {
        self.until = at;
        self
    }

    /// Sets that a message which was wholly written to the socket counts as a sign of life until
    /// the client has answered a WebSocket ping. Use it for clients that may not answer pings at
    /// all.
    pub fn writes_are_life(mut self, yes: bool) -> Self {
        self.writes_are_life = yes;
        self
    }
}

/// Refuses a handshake with an HTTP answer, after which the connection is closed. Browsers and
/// WeChat do not show the answer to a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(pub Response);

impl From<Response> for Reject {
    fn from(response: Response) -> Self {
        Reject(response)
    }
}

/// How a plain HTTP request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The answer is this response.
    Now(Response),
    /// The answer comes later, with [`Context::respond_to`] from another callback, for example
    /// [`Handler::on_event`] when a worker thread has the result. Until then the next request of
    /// the connection waits. After [`message_timeout`](crate::Config::message_timeout) the client
    /// gets 503.
    Later,
    /// The answer comes when the body was read: [`Handler::on_request`] is called again with the
    /// whole request and its [body](Request::body). A body that is longer than `at_most` bytes is
    /// refused with 413, a malformed body with 400, and a body that takes longer than
    /// [`message_timeout`](crate::Config::message_timeout) with 408. If the handler asks for a body
    /// that it already has, the client gets 500.
    Read {
        /// The most bytes that the body may have.
        at_most: usize,
    },
}

/// A request that is refused, and why.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The status of the answer: 400, 408, 413 or 431.
    pub status: u16,
    /// The reason in a few words.
    pub why: &'static str,
    /// The request, if it is refused because of its body.
    pub request: Option<&'a Request<'a>>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply::Now(response)
    }
}

/// Shows a client's text in logs: control, bidirectional and line-separator characters are escaped,
/// and the text is cut to 64 characters.
///
/// ```
/// use longlink::Printable;
///
/// assert_eq!(Printable("bob\nclose user alice").to_string(), r"bob\u{a}close user alice");
/// ```
pub struct Printable<'a>(pub &'a str);

impl Printable<'_> {
    /// The most characters that are shown.
    pub(crate) const MOST: usize = 64;
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.0.chars().enumerate() {
            if count == Self::MOST {
                return f.write_str("…");
            }
            let shown = match c {
                '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{061C}' => false,
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => false,
                c => !c.is_control(),
            };
            if shown {
                fmt::Write::write_char(f, c)?;
            } else {
                fmt::Display::fmt(&c.escape_unicode(), f)?;
            }
        }
        Ok(())
    }
}

impl<'a> From<&'a Cow<'_, str>> for Printable<'a> {
    fn from(text: &'a Cow<'_, str>) -> Self {
        Printable(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_client_cannot_forge_a_log_line() {
        let text = "a\nb\u{202E}c\u{2028}张\u{7f}";
        assert_eq!(Printable(text).to_string(), r"a\u{a}b\u{202e}c\u{2028}张\u{7f}");
        assert_eq!(Printable(&"x".repeat(70)).to_string().chars().count(), 65);
    }
}
