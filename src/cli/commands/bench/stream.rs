//! The stream of a connection, plain or encrypted.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

#[cfg(feature = "tls")]
use super::tls::TlsStream;

#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Stream {
    pub fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.tcp(),
        }
    }

    /// Reads the bytes that have arrived. Returns how many there were, and whether there may be
    /// more. Zero bytes mean the end of the stream.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer).map(|size| (size, size == buffer.len())),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes bytes; returns how many were taken now.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => write_some(|| tcp.write(bytes)),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    /// Whether bytes that the stream has taken wait for the socket.
    #[inline]
    pub fn has_output(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.has_output(),
        }
    }
}

/// Writes once; returns 0 while the socket takes nothing.
#[inline]
pub fn write_some(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The socket also takes nothing while it connects.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            done => return done,
        }
    }
}
