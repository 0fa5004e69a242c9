//! longlink's own loop: a poll, its events, and a way to wake and stop it. It uses the same API
//! that a host uses.
//!
//! This is the only room of the library that reads a clock to run connections.

mod inbox;

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};

use crate::driver::{Driver, Listen, Listener};
use crate::hub::{Config, ConfigError, ConnId, Context, Handler};
pub use inbox::{Inbox, SendError, Sender};

/// How many events one poll returns at most. A larger number made nothing faster.
const EVENTS: usize = 1_024;
/// How many events of other threads may wait for the loop.
const INBOX: usize = 65_536;
const WAKE: Token = Token(0);
const DRIVER: Token = Token(1);

/// A server with a loop of its own, on one thread.
///
/// ```no_run
/// use longlink::{Config, Relay, RelayConfig, Server};
///
/// let relay = Relay::new(RelayConfig::default());
/// let mut server = Server::bind("127.0.0.1:8080", Config::default(), relay)?;
/// server.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server<H: Handler, L: Listen = Listener> {
    poll: Poll,
    events: Events,
    inbox: Inbox<H::Event>,
    driver: Driver<H, L>,
    stopper: Stopper,
    /// When to set the hub's date again.
    next_second: Instant,
    /// When the last turn ended.
    ended: Instant,
}

impl<H: Handler, L: Listen> fmt::Debug for Server<H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// Wakes a server's loop, and stops it, from any thread. Clones wake and stop the same server.
#[derive(Clone, Debug)]
pub struct Stopper {
    waker: Arc<mio::Waker>,
    stop: Arc<AtomicBool>,
}

impl Stopper {
    /// Asks the server to stop: it stops accepting, closes every connection with code 1001 within
    /// `close_timeout`, and [`Server::run`] returns.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the loop, so that [`Server::turn`] returns. If the loop does not sleep now, its next
    /// sleep ends at once.
    pub fn wake(&self) {
        // Waking fails only when the poll is gone, and then there is no loop to wake.
        let _ = self.waker.wake();
    }
}

impl<H: Handler> Server<H> {
    /// Listens on every address that `addr` means, or on none, as [`Listener::bind`] does. For
    /// `localhost` it is enough if the machine has an IPv6 or an IPv4 address.
    ///
    /// # Errors
    /// Those of [`Listener::bind`], or if the configuration contradicts itself.
    pub fn bind(addr: impl ToSocketAddrs, config: Config, handler: H) -> io::Result<Self> {
        Self::new(Listener::bind(addr, &config)?, config, handler)
    }
}

impl<H: Handler, L: Listen> Server<H, L> {
    /// Makes a server for listeners that are bound already.
    ///
    /// # Errors
    /// If the configuration contradicts itself, or the system cannot make a poll.
    pub fn new(listeners: Vec<L>, config: Config, handler: H) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        let now = Instant::now();
        let driver = Driver::new(listeners, poll.registry(), DRIVER, config, handler, now)?;
        let inbox = Inbox::new(Arc::clone(&waker), INBOX);
        let stopper = Stopper { waker, stop: Arc::default() };
        let events = Events::with_capacity(EVENTS);
        Ok(Server { poll, events, inbox, driver, stopper, next_second: now, ended: now })
    }

    /// Runs until [`Stopper::stop`] was called and every connection has ended.
    ///
    /// # Errors
    /// If the poll itself fails; the failure of a connection is never an error.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.is_stopped() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Runs one turn: sleeps until something happens, at most `max_wait`, handles it and returns.
    /// It is for programs with work of their own between turns. What they send makes the next turn
    /// return without a sleep.
    ///
    /// ```no_run
    /// # use longlink::{Config, Relay, RelayConfig, Server};
    /// # use std::time::Duration;
    /// # let relay = Relay::new(RelayConfig::default());
    /// # let mut server = Server::bind("127.0.0.1:8080", Config::default(), relay)?;
    /// while !server.is_stopped() {
    ///     server.turn(Some(Duration::from_secs(1)))?;
    ///     let (hub, relay) = server.parts();
    ///     relay.push(hub, "clock", "alice", r#"{"tick":1}"#);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Server::run`].
    pub fn turn(&mut self, max_wait: Option<Duration>) -> io::Result<()> {
        let deadline = self.driver.next_deadline();
        let until = deadline.map(|at| self.time_until(at));
        let wait = [until, max_wait].into_iter().flatten().min();
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        self.tell_date(now);
        for event in &self.events {
            self.driver.handle_event(event, now);
        }
        for event in self.inbox.take() {
            self.driver.deliver(event, now);
        }
        if self.stopper.stop.load(Ordering::Acquire) && !self.driver.hub().is_draining() {
            self.driver.shutdown();
        }
        self.driver.tick(now);
        self.ended = Instant::now();
        self.driver.turn_ended(self.ended);
        Ok(())
    }

    /// How long it is until `deadline`. While work is left over, the deadline has passed before the
    /// last turn ended, and the clock need not be read.
    #[inline]
    fn time_until(&self, deadline: Instant) -> Duration {
        if deadline <= self.ended {
            return Duration::ZERO;
        }
        deadline.saturating_duration_since(Instant::now())
    }

    /// Sets the hub's date when the wall clock's next second begins.
    fn tell_date(&mut self, now: Instant) {
        if now < self.next_second {
            return;
        }
        let date = SystemTime::now();
        let passed = date.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        self.next_second = now + Duration::from_secs(1) - Duration::from_nanos(passed.into());
        self.driver.set_date(date);
    }

    /// Whether the server was stopped and every connection has ended.
    pub fn is_stopped(&self) -> bool {
        self.driver.hub().is_draining() && self.driver.hub().is_drained()
    }

    /// Returns a [`Stopper`], which wakes or stops the server from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Returns a [`Sender`], by which other threads send the handler events: at most 65,536 wait.
    /// Here a worker thread answers requests:
    ///
    /// ```no_run
    /// use std::sync::mpsc::{SyncSender, sync_channel};
    ///
    /// use longlink::http::{Request, Response};
    /// use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Reply, Server, Upgrade};
    ///
    /// struct Orders { to_worker: SyncSender<(ConnId, String)> }
    ///
    /// impl Handler for Orders {
    ///     type Session = ();
    ///     type Event = (ConnId, String);
    ///     fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
    ///         Ok(Accept::anonymous())
    ///     }
    ///     fn on_message(&mut self, _: &mut Context, _: ConnId, _: &mut (), _: Message<'_>) {}
    ///     fn on_request(&mut self, _: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
    ///         match self.to_worker.try_send((conn, request.path().to_owned())) {
    ///             Ok(()) => Reply::Later,
    ///             Err(_) => Response::text(503, "busy").into(),
    ///         }
    ///     }
    ///     fn on_event(&mut self, cx: &mut Context, (conn, found): Self::Event) {
    ///         cx.respond_to(conn, &Response::text(200, found)); // false: the client is gone, or has got 503
    ///     }
    /// }
    ///
    /// fn main() -> std::io::Result<()> {
    ///     let (to_worker, work) = sync_channel::<(ConnId, String)>(1_000);
    ///     let mut server = Server::bind("127.0.0.1:8080", Config::default(), Orders { to_worker })?;
    ///     let answers = server.sender();
    ///     std::thread::spawn(move || {
    ///         for (conn, path) in work {
    ///             let _ = answers.send((conn, format!("found {path}"))); // a database, anything slow
    ///         }
    ///     });
    ///     server.run()
    /// }
    /// ```
    pub fn sender(&self) -> Sender<H::Event> {
        self.inbox.sender()
    }

    /// Uses other limits and timeouts from now on, without ending a connection; see
    /// [`Context::set_config`] for what does not change. Call it between turns.
    ///
    /// # Errors
    /// If the configuration contradicts itself. Nothing has changed then.
    pub fn set_config(&mut self, config: Config) -> Result<(), ConfigError> {
        self.driver.set_config(config)
    }

    /// Returns the context and the handler, to send between turns.
    pub fn parts(&mut self) -> (&mut Context, &mut H) {
        self.driver.parts()
    }

    /// Returns the session of an open connection, to read or change it between turns; `None` if the
    /// connection is not open.
    pub fn session(&mut self, conn: ConnId) -> Option<&mut H::Session> {
        self.driver.session(conn)
    }

    /// Returns the listeners, for example to learn their addresses.
    pub fn listeners(&self) -> impl Iterator<Item = &L> {
        self.driver.listeners()
    }
}
