//! A hub that writes to one sink instead of sockets, and whose time changes only when the test
//! changes it.

use std::time::Instant;

use super::turn::{Loop, turn};
use crate::hub::{Config, ConnId, Handler, Hub, Sink, Wrote};
use crate::wire::Peer;

/// The number of turns within which a hub without new input must have nothing left to do.
const MOST_TURNS: usize = 10_000;

/// A hub without pipes, for tests that count calls or bytes and for tests with very many
/// connections. The hub writes to the sink `S`, and nothing of that is decoded.
///
/// ```
/// use std::io;
/// use std::time::Instant;
///
/// use longlink::sim::{Bare, frames::handshake};
/// use longlink::run::Sink;
/// use longlink::{Config, Relay, RelayConfig};
///
/// /// Sockets that take everything.
/// struct Taking;
///
/// impl Sink for Taking {
///     fn write(&mut self, _: usize, bytes: &[u8]) -> io::Result<usize> {
///         Ok(bytes.len())
///     }
///
///     fn write_vectored(&mut self, _: usize, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
///         Ok(slices.iter().map(|slice| slice.len()).sum())
///     }
/// }
///
/// let relay = Relay::new(RelayConfig::default());
/// let mut bare = Bare::new(Config::default(), relay, Taking, Instant::now());
/// let conn = bare.open();
/// bare.receive(conn, &handshake("/websocket/alice", ""));
/// bare.turn();
/// assert!(bare.hub.is_online("alice"));
/// ```
#[derive(Debug)]
pub struct Bare<H: Handler, S: Sink> {
    /// The hub with its handler.
    pub hub: Hub<H>,
    /// The sink to which the hub writes.
    pub sink: S,
    /// The time that the next call of the hub is given.
    pub now: Instant,
    /// Whether new connections come in on a loopback address.
    pub loopback: bool,
    /// Whether a client ends its side of the stream as soon as the server has ended its own.
    pub clients_hang_up: bool,
}

impl<H: Handler, S: Sink> Bare<H, S> {
    /// Creates a hub without connections, at the time `now`.
    ///
    /// # Panics
    /// When the configuration is not [valid](Config::check).
    pub fn new(config: Config, handler: H, sink: S, now: Instant) -> Self {
        config.check().expect("a configuration that holds");
        let hub = Hub::new(config, handler, now);
        Bare { hub, sink, now, loopback: true, clients_hang_up: true }
    }

    /// Opens a connection, from which nothing has arrived yet.
    ///
    /// # Panics
    /// When the hub has no room for it.
    pub fn open(&mut self) -> ConnId {
        self.hub.open(Peer::UNKNOWN, self.loopback, self.now).expect("room")
    }

    /// Gives the hub bytes of a client. The bytes are lost if the hub does not read the connection
    /// any more, as in a socket that is closed.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.hub.may_read(conn) {
            self.hub.receive(conn, &mut bytes.to_vec(), self.now);
        }
    }

    /// Takes one turn in which nothing arrives.
    pub fn turn(&mut self) {
        turn(self, self.now);
    }

    /// Takes turns until the hub has nothing left to do at this time.
    ///
    /// # Panics
    /// When the hub still has something to do after ten thousand turns, or an invariant of the hub
    /// is broken.
    pub fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            self.turn();
            self.hub.check_invariants();
            if self.hub.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!(
            "the hub still has work after {MOST_TURNS} turns; it holds {} bytes",
            self.hub.buffered()
        );
    }
}

impl<H: Handler, S: Sink> Loop for Bare<H, S> {
    type Handler = H;

    fn hub(&mut self) -> &mut Hub<H> {
        &mut self.hub
    }

    fn write(&mut self) {
        let mut budget = self.hub.config().writes_per_turn;
        while let Some((conn, wrote)) = self.hub.write(&mut self.sink, &mut budget) {
            if wrote == Wrote::ShutdownWrite && self.clients_hang_up {
                self.hub.input_ended(conn);
            }
        }
    }
}
