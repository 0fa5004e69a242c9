//! The record of a connection. A server may hold a million records, so a test guards the size of
//! a record, and what an idle connection does not need is in a box on the heap.

use compact_str::CompactString;

use super::details::Details;
use crate::hub::Serial;
use crate::hub::input::stash::Stash;
use crate::hub::output::outbound::Outbound;
use crate::wire::Peer;
use crate::wire::http::body::Reading;
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

/// Yes-or-no facts about a connection that change with what it sends and gets. No bit is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// The connection is in the queue of connections to write to, for a reply or a one-to-one
    /// message.
    pub const DIRTY_DIRECT: u16 = 1;
    /// The connection is in the queue of connections to write to, for a fan-out.
    pub const DIRTY_FAN_OUT: u16 = 1 << 1;
    /// The socket took fewer bytes than it was given, so it is written to again only when it
    /// reports that it can take more.
    pub const BLOCKED: u16 = 1 << 2;
    /// The connection is paused: it is neither read nor parsed until its turn comes again.
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
    /// Each frame of the connection takes the slow path. There the frame is recorded if the user of
    /// the connection is traced, and dropped if the connection was accepted with `aside`.
    pub const NOTED: u16 = 1 << 9;
    /// The socket had blocked; when all is written, `on_drain` runs.
    pub const WAS_BLOCKED: u16 = 1 << 10;
    /// An HTTP answer is being written; the next request waits for it.
    pub const ANSWERING: u16 = 1 << 11;
    /// The connection has sent more than its rate allows, so its debt is recorded.
    pub const OWES: u16 = 1 << 12;
    /// It stands apart: it gets what is sent to its id and nothing that goes to its user, to a group
    /// or to everyone.
    pub const APART: u16 = 1 << 13;
    /// The application holds the connection back until it has room for more messages.
    pub const HELD: u16 = 1 << 14;
    /// A shutdown closes the connection in its turn: so many in a time, and not all at once.
    pub const PACED: u16 = 1 << 15;

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

/// Yes-or-no facts about a connection that no frame changes, so that no frame looks at them. No
/// bit is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u8);

impl Facts {
    /// The connection came in on a loopback address.
    pub const LOOPBACK: u8 = 1;
    /// The connection was accepted above the limit of connections, only to be answered with 503:
    /// it will never be open.
    pub const SURPLUS: u8 = 1 << 1;
    /// `on_open` was called, so `on_close` will be.
    pub const OPENED: u8 = 1 << 2;
    /// The peer has ended its side of the stream.
    pub const EOF: u8 = 1 << 3;
    /// The handler knows the client: the connection is kept for any number of further requests,
    /// and for longer than that of an unknown client.
    pub const KNOWN: u8 = 1 << 4;
    /// The connection was accepted with `aside`, so it only listens: what it sends is dropped, and
    /// it gets nothing but what is sent to its id.
    pub const ASIDE: u8 = 1 << 5;
    /// A message that is too long does not end the connection: it is dropped as it arrives, and the
    /// handler is told.
    pub const OUTLASTS: u8 = 1 << 6;
    /// There is no room for the connection: it is open only to be told so.
    pub const REFUSED: u8 = 1 << 7;

    /// Returns whether at least one of `facts` is true of the connection.
    pub fn has(self, facts: u8) -> bool {
        self.0 & facts != 0
    }

    /// Records that all of `facts` are true of the connection from now on.
    pub fn set(&mut self, facts: u8) {
        self.0 |= facts;
    }

    /// Records that none of `facts` is true of the connection any more.
    pub fn clear(&mut self, facts: u8) {
        self.0 &= !facts;
    }
}

/// Bytes that have arrived and could not be handled yet.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The part of an incomplete message that has arrived.
    pub partial: Option<Box<Partial>>,
    /// Bytes that are not parsed yet: an incomplete request head, or bytes for which the work
    /// budget of the turn did not suffice.
    pub stash: Stash,
    /// How many bytes of `stash` were searched for the end of a request head without finding it.
    pub searched: usize,
    /// The incomplete body of a request; its bytes are in `stash`, behind the head of the request.
    pub upload: Option<Upload>,
    /// When the message in `partial` began, in milliseconds; 0 when there is no such message.
    pub started: u64,
    /// When the bytes in `stash` arrived, in milliseconds, as far as that is known: bytes that are
    /// read first after a pause may have waited in the socket since the pause began.
    pub arrived: u64,
    /// Since when the server has not read the socket, in milliseconds; 0 when it reads it.
    pub unread_since: u64,
    /// How many bytes the hub's total of buffered input contains for this connection.
    pub counted: usize,
}

impl Inbound {
    /// Returns whether no bytes and no part of a message wait here.
    pub fn is_idle(&self) -> bool {
        self.stash.is_empty() && self.partial.as_ref().is_none_or(|partial| partial.is_idle())
    }

    /// Records that bytes were read just now.
    pub fn note_arrival(&mut self, now: u64) {
        let unread_since = std::mem::take(&mut self.unread_since);
        self.arrived = if unread_since > 0 { unread_since } else { now };
    }

    /// Returns how many bytes this value holds on the heap, itself included.
    pub fn capacity(&self) -> usize {
        let partial = self.partial.as_deref();
        let partial = partial.map_or(0, |partial| size_of::<Partial>() + partial.capacity());
        size_of::<Self>() + self.stash.capacity() + partial
    }
}

/// A request whose body has not arrived whole yet.
#[derive(Debug)]
pub struct Upload {
    /// The length of the request head, in bytes.
    pub head: usize,
    /// The state of reading the body.
    pub body: Reading,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// The serial number, which distinguishes this connection from earlier ones in the same slot.
    pub(in crate::hub::table) serial: Serial,
    pub(in crate::hub::table) phase: Phase,
    /// How many requests were answered; the count stays at 255.
    pub requests: u8,
    pub flags: Flags,
    /// When bytes last arrived from the peer, in milliseconds.
    pub heard: u64,
    /// How many milliseconds after `heard` a message was last written whole to the peer. It is
    /// recorded only while a write counts as a sign of life.
    pub written: u32,
    pub out: Outbound,
    pub inbound: Option<Box<Inbound>>,
    pub user: CompactString,
    pub details: Details,
    pub peer: Peer,
    /// The tag of the listener that accepted the connection.
    pub listener: u8,
    pub facts: Facts,
}

impl Connection {
    /// A connection that was accepted at `now`, for [`Table::insert`](super::Table::insert).
    pub fn new(peer: Peer, facts: Facts, now: u64) -> Self {
        Connection {
            serial: Serial::MIN,
            phase: Phase::Head,
            requests: 0,
            flags: Flags::default(),
            heard: now,
            written: 0,
            out: Outbound::default(),
            inbound: None,
            user: CompactString::const_new(""),
            details: Details::default(),
            peer,
            listener: 0,
            facts,
        }
    }

    /// Tells this use of the slot from earlier ones.
    #[inline(always)]
    pub(in crate::hub) fn serial(&self) -> Serial {
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
        self.details.device()
    }

    /// Returns the time of the last sign of life, in milliseconds.
    pub fn alive(&self) -> u64 {
        self.heard + u64::from(self.written)
    }

    /// Records that everything queued was written. Returns whether that counts as a sign of life
    /// of the peer.
    ///
    /// A written ping alone is no sign of life, because then a page that has stopped would keep
    /// its connection for ever. A parked connection is the exception, because it gets nothing but
    /// pings: the page does not use it any more, yet would reconnect if it were closed.
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

    /// Records the time of a write relative to `heard`. The number overflows after 49 days
    /// without a byte from the peer; the connection is then closed as idle.
    #[inline]
    fn note_written(&mut self, now: u64) {
        self.written = (now - self.heard) as u32;
    }

    /// Records that a message was written whole without being queued first.
    #[inline]
    pub fn note_message(&mut self, now: u64) {
        if self.flags.has(Flags::WRITES_ARE_LIFE) {
            self.note_written(now);
        }
    }

    /// Returns whether the server does not read the connection because it has sent more than its
    /// rate allows, or because the application holds it back. A connection that is paused only until
    /// the next turn is not meant.
    pub fn is_held_back(&self) -> bool {
        self.flags.has(Flags::PAUSED) && self.flags.has(Flags::OWES | Flags::HELD)
    }

    /// Returns whether the handler knows the client, so that the connection is kept for longer.
    pub fn is_known(&self) -> bool {
        self.facts.has(Facts::KNOWN)
    }

    /// Returns whether the connection belongs to a user, as the active connection of a device or
    /// as a parked one.
    pub fn is_bound(&self) -> bool {
        self.phase == Phase::Open && !self.user.is_empty()
    }

    /// Returns whether the connection was accepted with `aside`, so that it only listens: what it
    /// sends is dropped, and it gets nothing but what is sent to its id.
    pub fn is_aside(&self) -> bool {
        self.facts.has(Facts::ASIDE)
    }

    /// Returns whether the connection gets what is sent to its user and to everyone.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Open && !self.flags.has(Flags::PARKED | Flags::APART)
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
