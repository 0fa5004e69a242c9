//! The record of a connection. A server holds a million of these, so its size
//! is guarded by a test; what an idle connection does not need is boxed.

use compact_str::CompactString;

use crate::hub::input::stash::Stash;
use crate::hub::output::outbound::Outbound;
use crate::wire::Peer;
use crate::wire::http::body::Reading;
use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Partial;

/// How far a connection has come. It only moves downward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The connection waits to read a request head, or is answering a request.
    Head,
    /// The refusal is delayed; what the connection sends is dropped.
    Held,
    /// Frames go both ways.
    Open,
    /// The server closes the connection: `on_closing` runs first, and the close frame follows.
    Parting,
    /// The last bytes are being written; then the write side is shut down and the read side is read
    /// to its end, because unread input would destroy the last bytes by a reset.
    FlushThenDrain,
    /// The last bytes are being written; the peer expects nothing else.
    FlushThenEnd,
    /// The connection waits for the peer's end of stream; what the peer sends is dropped.
    Draining,
    /// The connection is freed at the end of the turn.
    Ended,
}

impl Phase {
    /// Whether the connection is closing, and has not ended.
    pub fn is_closing(self) -> bool {
        matches!(
            self,
            Phase::Parting | Phase::FlushThenDrain | Phase::FlushThenEnd | Phase::Draining
        )
    }
}

/// Yes-or-no facts about a connection that change with what it sends and gets. Three bits are
/// free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// The connection is in the queue of connections to write to, for a reply or a one-to-one
    /// message.
    pub const DIRTY_DIRECT: u16 = 1;
    /// The connection is in the queue of connections to write to, for a fan-out.
    pub const DIRTY_FAN_OUT: u16 = 1 << 1;
    /// The socket took less than it was given.
    pub const BLOCKED: u16 = 1 << 2;
    /// The connection is neither read nor parsed until its turn comes again.
    pub const PAUSED: u16 = 1 << 3;
    /// The driver would have read the connection while it was paused.
    pub const READ_WANTED: u16 = 1 << 4;
    /// A newer connection of the same user and device has replaced this one. Only the table may
    /// set and clear the flag; others compare it by a [`Mask`].
    pub(in crate::hub::table) const PARKED: u16 = 1 << 5;
    /// A WebSocket ping was sent and nothing has been heard since.
    pub const PINGED: u16 = 1 << 6;
    /// A frame that was wholly written counts as a sign of life, until a pong has arrived.
    pub const WRITES_ARE_LIFE: u16 = 1 << 7;
    /// A message is queued, not only pings.
    pub const MESSAGE_QUEUED: u16 = 1 << 8;
    /// Each frame of the connection takes the slow path, where it is noted if its user is traced,
    /// and dropped if the connection was accepted with `aside`.
    pub const NOTED: u16 = 1 << 9;
    /// The socket had blocked; when all is written, `on_drain` runs.
    pub const WAS_BLOCKED: u16 = 1 << 10;
    /// An HTTP answer is being written; the next request waits for it.
    pub const ANSWERING: u16 = 1 << 11;
    /// The connection is ahead of its rate, so an account is kept for it.
    pub const OWES: u16 = 1 << 12;

    #[inline]
    pub fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }

    /// Whether one of the flags of a mask is set.
    #[inline(always)]
    pub fn meets(self, mask: Mask) -> bool {
        self.0 & mask.0 != 0
    }

    #[inline]
    pub fn set(&mut self, flag: u16) {
        self.0 |= flag;
    }

    #[inline]
    pub fn clear(&mut self, flag: u16) {
        self.0 &= !flag;
    }
}

/// Flags to compare, among them that of a parked connection, which only the table may change.
#[derive(Clone, Copy, Debug)]
pub struct Mask(u16);

impl Mask {
    /// These flags, and that of a parked connection.
    pub const fn with_parked(flags: u16) -> Self {
        Mask(flags | Flags::PARKED)
    }
}

/// Yes-or-no facts about a connection that no frame changes, so that no frame looks at them. Two
/// bits are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u8);

impl Facts {
    /// The connection came in on a loopback address.
    pub const LOOPBACK: u8 = 1;
    /// The connection was accepted above the limit, to be told so: it will never be open.
    pub const SURPLUS: u8 = 1 << 1;
    /// `on_open` was called, so `on_close` will be.
    pub const OPENED: u8 = 1 << 2;
    /// The peer has ended its side of the stream.
    pub const EOF: u8 = 1 << 3;
    /// The client is known: the connection is kept for next requests, however many and for
    /// longer.
    pub const KNOWN: u8 = 1 << 4;
    /// The connection only listens: what it sends is dropped, and it gets nothing but what is
    /// sent to its id.
    pub const ASIDE: u8 = 1 << 5;

    /// Whether one of `facts` holds.
    pub fn has(self, facts: u8) -> bool {
        self.0 & facts != 0
    }

    /// From now on all of `facts` hold.
    pub fn set(&mut self, facts: u8) {
        self.0 |= facts;
    }

    /// From now on none of `facts` holds.
    pub fn clear(&mut self, facts: u8) {
        self.0 &= !facts;
    }
}

/// Bytes that have arrived and could not be handled yet.
#[derive(Debug, Default)]
pub struct Inbound {
    /// What is there of a message that is not complete.
    pub partial: Option<Box<Partial>>,
    /// Bytes not parsed: an incomplete head, or what a spent budget left over.
    pub stash: Stash,
    /// How much of `stash` is known not to end a head.
    pub searched: usize,
    /// A request's body that is not whole; it lies in `stash`, behind its head.
    pub upload: Option<Upload>,
    /// When the message in `partial` began, in milliseconds; 0 when none has.
    pub started: u64,
    /// When the bytes in `stash` arrived, as far as that is known: those that were read
    /// first after a hold-back may have been there since its beginning.
    pub arrived: u64,
    /// Since when the server has not read what may have arrived; 0 when it reads.
    pub unread_since: u64,
    /// What was last counted for it in the hub's total.
    pub counted: usize,
}

impl Inbound {
    pub fn is_idle(&self) -> bool {
        self.stash.is_empty() && self.partial.as_ref().is_none_or(|partial| partial.is_idle())
    }

    /// Bytes have arrived just now.
    pub fn note_arrival(&mut self, now: u64) {
        let unread_since = std::mem::take(&mut self.unread_since);
        self.arrived = if unread_since > 0 { unread_since } else { now };
    }

    /// Bytes this holds on the heap, itself included.
    pub fn capacity(&self) -> usize {
        let partial = self.partial.as_deref();
        let partial = partial.map_or(0, |partial| size_of::<Partial>() + partial.capacity());
        size_of::<Self>() + self.stash.capacity() + partial
    }
}

/// A request whose body is on its way.
#[derive(Debug)]
pub struct Upload {
    /// The length of its head.
    pub head: usize,
    pub body: Reading,
}

/// What only some connections have.
#[derive(Debug, Default)]
pub struct Details {
    /// Which of its user's devices it is.
    pub device: CompactString,
    /// Groups by their key, with this connection's position in each.
    pub groups: Vec<(u32, u32)>,
    /// Why it is ending.
    pub reason: Option<CloseReason>,
    /// How many bytes were queued for it and never written, once it has ended.
    pub unwritten: usize,
    /// What it will be answered when it was held for a moment.
    pub answer: Option<Box<Response>>,
    /// What has to be known of a request whose answer comes later.
    pub awaited: Option<Awaited>,
}

/// A request whose handler answers it later.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    /// Whether the body of the answer is left out.
    pub head_only: bool,
    /// Whether the client wants to go on with the connection.
    pub keep_alive: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Tells this use of its slot from earlier ones.
    pub(in crate::hub::table) serial: u32,
    pub(in crate::hub::table) phase: Phase,
    /// Requests answered, up to 255.
    pub requests: u8,
    pub flags: Flags,
    /// When bytes last arrived from it, in milliseconds.
    pub heard: u64,
    /// How many milliseconds later a message was last wholly written to it;
    /// only kept while that counts as life.
    pub written: u32,
    pub out: Outbound,
    pub inbound: Option<Box<Inbound>>,
    pub user: CompactString,
    pub details: Option<Box<Details>>,
    pub peer: Peer,
    /// The tag of the listener that it came in by.
    pub listener: u8,
    pub facts: Facts,
}

impl Connection {
    /// A connection that was accepted at `now`, for [`Table::insert`](super::Table::insert).
    pub fn new(peer: Peer, facts: Facts, now: u64) -> Self {
        Connection {
            serial: 0,
            phase: Phase::Head,
            requests: 0,
            flags: Flags::default(),
            heard: now,
            written: 0,
            out: Outbound::default(),
            inbound: None,
            user: CompactString::const_new(""),
            details: None,
            peer,
            listener: 0,
            facts,
        }
    }

    /// Tells this use of the slot from earlier ones.
    #[inline(always)]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How far the connection has come. [`Table::go_to`](super::Table::go_to) changes it.
    #[inline(always)]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether another connection of the same user and device has taken its place, or it stands
    /// aside. [`Table::set_parked`](super::Table::set_parked) changes it.
    #[inline]
    pub fn is_parked(&self) -> bool {
        self.flags.has(Flags::PARKED)
    }

    pub fn device(&self) -> &str {
        self.details.as_ref().map_or("", |details| &details.device)
    }

    /// The last sign of life, in milliseconds.
    pub fn alive(&self) -> u64 {
        self.heard + u64::from(self.written)
    }

    /// Takes note that everything queued was written. Returns whether that
    /// counts as life.
    ///
    /// A ping alone proves nothing, or a page that has stopped would live for
    /// ever. But a parked connection gets nothing else: the page has forgotten
    /// it, yet reconnects whenever it closes.
    #[inline]
    pub fn note_life(&mut self, now: u64) -> bool {
        let proves = self.flags.has(Flags::MESSAGE_QUEUED | Flags::PARKED);
        let counts = proves && self.flags.has(Flags::WRITES_ARE_LIFE);
        self.flags.clear(Flags::MESSAGE_QUEUED);
        if counts {
            self.note_written(now);
        }
        counts
    }

    /// After 49 days without a byte from it this begins anew, and it is closed as
    /// idle.
    #[inline]
    fn note_written(&mut self, now: u64) {
        self.written = (now - self.heard) as u32;
    }

    /// Takes note that a message was wholly written of which nothing was queued.
    #[inline]
    pub fn note_message(&mut self, now: u64) {
        if self.flags.has(Flags::WRITES_ARE_LIFE) {
            self.note_written(now);
        }
    }

    /// Whether the server holds it back though its socket could be read, as it is ahead of
    /// its rate. Who only waits for the next turn's work is soon looked at again.
    pub fn is_held_for_rate(&self) -> bool {
        self.flags.has(Flags::PAUSED) && self.flags.has(Flags::OWES)
    }

    /// Whether its client is known, so that it is kept for longer.
    pub fn is_known(&self) -> bool {
        self.facts.has(Facts::KNOWN)
    }

    /// Whether it is in the user index, or parked beside it.
    pub fn is_bound(&self) -> bool {
        self.phase == Phase::Open && !self.user.is_empty()
    }

    /// Whether it only listens: what it sends is dropped, and it gets nothing but what is
    /// sent to its id.
    pub fn is_aside(&self) -> bool {
        self.facts.has(Facts::ASIDE)
    }

    /// Whether it gets what is sent to its user and to everyone.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Open && !self.flags.has(Flags::PARKED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_stays_small() {
        assert!(size_of::<Connection>() <= 104, "{}", size_of::<Connection>());
        assert!(size_of::<slab::Slab<Connection>>() <= 48);
    }
}
