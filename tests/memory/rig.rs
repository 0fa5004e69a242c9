//! A hub with simulated sockets, for which time passes only when a test says so.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, IoSlice};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::run::Sink;
use longlink::sim::Bare;
use longlink::sim::frames::handshake;
use longlink::{Config, ConnId, Relay, RelayConfig};

use crate::allocator;

/// How many bytes a server keeps even if nothing waits: buffers for encoding and reading, and
/// lists that have grown once.
pub const SCRATCH: usize = 2 << 20;

/// The allocator counts for all threads, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// The guard of the one test that runs.
pub type Alone = MutexGuard<'static, ()>;

pub fn alone() -> Alone {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many bytes the socket of each slot still takes; a socket without an entry takes all bytes.
#[derive(Default)]
pub struct Sockets(HashMap<usize, usize>);

impl Sink for Sockets {
    fn write(&mut self, index: usize, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_vectored(index, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let Some(room) = self.0.get_mut(&index) else { return Ok(length) };
        let taken = length.min(*room);
        *room -= taken;
        if taken == 0 { Err(Error::from(ErrorKind::WouldBlock)) } else { Ok(taken) }
    }
}

impl Deref for Rig {
    type Target = Bare<Relay, Sockets>;

    fn deref(&self) -> &Self::Target {
        &self.bare
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bare
    }
}

/// A bare hub. No other test measures memory at the same time.
pub struct Rig {
    bare: Bare<Relay, Sockets>,
    alone: Alone,
}

impl Rig {
    /// A server with the backend's interface. `set` changes the configuration.
    pub fn new(set: impl FnOnce(&mut Config)) -> Self {
        Self::with(set, |relay, backend| relay.with_backend(backend))
    }

    /// Creates a server from a relay and a backend's interface that `make` puts together. `set`
    /// changes the configuration.
    pub fn with(set: impl FnOnce(&mut Config), make: impl FnOnce(Relay, Backend) -> Relay) -> Self {
        let alone = alone();
        let mut config = Config::default();
        (config.message_rate, config.broadcast_rate, config.max_per_address) = (0, 0, 0);
        config.max_connections = 4_000;
        set(&mut config);
        let mut api = BackendConfig::default();
        api.keys = vec![ApiKey::new("0123456789abcdef0123456789abcdef").unwrap()];
        let relay = make(Relay::new(RelayConfig::default()), Backend::new(api));
        let bare = Bare::new(config, relay, Sockets::default(), Instant::now());
        Rig { bare, alone }
    }

    /// Ends the hub, and still keeps other tests from running.
    pub fn end(self) -> Alone {
        self.alone
    }

    pub fn connect(&mut self) -> ConnId {
        let conn = self.bare.open();
        // A limit of an earlier connection in this slot does not apply any more.
        self.bare.sink.0.remove(&conn.index());
        conn
    }

    /// Opens a connection of a user, whose socket takes everything.
    pub fn enter(&mut self, user: &str) -> ConnId {
        self.enter_with(user, "")
    }

    /// Opens a connection of a user, whose socket takes everything, with further header fields.
    pub fn enter_with(&mut self, user: &str, more: &str) -> ConnId {
        let conn = self.connect();
        self.receive(conn, &handshake(&format!("/websocket/{user}"), more));
        self.turn();
        assert!(self.hub.is_open(conn), "{user}");
        conn
    }

    /// Opens connections of so many users, whose sockets take no more bytes.
    pub fn enter_stalled(&mut self, count: usize) -> Vec<ConnId> {
        (0..count)
            .map(|number| {
                let conn = self.enter(&format!("stalled{number}"));
                self.takes(conn, 0);
                conn
            })
            .collect()
    }

    /// Sets how many bytes the socket of a connection takes before it blocks.
    pub fn takes(&mut self, conn: ConnId, room: usize) {
        self.sink.0.insert(conn.index(), room);
        self.hub.writable(conn);
    }

    pub fn takes_all(&mut self, conn: ConnId) {
        self.sink.0.remove(&conn.index());
        self.hub.writable(conn);
    }

    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let now = self.now;
        self.hub.receive(conn, &mut bytes.to_vec(), now);
    }

    /// Gives the hub bytes without an allocation of the test itself.
    pub fn receive_in_place(&mut self, conn: ConnId, bytes: &mut [u8]) {
        let now = self.now;
        self.hub.receive(conn, bytes, now);
    }

    /// Lets time pass, and then takes a turn.
    pub fn advance(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    /// Sends a request of a backend, with the backend's key.
    pub fn request(&mut self, conn: ConnId, method: &str, path: &str, body: &str) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        for piece in [head, body.to_owned()].concat().as_bytes().chunks(longlink::run::READ_SIZE) {
            self.receive(conn, piece);
        }
    }

    pub fn tick(&mut self) {
        let now = self.now;
        self.hub.tick(now);
    }

    /// Calls `act`. Returns how many bytes more the allocator has given out since then, and how many
    /// bytes more the hub says that it holds.
    pub fn growth(&mut self, act: impl FnOnce(&mut Self)) -> (usize, usize) {
        self.settle();
        let (allocated, counted) = (allocator::bytes(), self.hub.buffered());
        act(self);
        self.settle();
        let grown = allocator::bytes().saturating_sub(allocated);
        (grown, self.hub.buffered().saturating_sub(counted))
    }

    /// Calls `act`. Returns how often blocks were allocated or changed their size meanwhile, and the sum
    /// of the sizes that they had after that.
    pub fn allocations(&mut self, act: impl FnOnce(&mut Self)) -> (usize, usize) {
        let (calls, total) = (allocator::calls(), allocator::total());
        act(self);
        (allocator::calls() - calls, allocator::total() - total)
    }

    /// Checks that the hub counts what `act` makes it allocate, except for room that buffers have
    /// for more bytes.
    pub fn assert_counted(&mut self, what: &str, act: impl FnOnce(&mut Self)) {
        let (grown, counted) = self.growth(act);
        println!("{what}: {grown} bytes are held, {counted} are counted");
        assert!(grown <= 2 * counted + SCRATCH, "{what}: {grown} are held, {counted} counted");
        // What an allocator keeps for itself of each small block is counted as well.
        assert!(counted <= grown / 2 * 3 + SCRATCH, "{what}: {grown} held, {counted} counted");
    }
}
