//! One TLS connection over a non-blocking TCP stream.
//!
//! rustls' connection without buffers: ciphertext is read into a buffer that
//! all connections of a listener share, and what it holds is decrypted from
//! there. Of its own a connection has only what cannot be handled yet: the
//! beginning of a record that has not wholly arrived, and ciphertext that the
//! socket has not taken. An idle one has neither.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Ciphertext that is read at once. Not less than the driver's buffer, which
/// bounds it too.
const INPUT: usize = 64 * 1024;
/// The longest record with its header (RFC 5246, section 6.2.3).
const MAX_RECORD: usize = 5 + (1 << 14) + 2_048;
/// The most that is kept of a handshake message which has not wholly arrived.
/// A client's greeting takes less than half of it.
const MAX_HANDSHAKE: usize = 8 * 1024;
/// The most plaintext in one record (RFC 8446, section 5.1). It is also the
/// most that is encrypted before the socket has taken what was.
const MAX_PLAINTEXT: usize = 1 << 14;
/// Reads of one call that bring nothing but handshake.
const READS: usize = 4;

/// What a flight of a handshake is in the turn's work: signing and agreeing on keys take as
/// long as some hundred messages, and resuming a session as long as some ten.
const FLIGHT: u32 = 64;

/// What a client is told that speaks plain HTTP to this port.
const NOT_TLS: &str = "this port speaks TLS: https or wss";

/// The buffers that only the connection needs which is read or written now.
pub struct Scratch {
    /// Ciphertext, as it was read.
    input: Box<[u8]>,
    /// The plaintext of a record, put together from several pieces.
    record: Vec<u8>,
    /// Ciphertext to be sent.
    output: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        let input = vec![0; INPUT].into_boxed_slice();
        Scratch { input, record: Vec::new(), output: Vec::new() }
    }
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer has said that nothing more comes.
    Notified,
    /// It has broken the protocol, and was told so.
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
    unsent: Vec<u8>,
    /// How much plaintext `unsent` stands for that was not reported as written.
    unreported: usize,
    /// The socket did not take all of `unsent`.
    blocked: bool,
    /// A PROXY header may come before the handshake.
    proxied: bool,
    /// More can be read though no event will say so.
    more: bool,
    /// Records that the last read has opened, and steps of a handshake it has taken.
    work: u32,
    /// The first bytes are a handshake's.
    greeted: bool,
    /// The sending side ends with `unsent`.
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
            unsent: Vec::new(),
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

    /// Reads what is there and decrypts it to the front of `buffer`. 0 when
    /// that was nothing but handshake.
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
            // An answer is likely to follow what was read, and takes along what
            // the session has to say.
            Ok(1..) if !self.blocked && self.end.is_none() => {
                self.unsent.extend_from_slice(output);
            }
            // What was read is handed out, also when nothing can be sent any more.
            Ok(1..) => drop(self.send(output)),
            _ => self.send(output)?,
        }
        result
    }

    /// Decrypts what is there of `input`, keeps the rest, and appends what the
    /// session has to say to `output`.
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
        // What was decrypted before the end is handed out first.
        if plain > 0 { Ok(plain) } else { self.ended() }
    }

    /// The alert that tells the peer why. What has failed must not be handed to
    /// rustls once more, and is not as long as there is something to write.
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

    /// What a read gives that has decrypted nothing.
    fn ended(&self) -> io::Result<usize> {
        match self.end {
            Some(End::Failed) => Err(ErrorKind::InvalidData.into()),
            _ => Ok(0),
        }
    }

    /// Keeps ciphertext that cannot be decrypted before more of it arrives.
    fn keep(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        let most = if self.session.is_handshaking() { MAX_HANDSHAKE } else { MAX_RECORD };
        if rest.is_empty() {
            self.unread = Vec::new();
        } else if rest.len() > most {
            return Err("a handshake message is too long");
        } else {
            self.unread.clear();
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

    /// Encrypts and sends, after what is still to be sent.
    fn seal(&mut self, content: Content<'_>, output: &mut Vec<u8>) -> io::Result<()> {
        if self.end == Some(End::Failed) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        output.clear();
        loop {
            // What has arrived of a record was looked at already; no more of it
            // is there.
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

    /// Sends `bytes` after what is still to be sent, and keeps what the socket
    /// does not take.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let sent = self.offer(bytes)?;
            self.unsent.extend_from_slice(&bytes[sent..]);
        } else {
            self.unsent.extend_from_slice(bytes);
            let sent = self.offer(&self.unsent)?;
            self.unsent.drain(..sent);
        }
        self.blocked = !self.unsent.is_empty();
        if !self.blocked {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    fn offer(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            let send = || Ok(net::send(&self.tcp, bytes, SendFlags::NOSIGNAL)?);
            match self.tcp.try_io(send) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }

    /// Sends what is still to be sent, if the socket takes it.
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

/// What is encrypted.
#[derive(Clone, Copy)]
enum Content<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

impl Read for TlsStream {
    /// `Interrupted` when there was nothing but handshake and more may come at
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

    /// What was encrypted counts as written when the socket has taken it whole:
    /// until then the caller offers it again, and it is not encrypted again.
    /// Small pieces share a record.
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
}

/// Always for writing too: a handshake may block, and nobody else knows.
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
    /// Whoever goes says so, or the peer could not tell it from a cut line.
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

/// The plaintext of a record: what follows the first `skip` bytes. It is copied
/// only where it is not in one piece.
fn next_record<'a>(slices: &'a [IoSlice<'_>], skip: usize, record: &'a mut Vec<u8>) -> &'a [u8] {
    let mut skip = skip;
    let rest = slices.iter().filter_map(move |slice| {
        let from = skip.min(slice.len());
        skip -= from;
        Some(&slice[from..]).filter(|rest| !rest.is_empty())
    });
    let mut rest = rest.peekable();
    let first = rest.next().unwrap_or_default();
    if first.len() >= MAX_PLAINTEXT || rest.peek().is_none() {
        return &first[..first.len().min(MAX_PLAINTEXT)];
    }
    record.clear();
    record.extend_from_slice(first);
    for piece in rest {
        let room = MAX_PLAINTEXT - record.len();
        record.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    record
}

/// A buffer whose holder has panicked is as good as any.
fn lock(scratch: &Mutex<Scratch>) -> MutexGuard<'_, Scratch> {
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
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
