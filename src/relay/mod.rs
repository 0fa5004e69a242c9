//! The mini-program protocol: the default [`Handler`].
//!
//! The relay speaks v1, the published page's dialect, at `/websocket/{userId}`. It must not know
//! sockets, frames and clocks. It is the lowest layer that knows what a client's JSON means.

pub(crate) mod blocks;
mod config;
pub(crate) mod delivery;
mod door;
mod entry;
pub(crate) mod events;
mod extension;
mod fields;
pub(crate) mod groups;
mod nodes;
#[cfg(any(feature = "backend", feature = "tickets"))]
pub(crate) mod object;
mod opening;
pub(crate) mod page;
mod posts;
mod session;
pub(crate) mod v1;
pub(crate) mod v2;

use crate::hub::{
    Accept, ConnId, Context, Handler, Printable, Refused, Reject, Reply, Traced, Upgrade,
};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;

use crate::engine::{Engine, Told};
#[cfg(feature = "backend")]
pub(crate) use crate::journal::stable_hash;
use crate::journal::{Completed, Health, Journal, Numbers};
#[cfg(feature = "backend")]
pub(crate) use crate::wire::json::{is_shallow, write_string};
pub use config::RelayConfig;
#[cfg(feature = "backend")]
pub(crate) use config::SYSTEM;
#[cfg(feature = "backend")]
pub(crate) use door::check_open;
#[cfg(feature = "tickets")]
pub use door::{Ticket, TicketError, Tickets};
use events::Watchers;
pub use events::{Event, EventKind};
pub(crate) use extension::Extension;
use groups::Groups;
#[cfg(feature = "backend")]
#[allow(unused_imports)]
pub(crate) use nodes::FIRST_OF_EXTENSION;
pub use session::Session;
use session::Sessions;
pub(crate) use v2::Pushed;
#[cfg(feature = "backend")]
pub(crate) use v2::{
    Answered, Asker, Copying, NoCopy, Page, Reached, RecoveredRequest, Unread, Whose, Wishes,
    shared_frames,
};
pub use v2::{MailboxCounters, MailboxGauges};
use v2::{Refusal, V2, close_refused};

/// What comes to a relay from other threads, as an event of the loop.
#[derive(Debug)]
pub enum Incoming {
    /// The journal has completed a request.
    Journal(Completed),
    /// The engine tells something.
    Engine(Told),
}

impl From<Completed> for Incoming {
    fn from(completed: Completed) -> Self {
        Incoming::Journal(completed)
    }
}

impl From<Told> for Incoming {
    fn from(told: Told) -> Self {
        Incoming::Engine(told)
    }
}

/// Totals of what the relay has done with messages. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// One-to-one messages that were queued for at least one connection.
    pub delivered: u64,
    /// One-to-one messages to users who were offline. They were dropped.
    pub offline: u64,
    /// Messages to everyone or to a group.
    pub broadcasts: u64,
    /// Messages to everyone that were ignored because the client may not send them.
    pub forbidden: u64,
    /// Frames that were ignored because they mean nothing.
    pub ignored: u64,
}

/// Serves the published mini-program page: heartbeats, and messages to one user, to a group and to
/// everyone who is online.
///
/// A message is delivered at most once, to users who are online. Messages from one connection to
/// one receiver arrive in the order in which they were sent. The relay takes the user's id from the
/// path `/websocket/{userId}`. It requires a ticket for it if it was given [`Tickets`].
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    counters: Counters,
    #[cfg(feature = "tickets")]
    tickets: Option<Tickets>,
    /// The buffer in which outgoing messages are put together.
    scratch: String,
    watchers: Watchers,
    pub(crate) groups: Groups,
    pub(crate) blocks: blocks::Blocks,
    pub(crate) sessions: Sessions,
    pub(crate) v2: V2,
    /// What connects this node with others; `None` if the server is alone.
    engine: Option<Box<dyn Engine>>,
    /// The pages of v1, if there are other nodes.
    entries: entry::Entries,
    /// The extension that answers requests which are not for the relay. The field is empty while
    /// the extension is called.
    extension: Option<Box<dyn Extension>>,
}

/// The key of the extension's timer. The relay's own keys are smaller.
pub(crate) const TIMER_OF_EXTENSION: u32 = 8;

/// A scratch buffer that has grown beyond this number of bytes is freed.
const SCRATCH: usize = 64 * 1024;

impl Relay {
    /// Makes a relay with these settings.
    pub fn new(config: RelayConfig) -> Self {
        Relay {
            v2: V2::new(config.limits()),
            config,
            counters: Counters::default(),
            #[cfg(feature = "tickets")]
            tickets: None,
            scratch: String::new(),
            watchers: Watchers::default(),
            groups: Groups::default(),
            blocks: blocks::Blocks::default(),
            sessions: Sessions::default(),
            engine: None,
            entries: entry::Entries::default(),
            extension: None,
        }
    }

    /// Makes the relay call a function for events of these kinds, as they happen. The function runs
    /// on the loop's thread, so it must not block. It can look things up in the hub, but it cannot
    /// send. Events that no watcher wants cost one comparison each.
    ///
    /// ```
    /// use longlink::events::{Event, EventKind};
    /// use longlink::{Relay, RelayConfig};
    ///
    /// let relay = Relay::new(RelayConfig::default());
    /// let relay = relay.with_watcher(&[EventKind::Undelivered], |_, event| {
    ///     if let Event::Undelivered { user, to, .. } = event {
    ///         println!("{user} has written to {to}, who is offline");
    ///     }
    /// });
    /// # let _ = relay;
    /// ```
    pub fn with_watcher(
        mut self,
        kinds: &[EventKind],
        watcher: impl FnMut(&Context, &Event<'_>) + Send + 'static,
    ) -> Self {
        self.watchers.add(kinds, watcher);
        self
    }

    /// Makes the relay keep the messages of the dialect v2 by this journal, instead of in its memory
    /// alone. To be called before there is a connection. What the journal completes later comes to
    /// the relay as an [event](Handler::Event).
    pub fn with_journal(mut self, journal: Box<dyn Journal>) -> Self {
        self.v2.set_journal(journal);
        self.recover_notes();
        self
    }

    /// Makes the relay serve its users together with other nodes, which this engine connects. The
    /// [journal](Relay::with_journal) has to be one that all nodes share. To be called before there is a
    /// connection.
    pub fn with_engine(mut self, engine: Box<dyn Engine>) -> Self {
        self.engine = Some(engine);
        self.v2.share_presence();
        self
    }

    /// Sets the extension, which the relay asks first for each request.
    #[cfg(feature = "backend")]
    pub(crate) fn with_extension(mut self, extension: Box<dyn Extension>) -> Self {
        self.extension = Some(extension);
        self
    }

    /// The extension, if there is one.
    #[cfg(feature = "backend")]
    pub(crate) fn extension_mut(&mut self) -> Option<&mut (dyn Extension + 'static)> {
        self.extension.as_deref_mut()
    }

    /// Requires a ticket of every client. Pages of any origin may then connect, unless
    /// [`allow_origins`](RelayConfig::allow_origins) names some.
    #[cfg(feature = "tickets")]
    pub fn with_tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Uses other settings from now on. Connections stay as they are: origins, hosts and reserved
    /// names are checked when a client connects. Smaller bounds of mailboxes count for the next
    /// message of each mailbox, and another time to wait for messages that come from now on.
    ///
    /// [`RelayConfig::mailbox`] stays as it was, because clients of the dialect v2 may be connected.
    pub fn set_config(&mut self, mut config: RelayConfig) {
        config.mailbox = self.config.mailbox;
        self.v2.boxes.set_limits(config.limits());
        self.config = config;
    }

    /// Requires tickets that are signed with other secrets, or none any more. Whoever is connected
    /// stays connected, until the end that the ticket had when the client came.
    #[cfg(feature = "tickets")]
    pub fn set_tickets(&mut self, tickets: Option<Tickets>) {
        self.tickets = tickets;
    }

    /// The settings of the relay: those with which it was made, or those of the last
    /// [`Relay::set_config`].
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// The object that checks and signs tickets, if tickets are required.
    #[cfg(feature = "tickets")]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    /// The totals so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Running totals of the dialect v2.
    pub fn mailbox_counters(&self) -> MailboxCounters {
        let (shed, forgotten) = (self.v2.boxes.shed(), self.v2.boxes.forgotten());
        MailboxCounters { shed, forgotten, ..self.v2.counters }
    }

    /// How well the journal keeps messages.
    pub fn health(&self) -> Health {
        self.v2.health()
    }

    /// What the journal has done and holds, if it is on a disk.
    pub fn numbers(&self) -> Option<Numbers> {
        self.v2.numbers()
    }

    /// What the mailboxes hold now.
    pub fn mailbox_gauges(&self) -> MailboxGauges {
        MailboxGauges { aside: self.sessions.aside(), ..self.v2.gauges() }
    }

    /// Whether this text can be a user's id: 1 to 128 bytes, no slash, no control characters.
    pub fn is_user_id(id: &str) -> bool {
        !id.is_empty() && door::is_name(id, v1::MAX_ID)
    }

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

    #[cfg(feature = "tickets")]
    fn asks_for_tickets(&self) -> bool {
        self.tickets.is_some()
    }

    #[cfg(not(feature = "tickets"))]
    fn asks_for_tickets(&self) -> bool {
        false
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

    /// Calls the extension, if there is one, and gives it the relay.
    #[inline(always)]
    fn extend<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Extension, &mut Relay) -> Option<T>,
    ) -> Option<T> {
        let mut extension = self.extension.take()?;
        let answer = ask(&mut *extension, self);
        self.extension = Some(extension);
        answer
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
            log::debug!("open {}", Identity(cx, conn));
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
        if key == TIMER_OF_EXTENSION {
            self.extend(|it, relay| {
                it.on_timer(relay, cx);
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
            log::debug!("close {}: {}", Identity(cx, conn), Printable(&reason.to_string()));
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

/// Prints a connection in a log line.
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
