//! One connection: its socket, how far it has come, and the bytes that are
//! neither written nor understood yet.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
#[cfg(feature = "tls")]
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};

use super::stream::Stream;

/// Receive buffer in bytes of a connection that does not read: as small as the
/// system takes, so that what waits for it waits in the server.
const DEAF_BUFFER: usize = 4 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Without a socket.
    Closed,
    /// Connecting, or waiting for the answer to its request.
    Handshake,
    Open,
    /// A close frame was sent; the server's and the end of its stream are
    /// awaited, so that the port does not stay taken on this side.
    Closing,
}

#[derive(Debug)]
pub struct Client {
    pub stream: Option<Stream>,
    pub phase: Phase,
    /// With what it shakes hands, and the session it comes back with.
    #[cfg(feature = "tls")]
    pub settings: Option<Arc<ClientConfig>>,
    /// When it began to connect.
    pub began: Instant,
    /// It reads nothing once it is open.
    pub deaf: bool,
    /// It speaks HTTP, and this is what it says first.
    pub http: Option<Box<(SocketAddr, Vec<u8>)>>,
    /// Bytes of a frame or an answer that is not complete.
    pub partial: Vec<u8>,
    /// Payload of a fragmented message that is not complete.
    pub fragments: Option<Vec<u8>>,
    /// What the stream did not take.
    output: Vec<u8>,
    /// The poll tells when it can be written.
    pub awaits_writing: bool,
    /// The code of the server's close frame.
    pub close_code: Option<u16>,
}

/// Why a connection has ended, other than by our own will.
#[derive(Debug)]
pub enum End {
    /// It was never established.
    Connect(io::Error),
    /// The server did not agree to speak WebSocket.
    Handshake(String),
    /// No answer to the handshake in time.
    Silent,
    /// A close frame with this code; 1005 stands for none.
    Closed(u16),
    /// The stream ended without a close frame.
    Eof,
    Failed(io::Error),
    /// An answer over HTTP that is no success.
    Refused(String),
    /// The server broke RFC 6455.
    Protocol(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Connect(error) => write!(f, "cannot connect: {}", explained(error)),
            End::Handshake(why) | End::Refused(why) => f.write_str(why),
            End::Silent => f.write_str("the handshake was not answered in time"),
            End::Closed(code) => write!(f, "the server closed the connection with code {code}"),
            End::Eof => f.write_str("the server ended the connection without a close frame"),
            End::Failed(error) => write!(f, "the connection failed: {error}"),
            End::Protocol(why) => write!(f, "the server broke the WebSocket protocol: {why}"),
        }
    }
}

/// What to do about an error of connecting, where the system's text does not
/// say.
fn explained(error: &io::Error) -> String {
    #[cfg(feature = "tls")]
    if super::tls::is_distrust(error) {
        return format!("{error}; --ca FILE names whom to trust, --insecure takes any certificate");
    }
    match error.kind() {
        ErrorKind::AddrNotAvailable => format!(
            "{error}: no local port is left, or --source is not an address of this machine; \
             more addresses in --source give more ports"
        ),
        _ => error.to_string(),
    }
}

impl Client {
    pub fn new(now: Instant) -> Self {
        Client {
            stream: None,
            phase: Phase::Closed,
            #[cfg(feature = "tls")]
            settings: None,
            began: now,
            deaf: false,
            http: None,
            partial: Vec::new(),
            fragments: None,
            output: Vec::new(),
            awaits_writing: false,
            close_code: None,
        }
    }

    /// Takes a stream that has begun to connect.
    pub fn begin(&mut self, stream: Stream, now: Instant) {
        self.end();
        self.stream = Some(stream);
        self.phase = Phase::Handshake;
        self.began = now;
    }

    /// Closes the socket and forgets what it left.
    pub fn end(&mut self) {
        self.stream = None;
        self.phase = Phase::Closed;
        self.partial.clear();
        self.fragments = None;
        self.output.clear();
        self.awaits_writing = false;
        self.close_code = None;
    }

    /// Writes as much as the stream takes. What it does not take is kept for
    /// [`Client::flush`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let written = if self.output.is_empty() { stream.write(bytes)? } else { 0 };
        self.output.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes what was kept.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let written = stream.write(&self.output)?;
        self.output.drain(..written);
        Ok(())
    }

    /// Whether something waits for the socket to take it.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || self.stream.as_ref().is_some_and(Stream::has_output)
    }
}

/// A socket that has begun to connect, from an address if one is given.
pub fn connect(target: SocketAddr, source: Option<IpAddr>, deaf: bool) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if deaf {
        socket.set_recv_buffer_size(DEAF_BUFFER)?;
    }
    if let Some(source) = source {
        // The port is chosen when the target is known, so one port serves
        // several targets, and ports are not searched for twice.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
