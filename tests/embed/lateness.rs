//! A process that was stopped, over real sockets: what its clients have sent meanwhile waits in
//! the kernel, and more sockets are ready than one poll returns.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use longlink::{Config, Driver, Listener, Relay, RelayConfig};
use mio::{Events, Poll, Token};

use crate::support::client::DEADLINE;
use longlink::sim::frames::{handshake, text};

const CLIENTS: usize = 100;
/// The most events of one poll; there are more clients than this.
const BATCH: usize = 16;

struct Host {
    poll: Poll,
    events: Events,
    driver: Driver<Relay>,
    sockets: Vec<TcpStream>,
    now: Instant,
}

impl Host {
    /// A host whose clients are all connected, and have read what they were sent.
    fn new(change: impl FnOnce(&mut Config)) -> Host {
        let (poll, events) = (Poll::new().unwrap(), Events::with_capacity(BATCH));
        let mut config = Config::default();
        change(&mut config);
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), &config).unwrap();
        let addr = listener.tcp_addr().unwrap();
        let relay = Relay::new(RelayConfig::default());
        let now = Instant::now();
        let driver =
            Driver::new(vec![listener], poll.registry(), Token(1), config, relay, now).unwrap();
        let mut host = Host { poll, events, driver, sockets: Vec::new(), now };
        for _ in 0..CLIENTS {
            let socket = TcpStream::connect(addr).unwrap();
            socket.set_nodelay(true).unwrap();
            host.sockets.push(socket);
        }
        host
    }

    fn turn(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(1))).unwrap();
        for event in &self.events {
            self.driver.handle_event(event, self.now);
        }
        self.driver.tick(self.now);
        self.driver.hub().check_invariants();
    }

    fn turn_until(&mut self, done: impl Fn(&Host) -> bool) {
        let limit = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < limit, "the host has not finished in time");
            self.turn();
        }
    }

    fn open(&mut self) {
        for (number, socket) in self.sockets.iter_mut().enumerate() {
            socket.write_all(&handshake(&format!("/websocket/u{number}"), "")).unwrap();
        }
        self.turn_until(|host| host.driver.hub().online() == CLIENTS);
        self.read_until_each("\r\n\r\n");
    }

    fn read_until_each(&mut self, end: &str) {
        for number in 0..CLIENTS {
            let mut got = Vec::new();
            self.sockets[number].set_nonblocking(true).unwrap();
            self.turn_until_read(number, &mut got, end);
        }
    }

    fn turn_until_read(&mut self, number: usize, got: &mut Vec<u8>, end: &str) {
        let limit = Instant::now() + DEADLINE;
        while !got.ends_with(end.as_bytes()) {
            let text = String::from_utf8_lossy(got);
            assert!(Instant::now() < limit, "{number} has got {text:?}");
            let mut bytes = [0; 512];
            match self.sockets[number].read(&mut bytes) {
                Ok(0) => panic!("{number} is gone after {text:?}"),
                Ok(length) => got.extend_from_slice(&bytes[..length]),
                Err(_) => self.turn(),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.sockets.iter_mut().for_each(|socket| socket.write_all(bytes).unwrap());
    }
}

#[test]
fn heartbeats_that_waited_behind_a_full_batch_of_events_keep_all_connections() {
    // The process was stopped for less than counts as an absence, or for longer.
    for (idle, stopped) in [(3, 4), (60, 61), (60, 600)] {
        let mut host = Host::new(|config| {
            config.ping_after = Duration::from_secs(idle) / 2;
            config.idle_timeout = Duration::from_secs(idle);
        });
        host.open();
        host.send(&text("ping"));
        host.now += Duration::from_secs(stopped);
        host.read_until_each(r#"{"type":"pong"}"#);
        let hub = host.driver.hub();
        assert_eq!((hub.online(), hub.stats().idle), (CLIENTS, 0), "stopped for {stopped} s");
    }
}

#[test]
fn handshakes_that_waited_behind_a_full_batch_of_events_are_all_answered() {
    let mut host = Host::new(|config| config.handshake_timeout = Duration::from_secs(2));
    host.turn_until(|host| host.driver.hub().connections() == CLIENTS);
    host.now += Duration::from_secs(3);
    host.open();
    assert_eq!(host.driver.hub().stats().opened, CLIENTS as u64);
}

#[test]
fn the_rest_of_messages_that_waited_behind_a_full_batch_of_events_is_not_too_late() {
    let mut host = Host::new(|config| config.message_timeout = Duration::from_secs(2));
    host.open();
    let bytes = text("ping");
    host.send(&bytes[..3]);
    let before = host.driver.hub().stats().bytes_in;
    let begun = before + 3 * CLIENTS as u64;
    host.turn_until(|host| host.driver.hub().stats().bytes_in == begun);
    host.send(&bytes[3..]);
    host.now += Duration::from_secs(3);
    host.read_until_each(r#"{"type":"pong"}"#);
    assert_eq!(host.driver.hub().online(), CLIENTS);
}

/// A poll that a signal has ended returns no events, even if sockets are ready.
#[test]
fn a_turn_whose_poll_was_ended_by_a_signal_judges_no_connection_whose_heartbeat_waits() {
    let mut host = Host::new(|config| {
        config.ping_after = Duration::from_secs(1);
        config.idle_timeout = Duration::from_secs(3);
    });
    host.open();
    host.send(&text("ping"));
    host.now += Duration::from_secs(4);
    // This is what a loop does after `ErrorKind::Interrupted`.
    for _ in 0..10 {
        host.driver.tick(host.now);
    }
    assert_eq!((host.driver.hub().online(), host.driver.hub().stats().idle), (CLIENTS, 0));
    host.read_until_each(r#"{"type":"pong"}"#);
}
