//! All connections and their poll: opening, writing, ending. A [`Load`] decides what is sent and
//! what an answer means.

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

/// The size of the only read buffer in bytes.
const READ_SIZE: usize = 256 * 1024;
/// The most events that one turn takes.
const MAX_EVENTS: usize = 1_024;

/// What the connections are used for. Connections are numbered from 0; the number of a closed
/// connection may be opened again.
pub trait Load {
    /// Called when the handshake of a connection was answered.
    fn on_open(&mut self, _: &mut Clients, _: usize, _: Instant) {}

    /// Called for each whole message; the same read may hold more messages.
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], now: Instant);

    /// Called when all messages of one read were handled; this is the time to send.
    fn on_read(&mut self, _: &mut Clients, _: usize, _: Instant) {}

    /// Called when a connection could not be opened. By default the run ends.
    fn on_refused(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        clients.tally.give_up(|| format!("connection {}: {why}", id + 1));
    }

    /// Called when an open connection has ended that the generator did not end itself. By default
    /// this is a failure, and the run ends when no other connection is left.
    fn on_end(&mut self, clients: &mut Clients, _: usize, why: End, _: Instant) {
        clients.tally.lost(clients.open, &why);
    }

    /// Called once in each turn. Returns a time at which it must be called again at the latest.
    fn on_turn(&mut self, _: &mut Clients, _: Instant) -> Option<Instant> {
        None
    }

    /// Called a few times a second, to look for answers that have not come in time.
    fn on_look(&mut self, _: &mut Clients, _: Instant) {}
}

/// The connections of a run.
#[derive(Debug)]
pub struct Clients {
    poll: Poll,
    clients: Vec<Client>,
    target: Target,
    sources: Sources,
    /// Makes the TLS sessions, if the URL has `wss://`.
    #[cfg(feature = "tls")]
    connector: Option<Connector>,
    first_user: usize,
    /// The subprotocol that is offered, and that has to be agreed on.
    protocol: Option<&'static str>,
    /// For each connection the text that is added to the query of its next handshake; the list is empty
    /// while no text was ever set.
    queries: Vec<String>,
    timeout: Duration,
    /// The connections that were begun, in order, to find those that take too long.
    begun: VecDeque<(usize, Instant)>,
    handshaking: usize,
    open: usize,
    closing: usize,
    /// Connections that have ended and that the load was not told of yet, and whether they were
    /// open.
    ended: VecDeque<(usize, End, bool)>,
    /// A buffer for requests and replies.
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
            protocol: options.v2.then_some(handshake::V2),
            queries: Vec::new(),
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

    /// Returns how many connections are open: their handshake was answered, and they have not
    /// ended.
    pub fn open_count(&self) -> usize {
        self.open
    }

    pub fn handshaking(&self) -> usize {
        self.handshaking
    }

    /// Returns how many connections have sent a close frame and wait for the end.
    pub fn closing(&self) -> usize {
        self.closing
    }

    pub fn is_open(&self, id: usize) -> bool {
        self.clients[id].phase == Phase::Open
    }

    /// Returns when this connection began to connect.
    pub fn began(&self, id: usize) -> Instant {
        self.clients[id].began
    }

    /// Returns the number in a connection's user id. It has a fixed length, so that messages to
    /// different users are equally long.
    pub fn user(&self, id: usize) -> [u8; USER_DIGITS] {
        let mut rest = self.first_user + id;
        let mut digits = [b'0'; USER_DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        digits
    }

    /// Sets that these connections read nothing once they are open.
    pub fn deafen(&mut self, ids: std::ops::Range<usize>) {
        for client in &mut self.clients[ids] {
            client.deaf = true;
        }
    }

    /// Sets that this connection connects to `address` and speaks HTTP: it sends `hello` instead of
    /// a handshake. The load gets the bodies of answers as messages.
    pub fn speak_http(&mut self, id: usize, address: SocketAddr, hello: Vec<u8>) {
        self.clients[id].http = Some(Box::new((address, hello)));
    }

    /// Adds this to the query of a connection's next request.
    pub fn ask_with(&mut self, id: usize, query: String) {
        self.queries.resize_with(self.clients.len(), String::new);
        self.queries[id] = query;
    }

    /// Begins to connect. A failure is reported to the load.
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
                    None => {
                        let query = self.queries.get(id).map_or("", String::as_str);
                        let user = self.user(id);
                        let more = (self.protocol, query);
                        handshake::put_request(&self.target, &user, more, &mut request);
                    }
                }
                // On the same machine the socket is often connected at once.
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

    /// Sends a close frame with code 1000, and waits for the server's close frame and the end of
    /// the stream.
    pub fn close(&mut self, id: usize) {
        if self.clients[id].phase == Phase::Open {
            self.clients[id].phase = Phase::Closing;
            self.open -= 1;
            self.closing += 1;
            self.send_control(id, frame::CLOSE, &1_000_u16.to_be_bytes());
        }
    }

    /// Drops a connection without a close frame. The load is not told.
    pub fn abort(&mut self, id: usize) {
        match self.clients[id].phase {
            Phase::Closed => {}
            Phase::Handshake => self.handshaking -= 1,
            Phase::Open => self.open -= 1,
            Phase::Closing => self.closing -= 1,
        }
        self.clients[id].end();
    }

    /// Closes all connections that are open and read, and ends the others.
    pub fn close_all(&mut self) {
        for id in 0..self.clients.len() {
            match self.clients[id].deaf || self.clients[id].http.is_some() {
                true => self.abort(id),
                false => self.close(id),
            }
        }
    }

    /// Drops all connections.
    pub fn abort_all(&mut self) {
        (0..self.clients.len()).for_each(|id| self.abort(id));
        self.begun.clear();
        self.ended.clear();
    }

    /// Sends an unsolicited pong, which a server must ignore. If the server has closed its socket,
    /// its kernel answers with a reset.
    pub fn probe(&mut self, id: usize) {
        if self.is_open(id) && !self.clients[id].has_output() {
            self.send_control(id, frame::PONG, &[]);
        }
    }

    /// Waits for events and handles them. Returns whether these were all events that were ready.
    /// They may not be if a signal has ended the wait, or if there were as many events as one poll
    /// returns.
    pub fn turn<L: Load>(
        &mut self,
        wait: Duration,
        room: &mut Room,
        load: &mut L,
    ) -> io::Result<bool> {
        match self.poll.poll(&mut room.events, Some(wait)) {
            Ok(()) => {}
            // A signal has ended the wait before the poll looked for events.
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

    /// Drops connections whose handshake takes too long.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(id, began)) = self.begun.front() {
            let client = &self.clients[id];
            let waiting = client.phase == Phase::Handshake && client.began == began;
            if waiting && now.saturating_duration_since(began) < self.timeout {
                break;
            }
            self.begun.pop_front();
            if waiting {
                self.lose(id, End::Silent { others: self.open > 0 });
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

    /// Registers the socket for writability while bytes wait.
    #[inline]
    fn await_writing(&mut self, id: usize) {
        let waits = self.clients[id].has_output();
        if waits != self.clients[id].awaits_writing {
            self.clients[id].awaits_writing = waits;
            self.arm(id);
        }
    }

    /// Registers the socket again; the poll then reports once more what is ready.
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
        // Nothing was read, so the connection itself was refused.
        let why = match self.clients[id].phase {
            Phase::Handshake => End::Connect(error),
            _ => End::Failed(error),
        };
        self.lose(id, why);
    }

    /// Handles a connection that has ended although the generator did not end it.
    fn lose(&mut self, id: usize, why: End) {
        let phase = self.clients[id].phase;
        if phase != Phase::Closed {
            if let Some(limit) = why.limit() {
                self.tally.met(limit);
            }
            self.abort(id);
            self.ended.push_back((id, why, phase != Phase::Handshake));
        }
    }
}

/// Buffers that one turn needs and the next turn uses again.
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
