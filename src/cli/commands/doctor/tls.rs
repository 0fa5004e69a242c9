//! TLS: what is negotiated, what full and resumed handshakes cost, and whether old phones can
//! connect. The certificates are judged afterwards, so that a certificate that is refused does not
//! hide other faults.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion,
    StreamOwned, SupportedProtocolVersion, version,
};

use super::args::Options;
use super::certificate;
use super::report::{Check, Ms, Report};
use crate::cli::client::stream::{Stream, Timed};
use crate::cli::client::tls::Unjudged;
use crate::cli::client::url::Url;

/// The protocol inside TLS, for ALPN; WebSockets over HTTP/2 (RFC 8441) are not examined.
const ALPN: &[u8] = b"http/1.1";
/// How long the doctor waits for a session ticket. Servers send it at once.
const TICKET_WAIT: Duration = Duration::from_secs(1);

/// What the connections to one server share: the settings, and the sessions to resume.
#[derive(Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    fn new(name: &ServerName<'static>, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let provider = Arc::new(ring::default_provider());
        let unjudged = Unjudged(provider.signature_verification_algorithms);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring speaks both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(unjudged))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Client { config: Arc::new(config), name: name.clone() }
    }

    /// Makes a handshake, whatever the certificate is.
    pub fn connect(&self, timed: Timed) -> io::Result<Stream> {
        self.shake_hands(timed).map(|tls| Stream::Tls(Box::new(tls)))
    }

    fn shake_hands(&self, mut timed: Timed) -> io::Result<StreamOwned<ClientConnection, Timed>> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut timed)?;
        }
        Ok(StreamOwned::new(connection, timed))
    }
}

/// Examines TLS and the certificates. `None` if no connection over TLS is possible.
pub fn check(
    url: &Url,
    address: SocketAddr,
    options: &Options,
    report: &mut Report,
) -> Option<Client> {
    const STEP: &str = "tls";
    let name = match ServerName::try_from(url.host.clone()) {
        Ok(name) => name,
        Err(_) => {
            let seen = format!("no certificate can be for {:?}", url.host);
            report.add(Check::fail(STEP, seen, "a registered domain has letters, digits and -"));
            return None;
        }
    };
    let connect = |client: &Client| {
        let timed = Timed::connect(address, options.timeout)?;
        let began = Instant::now();
        client.shake_hands(timed).map(|tls| (tls, began.elapsed()))
    };
    let client = Client::new(&name, &[&version::TLS13, &version::TLS12]);
    let (mut tls, time) = match connect(&client) {
        Ok(connected) => connected,
        Err(error) => {
            let (seen, remedy) = explained(&error, options.timeout);
            report.add(Check::fail(STEP, seen, remedy));
            return None;
        }
    };
    let negotiated = tls.conn.protocol_version();
    let cipher = tls.conn.negotiated_cipher_suite();
    let alpn = match tls.conn.alpn_protocol() {
        Some(protocol) => format!("ALPN {}", String::from_utf8_lossy(protocol)),
        None => "no ALPN".to_owned(),
    };
    let seen = format!(
        "{}, {}, {alpn}, handshake in {}",
        negotiated.map_or("no version", shown),
        cipher.and_then(|it| it.suite().as_str()).unwrap_or("no cipher"),
        Ms(time),
    );
    report.add(Check::ok(STEP, seen).took(time));

    let shown = tls.conn.peer_certificates().unwrap_or_default();
    certificate::check(shown, &url.host, &options.roots, report);

    await_ticket(&mut tls);
    report.add(match connect(&client) {
        Ok((again, time)) if again.conn.handshake_kind() == Some(HandshakeKind::Resumed) => {
            Check::ok("resumption", format!("a second handshake was resumed, in {}", Ms(time)))
                .took(time)
        }
        Ok(_) => Check::warn(
            "resumption",
            "a second handshake was a full one",
            "every reconnect pays for a signature; in nginx: ssl_session_cache shared:SSL:10m; \
             ssl_session_tickets on;",
        ),
        Err(error) => {
            let (seen, remedy) = explained(&error, options.timeout);
            Check::fail("resumption", seen, remedy)
        }
    });
    if negotiated == Some(ProtocolVersion::TLSv1_3) {
        report.add(match connect(&Client::new(&name, &[&version::TLS12])) {
            Ok(_) => Check::ok("tls 1.2", "works, too: Android before 10 needs it"),
            Err(error) => Check::warn(
                "tls 1.2",
                explained(&error, options.timeout).0,
                "Android before 10 needs it; in nginx: ssl_protocols TLSv1.2 TLSv1.3;",
            ),
        });
    }
    Some(client)
}

/// Reads until there is a session to resume. In TLS 1.2 it came with the handshake.
fn await_ticket(tls: &mut StreamOwned<ClientConnection, Timed>) {
    tls.sock.set_deadline(Instant::now() + TICKET_WAIT);
    while tls.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        && tls.conn.tls13_tickets_received() == 0
    {
        let read = tls.conn.read_tls(&mut tls.sock);
        if !matches!(read, Ok(1..)) || tls.conn.process_new_packets().is_err() {
            return;
        }
    }
}

fn shown(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "TLS 1.3",
        ProtocolVersion::TLSv1_2 => "TLS 1.2",
        _ => "another version of TLS",
    }
}

/// Returns what was seen, and what to do, if a handshake has failed.
fn explained(error: &io::Error, timeout: Duration) -> (String, &'static str) {
    const VERSIONS: &str =
        "WeChat needs TLS 1.2 or later; in nginx: ssl_protocols TLSv1.2 TLSv1.3;";
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let remedy = match inner {
        Some(Error::InvalidMessage(_)) => {
            return (
                "the port answers, but not in TLS".to_owned(),
                "in nginx: listen 443 ssl; in longlink: --tls-cert and --tls-key; or is it the \
                 port of ws://?",
            );
        }
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) => VERSIONS,
        Some(Error::PeerIncompatible(_)) => VERSIONS,
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            "no cipher in common: take the server's cipher list back to its default"
        }
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "the server takes no ALPN http/1.1, which WebSockets need"
        }
        // Caddy and other servers send the second alert.
        Some(Error::AlertReceived(
            AlertDescription::UnrecognisedName | AlertDescription::InternalError,
        )) => "the server seems to have no certificate for this name: look at server_name",
        Some(Error::InvalidCertificate(_)) => "the certificate cannot be used: get a new one",
        _ if error.kind() == io::ErrorKind::TimedOut => {
            return (
                format!("the handshake is not answered in {timeout:?}"),
                "does the port speak TLS at all, or does the program that listens there hang?",
            );
        }
        _ => "the server ends the handshake: look at its log, and at its certificate's files",
    };
    (format!("the handshake failed: {error}"), remedy)
}
