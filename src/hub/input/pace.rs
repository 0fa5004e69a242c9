//! How fast one connection may send. A connection that is too fast is held back; nothing is
//! dropped.
//!
//! A message costs `1 / message_rate` of time, a broadcast `1 / broadcast_rate`, and passing time
//! pays for it. A connection that owes more than the burst is neither parsed nor read until it has
//! paid; the wheel wakes it. So the hub only stores until when a connection owes. It stores nothing
//! for a connection that sends a message now and then, because the time at which it was last heard
//! is enough. Such a message, if it is alone in a read, is handled without the code in this file.

use crate::hub::table::slots::Slot;
use std::time::Duration;

use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;

use crate::hub::table::column::Column;
use crate::hub::{Config, ConnId, Context};

/// Time is kept in 1024ths of a millisecond here.
const SHIFT: u32 = 10;
/// A fragment of at least this many bytes has no price of its own, because a message of such
/// fragments costs as much work as any other. Programs usually fragment in 4 KiB.
const LARGE_FRAGMENT: u64 = 1_024;
/// The shortest masked frame in bytes (RFC 6455, section 5.2).
const SHORTEST_FRAME: usize = 6;

#[derive(Debug)]
pub struct Pace {
    /// The cost of a message; 0 means that it costs nothing.
    message: u64,
    /// The additional cost of a broadcast.
    broadcast: u64,
    /// How much a connection may owe and still be read.
    credit: u64,
    /// Whether any message has a cost.
    limited: bool,
    /// Milliseconds after which a lone message has been paid for.
    pub gap: u64,
    /// Until when the connections with [`Flags::OWES`] owe.
    until: Column<u64>,
    /// The slot of the connection that is metered; [`Slot::NONE`] between reads.
    metered: Slot,
    /// Until when the metered connection owes.
    account: u64,
    /// How many items with a price had arrived from all connections before this one was metered.
    before: u64,
    /// Whether the metered connection has sent to everyone, so that it may handle fewer messages
    /// than it was allowed.
    curbed: bool,
    /// Frames so far that cost as much as messages and are none: control frames and small
    /// fragments.
    frames: u64,
    /// Fragments so far that are paid for with their message.
    large_fragments: u64,
}

/// What is stored while a connection is metered.
pub struct Meter {
    /// What had a price, and all that was work, of all before.
    arrived: u64,
    handled: u64,
    /// The turn's work before, and what of it was allowed.
    work: u32,
    allowed: u32,
}

impl Pace {
    pub fn new(config: &Config) -> Self {
        let cost = |rate: u32| match rate {
            0 => 0,
            rate => ((1_000 << SHIFT) / u64::from(rate)).max(1),
        };
        let (message, broadcast) = (cost(config.message_rate), cost(config.broadcast_rate));
        let burst = units(config.rate_burst).max(message).max(broadcast);
        Pace {
            message,
            broadcast: broadcast.saturating_sub(message),
            credit: burst - message,
            limited: message > 0 || broadcast > 0,
            gap: message.div_ceil(1 << SHIFT),
            until: Column::default(),
            metered: Slot::NONE,
            account: 0,
            before: 0,
            curbed: false,
            frames: 0,
            large_fragments: 0,
        }
    }
}

impl Pace {
    /// Sets other rates. What connections owe is still owed.
    pub fn set_rates(&mut self, config: &Config) {
        let Pace { message, broadcast, credit, limited, gap, .. } = Pace::new(config);
        (self.message, self.broadcast, self.credit) = (message, broadcast, credit);
        (self.limited, self.gap) = (limited, gap);
    }

    /// Returns how many messages of a connection that owes this much are handled.
    #[inline]
    fn affordable(&self, owed: u64) -> u32 {
        match self.credit.checked_sub(owed) {
            None => 0,
            Some(_) if self.message == 0 => u32::MAX,
            Some(left) => u32::try_from(left / self.message + 1).unwrap_or(u32::MAX),
        }
    }
}

fn units(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> SHIFT).min(u64::MAX >> SHIFT) << SHIFT
}

impl Context {
    /// Charges a connection for a message to everyone, which costs more than other messages. Call
    /// it from the handler that sends the message on behalf of the connection.
    pub fn charge_broadcast(&mut self, conn: ConnId) {
        if self.pace.broadcast == 0 || self.resolve(conn).is_none() {
            return;
        }
        let now = self.now << SHIFT;
        let Pace { message, broadcast, .. } = self.pace;
        if self.pace.metered != conn.index {
            // One that comes alone is not charged for as a message.
            let until = self.owes_until(conn.index).max(now + message) + broadcast;
            return self.owe(conn.index, until);
        }
        self.pace.account += broadcast;
        // The messages of this read are charged for when it is over, and use the same credit.
        let messages = (self.arrived() - self.pace.before) * message;
        let owed = self.pace.account + messages - now;
        // Ends the parsing when the credit is used up; `charge` gives the work back.
        self.pace.curbed = true;
        self.work = self.work.min(self.pace.affordable(owed));
    }

    /// Begins to meter a connection, which may then handle at most as many
    /// messages as it has credit for. `before` is when bytes came the last time,
    /// in milliseconds; `bytes` is how many there are. `None` when nothing has a
    /// rate.
    #[inline]
    pub(in crate::hub) fn meter(
        &mut self,
        conn: ConnId,
        before: u64,
        bytes: usize,
    ) -> Option<Meter> {
        if !self.pace.limited {
            return None;
        }
        let Pace { message, credit, .. } = self.pace;
        let now = self.now << SHIFT;
        let work = self.work;
        // What came before and left no account may have been a lone message.
        let until = match self.owes_until(conn.index) {
            0 => (before << SHIFT) + message,
            until => until,
        };
        let owed = until.saturating_sub(now);
        (self.pace.metered, self.pace.account) = (conn.index, now + owed);
        if owed > credit {
            self.owe(conn.index, now + owed);
            self.hold_back(conn);
        } else if (bytes / SHORTEST_FRAME) as u64 * message > credit - owed {
            self.work = work.min(self.pace.affordable(owed));
        }
        let (arrived, handled) = (self.arrived(), self.handled());
        self.pace.before = arrived;
        Some(Meter { arrived, handled, work, allowed: self.work })
    }

    /// Charges the connection that was metered for what it has sent since.
    #[inline]
    pub(in crate::hub) fn charge(&mut self, conn: ConnId, meter: Option<Meter>) {
        let Some(Meter { arrived, handled, work, allowed }) = meter else { return };
        let Pace { message, credit, .. } = self.pace;
        let now = self.now << SHIFT;
        let messages = self.arrived() - arrived;
        self.pace.metered = Slot::NONE;
        let curbed = std::mem::take(&mut self.pace.curbed);
        if allowed < work || curbed {
            let handled = self.handled() - handled;
            let left = self.work > 0 && !curbed;
            let used = if left { allowed - self.work } else { handled as u32 };
            self.work = self.allowance(work.saturating_sub(used));
        }
        let until = self.pace.account + messages * message;
        self.owe(conn.index, until);
        if messages > 0 && until - now > credit {
            self.hold_back(conn);
        } else if until <= now + message {
            self.settle_account(conn);
        }
    }

    /// Removes the account of a connection that has sent at most one message. The account stays if
    /// input waits or a message has only begun, because then more follows.
    fn settle_account(&mut self, conn: ConnId) {
        let Some(record) = self.resolve_mut(conn) else { return };
        let begun = record.inbound.is_some() || record.flags.has(Flags::PAUSED);
        if !begun || record.phase() != Phase::Open {
            record.flags.clear(Flags::OWES);
        }
    }

    /// Accounts for a frame that is no message but costs as much.
    pub(in crate::hub) fn account_frame(&mut self) {
        self.work -= 1;
        self.pace.frames += 1;
    }

    /// Accounts for a fragment of `length` bytes after which its message goes on. The last
    /// one is the message.
    pub(in crate::hub) fn account_fragment(&mut self, length: u64) {
        self.work -= 1;
        if length < LARGE_FRAGMENT {
            self.pace.frames += 1;
        } else {
            self.pace.large_fragments += 1;
        }
    }

    /// Returns how many items with a price have arrived.
    fn arrived(&self) -> u64 {
        self.stats.messages_in + self.pace.frames
    }

    /// Returns how much work was done for what has arrived.
    fn handled(&self) -> u64 {
        self.arrived() + self.pace.large_fragments + self.stats.deliveries
    }

    fn owe(&mut self, index: Slot, until: u64) {
        self.table[index].flags.set(Flags::OWES);
        self.pace.until.set(index, until);
    }

    /// Until when a connection owes; 0 when no account is kept of it.
    #[inline]
    fn owes_until(&self, index: Slot) -> u64 {
        let owes = self.table[index].flags.has(Flags::OWES);
        if owes { self.pace.until.get(index) } else { 0 }
    }

    /// Neither parses nor reads a connection until it has paid.
    #[cold]
    #[inline(never)]
    fn hold_back(&mut self, conn: ConnId) {
        let Some(record) = self.resolve(conn) else { return };
        if record.phase() != Phase::Open {
            return;
        }
        let waits = record.flags.has(Flags::PAUSED);
        self.stats.held_back += 1;
        // A connection that waits for work already is handled when its turn comes.
        if !waits {
            self.begin_hold(conn.index);
            self.arm_open(conn.index);
        }
    }

    /// Whether a connection owes more than its credit.
    pub(in crate::hub) fn is_in_debt(&self, index: Slot) -> bool {
        self.owes_until(index).saturating_sub(self.now << SHIFT) > self.pace.credit
    }

    /// Whether a connection that waited has paid so much that it need not.
    pub(in crate::hub) fn pays_off(&self, index: Slot) -> bool {
        let flags = self.table[index].flags;
        let waits = flags.has(Flags::PAUSED) && !flags.has(Flags::HELD);
        flags.has(Flags::OWES) && waits && !self.is_in_debt(index)
    }

    /// When a connection that waits has paid.
    pub(in crate::hub) fn pace_deadline(&self, index: Slot) -> u64 {
        if self.is_in_debt(index) {
            (self.pace.until.get(index) - self.pace.credit).div_ceil(1 << SHIFT)
        } else {
            u64::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_too_long_to_be_counted_is_the_longest_one() {
        let longest = (u64::MAX >> SHIFT) << SHIFT;
        assert_eq!(units(Duration::from_millis(3)), 3 << SHIFT);
        for time in [Duration::MAX, Duration::from_millis(1 << 54), Duration::from_millis(1 << 60)]
        {
            assert_eq!(units(time), longest);
        }
    }
}
