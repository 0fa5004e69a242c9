//! A hub without sockets and without a clock: pipes in memory and a time that is made up, driven
//! as a driver drives it.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use super::frames::Got;
use super::owner;
use super::pipe::Pipe;
use super::turn::{Loop, turn};
use crate::driver::READ_SIZE;
use crate::hub::{Config, ConnId, Context, Handler, Hub, Sent};
use crate::wire::Peer;

/// What the world tells a handler that watches the hub from outside its callbacks.
#[derive(Debug)]
pub enum Note<'a> {
    /// A connection was taken in.
    Opened(ConnId),
    /// So many bytes of the client have arrived at the kernel.
    Arrived(ConnId, usize),
    /// The connection has broken: the bytes that the hub has not been given are lost.
    Lost(ConnId),
    /// The hub is about to be given so many bytes.
    Receiving(ConnId, usize),
    /// The hub has handled those bytes.
    Received(ConnId),
    /// The client's end of stream is about to be told.
    Ending(ConnId),
    /// A failure is about to be told.
    Failing(ConnId, ErrorKind),
    /// The writes of the turn begin.
    Flushing,
    /// These bytes are being written.
    Writing(ConnId, &'a [u8]),
    /// They are written, and this follows from it.
    Wrote(ConnId, Sent),
    /// The kernel takes no more of this connection.
    Blocked(ConnId),
    /// The kernel takes more again.
    Writable(ConnId),
    /// The hub is about to look at its deadlines.
    Ticking,
    /// A connection cannot be judged yet: what it has sent waits.
    Postponed(ConnId),
    /// The hub has looked at its deadlines.
    Ticked,
    /// The hub is about to end its turn.
    EndingTurn,
    /// The hub has ended its turn.
    EndedTurn,
    /// A connection is gone, and its socket is closed.
    Reaped(ConnId),
    /// The hub is about to be shut down.
    ShuttingDown,
    /// The turn is over, and the hub has checked itself.
    TurnDone,
}

/// A handler that may want to be told more than a handler is. `impl Watch for MyHandler {}` is
/// enough for a handler that does not.
pub trait Watch: Handler {
    /// Something happens at `now`, in milliseconds since the world began.
    fn note(&mut self, _hub: &Context, _now: u64, _note: Note<'_>) {}
}

/// A hub, its handler, its pipes and the time.
#[derive(Debug)]
pub struct World<H: Handler> {
    /// The hub with its handler.
    pub hub: Hub<H>,
    base: Instant,
    /// Milliseconds since the world began.
    pub now: u64,
    /// All connections that there have been, by the numbers that [`World::connect`] gives.
    pub pipes: Vec<Pipe>,
    /// The pipe of each slot.
    pub(super) at: Vec<Option<usize>>,
    events: VecDeque<usize>,
    to_read: VecDeque<usize>,
    /// What one read takes at most.
    pub read_size: usize,
    /// How many events one poll returns at most. The others wait for the next one.
    pub batch: usize,
    /// What one vectored write takes at most.
    pub slices: usize,
    /// What a new pipe's kernel takes.
    pub capacity: usize,
    /// Whether the hub does the writes by itself, as it does for a driver; else the world fetches
    /// what is to be written from one connection after the other.
    pub by_sink: bool,
    /// Polls that have left events for the next one.
    pub full_batches: u64,
    /// Writes of which the kernel has taken a part.
    pub partial_writes: u64,
    /// Times a kernel took no more.
    pub blocks: u64,
    /// Turns taken.
    pub turns: u64,
    /// Times the work budget was found spent.
    pub exhausted: u64,
    /// Times the write budget left something over.
    pub leftover_writes: u64,
    /// Deliveries of broadcasts that had not been queued when the writing began.
    pub walked: u64,
}

impl<H: Watch> World<H> {
    /// A hub of which nobody is a client yet. `base` is when the world begins: the clock is made
    /// up, so any time will do.
    ///
    /// # Panics
    /// When the configuration does not [hold](Config::check).
    pub fn new(config: Config, handler: H, base: Instant) -> Self {
        config.check().expect("a configuration that holds");
        World {
            hub: owner::server(|| Hub::new(config, handler, base)),
            base,
            now: 0,
            pipes: Vec::new(),
            at: Vec::new(),
            events: VecDeque::new(),
            to_read: VecDeque::new(),
            read_size: READ_SIZE,
            batch: usize::MAX,
            slices: 64,
            capacity: 1 << 20,
            by_sink: true,
            full_batches: 0,
            partial_writes: 0,
            blocks: 0,
            turns: 0,
            exhausted: 0,
            leftover_writes: 0,
            walked: 0,
        }
    }

    /// The time as the hub is told it.
    pub fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        self.hub.handler()
    }

    /// The handler, to be changed between two calls of the hub.
    pub fn handler_mut(&mut self) -> &mut H {
        self.hub.parts().1
    }

    pub(super) fn note(&mut self, note: Note<'_>) {
        let (cx, handler) = self.hub.parts();
        handler.note(cx, self.now, note);
    }

    /// A client's connection is accepted. Returns its place in [`World::pipes`], or `None` when the
    /// hub has no room.
    pub fn connect(&mut self) -> Option<usize> {
        self.connect_from(Peer::UNKNOWN)
    }

    /// A client's connection from this address is accepted, as by [`World::connect`].
    pub fn connect_from(&mut self, peer: Peer) -> Option<usize> {
        let conn = owner::server(|| self.hub.open(peer, true, self.instant())).ok()?;
        let pipe = self.pipes.len();
        self.pipes.push(Pipe::new(conn, self.capacity));
        if conn.index() >= self.at.len() {
            self.at.resize(conn.index() + 1, None);
        }
        assert_eq!(self.at[conn.index()], None, "a slot is free before it is used again");
        self.at[conn.index()] = Some(pipe);
        self.note(Note::Opened(conn));
        Some(pipe)
    }

    /// Bytes of the client arrive. They are lost when the client has ended its side.
    pub fn send(&mut self, pipe: usize, bytes: &[u8]) {
        let end = &mut self.pipes[pipe];
        if end.is_finished() || bytes.is_empty() {
            return;
        }
        end.to_server.extend(bytes);
        end.readable = true;
        let conn = end.conn;
        self.note(Note::Arrived(conn, bytes.len()));
        self.schedule(pipe);
    }

    /// The client ends its side of the stream.
    pub fn finish(&mut self, pipe: usize) {
        self.pipes[pipe].fin = true;
        self.pipes[pipe].readable = true;
        self.schedule(pipe);
    }

    /// The connection breaks: what was on its way is lost.
    pub fn reset(&mut self, pipe: usize, kind: ErrorKind) {
        let end = &mut self.pipes[pipe];
        end.reset = Some(kind);
        end.to_server.clear();
        end.readable = true;
        let (conn, closed) = (end.conn, end.closed);
        if !closed {
            self.note(Note::Lost(conn));
        }
        self.schedule(pipe);
    }

    /// From now on the client reads, or does not read, what it is sent.
    pub fn set_reading(&mut self, pipe: usize, reading: bool) {
        self.pipes[pipe].reading = reading;
        self.schedule(pipe);
    }

    fn schedule(&mut self, pipe: usize) {
        if !self.pipes[pipe].scheduled {
            self.pipes[pipe].scheduled = true;
            self.events.push_back(pipe);
        }
    }

    /// The hub is told to shut down.
    pub fn shutdown(&mut self) {
        self.note(Note::ShuttingDown);
        owner::server(|| self.hub.shutdown());
    }

    /// One turn of the loop: events, then what a driver does after them.
    ///
    /// # Panics
    /// When a check of the hub on itself fails, or a server may not write what the hub writes.
    pub fn turn(&mut self) {
        self.turns += 1;
        self.full_batches += u64::from(self.events.len() > self.batch);
        for _ in 0..self.events.len().min(self.batch) {
            let Some(pipe) = self.events.pop_front() else { break };
            self.event(pipe);
        }
        turn(self, self.instant());
        self.hub.check_invariants();
        self.note(Note::TurnDone);
    }

    fn event(&mut self, pipe: usize) {
        let end = &mut self.pipes[pipe];
        end.scheduled = false;
        if end.reading && !end.to_client.is_empty() {
            let bytes = std::mem::take(&mut end.to_client);
            end.decoder.push(&bytes, &mut end.got);
            if !end.counted.0.is_empty() {
                let (text, count) = &mut end.counted;
                let before = end.got.len();
                end.got.retain(|got| !matches!(got, Got::Text(got) if got == text));
                *count += (before - end.got.len()) as u64;
            }
            end.writable = true;
        }
        if end.closed {
            return;
        }
        end.ended |= end.fin || end.reset.is_some();
        let conn = end.conn;
        if std::mem::take(&mut end.writable) && std::mem::take(&mut end.blocked) {
            self.note(Note::Writable(conn));
            owner::server(|| self.hub.writable(conn));
        }
        if std::mem::take(&mut self.pipes[pipe].readable) {
            self.read(pipe);
        }
    }

    fn read(&mut self, pipe: usize) {
        let conn = self.pipes[pipe].conn;
        if !self.hub.may_read(conn) {
            return;
        }
        if self.hub.is_exhausted() {
            self.exhausted += 1;
            return self.queue_read(pipe);
        }
        let end = &mut self.pipes[pipe];
        if let Some(kind) = end.reset {
            end.told = true;
            self.note(Note::Failing(conn, kind));
            return owner::server(|| self.hub.failed(conn, &kind.into()));
        }
        let length = end.to_server.len().min(self.read_size);
        if length == 0 {
            if end.fin {
                end.told = true;
                self.note(Note::Ending(conn));
                owner::server(|| self.hub.input_ended(conn));
            } else {
                end.ended = false;
            }
            return;
        }
        let mut bytes: Vec<u8> = end.to_server.drain(..length).collect();
        let more = length == self.read_size || end.ended;
        self.note(Note::Receiving(conn, length));
        let now = self.instant();
        owner::server(|| self.hub.receive(conn, &mut bytes, now));
        self.note(Note::Received(conn));
        if more {
            self.queue_read(pipe);
        }
    }

    fn queue_read(&mut self, pipe: usize) {
        let end = &mut self.pipes[pipe];
        if !end.queued && !end.closed {
            end.queued = true;
            self.to_read.push_back(pipe);
        }
    }

    fn write_one_by_one(&mut self) {
        for _ in 0..self.hub.config().writes_per_turn {
            let Some(conn) = owner::server(|| self.hub.pop_dirty()) else { return };
            if let Some(pipe) = self.at[conn.index()] {
                self.write_to(pipe);
            }
        }
    }

    fn write_to(&mut self, pipe: usize) {
        let end = &mut self.pipes[pipe];
        let conn = end.conn;
        let pending = self.hub.pending(conn).expect("a dirty one has bytes");
        let mut bytes = Vec::new();
        match pending.single() {
            Some(single) => bytes.extend_from_slice(single),
            None => {
                let mut slices = vec![IoSlice::new(&[]); self.slices];
                let count = pending.gather(&mut slices);
                slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
            }
        }
        assert!(!bytes.is_empty() && !end.shut, "something to write, while it may be");
        if let Some(kind) = end.reset {
            self.note(Note::Failing(conn, kind));
            return owner::server(|| self.hub.failed(conn, &kind.into()));
        }
        let room = end.capacity.saturating_sub(end.to_client.len()).min(bytes.len());
        let (offered, written) = (bytes.len(), &bytes[..room]);
        end.writes += u64::from(room > 0);
        end.to_client.extend_from_slice(written);
        if room > 0 {
            let (cx, handler) = self.hub.parts();
            handler.note(cx, self.now, Note::Writing(conn, written));
            let sent = owner::server(|| self.hub.sent(conn, room));
            self.wrote(pipe, sent);
        }
        if room < offered {
            self.partial_writes += u64::from(room > 0);
            owner::server(|| self.hub.blocked(conn));
            self.has_blocked(pipe);
        }
    }

    pub(super) fn wrote(&mut self, pipe: usize, sent: Sent) {
        self.note(Note::Wrote(self.pipes[pipe].conn, sent));
        if sent == Sent::ShutdownWrite {
            self.pipes[pipe].shut = true;
            self.queue_read(pipe);
        }
        self.schedule(pipe);
    }

    pub(super) fn has_blocked(&mut self, pipe: usize) {
        self.blocks += 1;
        self.pipes[pipe].blocked = true;
        self.note(Note::Blocked(self.pipes[pipe].conn));
    }

    /// Whether the loop would not sleep now.
    pub fn is_busy(&self) -> bool {
        !self.events.is_empty()
            || !self.to_read.is_empty()
            || self.hub.next_deadline().is_some_and(|at| at <= self.instant())
    }

    /// Takes turns until the loop would sleep. That it comes to that is the
    /// proof that the deadline after a turn is in the future, unless there is work.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn settle(&mut self) {
        self.turn();
        let mut turns = 0;
        while self.is_busy() {
            self.turn();
            turns += 1;
            assert!(turns < 200_000, "the loop spins at {} ms", self.now);
        }
    }

    /// Lets time pass as a loop does that sleeps until the next deadline.
    pub fn advance(&mut self, millis: u64) {
        let until = self.now + millis;
        self.settle();
        while let Some(at) = self.hub.next_deadline() {
            // A poll sleeps whole milliseconds, and never too short.
            let at = at.duration_since(self.base).as_millis() as u64;
            if at > until {
                break;
            }
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    /// The process was stopped for so long, and goes on.
    pub fn jump(&mut self, millis: u64) {
        self.now += millis;
        self.settle();
    }

    /// Everybody has gone: nothing may be left of them.
    ///
    /// # Panics
    /// When something is.
    pub fn assert_nothing_is_left(&mut self) {
        self.settle();
        assert_eq!(self.hub.connections(), 0, "connections of nobody");
        assert_eq!(self.hub.buffered(), 0, "bytes of nobody");
        assert_eq!(self.hub.online(), 0, "users who are gone");
        let stats = self.hub.stats();
        assert_eq!(stats.opened, stats.closed, "one close for each open");
        assert!(self.pipes.iter().all(|pipe| pipe.closed));
        assert_eq!(self.hub.next_deadline(), None, "deadlines of nobody");
        self.hub.check_invariants();
    }
}

impl<H: Watch> Loop for World<H> {
    type Handler = H;

    fn hub(&mut self) -> &mut Hub<H> {
        &mut self.hub
    }

    fn read_overdue(&mut self, conn: ConnId) -> bool {
        let Some(pipe) = self.at[conn.index()] else { return true };
        self.read(pipe);
        let all_read = !self.pipes[pipe].queued;
        if !all_read || !self.hub.may_read(conn) {
            self.note(Note::Postponed(conn));
        }
        all_read
    }

    fn may_read_again(&mut self, conn: ConnId) {
        if let Some(pipe) = self.at[conn.index()] {
            self.queue_read(pipe);
        }
    }

    fn read_queued(&mut self) {
        for _ in 0..self.to_read.len() {
            if self.hub.is_exhausted() {
                self.exhausted += 1;
                break;
            }
            let Some(pipe) = self.to_read.pop_front() else { break };
            self.pipes[pipe].queued = false;
            if !self.pipes[pipe].closed {
                self.read(pipe);
            }
        }
    }

    fn write(&mut self) {
        if self.by_sink {
            self.write_by_sink();
        } else {
            self.write_one_by_one();
        }
        self.leftover_writes += u64::from(self.hub.has_dirty());
    }

    fn free(&mut self, conn: ConnId) {
        let pipe = self.at[conn.index()].take().expect("reaped once");
        assert_eq!(self.pipes[pipe].conn, conn);
        self.pipes[pipe].closed = true;
        self.schedule(pipe);
        self.note(Note::Reaped(conn));
    }

    fn tell(&mut self, note: Note<'_>) {
        self.note(note);
    }
}
