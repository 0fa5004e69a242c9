//! A listener whose connections are encrypted, and the sockets that it accepts.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Deref;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::driver::{Listen, Listener, Socket, Transport, source};
use crate::wire::Peer;

use super::{TlsAcceptor, TlsStream};

/// A [`Listener`] that speaks TLS, made by [`Listener::with_tls`]; or an unencrypted listener in
/// the same driver, made by `into()`. It derefs to the `Listener`.
///
/// It is a type of its own, so that a server without TLS need not check for each socket whether it
/// speaks TLS.
#[derive(Debug)]
pub struct TlsListener {
    listener: Listener,
    acceptor: Option<TlsAcceptor>,
}

impl Listener {
    /// Makes a TCP listener speak TLS. A Unix listener stays unencrypted.
    pub fn with_tls(self, acceptor: &TlsAcceptor) -> TlsListener {
        let acceptor = self.tcp_addr().map(|_| acceptor.for_listener());
        TlsListener { listener: self, acceptor }
    }
}

impl TlsListener {
    /// Whether the connections that the listener accepts speak TLS.
    pub fn is_tls(&self) -> bool {
        self.acceptor.is_some()
    }
}

impl From<Listener> for TlsListener {
    fn from(listener: Listener) -> Self {
        TlsListener { listener, acceptor: None }
    }
}

impl Deref for TlsListener {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.listener
    }
}

impl fmt::Display for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.fmt(f)
    }
}

impl Listen for TlsListener {
    type Stream = TlsSocket;

    fn accept(&mut self) -> io::Result<(TlsSocket, Peer)> {
        let (socket, peer) = self.listener.accept()?;
        let socket = match (&self.acceptor, socket) {
            (Some(acceptor), Socket::Tcp(tcp)) => {
                TlsSocket::Tls(Box::new(acceptor.accept(tcp, false)?))
            }
            (Some(acceptor), Socket::Proxied(mut proxied)) => {
                TlsSocket::Tls(Box::new(acceptor.accept(proxied.open()?, true)?))
            }
            (_, socket) => TlsSocket::Plain(socket),
        };
        Ok((socket, peer))
    }

    fn is_loopback(&self) -> bool {
        self.listener.is_loopback()
    }

    fn tag(&self) -> u8 {
        self.listener.tag()
    }
}

source!(TlsListener, self => self.listener);

/// A connection's socket that a [`TlsListener`] has accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsSocket {
    /// The connection is not encrypted.
    Plain(Socket),
    /// The connection is TLS over TCP.
    Tls(Box<TlsStream>),
}

macro_rules! either {
    ($self:ident, $stream:ident => $result:expr) => {
        match $self {
            TlsSocket::Plain($stream) => $result,
            TlsSocket::Tls($stream) => $result,
        }
    };
}

impl Transport for TlsSocket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        either!(self, stream => stream.shutdown_write())
    }

    fn discard_unsent(&mut self) -> io::Result<()> {
        either!(self, stream => stream.discard_unsent())
    }

    #[inline]
    fn has_more(&self) -> bool {
        either!(self, stream => stream.has_more())
    }

    #[inline]
    fn work(&self) -> u32 {
        either!(self, stream => stream.work())
    }

    #[inline]
    fn wants_write(&self) -> bool {
        either!(self, stream => stream.wants_write())
    }

    #[inline]
    fn held(&self) -> Option<usize> {
        either!(self, stream => stream.held())
    }
}

impl Read for TlsSocket {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.read(buffer))
    }
}

impl Write for TlsSocket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => stream.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

source!(TlsSocket, self => match self {
    TlsSocket::Plain(stream) => stream as &mut dyn Source,
    TlsSocket::Tls(stream) => stream.as_mut() as &mut dyn Source,
});
