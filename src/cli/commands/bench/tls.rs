//! TLS from the client's side, over a non-blocking socket.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion, RootCertStore,
    SupportedProtocolVersion,
};

use super::args::Flags;
use super::stream::{Stream, write_some};
use crate::cli::client::tls::{Unjudged, roots};

/// The protocol inside TLS, for ALPN.
const ALPN: &[u8] = b"http/1.1";
/// More plaintext than one step of a session can return: a record (RFC 8446, section 5.1) of which
/// a part was kept, and the bytes of one read.
const STEP: usize = 32 * 1024;

/// What all connections to a server share.
#[derive(Clone, Debug)]
pub struct Connector {
    config: ClientConfig,
    name: ServerName<'static>,
    resume: bool,
}

/// What the two sides have agreed on in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub version: &'static str,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl Connector {
    /// Reads the options for TLS.
    ///
    /// # Errors
    /// One line that says which argument is wrong and why.
    pub fn read(flags: &Flags, host: &str) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("URL: no certificate can be for {host:?}"))?;
        let versions =
            flags.optional("tls", version)?.map_or(vec![&TLS13, &TLS12], |one| vec![one]);
        let trusted = flags.optional("ca", roots)?;
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .expect("ring speaks both versions");
        let builder = match flags.0.get_flag("insecure") {
            true => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unjudged(algorithms)))
            }
            false => {
                let mut known = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.to_vec());
                for root in trusted.unwrap_or_default() {
                    known.add(root).map_err(|error| format!("--ca: {error}"))?;
                }
                builder.with_root_certificates(known)
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Connector { config, name, resume: !flags.0.get_flag("no-resume") })
    }

    /// Begins a handshake. `settings` belong to one client and remember its sessions, as a phone
    /// does. Without resumption they are made anew each time.
    pub fn begin(
        &self,
        tcp: TcpStream,
        settings: &mut Option<Arc<ClientConfig>>,
    ) -> io::Result<Stream> {
        if !self.resume {
            *settings = None;
        }
        let config = settings.get_or_insert_with(|| {
            let mut config = self.config.clone();
            config.resumption = Resumption::in_memory_sessions(1);
            Arc::new(config)
        });
        let session = ClientConnection::new(Arc::clone(config), self.name.clone());
        let session = session.map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(TlsStream { tcp, session, ended: false })))
    }
}

fn version(text: &str) -> Result<&'static SupportedProtocolVersion, String> {
    match text {
        "1.2" => Ok(&TLS12),
        "1.3" => Ok(&TLS13),
        _ => Err(format!("expected 1.2 or 1.3, found {text:?}")),
    }
}

/// Whether a handshake has failed because of the server's certificate.
pub fn is_distrust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidCertificate(_)))
}

/// A TLS connection. Its handshake goes on while it is read and written.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    session: ClientConnection,
    /// Whether the socket's stream has ended.
    ended: bool,
}

impl TlsStream {
    pub fn tcp(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Returns what was agreed on. Call it when the handshake is done.
    pub fn agreed(&self) -> Agreed {
        Agreed {
            version: match self.session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                _ => "1.3",
            },
            resumed: self.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Does what [`Stream::read`] does.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut size = 0;
        let mut drained = false;
        while !self.ended && !drained && buffer.len() - size >= STEP {
            let stepped = self.step();
            // The buffer has room for everything that a step returns, so nothing is left behind.
            while let Ok(taken @ 1..) = self.session.reader().read(&mut buffer[size..]) {
                size += taken;
            }
            match stepped {
                Ok(short) => drained = short,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => drained = true,
                Err(error) if size == 0 => return Err(error),
                // Bytes that came before the end are returned first.
                Err(_) => self.ended = true,
            }
        }
        match size == 0 && !self.ended {
            true => Err(ErrorKind::WouldBlock.into()),
            false => Ok((size, self.ended || !drained)),
        }
    }

    /// Reads from the socket once and writes what TLS has to answer. Returns whether the read was
    /// short.
    fn step(&mut self) -> io::Result<bool> {
        let mut tcp = Watched { tcp: &mut self.tcp, short: false };
        if self.session.read_tls(&mut tcp)? == 0 {
            self.ended = true;
            return Ok(true);
        }
        let short = tcp.short;
        match self.session.process_new_packets() {
            Ok(state) if !state.peer_has_closed() => self.flush()?,
            told => {
                // A `close_notify` is answered with a `close_notify` (RFC 8446, section 6.1), and
                // an error with an alert. It does not matter whether the answer arrives.
                self.ended = true;
                if told.is_ok() {
                    self.session.send_close_notify();
                }
                let _ = self.flush();
                told.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            }
        }
        Ok(short)
    }

    /// Does what [`Stream::write`] does.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        self.flush()?;
        // This goes on until the socket blocks, because otherwise no event would say that there is
        // room.
        while taken < bytes.len() && !self.has_output() {
            match self.session.writer().write(&bytes[taken..])? {
                0 => break,
                size => taken += size,
            }
            self.flush()?;
        }
        Ok(taken)
    }

    pub fn has_output(&self) -> bool {
        self.session.wants_write()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if write_some(|| self.session.write_tls(&mut self.tcp))? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// A socket, and whether its last read returned less than was asked for.
struct Watched<'a> {
    tcp: &'a mut TcpStream,
    short: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.tcp.read(buffer)?;
        self.short = size < buffer.len();
        Ok(size)
    }
}
