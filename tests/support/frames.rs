//! Frames as a client writes them, and as it reads a server's.

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
pub const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The sample key of RFC 6455, section 1.3, and what answers it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A masked frame whose first byte is `first`: FIN, reserved bits and opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header alone of a masked frame that claims `length` bytes.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0xFE);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xFF);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

pub fn text(payload: &str) -> Vec<u8> {
    masked(FIN | TEXT, payload.as_bytes())
}

pub fn close(code: u16) -> Vec<u8> {
    masked(FIN | CLOSE, &code.to_be_bytes())
}

/// A handshake for `path` with extra header lines, each ending in CRLF.
pub fn upgrade(path: &str, extra: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extra}\r\n"
    )
    .into_bytes()
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(&self) -> &str {
        assert_eq!(self.opcode, TEXT, "{self:?}");
        std::str::from_utf8(&self.payload).expect("text is UTF-8")
    }

    /// The code of a close frame; `None` when it has none.
    pub fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// Takes the first frame off `bytes`, if it is there whole. Panics where a
/// server may not send such a frame.
pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (frame, length) = first_of(bytes)?;
    bytes.drain(..length);
    Some(frame)
}

fn first_of(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, ..] = bytes[..] else { return None };
    assert_eq!(first & 0xF0, 0x80, "final, no reserved bits: {first:#x}");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, start) = match second {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = start + length as usize;
    if bytes.len() < end {
        return None;
    }
    let payload = bytes[start..end].to_vec();
    Some((Frame { opcode: first & 0x0F, payload }, end))
}

/// All frames of `bytes`, which must not end inside one.
pub fn all(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = first_of(bytes) {
        frames.push(frame);
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "bytes left over: {bytes:?}");
    frames
}

/// The text messages among all frames of `bytes`.
pub fn texts(bytes: &[u8]) -> Vec<String> {
    let frames = all(bytes);
    frames.iter().filter(|f| f.opcode == TEXT).map(|f| f.text().to_owned()).collect()
}
