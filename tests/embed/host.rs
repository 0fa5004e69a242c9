//! The driver in a host's own poll, beside the host's own sources.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use longlink::run::Socket;
use longlink::{Config, Driver, Listener, Peer, Relay, RelayConfig};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::support::client::{DEADLINE, Raw, Socket as Client};
use crate::support::serve::patient;
use longlink::sim::frames::{self, handshake, text};

/// The host's own tokens; the driver's begin at [`BASE`].
const WAKE: Token = Token(0);
const UDP: Token = Token(1);
const DOOR: Token = Token(2);
const BASE: usize = 1_000;

/// A host: its poll, its own sources, and how often it turned.
struct Host {
    poll: Poll,
    events: Events,
    waker: Waker,
    turns: usize,
}

impl Host {
    fn new() -> Host {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), WAKE).unwrap();
        Host { poll, events: Events::with_capacity(64), waker, turns: 0 }
    }

    fn driver(&self, base: usize, change: impl FnOnce(&mut Config)) -> (Driver<Relay>, SocketAddr) {
        let mut config = patient();
        config.max_connections = 50;
        change(&mut config);
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), &config).unwrap();
        let addr = listener.tcp_addr().unwrap();
        let relay = Relay::new(RelayConfig::default());
        let registry = self.poll.registry();
        let driver =
            Driver::new(vec![listener], registry, Token(base), config, relay, Instant::now());
        (driver.unwrap(), addr)
    }

    /// Runs `clients` on a thread and the loop here until they have finished.
    /// Events of the host's own go to `own`.
    fn run(
        &mut self,
        drivers: &mut [&mut Driver<Relay>],
        mut own: impl FnMut(Token, &mut Driver<Relay>),
        clients: impl FnOnce() + Send,
    ) {
        let finished = AtomicBool::new(false);
        let Host { poll, events, waker, turns } = self;
        let waker = &*waker;
        std::thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let _wake = OnDrop(|| {
                    finished.store(true, Ordering::Release);
                    waker.wake().unwrap();
                });
                clients();
            });
            let limit = Instant::now() + DEADLINE;
            while !finished.load(Ordering::Acquire) {
                let next = drivers.iter().filter_map(|driver| driver.next_deadline()).min();
                let wait = next.map_or(limit, |at| at.min(limit));
                poll.poll(events, Some(wait.saturating_duration_since(Instant::now()))).unwrap();
                let now = Instant::now();
                assert!(now < limit, "the clients have not finished in time");
                *turns += 1;
                for event in events.iter() {
                    let takers =
                        drivers.iter_mut().filter_map(|d| d.handle_event(event, now).then_some(()));
                    match takers.count() {
                        0 if event.token() == WAKE => {}
                        0 => own(event.token(), drivers[0]),
                        takers => assert_eq!(takers, 1, "one owner for each token"),
                    }
                }
                for driver in drivers.iter_mut() {
                    driver.tick(now);
                    driver.hub().check_invariants();
                }
            }
            clients.join().unwrap();
        });
    }
}

/// Calls a function when it is dropped, so that the host learns of clients that have failed, too.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The `own` of a host that has no sources of its own.
fn nothing_of_its_own(token: Token, _: &mut Driver<Relay>) {
    panic!("nobody's token: {token:?}");
}

#[test]
fn a_host_pushes_to_users_from_a_source_of_its_own() {
    let mut host = Host::new();
    let (mut driver, addr) = host.driver(BASE, |_| {});
    let mut orders = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    host.poll.registry().register(&mut orders, UDP, Interest::READABLE).unwrap();
    let orders_addr = orders.local_addr().unwrap();
    let push = |token: Token, driver: &mut Driver<Relay>| {
        assert_eq!(token, UDP);
        let mut order = [0; 1_500];
        while let Ok(length) = orders.recv(&mut order) {
            let message = std::str::from_utf8(&order[..length]).unwrap();
            let (hub, relay) = driver.parts();
            assert_eq!(relay.push(hub, "shop", "B", message), 1);
        }
    };
    host.run(&mut [&mut driver], push, || {
        let mut b = Client::connect(addr, "/websocket/B", "");
        let shop = UdpSocket::bind("127.0.0.1:0").unwrap();
        for n in 0..10 {
            shop.send_to(n.to_string().as_bytes(), orders_addr).unwrap();
            let expected =
                format!(r#"{{"type":"message","formUserId":"shop","toUserId":"B","message":{n}}}"#);
            assert_eq!(b.text(), expected);
        }
        assert!(b.texts().is_empty());
    });
}

#[test]
fn a_host_hands_over_sockets_with_the_bytes_that_it_has_read_from_them() {
    let mut host = Host::new();
    let (mut driver, addr) = host.driver(BASE, |_| {});
    let mut door = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    host.poll.registry().register(&mut door, DOOR, Interest::READABLE).unwrap();
    let door_addr = door.local_addr().unwrap();
    let mut greeted = 0;
    let accept = |token: Token, driver: &mut Driver<Relay>| {
        assert_eq!(token, DOOR);
        while let Ok((mut stream, peer)) = door.accept() {
            // The bytes that have come already, if any, tell whether this is a client of the host.
            let mut bytes = [0; 4_096];
            let length = match stream.read(&mut bytes) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => panic!("{error}"),
            };
            if bytes.starts_with(b"HELLO") {
                greeted += 1;
                stream.write_all(b"hello yourself").unwrap();
                continue;
            }
            let now = Instant::now();
            let stream = Socket::Tcp(stream);
            let conn = driver.adopt(stream, Peer::from(peer), &bytes[..length], now).unwrap();
            assert_eq!(driver.hub().peer(conn).and_then(|peer| peer.addr()), Some(peer));
        }
    };
    host.run(&mut [&mut driver], accept, || {
        let mut own = Raw::connect(door_addr);
        own.send(b"HELLO\r\n\r\n").half_close();
        // If the greeting came after the host's read, the driver has got it, and it is no request.
        let said = own.end();
        assert!(said == b"hello yourself" || said.starts_with(b"HTTP/1.1 400 "), "{said:?}");
        // The bytes come in one segment or are cut in two, and the host may have read none of them.
        let mut bytes = handshake("/websocket/A", "");
        bytes.extend(text(r#"{"toUserId":"B","message":"adopted"}"#));
        let mut b = Client::connect(addr, "/websocket/B", "");
        for cut in [0, 1, 20, bytes.len() - 50, bytes.len() - 3, bytes.len()] {
            let mut a = Raw::connect(door_addr);
            a.send(&bytes[..cut]);
            a.send(&bytes[cut..]);
            assert_eq!(a.answer().unwrap().status, 101);
            assert!(b.text().ends_with(r#""message":"adopted"}"#), "cut at {cut}");
            a.send(&frames::close(1000));
            assert_eq!(a.frame().unwrap().close_code(), Some(1000));
        }
    });
    drop(driver);
}

#[test]
fn a_host_that_sleeps_until_the_next_deadline_misses_no_timer_and_does_not_spin() {
    let mut host = Host::new();
    let (mut driver, addr) = host.driver(BASE, |config| {
        config.ping_after = Duration::from_millis(150);
        config.idle_timeout = Duration::from_millis(450);
        config.close_timeout = Duration::from_millis(150);
    });
    host.run(&mut [&mut driver], nothing_of_its_own, || {
        let mut silent = Client::connect(addr, "/websocket/A", "");
        let start = Instant::now();
        assert_eq!(silent.raw.frame().unwrap().opcode, frames::PING);
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        let close = silent.raw.frame().unwrap();
        assert_eq!(close.close_code(), Some(1001));
        assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
        // The client does not answer, so the server ends the connection after the close timeout.
        assert!(silent.raw.end().is_empty());
    });
    assert!(host.turns < 60, "{} turns", host.turns);
}

#[test]
fn a_message_that_a_host_sends_between_turns_makes_the_next_deadline_now() {
    let mut host = Host::new();
    let (mut driver, addr) = host.driver(BASE, |_| {});
    let mut clients = Vec::new();
    let client = &mut clients;
    host.run(&mut [&mut driver], nothing_of_its_own, || {
        client.push(Client::connect(addr, "/websocket/A", ""));
    });
    let conn = driver.hub().connections_of("A")[0];
    let mut now = Instant::now();
    driver.tick(now);
    assert!(driver.next_deadline().is_some_and(|at| at > now), "the driver has nothing to do");
    let (hub, _) = driver.parts();
    assert!(hub.send(conn, "from outside"));
    assert!(driver.next_deadline().is_some_and(|at| at <= now));
    now = Instant::now();
    driver.tick(now);
    assert_eq!(clients[0].text(), "from outside");
    assert!(driver.next_deadline().is_some_and(|at| at > now));
}

#[test]
fn two_drivers_share_a_poll_and_nothing_else() {
    let mut host = Host::new();
    let (mut one, addr_one) = host.driver(BASE, |_| {});
    let (mut two, addr_two) = host.driver(one.tokens().end, |_| {});
    assert_eq!(one.tokens().end, two.tokens().start);
    host.run(&mut [&mut one, &mut two], nothing_of_its_own, || {
        let mut ones: Vec<_> =
            (0..5).map(|n| Client::connect(addr_one, &format!("/websocket/{n}"), "")).collect();
        let mut twos: Vec<_> =
            (0..5).map(|n| Client::connect(addr_two, &format!("/websocket/{n}"), "")).collect();
        ones[0].send("to the first");
        twos[0].send("to the second");
        ones[0].send(r#"{"toUserId":"4","message":1}"#);
        for (all, word) in [(&mut ones, "to the first"), (&mut twos, "to the second")] {
            all[0].texts();
            for socket in &mut all[1..] {
                let texts = socket.texts();
                assert!(texts[0].contains(word), "{texts:?}");
            }
        }
    });
    assert_eq!(one.hub().stats().opened, 5);
    assert_eq!(two.hub().stats().opened, 5);
}

#[test]
fn a_driver_that_goes_down_leaves_the_hosts_poll_alone() {
    let mut host = Host::new();
    let (mut old, addr) = host.driver(BASE, |_| {});
    let mut clients = Vec::new();
    let client = &mut clients;
    host.run(&mut [&mut old], nothing_of_its_own, || {
        client.push(Client::connect(addr, "/websocket/A", ""));
    });
    old.shutdown();
    let mut client = clients.pop().unwrap();
    host.run(&mut [&mut old], nothing_of_its_own, || {
        assert_eq!(client.close_code(), Some(1001));
    });
    assert!(old.hub().is_drained());
    assert!(
        std::net::TcpStream::connect_timeout(&addr, DEADLINE).is_err(),
        "the driver does not listen any more"
    );
    drop(old);
    // The tokens are used again.
    let (mut new, addr) = host.driver(BASE, |_| {});
    host.run(&mut [&mut new], nothing_of_its_own, || {
        assert!(Client::connect(addr, "/websocket/A", "").texts().is_empty());
    });
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let poll = Poll::new().unwrap();
    let mut config = Config::default();
    config.max_queue = config.max_message + 13;
    let relay = Relay::new(RelayConfig::default());
    let driver: Result<Driver<Relay>, _> =
        Driver::new(Vec::new(), poll.registry(), Token(0), config, relay, Instant::now());
    assert_eq!(driver.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_socket_that_a_host_hands_over_does_not_count_as_loopback() {
    let mut host = Host::new();
    let (mut driver, addr) = host.driver(BASE, |_| {});
    let mut door = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    host.poll.registry().register(&mut door, DOOR, Interest::READABLE).unwrap();
    let door_addr = door.local_addr().unwrap();
    let accept = |_, driver: &mut Driver<Relay>| {
        while let Ok((stream, peer)) = door.accept() {
            let now = Instant::now();
            let conn = driver.adopt(Socket::Tcp(stream), Peer::from(peer), b"", now).unwrap();
            assert!(!driver.hub().is_loopback(conn), "{peer} counts as loopback");
        }
    };
    host.run(&mut [&mut driver], accept, || {
        // The relay does not know this name, and refuses it on its own loopback listener.
        let named = String::from_utf8(handshake("/websocket/A", "")).unwrap();
        let named = named.replace("Host: 127.0.0.1", "Host: app.example");
        assert_eq!(Raw::connect(addr).status(named.as_bytes()), 403);
        assert_eq!(Raw::connect(door_addr).status(named.as_bytes()), 101);
    });
}
