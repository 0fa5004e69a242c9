//! A hub with pipes in memory instead of sockets and with a virtual clock. The hub is called as a
//! driver calls it.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use super::frames::Got;
use super::note::{Note, Watch};
use super::owner;
use super::pipe::Pipe;
use super::turn::{Loop, turn};
use crate::driver::READ_SIZE;
use crate::hub::{Config, ConnId, Handler, Hub, Sent};
use crate::wire::Peer;

/// A hub with its handler, a pipe for each connection, and the virtual time.
#[derive(Debug)]
pub struct World<H: Handler> {
    /// The hub with its handler. Only the world may open connections and give the hub input or
    /// results of writes; tests may look at the hub, send messages, and close connections.
    pub hub: Hub<H>,
    base: Instant,
    /// Milliseconds since the world began.
    pub now: u64,
    /// All connections that were ever opened, by the numbers that [`World::connect`] returns.
    pub pipes: Vec<Pipe>,
    /// The pipe of the connection in each slot of the hub.
    pub(super) at: Vec<Option<usize>>,
    events: VecDeque<usize>,
    to_read: VecDeque<usize>,
    /// How many bytes one read takes at most.
    pub read_size: usize,
    /// How many events one poll returns at most. The next poll returns the others.
    pub batch: usize,
    /// How many slices one vectored write takes at most.
    pub slices: usize,
    /// The [capacity](Pipe::capacity) of new pipes.
    pub capacity: usize,
    /// Whether the hub does the writes by itself, as it does for a driver. If this is false, the
    /// world asks the hub for each connection that has something to write, and writes it.
    pub by_sink: bool,
    /// How many polls have left events for the next poll.
    pub full_batches: u64,
    /// How many writes the kernel has taken only in part.
    pub partial_writes: u64,
    /// How often a kernel took no more bytes.
    pub blocks: u64,
    /// How many turns were taken.
    pub turns: u64,
    /// How often a read had to wait because the work budget of the turn was used up.
    pub exhausted: u64,
    /// How many turns ended with connections that still had something to write.
    pub leftover_writes: u64,
    /// How many deliveries of broadcasts were written directly, without being queued first.
    pub walked: u64,
}

impl<H: Watch> World<H> {
    /// Creates a world without connections. `base` is the time at which the world begins. The clock
    /// is virtual, so it may be any time.
    ///
    /// # Panics
    /// When the configuration is not [valid](Config::check).
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

    /// Returns the present time of the world, which the hub is given.
    pub fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        self.hub.handler()
    }

    /// Returns the handler, so that a test can change it between two calls of the hub.
    pub fn handler_mut(&mut self) -> &mut H {
        self.hub.parts().1
    }

    pub(super) fn note(&mut self, note: Note<'_>) {
        let (cx, handler) = self.hub.parts();
        handler.note(cx, self.now, note);
    }

    /// Opens a connection of a client. Returns its index in [`World::pipes`], or `None` when the
    /// hub has no room.
    pub fn connect(&mut self) -> Option<usize> {
        self.connect_from(Peer::UNKNOWN)
    }

    /// Opens a connection of a client from this address, as [`World::connect`] does.
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

    /// Sends bytes of the client. They are lost when the client has ended its side.
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

    /// Ends the client's side of the stream.
    pub fn finish(&mut self, pipe: usize) {
        self.pipes[pipe].fin = true;
        self.pipes[pipe].readable = true;
        self.schedule(pipe);
    }

    /// Resets the connection: the bytes that were on their way are lost.
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

    /// Sets whether the client reads what it is sent from now on.
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

    /// Begins to shut the hub down.
    pub fn shutdown(&mut self) {
        self.note(Note::ShuttingDown);
        owner::server(|| self.hub.shutdown());
    }

    /// Takes one turn of the loop: the events, and then the calls that a driver makes after them.
    ///
    /// # Panics
    /// When an invariant of the hub is broken, or the hub writes what a server must not write.
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
        let pending = self.hub.pending(conn).expect("a dirty connection has bytes to write");
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

    /// Returns whether the loop would take another turn now without sleeping.
    pub fn is_busy(&self) -> bool {
        !self.events.is_empty()
            || !self.to_read.is_empty()
            || self.hub.next_deadline().is_some_and(|at| at <= self.instant())
    }

    /// Takes turns until the loop would sleep. This also proves that the next deadline is in the
    /// future when there is no work.
    ///
    /// # Panics
    /// When the loop would still not sleep after 200 000 turns.
    pub fn settle(&mut self) {
        self.turn();
        let mut turns = 0;
        while self.is_busy() {
            self.turn();
            turns += 1;
            assert!(turns < 200_000, "the loop spins at {} ms", self.now);
        }
    }

    /// Lets time pass. As a real loop does, this one sleeps until the next deadline, takes turns,
    /// and sleeps again.
    pub fn advance(&mut self, millis: u64) {
        let until = self.now + millis;
        self.settle();
        while let Some(at) = self.hub.next_deadline() {
            // A poll sleeps a whole number of milliseconds, rounded up.
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

    /// Lets time pass as if the process had been stopped for so many milliseconds.
    pub fn jump(&mut self, millis: u64) {
        self.now += millis;
        self.settle();
    }

    /// Checks, when all clients have gone, that the hub keeps nothing of them.
    ///
    /// # Panics
    /// When the hub still has a connection, a user, a byte or a deadline.
    pub fn assert_nothing_is_left(&mut self) {
        self.settle();
        assert_eq!(self.hub.connections(), 0, "connections are left");
        assert_eq!(self.hub.buffered(), 0, "bytes are left");
        assert_eq!(self.hub.online(), 0, "users are left");
        let stats = self.hub.stats();
        assert_eq!(stats.opened, stats.closed, "on_close was called once for each on_open");
        assert!(self.pipes.iter().all(|pipe| pipe.closed));
        assert_eq!(self.hub.next_deadline(), None, "deadlines are left");
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
