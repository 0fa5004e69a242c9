//! Sockets on which the service manager listens and which it hands over, as `sd_listen_fds(3)`
//! describes: from descriptor 3 on, `LISTEN_FDS` of them, for the process `LISTEN_PID`. They stay
//! open while the server is restarted; clients that connect meanwhile wait.

use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use longlink::{Config, Listener};
use socket2::SockRef;

use crate::cli::refusal::Refusal;

/// The first descriptor that is handed over.
const FIRST: usize = 3;
/// A larger number of sockets is taken for a mistake.
const MOST: usize = 64;

/// A listening socket that the service manager has bound.
#[derive(Debug)]
pub enum Inherited {
    Tcp(SocketAddr, TcpListener),
    Unix(PathBuf, UnixListener),
}

impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inherited::Tcp(addr, _) => addr.fmt(f),
            Inherited::Unix(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Inherited {
    /// Takes the sockets that are meant for this process; none if it was started in another way.
    /// Call it before any file or socket is opened, because a descriptor that was announced but not
    /// given could otherwise be one that longlink has opened; and before there is a second thread,
    /// because it removes environment variables.
    pub fn take() -> Result<Vec<Self>, Refusal> {
        let ours = |pid: String| pid.parse() == Ok(std::process::id());
        let count = match env::var("LISTEN_FDS") {
            Ok(count) if env::var("LISTEN_PID").is_ok_and(ours) => count,
            _ => return Ok(Vec::new()),
        };
        let count = count.parse().ok().filter(|count| *count <= MOST).ok_or_else(|| {
            Refusal(format!("LISTEN_FDS: expected a number up to {MOST}, found {count:?}"))
        })?;
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(Some).chain(std::iter::repeat(None));
        let mut given = ListenFd::from_env();
        let take = |(position, name): (usize, Option<&str>)| {
            Self::take_one(&mut given, position).map_err(|error| {
                let name = name.filter(|name| !name.is_empty());
                let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
                Refusal(format!("cannot serve descriptor {}{name}: {error}", FIRST + position))
            })
        };
        (0..count).zip(names).map(take).collect()
    }

    fn take_one(given: &mut ListenFd, position: usize) -> io::Result<Self> {
        let taken = if let Ok(Some(socket)) = given.take_tcp_listener(position) {
            listens(&socket)?.then(|| Ok(Inherited::Tcp(socket.local_addr()?, socket)))
        } else if let Ok(Some(socket)) = given.take_unix_listener(position) {
            listens(&socket)?.then(|| {
                let path = socket.local_addr()?.as_pathname().unwrap_or(Path::new("?")).into();
                Ok(Inherited::Unix(path, socket))
            })
        } else {
            None
        };
        taken.unwrap_or_else(|| {
            Err(io::Error::other("it is not a listening stream socket of TCP or Unix"))
        })
    }

    /// Whether only this machine can reach the socket.
    pub fn is_local(&self) -> bool {
        match self {
            Inherited::Tcp(addr, _) => addr.ip().to_canonical().is_loopback(),
            Inherited::Unix(..) => true,
        }
    }

    /// Sets the options that a socket bound by longlink has.
    pub fn listen(self, config: &Config) -> io::Result<Listener> {
        match self {
            Inherited::Tcp(_, socket) => Listener::from_tcp(socket, config),
            Inherited::Unix(_, socket) => Listener::from_unix(socket),
        }
    }
}

/// Whether `listen(2)` was called on the socket.
fn listens(socket: &impl AsFd) -> io::Result<bool> {
    SockRef::from(socket).is_listener()
}
