//! What a TLS connection costs: memory while it is idle, and time for a handshake.
//!
//! ```text
//! cargo bench --bench tls
//! ```
//!
//! **Memory.** Clients connect over loopback to a server in this process, finish their handshakes,
//! and exchange a heartbeat and a message of 16 KiB. Then the clients' ends are freed, and the
//! allocator says what is left. For comparison, the benchmark measures rustls' buffered connection
//! after the same exchange.
//!
//! **Time.** What the server spends on a handshake without a network, with a key of ECDSA P-256,
//! full and resumed.
//!
//! The benchmark fails when an idle connection takes more than [`MOST`] bytes beyond an unencrypted
//! one. `cargo test` runs it with few connections.

mod support;

use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use longlink::tls::{Certificate, TlsAcceptor, TlsListener};
use longlink::{Config, Listener, Relay, RelayConfig, Server, Stopper};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    StreamOwned, SupportedProtocolVersion,
};
use support::{allocator, frames, is_bench};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// The most bytes that TLS may add to an idle connection.
const MOST: usize = 4 * 1024;
const NAME: &str = "localhost";
const PONG: &[u8] = b"\x81\x0f{\"type\":\"pong\"}";
const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("1.3", &TLS13), ("1.2", &TLS12)];

/// A certificate for `NAME` and its key, in PEM.
struct Identity {
    cert: String,
    key: String,
}

fn main() -> ExitCode {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let identity = Identity { cert: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let connections = if is_bench() { 2_000 } else { 50 };
    let handshakes = if is_bench() { 1_000 } else { 10 };
    let plain = idle(connections, None);
    println!("{plain:>8} bytes a connection, plain");
    let mut worst = 0;
    for (name, version) in VERSIONS {
        let taken = idle(connections, Some((&identity, version))).saturating_sub(plain);
        println!("{taken:>8} bytes more with TLS {name}");
        worst = worst.max(taken);
        let buffered = buffered(connections, &identity, version);
        println!("{buffered:>8} bytes, rustls' buffered connection of TLS {name} alone");
        let (full, resumed) = handshake_times(handshakes, &identity, version);
        println!("{full:>8.1} µs of the server a full handshake, {resumed:.1} µs a resumed one");
    }
    if worst > MOST {
        eprintln!("an idle connection takes {worst} bytes more, not {MOST}");
        return ExitCode::FAILURE;
    }
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
}

fn client_config(identity: &Identity, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).expect("it was made here");
    roots.add(cert).expect("a root");
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("ring speaks it")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

/// Bytes of the server for each of this many idle connections.
fn idle(connections: usize, tls: Option<(&Identity, &'static SupportedProtocolVersion)>) -> usize {
    let mut config = Config::default();
    // Nothing is sent and nothing expires during the measurement.
    config.ping_after = Duration::ZERO;
    config.idle_timeout = Duration::ZERO;
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).expect("a port");
    let listener = match tls {
        Some((Identity { cert, key }, _)) => {
            let certificate = Certificate::from_pem(cert.as_bytes(), key.as_bytes());
            listener.with_tls(&TlsAcceptor::new(certificate.expect("it was made here")))
        }
        None => TlsListener::from(listener),
    };
    let addr = listener.tcp_addr().expect("TCP");
    let relay = Relay::new(RelayConfig::default());
    let mut server = Server::new(vec![listener], config, relay).expect("a server");
    let stopper = server.stopper();
    let open = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&open);
    let thread = std::thread::spawn(move || {
        while !server.is_stopped() {
            server.turn(None).expect("a turn");
            seen.store(server.parts().0.connections(), Ordering::Release);
        }
    });
    let client_config = tls.map(|(identity, version)| Arc::new(client_config(identity, version)));
    // One connection is opened before, so that everything that is made at its first use exists.
    let first = connect(addr, client_config.as_ref(), 0);
    let before = allocator::bytes();
    let clients: Vec<TcpStream> =
        (1..=connections).map(|user| connect(addr, client_config.as_ref(), user)).collect();
    wait_for(&stopper, &open, connections + 1);
    let held = clients.capacity() * size_of::<TcpStream>();
    let bytes = allocator::bytes() - before - held;
    drop((first, clients));
    stopper.stop();
    thread.join().expect("it stops");
    bytes / connections
}

/// Waits until the server has finished a turn with this many connections.
fn wait_for(stopper: &Stopper, open: &AtomicUsize, connections: usize) {
    let until = Instant::now() + Duration::from_secs(20);
    while open.load(Ordering::Acquire) != connections {
        assert!(Instant::now() < until, "not all are connected");
        stopper.wake();
        std::thread::yield_now();
    }
}

/// Connects, exchanges a heartbeat and 16 KiB each way, and keeps only the socket.
fn connect(addr: SocketAddr, config: Option<&Arc<ClientConfig>>, user: usize) -> TcpStream {
    let tcp = TcpStream::connect(addr).expect("it accepts");
    tcp.set_nodelay(true).expect("a socket");
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    match config {
        None => {
            let mut tcp = tcp;
            exchange(&mut tcp, user);
            tcp
        }
        Some(config) => {
            let mut tls = StreamOwned::new(client(config), tcp);
            exchange(&mut tls, user);
            tls.into_parts().1
        }
    }
}

/// Asks for the demo page, upgrades to WebSocket, sends 16 KiB to a user who is offline, and sends
/// a heartbeat.
fn exchange(stream: &mut (impl Read + Write), user: usize) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it listens");
    let head = head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.expect("a length").parse().expect("a number");
    stream.read_exact(&mut vec![0; length]).expect("a page");
    let upgrade = format!(
        "GET /websocket/user-{user:011} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).expect("it listens");
    assert!(self::head(stream).starts_with("HTTP/1.1 101 "));
    for bytes in messages() {
        stream.write_all(bytes).expect("it listens");
    }
    let mut pong = [0; PONG.len()];
    stream.read_exact(&mut pong).expect("a pong");
    assert_eq!(pong, PONG);
}

/// The messages are made once, because they are never freed.
fn messages() -> &'static [&'static [u8]; 2] {
    static MESSAGES: OnceLock<[&[u8]; 2]> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let text = "x".repeat(16 * 1024);
        let long = format!(r#"{{"toUserId":"nobody","message":"{text}"}}"#);
        [frames::texts([long.as_str()]), frames::texts(["ping"])]
    })
}

fn head(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    String::from_utf8(answer).expect("text")
}

fn server_config(identity: &Identity, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).expect("it was made here");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("it was made here");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("ring speaks it")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("a pair");
    config.ticketer = ring::Ticketer::new().expect("random numbers");
    config.send_tls13_tickets = 1;
    config
}

/// Carries bytes between client and server until both are silent; returns the time that the server
/// spent.
fn converse(client: &mut ClientConnection, server: &mut ServerConnection) -> Duration {
    let mut spent = Duration::ZERO;
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("a vector takes all");
        }
        let start = Instant::now();
        let mut wire = Cursor::new(wire);
        while server.read_tls(&mut wire).expect("a vector gives all") > 0 {
            server.process_new_packets().expect("the client is honest");
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).expect("a vector takes all");
        }
        spent += start.elapsed();
        let mut answer = Cursor::new(answer);
        while client.read_tls(&mut answer).expect("a vector gives all") > 0 {
            client.process_new_packets().expect("the server is honest");
        }
    }
    spent
}

/// Bytes of rustls' buffered connection after a message of 16 KiB each way.
fn buffered(
    connections: usize,
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> usize {
    let server_config = Arc::new(server_config(identity, version));
    let client_config = Arc::new(client_config(identity, version));
    let talk = || {
        let mut client = client(&client_config);
        let mut server = ServerConnection::new(Arc::clone(&server_config)).expect("a server");
        converse(&mut client, &mut server);
        let mut message = vec![0; 16 * 1024];
        client.writer().write_all(&message).expect("room");
        converse(&mut client, &mut server);
        server.reader().read_exact(&mut message).expect("the message");
        server.writer().write_all(&message).expect("room");
        converse(&mut client, &mut server);
        server
    };
    let first = talk();
    let before = allocator::bytes();
    let servers: Vec<Box<ServerConnection>> = (0..connections).map(|_| Box::new(talk())).collect();
    let held = servers.capacity() * size_of::<Box<ServerConnection>>();
    let bytes = allocator::bytes() - before - held;
    drop(first);
    bytes / connections
}

/// Microseconds that the server spends on a full and on a resumed handshake: the least of all
/// measured.
fn handshake_times(
    handshakes: usize,
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> (f64, f64) {
    let server_config = Arc::new(server_config(identity, version));
    let least = |config: &dyn Fn() -> Arc<ClientConfig>, kind: HandshakeKind| {
        let times = (0..handshakes).map(|_| {
            let mut client = client(&config());
            let mut server = ServerConnection::new(Arc::clone(&server_config)).expect("a server");
            let spent = converse(&mut client, &mut server);
            assert_eq!(client.handshake_kind(), Some(kind));
            spent
        });
        times.min().unwrap_or_default().as_secs_f64() * 1e6
    };
    let full = least(&|| Arc::new(client_config(identity, version)), HandshakeKind::Full);
    let returning = Arc::new(client_config(identity, version));
    let mut first = client(&returning);
    let mut server = ServerConnection::new(Arc::clone(&server_config)).expect("a server");
    converse(&mut first, &mut server);
    let resumed = least(&|| Arc::clone(&returning), HandshakeKind::Resumed);
    (full, resumed)
}
