//! A hub whose connections are bytes alone, without a driver.

use std::time::{Duration, Instant};

use longlink::run::Sent;
use longlink::{Accept, Config, ConnId, Context, Handler, Hub, Message, Peer, Reject, Upgrade};

/// Lets everyone in and counts what it hears. The user is the path; `/` is
/// nobody.
#[derive(Debug, Default)]
pub struct Listener {
    pub messages: u64,
    pub bytes: u64,
}

impl Handler for Listener {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        Ok(Accept::user(&upgrade.path()[1..]))
    }

    fn on_message(
        &mut self,
        _: &mut Context,
        _: ConnId,
        _: &mut Self::Session,
        message: Message<'_>,
    ) {
        self.messages += 1;
        self.bytes += match message {
            Message::Text(text) => text.len(),
            Message::Binary(data) => data.len(),
        } as u64;
    }
}

/// A hub, its handler and a clock that stands still.
#[derive(Debug)]
pub struct Lines<H: Handler> {
    pub hub: Hub<H>,
    /// Whether new connections come in on a loopback address.
    pub loopback: bool,
    now: Instant,
}

impl<H: Handler> Lines<H> {
    /// A hub for so many connections that never runs out of work in a turn,
    /// lets them send as fast as they can, and answers whom it refuses at once.
    pub fn new(connections: usize, handler: H) -> Self {
        let mut config = Config::default();
        config.max_connections = connections;
        config.work_per_turn = u32::MAX;
        (config.message_rate, config.broadcast_rate) = (0, 0);
        config.reject_delay = Duration::ZERO;
        let now = Instant::now();
        Lines { hub: Hub::new(config, handler, now), loopback: true, now }
    }

    /// A new connection; nothing has arrived from it yet.
    pub fn open(&mut self) -> ConnId {
        self.hub.open(Peer::UNKNOWN, self.loopback, self.now).expect("room")
    }

    /// A new connection from which `head` has arrived.
    pub fn connect(&mut self, head: &mut [u8]) -> ConnId {
        let conn = self.open();
        self.receive(conn, head);
        conn
    }

    pub fn receive(&mut self, conn: ConnId, bytes: &mut [u8]) {
        self.hub.receive(conn, bytes, self.now);
    }

    /// Ends a turn: all that is queued is taken for written, what has ended is
    /// freed. Returns how many bytes were written.
    pub fn turn(&mut self) -> usize {
        let mut total = 0;
        while let Some(conn) = self.hub.pop_dirty() {
            let pending = self.hub.pending(conn).expect("something is pending");
            let length = pending.single().expect("in one slice").len();
            // The end of the stream follows the last bytes.
            if self.hub.sent(conn, length) == Sent::ShutdownWrite {
                self.hub.input_ended(conn);
            }
            total += length;
        }
        self.hub.end_turn();
        while self.hub.reap().is_some() {}
        total
    }
}
