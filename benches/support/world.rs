//! A driver over [streams without a network](super::stream), and its loop.

use std::time::{Duration, Instant};

use longlink::run::Readiness;
use longlink::{Config, Driver, Handler, Relay, RelayConfig};
use mio::{Poll, Token};

use super::stream::{self, Door, Input};

const READABLE: Readiness = Readiness { readable: true, writable: false, ended: false };
const DOOR: Token = Token(0);

pub struct World<H: Handler = Relay> {
    pub driver: Driver<H, Door>,
    pub now: Instant,
    /// By how much each turn is later than the turn before.
    pub step: Duration,
    /// The driver uses the registry of this poll.
    _poll: Poll,
}

impl World {
    /// A world of the relay with room for this many connections, and the defaults.
    pub fn new(connections: usize) -> Self {
        let mut config = Config::default();
        config.max_connections = connections;
        World::with(config, Relay::new(RelayConfig::default()))
    }

    /// A world of the relay without limits, because the clock hardly moves while all clients send,
    /// and all come from one address.
    pub fn unpaced(connections: usize) -> Self {
        let mut config = Config::default();
        config.max_connections = connections;
        (config.message_rate, config.broadcast_rate, config.accept_rate) = (0, 0, 0);
        config.max_per_address = 0;
        World::with(config, Relay::new(RelayConfig::default()))
    }
}

impl<H: Handler> World<H> {
    pub fn with(config: Config, handler: H) -> Self {
        let poll = Poll::new().expect("a poll");
        let now = Instant::now();
        let driver =
            Driver::new(vec![Door], poll.registry(), DOOR, config, handler, now).expect("a driver");
        World { driver, now, step: Duration::from_millis(1), _poll: poll }
    }

    /// Ends a turn, as a loop does.
    pub fn turn(&mut self) {
        self.driver.tick(self.now);
        self.now += self.step;
    }

    /// Runs turns until there is nothing left to do.
    pub fn settle(&mut self) {
        self.turn();
        while self.driver.next_deadline().is_some_and(|at| at < self.now) {
            self.turn();
        }
    }

    /// Makes a connection read `input`.
    pub fn read(&mut self, token: Token, input: Input) {
        stream::offer(input);
        self.driver.handle_readiness(token, READABLE, self.now);
    }

    /// Accepts one connection; its handshake is not read yet.
    pub fn accept(&mut self) -> Token {
        stream::knock(1);
        self.driver.handle_readiness(DOOR, READABLE, self.now);
        self.turn();
        stream::last_token()
    }

    /// Connects the user with this number, who names a device and speaks the dialect v2.
    pub fn connect_v2(&mut self, user: u32) -> Token {
        self.connect_by(Input::HandshakeV2(user))
    }

    /// Connects the user with this number.
    pub fn connect(&mut self, user: u32) -> Token {
        self.connect_by(Input::Handshake(user))
    }

    /// Connects a client that sends this handshake.
    pub fn connect_by(&mut self, handshake: Input) -> Token {
        let token = self.accept();
        self.read(token, handshake);
        self.turn();
        token
    }

    /// Connects this many users, numbered from 0.
    pub fn connect_all(&mut self, users: u32) -> Vec<Token> {
        let tokens = (0..users).map(|user| self.connect(user)).collect();
        assert_eq!(self.driver.hub().online(), users as usize, "users online");
        tokens
    }
}
