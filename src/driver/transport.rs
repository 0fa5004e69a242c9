//! What the driver reads and writes: TCP and Unix sockets, what is put over
//! them, or a test's fakes.

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

    /// Whether the last read, though it did not fill the buffer, has left
    /// something over that no event will tell of.
    fn has_more(&self) -> bool {
        false
    }

    /// How much work the last read was beyond its bytes, as [`Config::work_per_turn`] counts
    /// it: such as records that were opened.
    ///
    /// [`Config::work_per_turn`]: crate::Config::work_per_turn
    fn work(&self) -> u32 {
        0
    }

    /// Whether it has something of its own to write, such as a handshake: when
    /// it can be written to, it is read.
    fn wants_write(&self) -> bool {
        false
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

    /// What [`Context::listener`](crate::Context::listener) tells of its connections.
    fn tag(&self) -> u8 {
        0
    }
}

/// A connection's socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over TCP from a trusted proxy, which may first say for whom it comes.
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
            // The receiver's already.
            Socket::Unix(_) => Ok(()),
            // Nothing was written to it.
            Socket::Proxied(_) => Ok(()),
        }
    }
}

impl Socket {
    /// A read of what is not TCP, out of the way of what is.
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
            // Nobody is answered before anything was read.
            Socket::Proxied(_) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// Has the close throw away what is not sent yet.
pub(crate) fn reset_on_close(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).set_linger(Some(Duration::ZERO))
}

// Reads and writes are made without the C library, whose are cancellation
// points: in a process with a second thread, if only one that logs, each costs
// two atomic operations. mio is told what came of it, as by its own.

#[inline]
fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    net::recv(socket, buffer, RecvFlags::empty()).map(|it| it.0).map_err(failed)
}

#[inline]
fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    net::send(socket, bytes, SendFlags::NOSIGNAL).map_err(failed)
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
        // A stream and which of them it is; mio's stream is larger while debugging.
        assert!(size_of::<Socket>() <= size_of::<TcpStream>() + align_of::<Socket>());
    }
}
