//! Deadlines: one per connection, extended lazily, shortened eagerly.
//!
//! An open connection's true deadline is computed from when it was last alive.
//! A sign of life is one store; the wheel keeps the old deadline, and when that
//! comes due the true one is looked at. Only a deadline that moves to an
//! earlier time is armed at once.

use std::time::{Duration, Instant};

use crate::conn::close::CloseReason;
use crate::conn::frame::PING;
use crate::conn::{Connection, Flags, Phase};

use super::{ConnId, Handler, Hub};

/// Timers looked at per turn. More are due only when very many connections
/// were opened within one tick of the wheel.
const TIMERS_PER_TURN: u32 = 4_096;

impl Hub {
    /// Does what is due: expires and pings connections, goes on parsing what
    /// a spent budget left over, and renews the turn's budget. Call it once a
    /// turn, before writing. Callbacks run from here.
    pub fn tick<H: Handler>(&mut self, handler: &mut H, now: Instant) {
        self.set_now(now);
        // Half of the work for those who have waited, half for what arrives: a
        // broadcast can cost more than a whole turn has, and neither side must
        // wait for the other to run dry.
        let share = self.config.work_per_turn.div_ceil(2);
        self.work = self.allowance(share);
        while let Some(conn) = self.untimed.pop() {
            self.time_closing(conn);
        }
        if let Some(due) = self.wheel.next_deadline().filter(|due| *due <= self.now) {
            self.distributions.timer_lag.note(self.now - due);
        }
        let mut budget = TIMERS_PER_TURN;
        while let Some(index) = self.wheel.pop_due(self.now, &mut budget) {
            self.due(handler, index);
        }
        self.resume(handler);
        self.work = self.allowance(self.work.max(share));
        for conn in std::mem::take(&mut self.drained) {
            if self.is_open(conn) {
                handler.on_drain(self, conn);
            }
        }
        self.tell_traced(handler);
    }

    /// When [`Hub::tick`] has to be called next at the latest. Early calls are
    /// harmless. `None` when nothing will ever be due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let busy = self.has_dirty()
            || !self.ended.is_empty()
            || !self.paused.is_empty()
            || !self.readable.is_empty()
            || !self.drained.is_empty()
            || !self.untimed.is_empty()
            || self.traces.has_events();
        let at = if busy { self.now } else { self.wheel.next_deadline()? };
        Some(self.origin + Duration::from_millis(at))
    }

    /// A sign of life after a ping: the next ping is due before the expiry
    /// that is armed.
    pub(super) fn clear_pinged(&mut self, index: u32) {
        let conn = &mut self.conns[index as usize];
        if conn.flags.has(Flags::PINGED) {
            conn.flags.clear(Flags::PINGED);
            self.arm_open(index);
        }
    }

    /// Arms the true deadline of an open connection, if that is earlier than
    /// the armed one or none is.
    pub(super) fn arm_open(&mut self, index: u32) {
        if let Some(conn) = self.conns.get(index as usize)
            && conn.phase == Phase::Open
        {
            let at = self.open_deadline(index, conn);
            if self.wheel.deadline(index).is_none_or(|armed| at < armed) {
                self.arm(index, at);
            }
        }
    }

    pub(super) fn arm(&mut self, index: u32, at: u64) {
        if at == u64::MAX { self.wheel.disarm(index) } else { self.wheel.arm(index, at) }
    }

    fn open_deadline(&self, index: u32, conn: &Connection) -> u64 {
        let ping = if conn.flags.has(Flags::PINGED) { u64::MAX } else { self.timeouts.ping };
        let silence = conn.alive().saturating_add(ping.min(self.timeouts.idle));
        silence
            .min(self.message_deadline(conn))
            .min(self.end_of_right(index))
            .min(self.pace_deadline(index, conn))
    }

    /// When it may be connected no longer.
    fn end_of_right(&self, index: u32) -> u64 {
        match self.ends.get(index) {
            0 => u64::MAX,
            seconds => u64::from(seconds) * 1_000,
        }
    }

    /// Sets when it may be connected no longer, rounded up to a second.
    pub(super) fn set_end_of_right(&mut self, index: u32, at: Option<Instant>) {
        let seconds = at.map_or(0, |at| {
            let passed = at.saturating_duration_since(self.origin).as_millis();
            u32::try_from(passed.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
        });
        self.ends.set(index, seconds);
    }

    fn message_deadline(&self, conn: &Connection) -> u64 {
        match &conn.inbound {
            Some(inbound) if inbound.started > 0 => {
                inbound.started.saturating_add(self.timeouts.message)
            }
            _ => u64::MAX,
        }
    }

    fn time_closing(&mut self, conn: ConnId) {
        let Some(record) = self.resolve(conn) else { return };
        if matches!(record.phase, Phase::FlushThenDrain | Phase::FlushThenEnd | Phase::Draining) {
            self.wheel.disarm(conn.index);
            self.wheel.arm(conn.index, self.now.saturating_add(self.timeouts.close));
        }
    }

    /// The deadline that was armed for a connection has come.
    fn due<H: Handler>(&mut self, handler: &mut H, index: u32) {
        match self.conns[index as usize].phase {
            Phase::Open => self.open_due(index),
            Phase::Head if self.is_uploading(index) => self.upload_due(handler, index),
            Phase::Head => self.end(index, CloseReason::HandshakeTimeout),
            Phase::Held => self.refuse_held(index),
            Phase::FlushThenDrain | Phase::FlushThenEnd | Phase::Draining => {
                self.end_closing(index)
            }
            Phase::Ended => {}
        }
    }

    fn open_due(&mut self, index: u32) {
        let conn = &self.conns[index as usize];
        let silent = self.now - conn.alive().min(self.now);
        if self.end_of_right(index) <= self.now {
            self.stats.expired += 1;
            self.close_with(index, CloseReason::Expired);
        } else if self.message_deadline(conn) <= self.now {
            self.close_with(index, CloseReason::MessageTimeout);
        } else if silent >= self.timeouts.idle {
            self.stats.idle += 1;
            self.close_with(index, CloseReason::Idle);
        } else {
            if self.pays_off(index) {
                // It is not silent: what it has sent waits here, or unread.
                let conn = &mut self.conns[index as usize];
                (conn.heard, conn.written) = (self.now, 0);
                self.paused.push_back(ConnId { index, serial: conn.serial });
                return self.arm_open(index);
            }
            if silent >= self.timeouts.ping && !conn.flags.has(Flags::PINGED) {
                self.stats.pings += 1;
                self.conns[index as usize].flags.set(Flags::PINGED);
                self.queue_control(index, PING, b"");
            }
            self.arm_open(index);
        }
    }
}
