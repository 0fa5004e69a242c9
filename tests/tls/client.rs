//! A server with TLS, and clients that are made with rustls. Every wait ends at a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use longlink::tls::{Certificate, TlsAcceptor};
use longlink::{Config, Listener, Relay, RelayConfig};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::certs::{Authority, NAME, Server};
use crate::support::client::DEADLINE;
use crate::support::serve::{self, Site};
use longlink::sim::frames::{self, Frame, PONG, TEXT};

pub const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A server with TLS, and the authority that has signed its certificate.
pub struct Secure {
    pub site: Site<Relay>,
    pub authority: Authority,
    pub acceptor: TlsAcceptor,
}

pub fn certificate(server: &Server) -> Certificate {
    Certificate::from_pem(server.cert.as_bytes(), server.key.as_bytes()).unwrap()
}

pub fn secure(change: impl FnOnce(&mut Config)) -> Secure {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::new(certificate(&authority.chain()));
    let mut config = serve::patient();
    change(&mut config);
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).unwrap();
    let listener = listener.with_tls(&acceptor);
    assert!(listener.is_tls());
    let addr = listener.tcp_addr().unwrap();
    let site = serve::serve_on(vec![listener], addr, config, Relay::new(RelayConfig::default()));
    Secure { site, authority, acceptor }
}

impl Secure {
    /// The configuration of a client of this TLS version. It also keeps the sessions of its connections.
    pub fn trust(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority.root_der())).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub fn connect(&self, version: &'static SupportedProtocolVersion, user: &str) -> Client {
        let mut client = Client::dial(self.site.addr, self.trust(version));
        client.upgrade(user);
        client
    }
}

/// A TCP stream with deadlines; one that trickles sends byte by byte.
#[derive(Debug)]
pub struct Tcp {
    pub stream: TcpStream,
    pub trickles: bool,
}

impl Tcp {
    pub fn connect(addr: SocketAddr) -> Tcp {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Tcp { stream, trickles: false }
    }

    /// Reads until the stream ends or is reset. Returns the bytes.
    pub fn end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => bytes,
        }
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.trickles { bytes.len().min(1) } else { bytes.len() };
        self.stream.write(&bytes[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A TLS client and what has arrived for it.
pub struct Client {
    pub tls: StreamOwned<ClientConnection, Tcp>,
    arrived: Vec<u8>,
}

impl Client {
    /// Connects; the handshake comes with the first bytes.
    pub fn dial(addr: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> Client {
        Client::over(Tcp::connect(addr), config)
    }

    pub fn over(tcp: Tcp, config: impl Into<Arc<ClientConfig>>) -> Client {
        let name = ServerName::try_from(NAME).unwrap();
        let connection = ClientConnection::new(config.into(), name).unwrap();
        Client { tls: StreamOwned::new(connection, tcp), arrived: Vec::new() }
    }

    pub fn shake_hands(&mut self) -> io::Result<()> {
        self.tls.conn.complete_io(&mut self.tls.sock).map(drop)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).unwrap();
        self.tls.flush().unwrap();
    }

    pub fn say(&mut self, text: &str) {
        self.send(&frames::text(text));
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let length = self.tls.read(&mut bytes)?;
        self.arrived.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    /// Sends a handshake, which must be accepted.
    pub fn upgrade(&mut self, user: &str) {
        self.send(&frames::handshake(&format!("/websocket/{user}"), ""));
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// The next HTTP head.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.arrived.windows(4).position(|window| window == b"\r\n\r\n") {
                return String::from_utf8(self.arrived.drain(..at + 4).collect()).unwrap();
            }
            assert_ne!(self.fill().unwrap(), 0, "an answer, not the end");
        }
    }

    /// The next frame; `None` if the stream ends with `close_notify`.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::take(&mut self.arrived) {
                return Some(frame);
            }
            if self.fill().unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next text. WebSocket pings and pongs are skipped.
    pub fn text(&mut self) -> String {
        loop {
            let frame = self.frame().expect("a message, not the end");
            match frame.opcode {
                TEXT => return frame.text().to_owned(),
                frames::PING | PONG => {}
                _ => panic!("{frame:?}"),
            }
        }
    }

    /// Sends a heartbeat, whose answer must be the next text.
    pub fn beat(&mut self) {
        self.say("ping");
        assert_eq!(self.text(), r#"{"type":"pong"}"#);
    }

    /// Reads until the stream ends, and returns the bytes. It is an error if the stream ends without
    /// `close_notify`, or fails.
    pub fn end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.arrived))
    }
}
