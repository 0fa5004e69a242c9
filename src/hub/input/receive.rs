//! Bytes that have arrived: heads while shaking hands, frames once open, and
//! nothing any more once closing.

use crate::hub::table::slots::Slot;
use std::ops::Range;
use std::time::Instant;

use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::wire::http::head;
use crate::wire::ws::close::{CloseReason, Violation, parse_close};
use crate::wire::ws::decode::{self, Event, Longest, Message, Partial, decode};
use crate::wire::ws::frame::{PONG, take_whole};

use crate::hub::app::Recipient;
use crate::hub::{App, ConnId, Context, Handler};

/// While fewer bytes of answers than these wait to be written, the next request that has
/// arrived already is answered too: one write for all of them.
const ANSWERS: usize = 16 * 1024;
/// The longest message in bytes that is dropped as it arrives, on a connection whose handler
/// [is told of it](Handler::on_too_long). A longer one ends the connection.
const MOST_DROPPED: u64 = 16 << 20;

/// The part of a buffer that could not be handled yet and has to be kept.
#[derive(Debug, Default)]
struct Rest {
    place: Range<usize>,
    /// How many of them, from the first, are known not to end a head.
    searched: usize,
}

/// What became of the bytes of a request.
pub(in crate::hub) enum Fed {
    /// So many bytes were handled.
    Used(usize),
    /// The first `length` of them are kept until more arrives or an earlier answer was
    /// written. The first `searched` of those are known not to end a head.
    Kept { length: usize, searched: usize },
    /// None of them is needed any more.
    Dropped,
}

impl Context {
    /// Whether a connection's socket should be read now. When not, because its
    /// turn's budget is spent or an answer is on its way,
    /// [`Hub::pop_readable`](crate::Hub::pop_readable) returns it as soon as it should.
    #[inline]
    pub(in crate::hub) fn may_read(&mut self, conn: ConnId) -> bool {
        let Some(record) = self.resolve_mut(conn) else { return false };
        if record.flags.has(Flags::PAUSED | Flags::ANSWERING) {
            record.flags.set(Flags::READ_WANTED);
            return false;
        }
        record.phase() != Phase::Ended
    }

    /// A connection that [`Hub::may_read`](crate::Hub::may_read) held back and that may be read now.
    pub(in crate::hub) fn pop_readable(&mut self) -> Option<ConnId> {
        let index = self.readable.pop()?;
        self.table.id_at(index)
    }

    /// Whether the turn's work budget is spent: reading more would only copy.
    pub(in crate::hub) fn is_exhausted(&self) -> bool {
        self.work == 0
    }

    /// Takes work that was done outside the hub from the turn's budget.
    pub(in crate::hub) fn spend(&mut self, work: u32) {
        self.work = self.work.saturating_sub(work);
    }

    /// Handles bytes that have arrived from a peer. See `Hub::receive_inline`.
    #[inline(always)]
    pub(in crate::hub) fn receive<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        now: Instant,
    ) {
        const UNUSUAL: u16 =
            Flags::PAUSED | Flags::ANSWERING | Flags::PINGED | Flags::OWES | Flags::NOTED;
        self.set_now(now);
        let heard = self.now;
        let gap = self.pace.gap;
        self.stats.bytes_in += bytes.len() as u64;
        let Some(record) = self.resolve_mut(conn) else { return };
        let before = std::mem::replace(&mut record.heard, heard);
        record.written = 0;
        // Nearly always: nothing is left over from before, and all has been paid.
        if record.phase() == Phase::Open
            && record.inbound.is_none()
            && !record.flags.has(UNUSUAL)
            && heard - before >= gap
        {
            let used = self.feed_one(app, conn, bytes);
            if used < bytes.len() && self.is_open(conn) {
                // All before this read has been paid; what it began with has not.
                let before = if used > 0 { self.now } else { 0 };
                self.receive_metered(app, conn, &mut bytes[used..], before);
            }
        } else {
            self.receive_otherwise(app, conn, bytes, before);
        }
    }

    /// Handles what is more than one message after a pause.
    #[inline(never)]
    fn receive_metered<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        before: u64,
    ) {
        let meter = self.meter(conn, before, bytes.len());
        if self.table[conn.index].flags.has(Flags::PAUSED) {
            self.keep(conn, bytes, 0);
        } else {
            let used = self.feed_whole(app, conn, bytes);
            if used < bytes.len() {
                self.feed_read(app, conn, &mut bytes[used..]);
            }
        }
        self.charge(conn, meter);
    }

    #[inline(never)]
    fn receive_otherwise<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        before: u64,
    ) {
        const BEHIND: u16 = Flags::PAUSED | Flags::ANSWERING | Flags::NOTED;
        self.clear_pinged(conn.index);
        let record = &self.table[conn.index];
        let is_open = record.phase() == Phase::Open;
        if is_open && record.inbound.is_none() && !record.flags.has(BEHIND) {
            return self.receive_metered(app, conn, bytes, before);
        }
        if !is_open {
            return self.receive_behind(app, conn, bytes);
        }
        let now = self.now;
        if let Some(inbound) = &mut self.table[conn.index].inbound {
            inbound.note_arrival(now);
        }
        let waiting = self.stashed(conn.index);
        let meter = self.meter(conn, before, waiting + bytes.len());
        self.receive_behind(app, conn, bytes);
        self.charge(conn, meter);
    }

    /// Handles bytes that follow others which may still wait.
    #[inline(never)]
    fn receive_behind<H: Handler>(&mut self, app: &mut App<H>, conn: ConnId, bytes: &mut [u8]) {
        let record = &mut self.table[conn.index];
        let waits = record.flags.has(Flags::PAUSED | Flags::ANSWERING);
        let is_head = record.phase() == Phase::Head;
        match &mut record.inbound {
            Some(inbound) if waits || !inbound.stash.is_empty() => {
                inbound.stash.push(bytes);
                if waits {
                    return self.recount(conn.index);
                }
                if inbound.upload.is_some() {
                    if self.extend_upload(conn) {
                        self.feed_stash(app, conn);
                    }
                    return;
                }
                // A head that comes in small pieces is not copied at each.
                let head_goes_on = is_head
                    && inbound.stash.len() < self.config.max_head
                    && head::find_end(inbound.stash.as_slice(), inbound.searched).is_none();
                if !head_goes_on {
                    return self.feed_stash(app, conn);
                }
                inbound.searched = inbound.stash.len();
                self.recount(conn.index);
            }
            None if waits => self.keep(conn, bytes, 0),
            _ => self.feed_read(app, conn, bytes),
        }
    }

    /// Handles what it can of the bytes that wait. What is left stays where it is.
    pub(in crate::hub) fn feed_stash<H: Handler>(&mut self, app: &mut App<H>, conn: ConnId) {
        let Some(inbound) = &mut self.table[conn.index].inbound else { return };
        let mut stash = std::mem::take(&mut inbound.stash);
        let searched = std::mem::take(&mut inbound.searched);
        let rest = self.feed(app, conn, stash.as_mut_slice(), searched);
        stash.keep(rest.place);
        if !stash.is_empty()
            && let Some(record) = self.resolve_mut(conn)
            && matches!(record.phase(), Phase::Head | Phase::Open)
        {
            let inbound = record.inbound.get_or_insert_default();
            (inbound.stash, inbound.searched) = (stash, rest.searched);
        }
        self.recount(conn.index);
    }

    /// Handles what it can of bytes that were just read, and keeps the rest.
    #[inline(never)]
    fn feed_read<H: Handler>(&mut self, app: &mut App<H>, conn: ConnId, bytes: &mut [u8]) {
        let rest = self.feed(app, conn, bytes, 0);
        if !rest.place.is_empty() {
            self.keep(conn, &bytes[rest.place], rest.searched);
        }
    }

    /// Handles what it can of `bytes` and returns what is to be kept of them. The first
    /// `searched` of them are known not to end a head.
    #[inline(never)]
    fn feed<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        searched: usize,
    ) -> Rest {
        let mut searched = searched;
        let mut at = 0;
        while at < bytes.len() {
            let Some(record) = self.resolve(conn) else { return Rest::default() };
            // Requests that came together are answered together, up to a bound, and in their
            // order: behind one that is answered later the next ones wait.
            let answers = record.flags.has(Flags::ANSWERING)
                && (record.out.len() >= ANSWERS
                    || record.flags.has(Flags::BLOCKED)
                    || self.is_awaited(conn.index));
            if answers || record.flags.has(Flags::PAUSED) {
                break;
            }
            match record.phase() {
                Phase::Open => at += self.feed_frames(app, conn, &mut bytes[at..]),
                Phase::Head if self.work == 0 => self.pause(conn),
                Phase::Head => {
                    let searched = std::mem::take(&mut searched);
                    match self.feed_request(app, conn, &mut bytes[at..], searched) {
                        Fed::Used(used) => at += used,
                        Fed::Kept { length, searched } => {
                            return Rest { place: at..at + length, searched };
                        }
                        Fed::Dropped => return Rest::default(),
                    }
                    if at < bytes.len() && self.is_open(conn) {
                        // Frames: another turn's, which meters them.
                        self.pause(conn);
                    }
                }
                _ => return Rest::default(),
            }
        }
        Rest { place: at..bytes.len(), searched }
    }

    /// Hands over one message if it is one whole frame and there is budget. Returns how
    /// many bytes it used. The connection may be closed after that.
    #[inline(always)]
    fn feed_one(
        &mut self,
        recipient: &mut impl Recipient,
        conn: ConnId,
        bytes: &mut [u8],
    ) -> usize {
        if self.work == 0 {
            return 0;
        }
        let Some(frame) = take_whole(bytes, self.config.max_message) else { return 0 };
        let size = frame.size;
        if !frame.is_text {
            self.account_message();
            recipient.on_message(self, conn, Message::Binary(frame.payload));
        } else if let Ok(text) = decode::text(frame.payload) {
            self.account_message();
            recipient.on_message(self, conn, Message::Text(text));
        } else {
            self.close_with(conn.index, CloseReason::Violation(Violation::InvalidUtf8));
        }
        size
    }

    /// Handles as many whole messages as there are. Returns how many bytes they took; all bytes
    /// count as taken when the connection is closed.
    #[inline(always)]
    fn feed_whole<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
    ) -> usize {
        let mut at = 0;
        // Looked up once for all of them, since nothing takes the session away before this returns.
        let Some(mut attendant) = app.attendant(conn) else { return 0 };
        while at < bytes.len() {
            match self.feed_one(&mut attendant, conn, &mut bytes[at..]) {
                0 => break,
                used => at += used,
            }
            if at < bytes.len() {
                match self.resolve(conn).filter(|record| record.phase() == Phase::Open) {
                    None => return bytes.len(),
                    Some(record) if record.flags.has(Flags::HELD) => break,
                    Some(_) => {}
                }
            }
        }
        at
    }

    /// Handles frames until `bytes` or the budget is used up; returns how many
    /// bytes were.
    #[inline(never)]
    fn feed_frames<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
    ) -> usize {
        let inbound = self.table[conn.index].inbound.as_mut();
        let mut partial = inbound.and_then(|inbound| inbound.partial.take());
        let record = &self.table[conn.index];
        let noted = record.flags.has(Flags::NOTED);
        let dropped = if record.facts.has(Facts::OUTLASTS) { MOST_DROPPED } else { 0 };
        let longest = Longest { message: self.config.max_message, dropped };
        let mut begun = partial.is_none();
        let mut at = 0;
        while at < bytes.len() {
            if self.work == 0 {
                self.pause(conn);
                break;
            }
            if partial.is_none() {
                begun = true;
                if !noted {
                    at += self.feed_whole(app, conn, &mut bytes[at..]);
                }
                if at == bytes.len() || self.work == 0 {
                    continue;
                }
            }
            if self.is_held(conn) {
                break;
            }
            let rest = &mut bytes[at..];
            let left = rest.len();
            let (used, event) = match decode(&mut partial, rest, longest) {
                Ok(decoded) => decoded,
                Err(violation) => {
                    self.close_with(conn.index, CloseReason::Violation(violation));
                    return bytes.len();
                }
            };
            at += used;
            let Some(event) = event else { break };
            if noted {
                self.note_in(conn.index, &event);
            }
            match event {
                Event::Message(_) if noted && self.table[conn.index].is_aside() => {
                    self.account_frame();
                }
                Event::Message(message) => self.hand_over(app, conn, message),
                Event::Fragment(length) => self.account_fragment(length),
                Event::Dropped { is_last } => {
                    self.account_frame();
                    if is_last {
                        app.on_too_long(self, conn);
                    }
                }
                Event::Ping(payload) => {
                    self.account_frame();
                    self.queue_control(conn.index, PONG, payload);
                }
                Event::Pong(_) => {
                    self.account_frame();
                    self.table[conn.index].flags.clear(Flags::WRITES_ARE_LIFE);
                }
                Event::Close(payload) => {
                    match parse_close(payload) {
                        Ok(code) => self.closed_by_peer(conn.index, code, used < left),
                        Err(violation) => {
                            self.close_with(conn.index, CloseReason::Violation(violation));
                        }
                    }
                    return bytes.len();
                }
            }
            if !self.is_open(conn) {
                return bytes.len();
            }
            // What comes next is new, unless a control frame came in between.
            begun |= partial.as_ref().is_none_or(|partial| !partial.in_message());
        }
        if partial.is_some() || self.table[conn.index].inbound.is_some() {
            self.keep_partial(conn.index, partial, begun);
        }
        at
    }

    /// Whether the application holds a connection back.
    fn is_held(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|record| record.flags.has(Flags::HELD))
    }

    #[inline(always)]
    fn hand_over<H: Handler>(&mut self, app: &mut App<H>, conn: ConnId, message: Message<'_>) {
        self.account_message();
        app.on_message(self, conn, message);
    }

    #[inline(always)]
    fn account_message(&mut self) {
        self.work -= 1;
        self.stats.messages_in += 1;
    }

    /// Keeps what is there of a message. `begun` says that it began just now.
    fn keep_partial(&mut self, index: Slot, partial: Option<Box<Partial>>, begun: bool) {
        let partial = partial.filter(|partial| !partial.is_idle());
        let conn = &mut self.table[index];
        let inbound = conn.inbound.get_or_insert_default();
        let dropping = partial.as_ref().is_some_and(|partial| partial.is_dropping());
        inbound.started = match partial {
            None => 0,
            // Nothing is kept of it, and bytes that arrive are signs of life.
            Some(_) if dropping => 0,
            Some(_) if begun => self.now.max(1),
            Some(_) => inbound.started,
        };
        if conn.flags.has(Flags::PAUSED) && inbound.unread_since == 0 {
            inbound.unread_since = self.now;
        }
        let timed = partial.is_some() && begun;
        inbound.partial = partial;
        self.recount(index);
        if timed {
            self.arm_open(index);
        }
    }

    /// Keeps bytes that cannot be handled yet.
    pub(in crate::hub) fn keep(&mut self, conn: ConnId, rest: &[u8], searched: usize) {
        let now = self.now;
        let Some(record) = self.resolve_mut(conn) else { return };
        if !matches!(record.phase(), Phase::Head | Phase::Open) {
            return;
        }
        let begins = record.phase() == Phase::Head && record.inbound.is_none();
        let next_head = begins && record.requests > 0 && !record.flags.has(Flags::ANSWERING);
        let inbound = record.inbound.get_or_insert_default();
        if inbound.arrived == 0 {
            inbound.arrived = now;
        }
        inbound.stash.push(rest);
        inbound.searched = searched;
        self.recount(conn.index);
        if next_head {
            // It was kept alive for a next request; that one has its own time.
            self.wheel.disarm(conn.index.key());
            self.arm(conn.index, self.now.saturating_add(self.timeouts.handshake));
        }
    }

    /// Brings the total of what is held for input up to date, and gives back
    /// what is not needed any more.
    pub(in crate::hub) fn recount(&mut self, index: Slot) {
        let Some(conn) = self.table.get_mut(index) else { return };
        let Some(inbound) = &mut conn.inbound else { return };
        let held = inbound.capacity();
        self.inbound_bytes = self.inbound_bytes - inbound.counted + held;
        inbound.counted = held;
        if inbound.is_idle() {
            self.inbound_bytes -= held;
            conn.inbound = None;
        }
    }
}
