//! Deadlines: the timer wheel has at most one deadline for each connection.
//!
//! The true deadline of an open connection follows from its last sign of life. A sign of life
//! only stores a time, and the wheel keeps the old deadline. When this deadline comes, the true
//! one is computed and armed. Only a deadline that moves to an earlier time is armed at once.
//!
//! A deadline that has passed does not prove that a peer is silent or late, because bytes from
//! the peer may wait in its socket. So [`Hub::tick`](crate::Hub::tick) only finds the connections
//! whose deadline has passed, the driver reads their sockets, and [`Hub::judge`](crate::Hub::judge)
//! then decides.

use crate::hub::table::slots::Slot;
use std::time::{Duration, Instant};

use crate::hub::table::record::Connection;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::frame::PING;

use super::{App, ConnId, Context, Handler, Timeouts};

/// How many timers one turn handles at most. More are due only when very many connections were
/// opened within one tick of the wheel.
const TIMERS_PER_TURN: u32 = 4_096;
/// How many connections one turn reads at most because their deadline has passed. The next turn
/// reads the others.
const JUDGED_PER_TURN: usize = 1_024;
/// After how many milliseconds a connection is examined again that could not be judged because
/// not all of its input was handled.
const LOOK_AGAIN_MS: u64 = 100;
/// A loop that calls the hub this many milliseconds after the earliest deadline was absent: its
/// process was stopped or its machine suspended.
pub(super) const ABSENCE_MS: u64 = 5_000;
/// A loop that is as late again within so many milliseconds counts as slow and not as absent.
/// Otherwise the hub would never judge a connection under a loop that is always late.
const NEXT_ABSENCE_MS: u64 = 60_000;

/// A connection whose deadline has passed. It is silent or late only if nothing from the peer
/// waits in its socket: see [`Hub::pop_overdue`](crate::Hub::pop_overdue).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it is only judged by `Hub::judge`"]
pub struct Overdue {
    conn: ConnId,
    /// The phase in which the connection was late.
    phase: Phase,
    /// The deadline that was armed when the connection was found overdue. If the connection has
    /// another deadline when it is judged, something has happened in between.
    armed: Option<u64>,
}

impl Overdue {
    /// The connection.
    pub fn conn(&self) -> ConnId {
        self.conn
    }
}

impl Context {
    /// Does what is due: sends pings, finds connections whose deadline has passed, continues with
    /// input for which the last turn had no work left, and renews the work budget of the turn.
    /// Call it once a turn, before writing, and [`Hub::pop_overdue`](crate::Hub::pop_overdue)
    /// after it. It runs callbacks.
    // `Hub::receive_inline` says why this has to be marked.
    #[inline(always)]
    pub(super) fn tick<H: Handler>(&mut self, app: &mut App<H>, now: Instant) {
        self.set_now(now);
        // Half of the work is for input that waits since an earlier turn, and half for input that
        // arrives now. One broadcast can cost more than the work of a whole turn, and neither half
        // may wait until the other has no input left.
        let share = self.config.work_per_turn.div_ceil(2);
        self.work = self.allowance_with_lists(share);
        while let Some(conn) = self.untimed.pop() {
            self.time_closing(conn);
        }
        // Connections of the last turn that were not judged are due again soon, and listed again.
        self.overdue.clear();
        if let Some(due) = self.wheel.next_deadline().filter(|due| *due <= self.now) {
            self.distributions.timer_lag.note(self.now - due);
            if self.now - due >= ABSENCE_MS {
                self.come_back();
            }
            let mut budget = TIMERS_PER_TURN;
            while self.overdue.len() < JUDGED_PER_TURN
                && let Some(index) = self.wheel.pop_due(self.now, &mut budget)
            {
                self.due(Slot::from_key(index));
            }
        }
        if self.draining {
            self.go_on_leaving();
        }
        self.say_last_words(app);
        let mut budget = TIMERS_PER_TURN;
        while let Some(key) = self.timers.pop_due(self.now, &mut budget) {
            app.on_timer(self, key);
        }
        self.resume(app);
        self.work = self.allowance_with_lists(self.work.max(share));
        for conn in std::mem::take(&mut self.drained) {
            if self.is_open(conn) {
                app.on_drain(self, conn);
            }
        }
        self.tell_traced(app);
    }

    /// Returns a connection whose deadline has passed. The caller first hands over what waits in
    /// the socket: it calls [`Hub::receive`](crate::Hub::receive) for the bytes that can be read
    /// and [`Hub::input_ended`](crate::Hub::input_ended) for the end of the stream, and it writes
    /// what is pending if the socket takes bytes again. Then it calls
    /// [`Hub::judge`](crate::Hub::judge). Call this function after each
    /// [`Hub::tick`](crate::Hub::tick) until it returns `None`; otherwise the hub never ends a
    /// silent or late connection.
    pub(super) fn pop_overdue(&mut self) -> Option<Overdue> {
        while let Some(overdue) = self.overdue.pop() {
            if self.resolve(overdue.conn).is_some_and(|conn| conn.phase() != Phase::Ended) {
                return Some(overdue);
            }
        }
        None
    }

    /// Ends a connection whose deadline has passed, unless what was handed over since
    /// [`Hub::pop_overdue`](crate::Hub::pop_overdue) has given it a new one. `all_read` is false
    /// when the socket has more to read and [`Hub::may_read`](crate::Hub::may_read) would allow
    /// that: the connection is then examined again a moment later. It runs callbacks.
    pub(super) fn judge<H: Handler>(&mut self, app: &mut App<H>, overdue: Overdue, all_read: bool) {
        let Overdue { conn, phase, armed } = overdue;
        let Some(record) = self.resolve(conn) else { return };
        let index = conn.index;
        // Bytes that the hub has not parsed yet count as bytes that wait in the socket.
        let all_read = all_read && !record.flags.has(Flags::PAUSED);
        let has_moved_on = record.phase() != phase || self.wheel.deadline(index.key()) != armed;
        match record.phase() {
            Phase::Open if all_read => self.open_due(index),
            Phase::Head if has_moved_on || !all_read => {}
            Phase::Head if self.is_uploading(index) => self.upload_due(app, index),
            Phase::Head if self.is_awaited(index) => self.awaited_due(index),
            // An answer that the socket has not refused will be written in this turn.
            Phase::Head
                if record.flags.has(Flags::ANSWERING) && !record.flags.has(Flags::BLOCKED) => {}
            Phase::Head => self.end(index, CloseReason::HandshakeTimeout),
            // Bytes that still arrive are dropped, so they need not be read first.
            phase if phase.is_closing() && !has_moved_on => self.end_closing(index),
            _ => {}
        }
    }

    /// Returns when the loop that runs the hub returned from its last absence; `None` if it was
    /// never absent. The loop counts as absent when it calls the hub more than five seconds after
    /// the time that [`Hub::next_deadline`](crate::Hub::next_deadline) has returned: its process
    /// was stopped or its machine suspended.
    pub fn returned_at(&self) -> Option<Instant> {
        let after = Duration::from_millis(self.returned_at);
        (self.returned_at > 0).then_some(self.origin + after)
    }

    /// Called when the loop was absent. Peers could not reach the server meanwhile, so the time of
    /// the absence counts for no deadline. An open connection that has been silent for long gets a
    /// ping, and the peer has until the idle timeout to answer. Each other connection has the
    /// whole time of its phase again, but a shutdown ends at the latest after the close timeout, counted from now.
    #[cold]
    fn come_back(&mut self) {
        if self.returned_at > 0 && self.now < self.returned_at + NEXT_ABSENCE_MS {
            return;
        }
        self.returned_at = self.now;
        let Timeouts { handshake, message, close, .. } = self.timeouts;
        if self.draining {
            self.drained_by = self.now.saturating_add(close);
        }
        let indices: Vec<Slot> = self.table.indices();
        for index in indices {
            let uploading = self.is_uploading(index);
            let delays_shutdown = self.draining && self.misses_something(index);
            let conn = &mut self.table[index];
            let time = match conn.phase() {
                Phase::Open => {
                    conn.flags.clear(Flags::PINGED);
                    if let Some(inbound) = conn.inbound.as_mut().filter(|it| it.started > 0) {
                        inbound.started = self.now.max(1);
                    }
                    self.arm_open(index);
                    continue;
                }
                Phase::Head if uploading => message,
                Phase::Head => handshake,
                Phase::Parting | Phase::FlushThenDrain | Phase::FlushThenEnd | Phase::Draining => {
                    close
                }
                Phase::Held | Phase::Ended => continue,
            };
            let mut at = self.now.saturating_add(time);
            if delays_shutdown {
                at = at.min(self.drained_by);
            }
            if self.wheel.deadline(index.key()).is_some_and(|armed| armed < at) {
                self.wheel.disarm(index.key());
                self.arm(index, at);
            }
        }
    }

    /// Returns by when [`Hub::tick`](crate::Hub::tick) has to be called next; an earlier call does
    /// no harm. Returns `None` when nothing will be due.
    // `Hub::receive_inline` says why this has to be marked.
    #[inline(always)]
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let busy = self.has_dirty()
            || !self.ended.is_empty()
            || !self.paused.is_empty()
            || !self.readable.is_empty()
            || !self.drained.is_empty()
            || !self.untimed.is_empty()
            || self.traces.has_events();
        let due = || [self.wheel.next_deadline(), self.timers.next_deadline()];
        let at = match busy {
            true => self.now,
            false if self.draining => {
                due().into_iter().chain([self.leaving.due()]).flatten().min()?
            }
            false => due().into_iter().flatten().min()?,
        };
        Some(self.origin + Duration::from_millis(at))
    }

    /// Sets the one timer of a key, in place of an earlier setting: at `at`, rounded up to
    /// [`TICK_MS`](crate::run::TICK_MS) milliseconds, [`Handler::on_timer`] is called with the key.
    /// Keys are small numbers, since a timer takes 16 bytes for each number up to the largest.
    /// Returns false, having done nothing, for a key above [`Context::MOST_TIMERS`].
    pub fn set_timer(&mut self, key: u32, at: Instant) -> bool {
        if key >= Self::MOST_TIMERS {
            return false;
        }
        let passed = at.saturating_duration_since(self.origin).as_millis();
        self.timers.arm(key, u64::try_from(passed).unwrap_or(u64::MAX));
        true
    }

    /// Cancels the timer of a key. Does nothing when this timer is not set.
    pub fn clear_timer(&mut self, key: u32) {
        self.timers.disarm(key);
    }

    /// The keys of timers are smaller than this number.
    pub const MOST_TIMERS: u32 = 1 << 20;

    /// Called on a sign of life after a ping. It arms the deadline of the next ping, which is
    /// earlier than the armed idle timeout.
    pub(super) fn clear_pinged(&mut self, index: Slot) {
        let conn = &mut self.table[index];
        if conn.flags.has(Flags::PINGED) {
            conn.flags.clear(Flags::PINGED);
            self.arm_open(index);
        }
    }

    /// Arms the true deadline of an open connection if no deadline is armed or the armed one is
    /// later.
    pub(super) fn arm_open(&mut self, index: Slot) {
        if let Some(conn) = self.table.get(index)
            && conn.phase() == Phase::Open
        {
            let at = self.open_deadline(index, conn);
            if self.wheel.deadline(index.key()).is_none_or(|armed| at < armed) {
                self.arm(index, at);
            }
        }
    }

    pub(super) fn arm(&mut self, index: Slot, at: u64) {
        if at == u64::MAX {
            self.wheel.disarm(index.key())
        } else {
            self.wheel.arm(index.key(), at)
        }
    }

    fn open_deadline(&self, index: Slot, conn: &Connection) -> u64 {
        if conn.is_held_back() {
            // The server does not read this connection, so the peer is neither silent nor slow.
            return self.end_of_right(index).min(self.pace_deadline(index));
        }
        let ping = if conn.flags.has(Flags::PINGED) { u64::MAX } else { self.timeouts.ping };
        let silence = self.alive(conn).saturating_add(ping.min(self.timeouts.idle));
        silence.min(self.message_deadline(conn)).min(self.end_of_right(index))
    }

    /// Returns until when the connection has the right to be connected, in milliseconds; `u64::MAX`
    /// when this right has no end.
    fn end_of_right(&self, index: Slot) -> u64 {
        match self.ends.get(index) {
            0 => u64::MAX,
            seconds => u64::from(seconds) * 1_000,
        }
    }

    /// Sets until when the connection has the right to be connected, rounded up to a second.
    pub(super) fn set_end_of_right(&mut self, index: Slot, at: Option<Instant>) {
        let seconds = at.map_or(0, |at| {
            let passed = at.saturating_duration_since(self.origin).as_millis();
            u32::try_from(passed.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
        });
        self.ends.set(index, seconds);
    }

    pub(super) fn message_deadline(&self, conn: &Connection) -> u64 {
        match &conn.inbound {
            Some(inbound) if inbound.started > 0 => {
                inbound.started.saturating_add(self.timeouts.message)
            }
            _ => u64::MAX,
        }
    }

    fn time_closing(&mut self, conn: ConnId) {
        let Some(record) = self.resolve(conn) else { return };
        if record.phase().is_closing() {
            self.wheel.disarm(conn.index.key());
            // A close timeout of zero also lets the last bytes be written once: the next tick ends
            // the connection.
            let due = self.now.saturating_add(self.timeouts.close.max(1));
            // A connection that begins to close when the time of a shutdown is over still has one
            // millisecond, so that its last bytes are written once.
            self.wheel.arm(conn.index.key(), due.min(self.drained_by.max(self.now + 1)));
        }
    }

    /// Returns since when a connection has been silent, without the time in which the loop was
    /// absent.
    fn alive(&self, conn: &Connection) -> u64 {
        let Timeouts { ping, idle, .. } = self.timeouts;
        // If pings are sent, the connection gets one after the absence, before it is judged.
        let asked_after = if ping < idle { ping } else { 0 };
        conn.alive().max(self.returned_at.saturating_sub(asked_after))
    }

    /// Called when the armed deadline of a connection has passed.
    fn due(&mut self, index: Slot) {
        match self.table[index].phase() {
            Phase::Open => self.open_may_be_due(index),
            Phase::Head
            | Phase::Parting
            | Phase::FlushThenDrain
            | Phase::FlushThenEnd
            | Phase::Draining => {
                self.set_overdue(index);
            }
            Phase::Held => self.refuse_held(index),
            Phase::Ended => {}
        }
    }

    /// Lists a connection as overdue: its socket is read before it is judged.
    fn set_overdue(&mut self, index: Slot) {
        self.wheel.disarm(index.key());
        self.wheel.arm(index.key(), self.now.saturating_add(LOOK_AGAIN_MS));
        let conn = &self.table[index];
        let armed = self.wheel.deadline(index.key());
        let conn_id = ConnId { index, serial: conn.serial() };
        self.overdue.push(Overdue { conn: conn_id, phase: conn.phase(), armed });
    }

    /// Called when the armed deadline of an open connection has passed. Its true deadline may be
    /// later, because of signs of life.
    fn open_may_be_due(&mut self, index: Slot) {
        let conn = &self.table[index];
        let silent = self.now - self.alive(conn).min(self.now);
        if self.end_of_right(index) <= self.now {
            // A connection that stands aside may be that of a refused client, which is told why: no
            // ticket of it has expired.
            self.stats.expired += u64::from(!conn.is_aside());
            self.close_with(index, CloseReason::Expired);
        } else if conn.is_held_back() {
            if self.pays_off(index) {
                self.paused.push_back(ConnId { index, serial: conn.serial() });
            }
            self.arm_open(index);
        } else if self.message_deadline(conn) <= self.now || silent >= self.timeouts.idle {
            self.set_overdue(index);
        } else {
            if silent >= self.timeouts.ping && !conn.flags.has(Flags::PINGED) {
                self.stats.pings += 1;
                self.table[index].flags.set(Flags::PINGED);
                self.queue_control(index, PING, b"");
            }
            self.arm_open(index);
        }
    }

    /// Called when the socket of an overdue open connection was read. If the peer is still silent
    /// or late, the connection is closed; otherwise its true deadline is armed.
    fn open_due(&mut self, index: Slot) {
        let conn = &self.table[index];
        let silent = self.now - self.alive(conn).min(self.now);
        if self.message_deadline(conn) <= self.now {
            self.close_with(index, CloseReason::MessageTimeout);
        } else if silent >= self.timeouts.idle {
            self.stats.idle += 1;
            self.close_with(index, CloseReason::Idle);
        } else {
            self.wheel.disarm(index.key());
            self.arm_open(index);
        }
    }
}
