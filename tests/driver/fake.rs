//! Fake sockets, which do what a script says and record what was done to them, and a driver that runs
//! over them on a made-up clock.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use longlink::run::{Listen, Readiness, Transport};
use longlink::{
    Accept, CloseReason, Config, ConnId, Context, Driver, Handler, Message, Peer, Reject, Upgrade,
};
use mio::event::Source;
use mio::{Interest, Poll, Registry, Token};

use longlink::sim::frames;

/// What the next reads return; when nothing is left, reads would block.
#[derive(Debug)]
pub enum Input {
    Bytes(Vec<u8>),
    Error(ErrorKind),
    /// The end of the stream, which stays.
    End,
}

/// How much the next writes take; when nothing is left, writes take everything.
#[derive(Debug)]
pub enum Output {
    Take(usize),
    Error(ErrorKind),
}

/// A socket's script, and what the driver did.
#[derive(Debug, Default)]
pub struct Wire {
    pub input: VecDeque<Input>,
    pub output: VecDeque<Output>,
    pub written: Vec<u8>,
    /// Bytes that reads gave and writes took, from the first to the last.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub reads: usize,
    pub writes: usize,
    /// The most slices seen in one vectored write.
    pub slices: usize,
    pub registered: usize,
    pub reregistered: Vec<Interest>,
    pub refuse_registration: bool,
    /// The work of each read besides its bytes.
    pub work: u32,
    pub token: Option<Token>,
    pub shut_down: bool,
    pub discarded: bool,
    pub dropped: bool,
}

#[derive(Debug)]
pub struct FakeStream(pub Rc<RefCell<Wire>>);

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

impl Read for FakeStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.reads += 1;
        match wire.input.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Input::Error(kind)) => Err(kind.into()),
            Some(Input::End) => {
                wire.input.push_front(Input::End);
                Ok(0)
            }
            Some(Input::Bytes(mut bytes)) => {
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                wire.bytes_read += length as u64;
                if length < bytes.len() {
                    wire.input.push_front(Input::Bytes(bytes.split_off(length)));
                }
                Ok(length)
            }
        }
    }
}

impl Write for FakeStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.shut_down, "written to after the write side was shut down");
        wire.writes += 1;
        wire.slices = wire.slices.max(slices.len());
        let mut room = match wire.output.pop_front() {
            None => usize::MAX,
            Some(Output::Take(most)) => most,
            Some(Output::Error(kind)) => return Err(kind.into()),
        };
        let before = wire.written.len();
        for slice in slices {
            let length = slice.len().min(room);
            wire.written.extend_from_slice(&slice[..length]);
            room -= length;
            wire.bytes_written += length as u64;
        }
        Ok(wire.written.len() - before)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for FakeStream {
    fn register(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        if wire.refuse_registration {
            return Err(ErrorKind::StorageFull.into());
        }
        assert_eq!(interest, Interest::READABLE, "registered for reading only");
        wire.registered += 1;
        wire.token = Some(token);
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        assert_eq!(wire.token, Some(token));
        wire.reregistered.push(interest);
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for FakeStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shut_down = true;
        Ok(())
    }

    fn discard_unsent(&mut self) -> io::Result<()> {
        self.0.borrow_mut().discarded = true;
        Ok(())
    }

    fn work(&self) -> u32 {
        self.0.borrow().work
    }
}

/// The connections that a listener hands out, and how often it was asked for one.
#[derive(Debug, Default)]
pub struct Backlog {
    pub waiting: VecDeque<io::Result<Rc<RefCell<Wire>>>>,
    pub accepts: usize,
    pub dropped: bool,
}

#[derive(Debug)]
pub struct FakeListener(Rc<RefCell<Backlog>>);

impl Drop for FakeListener {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

impl Listen for FakeListener {
    type Stream = FakeStream;

    fn accept(&mut self) -> io::Result<(FakeStream, Peer)> {
        let mut backlog = self.0.borrow_mut();
        backlog.accepts += 1;
        match backlog.waiting.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Ok(wire)) => Ok((FakeStream(wire), Peer::UNKNOWN)),
            Some(Err(error)) => Err(error),
        }
    }

    fn is_loopback(&self) -> bool {
        true
    }
}

impl Source for FakeListener {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

/// A handler that echoes each message and records which connections opened and closed.
#[derive(Debug, Default)]
pub struct Echo {
    pub opened: Vec<ConnId>,
    pub closed: Vec<(ConnId, CloseReason)>,
    pub drained: usize,
    /// The text that is sent to everyone for each message, instead of an echo.
    pub shout: Option<String>,
}

impl Handler for Echo {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        Ok(Accept::user(upgrade.path().trim_start_matches('/')))
    }

    fn on_open(&mut self, _: &mut Context, conn: ConnId, _: &mut Self::Session) {
        self.opened.push(conn);
    }

    fn on_message(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        _: &mut Self::Session,
        message: Message<'_>,
    ) {
        if let Some(shout) = &self.shout {
            hub.broadcast(shout);
            return;
        }
        match message {
            Message::Text(text) => hub.send(conn, text),
            Message::Binary(data) => hub.send(conn, data),
        };
    }

    fn on_drain(&mut self, _: &mut Context, _: ConnId, _: &mut Self::Session) {
        self.drained += 1;
    }

    fn on_close(&mut self, _: &mut Context, conn: ConnId, _: Self::Session, reason: &CloseReason) {
        self.closed.push((conn, reason.clone()));
    }
}

pub const BASE: usize = 100;

pub const READABLE: Readiness = Readiness { readable: true, writable: false, ended: false };
pub const WRITABLE: Readiness = Readiness { readable: false, writable: true, ended: false };
pub const ENDED: Readiness = Readiness { readable: true, writable: false, ended: true };

/// A driver over fake sockets. The invariants of the hub are checked after each turn.
pub struct Rig {
    pub driver: Driver<Echo, FakeListener>,
    pub backlog: Rc<RefCell<Backlog>>,
    pub now: Instant,
    _poll: Poll,
}

impl Rig {
    pub fn new(change: impl FnOnce(&mut Config)) -> Rig {
        let mut config = Config::default();
        // Other tests are about rates, so there is no rate here.
        (config.message_rate, config.broadcast_rate, config.accept_rate) = (0, 0, 0);
        config.max_connections = 100;
        change(&mut config);
        let poll = Poll::new().unwrap();
        let now = Instant::now();
        let backlog = Rc::new(RefCell::new(Backlog::default()));
        let listeners = vec![FakeListener(Rc::clone(&backlog))];
        let driver =
            Driver::new(listeners, poll.registry(), Token(BASE), config, Echo::default(), now)
                .unwrap();
        Rig { driver, backlog, now, _poll: poll }
    }

    /// Lets a connection wait in the backlog, and gives the driver the event of the listener.
    pub fn knock(&mut self) -> Client {
        let wire = Rc::new(RefCell::new(Wire::default()));
        self.backlog.borrow_mut().waiting.push_back(Ok(Rc::clone(&wire)));
        assert!(self.driver.handle_readiness(Token(BASE), READABLE, self.now));
        Client(wire)
    }

    /// An open WebSocket connection of `user`, with its counters at zero.
    pub fn connect(&mut self, user: &str) -> Client {
        let client = self.knock();
        self.tick();
        client.feed(&frames::handshake(&format!("/{user}"), ""));
        self.event(&client, READABLE);
        self.tick();
        let answer = client.take();
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        client.reset_counters();
        client
    }

    pub fn event(&mut self, client: &Client, readiness: Readiness) {
        let token = client.0.borrow().token.expect("registered");
        assert!(self.driver.handle_readiness(token, readiness, self.now));
    }

    pub fn tick(&mut self) {
        self.driver.tick(self.now);
        self.driver.hub().check_invariants();
    }

    /// Lets bytes arrive, gives the driver the event, and takes one turn.
    pub fn receive(&mut self, client: &Client, bytes: &[u8]) {
        client.feed(bytes);
        self.event(client, READABLE);
        self.tick();
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tick();
    }

    /// Whether the loop must come back at once.
    pub fn is_busy(&self) -> bool {
        self.driver.next_deadline().is_some_and(|at| at <= self.now)
    }

    /// Takes turns until nothing is left to do. Returns how many turns that took.
    pub fn settle(&mut self) -> usize {
        let mut turns = 0;
        while self.is_busy() {
            turns += 1;
            assert!(turns < 10_000, "it never comes to rest");
            self.tick();
        }
        turns
    }

    pub fn hub(&mut self) -> &mut Context {
        self.driver.parts().0
    }

    pub fn handler(&mut self) -> &mut Echo {
        self.driver.parts().1
    }

    /// Returns the id of the client's connection while it is open.
    pub fn open(&mut self, client: &Client) -> Option<ConnId> {
        let token = client.0.borrow().token.filter(|_| !client.is_dropped())?;
        let conn = self.hub().id_at(token.0 - BASE - 1)?;
        self.hub().is_open(conn).then_some(conn)
    }

    pub fn conn(&mut self, client: &Client) -> ConnId {
        let index = client.0.borrow().token.unwrap().0 - BASE - 1;
        self.hub().id_at(index).expect("still there")
    }
}

/// The far end of a fake socket.
#[derive(Clone, Debug)]
pub struct Client(pub Rc<RefCell<Wire>>);

impl Client {
    /// Lets bytes arrive, behind those that have not been read.
    pub fn feed(&self, bytes: &[u8]) {
        let input = &mut self.0.borrow_mut().input;
        match input.back_mut() {
            Some(Input::Bytes(last)) => last.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => input.push_back(Input::Bytes(bytes.to_vec())),
        }
    }

    /// Lets bytes arrive that are returned by a read of their own.
    pub fn feed_apart(&self, bytes: &[u8]) {
        self.0.borrow_mut().input.push_back(Input::Bytes(bytes.to_vec()));
    }

    pub fn end(&self) {
        self.0.borrow_mut().input.push_back(Input::End);
    }

    pub fn fail(&self, kind: ErrorKind) {
        self.0.borrow_mut().input.push_back(Input::Error(kind));
    }

    /// Sets the result of the next write.
    pub fn script(&self, output: Output) {
        self.0.borrow_mut().output.push_back(output);
    }

    /// Returns the bytes that were written since the last call of this function.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().written)
    }

    pub fn reads(&self) -> usize {
        self.0.borrow().reads
    }

    pub fn writes(&self) -> usize {
        self.0.borrow().writes
    }

    pub fn is_dropped(&self) -> bool {
        self.0.borrow().dropped
    }

    pub fn is_shut_down(&self) -> bool {
        self.0.borrow().shut_down
    }

    pub fn is_discarded(&self) -> bool {
        self.0.borrow().discarded
    }

    pub fn reregistrations(&self) -> Vec<Interest> {
        self.0.borrow().reregistered.clone()
    }

    pub fn reset_counters(&self) {
        let mut wire = self.0.borrow_mut();
        wire.reads = 0;
        wire.writes = 0;
        wire.slices = 0;
    }
}
