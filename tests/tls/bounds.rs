//! The bytes that TLS holds for a connection are counted and have a bound, and what TLS does is work of
//! the turn.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use longlink::run::{Listen, Transport};
use longlink::sim::frames::{self, FIN, PONG};
use longlink::tls::TlsAcceptor;
use longlink::{Config, Listener};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, pki_types::ServerName};

use crate::certs::NAME;
use crate::client::{BOTH, Client, secure};
use crate::support::client::DEADLINE;

/// Sends all of a record but its last byte.
fn send_most_of_a_record(client: &mut Client, length: usize) {
    let mut record = Vec::new();
    client.tls.conn.writer().write_all(&vec![b'x'; length]).unwrap();
    client.tls.conn.write_tls(&mut record).unwrap();
    record.pop();
    client.tls.sock.write_all(&record).unwrap();
}

#[test]
fn a_part_of_a_record_is_counted_until_its_connection_has_gone() {
    const CLIENTS: usize = 20;
    const LENGTH: usize = 10_000;
    let secure = secure(|_| {});
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|n| secure.connect(BOTH[n % 2], &format!("u{n}"))).collect();
    clients.iter_mut().for_each(|client| send_most_of_a_record(client, LENGTH));
    secure.site.until("the parts are counted", |hub| {
        hub.check_invariants();
        let counted = hub.buffered_by_transports();
        counted > CLIENTS * LENGTH && counted < CLIENTS * (LENGTH + 1_000)
    });
    drop(clients);
    secure.site.until("nothing is left", |hub| hub.connections() == 0 && hub.buffered() == 0);
}

#[test]
fn past_max_buffered_the_connections_that_do_not_finish_their_tls_records_are_ended() {
    const CLIENTS: usize = 20;
    let secure = secure(|config| config.max_buffered = 128 * 1_024);
    let mut bystander = secure.connect(&TLS13, "bystander");
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|n| secure.connect(BOTH[n % 2], &format!("u{n}"))).collect();
    clients.iter_mut().for_each(|client| send_most_of_a_record(client, 16_000));
    secure.site.until("some have gone for memory", |hub| {
        hub.check_invariants();
        assert!(hub.buffered() <= hub.config().max_buffered);
        hub.stats().relieved as usize >= CLIENTS - 8
    });
    bystander.beat();
}

#[test]
fn a_peer_that_renews_keys_and_never_reads_holds_no_more_than_a_record_and_its_bound() {
    const BOUND: usize = 2 * 64 * 1_024;
    let secure = secure(|config| config.send_buffer = 8_192);
    let mut deaf = secure.connect(&TLS13, "deaf");
    let mut sender = secure.connect(&TLS13, "sender");
    let text = format!(r#"{{"toUserId":"deaf","message":"{}"}}"#, "z".repeat(50_000));
    let limit = Instant::now() + DEADLINE;
    while secure.site.ask(|hub, _| hub.buffered_by_transports()) == 0 {
        assert!(Instant::now() < limit, "ciphertext never waits for the deaf client");
        sender.say(&text);
        sender.beat();
    }
    // There is data between the key updates. A few dozen updates without data count as an attack.
    for _ in 0..2_000 {
        deaf.tls.conn.refresh_traffic_keys().unwrap();
        deaf.send(&frames::masked(FIN | PONG, b""));
    }
    let most = secure.site.ask(|hub, _| {
        hub.check_invariants();
        hub.buffered_by_transports()
    });
    assert!(most <= BOUND, "{most} bytes are held");
    sender.beat();
    drop((deaf, sender));
    secure.site.until("nothing is left", |hub| hub.connections() == 0 && hub.buffered() == 0);
}

#[test]
fn tls_handshakes_and_records_count_as_work_of_the_turn() {
    let secure = secure(|_| {});
    let acceptor: &TlsAcceptor = &secure.acceptor;
    for version in [&TLS12, &TLS13] {
        let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), &Config::default()).unwrap();
        let mut listener = listener.with_tls(acceptor);
        let mut tcp = TcpStream::connect(listener.tcp_addr().unwrap()).unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let mut client = ClientConnection::new(secure.trust(version).into(), name).unwrap();
        let limit = Instant::now() + DEADLINE;
        let mut accepted = loop {
            match listener.accept() {
                Ok((socket, _)) => break socket,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < limit, "a connection is accepted");
        };
        tcp.set_nonblocking(true).unwrap();
        client.writer().write_all(b"hello").unwrap();
        let (mut buffer, mut handshake) = (vec![0; 64 * 1_024], 0);
        let length = loop {
            assert!(Instant::now() < limit, "data arrives");
            while client.wants_write() && client.write_tls(&mut tcp).is_ok() {}
            match accepted.read(&mut buffer) {
                Ok(length) => break length,
                Err(_) => handshake = handshake.max(accepted.work()),
            }
            if client.read_tls(&mut tcp).is_ok() {
                client.process_new_packets().unwrap();
            }
        };
        assert_eq!(&buffer[..length], b"hello");
        assert!(handshake >= 64, "a flight is {handshake} of work");
        assert!(accepted.work() >= 1, "a record is work");
    }
}
