//! What all connections of a listener share: the certificate, the keys of the session tickets, and
//! buffers that only the connection that is read now needs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::net::TcpStream;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use super::certificate::Certificate;
use super::scratch::Scratch;
use super::stream::TlsStream;

/// The only protocol inside TLS. A client that offers only other protocols is refused (RFC 7301,
/// section 3.2).
const ALPN: &[u8] = b"http/1.1";
/// How many sessions are kept for TLS 1.2 clients that take no tickets. Each takes a few hundred
/// bytes.
const SESSIONS: usize = 1_024;
/// How many session tickets a client gets in a handshake. One is enough, because it opens one
/// connection at a time and gets a new ticket each time.
const TICKETS: usize = 1;

/// Makes TLS streams from TCP streams. Clones share the certificate and its replacements, the keys
/// of the tickets, and the sessions.
///
/// ```no_run
/// use longlink::tls::{Certificate, TlsAcceptor};
/// use longlink::{Config, Listener, Relay, RelayConfig, Server};
///
/// let certificate =
///     Certificate::from_pem(&std::fs::read("fullchain.pem")?, &std::fs::read("key.pem")?);
/// let acceptor = TlsAcceptor::new(certificate.map_err(std::io::Error::other)?);
/// let config = Config::default();
/// let listener = Listener::tcp(([127, 0, 0, 1], 8443).into(), &config)?.with_tls(&acceptor);
/// Server::new(vec![listener], config, Relay::new(RelayConfig::default()))?.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    scratch: Arc<Mutex<Scratch>>,
}

impl TlsAcceptor {
    /// Makes an acceptor that uses this certificate.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn new(certificate: Certificate) -> Self {
        let current = Arc::new(Current(Mutex::new(certificate.key)));
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("ring speaks both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each key makes tickets for six hours and is accepted for six more hours.
        config.ticketer = ring::Ticketer::new().expect("random numbers");
        config.send_tls13_tickets = TICKETS;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        TlsAcceptor { config: Arc::new(config), current, scratch: Arc::default() }
    }

    /// Makes new connections use another certificate; any thread may call it. Open connections and
    /// resumed sessions keep the certificate that they have.
    pub fn replace(&self, certificate: Certificate) {
        *self.current.lock() = certificate.key;
    }

    /// Makes the buffers that the connections of one listener share.
    pub(super) fn for_listener(&self) -> Self {
        TlsAcceptor { scratch: Arc::default(), ..self.clone() }
    }

    /// Makes a TLS stream whose handshake is still to come; it goes on while the stream is read. If
    /// `proxied`, a trusted proxy may send a PROXY header first.
    pub(super) fn accept(&self, tcp: TcpStream, proxied: bool) -> std::io::Result<TlsStream> {
        TlsStream::new(tcp, Arc::clone(&self.config), Arc::clone(&self.scratch), proxied)
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

/// The certificate that is used now, whatever name the client asks for.
struct Current(Mutex<Arc<CertifiedKey>>);

impl Current {
    fn lock(&self) -> MutexGuard<'_, Arc<CertifiedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.lock()))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
