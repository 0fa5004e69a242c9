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

/// The application: decides who may connect and what a message means.
///
/// Every callback gets the [`Context`] to send through. Nothing is written inside a callback and
/// no callback runs inside another one: sending queues bytes, which leave at the end of the
/// turn. Callbacks run on the loop's thread and must not block. In each of them any connection
/// may be sent to, closed, or put into a group.
///
/// A handler keeps a [`Session`](Handler::Session) of each connection. It is made in
/// [`on_upgrade`](Handler::on_upgrade), handed to every callback about that connection, and
/// given back exactly once: to [`on_close`](Handler::on_close), or, when the connection never
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
    /// What the handler keeps of each connection. `()` for nothing, which takes no memory.
    type Session;

    /// What other threads, and other parts of a host, tell the handler: see
    /// [`on_event`](Handler::on_event). `()` for nothing.
    type Event;

    /// A valid WebSocket handshake has arrived. Return who it is, with the session of the
    /// connection, or the answer that refuses it. An accepted handshake can still be answered
    /// with 503, when the server is full or going down or the user has too many connections: then
    /// the session is given to [`on_turned_away`](Handler::on_turned_away). The peer can be
    /// looked up; nothing can be sent yet.
    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Self::Session>, Reject>;

    /// The handler has accepted a handshake, and the server has refused it all the same with
    /// 503. The session is given back. By default it is dropped.
    fn on_turned_away(&mut self, cx: &mut Context, session: Self::Session) {
        let _ = (cx, session);
    }

    /// A request that is not a valid handshake, of any method. By default the client is told how
    /// to become one: 426, or 400 for a bad key. A body is only read when that is
    /// [asked for](Reply::Read); else the request is answered and its connection closed. The body
    /// of an answer to `HEAD` is left out.
    fn on_request(&mut self, cx: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        let _ = (cx, conn);
        Reply::Now(request.upgrade_required())
    }

    /// A request is refused before it could be handed over, and its connection is closed: the
    /// request is malformed or too long, or its body is. Return what the client is told; by
    /// default that is the reason, in a line of text. Whatever is returned counts as refused.
    fn on_refused(&mut self, cx: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        let _ = (cx, conn);
        Response::text(refused.status, refused.why)
    }

    /// The connection is open; its user and device can be looked up. What is sent here follows
    /// the handshake's answer.
    fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: &mut Self::Session) {
        let _ = (cx, conn, session);
    }

    /// A whole message has arrived. The message borrows the read buffer: copy what is to be kept.
    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Self::Session,
        message: Message<'_>,
    );

    /// Everything that was queued for a connection whose socket had blocked is written: more may
    /// be sent in bulk. Called in the turn after.
    fn on_drain(&mut self, cx: &mut Context, conn: ConnId, session: &mut Self::Session) {
        let _ = (cx, conn, session);
    }

    /// The server is about to close an open connection with a close frame, for `reason`: it goes
    /// down, the connection was idle, a newer one has taken its place, or the handler itself has
    /// [closed](Context::close) it. What is sent to `conn` here is written before the close
    /// frame. It is called for every reason of the server's own that has a
    /// [close frame](CloseReason::wire), with one exception: when memory is short, a connection
    /// that has something to be written is dropped without a close frame. Not called when the
    /// peer closes, when the socket fails, when the connection reads too slowly, or when it is
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

    /// What connections of [traced](Context::trace) users did, in its order, and how many more
    /// events there were than are kept. Called once a turn, and before each `on_close` of such a
    /// connection. What the handler does to traced users in here is told in the next call:
    /// answering every event without end would keep the loop busy without end.
    fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64) {
        let _ = (cx, events, missed);
    }

    /// A timer that was [set](Context::set_timer) is due, and no longer set.
    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        let _ = (cx, key);
    }

    /// Something that another thread, or another part of the host, has
    /// [sent](crate::Sender::send) into the loop.
    fn on_event(&mut self, cx: &mut Context, event: Self::Event) {
        let _ = (cx, event);
    }

    /// The connection is gone, exactly once for every `on_open`. Its user, device and peer still
    /// answer; sending to it does nothing. [`Context::is_online`] tells whether its user has
    /// another one. A connection that was closed politely is gone when its peer has ended its
    /// side, at the latest after `close_timeout`.
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
    /// The answer for a path that only speaks WebSocket: 400 for a handshake
    /// with a bad key, else 426 with the version that is spoken (RFC 6455,
    /// section 4.4).
    pub fn upgrade_required(&self) -> Response {
        match self.upgrade {
            UpgradeState::BadKey => Response::text(400, "bad Sec-WebSocket-Key"),
            _ => Response::text(426, "this is a WebSocket endpoint (version 13)")
                .field("Sec-WebSocket-Version", "13")
                .field("Upgrade", "websocket"),
        }
    }
}

/// Lets a handshake in, with the session of its connection.
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
    /// 0 for a connection that is parked.
    pub(crate) replaced_code: u16,
    pub(crate) session: S,
}

impl Accept {
    /// A connection of no user: it gets what goes to everyone and what is sent to its id.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// An anonymous connection that only listens: it gets what is sent to its id and nothing
    /// that goes to everyone, and messages that it sends are dropped.
    pub fn aside() -> Self {
        Accept { aside: true, ..Self::default() }
    }

    /// A connection of this user, of the default device. An empty id means
    /// [anonymous](Accept::anonymous).
    ///
    /// Of several connections of one user and device only the newest hears anything. The one that
    /// it replaces is parked: it stays open, and gets nothing that goes to the user, to a group
    /// or to everyone, until it is the newest again or [reclaims](Context::reclaim) its place. A
    /// phone that has changed its network leaves such a connection behind. Give connections that
    /// shall all hear different [devices](Accept::device).
    pub fn user(id: &str) -> Self {
        Accept { user: id.into(), ..Self::default() }
    }
}

impl<S> Accept<S> {
    /// Gives the connection a session, in place of the one that it had.
    pub fn session<T>(self, session: T) -> Accept<T> {
        let Accept { user, device, protocol, writes_are_life, until, aside, replaced_code, .. } =
            self;
        Accept { user, device, protocol, writes_are_life, until, aside, replaced_code, session }
    }

    /// When a newer connection of the same user and device takes its place, the connection is
    /// closed with `code` instead of being parked. [`Handler::on_closing`] is called for it with
    /// [`CloseReason::Replaced`]. It does not count in what a user may have, so the newer one is
    /// never refused because of it. A code that may not be sent becomes 1011. This is for clients
    /// that do not come back when they are closed with that code: others would replace each
    /// other without end.
    pub fn ends_when_replaced(mut self, code: u16) -> Self {
        self.replaced_code = if may_be_sent(code) { code } else { 1011 };
        self
    }

    /// Names the user's device; empty is the default device. At most
    /// [`Devices::MOST`](crate::limits::Devices::MOST) of a user are active at once.
    pub fn device(mut self, name: &str) -> Self {
        self.device = name.into();
        self
    }

    /// Chooses the subprotocol to answer with; it must be one that was
    /// [offered](Request::protocols), or the client fails the connection.
    pub fn protocol(mut self, name: Option<&str>) -> Self {
        self.protocol = name.map(str::to_owned);
        self
    }

    /// When the right to be connected ends: the connection is then closed with code 4501, at most
    /// a second later. `None` is never.
    pub fn until(mut self, at: Option<Instant>) -> Self {
        self.until = at;
        self
    }

    /// Until the client has answered a WebSocket ping, a message that was wholly written to its
    /// socket counts as a sign of life, for clients that may not answer pings at all.
    pub fn writes_are_life(mut self, yes: bool) -> Self {
        self.writes_are_life = yes;
        self
    }
}

/// Refuses a handshake with an HTTP answer, after which the connection is
/// closed. Browsers and WeChat do not tell a page what the answer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(pub Response);

impl From<Response> for Reject {
    fn from(response: Response) -> Self {
        Reject(response)
    }
}

/// How a plain request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// With this, now.
    Now(Response),
    /// Later, by [`Context::respond_to`]: from another callback, such as
    /// [`Handler::on_event`] when a worker thread has found the answer. Until then the next
    /// request of the connection waits. After
    /// [`message_timeout`](crate::Config::message_timeout) the client is told 503.
    Later,
    /// When its body has been read: [`Handler::on_request`] is called again then, with
    /// all of the request and its [body](Request::body). One that is longer than
    /// `at_most` bytes is refused with 413, one that is not as HTTP has it with 400, and
    /// one that takes longer than [`message_timeout`](crate::Config::message_timeout)
    /// with 408. Asking for what is there already is a mistake, answered with 500.
    Read {
        /// The most bytes the body may have.
        at_most: usize,
    },
}

/// A request that is refused, and why.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// 400, 408, 413 or 431.
    pub status: u16,
    /// In a few words.
    pub why: &'static str,
    /// The request, when it is its body that is refused.
    pub request: Option<&'a Request<'a>>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply::Now(response)
    }
}

/// What a client sent, for logs: control, bidi and line-separator characters
/// escaped, cut to 64 characters.
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
    fn what_a_client_sent_cannot_forge_a_log_line() {
        let text = "a\nb\u{202E}c\u{2028}张\u{7f}";
        assert_eq!(Printable(text).to_string(), r"a\u{a}b\u{202e}c\u{2028}张\u{7f}");
        assert_eq!(Printable(&"x".repeat(70)).to_string().chars().count(), 65);
    }
}
