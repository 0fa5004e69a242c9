//! All connections and their poll: opening, writing, ending. What is sent, and
//! what an answer means, is a [`Load`]'s.

mod receive;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::cli::client::frame;
use crate::cli::commands::bench::client::{self, Client, End, Phase};
use crate::cli::commands::bench::handshake;
use crate::cli::commands::bench::options::{Options, USER_DIGITS};
use crate::cli::commands::bench::stream::Stream;
use crate::cli::commands::bench::tally::Tally;
use crate::cli::commands::bench::target::{Sources, Target};
#[cfg(feature = "tls")]
use crate::cli::commands::bench::tls::Connector;

/// Bytes of the one read buffer.
const READ_SIZE: usize = 256 * 1024;
/// Events that one turn takes.
const MAX_EVENTS: usize = 1_024;

/// What connections are used for. Clients are numbered from 0; a closed one's
/// number may be opened again.
pub trait Load {
    /// The handshake was answered.
    fn on_open(&mut self, _: &mut Clients, _: usize, _: Instant) {}

    /// A whole message; what was read with it may hold more.
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], now: Instant);

    /// All messages of one read have been told: the time to send.
    fn on_read(&mut self, _: &mut Clients, _: usize, _: Instant) {}

    /// A connection that could not be opened. By default nothing more is tried.
    fn on_refused(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        clients.tally.give_up(|| format!("connection {}: {why}", id + 1));
    }

    /// An open connection has ended without our doing. By default that is a
    /// failure, and the end when no other is left.
    fn on_end(&mut self, clients: &mut Clients, _: usize, why: End, _: Instant) {
        clients.tally.lost(clients.open, &why);
    }

    /// Called once a turn; returns when it wants to be called at the latest.
    fn on_turn(&mut self, _: &mut Clients, _: Instant) -> Option<Instant> {
        None
    }

    /// Called a few times a second: the time to look for answers that do not
    /// come.
    fn on_look(&mut self, _: &mut Clients, _: Instant) {}
}

/// The connections of a run.
#[derive(Debug)]
pub struct Clients {
    poll: Poll,
    clients: Vec<Client>,
    target: Target,
    sources: Sources,
    /// With `wss://`.
    #[cfg(feature = "tls")]
    connector: Option<Connector>,
    first_user: usize,
    timeout: Duration,
    /// Connections that were begun, in their order, for the timeout.
    begun: VecDeque<(usize, Instant)>,
    handshaking: usize,
    open: usize,
    closing: usize,
    /// Ends that the load has not been told of, and whether they were open.
    ended: VecDeque<(usize, End, bool)>,
    /// Where requests and replies are put together.
    scratch: Vec<u8>,
    pub tally: Tally,
}

impl Clients {
    pub fn new(options: &Options, now: Instant) -> io::Result<Self> {
        Ok(Clients {
            poll: Poll::new()?,
            clients: (0..options.sockets()).map(|_| Client::new(now)).collect(),
            target: options.target.clone(),
            sources: options.sources.clone(),
            #[cfg(feature = "tls")]
            connector: options.connector.clone(),
            first_user: options.first_user,
            timeout: options.timeout,
            begun: VecDeque::new(),
            handshaking: 0,
            open: 0,
            closing: 0,
            ended: VecDeque::new(),
            scratch: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Connections whose handshake was answered and that have not ended.
    pub fn open_count(&self) -> usize {
        self.open
    }

    pub fn handshaking(&self) -> usize {
        self.handshaking
    }

    /// Connections that have said that they close.
    pub fn closing(&self) -> usize {
        self.closing
    }

    pub fn is_open(&self, id: usize) -> bool {
        self.clients[id].phase == Phase::Open
    }

    /// When this connection began to connect.
    pub fn began(&self, id: usize) -> Instant {
        self.clients[id].began
    }

    /// The number in a connection's user id: of fixed length, so that messages
    /// to different users are equally long.
    pub fn user(&self, id: usize) -> [u8; USER_DIGITS] {
        let mut rest = self.first_user + id;
        let mut digits = [b'0'; USER_DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        digits
    }

    /// From now on these, when they are open, read nothing.
    pub fn deafen(&mut self, ids: std::ops::Range<usize>) {
        for client in &mut self.clients[ids] {
            client.deaf = true;
        }
    }

    /// From now on this one connects there and speaks HTTP: `hello` is what it asks in
    /// place of a handshake. The load is told the bodies of answers as messages.
    pub fn speak_http(&mut self, id: usize, address: SocketAddr, hello: Vec<u8>) {
        self.clients[id].http = Some(Box::new((address, hello)));
    }

    /// Begins to connect; the load hears of failures.
    pub fn begin(&mut self, id: usize) {
        let now = Instant::now();
        self.handshaking += 1;
        self.clients[id].phase = Phase::Handshake;
        match self.connect(id) {
            Ok(stream) => {
                self.clients[id].begin(stream, now);
                self.begun.push_back((id, now));
                let mut request = mem::take(&mut self.scratch);
                request.clear();
                match &self.clients[id].http {
                    Some(http) => request.extend_from_slice(&http.1),
                    None => handshake::put_request(&self.target, &self.user(id), &mut request),
                }
                // On the same machine it is connected already.
                self.send(id, &request);
                self.scratch = request;
            }
            Err(error) => self.lose(id, End::Connect(error)),
        }
    }

    fn connect(&mut self, id: usize) -> io::Result<Stream> {
        let client = &mut self.clients[id];
        let http = client.http.as_ref().map(|http| http.0);
        let address = http.unwrap_or(self.target.address());
        let mut tcp = client::connect(address, self.sources.pick(id), client.deaf)?;
        self.poll.registry().register(&mut tcp, Token(id), Interest::READABLE)?;
        #[cfg(feature = "tls")]
        if let Some(connector) = self.connector.as_ref().filter(|_| http.is_none()) {
            return connector.begin(tcp, &mut client.settings);
        }
        Ok(Stream::Plain(tcp))
    }

    /// Sends whole frames, at once if the socket takes them.
    #[inline]
    pub fn send(&mut self, id: usize, frames: &[u8]) {
        match self.clients[id].write(frames) {
            Ok(()) => self.await_writing(id),
            Err(error) => self.lose_failed(id, error),
        }
    }

    /// Sends a close frame with code 1000 and waits for the server's and the end
    /// of the stream.
    pub fn close(&mut self, id: usize) {
        if self.clients[id].phase == Phase::Open {
            self.clients[id].phase = Phase::Closing;
            self.open -= 1;
            self.closing += 1;
            self.send_control(id, frame::CLOSE, &1_000_u16.to_be_bytes());
        }
    }

    /// Ends a connection without a word; the load is not told.
    pub fn abort(&mut self, id: usize) {
        match self.clients[id].phase {
            Phase::Closed => {}
            Phase::Handshake => self.handshaking -= 1,
            Phase::Open => self.open -= 1,
            Phase::Closing => self.closing -= 1,
        }
        self.clients[id].end();
    }

    /// Closes all that are open and listen, and ends the others.
    pub fn close_all(&mut self) {
        for id in 0..self.clients.len() {
            match self.clients[id].deaf || self.clients[id].http.is_some() {
                true => self.abort(id),
                false => self.close(id),
            }
        }
    }

    /// Ends all.
    pub fn abort_all(&mut self) {
        (0..self.clients.len()).for_each(|id| self.abort(id));
        self.begun.clear();
        self.ended.clear();
    }

    /// Sends an unasked-for pong, which a server has to ignore: if its socket is
    /// closed, its kernel answers with a reset.
    pub fn probe(&mut self, id: usize) {
        if self.is_open(id) && !self.clients[id].has_output() {
            self.send_control(id, frame::PONG, &[]);
        }
    }

    /// Waits for events and handles them. Returns whether that was all that was ready: not when
    /// a signal has ended the wait, nor when there were as many as one poll returns.
    pub fn turn<L: Load>(
        &mut self,
        wait: Duration,
        room: &mut Room,
        load: &mut L,
    ) -> io::Result<bool> {
        match self.poll.poll(&mut room.events, Some(wait)) {
            Ok(()) => {}
            // It has not looked.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut events = 0;
        for event in &room.events {
            events += 1;
            self.handle_event(event, &mut room.buffer, load);
            if !self.ended.is_empty() {
                self.tell_ended(Instant::now(), load);
            }
        }
        Ok(events < room.events.capacity())
    }

    /// Tells the load which connections have ended since the last call.
    pub fn tell_ended<L: Load>(&mut self, now: Instant, load: &mut L) {
        while let Some((id, why, was_open)) = self.ended.pop_front() {
            match was_open {
                true => load.on_end(self, id, why, now),
                false => load.on_refused(self, id, why, now),
            }
        }
    }

    /// Ends the connections whose handshake takes too long.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(id, began)) = self.begun.front() {
            let client = &self.clients[id];
            let waiting = client.phase == Phase::Handshake && client.began == began;
            if waiting && now.saturating_duration_since(began) < self.timeout {
                break;
            }
            self.begun.pop_front();
            if waiting {
                self.lose(id, End::Silent);
            }
        }
    }

    fn send_control(&mut self, id: usize, opcode: u8, payload: &[u8]) {
        let mut frame = mem::take(&mut self.scratch);
        frame.clear();
        frame::put_masked(opcode, payload, &mut frame);
        self.send(id, &frame);
        self.scratch = frame;
    }

    /// Has the poll tell when something can be written, while something waits.
    #[inline]
    fn await_writing(&mut self, id: usize) {
        let waits = self.clients[id].has_output();
        if waits != self.clients[id].awaits_writing {
            self.clients[id].awaits_writing = waits;
            self.arm(id);
        }
    }

    /// Asks for a connection's events again; what is ready is told once more.
    fn arm(&mut self, id: usize) {
        let interest = match self.clients[id].awaits_writing {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        if let Some(stream) = &mut self.clients[id].stream
            && let Err(error) = self.poll.registry().reregister(stream.tcp(), Token(id), interest)
        {
            self.lose_failed(id, error);
        }
    }

    fn lose_failed(&mut self, id: usize, error: io::Error) {
        // Nothing was read: the connection itself was refused.
        let why = match self.clients[id].phase {
            Phase::Handshake => End::Connect(error),
            _ => End::Failed(error),
        };
        self.lose(id, why);
    }

    /// A connection has ended without our doing.
    fn lose(&mut self, id: usize, why: End) {
        let phase = self.clients[id].phase;
        if phase != Phase::Closed {
            self.abort(id);
            self.ended.push_back((id, why, phase != Phase::Handshake));
        }
    }
}

/// What one turn needs and the next may use again.
#[derive(Debug)]
pub struct Room {
    events: Events,
    buffer: Vec<u8>,
}

impl Room {
    pub fn new() -> Self {
        Room { events: Events::with_capacity(MAX_EVENTS), buffer: vec![0; READ_SIZE] }
    }
}
