//! Traces: what the connections of single users do, for watchers. A trace tells which connections
//! come and go, and the kind and size of every frame, never its content.
//!
//! Connections of traced users have [`Flags::NOTED`]. This flag takes each of their frames off the
//! hot path, to where an event is noted. Connections of other users are not checked.

use crate::hub::table::slots::Slot;
use compact_str::CompactString;

use crate::hub::table::record::Flags;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::{Event, Message};
use crate::wire::ws::frame::{CLOSE, PING, PONG, TEXT};

use super::{App, ConnId, Context, Handler};

/// The most users that are traced at once.
pub const MAX_TRACED: usize = 16;
/// The most events that are kept until the handler is told, which happens once in a turn. Further
/// events are only counted.
const MOST_EVENTS: usize = 256;

/// Something that a traced user's connection did, or that was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The connection. Its user, device and peer can be looked up while the handler is told.
    pub conn: ConnId,
    /// What happened.
    pub what: Happened,
}

/// What happened to a traced connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happened {
    /// The connection has opened, with this subprotocol.
    Opened {
        /// The subprotocol in the handshake's answer; `None` without one.
        protocol: Option<String>,
    },
    /// A message or a control frame has arrived from the connection.
    In(TracedFrame),
    /// A frame was queued for the connection.
    Out(TracedFrame),
    /// A newer connection has replaced this one, which is parked now.
    Parked,
    /// The connection is active again.
    Promoted,
    /// Something that only the handler knows, which it has told with [`Context::tell_trace`].
    Told(Told),
    /// The connection is gone; `on_close` follows.
    Closed {
        /// The reason.
        reason: CloseReason,
    },
}

/// What a handler tells of a traced connection. All words in it are the program's own, so it
/// contains nothing that a client has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What has happened.
    pub name: &'static str,
    /// What belongs to it, each with its name.
    pub details: Vec<(&'static str, Detail)>,
}

/// One thing that belongs to a [`Told`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Detail {
    Number(u64),
    Word(&'static str),
    Flag(bool),
}

/// A frame, or a message of several frames, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedFrame {
    /// The kind of the frame.
    pub kind: FrameKind,
    /// The length of the payload in bytes.
    pub bytes: usize,
}

/// The kinds of frames (RFC 6455, section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FrameKind {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

/// The traced users, and the events that were not told yet. Every event belongs to a connection
/// that is not freed and whose user is traced: a connection's events are told before it is freed,
/// and a user's events are removed when the user is not traced any more.
#[derive(Debug, Default)]
pub struct Traces {
    users: Vec<CompactString>,
    events: Vec<Traced>,
    missed: u64,
}

impl Traces {
    /// The connections whose events were not told yet, for the invariants.
    pub fn noted(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.events.iter().map(|event| event.conn)
    }

    /// Whether a user is traced.
    pub fn has_user(&self, user: &str) -> bool {
        self.users.iter().any(|traced| traced == user)
    }

    /// Whether there are events to tell.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.missed > 0
    }
}

impl Context {
    /// Begins to tell [`Handler::on_trace`] what the connections of a user do, including
    /// connections that open later. Returns false, and does nothing, if [`MAX_TRACED`] other users
    /// are traced. Other users' connections do not become slower.
    pub fn trace(&mut self, user: &str) -> bool {
        if user.is_empty() || self.is_traced(user) {
            return !user.is_empty();
        }
        if self.traces.users.len() >= MAX_TRACED {
            return false;
        }
        self.traces.users.push(user.into());
        for conn in self.connections_of(user) {
            self.table[conn.index].flags.set(Flags::NOTED);
        }
        true
    }

    /// Ends the trace of a user. [`Handler::on_trace`] gets no more events of this user, not even
    /// events that have happened before.
    pub fn untrace(&mut self, user: &str) {
        let Context { table, traces, .. } = self;
        traces.users.retain(|traced| traced != user);
        let is_kept = |index: Slot| table.get(index).is_some_and(|conn| conn.user != user);
        traces.events.retain(|event| is_kept(event.conn.index));
        if traces.users.is_empty() {
            traces.missed = 0;
        }
        for conn in self.connections_of(user) {
            self.table[conn.index].flags.clear(Flags::NOTED);
        }
    }

    /// Whether a user is traced.
    pub fn is_traced(&self, user: &str) -> bool {
        self.traces.has_user(user)
    }

    /// Adds to the trace of a connection's user what only the handler knows. Does nothing if the
    /// user is not traced, or if the connection is gone. It must not be called in
    /// [`on_close`](Handler::on_close), after which the connection cannot be looked up any more.
    #[inline]
    pub fn tell_trace(
        &mut self,
        conn: ConnId,
        name: &'static str,
        details: &[(&'static str, Detail)],
    ) {
        if !self.traces.users.is_empty() {
            self.note_told(conn, name, details);
        }
    }

    #[cold]
    fn note_told(&mut self, conn: ConnId, name: &'static str, details: &[(&'static str, Detail)]) {
        if self.resolve(conn).is_some() {
            let told = Told { name, details: details.to_vec() };
            self.note(conn.index, Happened::Told(told));
        }
    }

    /// Notes an event of a connection that has [`Flags::NOTED`]. Nothing is noted for a connection
    /// that was accepted with `aside`, or that is closing after the end of its user's trace.
    pub(super) fn note(&mut self, index: Slot, what: Happened) {
        if !self.traces.has_user(&self.table[index].user) {
            return;
        }
        if self.traces.events.len() < MOST_EVENTS {
            let conn = ConnId { index, serial: self.table[index].serial() };
            self.traces.events.push(Traced { conn, what });
        } else {
            self.traces.missed += 1;
        }
    }

    /// Begins to note events of a connection that has opened.
    #[cold]
    pub(super) fn note_opened(&mut self, index: Slot, protocol: Option<&str>) {
        self.table[index].flags.set(Flags::NOTED);
        self.note(index, Happened::Opened { protocol: protocol.map(str::to_owned) });
    }

    /// Notes what has arrived.
    pub(super) fn note_in(&mut self, index: Slot, event: &Event<'_>) {
        let (kind, bytes) = match event {
            Event::Message(Message::Text(text)) => (FrameKind::Text, text.len()),
            Event::Message(Message::Binary(data)) => (FrameKind::Binary, data.len()),
            // A message is told once, when it is whole.
            Event::Fragment(_) | Event::Dropped { .. } => return,
            Event::Ping(payload) => (FrameKind::Ping, payload.len()),
            Event::Pong(payload) => (FrameKind::Pong, payload.len()),
            Event::Close(payload) => (FrameKind::Close, payload.len()),
        };
        self.note(index, Happened::In(TracedFrame { kind, bytes }));
    }

    /// Notes a frame that was queued and begins with the byte `first`.
    #[cold]
    pub(super) fn note_out(&mut self, index: Slot, first: u8, bytes: usize) {
        let kind = kind_of(first);
        self.note(index, Happened::Out(TracedFrame { kind, bytes }));
    }

    /// Tells the handler the events that were noted, if there are any.
    pub(super) fn tell_traced<H: Handler>(&mut self, app: &mut App<H>) {
        // Whatever is sent has what is left of a broadcast's walk queued.
        let few = self.traces.events.len() < MOST_EVENTS / 2;
        if !self.traces.has_events() || (self.is_broadcasting() && few) {
            return;
        }
        self.tell_all_traced(app);
    }

    #[cold]
    pub(super) fn tell_all_traced<H: Handler>(&mut self, app: &mut App<H>) {
        let mut events = std::mem::take(&mut self.traces.events);
        let missed = std::mem::take(&mut self.traces.missed);
        app.on_trace(self, &events, missed);
        // What has happened inside the callback is told next time.
        events.clear();
        events.append(&mut self.traces.events);
        self.traces.events = events;
    }
}

fn kind_of(first: u8) -> FrameKind {
    match first {
        TEXT => FrameKind::Text,
        PING => FrameKind::Ping,
        PONG => FrameKind::Pong,
        CLOSE => FrameKind::Close,
        _ => FrameKind::Binary,
    }
}
