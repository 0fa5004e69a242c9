//! Opening, closing, ending and freeing connections.

use crate::hub::table::slots::Slot;
use std::collections::VecDeque;
use std::time::Instant;

use crate::hub::table::record::Connection;
use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::wire::Peer;
use crate::wire::ws::close::{CloseReason, cut_reason, may_be_sent};
use crate::wire::ws::frame::CLOSE;

use super::directory::addresses::Verdict;
use super::trace::Happened;
use super::{App, ConnId, Context, Handler};

/// How many connections above `max_connections` are accepted in order to be answered with 503.
pub const SURPLUS: usize = 32;
/// How long such a connection may take for its request head, in milliseconds.
const SURPLUS_HEAD_MS: u64 = 1_000;

/// How many connections that leave in turn a shutdown closes in a second, unless there are so many
/// that half of the close timeout would not suffice.
const LEAVES_PER_SECOND: u64 = 10_000;
/// They are closed in steps, one in this time in milliseconds.
const LEAVE_STEP_MS: u64 = 10;

/// Connections that a shutdown closes in their turn.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    queue: VecDeque<ConnId>,
    /// How many of them one step closes.
    in_a_step: u64,
    /// When the next step is due, in milliseconds.
    due: u64,
}

impl Leaving {
    /// When the next ones are closed, in milliseconds.
    pub fn due(&self) -> Option<u64> {
        (!self.queue.is_empty()).then_some(self.due)
    }
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// `max_connections` and [`SURPLUS`] are used up. Leave the connection in the backlog.
    Full,
    /// Too many connections come from this address. Close the connection.
    Address,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OpenError::Full => "all connections are in use",
            OpenError::Address => "too many connections from one address",
        })
    }
}

impl std::error::Error for OpenError {}

impl Context {
    /// Whether another connection can be opened: there are fewer than `max_connections` +
    /// [`SURPLUS`].
    pub(super) fn has_room(&self) -> bool {
        self.table.len() < self.config.max_connections + SURPLUS
    }

    /// Opens a connection that was accepted. `loopback` says whether its listener is on a loopback
    /// address. A connection above `max_connections` or `max_per_address` only gets an answer with
    /// 503.
    ///
    /// # Errors
    /// If there is no room even for this answer.
    pub(super) fn open(
        &mut self,
        peer: Peer,
        loopback: bool,
        now: Instant,
    ) -> Result<ConnId, OpenError> {
        self.set_now(now);
        if !self.has_room() {
            return Err(OpenError::Full);
        }
        let verdict = self.addresses.judge(peer);
        if verdict != Verdict::Welcome {
            self.refuse_address(peer);
        }
        if verdict == Verdict::Refused {
            return Err(OpenError::Address);
        }
        self.addresses.enter(peer);
        self.stats.accepted += 1;
        let mut facts = Facts::default();
        let mut head = self.timeouts.handshake;
        if loopback {
            facts.set(Facts::LOOPBACK);
        }
        if self.table.len() >= self.config.max_connections || verdict == Verdict::Surplus {
            facts.set(Facts::SURPLUS);
            head = head.min(SURPLUS_HEAD_MS);
        }
        let conn = self.table.insert(Connection::new(peer, facts, self.now));
        self.ages.note(conn.serial, self.now);
        self.arm(conn.index, self.now.saturating_add(head));
        Ok(conn)
    }

    fn refuse_address(&mut self, peer: Peer) {
        self.stats.refused_by_address += 1;
        // The warning comes at the counts 1, 2, 4, 8 and so on, because an address that does this
        // does it often.
        if self.stats.refused_by_address.is_power_of_two() {
            let most = self.config.max_per_address;
            let total = self.stats.refused_by_address;
            log::warn!(
                event = "address_full", peer:%, limit = most, count = total;
                "refused {peer}: {most} connections from there ({total} refused so far)"
            );
        }
    }

    /// Closes a connection with a close frame: the bytes that are queued are sent, then a close
    /// frame with `code` and `reason` (cut to 123 bytes; RFC 6455, section 5.5.1), then the socket
    /// is read to its end and closed, all within `close_timeout`. The connection does not count as
    /// one of its user any more. A code that must not be sent becomes 1011. Does nothing if the
    /// connection is gone or closing already.
    pub fn close(&mut self, conn: ConnId, code: u16, reason: &str) {
        if self.resolve(conn).is_none() {
            return;
        }
        let code = if may_be_sent(code) { code } else { 1011 };
        let reason = cut_reason(reason).to_owned();
        self.close_with(conn.index, CloseReason::Handler { code, reason });
    }

    /// Drops a connection at the end of the turn, without a close frame and without sending the
    /// bytes that are queued. Does nothing if the connection is gone.
    pub fn abort(&mut self, conn: ConnId) {
        if self.resolve(conn).is_some() {
            self.end(conn.index, CloseReason::Aborted);
        }
    }

    /// Begins to stop: every open connection is closed with code 1001, and new handshakes get 503.
    /// The hub does not know listeners: with a driver, call
    /// [`Driver::shutdown`](crate::Driver::shutdown) instead.
    pub(super) fn shutdown(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        self.drained_by = self.now.saturating_add(self.timeouts.close);
        let indices: Vec<Slot> = self.table.indices();
        for index in indices {
            match self.table[index].phase() {
                Phase::Open if self.table[index].flags.has(Flags::PACED) => {
                    let serial = self.table[index].serial();
                    self.leaving.queue.push_back(ConnId { index, serial });
                }
                Phase::Open => self.close_with(index, CloseReason::Shutdown),
                Phase::Held => self.refuse_held(index),
                Phase::Head if self.misses_something(index) => {
                    let due = self.wheel.deadline(index.key()).unwrap_or(u64::MAX);
                    self.wheel.disarm(index.key());
                    self.wheel.arm(index.key(), due.min(self.drained_by));
                }
                _ => {}
            }
        }
        let steps = (self.timeouts.close / 2 / LEAVE_STEP_MS).max(1);
        let least = LEAVES_PER_SECOND * LEAVE_STEP_MS / 1_000;
        self.leaving.in_a_step = least.max((self.leaving.queue.len() as u64).div_ceil(steps));
        self.leaving.due = self.now;
    }

    /// Closes those of the connections that leave in turn whose turn it is.
    pub(super) fn go_on_leaving(&mut self) {
        let Some(due) = self.leaving.due().filter(|due| *due <= self.now) else { return };
        let steps = 1 + (self.now - due) / LEAVE_STEP_MS;
        self.leaving.due = due + steps * LEAVE_STEP_MS;
        for _ in 0..steps.saturating_mul(self.leaving.in_a_step) {
            let Some(conn) = self.leaving.queue.pop_front() else { break };
            if self.is_open(conn) {
                self.close_with(conn.index, CloseReason::Shutdown);
            }
        }
    }

    /// Whether a connection that is not open would miss an answer if it ended now: an answer that
    /// is not written yet, or the answer to a request that waits here.
    pub(super) fn misses_something(&self, index: Slot) -> bool {
        let conn = &self.table[index];
        conn.phase() != Phase::Head
            || !conn.out.is_empty()
            || conn.flags.has(Flags::PAUSED)
            || self.is_awaited(index)
    }

    /// Whether [`Hub::shutdown`](crate::Hub::shutdown) was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether no connection is left that would miss anything: the remaining ones are idle HTTP
    /// connections.
    pub fn is_drained(&self) -> bool {
        self.stats.opened == self.stats.closed
            && !self.table.iter().any(|(index, _)| self.misses_something(index))
    }

    /// Calls `on_closing` for each connection that the server is about to close, and queues the
    /// close frames.
    #[inline(always)]
    pub(super) fn say_last_words<H: Handler>(&mut self, app: &mut App<H>) {
        if !self.parting.is_empty() {
            self.part(app);
        }
    }

    #[cold]
    fn part<H: Handler>(&mut self, app: &mut App<H>) {
        while let Some(conn) = self.parting.pop() {
            let Some(reason) = self.parting_reason(conn) else { continue };
            self.speaking = Some(conn);
            app.on_closing(self, conn, &reason);
            self.speaking = None;
            let other_code = self.last_code.take();
            let Some((code, text)) = reason.wire() else { continue };
            let (code, text) = match &other_code {
                Some((code, text)) => (*code, &**text),
                None => (code, text),
            };
            // The application may have aborted the connection.
            if self.parting_reason(conn).is_some() {
                self.go_to(conn.index, Phase::FlushThenDrain);
                self.queue_control(conn.index, CLOSE, &close_payload(code, text));
            }
        }
    }

    /// Has the connection of which [`on_closing`](super::Handler::on_closing) is called just now be
    /// closed with another code and text than those of its reason: clients of the application may
    /// have codes of their own. Does nothing elsewhere, or with a code that may not be sent.
    pub fn close_as(&mut self, conn: ConnId, code: u16, text: &str) {
        if self.speaking == Some(conn) && may_be_sent(code) {
            self.last_code = Some((code, cut_reason(text).to_owned()));
        }
    }

    /// Whether the server closes a connection and its close frame is not queued yet: `on_closing`
    /// runs first, at the latest before the next writes.
    pub fn is_parting(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|record| record.phase() == Phase::Parting)
    }

    /// Returns why a connection is closed for which `on_closing` has to run.
    fn parting_reason(&self, conn: ConnId) -> Option<CloseReason> {
        let record = self.resolve(conn).filter(|record| record.phase() == Phase::Parting)?;
        record.details.get()?.reason.clone()
    }

    /// Begins to close a connection for a reason of the server.
    pub(super) fn close_with(&mut self, index: Slot, reason: CloseReason) {
        match self.table[index].phase() {
            Phase::Open => {}
            // Answers that are queued are still written.
            Phase::Head if !self.table[index].out.is_empty() => {
                return self.start_closing(index, Phase::FlushThenDrain, reason);
            }
            Phase::Head | Phase::Held => return self.end(index, reason),
            _ => return,
        }
        if reason.wire().is_none() {
            return self.end(index, reason);
        }
        self.start_closing(index, Phase::Parting, reason);
        let serial = self.table[index].serial();
        self.parting.push(ConnId { index, serial });
    }

    /// Answers the peer's close frame (RFC 6455, section 5.5.1). `more` says that unread input may
    /// follow it.
    pub(super) fn closed_by_peer(&mut self, index: Slot, code: u16, more: bool) {
        let reason = CloseReason::Peer { code };
        let payload = reason.wire().map_or(Vec::new(), |(code, text)| close_payload(code, text));
        let phase = if more { Phase::FlushThenDrain } else { Phase::FlushThenEnd };
        self.start_closing(index, phase, reason);
        self.queue_control(index, CLOSE, &payload);
    }

    /// Called when a trusted proxy has said for which client it has connected. From now on the
    /// connection counts for the client's address; if too many come from there, it only gets an
    /// answer with 503.
    pub(super) fn set_peer(&mut self, conn: ConnId, peer: Peer) {
        let Some(record) = self.resolve_mut(conn) else { return };
        let before = std::mem::replace(&mut record.peer, peer);
        if before == peer {
            return;
        }
        self.addresses.leave(before);
        let verdict = self.addresses.judge(peer);
        self.addresses.enter(peer);
        if verdict == Verdict::Welcome {
            return;
        }
        self.refuse_address(peer);
        let record = &mut self.table[conn.index];
        // A connection that is open is not refused any more.
        if record.phase() == Phase::Head {
            record.facts.set(Facts::SURPLUS);
            self.wheel.disarm(conn.index.key());
            self.arm(conn.index, self.now.saturating_add(SURPLUS_HEAD_MS));
        }
    }

    /// Sets the number that [`Context::listener`](crate::Context::listener) returns for the
    /// connection.
    pub(super) fn set_listener(&mut self, conn: ConnId, tag: u8) {
        if let Some(record) = self.resolve_mut(conn) {
            record.listener = tag;
        }
    }

    /// Called when the peer has ended its side of the stream, so that a read returned nothing. What
    /// is queued for the peer is still written.
    pub(super) fn input_ended(&mut self, conn: ConnId) {
        let queued = self.will_write(conn);
        let Some(record) = self.resolve_mut(conn) else { return };
        record.facts.set(Facts::EOF);
        match record.phase() {
            Phase::Open if queued => {
                self.start_closing(conn.index, Phase::FlushThenEnd, CloseReason::Eof);
            }
            Phase::Open => self.end(conn.index, CloseReason::Eof),
            // The peer waits for no other answer, and may still read this one.
            Phase::Held => self.refuse_held(conn.index),
            // Requests that arrived before the end are still answered.
            Phase::Head if record.flags.has(Flags::ANSWERING | Flags::PAUSED) => {}
            Phase::Head => self.end(conn.index, CloseReason::Eof),
            Phase::Parting | Phase::FlushThenDrain | Phase::FlushThenEnd | Phase::Ended => {}
            Phase::Draining => self.end_closing(conn.index),
        }
    }

    /// Called when the socket has failed: the connection ends without a close frame.
    pub(super) fn failed(&mut self, conn: ConnId, error: &std::io::Error) {
        let Some(record) = self.resolve(conn) else { return };
        match record.phase() {
            Phase::Parting | Phase::FlushThenDrain | Phase::FlushThenEnd | Phase::Draining => {
                self.end_closing(conn.index);
            }
            _ => self.end(conn.index, CloseReason::Io(error.kind())),
        }
    }

    /// Moves a connection that is open, or being answered, into its last phase.
    pub(super) fn start_closing(&mut self, index: Slot, phase: Phase, reason: CloseReason) {
        self.drop_inbound(index);
        self.unbind(index);
        self.go_to(index, phase);
        let conn = &mut self.table[index];
        self.spare_details.lend(&mut conn.details);
        conn.details.change(|rare| rare.reason = Some(reason));
        self.untimed.push(ConnId { index, serial: conn.serial() });
        // From here on the connection is read to its end, even if it was held back and even if
        // bytes are still to be written.
        conn.flags.clear(Flags::PAUSED | Flags::ANSWERING);
        self.read_on(index);
    }

    /// Ends a connection in its last phase, for the reason for which it began to close.
    pub(super) fn end_closing(&mut self, index: Slot) {
        let reason = self.table[index].details.get_mut().and_then(|rare| rare.reason.take());
        self.end(index, reason.unwrap_or(CloseReason::Aborted));
    }

    /// Ends a connection now; it is freed at the end of the turn.
    pub(super) fn end(&mut self, index: Slot, reason: CloseReason) {
        let Some(unwritten) = self.discard(index) else { return };
        self.drop_inbound(index);
        self.drop_transport(index);
        self.unbind(index);
        self.wheel.disarm(index.key());
        let conn = &mut self.table[index];
        if conn.facts.has(Facts::OPENED) {
            self.spare_details.lend(&mut conn.details);
            conn.details.change(|rare| (rare.reason, rare.unwritten) = (Some(reason), unwritten));
        }
        self.go_to(index, Phase::Ended);
        self.ended.push(index);
    }

    fn drop_inbound(&mut self, index: Slot) {
        if let Some(inbound) = self.table[index].inbound.take() {
            self.inbound_bytes -= inbound.counted;
        }
    }

    /// Frees one connection that has ended, after its `on_close`, and returns its id; the caller
    /// then closes its socket. Call it until it returns `None`.
    pub(super) fn reap<H: Handler>(&mut self, app: &mut App<H>) -> Option<ConnId> {
        let Some(index) = self.ended.pop() else {
            // This ends what was queued in `on_close` for connections that have ended as well.
            self.output.end_turn();
            return None;
        };
        let conn = &mut self.table[index];
        let id = ConnId { index, serial: conn.serial() };
        if conn.facts.has(Facts::OPENED) {
            let reason = conn.details.get_mut().and_then(|rare| rare.reason.take());
            let reason = reason.unwrap_or(CloseReason::Aborted);
            let noted = conn.flags.has(Flags::NOTED);
            self.stats.closed += 1;
            self.stats.closes.note(&reason);
            if noted {
                self.note(index, Happened::Closed { reason: reason.clone() });
                // There are no events of a connection that was accepted with `aside`, or that is
                // not traced any more.
                if self.traces.has_events() {
                    self.tell_all_traced(app);
                }
            }
            app.on_close(self, id, &reason);
        }
        self.leave_all(index);
        let conn = self.table.remove(index);
        self.told_full -= usize::from(conn.facts.has(Facts::REFUSED));
        self.addresses.leave(conn.peer);
        self.spare_details.keep(conn.details);
        Some(id)
    }
}

fn close_payload(code: u16, text: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(cut_reason(text).as_bytes());
    payload
}
