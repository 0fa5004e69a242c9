//! What the driver reads and writes: TCP and Unix sockets, or a test's fakes.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use crate::conn::Peer;
use crate::hub::Config;

/// A non-blocking byte stream that can be registered with a poll.
///
/// `read` and `write` return `WouldBlock` instead of waiting, and `read`
/// returns 0 at the end of the stream. After a read that filled less than the
/// buffer, or a write that took less than it was given, an event follows when
/// there is more to do, as with an edge-triggered poll.
pub trait Transport: Read + Write + Source {
    /// Ends the sending side; reading goes on. Called at most once, after all
    /// has been written.
    ///
    /// # Errors
    /// When the socket has failed.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Has the close that follows throw away what was written and not yet
    /// sent. Called for a peer that takes nothing, whose queue is thrown away
    /// as well: else the system would hold what is left for it, for as long as
    /// it waits for an acknowledgement. Does nothing unless overridden.
    ///
    /// # Errors
    /// When the socket has failed.
    fn discard_unsent(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Something that accepts connections.
pub trait Listen: Source {
    /// What it accepts.
    type Stream: Transport;

    /// Accepts one connection, without blocking.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting; others as the system says.
    fn accept(&mut self) -> io::Result<(Self::Stream, Peer)>;

    /// Whether it is bound to a loopback address, so that only this machine can
    /// connect, and [`Relay`](crate::Relay) looks at `Host`. False for Unix sockets,
    /// which no web page can reach.
    fn is_loopback(&self) -> bool;
}

/// How long written data may stay unacknowledged before the kernel gives the
/// connection up (`TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections the kernel holds until they are accepted; `net.core.somaxconn`
/// may lower it.
const BACKLOG: i32 = 4_096;

/// A TCP or Unix listener.
///
/// ```
/// use longlink::{Config, Listener};
///
/// let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), &Config::default())?;
/// assert_ne!(listener.tcp_addr().unwrap().port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    loopback: bool,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Listens on a TCP address; port 0 takes a free one. Options that
    /// accepted sockets inherit on Linux are set here once: `TCP_NODELAY`,
    /// `TCP_USER_TIMEOUT` (30 s), and the [send buffer](Config::send_buffer) of
    /// the configuration. The backlog is 4,096.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn tcp(addr: SocketAddr, config: &Config) -> io::Result<Self> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Self::from_tcp(socket.into(), config)
    }

    /// Takes over a TCP listener, such as one that was handed to the process,
    /// and sets the same options.
    ///
    /// # Errors
    /// When an option cannot be set.
    pub fn from_tcp(listener: std::net::TcpListener, config: &Config) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        if config.send_buffer > 0 {
            socket.set_send_buffer_size(config.send_buffer)?;
        }
        let loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
        Ok(Listener { kind: Kind::Tcp(TcpListener::from_std(listener)), loopback })
    }

    /// Listens on a Unix socket. A socket file nobody listens on any more is
    /// replaced; the file is removed when the listener is dropped.
    ///
    /// # Errors
    /// When the path cannot be bound, or somebody listens there.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = SocketFile { path: path.to_owned(), inode: inode(path) };
        Ok(Listener { kind: Kind::Unix(listener, file), loopback: false })
    }

    /// The TCP address it is bound to; `None` for a Unix socket.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }
}

/// Whether a socket file is left over from a process that has gone. An
/// ordinary file refuses connections too, and must not be taken for one.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    is_socket
        && matches!(std::os::unix::net::UnixStream::connect(path),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix socket, removed at the end.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: Option<u64>,
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|it| it.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by hand, and a successor's be there now.
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl fmt::Display for Listener {
    /// `127.0.0.1:8080`, or `unix:/run/longlink.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp(listener) => match listener.local_addr() {
                Ok(addr) => addr.fmt(f),
                Err(_) => f.write_str("?"),
            },
            Kind::Unix(_, file) => write!(f, "unix:{}", file.path.display()),
        }
    }
}

impl Listen for Listener {
    type Stream = Socket;

    fn accept(&mut self) -> io::Result<(Socket, Peer)> {
        match &mut self.kind {
            Kind::Tcp(listener) => {
                let (stream, addr) = listener.accept()?;
                Ok((Socket::Tcp(stream), addr.into()))
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), Peer::UNKNOWN))
            }
        }
    }

    fn is_loopback(&self) -> bool {
        self.loopback
    }
}

/// A connection's socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Transport for Socket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn discard_unsent(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
            // The receiver's already.
            Socket::Unix(_) => Ok(()),
        }
    }
}

impl Socket {
    /// Reads and writes are made without the C library, whose are cancellation
    /// points: in a process with a second thread, if only one that logs, each
    /// costs two atomic operations. mio is told what came of it, as by its own.
    #[inline]
    fn try_io<T>(&self, io: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>) -> io::Result<T> {
        match self {
            Socket::Tcp(stream) => stream.try_io(|| io(stream.as_fd()).map_err(failed)),
            Socket::Unix(stream) => stream.try_io(|| io(stream.as_fd()).map_err(failed)),
        }
    }
}

/// Out of the way of what succeeds.
#[cold]
#[inline(never)]
fn failed(error: rustix::io::Errno) -> io::Error {
    error.into()
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_io(|socket| Ok(net::recv(socket, buffer, RecvFlags::empty())?.0))
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_io(|socket| net::send(socket, bytes, SendFlags::NOSIGNAL))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(|socket| {
            let mut none = SendAncillaryBuffer::default();
            net::sendmsg(socket, slices, &mut none, SendFlags::NOSIGNAL)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Registration is the same for every kind of socket.
macro_rules! source {
    ($type:ty, $self:ident => $source:expr) => {
        impl Source for $type {
            fn register(&mut $self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
                $source.register(registry, token, interests)
            }

            fn reregister(&mut $self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
                $source.reregister(registry, token, interests)
            }

            fn deregister(&mut $self, registry: &Registry) -> io::Result<()> {
                $source.deregister(registry)
            }
        }
    };
}

source!(Socket, self => match self {
    Socket::Tcp(stream) => stream as &mut dyn Source,
    Socket::Unix(stream) => stream as &mut dyn Source,
});
source!(Listener, self => match &mut self.kind {
    Kind::Tcp(listener) => listener as &mut dyn Source,
    Kind::Unix(listener, _) => listener as &mut dyn Source,
});
