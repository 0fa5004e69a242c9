//! How fast one connection may send: backpressure, nothing is dropped.
//!
//! A message costs `1 / message_rate` of time, a broadcast `1 / broadcast_rate`,
//! and time pays for it. Whoever owes more than the burst is neither parsed nor
//! read until that has been paid; the wheel wakes it. So all that is known of a
//! connection is until when it owes, and nothing is kept of one that sends a
//! message now and then: when it was last heard says enough.

use std::time::Duration;

use crate::conn::{Connection, Flags, Phase};

use super::column::Column;
use super::{Config, ConnId, Hub};

/// Time is kept in 1024ths of a millisecond here.
const SHIFT: u32 = 10;
/// The shortest masked frame in bytes (RFC 6455, section 5.2).
const SHORTEST_FRAME: usize = 6;

#[derive(Debug)]
pub struct Pace {
    /// What a message costs; 0 for nothing.
    message: u64,
    /// What a broadcast costs on top of that.
    broadcast: u64,
    /// How much may be owed by who is still read.
    credit: u64,
    /// Whether anything costs anything.
    limited: bool,
    /// Milliseconds after which a lone message has been paid for.
    gap: u64,
    /// Until when each connection owes; what is over counts as nothing.
    until: Column<u64>,
    /// Broadcasts have used up the credit of who is being parsed.
    halted: bool,
}

impl Pace {
    pub fn new(config: &Config) -> Self {
        let cost = |rate: u32| match rate {
            0 => 0,
            rate => ((1_000 << SHIFT) / u64::from(rate)).max(1),
        };
        let (message, broadcast) = (cost(config.message_rate), cost(config.broadcast_rate));
        let burst = units(config.rate_burst).max(message).max(broadcast);
        let limited = message > 0 || broadcast > 0;
        Pace {
            message,
            broadcast: broadcast.saturating_sub(message),
            credit: if limited { burst - message } else { u64::MAX },
            limited,
            gap: message.div_ceil(1 << SHIFT),
            until: Column::default(),
            halted: false,
        }
    }

    /// Whether a read needs no account: it is one frame, and all before it, the
    /// last at the time `before`, has been paid.
    #[inline]
    pub fn is_easy(&self, index: u32, now: u64, before: u64, is_one: bool) -> bool {
        is_one && now - before >= self.gap && self.until.get(index) <= now << SHIFT || !self.limited
    }

    pub fn forget(&mut self, index: u32) {
        self.until.set(index, 0);
    }
}

fn units(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> SHIFT).min(u64::MAX >> SHIFT) << SHIFT
}

impl Hub {
    /// Charges a connection for a message to everyone, which costs more than
    /// others. For the handler that sends it for the connection.
    pub fn charge_broadcast(&mut self, conn: ConnId) {
        if self.pace.broadcast == 0 || self.resolve(conn).is_none() {
            return;
        }
        let now = self.now << SHIFT;
        let until = self.pace.until.get(conn.index).max(now) + self.pace.broadcast;
        self.pace.until.set(conn.index, until);
        if until - now > self.pace.credit {
            // Ends the parsing; `metered` gives it back.
            self.pace.halted = true;
            self.work = 0;
        }
    }

    /// Handles bytes by `parse`, at most as many messages as the connection has
    /// credit for, and charges for them. `before` is when bytes came the last
    /// time, in milliseconds, if these have come now; `bytes` is how many there are.
    #[inline(always)]
    pub(super) fn metered(
        &mut self,
        conn: ConnId,
        before: Option<u64>,
        bytes: usize,
        parse: impl FnOnce(&mut Self),
    ) {
        let Pace { message, credit, .. } = self.pace;
        let now = self.now << SHIFT;
        // What came before and left no account may have been a lone message.
        let until = self.pace.until.get(conn.index);
        let recent = match before.map(|at| at << SHIFT) {
            Some(at) if until <= at => now.max(at + message),
            _ => now,
        };
        let owed = self.pace.until.get(conn.index).max(recent) - now;
        let (arrived, queued) = (self.stats.messages_in, self.stats.deliveries);
        let work = self.work;
        let left = credit.saturating_sub(owed);
        if (bytes / SHORTEST_FRAME) as u64 * message > left {
            let messages = left / message + 1;
            self.work = work.min(u32::try_from(messages).unwrap_or(u32::MAX));
        }
        let allowed = self.work;
        self.pace.halted = false;
        parse(self);

        let messages = self.stats.messages_in - arrived;
        if allowed < work || self.pace.halted {
            let handled = messages + self.stats.deliveries - queued;
            let used = if self.work > 0 { allowed - self.work } else { handled as u32 };
            self.work = self.allowance(work.saturating_sub(used));
        }
        let until = self.pace.until.get(conn.index).max(recent) + messages * message;
        let in_debt = messages > 0 && until - now > credit;
        // A lone message leaves no account. But of what waits, or has only
        // begun, more follows that is not alone.
        let goes_on = self.resolve(conn).is_some_and(|record| {
            let begun = record.inbound.is_some() || record.flags.has(Flags::PAUSED);
            begun && record.phase == Phase::Open
        });
        let lone = messages == 1 && until <= recent.max(now + message);
        if goes_on || in_debt || messages > 0 && !lone {
            self.pace.until.set(conn.index, until.max(now + 1));
        }
        if in_debt {
            self.hold_back(conn);
        }
    }

    /// Neither parses nor reads a connection until it has paid.
    fn hold_back(&mut self, conn: ConnId) {
        let Some(record) = self.resolve_mut(conn) else { return };
        // Who waits for work already is looked at when its turn comes.
        if record.phase == Phase::Open && !record.flags.has(Flags::PAUSED) {
            record.flags.set(Flags::PAUSED);
            self.stats.held_back += 1;
            self.arm_open(conn.index);
        }
    }

    /// Whether a connection owes more than its credit.
    #[inline]
    pub(super) fn is_in_debt(&self, index: u32) -> bool {
        self.pace.until.get(index).saturating_sub(self.now << SHIFT) > self.pace.credit
    }

    /// Whether a connection that waited has paid so much that it need not.
    pub(super) fn pays_off(&self, index: u32) -> bool {
        let owed = self.pace.until.get(index) > 0;
        owed && !self.is_in_debt(index) && self.conns[index as usize].flags.has(Flags::PAUSED)
    }

    /// When a connection that waits has paid.
    pub(super) fn pace_deadline(&self, index: u32, conn: &Connection) -> u64 {
        if conn.flags.has(Flags::PAUSED) && self.is_in_debt(index) {
            (self.pace.until.get(index) - self.pace.credit).div_ceil(1 << SHIFT)
        } else {
            u64::MAX
        }
    }
}
