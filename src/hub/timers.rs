//! Deadlines: one per connection, extended lazily, shortened eagerly.
//!
//! An open connection's true deadline is computed from when it was last alive.
//! A sign of life is one store; the wheel keeps the old deadline, and when that
//! comes due the true one is looked at. Only a deadline that moves to an
//! earlier time is armed at once.
//!
//! A deadline that has passed does not say that a peer is silent or late: the
//! proof that it is not may wait in its socket. So [`Hub::tick`](crate::Hub::tick) only finds out
//! whose deadline has passed, whoever has the sockets reads them, and
//! [`Hub::judge`](crate::Hub::judge) decides after that.

use crate::hub::table::slots::Slot;
use std::time::{Duration, Instant};

use crate::hub::table::record::Connection;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::frame::PING;

use super::{App, ConnId, Context, Handler, Timeouts};

/// Timers looked at per turn. More are due only when very many connections
/// were opened within one tick of the wheel.
const TIMERS_PER_TURN: u32 = 4_096;
/// Connections per turn that are read because their deadline has passed. The others
/// have their turn in the next one.
const JUDGED_PER_TURN: usize = 1_024;
/// When a connection is looked at again that could not be judged, in milliseconds: not
/// all that waits for it has been handled.
const LOOK_AGAIN_MS: u64 = 100;
/// A loop that comes this much later than the earliest deadline, in milliseconds, was
/// absent: its process was stopped or its machine suspended.
const ABSENCE_MS: u64 = 5_000;
/// A loop that is as late again within so many milliseconds is slow and not absent.
/// Otherwise a loop that is always late would never judge anybody.
const NEXT_ABSENCE_MS: u64 = 60_000;

/// A connection whose deadline has passed. It is silent or late only if there is nothing
/// from it in its socket either: see [`Hub::pop_overdue`](crate::Hub::pop_overdue).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it is only judged by `Hub::judge`"]
pub struct Overdue {
    conn: ConnId,
    /// The phase in which the connection was late.
    phase: Phase,
    /// The deadline it has until it is judged. Any other was set for a new reason.
    armed: Option<u64>,
}

impl Overdue {
    /// The connection.
    pub fn conn(&self) -> ConnId {
        self.conn
    }
}

impl Context {
    /// Does what is due: pings connections, finds those whose time is over, goes on
    /// parsing what a spent budget left over, and renews the turn's budget. Call it
    /// once a turn, before writing, and [`Hub::pop_overdue`](crate::Hub::pop_overdue) after it. Callbacks run
    /// from here.
    pub(super) fn tick<H: Handler>(&mut self, app: &mut App<H>, now: Instant) {
        self.set_now(now);
        // Half of the work for those who have waited, half for what arrives: a
        // broadcast can cost more than a whole turn has, and neither side must
        // wait for the other to run dry.
        let share = self.config.work_per_turn.div_ceil(2);
        self.work = self.allowance_with_lists(share);
        while let Some(conn) = self.untimed.pop() {
            self.time_closing(conn);
        }
        // Connections that were not judged are listed again.
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

    /// A connection whose deadline has passed. Before anything is done to it, hand over
    /// what waits in its socket: call [`Hub::receive`](crate::Hub::receive) for what can be read,
    /// [`Hub::input_ended`](crate::Hub::input_ended) for the end of the stream, and write what is pending if the
    /// socket takes bytes again. Then call [`Hub::judge`](crate::Hub::judge). Whoever runs the hub does this
    /// after each [`Hub::tick`](crate::Hub::tick) until it returns `None`: without it nobody is ever silent
    /// or late.
    pub(super) fn pop_overdue(&mut self) -> Option<Overdue> {
        while let Some(overdue) = self.overdue.pop() {
            if self.resolve(overdue.conn).is_some_and(|conn| conn.phase() != Phase::Ended) {
                return Some(overdue);
            }
        }
        None
    }

    /// Ends a connection whose deadline has passed, unless what was handed over since
    /// [`Hub::pop_overdue`](crate::Hub::pop_overdue) has given it a new one. `all_read` is false when its socket
    /// has more to read, which [`Hub::may_read`](crate::Hub::may_read) would allow: then it is looked at again a
    /// moment later. Callbacks run from here.
    pub(super) fn judge<H: Handler>(&mut self, app: &mut App<H>, overdue: Overdue, all_read: bool) {
        let Overdue { conn, phase, armed } = overdue;
        let Some(record) = self.resolve(conn) else { return };
        let index = conn.index;
        // What waits here, unparsed, counts as what waits in the socket.
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
            // What still arrives is thrown away, so it need not be read to its end.
            phase if phase.is_closing() && !has_moved_on => self.end_closing(index),
            _ => {}
        }
    }

    /// When the loop that runs the hub came back from its last absence; `None` if it never
    /// was absent. It counts as absent when it comes more than five seconds later than
    /// [`Hub::next_deadline`](crate::Hub::next_deadline) has asked: its process was stopped or its machine suspended.
    pub fn returned_at(&self) -> Option<Instant> {
        let after = Duration::from_millis(self.returned_at);
        (self.returned_at > 0).then_some(self.origin + after)
    }

    /// The loop was absent. Peers could not reach it, and what they have sent may not
    /// have arrived again: nothing is judged by time that passed meanwhile. Open
    /// connections that have been silent for long are pinged and have until the idle
    /// timeout to answer, all others have the whole time of their phase again.
    #[cold]
    fn come_back(&mut self) {
        if self.returned_at > 0 && self.now < self.returned_at + NEXT_ABSENCE_MS {
            return;
        }
        self.returned_at = self.now;
        let Timeouts { handshake, message, close, .. } = self.timeouts;
        let indices: Vec<Slot> = self.table.indices();
        for index in indices {
            let uploading = self.is_uploading(index);
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
            let at = self.now.saturating_add(time);
            if self.wheel.deadline(index.key()).is_some_and(|armed| armed < at) {
                self.wheel.disarm(index.key());
                self.arm(index, at);
            }
        }
    }

    /// When [`Hub::tick`](crate::Hub::tick) has to be called next at the latest. Early calls are
    /// harmless. `None` when nothing will ever be due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let busy = self.has_dirty()
            || !self.ended.is_empty()
            || !self.paused.is_empty()
            || !self.readable.is_empty()
            || !self.drained.is_empty()
            || !self.untimed.is_empty()
            || self.traces.has_events();
        let due = || [self.wheel.next_deadline(), self.timers.next_deadline()];
        let at = if busy { self.now } else { due().into_iter().flatten().min()? };
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

    /// Takes the timer of a key back. Does nothing when it is not set.
    pub fn clear_timer(&mut self, key: u32) {
        self.timers.disarm(key);
    }

    /// Timers have keys below this.
    pub const MOST_TIMERS: u32 = 1 << 20;

    /// A sign of life after a ping: the next ping is due before the expiry
    /// that is armed.
    pub(super) fn clear_pinged(&mut self, index: Slot) {
        let conn = &mut self.table[index];
        if conn.flags.has(Flags::PINGED) {
            conn.flags.clear(Flags::PINGED);
            self.arm_open(index);
        }
    }

    /// Arms the true deadline of an open connection, if that is earlier than
    /// the armed one or none is.
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
        if conn.is_held_for_rate() {
            // The server holds it back, so it is neither silent nor slow.
            return self.end_of_right(index).min(self.pace_deadline(index));
        }
        let ping = if conn.flags.has(Flags::PINGED) { u64::MAX } else { self.timeouts.ping };
        let silence = self.alive(conn).saturating_add(ping.min(self.timeouts.idle));
        silence.min(self.message_deadline(conn)).min(self.end_of_right(index))
    }

    /// When it may be connected no longer.
    fn end_of_right(&self, index: Slot) -> u64 {
        match self.ends.get(index) {
            0 => u64::MAX,
            seconds => u64::from(seconds) * 1_000,
        }
    }

    /// Sets when it may be connected no longer, rounded up to a second.
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
            let due = self.now.saturating_add(self.timeouts.close);
            // What begins to close after a shutdown's time is written once all the same.
            self.wheel.arm(conn.index.key(), due.min(self.drained_by.max(self.now + 1)));
        }
    }

    /// Since when a connection has been silent. Time does not count in which the loop
    /// was absent.
    fn alive(&self, conn: &Connection) -> u64 {
        let Timeouts { ping, idle, .. } = self.timeouts;
        // It is asked before it is judged, if there are pings.
        let asked_after = if ping < idle { ping } else { 0 };
        conn.alive().max(self.returned_at.saturating_sub(asked_after))
    }

    /// The deadline that was armed for a connection has come.
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

    /// Has a connection looked at before it is judged.
    fn set_overdue(&mut self, index: Slot) {
        self.wheel.disarm(index.key());
        self.wheel.arm(index.key(), self.now.saturating_add(LOOK_AGAIN_MS));
        let conn = &self.table[index];
        let armed = self.wheel.deadline(index.key());
        let conn_id = ConnId { index, serial: conn.serial() };
        self.overdue.push(Overdue { conn: conn_id, phase: conn.phase(), armed });
    }

    /// The deadline of an open connection has come, which may have been extended since.
    fn open_may_be_due(&mut self, index: Slot) {
        let conn = &self.table[index];
        let silent = self.now - self.alive(conn).min(self.now);
        if self.end_of_right(index) <= self.now {
            self.stats.expired += 1;
            self.close_with(index, CloseReason::Expired);
        } else if conn.is_held_for_rate() {
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

    /// The socket of an open connection has been read: it is silent or late now, or its
    /// deadline is a later one.
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
