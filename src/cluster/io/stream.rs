//! A blocking stream to a Redis: TCP, TLS over TCP, or a Unix socket. All reads and writes of a batch
//! end at one deadline, however many replies it has: a Redis that answers one reply a second does not
//! hold the thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::url::Host;

/// How long a connection may be silent until the kernel asks the peer for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long the kernel tries to deliver what was written.
#[cfg(any(target_os = "android", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A socket, and the time at which its reads and writes fail.
#[derive(Debug)]
pub struct Timed {
    socket: Socket,
    /// `None`: a read waits until there are bytes or the connection ends.
    until: Option<Instant>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Ends a connection from another thread, which may be waiting for bytes of it.
#[derive(Debug)]
pub struct Cutter(Socket);

impl Cutter {
    /// Shuts the socket down, so that a thread which waits for it returns. A socket that is shut down already
    /// stays as it is.
    pub fn cut(&self) {
        let _ = match &self.0 {
            Socket::Tcp(tcp) => tcp.shutdown(Shutdown::Both),
            Socket::Unix(unix) => unix.shutdown(Shutdown::Both),
        };
    }
}

impl Timed {
    /// Connects to one of the addresses of a name, before the deadline.
    pub fn connect(host: &Host, until: Instant) -> io::Result<Self> {
        let addresses = (host.name.as_str(), host.port).to_socket_addrs()?;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses.take(MAX_ADDRESSES) {
            match TcpStream::connect_timeout(&address, left(until)?) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
                    let keepalive = keepalive.with_interval(KEEPALIVE / 3).with_retries(3);
                    let socket = SockRef::from(&tcp);
                    socket.set_tcp_keepalive(&keepalive)?;
                    #[cfg(any(target_os = "android", target_os = "linux"))]
                    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                    return Ok(Timed { socket: Socket::Tcp(tcp), until: Some(until) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to a Unix socket. That does not wait, unless the backlog is full.
    pub fn connect_unix(path: &Path, until: Instant) -> io::Result<Self> {
        Ok(Timed { socket: Socket::Unix(UnixStream::connect(path)?), until: Some(until) })
    }

    /// Sets the time from which on reads and writes fail.
    pub fn set_deadline(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Returns what ends this connection from another thread.
    pub fn cutter(&self) -> io::Result<Cutter> {
        Ok(Cutter(match &self.socket {
            Socket::Tcp(tcp) => Socket::Tcp(tcp.try_clone()?),
            Socket::Unix(unix) => Socket::Unix(unix.try_clone()?),
        }))
    }

    fn wait(&self) -> io::Result<Option<Duration>> {
        self.until.map(left).transpose()
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let wait = self.wait()?;
            let read = match &mut self.socket {
                Socket::Tcp(tcp) => tcp.set_read_timeout(wait).and_then(|()| tcp.read(buffer)),
                Socket::Unix(unix) => unix.set_read_timeout(wait).and_then(|()| unix.read(buffer)),
            };
            if let Some(read) = settled(read) {
                return read;
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let wait = self.wait()?;
            let wrote = match &mut self.socket {
                Socket::Tcp(tcp) => tcp.set_write_timeout(wait).and_then(|()| tcp.write(bytes)),
                Socket::Unix(unix) => unix.set_write_timeout(wait).and_then(|()| unix.write(bytes)),
            };
            if let Some(wrote) = settled(wrote) {
                return wrote;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Converts the error of a blocking socket whose deadline has passed into `TimedOut`. Returns `None`
/// if a signal has interrupted the call.
fn settled(done: io::Result<usize>) -> Option<io::Result<usize>> {
    match done {
        Err(error) if error.kind() == ErrorKind::Interrupted => None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Some(Err(ErrorKind::TimedOut.into()))
        }
        done => Some(done),
    }
}

/// A plain or encrypted stream.
#[derive(Debug)]
pub enum Stream {
    Plain(Timed),
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Timed>>),
}

impl Stream {
    /// Returns the socket, which is below TLS if there is TLS.
    pub fn socket(&mut self) -> &mut Timed {
        match self {
            Stream::Plain(timed) => timed,
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => &mut tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.read(buffer),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.write(bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(timed) => timed.flush(),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.flush(),
        }
    }
}
