//! What the hub calls. Each callback goes to the part of the relay that it concerns: to the extension, to a
//! dialect, or to the pages.

use crate::hub::{
    Accept, ConnId, Context, Handler, Printable, Refused, Reject, Reply, Traced, Upgrade,
};
use crate::wire::Peer;
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;

use super::extension::TIMER_OF_EXTENSION;
use super::v2::{Refusal, close_refused};
use super::{Event, EventKind, Incoming, Relay, Session, door, page, v1};

impl Handler for Relay {
    type Session = Session;
    type Event = Incoming;

    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Session>, Reject> {
        if let Some(decided) = self.extend(|it, relay| it.on_upgrade(relay, cx, conn, &upgrade)) {
            return decided;
        }
        let Some(user) = door::user_of(upgrade.path()) else {
            // A server may ignore a request to upgrade (RFC 9110, section 7.8).
            return Err(Reject(self.page(cx, &upgrade)));
        };
        Ok(self.admit(cx, conn, user, &upgrade)?)
    }

    fn on_turned_away(&mut self, _: &mut Context, session: Session) {
        self.give_back(session);
    }

    fn on_request(&mut self, cx: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        match self.extend(|it, relay| it.on_request(relay, cx, conn, request)) {
            Some(reply) => reply,
            None => Reply::Now(self.page(cx, request)),
        }
    }

    fn on_refused(&mut self, cx: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        self.extend(|it, _| it.on_refused(cx, conn, &refused))
            .unwrap_or_else(|| Response::text(refused.status, refused.why))
    }

    fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: &mut Session) {
        if let Some(why) = self.sessions.why_refused(session) {
            self.v2.explain(cx, conn, why);
            return;
        }
        if cx.is_refused(conn) {
            let session = std::mem::take(session);
            self.give_back(session);
            self.v2.explain(cx, conn, Refusal::Full);
            return;
        }
        if let Some(user) = self.sessions.traced_user(session) {
            let user = user.to_owned();
            self.extend(|it, relay| {
                it.on_tracer_open(relay, cx, conn, &user);
                Some(())
            });
            return;
        }
        if log::log_enabled!(log::Level::Debug) {
            let identity = Identity(cx, conn);
            log::debug!(
                event = "open", connection = conn.serial(), user:% = identity.user(),
                device:% = identity.device(), peer:% = identity.peer();
                "open {identity}"
            );
        }
        match session.link() {
            Some(link) => self.arrive(cx, conn, link),
            None => {
                let groups = self.sessions.take_groups(session);
                self.groups.enter(cx, conn, &groups);
                if self.engine.is_some() {
                    self.enter_page(cx, conn, &groups);
                } else if self.config.v1_mailbox {
                    self.visit(cx, conn);
                }
            }
        }
        if self.v2.has_links() {
            self.v2.note_came(cx, conn);
        }
        self.tell_opened(cx, conn);
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
            Message::Text(text) if v1::is_ping(text) && session.link().is_none() => {
                cx.send(conn, v1::PONG);
            }
            Message::Text(text) => match session.link() {
                Some(link) => self.handle_v2(cx, conn, link, text),
                None => self.handle_frame(cx, conn, session, text),
            },
            Message::Binary(_) => self.handle_binary(cx, session),
        }
    }

    fn on_too_long(&mut self, cx: &mut Context, _: ConnId, session: &mut Session) {
        if let Some(link) = session.link() {
            self.refuse_long(cx, link);
        }
    }

    fn on_drain(&mut self, cx: &mut Context, _: ConnId, session: &mut Session) {
        if let Some(link) = session.link() {
            self.v2.drained(cx, link);
        }
    }

    fn on_closing(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut Session,
        reason: &CloseReason,
    ) {
        if let Some(link) = session.link() {
            self.part(cx, link, reason);
            return;
        }
        let why_refused = match self.sessions.why_refused(session) {
            Some(why) => Some(why),
            None => cx.is_refused(conn).then_some(Refusal::Full),
        };
        match why_refused {
            Some(why) if *reason == CloseReason::Expired => close_refused(cx, conn, why),
            None if self.engine.is_some() => self.part_page(cx, conn),
            _ => {}
        }
    }

    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        if key >= TIMER_OF_EXTENSION {
            self.extend(|it, relay| {
                it.on_timer(relay, cx, key);
                Some(())
            });
            return;
        }
        self.handle_timer(cx, key);
    }

    fn on_event(&mut self, cx: &mut Context, event: Incoming) {
        match event {
            Incoming::Journal(completed) => self.complete(cx, completed),
            Incoming::Engine(told) => self.hear(cx, told),
        }
    }

    fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64) {
        self.extend(|it, relay| {
            it.on_trace(relay, cx, events, missed);
            Some(())
        });
    }

    fn on_close(&mut self, cx: &mut Context, conn: ConnId, session: Session, reason: &CloseReason) {
        let traces = self.sessions.traced_user(&session).is_some();
        let is_refused = self.sessions.why_refused(&session).is_some() || cx.is_refused(conn);
        let link = session.link();
        self.sessions.forget(session);
        if is_refused {
            return;
        }
        if traces {
            self.extend(|it, relay| {
                it.on_tracer_close(relay, cx, conn);
                Some(())
            });
            return;
        }
        if log::log_enabled!(log::Level::Debug) {
            let identity = Identity(cx, conn);
            log::debug!(
                event = "close", connection = conn.serial(), user:% = identity.user(),
                device:% = identity.device(), peer:% = identity.peer(), reason = reason.kind(),
                code = reason.wire().map(|(code, _)| code);
                "close {identity}: {}", Printable(&reason.to_string())
            );
        }
        if self.v2.has_links() {
            self.v2.note_went(cx, conn);
        }
        match link {
            Some(link) => self.depart(cx, conn, link),
            None if self.engine.is_some() => self.depart_page(cx, conn),
            None => {}
        }
        if self.engine.is_some() {
            self.forget_groups(cx, conn);
            self.send_watches();
        }
        self.tell_closed(cx, conn);
    }
}

impl Relay {
    /// Forgets the session of a connection for which there is no room.
    fn give_back(&mut self, session: Session) {
        let link = session.link();
        self.sessions.forget(session);
        if let Some(link) = link {
            self.v2.forget(link);
        }
    }

    #[inline(never)]
    fn handle_frame(&mut self, cx: &mut Context, conn: ConnId, session: &Session, text: &str) {
        self.carry_out(cx, conn, session, v1::meaning(text));
    }

    /// Neither dialect has binary frames.
    #[cold]
    #[inline(never)]
    fn handle_binary(&mut self, cx: &mut Context, session: &Session) {
        match session.link() {
            Some(link) => self.refuse_binary(cx, link),
            None => self.counters.ignored += 1,
        }
    }

    fn page(&self, cx: &Context, request: &Request<'_>) -> Response {
        let state = page::State {
            asks_for_tickets: self.asks_for_tickets(),
            is_draining: cx.is_draining(),
            health: self.health(),
            link: self.engine.as_ref().map(|engine| engine.link()),
        };
        page::answer(&self.config, state, request)
    }

    /// Tells the extension who comes and goes, if there are other nodes.
    fn tell_user(&mut self, cx: &Context, conn: ConnId, is_open: bool) {
        if self.engine.is_some()
            && let Some(extension) = &mut self.extension
            && let Some(user) = cx.user(conn).filter(|user| !user.is_empty())
        {
            extension.on_user(cx, user, is_open);
        }
    }

    fn tell_opened(&mut self, cx: &Context, conn: ConnId) {
        self.tell_user(cx, conn, true);
        let event = |user, device| Event::Opened { user, device, conn };
        self.watchers.tell(EventKind::Opened, cx, conn, event);
    }

    fn tell_closed(&mut self, cx: &Context, conn: ConnId) {
        self.tell_user(cx, conn, false);
        let event = |user, device| Event::Closed { user, device, conn };
        self.watchers.tell(EventKind::Closed, cx, conn, event);
    }
}

/// Prints a connection in a log line.
struct Identity<'a>(&'a Context, ConnId);

impl Identity<'_> {
    fn user(&self) -> Printable<'_> {
        Printable(self.0.user(self.1).unwrap_or(""))
    }

    fn device(&self) -> Printable<'_> {
        Printable(self.0.device(self.1).unwrap_or(""))
    }

    fn peer(&self) -> Peer {
        self.0.peer(self.1).unwrap_or(Peer::UNKNOWN)
    }
}

impl std::fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Identity(cx, conn) = self;
        write!(f, "user {}", self.user())?;
        if cx.device(*conn).is_some_and(|device| !device.is_empty()) {
            write!(f, " device {}", self.device())?;
        }
        match cx.peer(*conn) {
            Some(peer) => write!(f, " from {peer}"),
            None => Ok(()),
        }
    }
}
