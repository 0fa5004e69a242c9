//! Streams and a listener without a network.
//!
//! What is to be read next, and what was written, is kept beside the streams, not in them. So a
//! stream is as large as a socket, and the bytes counted for a connection are the library's own.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use longlink::Peer;
use longlink::run::{Listen, Socket, Transport};
use mio::event::Source;
use mio::{Interest, Registry, Token};

use super::frames;

/// What the next read of any stream returns; reads after it would block.
#[derive(Clone, Copy, Debug, Default)]
pub enum Input {
    #[default]
    Nothing,
    /// The handshake of the user with this number; see [`frames::user`].
    Handshake(u32),
    /// The handshake of the user with this number, with the name of a device.
    HandshakeOfDevice(u32),
    /// The handshake of the user with this number, with the name of a device, for the dialect v2.
    HandshakeV2(u32),
    /// A message to the user with this number.
    ToUser(u32),
    /// A message of the dialect v2 to the user with this number.
    Send {
        cid: u32,
        to: u32,
    },
    /// A message of the dialect v2 to the group `room`.
    SendToGroup {
        cid: u32,
    },
    /// An acknowledgement of the dialect v2.
    Ack(u32),
    Bytes(&'static [u8]),
}

thread_local! {
    static INPUT: Cell<Input> = const { Cell::new(Input::Nothing) };
    static WAITING: Cell<u32> = const { Cell::new(0) };
    static TOKEN: Cell<usize> = const { Cell::new(0) };
    static TOTALS: Cell<Totals> = const { Cell::new(Totals { writes: 0, bytes: 0, freed: 0 }) };
}

/// What all streams together have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Streams closed.
    pub freed: u64,
}

/// Sets what the next read returns.
pub fn offer(input: Input) {
    INPUT.set(input);
}

/// Whether what the last [`offer`] set has been read.
pub fn was_read() -> bool {
    matches!(INPUT.get(), Input::Nothing)
}

/// Makes this many connections wait to be accepted.
pub fn knock(connections: u32) {
    WAITING.set(connections);
}

/// The token under which a stream was registered last.
pub fn last_token() -> Token {
    Token(TOKEN.get())
}

pub fn totals() -> Totals {
    TOTALS.get()
}

/// A stream that takes whatever is written to it.
#[derive(Debug)]
pub struct Stream {
    /// As many bytes as in a socket, which also leave room for `None` in an `Option`.
    _first: NonZeroU32,
    _rest: [u32; size_of::<Socket>() / 4 - 1],
}

const _: () = assert!(size_of::<Option<Stream>>() == size_of::<Option<Socket>>());

impl Stream {
    pub fn new() -> Self {
        Stream { _first: NonZeroU32::MIN, _rest: [0; size_of::<Socket>() / 4 - 1] }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let totals = TOTALS.get();
        TOTALS.set(Totals { freed: totals.freed + 1, ..totals });
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match INPUT.get() {
            Input::Nothing => Err(ErrorKind::WouldBlock.into()),
            Input::Bytes(bytes) => {
                INPUT.set(Input::Nothing);
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => Ok(put_input(buffer)),
        }
    }
}

/// Writes bytes that have to be made first to the start of `buffer`; returns their number. It is a
/// function of its own, so that reading bytes that are there takes few instructions.
#[inline(never)]
fn put_input(buffer: &mut [u8]) -> usize {
    match INPUT.take() {
        Input::Nothing | Input::Bytes(_) => 0,
        Input::Handshake(user) => frames::put_handshake(user, buffer),
        Input::HandshakeOfDevice(user) => frames::put_handshake_of_device(user, buffer),
        Input::HandshakeV2(user) => frames::put_handshake_v2(user, buffer),
        Input::ToUser(user) => frames::put_to_user(user, buffer),
        Input::Send { cid, to } => frames::put_send(cid, to, buffer),
        Input::SendToGroup { cid } => frames::put_send_to_group(cid, buffer),
        Input::Ack(seq) => frames::put_ack(seq, buffer),
    }
}

fn written(bytes: usize) {
    let totals = TOTALS.get();
    let (writes, bytes) = (totals.writes + 1, totals.bytes + bytes as u64);
    TOTALS.set(Totals { writes, bytes, ..totals });
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        written(bytes.len());
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        written(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Stream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, _: &Registry, token: Token, _: Interest) -> io::Result<()> {
        TOKEN.set(token.0);
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

/// A listener that accepts the connections that [`knock`] has made wait.
#[derive(Debug)]
pub struct Door;

impl Listen for Door {
    type Stream = Stream;

    fn accept(&mut self) -> io::Result<(Stream, Peer)> {
        let Some(left) = WAITING.get().checked_sub(1) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        WAITING.set(left);
        let address = SocketAddr::from(([10, 0, 0, 1], left as u16));
        Ok((Stream::new(), address.into()))
    }

    fn is_loopback(&self) -> bool {
        true
    }
}

impl Source for Door {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}
