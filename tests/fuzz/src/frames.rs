//! Frames of a client: given whole against given in pieces, and against a reader that is written
//! from RFC 6455 and knows one frame at a time.

use std::time::Instant;

use longlink::{
    Accept, CloseReason, Config, ConnId, Context, Handler, Message, Peer, Reject, Upgrade,
    Violation,
};

use crate::input::{Input, pieces};
use crate::stream::{Server, answers};
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "frames",
    run,
    branches: &[
        "cut",
        "text",
        "binary",
        "fragments",
        "ping",
        "closed",
        "violation",
        "not UTF-8",
        "too big",
        "unfinished",
    ],
    words: &[
        b"\x81\x84\0\0\0\0ping",
        b"\x81\x80\0\0\0\0",
        b"\x01\x81\0\0\0\0a",
        b"\x80\x81\0\0\0\0b",
        b"\x00\x80\0\0\0\0",
        b"\x89\x81\0\0\0\0p",
        b"\x8A\x80\0\0\0\0",
        b"\x88\x82\0\0\0\0\x03\xE8",
        b"\x88\x80\0\0\0\0",
        b"\x82\xFE\0\x7E\0\0\0\0",
        b"\x82\xFF\0\0\0\0\0\x01\0\0\0\0\0\0",
        b"\xE4\xBD\xA0",
        b"\x03\xF6",
    ],
};

/// The longest message here.
const MAX_MESSAGE: usize = 300;
const HANDSHAKE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cuts = input.cuts(6);
    let bytes = input.0;
    let expected = read(bytes);
    assert_eq!(serve(&[bytes]), expected, "the whole, against RFC 6455");
    let cut = pieces(bytes, &cuts);
    if cut.len() > 1 {
        reached("cut");
        assert_eq!(serve(&cut), expected, "in pieces, against RFC 6455");
    }
}

/// The messages of a connection, and how it has ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    texts: Vec<String>,
    binaries: Vec<Vec<u8>>,
    pongs: Vec<Vec<u8>>,
    /// Why the connection has ended, if it has.
    end: Option<End>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client has closed the connection with this code; the server answers with the same code.
    Closed(u16),
    Violation(Violation),
}

// --- the model ---------------------------------------------------------------------------

struct Frame<'a> {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
    rest: &'a [u8],
}

/// Returns everything that the bytes mean. A frame is read when it is complete, except for a
/// mistake that must be refused as soon as it is certain.
fn read(mut bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut message: Option<(u8, Vec<u8>)> = None;
    loop {
        match next(bytes, message.as_ref().map(|(_, held)| held.len())) {
            Ok(Some(frame)) => {
                bytes = frame.rest;
                match take(frame, &mut message, &mut seen) {
                    Ok(None) => {}
                    Ok(Some(code)) => {
                        reached("closed");
                        seen.end = Some(End::Closed(code));
                        return seen;
                    }
                    Err(violation) => return seen.failed(violation),
                }
            }
            Ok(None) => {
                // Text that cannot become UTF-8 any more is refused before the frame is complete.
                if let Some(text) = unfinished_text(bytes, message.as_ref())
                    && std::str::from_utf8(&text).is_err_and(|error| error.error_len().is_some())
                {
                    return seen.failed(Violation::InvalidUtf8);
                }
                if !bytes.is_empty() || message.is_some() {
                    reached("unfinished");
                }
                return seen;
            }
            Err(violation) => return seen.failed(violation),
        }
    }
}

impl Seen {
    fn failed(mut self, violation: Violation) -> Self {
        reached(match violation {
            Violation::InvalidUtf8 => "not UTF-8",
            Violation::TooBig => "too big",
            _ => "violation",
        });
        self.end = Some(End::Violation(violation));
        self
    }
}

/// The header of a frame: its first byte, the length of its payload, its mask, and where the header
/// ends.
struct Head {
    first: u8,
    length: u64,
    mask: [u8; 4],
    size: usize,
}

/// Reads the header of a frame (RFC 6455, sections 5.2 and 5.5). `held` is the length of the
/// message that has begun.
fn head(bytes: &[u8], held: Option<usize>) -> Result<Option<Head>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let opcode = first & 15;
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Err(Violation::ReservedOpcode);
    }
    let Some((second, rest)) = rest.split_first() else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & 0x7F;
    if opcode >= 8 && (first & 0x80 == 0 || short > 125) {
        return Err(Violation::BadControl);
    }
    let extra = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((digits, rest)) = rest.split_at_checked(extra) else { return Ok(None) };
    let length = match extra {
        0 => u64::from(short),
        _ => digits.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let Some((mask, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    if length >> 63 != 0 {
        return Err(Violation::BadLength);
    }
    if opcode < 8 && (opcode == 0) != held.is_some() {
        return Err(Violation::BadFragment);
    }
    if opcode < 8 && length.saturating_add(held.unwrap_or(0) as u64) > MAX_MESSAGE as u64 {
        return Err(Violation::TooBig);
    }
    Ok(Some(Head { first, length, mask: *mask, size: 2 + extra + 4 }))
}

fn next(bytes: &[u8], held: Option<usize>) -> Result<Option<Frame<'_>>, Violation> {
    let Some(Head { first, length, mask, size }) = head(bytes, held)? else { return Ok(None) };
    // A length that does not fit into `usize` was refused above.
    let length = length as usize;
    let Some((payload, rest)) = bytes[size..].split_at_checked(length) else { return Ok(None) };
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some(Frame { fin: first & 0x80 != 0, opcode: first & 15, payload, rest }))
}

/// Returns the part of a text that has arrived while its last frame is not complete.
fn unfinished_text(bytes: &[u8], message: Option<&(u8, Vec<u8>)>) -> Option<Vec<u8>> {
    let held = message.map(|(_, held)| held.len());
    let head = head(bytes, held).ok().flatten();
    let (opcode, mut text) = message.cloned().unwrap_or_default();
    let Some(head) = head.filter(|head| head.first & 15 < 8) else {
        return (opcode == 1).then_some(text);
    };
    let payload = bytes[head.size..].iter().zip(head.mask.iter().cycle());
    text.extend(payload.map(|(byte, mask)| byte ^ mask));
    (opcode == 1 || head.first & 15 == 1).then_some(text)
}

/// Applies one frame. Returns the code of a close frame, which ends the connection.
fn take(
    frame: Frame<'_>,
    message: &mut Option<(u8, Vec<u8>)>,
    seen: &mut Seen,
) -> Result<Option<u16>, Violation> {
    match frame.opcode {
        8 => return close_code(&frame.payload).map(Some),
        9 => {
            reached("ping");
            seen.pongs.push(frame.payload);
        }
        10 => {}
        opcode => {
            if opcode == 0 {
                reached("fragments");
            }
            let (kind, held) = message.get_or_insert((opcode, Vec::new()));
            let kind = *kind;
            held.extend(frame.payload);
            if kind == 1 {
                let utf8 = std::str::from_utf8(held);
                if utf8.is_err_and(|error| frame.fin || error.error_len().is_some()) {
                    return Err(Violation::InvalidUtf8);
                }
            }
            if let Some((kind, whole)) = message.take_if(|_| frame.fin) {
                if kind == 1 {
                    reached("text");
                    seen.texts.push(String::from_utf8(whole).expect("it was looked at above"));
                } else {
                    reached("binary");
                    seen.binaries.push(whole);
                }
            }
        }
    }
    Ok(None)
}

/// Reads the payload of a close frame, and returns its code, or 1005 if it has none. The codes that
/// a client may send are in RFC 6455, section 7.4, and in the registry of close codes.
fn close_code(payload: &[u8]) -> Result<u16, Violation> {
    let Some((code, text)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(1005) } else { Err(Violation::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::BadClose);
    }
    std::str::from_utf8(text).map(|_| code).map_err(|_| Violation::InvalidUtf8)
}

// --- the server --------------------------------------------------------------------------

impl Handler for Seen {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::user("u"))
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, _: &mut (), message: Message<'_>) {
        match message {
            Message::Text(text) => self.texts.push(text.into()),
            Message::Binary(bytes) => self.binaries.push(bytes.into()),
        }
    }

    fn on_close(&mut self, _: &mut Context, _: ConnId, _: (), reason: &CloseReason) {
        self.end = match reason {
            CloseReason::Peer { code } => Some(End::Closed(*code)),
            CloseReason::Violation(violation) => Some(End::Violation(*violation)),
            // The connection was open until the target ended it.
            _ => None,
        };
    }
}

fn serve(pieces: &[&[u8]]) -> Seen {
    let now = Instant::now();
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate) = (0, 0);
    config.max_message = MAX_MESSAGE;
    let mut server = Server::new(config, Seen::default(), now);
    let conn = server.hub.open(Peer::UNKNOWN, true, now).expect("room for one connection");
    server.receive(conn, HANDSHAKE, now);
    assert_eq!(answers(&server.take_written())[0].status, 101);
    for piece in pieces {
        server.receive(conn, piece, now);
    }
    server.leave(conn, now);
    assert_eq!(server.hub.connections(), 0, "a connection that has ended is gone");
    let mut seen = std::mem::take(server.hub.parts().1);
    let mut written = &server.take_written()[..];
    while let [first, length, rest @ ..] = written {
        let (payload, rest) = rest.split_at(usize::from(*length));
        written = rest;
        match first {
            0x8A => seen.pongs.push(payload.to_vec()),
            0x88 => {
                assert!(rest.is_empty(), "bytes after a close frame");
                if let Some(End::Closed(code)) = seen.end {
                    let echoed =
                        payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    assert_eq!(echoed, code, "a close frame is answered with its code");
                }
            }
            other => panic!("a frame that begins with {other:#x}"),
        }
    }
    seen
}
