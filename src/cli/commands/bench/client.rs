//! One connection: its socket, its phase, and the bytes that are not written or not parsed yet.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Instant;

use longlink::shared::Fields;
use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
#[cfg(feature = "tls")]
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};

use super::limits::{self, Limit};
use super::stream::Stream;

/// The receive buffer in bytes of a connection that does not read. It is as small as the system
/// allows, so that messages for it wait in the server.
const DEAF_BUFFER: usize = 4 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The connection has no socket.
    Closed,
    /// The connection is connecting, or waits for the answer to its request.
    Handshake,
    Open,
    /// A close frame was sent. The client waits for the server's close frame and the end of its
    /// stream, so that the port does not stay in use on this side.
    Closing,
}

#[derive(Debug)]
pub struct Client {
    pub stream: Option<Stream>,
    pub phase: Phase,
    /// The TLS configuration of this client, which contains the session to resume.
    #[cfg(feature = "tls")]
    pub settings: Option<Arc<ClientConfig>>,
    /// When the client began to connect.
    pub began: Instant,
    /// Whether the connection reads nothing once it is open.
    pub deaf: bool,
    /// The first request of a connection that speaks HTTP.
    pub http: Option<Box<(SocketAddr, Vec<u8>)>>,
    /// The bytes of a frame, or of an answer, that has not arrived whole.
    pub partial: Vec<u8>,
    /// The payload of a fragmented message that has not arrived whole.
    pub fragments: Option<Vec<u8>>,
    /// Bytes that the stream has not taken yet.
    output: Vec<u8>,
    /// Whether the socket is registered for writability.
    pub awaits_writing: bool,
    /// The code of the server's close frame, if one has arrived.
    pub close_code: Option<u16>,
}

/// Why a connection has ended that the generator did not end itself.
#[derive(Debug)]
pub enum End {
    /// The connection was never established.
    Connect(io::Error),
    /// The server did not agree to speak WebSocket.
    Handshake(Answered),
    /// The handshake was not answered in time; whether other connections were open.
    Silent {
        others: bool,
    },
    /// The server sent a close frame with this code; 1005 means that it had no code.
    Closed(u16),
    /// The stream ended without a close frame.
    Eof,
    Failed(io::Error),
    /// An HTTP answer has a status other than 200.
    Refused(Answered),
    /// The server broke RFC 6455.
    Protocol(&'static str),
}

/// An answer of HTTP that is not the one that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// What the server answered, in one line.
    pub text: String,
    pub status: Option<u16>,
    /// The value of `Retry-After`.
    pub retry: Option<String>,
}

impl From<String> for Answered {
    /// What the server answered has no status.
    fn from(text: String) -> Self {
        Answered { text, status: None, retry: None }
    }
}

impl Answered {
    /// An answer with a head that could be read.
    pub fn of(text: String, answer: &httparse::Response<'_, '_>) -> Self {
        let retry = Fields::new(&*answer.headers).once("Retry-After").ok().flatten();
        Answered { text, status: answer.code, retry: retry.and_then(limits::retry_after) }
    }
}

impl End {
    /// The limit of the server that has ended the connection, if it is known by the answer or the close code.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            End::Handshake(answer) | End::Refused(answer) => {
                limits::of_status(answer.status?, answer.retry.as_deref())
            }
            End::Closed(code) => limits::of_close(*code),
            End::Silent { others: true } => Some(limits::of_silence()),
            _ => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = self.limit() {
            return limit.fmt(f);
        }
        match self {
            End::Connect(error) => write!(f, "cannot connect: {}", explained(error)),
            End::Handshake(answer) | End::Refused(answer) => f.write_str(&answer.text),
            End::Silent { .. } => f.write_str("the handshake was not answered in time"),
            End::Closed(code) => write!(f, "the server closed the connection with code {code}"),
            End::Eof => f.write_str("the server ended the connection without a close frame"),
            End::Failed(error) => write!(f, "the connection failed: {error}"),
            End::Protocol(why) => write!(f, "the server broke the WebSocket protocol: {why}"),
        }
    }
}

/// Adds what to do about an error, where the system's text does not say it.
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

    /// Stores a stream that has begun to connect.
    pub fn begin(&mut self, stream: Stream, now: Instant) {
        self.end();
        self.stream = Some(stream);
        self.phase = Phase::Handshake;
        self.began = now;
    }

    /// Closes the socket and discards all bytes that belong to it.
    pub fn end(&mut self) {
        self.stream = None;
        self.phase = Phase::Closed;
        self.partial.clear();
        self.fragments = None;
        self.output.clear();
        self.awaits_writing = false;
        self.close_code = None;
    }

    /// Writes as many bytes as the stream takes. The rest is kept for [`Client::flush`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let written = if self.output.is_empty() { stream.write(bytes)? } else { 0 };
        self.output.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes the bytes that were kept.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let written = stream.write(&self.output)?;
        self.output.drain(..written);
        Ok(())
    }

    /// Whether bytes wait until the socket takes them.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || self.stream.as_ref().is_some_and(Stream::has_output)
    }
}

/// Returns a socket that has begun to connect, from the address `source` if it is given.
pub fn connect(target: SocketAddr, source: Option<IpAddr>, deaf: bool) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if deaf {
        socket.set_recv_buffer_size(DEAF_BUFFER)?;
    }
    if let Some(source) = source {
        // The system chooses the port when the target is known. So one port serves several targets,
        // and the system does not search for a free port twice.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_at_a_limit_of_the_server_says_so_and_another_end_does_not() {
        let refused = |status, line: &str| {
            let text = format!("the server refused the handshake: {line}");
            End::Handshake(Answered { text, status: Some(status), retry: Some("2".to_owned()) })
        };
        for (end, word) in [
            (refused(503, "HTTP/1.1 503 Service Unavailable"), "Retry-After: 2"),
            (End::Closed(4_013), "--max-per-address"),
            (End::Silent { others: true }, "--accept-rate"),
        ] {
            let said = end.to_string();
            assert!(said.contains("a limit of the server") && said.contains(word), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
        let gone = End::Silent { others: false };
        for end in [refused(404, "HTTP/1.1 404 Not Found"), End::Closed(1_001), End::Eof, gone] {
            assert_eq!(end.limit(), None);
            assert!(!end.to_string().contains("limit"), "{end}");
        }
    }
}
