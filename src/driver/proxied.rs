//! The PROXY header, which a trusted proxy sends before a connection's first byte.
//!
//! The header is examined inside the kernel's buffer and taken out when it is whole, so no memory
//! is needed for a header that has arrived in part.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use mio::net::TcpStream;
use rustix::net::{self, RecvFlags};

use crate::wire::Peer;
use crate::wire::proxy::header::{MAX_HEADER, Opening, examine};

/// The cause of an `Interrupted` [read](super::Transport): a trusted proxy has said for which
/// client it has connected. The driver goes on reading after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectedFor(pub Peer);

impl ConnectedFor {
    pub(super) fn cause(error: &io::Error) -> Option<Peer> {
        let cause = error.get_ref()?.downcast_ref::<Self>()?;
        Some(cause.0)
    }
}

impl fmt::Display for ConnectedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connected for {}", self.0)
    }
}

impl std::error::Error for ConnectedFor {}

impl From<ConnectedFor> for io::Error {
    fn from(cause: ConnectedFor) -> Self {
        io::Error::new(ErrorKind::Interrupted, cause)
    }
}

/// An unencrypted connection from a trusted proxy, before its first byte was read.
#[derive(Debug)]
pub struct Proxied(Option<TcpStream>);

impl Proxied {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Proxied(Some(tcp))
    }

    pub(super) fn tcp(&mut self) -> io::Result<&mut TcpStream> {
        self.0.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Returns the stream when the header was taken off. It can be called only once.
    pub(crate) fn open(&mut self) -> io::Result<TcpStream> {
        self.0.take().ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

/// Takes the header off the stream, if there is one; returns the client that it names.
///
/// # Errors
/// `WouldBlock` while too few bytes have arrived to decide, `InvalidData` if the header is broken.
pub fn take_header(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<Peer>> {
    let most = buffer.len().min(MAX_HEADER);
    let length = recv(tcp, &mut buffer[..most], RecvFlags::PEEK)?;
    if length == 0 {
        return Ok(None);
    }
    match examine(&buffer[..length]) {
        Opening::Other => Ok(None),
        Opening::Unfinished => Err(ErrorKind::WouldBlock.into()),
        Opening::Broken => {
            log::debug!("a trusted proxy has sent a broken PROXY header");
            Err(ErrorKind::InvalidData.into())
        }
        Opening::Header(length, client) => {
            // All bytes of the header are there, because they were just examined.
            recv(tcp, &mut buffer[..length], RecvFlags::empty())?;
            Ok(client)
        }
    }
}

fn recv(tcp: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    tcp.try_io(|| Ok(net::recv(tcp.as_fd(), buffer, flags)?.0))
}
