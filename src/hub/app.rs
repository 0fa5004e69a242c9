//! The application: the handler, and the sessions that it keeps for its connections.

use crate::hub::table::slots::Slot;
use std::fmt;

use super::{Accept, ConnId, Context, Handler, Refused, Reject, Reply, Traced, Upgrade};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;

/// A handler with its sessions. The context is beside it and not in it, so that a callback can
/// borrow all three at once.
pub struct App<H: Handler> {
    pub handler: H,
    sessions: Sessions<H::Session>,
}

/// The session of each open connection, by its slot.
struct Sessions<S>(Vec<Option<S>>);

impl<S> Sessions<S> {
    fn insert(&mut self, index: Slot, session: S) {
        let index = index.at();
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(session);
    }

    #[inline(always)]
    fn of(&mut self, conn: ConnId) -> Option<&mut S> {
        self.0.get_mut(conn.index.at())?.as_mut()
    }

    fn take(&mut self, index: Slot) -> Option<S> {
        self.0.get_mut(index.at())?.take()
    }
}

impl<H: Handler> App<H> {
    /// Creates an application with room for the sessions of so many slots.
    pub fn new(handler: H, slots: usize) -> Self {
        App { handler, sessions: Sessions(Vec::with_capacity(slots)) }
    }

    /// Returns the session of an open connection.
    pub fn session(&mut self, conn: ConnId) -> Option<&mut H::Session> {
        self.sessions.of(conn)
    }

    /// Returns the handler with the session of an open connection, for a caller that hands over
    /// several messages.
    #[inline(always)]
    pub fn attendant(&mut self, conn: ConnId) -> Option<Attendant<'_, H>> {
        Some(Attendant { handler: &mut self.handler, session: self.sessions.of(conn)? })
    }

    pub fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<H::Session>, Reject> {
        self.handler.on_upgrade(cx, conn, upgrade)
    }

    pub fn on_request(&mut self, cx: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        self.handler.on_request(cx, conn, request)
    }

    pub fn on_refused(&mut self, cx: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        self.handler.on_refused(cx, conn, refused)
    }

    /// Called when a connection that the handler has accepted is refused nevertheless.
    pub fn on_turned_away(&mut self, cx: &mut Context, session: H::Session) {
        self.handler.on_turned_away(cx, session);
    }

    pub fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: H::Session) {
        self.sessions.insert(conn.index, session);
        if let Some(session) = self.sessions.of(conn) {
            self.handler.on_open(cx, conn, session);
        }
    }

    pub fn on_too_long(&mut self, cx: &mut Context, conn: ConnId) {
        if let Some(session) = self.sessions.of(conn) {
            self.handler.on_too_long(cx, conn, session);
        }
    }

    pub fn on_drain(&mut self, cx: &mut Context, conn: ConnId) {
        if let Some(session) = self.sessions.of(conn) {
            self.handler.on_drain(cx, conn, session);
        }
    }

    pub fn on_closing(&mut self, cx: &mut Context, conn: ConnId, reason: &CloseReason) {
        if let Some(session) = self.sessions.of(conn) {
            self.handler.on_closing(cx, conn, session, reason);
        }
    }

    pub fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64) {
        self.handler.on_trace(cx, events, missed);
    }

    pub fn on_timer(&mut self, cx: &mut Context, key: u32) {
        self.handler.on_timer(cx, key);
    }

    pub fn on_event(&mut self, cx: &mut Context, event: H::Event) {
        self.handler.on_event(cx, event);
    }

    pub fn on_close(&mut self, cx: &mut Context, conn: ConnId, reason: &CloseReason) {
        if let Some(session) = self.sessions.take(conn.index) {
            self.handler.on_close(cx, conn, session, reason);
        }
    }
}

/// A receiver of the messages of a connection. An [`App`] looks up the session for each message;
/// an [`Attendant`] has looked it up once for several messages. Each of them is a type with a
/// method and not a closure, because the compiler can be forced to inline only a method. A call of
/// a closure would cost thirty instructions for each message.
pub trait Recipient {
    fn on_message(&mut self, cx: &mut Context, conn: ConnId, message: Message<'_>);
}

impl<H: Handler> Recipient for App<H> {
    #[inline(always)]
    fn on_message(&mut self, cx: &mut Context, conn: ConnId, message: Message<'_>) {
        if let Some(session) = self.sessions.of(conn) {
            self.handler.on_message(cx, conn, session, message);
        }
    }
}

/// A handler with the session of one connection.
pub struct Attendant<'a, H: Handler> {
    handler: &'a mut H,
    session: &'a mut H::Session,
}

impl<H: Handler> Recipient for Attendant<'_, H> {
    #[inline(always)]
    fn on_message(&mut self, cx: &mut Context, conn: ConnId, message: Message<'_>) {
        self.handler.on_message(cx, conn, self.session, message);
    }
}

impl<H: Handler + fmt::Debug> fmt::Debug for App<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("handler", &self.handler).finish_non_exhaustive()
    }
}
