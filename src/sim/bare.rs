//! A hub whose sockets are one sink, and for which time stands still unless the test moves it.

use std::time::Instant;

use super::turn::{Loop, turn};
use crate::hub::{Config, ConnId, Handler, Hub, Sink, Wrote};
use crate::wire::Peer;

/// Turns after which a hub that is given nothing new must have come to rest.
const MOST_TURNS: usize = 10_000;

/// A hub without pipes, for tests that count and for large crowds. What is written goes to the
/// sink `S`; nothing of it is decoded.
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
    /// Where it writes to.
    pub sink: S,
    /// The time of the next call.
    pub now: Instant,
    /// Whether new connections come in on a loopback address.
    pub loopback: bool,
    /// Whether a client ends its side of the stream as soon as the server has ended its own.
    pub clients_hang_up: bool,
}

impl<H: Handler, S: Sink> Bare<H, S> {
    /// A hub of which nobody is a client yet, at the time `now`.
    ///
    /// # Panics
    /// When the configuration does not [hold](Config::check).
    pub fn new(config: Config, handler: H, sink: S, now: Instant) -> Self {
        config.check().expect("a configuration that holds");
        let hub = Hub::new(config, handler, now);
        Bare { hub, sink, now, loopback: true, clients_hang_up: true }
    }

    /// A new connection; nothing has arrived from it yet.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn open(&mut self) -> ConnId {
        self.hub.open(Peer::UNKNOWN, self.loopback, self.now).expect("room")
    }

    /// Bytes arrive. Those of a connection that is not read any more are lost, as in a socket
    /// that is closed.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.hub.may_read(conn) {
            self.hub.receive(conn, &mut bytes.to_vec(), self.now);
        }
    }

    /// A turn in which nothing arrives.
    pub fn turn(&mut self) {
        turn(self, self.now);
    }

    /// Takes turns until nothing more happens at this time.
    ///
    /// # Panics
    /// When that does not come, or a check of the hub on itself fails.
    pub fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            self.turn();
            self.hub.check_invariants();
            if self.hub.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the hub does not come to rest, with {} bytes", self.hub.buffered());
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
