//! One TLS connection over a non-blocking TCP stream.
//!
//! The stream uses rustls' connection without buffers. Ciphertext is read into a buffer that all
//! connections of a listener share, and decrypted there. A connection itself holds only what cannot
//! be handled yet: the beginning of a record that has not arrived whole, and ciphertext that the
//! socket has not taken. An idle connection holds neither.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::{self, RecvFlags, SendFlags};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use crate::driver::{ConnectedFor, Transport, reset_on_close, take_header};
use crate::wire::http::date::Date;
use crate::wire::http::response::Response;

use super::room::{Refused, append};
use super::scratch::{Scratch, lock, next_record};
use super::unsent::Unsent;

/// The longest record with its header (RFC 5246, section 6.2.3).
const MAX_RECORD: usize = 5 + (1 << 14) + 2_048;
/// The most bytes of a handshake message that are kept until all of it has arrived. A client's
/// hello takes less than half of it.
const MAX_HANDSHAKE: usize = 8 * 1024;
/// How often one call reads again while it gets only handshake messages.
const READS: usize = 4;

/// How much of a turn's work a flight of a handshake counts as: signing and a key exchange take as
/// long as about a hundred messages, and resuming a session as long as about ten.
const FLIGHT: u32 = 64;

/// The answer to a client that sends plain HTTP to this port.
const NOT_TLS: &str = "this port speaks TLS: https or wss";

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer has said that nothing more comes.
    Notified,
    /// The peer has broken the protocol, and got an alert.
    Failed,
}

/// A connection's TLS stream; see [`TlsAcceptor`](crate::tls::TlsAcceptor).
pub struct TlsStream {
    tcp: TcpStream,
    session: UnbufferedServerConnection,
    scratch: Arc<Mutex<Scratch>>,
    /// Ciphertext of a record that has not wholly arrived.
    unread: Vec<u8>,
    /// Ciphertext that is still to be sent.
    unsent: Unsent,
    /// How much plaintext the bytes in `unsent` contain that was not reported as written.
    unreported: usize,
    /// Whether the socket has not taken all of `unsent`.
    blocked: bool,
    /// Whether a PROXY header may come before the handshake.
    proxied: bool,
    /// Whether more can be read although no event will come for it.
    more: bool,
    /// How many records the last read has opened, and how many steps of a handshake it has made.
    work: u32,
    /// Whether the first bytes belonged to a handshake.
    greeted: bool,
    /// Whether the sending side ends after `unsent`.
    closing: bool,
    end: Option<End>,
}

impl TlsStream {
    pub(super) fn new(
        tcp: TcpStream,
        config: Arc<ServerConfig>,
        scratch: Arc<Mutex<Scratch>>,
        proxied: bool,
    ) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(TlsStream {
            tcp,
            session,
            scratch,
            unread: Vec::new(),
            unsent: Unsent::default(),
            unreported: 0,
            blocked: false,
            proxied,
            more: false,
            work: 0,
            greeted: false,
            closing: false,
            end: None,
        })
    }

    /// Reads the bytes that have arrived and decrypts them to the front of `buffer`. Returns 0 if
    /// there was only a part of the handshake.
    fn read_records(&mut self, scratch: &mut Scratch, buffer: &mut [u8]) -> io::Result<usize> {
        let Scratch { input, output, .. } = scratch;
        let room = input.len().min(buffer.len());
        let held = self.unread.len();
        input[..held].copy_from_slice(&self.unread);
        let free = &mut input[held..room];
        let recv = || Ok(net::recv(self.tcp.as_fd(), &mut *free, RecvFlags::empty())?.0);
        let received = self.tcp.try_io(recv)?;
        if received == 0 {
            self.end = Some(End::Notified);
            return Ok(0);
        }
        self.more = held + received == room;
        if !self.greeted {
            self.greeted = true;
            if input[0].is_ascii_alphabetic() {
                return self.refuse_plain();
            }
        }
        output.clear();
        let result = self.open(&mut input[..held + received], output, buffer);
        match result {
            // An answer is likely to follow, so what the session has to say is sent together with
            // it.
            Ok(1..) if !self.blocked && self.end.is_none() && self.unsent.keep(output) => {}
            // The bytes that were read are returned even if nothing can be sent any more.
            Ok(1..) => drop(self.send(output)),
            _ => self.send(output)?,
        }
        result
    }

    /// Decrypts the records in `input`, keeps the rest, and appends what the session has to say to
    /// `output`.
    fn open(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let (mut at, mut plain) = (0, 0);
        let failure = loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.session.process_tls_records(&mut input[at..]);
            let mut waits = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        self.work += 1;
                        let record = record.map_err(invalid)?;
                        let end = plain + record.payload.len();
                        buffer[plain..end].copy_from_slice(record.payload);
                        plain = end;
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(output, |free| data.encode(free).map_err(Refused::from))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    self.work += FLIGHT;
                    data.done();
                }
                Ok(ConnectionState::PeerClosed) => self.end = Some(End::Notified),
                Ok(_) => waits = true,
                Err(error) => break Some(error.to_string()),
            }
            at += discard;
            if waits {
                break self.keep(&input[at..]).err().map(str::to_owned);
            }
        };
        if let Some(failure) = failure {
            log::debug!("TLS with {}: {failure}", Address(&self.tcp));
            self.end = Some(End::Failed);
            self.last_words(output)?;
        }
        self.more |= self.end.is_some();
        // Plaintext that came before the end is returned first.
        if plain > 0 { Ok(plain) } else { self.ended() }
    }

    /// Appends the alert that tells the peer what was wrong. Input that has failed must not be
    /// given to rustls once more, and it is not while rustls still has something to write.
    fn last_words(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(output, |free| data.encode(free).map_err(Refused::from))?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Returns the result of a read that has decrypted nothing.
    fn ended(&self) -> io::Result<usize> {
        match self.end {
            Some(End::Failed) => Err(ErrorKind::InvalidData.into()),
            _ => Ok(0),
        }
    }

    /// Keeps ciphertext that cannot be decrypted until more of it arrives.
    fn keep(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        let most = if self.session.is_handshaking() { MAX_HANDSHAKE } else { MAX_RECORD };
        if rest.is_empty() {
            self.unread = Vec::new();
        } else if rest.len() > most {
            return Err("a handshake message is too long");
        } else {
            self.unread.clear();
            self.unread.reserve_exact(rest.len());
            self.unread.extend_from_slice(rest);
        }
        Ok(())
    }

    fn refuse_plain(&mut self) -> io::Result<usize> {
        log::debug!("TLS with {}: it speaks plain HTTP", Address(&self.tcp));
        self.end = Some(End::Failed);
        let (mut answer, date) = (Vec::new(), Date::of(SystemTime::now()));
        Response::text(400, NOT_TLS).put(false, false, date.as_ref(), &mut answer);
        self.send(&answer)?;
        Err(ErrorKind::InvalidData.into())
    }

    /// Encrypts and sends, after the bytes that still wait to be sent.
    fn seal(&mut self, content: Content<'_>, output: &mut Vec<u8>) -> io::Result<()> {
        if self.end == Some(End::Failed) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        output.clear();
        loop {
            // The part of a record that has arrived was examined before, and there are no new
            // bytes.
            let UnbufferedStatus { discard, state, .. } =
                self.session.process_tls_records(&mut self.unread);
            match state.map_err(invalid)? {
                ConnectionState::EncodeTlsData(mut data) => {
                    append(output, |free| data.encode(free).map_err(Refused::from))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                ConnectionState::WriteTraffic(mut traffic) => {
                    append(output, |free| {
                        let sealed = match content {
                            Content::Data(bytes) => traffic.encrypt(bytes, free),
                            Content::CloseNotify => traffic.queue_close_notify(free),
                        };
                        sealed.map_err(Refused::from)
                    })?;
                    break;
                }
                // Nothing is sent before the handshake is over.
                _ => return Err(ErrorKind::NotConnected.into()),
            }
            self.unread.drain(..discard);
        }
        self.send(output)
    }

    /// Sends `bytes` after the bytes that still wait, and keeps what the socket does not take. If
    /// too many bytes wait, the connection is ended: the bytes for the peer are lost, and it could
    /// not decrypt later records.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.unsent.send(bytes, |bytes| offer(&self.tcp, bytes));
        self.blocked = !self.unsent.is_empty();
        if let Err(error) = &sent
            && error.kind() == ErrorKind::QuotaExceeded
        {
            log::debug!("TLS with {}: it does not read", Address(&self.tcp));
            (self.end, self.more) = (Some(End::Failed), true);
        }
        sent
    }

    /// Sends the bytes that still wait, if the socket takes them.
    fn go_on(&mut self) -> io::Result<()> {
        if self.blocked {
            self.send(&[])?;
            if self.closing && !self.blocked {
                self.tcp.shutdown(Shutdown::Write)?;
            }
        }
        Ok(())
    }
}

/// What a record carries.
#[derive(Clone, Copy)]
enum Content<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

impl Read for TlsStream {
    /// Returns `Interrupted` if there was only a part of the handshake and more may be read at
    /// once. The buffer must have room for a record.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() < MAX_RECORD {
            return Err(ErrorKind::InvalidInput.into());
        }
        (self.more, self.work) = (false, 0);
        if self.proxied {
            let client = take_header(&self.tcp, buffer)?;
            self.proxied = false;
            if let Some(client) = client {
                return Err(ConnectedFor(client).into());
            }
        }
        self.go_on()?;
        let scratch = Arc::clone(&self.scratch);
        let mut scratch = lock(&scratch);
        for _ in 0..READS {
            if self.end.is_some() {
                return self.ended();
            }
            let plain = self.read_records(&mut scratch, buffer)?;
            if plain > 0 {
                return Ok(plain);
            }
        }
        Err(ErrorKind::Interrupted.into())
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Bytes that were encrypted count as written when the socket has taken their whole record.
    /// Until then the caller offers them again, and they are not encrypted again. Small slices
    /// share a record.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.go_on()?;
        let scratch = Arc::clone(&self.scratch);
        let mut scratch = lock(&scratch);
        let Scratch { record, output, .. } = &mut *scratch;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut written = 0;
        while !self.blocked && written < length {
            if self.unreported == 0 {
                let plain = next_record(slices, written, record);
                self.seal(Content::Data(plain), output)?;
                self.unreported = plain.len();
            }
            if !self.blocked {
                let reported = self.unreported.min(length - written);
                self.unreported -= reported;
                written += reported;
            }
        }
        if written == 0 && length > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for TlsStream {
    /// Tells the peer that nothing more comes, and ends the sending side.
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.closing = true;
        let scratch = Arc::clone(&self.scratch);
        self.seal(Content::CloseNotify, &mut lock(&scratch).output)?;
        if self.blocked {
            return Ok(());
        }
        self.tcp.shutdown(Shutdown::Write)
    }

    fn discard_unsent(&mut self) -> io::Result<()> {
        reset_on_close(&self.tcp)
    }

    fn has_more(&self) -> bool {
        self.more
    }

    fn work(&self) -> u32 {
        self.work
    }

    fn wants_write(&self) -> bool {
        self.blocked
    }

    fn held(&self) -> Option<usize> {
        Some(self.unread.capacity() + self.unsent.held())
    }
}

/// A TLS stream is always registered for writing too: its handshake may block, and only the stream
/// itself knows.
impl Source for TlsStream {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.tcp.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.tcp.reregister(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.tcp.deregister(registry)
    }
}

impl Drop for TlsStream {
    /// Sends `close_notify`. Without it the peer could not tell this end from a connection that was
    /// cut.
    fn drop(&mut self) {
        let says = !self.closing && !self.blocked && self.end != Some(End::Failed);
        if says && !self.session.is_handshaking() {
            let _ = self.seal(Content::CloseNotify, &mut Vec::new());
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

/// Sends as many of `bytes` as the socket takes; returns 0 if it takes none now.
fn offer(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    loop {
        match tcp.try_io(|| Ok(net::send(tcp, bytes, SendFlags::NOSIGNAL)?)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// The peer's address, for the log.
struct Address<'a>(&'a TcpStream);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.peer_addr() {
            Ok(addr) => addr.fmt(f),
            Err(_) => f.write_str("a peer that has gone"),
        }
    }
}
