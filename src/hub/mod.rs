//! The hub: all connections, users and groups; the bytes to write and the connections that have
//! ended; and all deadlines.
//!
//! The hub is pure: it has no sockets and no clock. It gets bytes and the time as arguments, and
//! gives out bytes to write and connections to free. A driver runs it over sockets; a simulator
//! runs it without them.
//!
//! A [`Hub`] belongs to whoever runs the loop. It holds the application and, beside it, the
//! [`Context`]. A callback gets only the `Context`, so it cannot run the hub.

mod app;
mod change;
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

use std::num::NonZeroU32;
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
pub(crate) use table::slots::Slot;
pub use timers::Overdue;
pub use trace::{Detail, FrameKind, Happened, MAX_TRACED, Told, Traced, TracedFrame};

/// The id of one connection: a slot and the serial of its use. It may be kept for ever; when the
/// connection is gone, it refers to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) index: Slot,
    serial: Serial,
}

/// Counts the connections of a hub. It is never 0, so an `Option<ConnId>` takes no more than a
/// `ConnId`.
type Serial = NonZeroU32;

impl ConnId {
    /// Returns the serial, which distinguishes the connection from all others of the hub, until
    /// four billion have been accepted.
    pub fn serial(self) -> u32 {
        self.serial.get()
    }

    /// Returns the slot, which is below `max_connections` + [`SURPLUS`]. Slots are reused, so a
    /// slot belongs to this connection only while it is open.
    pub fn index(self) -> usize {
        self.index.at()
    }
}

/// All connections, and the application.
///
/// Whoever runs the hub, a [`Driver`](crate::Driver) or a simulator, makes these calls in each
/// turn: [`open`](Hub::open) and [`receive`](Hub::receive) for what has arrived;
/// [`tick`](Hub::tick); [`pop_overdue`](Hub::pop_overdue) and [`judge`](Hub::judge) for connections
/// whose deadline has passed; [`write`](Hub::write) until there is nothing to write;
/// [`end_turn`](Hub::end_turn); [`reap`](Hub::reap) until it returns `None`. Between turns the
/// application's [`Context`] can be used, to which a hub dereferences.
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
    /// Makes an empty hub whose time begins at `now`. Reserves room for `max_connections`. It does
    /// not check the configuration: call [`Config::check`] before.
    pub fn new(config: Config, handler: H, now: Instant) -> Self {
        let slots = config.max_connections + SURPLUS;
        Hub { context: Context::new(config, now), app: App::new(handler, slots) }
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.app.handler
    }

    /// Returns the context and the handler, to send between turns.
    pub fn parts(&mut self) -> (&mut Context, &mut H) {
        (&mut self.context, &mut self.app.handler)
    }

    /// Returns the session of a connection that was accepted; `None` before that, and after the
    /// connection was [reaped](Hub::reap). A connection that is closing still has it.
    pub fn session(&mut self, conn: ConnId) -> Option<&mut H::Session> {
        self.context.resolve(conn)?;
        self.app.session(conn)
    }

    /// Handles bytes that have arrived from a peer. It unmasks them in place, so the buffer is
    /// changed. Callbacks run during this call.
    #[inline]
    pub fn receive(&mut self, conn: ConnId, bytes: &mut [u8], now: Instant) {
        self.receive_inline(conn, bytes, now);
    }

    /// Does what [`Hub::receive`] does, and is always inlined into its caller. A separate call costs
    /// a heartbeat thirty instructions. The compiler does not inline it by itself, because the
    /// drivers for plain and for encrypted sockets are two callers. What is called in each turn is
    /// marked for the same reason: it costs a turn eighty instructions.
    #[inline(always)]
    pub(crate) fn receive_inline(&mut self, conn: ConnId, bytes: &mut [u8], now: Instant) {
        self.context.receive(&mut self.app, conn, bytes, now);
        self.context.say_last_words(&mut self.app);
    }

    /// Does what is due: pings and lists connections whose deadlines have passed, goes on parsing
    /// input that a spent budget has left over, and renews the turn's budget. Call it once in each
    /// turn, before writing. Callbacks run during this call.
    // `Hub::receive_inline` says why this has to be marked.
    #[inline(always)]
    pub fn tick(&mut self, now: Instant) {
        self.context.tick(&mut self.app, now);
        self.context.say_last_words(&mut self.app);
    }

    /// Gives the application an event. Callbacks run during this call.
    pub fn deliver(&mut self, event: H::Event, now: Instant) {
        self.context.set_now(now);
        self.app.on_event(&mut self.context, event);
        self.context.say_last_words(&mut self.app);
    }

    /// Calls `on_closing` for each connection that the server is about to close, and then queues the
    /// close frames. [`Hub::write`] and [`Hub::pop_dirty`] do this first; call it only if you want to
    /// look at the queues before. Callbacks run during this call.
    pub fn say_last_words(&mut self) {
        self.context.say_last_words(&mut self.app);
    }

    /// Writes to connections that have something to write: once to each, and to at most `budget` of
    /// them. It is [`Hub::pop_dirty`], [`Context::pending`], [`Hub::sent`], [`Hub::blocked`] and
    /// [`Hub::failed`] in one call, for all writes of a server. It returns early if the caller has
    /// to do something for a connection, and `None` if there is nothing more to write or the budget
    /// is spent.
    pub fn write<S: Sink>(&mut self, sink: &mut S, budget: &mut u32) -> Option<(ConnId, Wrote)> {
        self.context.say_last_words(&mut self.app);
        self.context.write(sink, budget)
    }

    /// Returns the next connection that has something to write. Each is returned once until more is
    /// queued for it.
    pub fn pop_dirty(&mut self) -> Option<ConnId> {
        self.context.say_last_words(&mut self.app);
        self.context.pop_dirty()
    }

    /// Frees one connection that has ended, after its `on_close`, and returns its id; the caller
    /// then closes its socket. Call it until it returns `None`.
    pub fn reap(&mut self) -> Option<ConnId> {
        let freed = self.context.reap(&mut self.app);
        self.context.say_last_words(&mut self.app);
        freed
    }

    /// Opens a connection that was accepted. `loopback` says whether its listener is on a loopback
    /// address. A connection above `max_connections` or `max_per_address` only gets an answer with
    /// 503.
    ///
    /// # Errors
    /// If there is no room even for this answer.
    pub fn open(&mut self, peer: Peer, loopback: bool, now: Instant) -> Result<ConnId, OpenError> {
        self.context.open(peer, loopback, now)
    }

    /// Whether another connection can be opened: there are fewer than `max_connections` +
    /// [`SURPLUS`].
    pub fn has_room(&self) -> bool {
        self.context.has_room()
    }

    /// Call it when a trusted proxy has said for which client it has connected. From now on the
    /// connection counts for the client's address; if too many come from there, it only gets an
    /// answer with 503.
    pub fn set_peer(&mut self, conn: ConnId, peer: Peer) {
        self.context.set_peer(conn, peer);
    }

    /// Sets the number that [`Context::listener`] returns for the connection.
    pub fn set_listener(&mut self, conn: ConnId, tag: u8) {
        self.context.set_listener(conn, tag);
    }

    /// Call it when the peer has ended its side of the stream, so that a read returned nothing.
    /// What is queued for the peer is still written.
    pub fn input_ended(&mut self, conn: ConnId) {
        self.context.input_ended(conn);
    }

    /// Call it when the socket has failed: the connection ends without a close frame.
    pub fn failed(&mut self, conn: ConnId, error: &std::io::Error) {
        self.context.failed(conn, error);
    }

    /// Whether a connection's socket should be read now. If not, because the turn's budget is spent
    /// or an answer is on its way, [`Hub::pop_readable`] returns the connection as soon as it
    /// should.
    pub fn may_read(&mut self, conn: ConnId) -> bool {
        self.context.may_read(conn)
    }

    /// Returns a connection that [`Hub::may_read`] held back and that may be read now.
    pub fn pop_readable(&mut self) -> Option<ConnId> {
        self.context.pop_readable()
    }

    /// Whether the turn's work budget is spent, so that bytes that are read would only be copied.
    pub fn is_exhausted(&self) -> bool {
        self.context.is_exhausted()
    }

    /// Returns the latest time at which [`Hub::tick`] must be called again. Earlier calls are
    /// harmless. `None` if nothing will ever be due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.context.next_deadline()
    }

    /// Call it when `written` of the pending bytes were written. If that was less than was offered
    /// to the socket, call [`Hub::blocked`] afterwards. If more is pending than was offered, the
    /// connection is returned again after the turn's end.
    pub fn sent(&mut self, conn: ConnId, written: usize) -> Sent {
        self.context.sent(conn, written)
    }

    /// Call it when the connection's socket takes no more bytes for now: the connection is not
    /// returned again before [`Hub::writable`].
    pub fn blocked(&mut self, conn: ConnId) {
        self.context.blocked(conn);
    }

    /// Call it when the connection's socket takes bytes again. It is harmless if the socket was not
    /// blocked.
    pub fn writable(&mut self, conn: ConnId) {
        self.context.writable(conn);
    }

    /// Ends the writing of a turn: frees what was written, and ends connections if `max_buffered`
    /// is exceeded. Call it after the writes and before [`Hub::reap`]. Callbacks run during this
    /// call.
    pub fn end_turn(&mut self) {
        self.context.end_turn();
        self.context.say_last_words(&mut self.app);
    }

    /// Begins to stop: every open connection is closed with code 1001, and new handshakes get 503.
    /// The hub does not know listeners: with a driver, call
    /// [`Driver::shutdown`](crate::Driver::shutdown) instead.
    pub fn shutdown(&mut self) {
        self.context.shutdown();
    }

    pub(crate) fn note_turn(&mut self, took: std::time::Duration) {
        self.context.note_turn(took);
    }

    /// Returns a connection whose deadline has passed. First give the hub the bytes that wait in
    /// its socket: call [`Hub::receive`] for what can be read, [`Hub::input_ended`] for the end of
    /// the stream, and write what is pending if the socket takes bytes again. Then call
    /// [`Hub::judge`]. Whoever runs the hub does this after each [`Hub::tick`] until it returns
    /// `None`; without it no connection is ever ended as silent or late.
    pub fn pop_overdue(&mut self) -> Option<Overdue> {
        self.context.pop_overdue()
    }

    /// Ends a connection whose deadline has passed, unless what was received since
    /// [`Hub::pop_overdue`] has given it a new deadline. `all_read` is false if its socket has more
    /// to read and [`Hub::may_read`] would allow that: then the connection is judged again a moment
    /// later. Callbacks run during this call.
    pub fn judge(&mut self, overdue: Overdue, all_read: bool) {
        self.context.judge(&mut self.app, overdue, all_read);
        self.context.say_last_words(&mut self.app);
    }

    /// Sets the date that every HTTP answer has from then on (RFC 9110, section 6.6.1). The hub has
    /// no clock, so whoever has one calls this once a second, as [`Server`](crate::Server) does.
    /// Without it answers have no `Date`.
    pub fn set_date(&mut self, now: SystemTime) {
        self.context.set_date(now);
    }

    /// Notes how many bytes the transport of a connection holds now.
    #[inline]
    pub(crate) fn note_transport(&mut self, conn: ConnId, held: usize) {
        self.context.note_transport(conn, held);
    }

    /// Takes work that was done outside the hub from the turn's budget.
    pub(crate) fn spend(&mut self, work: u32) {
        self.context.spend(work);
    }
}
