//! A hub without a driver, whose connections are bytes alone.

use std::time::{Duration, Instant};

use longlink::run::Sent;
use longlink::{Accept, Config, ConnId, Context, Handler, Hub, Message, Peer, Reject, Upgrade};

/// A handler that accepts everyone and counts the messages. The user is the path; `/` is a
/// connection without a user.
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

/// A hub with its handler, and a clock that stands still.
#[derive(Debug)]
pub struct Lines<H: Handler> {
    pub hub: Hub<H>,
    /// Whether new connections come from a loopback address.
    pub loopback: bool,
    now: Instant,
}

impl<H: Handler> Lines<H> {
    /// Makes a hub for this many connections that has no work budget and no rates, and that answers
    /// refused requests without a delay.
    pub fn new(connections: usize, handler: H) -> Self {
        let mut config = Config::default();
        config.max_connections = connections;
        config.work_per_turn = u32::MAX;
        (config.message_rate, config.broadcast_rate) = (0, 0);
        config.reject_delay = Duration::ZERO;
        let now = Instant::now();
        Lines { hub: Hub::new(config, handler, now), loopback: true, now }
    }

    /// Opens a connection; nothing has arrived from it yet.
    pub fn open(&mut self) -> ConnId {
        self.hub.open(Peer::UNKNOWN, self.loopback, self.now).expect("room")
    }

    /// Opens a connection from which `head` has arrived.
    pub fn connect(&mut self, head: &mut [u8]) -> ConnId {
        let conn = self.open();
        self.receive(conn, head);
        conn
    }

    pub fn receive(&mut self, conn: ConnId, bytes: &mut [u8]) {
        self.hub.receive(conn, bytes, self.now);
    }

    /// Ends a turn: everything that is queued counts as written, and connections that have ended
    /// are freed. Returns how many bytes were written.
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
