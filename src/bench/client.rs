//! One connection: its socket, how far it has come, and the bytes that are
//! neither written nor understood yet.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

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
    pub socket: Option<TcpStream>,
    pub phase: Phase,
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
    /// What the socket did not take.
    pub output: Vec<u8>,
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
            socket: None,
            phase: Phase::Closed,
            began: now,
            deaf: false,
            http: None,
            partial: Vec::new(),
            fragments: None,
            output: Vec::new(),
            close_code: None,
        }
    }

    /// Takes a socket that has begun to connect.
    pub fn begin(&mut self, socket: TcpStream, now: Instant) {
        self.end();
        self.socket = Some(socket);
        self.phase = Phase::Handshake;
        self.began = now;
    }

    /// Closes the socket and forgets what it left.
    pub fn end(&mut self) {
        self.socket = None;
        self.phase = Phase::Closed;
        self.partial.clear();
        self.fragments = None;
        self.output.clear();
        self.close_code = None;
    }

    /// Writes as much as the socket takes. What it does not take is kept for
    /// [`Client::flush`]; `true` if that is needed and was not before.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        if !self.output.is_empty() {
            self.output.extend_from_slice(bytes);
            return Ok(false);
        }
        let written = write_some(socket, bytes)?;
        self.output.extend_from_slice(&bytes[written..]);
        Ok(written < bytes.len())
    }

    /// Writes what was kept; `true` when nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(true) };
        let written = write_some(socket, &self.output)?;
        self.output.drain(..written);
        Ok(self.output.is_empty())
    }
}

/// How much of it the socket takes now.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // While it connects, too.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            done => return done,
        }
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
