//! What a callback gets, and what a host uses between turns: everything that an application may do
//! with connections, users and groups.
//!
//! The fields are the rooms of the hub. Those that own an invariant (`table`, `output`) have private
//! fields; the rest is what belongs to a turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::hub::output::Output;
use crate::hub::table::Table;
use crate::hub::table::record::Connection;
use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::wheel::Wheel;
use crate::wire::Peer;
use crate::wire::http::date::Date;

/// Timeouts in milliseconds; `u64::MAX` for never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub handshake: u64,
    pub message: u64,
    pub ping: u64,
    pub idle: u64,
    pub close: u64,
    pub keep_alive: u64,
    pub keep_known: u64,
    /// 0 for at once.
    pub reject: u64,
}

/// Connections, users and groups, for the application: a callback gets it, and a host has it between
/// turns from [`Hub`] or from [`Driver::parts`](crate::Driver::parts).
///
/// It sends ([`send`](Context::send), [`send_to_user`](Context::send_to_user),
/// [`send_to_group`](Context::send_to_group), [`broadcast`](Context::broadcast)), closes
/// ([`close`](Context::close), [`abort`](Context::abort)), groups ([`join`](Context::join),
/// [`leave`](Context::leave)), sets timers ([`set_timer`](Context::set_timer)) and looks things up.
/// Sending only queues bytes. It cannot run the hub: that is for whoever has the [`Hub`].
#[derive(Debug)]
pub struct Context {
    pub(super) config: Config,
    pub(super) timeouts: Timeouts,
    /// What time 0 of the hub is.
    pub(super) origin: Instant,
    /// The time of the current turn, as it was given and in milliseconds.
    pub(super) turn: Instant,
    pub(super) now: u64,
    pub(super) table: Table,
    pub(super) users: directory::users::Users,
    pub(super) groups: directory::groups::Groups,
    pub(super) addresses: directory::addresses::Addresses,
    pub(super) pace: input::pace::Pace,
    pub(super) wheel: Wheel,
    /// When the right to be connected ends, in seconds; 0 for never. Set when a
    /// connection opens.
    pub(super) ends: table::column::Column<u32>,
    /// With which code a connection is closed when a newer one takes its place; 0 for those that
    /// are parked then. Set when a connection opens.
    pub(super) replaced_codes: table::column::Column<u16>,
    /// The application's timers.
    pub(super) timers: Wheel,
    pub(super) output: Output,
    pub(super) traces: trace::Traces,
    /// What answers say of the date; `None` while nobody has told.
    pub(super) date: Option<Date>,
    /// To be freed at the end of the turn.
    pub(super) ended: Vec<u32>,
    /// Paused for lack of work budget; parsed first next turn.
    pub(super) paused: VecDeque<ConnId>,
    /// May be read again, and the driver wanted to.
    pub(super) readable: Vec<u32>,
    /// Wait for the next tick to have their deadline set.
    pub(super) untimed: Vec<ConnId>,
    /// Their deadline has passed; they are judged when their sockets have been read.
    pub(super) overdue: Vec<Overdue>,
    /// When the loop came back from its last absence, in milliseconds; 0 for never.
    pub(super) returned_at: u64,
    /// Are closing, and their application may say a last word.
    pub(super) parting: Vec<ConnId>,
    /// The connection on which the application says its last word.
    pub(super) speaking: Option<ConnId>,
    /// To be told that their queue has drained.
    pub(super) drained: Vec<ConnId>,
    /// The work that this turn may still do.
    pub(super) work: u32,
    /// Bytes of partial messages and unparsed input.
    pub(super) inbound_bytes: usize,
    /// Bytes that transports hold, of each connection and of all.
    pub(super) transports: table::column::Column<u32>,
    pub(super) transport_bytes: usize,
    pub(super) draining: bool,
    /// When what a shutdown waits for is ended, in milliseconds; [`u64::MAX`] before one.
    pub(super) drained_by: u64,
    pub(super) stats: Stats,
    pub(super) distributions: Distributions,
}

impl Context {
    /// Nothing yet, at the time `now`. Room for `max_connections` is reserved.
    pub(crate) fn new(config: Config, now: Instant) -> Self {
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
        Context {
            timeouts,
            origin: now,
            turn: now,
            now: 0,
            table: Table::with_capacity(most),
            users: directory::users::Users::with_capacity(config.max_connections),
            groups: directory::groups::Groups::default(),
            addresses: directory::addresses::Addresses::new(
                config.max_per_address,
                config.trusted_proxies.clone(),
            ),
            pace: input::pace::Pace::new(&config),
            wheel: Wheel::with_capacity(most),
            ends: table::column::Column::default(),
            replaced_codes: table::column::Column::default(),
            timers: Wheel::default(),
            output: Output::new(&config),
            traces: trace::Traces::default(),
            date: None,
            ended: Vec::new(),
            paused: VecDeque::new(),
            readable: Vec::new(),
            untimed: Vec::new(),
            overdue: Vec::new(),
            returned_at: 0,
            parting: Vec::new(),
            speaking: None,
            drained: Vec::new(),
            work: config.work_per_turn.div_ceil(2),
            inbound_bytes: 0,
            transports: table::column::Column::default(),
            transport_bytes: 0,
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

    pub(super) fn set_date(&mut self, now: SystemTime) {
        self.date = Date::of(now);
    }

    /// How many connections are held, in any phase: also those that are shaking
    /// hands, asking for pages, or closing.
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// How many users have at least one open connection.
    pub fn online(&self) -> usize {
        self.users.len()
    }

    /// Some of the users who are online, at most `most` and in no order that says anything,
    /// and where the next page begins: `None` after the last one. The first begins at 0. Who
    /// is online throughout is in exactly one page, whoever comes and goes meanwhile.
    pub fn users(&self, from: u64, most: usize) -> (Vec<&str>, Option<u64>) {
        self.users.page(from, most, &self.table)
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
    pub(super) fn note_turn(&mut self, took: Duration) {
        self.distributions.turns.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// How long the hub has existed, by the time of the current turn.
    pub fn uptime(&self) -> Duration {
        self.turn.saturating_duration_since(self.origin)
    }

    /// How many connections wait for their peers to read.
    pub fn waiting_for_peers(&self) -> usize {
        self.output.blocked()
    }

    /// How many groups have at least one connection.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of partial messages and of input that waits for its turn, a part of
    /// [`Context::buffered`].
    pub fn buffered_input(&self) -> usize {
        self.inbound_bytes
    }

    /// Bytes that [transports hold](crate::run::Transport::held), such as parts of TLS records, a part
    /// of [`Context::buffered`].
    pub fn buffered_by_transports(&self) -> usize {
        self.transport_bytes
    }

    /// Bytes in all queues, partial messages and transports, shared encodings once: what
    /// `max_buffered` limits.
    pub fn buffered(&self) -> usize {
        self.output.held() + self.inbound_bytes + self.transport_bytes
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
        self.resolve(conn).is_some_and(|conn| conn.facts.has(Facts::LOOPBACK))
    }

    /// The [tag](crate::Listener::with_tag) of the listener that a connection came in by;
    /// 0 when that has none, or the connection was adopted or is gone.
    pub fn listener(&self, conn: ConnId) -> u8 {
        self.resolve(conn).map_or(0, |conn| conn.listener)
    }

    /// Whether an answer has said that its client is [known](crate::http::Response::keep).
    pub fn is_known(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.is_known())
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

    /// How many bytes that were queued for a connection were never given to its socket: all of a
    /// connection's last messages have left if this is 0 in
    /// [`on_close`](super::Handler::on_close). A close frame counts like a message. Before the
    /// end it is what is [queued](Context::queued); 0 for a connection that is gone.
    pub fn unwritten(&self, conn: ConnId) -> usize {
        match self.resolve(conn) {
            Some(record) if record.phase == Phase::Ended => {
                record.details.as_ref().map_or(0, |details| details.unwritten)
            }
            _ => self.queued(conn),
        }
    }

    /// The id of the connection that uses a slot now.
    pub fn id_at(&self, index: usize) -> Option<ConnId> {
        self.table.id_at(u32::try_from(index).ok()?)
    }

    /// The one way from an id to a connection. `None` is ordinary.
    #[inline]
    pub(super) fn resolve(&self, conn: ConnId) -> Option<&Connection> {
        self.table.resolve(conn)
    }

    #[inline]
    pub(super) fn resolve_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.table.resolve_mut(conn)
    }

    /// Takes over the time of the caller's turn. It never goes back.
    #[inline]
    pub(super) fn set_now(&mut self, now: Instant) {
        if now != self.turn {
            self.begin_turn(now);
        }
    }

    /// A function of its own, since several events have the time of one turn.
    #[inline(never)]
    fn begin_turn(&mut self, now: Instant) {
        self.turn = now;
        let passed = now.saturating_duration_since(self.origin);
        let now = passed.as_secs() * 1_000 + u64::from(passed.subsec_millis());
        self.now = self.now.max(now);
    }
}
