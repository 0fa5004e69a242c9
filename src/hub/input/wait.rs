//! Connections that the server itself holds back, because their turn's work is spent or they are
//! over their rate. They are neither parsed nor read; the bytes that they have sent wait here or in
//! the kernel.
//!
//! While that lasts they count neither as silent nor as late; only the expiry of a ticket ends
//! them. Holding back ends when a connection begins to close, because a closing connection is read
//! to its end.
//!
//! A message is late if the bytes that were there at its deadline, here or in the kernel, did not
//! complete it, however long the server took to look at them. Nobody knows when bytes arrived in the
//! kernel: the loop may have come late by nearly as much as counts as an absence, so bytes that are
//! read within that time after the deadline count. A client that sends faster than it may gains no
//! more time than that.

use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::hub::table::slots::Slot;
use crate::wire::ws::close::CloseReason;

use crate::hub::timers::ABSENCE_MS;
use crate::hub::{App, ConnId, Context, Handler, Timeouts};

impl Context {
    /// Bytes of a connection that wait to be parsed.
    pub(in crate::hub) fn stashed(&self, index: Slot) -> usize {
        self.table[index].inbound.as_ref().map_or(0, |inbound| inbound.stash.len())
    }

    /// Holds a connection back until work is left for it.
    pub(in crate::hub) fn pause(&mut self, conn: ConnId) {
        self.begin_hold(conn.index);
        self.paused.push_back(conn);
    }

    /// Neither parses nor reads an open connection until [`Context::release`] is called for it,
    /// because the application has no room for more of its messages. Call it from
    /// [`on_message`](Handler::on_message) for the connection of the message. Meanwhile the
    /// connection counts neither as silent nor as late, and what is sent to it is written.
    pub fn hold(&mut self, conn: ConnId) {
        let record = self.resolve_mut(conn).filter(|record| record.phase() == Phase::Open);
        if let Some(record) = record.filter(|record| !record.flags.has(Flags::HELD)) {
            record.flags.set(Flags::HELD);
            self.begin_hold(conn.index);
        }
    }

    /// Goes on with a connection that was [held](Context::hold), in the next turn.
    pub fn release(&mut self, conn: ConnId) {
        let record = self.resolve_mut(conn).filter(|record| record.phase() == Phase::Open);
        if let Some(record) = record.filter(|record| record.flags.has(Flags::HELD)) {
            record.flags.clear(Flags::HELD);
            self.paused.push_back(conn);
        }
    }

    /// The server neither parses nor reads a connection from now on.
    pub(in crate::hub) fn begin_hold(&mut self, index: Slot) {
        let now = self.now;
        let record = &mut self.table[index];
        record.flags.set(Flags::PAUSED);
        if let Some(inbound) = &mut record.inbound
            && inbound.unread_since == 0
        {
            inbound.unread_since = now;
        }
    }

    /// Goes on with a connection. If it was held back because of its rate, or for so long that it
    /// would count as idle, it counts as heard now, because it has not been silent.
    fn end_hold(&mut self, index: Slot) {
        let now = self.now;
        let idle = self.timeouts.idle;
        let record = &mut self.table[index];
        let counts = record.is_held_back() || record.alive().saturating_add(idle) <= now;
        record.flags.clear(Flags::PAUSED);
        if record.phase() == Phase::Open && counts {
            (record.heard, record.written) = (now, 0);
        }
    }

    /// Whether the rest of a message that was held back has arrived, if it has, after the
    /// message's time.
    fn is_late(&self, index: Slot) -> bool {
        let conn = &self.table[index];
        let Some(inbound) = conn.inbound.as_ref().filter(|_| conn.phase() == Phase::Open) else {
            return false;
        };
        let arrived = if !inbound.stash.is_empty() {
            inbound.arrived
        } else if conn.flags.has(Flags::READ_WANTED) {
            inbound.unread_since
        } else {
            self.now
        };
        // A loop may come so late that these bytes have waited in the socket for that long.
        self.message_deadline(conn).saturating_add(ABSENCE_MS) <= arrived
    }

    /// Goes on with connections whose bytes wait.
    pub(in crate::hub) fn resume<H: Handler>(&mut self, app: &mut App<H>) {
        for _ in 0..self.paused.len() {
            if self.work == 0 {
                break;
            }
            let Some(conn) = self.paused.pop_front() else { break };
            let Some(record) = self.resolve(conn) else { continue };
            if !record.flags.has(Flags::PAUSED) || record.flags.has(Flags::HELD) {
                continue;
            }
            let heard = record.heard;
            if self.is_in_debt(conn.index) {
                self.arm_open(conn.index);
                continue;
            }
            self.end_hold(conn.index);
            if self.is_late(conn.index) {
                self.close_with(conn.index, CloseReason::MessageTimeout);
                self.say_last_words(app);
                continue;
            }
            let waiting = self.stashed(conn.index);
            let meter = self.meter(conn, heard, waiting);
            self.feed_stash(app, conn);
            self.charge(conn, meter);
            self.arm_open(conn.index);
            self.settle(conn);
            self.say_last_words(app);
        }
    }

    /// Does what follows when a connection no longer waits: its socket is read again, or its end is
    /// handled.
    fn settle(&mut self, conn: ConnId) {
        let Some(record) = self.resolve_mut(conn) else { return };
        if record.flags.has(Flags::PAUSED | Flags::ANSWERING) {
            return;
        }
        if record.phase() == Phase::Head && record.facts.has(Facts::EOF) {
            self.end(conn.index, CloseReason::Eof);
            return;
        }
        if !record.flags.has(Flags::READ_WANTED)
            && let Some(inbound) = &mut record.inbound
        {
            // Nothing has arrived in the meantime.
            inbound.unread_since = 0;
        }
        self.read_on(conn.index);
    }

    /// Has a socket read that would have been while its connection was held back.
    pub(in crate::hub) fn read_on(&mut self, index: Slot) {
        let record = &mut self.table[index];
        if record.flags.has(Flags::READ_WANTED) {
            record.flags.clear(Flags::READ_WANTED);
            self.readable.push(index);
        }
    }

    /// Called when an HTTP answer was written: the next request is handled.
    pub(in crate::hub) fn answered(&mut self, conn: ConnId) {
        let record = &mut self.table[conn.index];
        record.flags.clear(Flags::ANSWERING);
        if record.inbound.as_ref().is_some_and(|inbound| !inbound.stash.is_empty()) {
            self.pause(conn);
        } else {
            self.settle(conn);
        }
        // A body that has begun has its own time.
        if self.is_uploading(conn.index) {
            return;
        }
        self.wheel.disarm(conn.index.key());
        if let Some(record) = self.resolve(conn).filter(|record| record.phase() == Phase::Head) {
            let Timeouts { keep_alive, keep_known, .. } = self.timeouts;
            let time = if record.is_known() { keep_known } else { keep_alive };
            self.arm(conn.index, self.now.saturating_add(time));
        }
    }
}
