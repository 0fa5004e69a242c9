//! The streams that the driver reads and writes: TCP and Unix sockets, streams that are layered
//! over them, and fake ones of tests.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::SockRef;

use crate::wire::Peer;

use super::proxied::{ConnectedFor, Proxied, take_header};

/// A non-blocking byte stream that can be registered with a poll.
///
/// `read` and `write` return `WouldBlock` instead of waiting, and `read` returns 0 at the end of
/// the stream. After a read that did not fill the buffer, or a write that did not take all bytes,
/// an event must follow when there is more to do, as with an edge-triggered poll.
pub trait Transport: Read + Write + Source {
    /// Ends the sending side of the stream; reading goes on. The driver calls it at most once,
    /// after everything has been written.
    ///
    /// # Errors
    /// When the socket has failed.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Makes the following close discard bytes that were written and are not sent yet. The driver
    /// calls it for a peer that takes nothing and whose queue was discarded; otherwise the system
    /// would keep these bytes for as long as it waits for an acknowledgement. By default it does
    /// nothing.
    ///
    /// # Errors
    /// If the socket has failed.
    /// When the socket has failed.
    fn discard_unsent(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether the last read has left bytes over although it did not fill the buffer, and no event
    /// will come for them.
    fn has_more(&self) -> bool {
        false
    }

    /// Returns how much work the last read was besides its bytes, in the units of
    /// [`Config::work_per_turn`]: for example, TLS records that were opened.
    ///
    /// [`Config::work_per_turn`]: crate::Config::work_per_turn
    fn work(&self) -> u32 {
        0
    }

    /// Whether the stream has something of its own to write, such as a handshake: then it is read
    /// when it becomes writable.
    fn wants_write(&self) -> bool {
        false
    }

    /// Returns how many bytes of memory the stream holds: bytes that have arrived and cannot be
    /// read yet, and bytes that were written and the system has not taken yet. `None` is for a
    /// stream that never holds any. They are a part of [`Context::buffered`], which
    /// [`Config::max_buffered`] limits.
    ///
    /// [`Context::buffered`]: crate::Context::buffered
    /// [`Config::max_buffered`]: crate::Config::max_buffered
    fn held(&self) -> Option<usize> {
        None
    }
}

/// A listener, which accepts connections.
pub trait Listen: Source {
    /// The type of the accepted connections.
    type Stream: Transport;

    /// Accepts one connection, without blocking.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; other errors come from the system.
    fn accept(&mut self) -> io::Result<(Self::Stream, Peer)>;

    /// Whether the listener is bound to a loopback address, so that only this machine can connect,
    /// and [`Relay`](crate::Relay) checks `Host`. False for Unix sockets, which no web page can
    /// reach.
    fn is_loopback(&self) -> bool;

    /// Returns the number that [`Context::listener`](crate::Context::listener) returns for its
    /// connections.
    fn tag(&self) -> u8 {
        0
    }
}

/// A connection's socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection to a Unix socket.
    Unix(UnixStream),
    /// A TCP connection from a trusted proxy, which may first send a PROXY header.
    Proxied(Proxied),
}

impl Transport for Socket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Proxied(_) => Ok(()),
        }
    }

    fn discard_unsent(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => reset_on_close(stream),
            // The bytes are already in the receiver's buffer.
            Socket::Unix(_) => Ok(()),
            // Nothing was written to the socket.
            Socket::Proxied(_) => Ok(()),
        }
    }
}

impl Socket {
    /// Reads from a socket that is not plain TCP. It is a separate function, which keeps the common
    /// case short.
    #[inline(never)]
    fn read_other(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(_) => self.read(buffer),
            Socket::Unix(stream) => stream.try_io(|| recv(stream.as_fd(), buffer)),
            Socket::Proxied(proxied) => {
                let client = take_header(proxied.tcp()?, buffer)?;
                *self = Socket::Tcp(proxied.open()?);
                match client {
                    Some(client) => Err(ConnectedFor(client).into()),
                    None => self.read(buffer),
                }
            }
        }
    }

    #[inline(never)]
    fn write_other(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(_) => self.write(bytes),
            Socket::Unix(stream) => stream.try_io(|| send(stream.as_fd(), bytes)),
            // Nothing is written before something was read.
            Socket::Proxied(_) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// Makes the coming close discard the bytes that are not sent yet.
pub(crate) fn reset_on_close(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).set_linger(Some(Duration::ZERO))
}

// Reads and writes do not go through the C library, where they are cancellation points: in a
// process with a second thread, even one that only logs, each call costs two atomic operations.
// mio is told the result of each call, as if it had made the call itself.

#[inline]
fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    net::recv(socket, buffer, RecvFlags::empty()).map(|it| it.0).map_err(failed)
}

#[inline]
fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    net::send(socket, bytes, SendFlags::NOSIGNAL).map_err(failed)
}

/// Handles the errors of a call. It is a separate function, which keeps the successful case short.
#[cold]
#[inline(never)]
fn failed(error: rustix::io::Errno) -> io::Error {
    error.into()
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_io(|| recv(stream.as_fd(), buffer)),
            _ => self.read_other(buffer),
        }
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_io(|| send(stream.as_fd(), bytes)),
            _ => self.write_other(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let send = |socket: BorrowedFd<'_>| {
            let mut none = SendAncillaryBuffer::default();
            net::sendmsg(socket, slices, &mut none, SendFlags::NOSIGNAL).map_err(failed)
        };
        match self {
            Socket::Tcp(stream) => stream.try_io(|| send(stream.as_fd())),
            Socket::Unix(stream) => stream.try_io(|| send(stream.as_fd())),
            Socket::Proxied(_) => Err(ErrorKind::NotConnected.into()),
        }
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
pub(crate) use source;

source!(Socket, self => match self {
    Socket::Tcp(stream) => stream as &mut dyn Source,
    Socket::Unix(stream) => stream as &mut dyn Source,
    Socket::Proxied(proxied) => proxied.tcp()? as &mut dyn Source,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stays_small() {
        // A socket is a stream and a tag that says which kind it is. mio's stream is larger in a
        // debug build.
        assert!(size_of::<Socket>() <= size_of::<TcpStream>() + align_of::<Socket>());
    }
}
