//! The hub: all connections, users and groups; what has to be written and what has ended; when each
//! is due.
//!
//! Pure: there are no sockets and no clock. Bytes and the time come in as arguments, and bytes to
//! write and connections to free are taken out. A driver runs the hub over sockets; a simulator
//! runs it over nothing.
//!
//! A [`Hub`] belongs to whoever runs the loop. It holds the application and, beside it, the
//! [`Context`], which is all that a callback gets: so a callback cannot run the hub.

mod app;
mod check;
mod config;
mod context;
mod directory;
mod handler;
mod histogram;
mod input;
mod lifecycle;
pub(crate) mod output;
mod stats;
mod table;
mod timers;
mod trace;

use std::time::{Instant, SystemTime};

use crate::wire::Peer;

use app::App;
use context::Timeouts;

pub use config::{Config, ConfigError, Devices};
pub use context::Context;
pub use directory::bind::{MAX_PARKED, MAX_PER_USER};
pub use directory::groups::{GroupError, MAX_GROUP_NAME, MAX_GROUPS};
pub use handler::{Accept, Handler, Printable, Refused, Reject, Reply, Upgrade};
pub use histogram::{Distributions, Histogram};
pub use lifecycle::{OpenError, SURPLUS};
pub use output::{FanOut, Pending, Sent, Sink, Wrote};
pub use stats::{Closes, Stats, Statuses};
pub use table::phases::Phases;
pub use timers::Overdue;
pub use trace::{FrameKind, Happened, MAX_TRACED, Traced, TracedFrame};

/// Names one connection for ever: a slot and the serial of its use. It may be
/// kept; once the connection is gone it resolves to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) index: u32,
    serial: u32,
}

impl ConnId {
    /// Tells it from all others that a hub has, until four billion have been accepted.
    pub fn serial(self) -> u32 {
        self.serial
    }

    /// The slot. Slots are reused, so it names a connection only while it is
    /// open; below `max_connections` + [`SURPLUS`].
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// All connections, the application, and what is known of each connection.
///
/// Whoever runs the hub, a [`Driver`](crate::Driver) or a simulator, calls in one turn:
/// [`open`](Hub::open) and [`receive`](Hub::receive) for what has come; [`tick`](Hub::tick);
/// [`pop_overdue`](Hub::pop_overdue) and [`judge`](Hub::judge) for those whose time is over;
/// [`write`](Hub::write) until there is nothing to write; [`end_turn`](Hub::end_turn);
/// [`reap`](Hub::reap) until it returns `None`. Between turns the application's
/// [`Context`] can be used, to which a hub dereferences.
///
/// ```
/// use std::time::Instant;
///
/// use longlink::{Config, Hub, Peer, Relay, RelayConfig};
///
/// let now = Instant::now();
/// let mut hub = Hub::new(Config::default(), Relay::new(RelayConfig::default()), now);
/// let conn = hub.open(Peer::UNKNOWN, true, now).unwrap();
/// hub.receive(conn, &mut b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), now);
/// hub.tick(now);
/// assert_eq!(hub.pop_dirty(), Some(conn));
/// let answer = hub.pending(conn).unwrap().single().unwrap();
/// assert!(answer.starts_with(b"HTTP/1.1 404 "));
/// ```
#[derive(Debug)]
pub struct Hub<H: Handler> {
    context: Context,
    app: App<H>,
}

impl<H: Handler> std::ops::Deref for Hub<H> {
    type Target = Context;

    #[inline(always)]
    fn deref(&self) -> &Context {
        &self.context
    }
}

impl<H: Handler> std::ops::DerefMut for Hub<H> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl<H: Handler> Hub<H> {
    /// An empty hub whose time begins at `now`. Room for `max_connections` is reserved.
    /// [Check](Config::check) the configuration before: it is not done here.
    pub fn new(config: Config, handler: H, now: Instant) -> Self {
        let slots = config.max_connections + SURPLUS;
        Hub { context: Context::new(config, now), app: App::new(handler, slots) }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.app.handler
    }

    /// The context and the handler, to send between turns.
    pub fn parts(&mut self) -> (&mut Context, &mut H) {
        (&mut self.context, &mut self.app.handler)
    }

    /// The session of an open connection; `None` when it is not open.
    pub fn session(&mut self, conn: ConnId) -> Option<&mut H::Session> {
        self.context.resolve(conn)?;
        self.app.session(conn)
    }

    /// Handles bytes that have arrived from a peer. They are unmasked in place, so the buffer is
    /// changed. Callbacks run from here.
    #[inline]
    pub fn receive(&mut self, conn: ConnId, bytes: &mut [u8], now: Instant) {
        self.receive_for::<()>(conn, bytes, now);
    }

    /// Does the same, compiled once for each `Caller`. What is called from one place only becomes
    /// part of it; as a call of its own it costs a heartbeat thirty instructions.
    #[inline]
    pub(crate) fn receive_for<Caller>(&mut self, conn: ConnId, bytes: &mut [u8], now: Instant) {
        self.context.receive_for::<H, Caller>(&mut self.app, conn, bytes, now);
        self.context.say_last_words(&mut self.app);
    }

    /// Does what is due: expires and pings connections, goes on parsing what a spent budget left
    /// over, and renews the turn's budget. Call it once a turn, before writing. Callbacks run
    /// from here.
    pub fn tick(&mut self, now: Instant) {
        self.context.tick(&mut self.app, now);
        self.context.say_last_words(&mut self.app);
    }

    /// Hands the application an event. Callbacks run from here.
    pub fn deliver(&mut self, event: H::Event, now: Instant) {
        self.context.set_now(now);
        self.app.on_event(&mut self.context, event);
        self.context.say_last_words(&mut self.app);
    }

    /// Lets the application say a last word on each connection that the server is about to
    /// close, and queues the close frames. [`Hub::write`] and [`Hub::pop_dirty`] do it first of
    /// all; who wants to look at the queues before that calls it. Callbacks run from here.
    pub fn say_last_words(&mut self) {
        self.context.say_last_words(&mut self.app);
    }

    /// Writes to connections that have something to write, once each and `budget` of them at
    /// most, and takes note of what became of it: [`Hub::pop_dirty`], [`Context::pending`],
    /// [`Hub::sent`], [`Hub::blocked`] and [`Hub::failed`] in one, for all the writes of a
    /// server. Returns early when the caller has to do something for a connection; `None` when
    /// nothing more is to be written or the budget is spent.
    pub fn write<S: Sink>(&mut self, sink: &mut S, budget: &mut u32) -> Option<(ConnId, Wrote)> {
        self.context.say_last_words(&mut self.app);
        self.context.write(sink, budget)
    }

    /// The next connection that has something to write. Each is handed out once until more is
    /// queued.
    pub fn pop_dirty(&mut self) -> Option<ConnId> {
        self.context.say_last_words(&mut self.app);
        self.context.pop_dirty()
    }

    /// Frees one connection that has ended and returns its id, after `on_close`; the caller then
    /// closes its socket. Call until `None`.
    pub fn reap(&mut self) -> Option<ConnId> {
        let freed = self.context.reap(&mut self.app);
        self.context.say_last_words(&mut self.app);
        freed
    }

    /// Takes in a connection that was accepted. `loopback` says that it came
    /// in on a loopback address. Above `max_connections`, or above
    /// `max_per_address`, it is only answered with 503.
    ///
    /// # Errors
    /// When there is no room even for that.
    pub fn open(&mut self, peer: Peer, loopback: bool, now: Instant) -> Result<ConnId, OpenError> {
        self.context.open(peer, loopback, now)
    }

    /// Whether another connection can be taken in: there are fewer than
    /// `max_connections` + [`SURPLUS`].
    pub fn has_room(&self) -> bool {
        self.context.has_room()
    }

    /// A trusted proxy has said for whom it has connected. The connection counts
    /// for that address from now on; when too many come from there, it is only
    /// answered with 503. For whoever runs the hub.
    pub fn set_peer(&mut self, conn: ConnId, peer: Peer) {
        self.context.set_peer(conn, peer);
    }

    /// Which listener it came in by, as [`Context::listener`] tells. For whoever runs the hub.
    pub fn set_listener(&mut self, conn: ConnId, tag: u8) {
        self.context.set_listener(conn, tag);
    }

    /// The peer has ended its side of the stream: a read gave nothing. What is
    /// queued for it is still written. For whoever runs the hub, as are:
    /// [`Hub::failed`], [`Hub::reap`], [`Hub::end_turn`].
    pub fn input_ended(&mut self, conn: ConnId) {
        self.context.input_ended(conn);
    }

    /// The socket failed: the connection ends, without a word. For whoever runs
    /// the hub.
    pub fn failed(&mut self, conn: ConnId, error: &std::io::Error) {
        self.context.failed(conn, error);
    }

    /// Whether a connection's socket should be read now. When not, because its
    /// turn's budget is spent or an answer is on its way,
    /// [`Hub::pop_readable`] returns it as soon as it should.
    pub fn may_read(&mut self, conn: ConnId) -> bool {
        self.context.may_read(conn)
    }

    /// A connection that [`Hub::may_read`] held back and that may be read now.
    pub fn pop_readable(&mut self) -> Option<ConnId> {
        self.context.pop_readable()
    }

    /// Whether the turn's work budget is spent: reading more would only copy.
    pub fn is_exhausted(&self) -> bool {
        self.context.is_exhausted()
    }

    /// When [`Hub::tick`] has to be called next at the latest. Early calls are
    /// harmless. `None` when nothing will ever be due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.context.next_deadline()
    }

    /// `written` bytes of what was pending were written. If that was less than
    /// was offered to the socket, [`Hub::blocked`] has to follow; if more is
    /// pending than was offered, it is handed out again after the turn's end.
    pub fn sent(&mut self, conn: ConnId, written: usize) -> Sent {
        self.context.sent(conn, written)
    }

    /// The connection's socket takes nothing more for now: it is not handed
    /// out again before [`Hub::writable`].
    pub fn blocked(&mut self, conn: ConnId) {
        self.context.blocked(conn);
    }

    /// The connection's socket takes bytes again. Harmless for one that was not
    /// blocked.
    pub fn writable(&mut self, conn: ConnId) {
        self.context.writable(conn);
    }

    /// Ends the turn's writing: gives back what was written, and makes room when `max_buffered` is
    /// used up. Call it after the writes and before [`Hub::reap`]. Callbacks run from here.
    pub fn end_turn(&mut self) {
        self.context.end_turn();
        self.context.say_last_words(&mut self.app);
    }

    /// Begins to go down: every open connection is closed with code 1001, new
    /// handshakes get 503. It does not know of listeners: with a driver call
    /// [`Driver::shutdown`](crate::Driver::shutdown).
    pub fn shutdown(&mut self) {
        self.context.shutdown();
    }

    pub(crate) fn note_turn(&mut self, took: std::time::Duration) {
        self.context.note_turn(took);
    }

    /// A connection whose deadline has passed. Before anything is done to it, hand over
    /// what waits in its socket: call [`Hub::receive`] for what can be read,
    /// [`Hub::input_ended`] for the end of the stream, and write what is pending if the
    /// socket takes bytes again. Then call [`Hub::judge`]. Whoever runs the hub does this
    /// after each [`Hub::tick`] until it returns `None`: without it nobody is ever silent
    /// or late.
    pub fn pop_overdue(&mut self) -> Option<Overdue> {
        self.context.pop_overdue()
    }

    /// Ends a connection whose deadline has passed, unless what was handed over since
    /// [`Hub::pop_overdue`] has given it a new one. `all_read` is false when its socket
    /// has more to read, which [`Hub::may_read`] would allow: then it is looked at again a
    /// moment later. Callbacks run from here.
    pub fn judge(&mut self, overdue: Overdue, all_read: bool) {
        self.context.judge(&mut self.app, overdue, all_read);
        self.context.say_last_words(&mut self.app);
    }

    /// Tells the date, which every HTTP answer says from then on (RFC 9110, section 6.6.1). The
    /// hub has no clock: whoever has one tells it again when a second has passed, as
    /// [`Server`](crate::Server) does. Without it answers have no `Date`.
    pub fn set_date(&mut self, now: SystemTime) {
        self.context.set_date(now);
    }

    /// How many bytes the transport of a connection holds for it now.
    #[inline]
    pub(crate) fn note_transport(&mut self, conn: ConnId, held: usize) {
        self.context.note_transport(conn, held);
    }

    /// Takes work that was done outside the hub from the turn's budget.
    pub(crate) fn spend(&mut self, work: u32) {
        self.context.spend(work);
    }
}
