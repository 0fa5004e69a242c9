//! The hub: all connections, users and groups; what has to be written and what
//! has ended; when each is due.
//!
//! Pure: no sockets and no clock. Bytes and the time come in as arguments,
//! bytes to write and connections to free are taken out. The driver runs it
//! over sockets; a simulator runs it over nothing.
//!
//! The fields are split along their borrows: `conns`, `arena`, `dirty` and the
//! rest are siblings, so a fan-out can walk one while it fills the others.

mod addresses;
mod bind;
mod body;
mod check;
mod column;
mod config;
mod dirty;
mod fan_out;
mod flush;
mod groups;
mod handler;
mod histogram;
mod lifecycle;
mod pace;
mod phases;
mod pressure;
mod receive;
mod request;
mod send;
mod slots;
mod stats;
mod timers;
mod trace;
mod users;
mod wait;

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;

use crate::conn::arena::Arena;
use crate::conn::date::Date;
use crate::conn::{Connection, Flags, Peer, Phase};
use crate::wheel::Wheel;

pub use bind::{MAX_PARKED, MAX_PER_USER};
pub use config::{Config, ConfigError, Devices};
pub use flush::{Pending, Sent, Sink, Wrote};
pub use groups::{GroupError, MAX_GROUP_NAME, MAX_GROUPS};
pub use handler::{Accept, Handler, Printable, Refused, Reject, Reply, Upgrade};
pub use histogram::{Distributions, Histogram};
pub use lifecycle::{OpenError, SURPLUS};
pub use phases::Phases;
pub use stats::{Closes, Stats, Statuses};
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

/// Timeouts in milliseconds; `u64::MAX` for never.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    handshake: u64,
    message: u64,
    ping: u64,
    idle: u64,
    close: u64,
    keep_alive: u64,
    keep_known: u64,
    /// 0 for at once.
    reject: u64,
}

/// All connections and what is known of them: no sockets and no clock.
///
/// **A handler, or a host between turns,** sends
/// ([`send_text`](Hub::send_text), [`send_to_user`](Hub::send_to_user),
/// [`send_to_group`](Hub::send_to_group), [`broadcast`](Hub::broadcast)), closes
/// ([`close`](Hub::close), [`abort`](Hub::abort)), groups ([`join`](Hub::join),
/// [`leave`](Hub::leave)) and looks things up. Sending only queues bytes.
///
/// **Whoever runs it,** a [`Driver`](crate::Driver) or a simulator, alone calls
/// the rest. In one turn: [`open`](Hub::open) and [`receive`](Hub::receive) for
/// what has come; [`tick`](Hub::tick); [`pop_overdue`](Hub::pop_overdue) and
/// [`judge`](Hub::judge) for those whose time is over; [`pop_dirty`](Hub::pop_dirty),
/// [`pending`](Hub::pending) and [`sent`](Hub::sent) for what is to be written,
/// or [`write`](Hub::write), which is all of them and what a server does;
/// [`end_turn`](Hub::end_turn); [`reap`](Hub::reap) until it returns `None`.
/// Never from inside a callback.
///
/// ```
/// use std::time::Instant;
///
/// use longlink::{Config, Hub, Peer, Relay, RelayConfig};
///
/// let now = Instant::now();
/// let mut hub = Hub::new(Config::default(), now);
/// let mut relay = Relay::new(RelayConfig::default());
/// let conn = hub.open(Peer::UNKNOWN, true, now).unwrap();
/// hub.receive(&mut relay, conn, &mut b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), now);
/// hub.tick(&mut relay, now);
/// assert_eq!(hub.pop_dirty(), Some(conn));
/// let answer = hub.pending(conn).unwrap().single().unwrap();
/// assert!(answer.starts_with(b"HTTP/1.1 404 "));
/// ```
#[derive(Debug)]
pub struct Hub {
    config: Config,
    timeouts: Timeouts,
    /// What time 0 of the hub is.
    origin: Instant,
    /// The time of the current turn, as it was given and in milliseconds.
    turn: Instant,
    now: u64,
    conns: Slab<Connection>,
    next_serial: u32,
    slots: slots::Slots,
    /// How many connections get what is sent to everyone.
    active: u32,
    /// How many wait for their sockets to take more.
    blocked: u32,
    users: users::Users,
    groups: groups::Groups,
    addresses: addresses::Addresses,
    pace: pace::Pace,
    census: phases::Census,
    wheel: Wheel,
    /// When the right to be connected ends, in seconds; 0 for never. Set when a
    /// connection opens.
    ends: column::Column<u32>,
    arena: Arena,
    dirty: dirty::Dirty,
    /// A broadcast on its way.
    walk: Option<fan_out::Walk>,
    traces: trace::Traces,
    /// What answers say of the date; `None` while nobody has told.
    date: Option<Date>,
    /// Where an HTTP answer is put together.
    answer: Vec<u8>,
    /// To be freed at the end of the turn.
    ended: Vec<u32>,
    /// Paused for lack of work budget; parsed first next turn.
    paused: VecDeque<ConnId>,
    /// May be read again, and the driver wanted to.
    readable: Vec<u32>,
    /// Wait for the next tick to have their deadline set.
    untimed: Vec<ConnId>,
    /// Their deadline has passed; they are judged when their sockets have been read.
    overdue: Vec<Overdue>,
    /// When the loop came back from its last absence, in milliseconds; 0 for never.
    returned_at: u64,
    /// To be told that their queue has drained.
    drained: Vec<ConnId>,
    /// What is left of the turn's work budget.
    work: u32,
    /// How many connections whose sockets take bytes have more than half of a
    /// queue to write.
    pressed: u32,
    /// Bytes of partial messages and unparsed input.
    inbound_bytes: usize,
    draining: bool,
    /// When what a shutdown waits for is ended, in milliseconds; [`u64::MAX`] before one.
    drained_by: u64,
    stats: Stats,
    distributions: Distributions,
}

impl Hub {
    /// An empty hub whose time begins at `now`. Room for `max_connections` is
    /// reserved. [Check](Config::check) the configuration before: it is not
    /// done here.
    pub fn new(config: Config, now: Instant) -> Self {
        let millis = |timeout: Duration| match timeout {
            Duration::ZERO => u64::MAX,
            timeout => timeout.as_millis().clamp(1, u64::MAX as u128) as u64,
        };
        let timeouts = Timeouts {
            handshake: millis(config.handshake_timeout),
            message: millis(config.message_timeout),
            ping: millis(config.ping_after),
            idle: millis(config.idle_timeout),
            close: config.close_timeout.as_millis() as u64,
            keep_alive: millis(config.keep_alive_timeout),
            keep_known: millis(config.keep_known_timeout),
            reject: config.reject_delay.as_millis() as u64,
        };
        let most = config.max_connections + SURPLUS;
        Hub {
            timeouts,
            origin: now,
            turn: now,
            now: 0,
            conns: Slab::with_capacity(most),
            next_serial: 0,
            slots: slots::Slots::with_capacity(most),
            active: 0,
            blocked: 0,
            users: users::Users::with_capacity(config.max_connections),
            groups: groups::Groups::default(),
            addresses: addresses::Addresses::new(
                config.max_per_address,
                config.trusted_proxies.clone(),
            ),
            pace: pace::Pace::new(&config),
            census: phases::Census::default(),
            wheel: Wheel::with_capacity(most),
            ends: column::Column::default(),
            arena: Arena::new(),
            dirty: dirty::Dirty::default(),
            walk: None,
            traces: trace::Traces::default(),
            date: None,
            answer: Vec::new(),
            ended: Vec::new(),
            paused: VecDeque::new(),
            readable: Vec::new(),
            untimed: Vec::new(),
            overdue: Vec::new(),
            returned_at: 0,
            drained: Vec::new(),
            work: config.work_per_turn.div_ceil(2),
            pressed: 0,
            inbound_bytes: 0,
            draining: false,
            drained_by: u64::MAX,
            stats: Stats::default(),
            distributions: Distributions::default(),
            config,
        }
    }

    /// The limits and timeouts it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time of the current turn, as it was last given to the hub.
    pub fn now(&self) -> Instant {
        self.turn
    }

    /// Tells the date, which every HTTP answer says from then on (RFC 9110, section 6.6.1). The
    /// hub has no clock: whoever has one tells it again when a second has passed, as
    /// [`Server`](crate::Server) does. Without it answers have no `Date`.
    pub fn set_date(&mut self, now: SystemTime) {
        self.date = Date::of(now);
    }

    /// How many connections are held, in any phase: also those that are shaking
    /// hands, asking for pages, or closing.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// How many users have at least one open connection.
    pub fn online(&self) -> usize {
        self.users.len()
    }

    /// Some of the users who are online, at most `most` and in no order that says anything,
    /// and where the next page begins: `None` after the last one. The first begins at 0. Who
    /// is online throughout is in exactly one page, whoever comes and goes meanwhile.
    pub fn users(&self, from: u64, most: usize) -> (Vec<&str>, Option<u64>) {
        self.users.page(from, most, &self.conns)
    }

    /// Running totals.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How large what happens is: turns, delays, fan-outs.
    pub fn distributions(&self) -> &Distributions {
        &self.distributions
    }

    /// A turn has taken so long.
    pub(crate) fn note_turn(&mut self, took: Duration) {
        self.distributions.turns.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// How long the hub has existed, by the time of the current turn.
    pub fn uptime(&self) -> Duration {
        self.turn.saturating_duration_since(self.origin)
    }

    /// How many connections wait for their peers to read.
    pub fn waiting_for_peers(&self) -> usize {
        self.blocked as usize
    }

    /// How many groups have at least one connection.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of partial messages and of input that waits for its turn, a part of
    /// [`Hub::buffered`].
    pub fn buffered_input(&self) -> usize {
        self.inbound_bytes
    }

    /// Bytes in all queues and partial messages, shared encodings once: what
    /// `max_buffered` limits.
    pub fn buffered(&self) -> usize {
        self.arena.held() + self.inbound_bytes
    }

    /// The user of a connection, empty for an anonymous one. Also answers
    /// inside `on_close`. `None` when the connection is gone.
    pub fn user(&self, conn: ConnId) -> Option<&str> {
        self.resolve(conn).map(|conn| conn.user.as_str())
    }

    /// The device of a connection, usually empty.
    pub fn device(&self, conn: ConnId) -> Option<&str> {
        self.resolve(conn).map(Connection::device)
    }

    /// Where a connection comes from: behind a [trusted
    /// proxy](Config::trusted_proxies) its client, from the handshake on.
    pub fn peer(&self, conn: ConnId) -> Option<Peer> {
        self.resolve(conn).map(|conn| conn.peer)
    }

    /// How many handshakes from a connection's address were refused lately, none
    /// of them more than a minute after the one before. All of loopback, and
    /// Unix sockets, are one address.
    pub fn refusals(&self, conn: ConnId) -> u32 {
        self.peer(conn).map_or(0, |peer| self.addresses.refused(peer, self.now))
    }

    /// Whether a connection came in on a loopback address.
    pub fn is_loopback(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.flags.has(Flags::LOOPBACK))
    }

    /// The [tag](crate::Listener::with_tag) of the listener that a connection came in by;
    /// 0 when that has none, or the connection was adopted or is gone.
    pub fn listener(&self, conn: ConnId) -> u8 {
        self.resolve(conn).map_or(0, |conn| conn.listener)
    }

    /// Whether an answer has said that its client is [known](crate::Response::keep).
    pub fn is_known(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.kept)
    }

    /// Whether messages can be sent to it: it has been accepted and is not
    /// closing.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.phase == Phase::Open)
    }

    /// Whether another connection of the same user and device has taken its
    /// place, so that it gets nothing of the user's.
    pub fn is_parked(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.flags.has(Flags::PARKED))
    }

    /// Bytes that wait for this peer to read; 0 when it is gone.
    pub fn queued(&self, conn: ConnId) -> usize {
        self.pending(conn).map_or(0, |pending| pending.len())
    }

    /// The id of the connection that uses a slot now.
    pub fn id_at(&self, index: usize) -> Option<ConnId> {
        let serial = self.conns.get(index)?.serial;
        Some(ConnId { index: index as u32, serial })
    }

    /// The one way from an id to a connection. `None` is ordinary.
    #[inline]
    fn resolve(&self, conn: ConnId) -> Option<&Connection> {
        self.conns.get(conn.index as usize).filter(|record| record.serial == conn.serial)
    }

    #[inline]
    fn resolve_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.conns.get_mut(conn.index as usize).filter(|record| record.serial == conn.serial)
    }

    /// Takes over the time of the caller's turn. It never goes back.
    #[inline]
    fn set_now(&mut self, now: Instant) {
        if now != self.turn {
            self.turn = now;
            let passed = now.saturating_duration_since(self.origin);
            let now = passed.as_secs() * 1_000 + u64::from(passed.subsec_millis());
            self.now = self.now.max(now);
        }
    }
}
