//! The driver: it accepts, reads, writes and closes sockets for a hub that knows no socket.
//!
//! The driver works with a `mio::Poll` that belongs to [`crate::Server`] or to a host. Readiness is
//! only a hint; `WouldBlock` decides. What a budget leaves over is remembered here, because an
//! edge-triggered event does not come twice. The driver must not know frames, requests and users.

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

use crate::hub::{Config, ConfigError, ConnId, Context, Handler, Hub, OpenError, SURPLUS, Slot};
use crate::wire::Peer;

pub use listener::Listener;
pub use proxied::ConnectedFor;
#[cfg(feature = "tls")]
pub(crate) use proxied::take_header;
pub use transport::{Listen, Socket, Transport};
#[cfg(feature = "tls")]
pub(crate) use transport::{reset_on_close, source};

/// The most bytes that are read from a connection before other connections have their turn.
pub const READ_SIZE: usize = 64 * 1024;

/// What an event says about a socket. It is a hint: a flag too many is harmless, a missing flag is
/// not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A read, or an accept, may return something.
    pub readable: bool,
    /// A write may take bytes.
    pub writable: bool,
    /// The peer has closed its side, or the socket has failed: the driver must read until the read
    /// says so.
    pub ended: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        // An event also has this if the peer has closed only its write side.
        let ended = event.is_read_closed() || event.is_error();
        Readiness { readable: event.is_readable() || ended, writable: event.is_writable(), ended }
    }
}

/// Flags of a socket, in one byte beside it. As `bool`s they would take more bytes than the
/// alignment of the socket leaves free.
#[derive(Clone, Copy, Debug, Default)]
struct Marks(u8);

impl Marks {
    /// The socket is in the queue of sockets to read.
    const QUEUED: u8 = 1;
    /// The socket is registered for writing, too, because a write has blocked.
    const WRITING: u8 = 1 << 1;
    /// An event said that the end of the stream is near, so the driver also reads after a short read.
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

/// A listener, and whether it may have connections.
#[derive(Debug)]
struct ListenerSlot<L> {
    listener: L,
    /// Whether there may be connections to accept.
    ready: bool,
}

/// Sockets, a handler and its hub, in a `mio::Poll` that belongs to [`Server`] or to a host.
///
/// The loop must do this: give every event to [`handle_event`](Driver::handle_event); then, and
/// after anything was sent from outside a callback, call [`tick`](Driver::tick) once; then sleep no
/// longer than until [`next_deadline`](Driver::next_deadline).
///
/// If the driver is dropped, every socket is closed at once, without close frames and without
/// `on_close`; call [`shutdown`](Driver::shutdown) before to close the connections properly.
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
    /// How many tokens belong to listeners, including listeners that were closed.
    listener_tokens: usize,
    /// The socket of each connection, at the index of its slot.
    sockets: Vec<Option<L::Stream>>,
    marks: Vec<Marks>,
    /// Sockets that are to be read without an event.
    to_read: VecDeque<Slot>,
    /// The only read buffer of the loop.
    buffer: Box<[u8]>,
    rate: rate::Rate,
    /// When to accept again, after there was no free descriptor or the rate was reached.
    retry_accept: Option<Instant>,
    now: Instant,
}

impl<H: Handler, L: Listen> Driver<H, L> {
    /// Registers the listeners with `registry`, with tokens from `base` on; [`Driver::tokens`]
    /// returns the range of the driver's tokens. Without listeners the driver serves only sockets
    /// that it [adopts](Driver::adopt). Connections that wait to be accepted are accepted by the
    /// first [`Driver::tick`].
    ///
    /// # Errors
    /// If the configuration contradicts itself (`InvalidInput`), or a listener cannot be
    /// registered.
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

    /// Returns the tokens that belong to this driver: one for each listener that it was made with,
    /// and one for each of `max_connections` + [`SURPLUS`] slots. A host uses tokens outside this
    /// range; another driver may begin at its end.
    pub fn tokens(&self) -> Range<usize> {
        let slots = self.hub.config().max_connections + SURPLUS;
        self.base..self.base + self.listener_tokens + slots
    }

    /// Uses other limits and timeouts from now on, as
    /// [`Context::set_config`](crate::Context::set_config) does, and another rate of accepts. What
    /// belongs to a listener, such as [`Config::send_buffer`], stays as it was bound. With more
    /// `max_connections` the range of [`Driver::tokens`] becomes longer.
    ///
    /// # Errors
    /// If the configuration contradicts itself. Nothing has changed then.
    pub fn set_config(&mut self, config: Config) -> Result<(), ConfigError> {
        let per_second = config.accept_rate;
        self.hub.set_config(config)?;
        self.rate.set(per_second);
        // There may be room for connections that wait to be accepted.
        if self.retry_accept.is_some() {
            self.retry_accept = Some(self.now);
        }
        Ok(())
    }

    /// Handles one event of the poll. Returns false, and does nothing, if the event's token does
    /// not belong to the driver. Callbacks run during this call; nothing is written before
    /// [`Driver::tick`].
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

    /// Does the work of a turn: runs what is due, goes on with what was left over, accepts new
    /// connections, writes at most once to each connection that has something to send, and frees
    /// connections that have ended.
    ///
    /// A connection whose deadline has passed is read before it is judged, whatever the poll has
    /// returned: its bytes may wait in its socket because the process was stopped, because the poll
    /// returned only a part of the events, or because a signal has ended the poll.
    ///
    /// Call `tick` once after the events of a poll, and after anything was sent from outside a
    /// callback; then sleep no longer than until [`Driver::next_deadline`]. Additional calls are
    /// harmless.
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

    /// Call this after [`Driver::tick`] with the time `at` if you want to know how long turns take.
    /// The turn that began at the `now` of its events has ended at `at`; [`Context::distributions`]
    /// keeps the time between the two. [`Server`](crate::Server) calls it by itself.
    pub fn turn_ended(&mut self, at: Instant) {
        self.hub.note_turn(at.saturating_duration_since(self.now));
    }

    /// Gives the application an event. Call it from a host, not from a callback. Callbacks run
    /// during this call. Call [`Driver::tick`] afterwards.
    pub fn deliver(&mut self, event: H::Event, now: Instant) {
        self.now = now;
        self.hub.deliver(event, now);
    }

    /// Returns the latest time at which [`Driver::tick`] must be called again; the poll may sleep
    /// until then. An earlier call is harmless; a later one makes timeouts late. `None` means that
    /// there is nothing to do before an event comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.to_read.is_empty() || self.can_accept() {
            return Some(self.now);
        }
        let retry = self.retry_accept.filter(|_| !self.listeners.is_empty());
        [self.hub.next_deadline(), retry].into_iter().flatten().min()
    }

    /// Takes over a socket that the host has accepted, with the bytes that the host has already
    /// read from it: the beginning of the request, or nothing. Call [`Driver::tick`] afterwards.
    ///
    /// The socket must be non-blocking and not registered with a poll. The host must set the
    /// options that a [`Listener`] sets: `TCP_NODELAY`, `TCP_USER_TIMEOUT` and a send buffer. The
    /// connection does not count as coming from a loopback address.
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
    /// `ConnectionRefused` with an [`OpenError`] if there is no room, or another error if the
    /// socket cannot be registered.
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

    /// Returns the context and the handler, to send from outside a callback. Call [`Driver::tick`]
    /// afterwards.
    pub fn parts(&mut self) -> (&mut Context, &mut H) {
        self.hub.parts()
    }

    /// Returns the session of an open connection, to read or change it between callbacks; `None` if
    /// the connection is not open.
    pub fn session(&mut self, conn: ConnId) -> Option<&mut H::Session> {
        self.hub.session(conn)
    }

    /// Sets the date for HTTP answers; see [`Hub::set_date`].
    pub fn set_date(&mut self, now: SystemTime) {
        self.hub.set_date(now);
    }

    /// Returns the hub, to read its state.
    pub fn hub(&self) -> &Hub<H> {
        &self.hub
    }

    /// Returns the listeners that still accept.
    pub fn listeners(&self) -> impl Iterator<Item = &L> {
        self.listeners.iter().map(|slot| &slot.listener)
    }

    /// Begins to stop: closes the listeners, and every open connection with code 1001. Go on with
    /// the loop until [`Context::is_drained`] returns true, which takes `close_timeout` at most. A
    /// second call changes nothing.
    pub fn shutdown(&mut self) {
        for slot in &mut self.listeners {
            // The poll may belong to the host and go on, so the listener is removed from it before
            // it is closed.
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

    /// Closes the socket of a connection that was reaped. This also removes it from the poll.
    fn free(&mut self, conn: ConnId) {
        let index = conn.index();
        if let Some(place) = self.sockets.get_mut(index)
            && let Some(mut socket) = place.take()
            && self.marks[index].has(Marks::WRITING)
        {
            // A write had blocked, and the bytes that waited for it are gone. If the socket has
            // failed by itself, there is nothing left to discard.
            let _ = socket.discard_unsent();
        }
        // A descriptor has become free.
        self.retry_accept = None;
    }
}
