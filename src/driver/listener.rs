//! Listening sockets: how they are bound, which socket options they set, and what an accepted
//! socket becomes.
//!
//! An option that an accepted socket inherits is set once, in [`Listener::from_tcp`]. One that it does
//! not inherit, or that does not last (such as `TCP_QUICKACK`, see tcp(7)), is set in `accept` below,
//! through which sockets with TLS and with PROXY headers come, too. `docs/embedding.md` tells hosts
//! which options they set on sockets that they hand over.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use crate::hub::Config;
use crate::wire::Peer;
use crate::wire::proxy::forwarded::TrustedProxies;

use super::proxied::Proxied;
use super::transport::{Listen, Socket, source};

/// How long written data may stay unacknowledged before the kernel ends the connection
/// (`TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections the kernel holds until they are accepted; `net.core.somaxconn` may lower
/// this number.
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
    tag: u8,
    /// The proxies that may say, in a PROXY header, for which client they connect.
    trusted: TrustedProxies,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Listens on a TCP address; port 0 takes a free port. The function sets options that accepted
    /// sockets inherit on Linux: `TCP_NODELAY`, `TCP_USER_TIMEOUT` (30 s), and the [send
    /// buffer](Config::send_buffer) of the configuration. The backlog is 4,096.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn tcp(addr: SocketAddr, config: &Config) -> io::Result<Self> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Self::from_tcp(socket.into(), config)
    }

    /// Listens on every address that `addrs` means, as [`Listener::tcp`] does. A name such as
    /// `localhost` may mean an IPv6 and an IPv4 address. If this machine lacks one kind of address,
    /// the other is enough, and a line in the log says so.
    ///
    /// ```
    /// use longlink::{Config, Listener};
    ///
    /// let listeners = Listener::bind("localhost:0", &Config::default())?;
    /// assert!(!listeners.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `addrs` means no address (`InvalidInput`), or if an address cannot be bound for another
    /// reason, for example because it is in use. Then no address is bound.
    pub fn bind(addrs: impl ToSocketAddrs, config: &Config) -> io::Result<Vec<Self>> {
        let mut all: Vec<SocketAddr> = Vec::new();
        for addr in addrs.to_socket_addrs()? {
            // The machine's hosts file may have an address twice.
            if !all.contains(&addr) {
                all.push(addr);
            }
        }
        let named = |addr: SocketAddr, error: io::Error| match all.len() {
            1 => error,
            _ => io::Error::new(error.kind(), format!("{addr}: {error}")),
        };
        let (mut listeners, mut bound, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for &addr in &all {
            match Self::tcp(addr, config) {
                Ok(listener) => {
                    listeners.push(listener);
                    bound.push(addr);
                }
                Err(error) if is_missing(&error) => missing.push((addr, error)),
                Err(error) => return Err(named(addr, error)),
            }
        }
        for (addr, error) in missing {
            if !bound.iter().any(|other| other.is_ipv4() != addr.is_ipv4()) {
                return Err(named(addr, error));
            }
            log::info!("this machine does not have {addr}, so it is not listened on: {error}");
        }
        if listeners.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on"));
        }
        Ok(listeners)
    }

    /// Takes over a TCP listener, such as one that was handed to the process, and sets the options
    /// that [`Listener::tcp`] sets.
    ///
    /// # Errors
    /// If the socket does not listen (`InvalidInput`), or an option cannot be set.
    pub fn from_tcp(listener: std::net::TcpListener, config: &Config) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        must_listen(&socket)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        if config.send_buffer > 0 {
            socket.set_send_buffer_size(config.send_buffer)?;
        }
        let loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
        let mut listener = Self::plain(Kind::Tcp(TcpListener::from_std(listener)), loopback);
        listener.trusted = config.trusted_proxies.clone();
        Ok(listener)
    }

    /// Listens on a Unix socket. A socket file on which no process listens any more is replaced.
    /// The file is removed when the listener is dropped.
    ///
    /// # Errors
    /// If the path cannot be bound, or another process listens there.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = SocketFile { path: path.to_owned(), inode: inode(path) };
        Ok(Self::plain(Kind::Unix(listener, file), false))
    }

    /// Takes over a Unix listener, such as one that was handed to the process. Its socket file is
    /// not removed.
    ///
    /// # Errors
    /// If the socket does not listen (`InvalidInput`), or cannot be made non-blocking.
    pub fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        must_listen(&SockRef::from(&listener))?;
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().unwrap_or(Path::new("?")).to_owned();
        let file = SocketFile { path, inode: None };
        Ok(Self::plain(Kind::Unix(UnixListener::from_std(listener), file), false))
    }

    fn plain(kind: Kind, loopback: bool) -> Self {
        Listener { kind, loopback, tag: 0, trusted: TrustedProxies::default() }
    }

    /// Gives the listener a number by which a handler knows its connections
    /// ([`Context::listener`](crate::Context::listener)). Default 0.
    pub fn with_tag(mut self, tag: u8) -> Self {
        self.tag = tag;
        self
    }

    /// The TCP address that the listener is bound to; `None` for a Unix socket.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }
}

/// Whether an address cannot be bound because this machine does not have it, or has no address of
/// its kind: a container may have no IPv6.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

/// Refuses a socket that does not listen: every accept on it would fail.
fn must_listen(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.is_listener()? {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen")),
    }
}

/// Whether a socket file is left over from a process that has ended. An ordinary file also refuses
/// connections, and must not be treated as a socket file.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    is_socket
        && matches!(std::os::unix::net::UnixStream::connect(path),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix socket. It is removed at the end if this process has made it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// The file's inode; `None` if another process made the file, which is then not removed.
    inode: Option<u64>,
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|it| it.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The file may have been removed by hand, and another process may have made a new one
        // there.
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl fmt::Display for Listener {
    /// Writes `127.0.0.1:8080`, or `unix:/run/longlink.sock`.
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
                let peer = Peer::from(addr);
                if self.trusted.trusts(peer) {
                    return Ok((Socket::Proxied(Proxied::new(stream)), peer));
                }
                Ok((Socket::Tcp(stream), peer))
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

    fn tag(&self) -> u8 {
        self.tag
    }
}

source!(Listener, self => match &mut self.kind {
    Kind::Tcp(listener) => listener as &mut dyn Source,
    Kind::Unix(listener, _) => listener as &mut dyn Source,
});
