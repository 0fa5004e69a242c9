//! What a callback gets, and what a host uses between turns: everything that an application may do
//! with connections, users and groups.
//!
//! The fields are the rooms of the hub. Those that own an invariant (`table`, `output`) have private
//! fields; the rest is what belongs to a turn.

use crate::hub::table::slots::Slot;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::hub::output::Output;
use crate::hub::table::Table;
use crate::hub::table::details::Spares;
use crate::hub::table::record::Connection;
use crate::hub::table::record::Facts;
use crate::hub::table::record::Phase;
use crate::wheel::Wheel;
use crate::wire::Peer;
use crate::wire::http::date::Date;

/// Timeouts in milliseconds; `u64::MAX` means never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub handshake: u64,
    pub message: u64,
    pub ping: u64,
    pub idle: u64,
    pub close: u64,
    pub keep_alive: u64,
    pub keep_known: u64,
    /// The delay of a refusal; 0 means none.
    pub reject: u64,
}

impl Timeouts {
    pub fn of(config: &Config) -> Self {
        let millis = |timeout: Duration| match timeout {
            Duration::ZERO => u64::MAX,
            timeout => timeout.as_millis().clamp(1, u64::MAX as u128) as u64,
        };
        Timeouts {
            handshake: millis(config.handshake_timeout),
            message: millis(config.message_timeout),
            ping: millis(config.ping_after),
            idle: millis(config.idle_timeout),
            close: config.close_timeout.as_millis() as u64,
            keep_alive: millis(config.keep_alive_timeout),
            keep_known: millis(config.keep_known_timeout),
            reject: config.reject_delay.as_millis() as u64,
        }
    }
}

/// Connections, users and groups, for the application. A callback gets it as an argument; between
/// turns a host gets it from [`Hub`] or from [`Driver::parts`](crate::Driver::parts).
///
/// It sends ([`send`](Context::send), [`send_to_user`](Context::send_to_user),
/// [`send_to_group`](Context::send_to_group), [`broadcast`](Context::broadcast)), closes
/// ([`close`](Context::close), [`abort`](Context::abort)), groups ([`join`](Context::join),
/// Sending only queues bytes. A `Context` cannot run the hub; only the owner of the [`Hub`] can.
/// Sending only queues bytes. It cannot run the hub: that is for whoever has the [`Hub`].
#[derive(Debug)]
pub struct Context {
    pub(super) config: Config,
    pub(super) timeouts: Timeouts,
    /// The loosest bounds so far, which [`Context::check_invariants`] needs.
    pub(super) loosest: change::Loosest,
    /// The instant that is time 0 of the hub.
    pub(super) origin: Instant,
    /// The time of the current turn, as it was given and in milliseconds.
    pub(super) turn: Instant,
    pub(super) now: u64,
    pub(super) table: Table,
    pub(super) users: directory::users::Users,
    pub(super) groups: directory::groups::Groups,
    pub(super) addresses: directory::addresses::Addresses,
    pub(super) ages: directory::ages::Ages,
    pub(super) pace: input::pace::Pace,
    pub(super) wheel: Wheel,
    /// Until when a connection may be open, in seconds; 0 means without an end. Set when the
    /// connection opens.
    pub(super) ends: table::column::Column<u32>,
    /// The code with which a connection is closed when a newer one replaces it; 0 means that it is
    /// parked instead. Set when the connection opens.
    pub(super) replaced_codes: table::column::Column<u16>,
    /// The application's timers.
    pub(super) timers: Wheel,
    pub(super) output: Output,
    pub(super) traces: trace::Traces,
    /// The date in HTTP answers; `None` until it was set.
    pub(super) date: Option<Date>,
    /// What time 0 of the hub is by the clock on the wall, in milliseconds since 1970.
    pub(super) unix_origin: u64,
    /// The time on that clock at which the next turn begins, if it was set since the last turn.
    pub(super) told: Option<u64>,
    /// Connections that are freed at the end of the turn.
    pub(super) ended: Vec<Slot>,
    /// Connections that are paused because the work budget was spent; they are parsed first in the
    /// next turn.
    pub(super) paused: VecDeque<ConnId>,
    /// Connections that the driver wanted to read and that may be read again.
    pub(super) readable: Vec<Slot>,
    /// Connections whose deadline is set in the next tick.
    pub(super) untimed: Vec<ConnId>,
    /// Connections whose deadline has passed; they are judged when their sockets have been read.
    pub(super) overdue: Vec<Overdue>,
    /// When the loop came back from its last absence, in milliseconds; 0 for never.
    pub(super) returned_at: u64,
    /// Connections that a shutdown closes in their turn.
    pub(super) leaving: lifecycle::Leaving,
    /// The details of connections that have gone, for the next ones.
    pub(super) spare_details: Spares,
    /// Connections that are closing and for which `on_closing` was not called yet.
    pub(super) parting: Vec<ConnId>,
    /// The connection for which `on_closing` runs now.
    pub(super) speaking: Option<ConnId>,
    /// The code and the text with which that connection is closed, if the application has chosen
    /// them.
    pub(super) last_code: Option<(u16, String)>,
    /// How many connections are open only to be told that there is no room for them.
    pub(super) told_full: usize,
    /// Connections whose queue has drained, and for which `on_drain` was not called yet.
    pub(super) drained: Vec<ConnId>,
    /// How much work this turn may still do.
    pub(super) work: u32,
    /// The bytes of partial messages and of input that is not parsed.
    pub(super) inbound_bytes: usize,
    /// The bytes that transports hold, for each connection and in all.
    pub(super) transports: table::column::Column<u32>,
    pub(super) transport_bytes: usize,
    pub(super) draining: bool,
    /// When a shutdown ends the connections that it waits for, in milliseconds; [`u64::MAX`] before
    /// a shutdown.
    pub(super) drained_by: u64,
    pub(super) stats: Stats,
    pub(super) distributions: Distributions,
}

impl Context {
    /// Makes a context without connections at the time `now`. Reserves room for `max_connections`.
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let most = config.max_connections + SURPLUS;
        Context {
            timeouts: Timeouts::of(&config),
            loosest: change::Loosest { queue: config.max_queue, user: config.max_per_user },
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
            ages: directory::ages::Ages::default(),
            pace: input::pace::Pace::new(&config),
            wheel: Wheel::with_capacity(most),
            ends: table::column::Column::default(),
            replaced_codes: table::column::Column::default(),
            timers: Wheel::default(),
            output: Output::new(&config),
            traces: trace::Traces::default(),
            date: None,
            unix_origin: 0,
            told: None,
            ended: Vec::new(),
            paused: VecDeque::new(),
            readable: Vec::new(),
            untimed: Vec::new(),
            overdue: Vec::new(),
            returned_at: 0,
            leaving: lifecycle::Leaving::default(),
            spare_details: Spares::default(),
            parting: Vec::new(),
            speaking: None,
            last_code: None,
            told_full: 0,
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

    /// Returns the limits and timeouts: those with which the hub was made, or those of the last
    /// [`Context::set_config`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the time of the current turn, as it was last given to the hub.
    pub fn now(&self) -> Instant {
        self.turn
    }

    pub(super) fn set_date(&mut self, now: SystemTime) {
        self.date = Date::of(now);
        let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.told = u64::try_from(unix.as_millis()).ok();
    }

    /// The time of the current turn in milliseconds since 1970, by the clock that the
    /// [date](crate::Hub::set_date) was last told of. While it was never told it is the time since the
    /// hub began.
    pub fn unix_millis(&self) -> u64 {
        self.unix_origin + self.now
    }

    /// The time of the current turn in milliseconds since the hub was made.
    #[inline(always)]
    pub(crate) fn millis(&self) -> u64 {
        self.now
    }

    /// The beginning of a second of [`Context::uptime`].
    pub(crate) fn at_second(&self, second: u32) -> Instant {
        self.origin + Duration::from_secs(second.into())
    }

    /// A time in milliseconds of [`Context::uptime`].
    pub(crate) fn at_millis(&self, millis: u64) -> Instant {
        self.origin + Duration::from_millis(millis)
    }

    /// Returns how many connections there are in any phase, including those that make a handshake,
    /// ask for pages, or close.
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// Returns how many users have at least one open connection.
    pub fn online(&self) -> usize {
        self.users.len()
    }

    /// Returns some of the users who are online, at most `most` and in no meaningful order, and the
    /// place of the next page: `None` after the last page. The first page begins at 0. A user who
    /// is online the whole time is in exactly one page, whoever else comes and goes.
    pub fn users(&self, from: u64, most: usize) -> (Vec<&str>, Option<u64>) {
        self.users.page(from, most, &self.table)
    }

    /// Does what [`Context::users`] does with those users for whose ids `matches` returns true. It looks at
    /// about `looked` users, so a page may have fewer users than `most`, or none, and yet a next page.
    pub fn find_users(
        &self,
        from: u64,
        matches: impl FnMut(&str) -> bool,
        most: usize,
        looked: usize,
    ) -> (Vec<&str>, Option<u64>) {
        self.users.find_some(from, matches, (most, looked), &self.table)
    }

    /// Returns about how long ago a connection was accepted: at most ten seconds too long, or one percent.
    /// `None` if the connection is gone.
    pub fn age(&self, conn: ConnId) -> Option<Duration> {
        self.resolve(conn)?;
        Some(Duration::from_millis(self.now.saturating_sub(self.ages.of(conn.serial))))
    }

    /// Returns the totals so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the distributions of the lengths of turns, of delays, and of the sizes of fan-outs.
    pub fn distributions(&self) -> &Distributions {
        &self.distributions
    }

    /// Counts a turn that has taken this long.
    pub(super) fn note_turn(&mut self, took: Duration) {
        self.distributions.turns.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns how long the hub has existed, by the time of the current turn.
    pub fn uptime(&self) -> Duration {
        self.turn.saturating_duration_since(self.origin)
    }

    /// Returns how many connections wait for their peers to read.
    pub fn waiting_for_peers(&self) -> usize {
        self.output.blocked()
    }

    /// Returns how many groups have at least one connection.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Returns the bytes of partial messages and of input that waits to be parsed. They are a part
    /// of [`Context::buffered`].
    pub fn buffered_input(&self) -> usize {
        self.inbound_bytes
    }

    /// Returns the bytes that [transports hold](crate::run::Transport::held), such as parts of TLS
    /// records. They are a part of [`Context::buffered`].
    pub fn buffered_by_transports(&self) -> usize {
        self.transport_bytes
    }

    /// Returns the bytes in all queues, partial messages and transports; shared encodings count
    /// once. `max_buffered` limits this number.
    pub fn buffered(&self) -> usize {
        self.output.held() + self.inbound_bytes + self.transport_bytes
    }

    /// Returns the user of a connection; empty for an anonymous one. It also works inside
    /// `on_close`. `None` if the connection is gone.
    pub fn user(&self, conn: ConnId) -> Option<&str> {
        self.resolve(conn).map(|conn| conn.user.as_str())
    }

    /// Returns the device of a connection, which is usually empty; `None` if the connection is
    /// gone.
    pub fn device(&self, conn: ConnId) -> Option<&str> {
        self.resolve(conn).map(Connection::device)
    }

    /// Returns the address of a connection's client. Behind a [trusted
    /// proxy](Config::trusted_proxies) it is the client's own address, from the handshake on.
    /// `None` if the connection is gone.
    pub fn peer(&self, conn: ConnId) -> Option<Peer> {
        self.resolve(conn).map(|conn| conn.peer)
    }

    /// Returns how many handshakes from a connection's address were refused recently, none of them
    /// more than a minute after the one before. All loopback addresses and Unix sockets count as
    /// one address.
    pub fn refusals(&self, conn: ConnId) -> u32 {
        self.peer(conn).map_or(0, |peer| self.addresses.refused(peer, self.now))
    }

    /// Whether a connection came to a listener on a loopback address.
    pub fn is_loopback(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.facts.has(Facts::LOOPBACK))
    }

    /// Returns the [tag](crate::Listener::with_tag) of a connection's listener; 0 if the listener
    /// has none, or the connection was adopted or is gone.
    pub fn listener(&self, conn: ConnId) -> u8 {
        self.resolve(conn).map_or(0, |conn| conn.listener)
    }

    /// Whether an answer has said that the connection's client is
    /// [known](crate::http::Response::keep).
    pub fn is_known(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.is_known())
    }

    /// Whether messages can be sent to a connection: it was accepted and is not closing.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.phase() == Phase::Open)
    }

    /// Whether another connection of the same user and device has replaced this one, so that it
    /// gets no messages for the user.
    pub fn is_parked(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|conn| conn.is_parked())
    }

    /// Returns how many bytes wait for this peer to read; 0 if the connection is gone.
    pub fn queued(&self, conn: ConnId) -> usize {
        self.pending(conn).map_or(0, |pending| pending.len())
    }

    /// Returns how many queued bytes of a connection were never given to its socket. If it returns
    /// 0 in [`on_close`](super::Handler::on_close), all of the last messages were written. A close
    /// frame counts like a message. Before the end it is the same as [queued](Context::queued); 0
    /// if the connection is gone.
    pub fn unwritten(&self, conn: ConnId) -> usize {
        match self.resolve(conn) {
            Some(record) if record.phase() == Phase::Ended => {
                record.details.get().map_or(0, |rare| rare.unwritten)
            }
            _ => self.queued(conn),
        }
    }

    /// Returns the id of the connection that uses a slot now.
    pub fn id_at(&self, index: usize) -> Option<ConnId> {
        self.table.id_at(Slot::of(index)?)
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
        if let Some(unix) = self.told.take() {
            self.unix_origin = unix.saturating_sub(self.now);
        }
    }
}
