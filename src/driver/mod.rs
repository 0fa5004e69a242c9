//! The driver: sockets. It accepts, reads, writes and frees, for a hub that
//! sees none of it.
//!
//! It lives in somebody's `mio::Poll`: that of [`crate::Server`], or a host's.
//! Readiness is a hint and `WouldBlock` the answer; whatever a budget leaves
//! over is remembered here, since an edge-triggered event does not come twice.
//! Must not know: frames, requests, users.

mod accept;
mod io;
mod listener;
mod proxied;
mod rate;
mod transport;

use std::collections::VecDeque;
use std::io as stdio;
use std::ops::Range;
use std::time::{Instant, SystemTime};

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::hub::{Config, ConnId, Context, Handler, Hub, OpenError, SURPLUS};
use crate::wire::Peer;

pub use listener::Listener;
pub use proxied::ConnectedFor;
#[cfg(feature = "tls")]
pub(crate) use proxied::take_header;
pub use transport::{Listen, Socket, Transport};
#[cfg(feature = "tls")]
pub(crate) use transport::{reset_on_close, source};

/// Bytes read from a connection at most before others have their turn.
pub const READ_SIZE: usize = 64 * 1024;

/// What an event says about a socket. A hint: too much is harmless, too little
/// is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Reading, or accepting, may give something.
    pub readable: bool,
    /// Writing may take something.
    pub writable: bool,
    /// The peer has closed its side, or the socket has failed: reading must go
    /// on until it says so.
    pub ended: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        // A closed write side alone comes as one of these too.
        let ended = event.is_read_closed() || event.is_error();
        Readiness { readable: event.is_readable() || ended, writable: event.is_writable(), ended }
    }
}

/// Flags of a socket, in one byte beside it: as `bool`s they would take more bytes than the
/// socket's alignment leaves free.
#[derive(Clone, Copy, Debug, Default)]
struct Marks(u8);

impl Marks {
    /// The socket is in the queue of sockets to read.
    const QUEUED: u8 = 1;
    /// The socket is registered for writing too, since a write has blocked.
    const WRITING: u8 = 1 << 1;
    /// An event said that the end of the stream is near: a short read does not
    /// end the reading.
    const ENDED: u8 = 1 << 2;

    #[inline]
    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    #[inline]
    fn set(&mut self, mark: u8, yes: bool) {
        self.0 = if yes { self.0 | mark } else { self.0 & !mark };
    }
}

/// A listener, and whether it is worth asking.
#[derive(Debug)]
struct ListenerSlot<L> {
    listener: L,
    /// Whether there may be connections to accept.
    ready: bool,
}

/// Sockets, handler and hub, inside somebody's `mio::Poll`: that of [`Server`],
/// or a host's.
///
/// The loop's part of the contract: every event goes to
/// [`handle_event`](Driver::handle_event); then, and after anything was sent
/// from outside a callback, [`tick`](Driver::tick) once; then a sleep no longer
/// than [`next_deadline`](Driver::next_deadline).
///
/// Dropping it closes every socket as it is, without close frames and without
/// `on_close`; [`shutdown`](Driver::shutdown) is the polite way.
///
/// ```no_run
/// use std::time::Instant;
///
/// use longlink::{Config, Driver, Listener, Relay, RelayConfig};
/// use mio::{Events, Poll, Token};
///
/// let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
/// let config = Config::default();
/// let listener = Listener::tcp("127.0.0.1:8080".parse().unwrap(), &config)?;
/// let relay = Relay::new(RelayConfig::default());
/// let mut driver =
///     Driver::new(vec![listener], poll.registry(), Token(100), config, relay, Instant::now())?;
/// loop {
///     let wait = driver.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
///     poll.poll(&mut events, wait)?;
///     let now = Instant::now();
///     for event in &events {
///         if !driver.handle_event(event, now) {
///             // A token of the host's own.
///         }
///     }
///     driver.tick(now);
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`Server`]: crate::Server
#[derive(Debug)]
pub struct Driver<H: Handler, L: Listen = Listener> {
    hub: Hub<H>,
    registry: Registry,
    base: usize,
    listeners: Vec<ListenerSlot<L>>,
    /// How many tokens belong to listeners, closed ones included.
    listener_tokens: usize,
    /// The socket of each connection, at the index of its slot.
    sockets: Vec<Option<L::Stream>>,
    marks: Vec<Marks>,
    /// Sockets to read on, without waiting for an event.
    to_read: VecDeque<u32>,
    /// The one read buffer of the loop.
    buffer: Box<[u8]>,
    rate: rate::Rate,
    /// When to accept again, after descriptors ran out or the rate was reached.
    retry_accept: Option<Instant>,
    now: Instant,
}

impl<H: Handler, L: Listen> Driver<H, L> {
    /// Registers the listeners with `registry`, from token `base` on; the
    /// tokens of [`Driver::tokens`] are the driver's. Without listeners it
    /// serves only what it [adopts](Driver::adopt). What is waiting to be
    /// accepted already is accepted by the first [`Driver::tick`].
    ///
    /// # Errors
    /// When the configuration contradicts itself (`InvalidInput`) or a listener
    /// cannot be registered.
    pub fn new(
        listeners: Vec<L>,
        registry: &Registry,
        base: Token,
        config: Config,
        handler: H,
        now: Instant,
    ) -> stdio::Result<Self> {
        config.check().map_err(|error| stdio::Error::new(stdio::ErrorKind::InvalidInput, error))?;
        let registry = registry.try_clone()?;
        let mut registered = Vec::new();
        for (position, mut listener) in listeners.into_iter().enumerate() {
            registry.register(&mut listener, Token(base.0 + position), Interest::READABLE)?;
            registered.push(ListenerSlot { listener, ready: true });
        }
        Ok(Driver {
            registry,
            base: base.0,
            listener_tokens: registered.len(),
            listeners: registered,
            sockets: Vec::with_capacity(config.max_connections + SURPLUS),
            marks: Vec::with_capacity(config.max_connections + SURPLUS),
            to_read: VecDeque::new(),
            buffer: vec![0; READ_SIZE].into_boxed_slice(),
            rate: rate::Rate::new(config.accept_rate, now),
            retry_accept: None,
            now,
            hub: Hub::new(config, handler, now),
        })
    }

    /// The tokens that belong to this driver: one for each listener it was
    /// made with, then one for each of `max_connections` + [`SURPLUS`] slots.
    /// A host keeps its own outside; another driver may begin at the end.
    pub fn tokens(&self) -> Range<usize> {
        let slots = self.hub.config().max_connections + SURPLUS;
        self.base..self.base + self.listener_tokens + slots
    }

    /// Handles one event of the poll. Returns false, having done nothing, when
    /// the token is not the driver's. Callbacks run from here; nothing is
    /// written before [`Driver::tick`].
    pub fn handle_event(&mut self, event: &Event, now: Instant) -> bool {
        self.handle_readiness(event.token(), event.into(), now)
    }

    /// Does what [`Driver::handle_event`] does, for an event that did not come from a `mio::Poll`.
    pub fn handle_readiness(&mut self, token: Token, readiness: Readiness, now: Instant) -> bool {
        self.now = now;
        let Some(key) = token.0.checked_sub(self.base) else { return false };
        let Some(index) = key.checked_sub(self.listener_tokens) else {
            if let Some(slot) = self.listeners.get_mut(key) {
                slot.ready = true;
            }
            return true;
        };
        let Some(Some(socket)) = self.sockets.get(index) else {
            return token.0 < self.tokens().end;
        };
        // An event of an earlier connection in this slot does no harm: the socket that has the
        // slot now is read and says `WouldBlock`.
        if let Some(conn) = self.hub.id_at(index) {
            let wants_write = readiness.writable && socket.wants_write();
            if readiness.ended {
                self.marks[index].set(Marks::ENDED, true);
            }
            if readiness.writable {
                self.hub.writable(conn);
            }
            if readiness.readable || wants_write {
                self.read(conn);
            }
        }
        true
    }

    /// Does the turn's work: what is due, what was left over, new connections,
    /// at most one write for each connection that has something to send, and
    /// frees what has ended.
    ///
    /// A connection whose deadline has passed is read before it is judged, whatever
    /// the poll has returned: what it has sent may wait in its socket after the process
    /// was stopped, behind a full batch of events, or when a signal has ended the poll.
    ///
    /// Call it once after the events of a poll, or after anything was sent
    /// from outside a callback; then sleep no longer than
    /// [`Driver::next_deadline`]. Extra calls are harmless.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.hub.tick(now);
        while let Some(conn) = self.hub.pop_readable() {
            self.queue_read(conn.index);
        }
        self.read_queued();
        self.judge();
        self.accept();
        self.flush();
        self.hub.end_turn();
        while let Some(conn) = self.hub.reap() {
            self.free(conn);
        }
    }

    /// The turn whose events and [`Driver::tick`] were given the last `now` has ended at
    /// `at`: how long it took is kept in [`Context::distributions`]. For hosts that want to
    /// know; [`Server`](crate::Server) calls it.
    pub fn turn_ended(&mut self, at: Instant) {
        self.hub.note_turn(at.saturating_duration_since(self.now));
    }

    /// Hands the application an event, from a host that is not in a callback. Callbacks run from
    /// here. Call [`Driver::tick`] afterwards.
    pub fn deliver(&mut self, event: H::Event, now: Instant) {
        self.now = now;
        self.hub.deliver(event, now);
    }

    /// When [`Driver::tick`] has to be called again at the latest; the poll may
    /// sleep that long. Early is harmless, late is not. `None`: not before
    /// something happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.to_read.is_empty() || self.can_accept() {
            return Some(self.now);
        }
        let retry = self.retry_accept.filter(|_| !self.listeners.is_empty());
        [self.hub.next_deadline(), retry].into_iter().flatten().min()
    }

    /// Takes in a socket that the host accepted itself, with what the host has
    /// already read from it: the beginning of the request, or nothing. Call
    /// [`Driver::tick`] afterwards.
    ///
    /// The socket must be non-blocking and not registered with a poll. The
    /// options that a [`Listener`] sets (`TCP_NODELAY`, `TCP_USER_TIMEOUT`, a
    /// send buffer) are the host's to set. It counts as not coming from a
    /// loopback address.
    ///
    /// ```no_run
    /// # use longlink::run::Socket;
    /// # use longlink::{Driver, Relay};
    /// # use std::time::Instant;
    /// # fn sample(
    /// #     driver: &mut Driver<Relay>,
    /// #     stream: std::net::TcpStream,
    /// #     already_read: &[u8],
    /// #     now: Instant,
    /// # ) -> std::io::Result<()> {
    /// let peer = stream.peer_addr()?.into();
    /// stream.set_nonblocking(true)?;
    /// stream.set_nodelay(true)?;
    /// let socket = Socket::Tcp(mio::net::TcpStream::from_std(stream));
    /// let conn = driver.adopt(socket, peer, already_read, now)?;
    /// driver.tick(now);
    /// # let _ = conn;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ConnectionRefused` with an [`OpenError`] when there is no room, or when
    /// the socket cannot be registered.
    pub fn adopt(
        &mut self,
        socket: L::Stream,
        peer: Peer,
        already_read: &[u8],
        now: Instant,
    ) -> stdio::Result<ConnId> {
        self.now = now;
        let conn = self.take_in(socket, peer, false)?;
        if !already_read.is_empty() {
            let mut bytes = already_read.to_vec();
            self.hub.receive(conn, &mut bytes, now);
        }
        Ok(conn)
    }

    /// Context and handler, to send from outside a callback. Call
    /// [`Driver::tick`] afterwards.
    pub fn parts(&mut self) -> (&mut Context, &mut H) {
        self.hub.parts()
    }

    /// The session of an open connection, for a host that reads or changes it between callbacks;
    /// `None` when the connection is not open.
    pub fn session(&mut self, conn: ConnId) -> Option<&mut H::Session> {
        self.hub.session(conn)
    }

    /// Tells the date for answers: see [`Hub::set_date`].
    pub fn set_date(&mut self, now: SystemTime) {
        self.hub.set_date(now);
    }

    /// The hub, to look at.
    pub fn hub(&self) -> &Hub<H> {
        &self.hub
    }

    /// The listeners that still accept.
    pub fn listeners(&self) -> impl Iterator<Item = &L> {
        self.listeners.iter().map(|slot| &slot.listener)
    }

    /// Begins to go down: closes the listeners, and every open connection with
    /// code 1001. Go on with the loop until [`Context::is_drained`], which takes
    /// `close_timeout` at most. A second call changes nothing.
    pub fn shutdown(&mut self) {
        for slot in &mut self.listeners {
            // It may be the host's poll, which goes on; closing would do too.
            let _ = self.registry.deregister(&mut slot.listener);
        }
        self.listeners.clear();
        self.hub.shutdown();
    }

    /// Registers a socket and opens its connection.
    fn take_in(
        &mut self,
        mut socket: L::Stream,
        peer: Peer,
        loopback: bool,
    ) -> stdio::Result<ConnId> {
        let refused =
            |error: OpenError| stdio::Error::new(stdio::ErrorKind::ConnectionRefused, error);
        let conn = self.hub.open(peer, loopback, self.now).map_err(refused)?;
        let index = conn.index();
        let token = Token(self.base + self.listener_tokens + index);
        if let Err(error) = self.registry.register(&mut socket, token, Interest::READABLE) {
            self.hub.abort(conn);
            return Err(error);
        }
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
            self.marks.resize(index + 1, Marks::default());
        }
        self.sockets[index] = Some(socket);
        self.marks[index] = Marks::default();
        Ok(conn)
    }

    /// Closes the socket of a connection that was reaped. Closing it takes it
    /// out of the poll as well.
    fn free(&mut self, conn: ConnId) {
        let index = conn.index();
        if let Some(place) = self.sockets.get_mut(index)
            && let Some(mut socket) = place.take()
            && self.marks[index].has(Marks::WRITING)
        {
            // It had blocked, and what waited for it is gone. If the socket has
            // failed by itself there is nothing left to discard.
            let _ = socket.discard_unsent();
        }
        // A descriptor has come free.
        self.retry_accept = None;
    }
}
