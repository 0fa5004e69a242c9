//! The client's side of the wire, written from RFC 6455 and RFC 9112 and not
//! from the server's code: it masks what it sends, and panics at anything a
//! server may not send.

use tungstenite::handshake::derive_accept_key;

pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The head of a handshake for `path`, with further fields, each with its CRLF.
pub fn handshake(path: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// A plain request.
pub fn request(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n").into_bytes()
}

/// Adds a header field to a head. Its value may have any bytes that a field may have.
pub fn add_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.truncate(head.len() - 2);
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n\r\n");
}

fn put_length(bytes: &mut Vec<u8>, bit: u8, length: usize) {
    match length {
        0..=125 => bytes.push(bit | length as u8),
        126..=65535 => {
            bytes.push(bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    put_length(&mut bytes, 0x80, payload.len());
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A whole masked message.
pub fn text(message: &str) -> Vec<u8> {
    frame(0x80 | TEXT, message.as_bytes(), [0x37, 0xFA, 0x21, 0x3D])
}

/// What a server has to send for a whole message or control frame.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    put_length(&mut bytes, 0, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a close frame; none for 1005.
pub fn close_payload(code: u16, text: &str) -> Vec<u8> {
    if code == 1005 {
        return Vec::new();
    }
    [&code.to_be_bytes(), text.as_bytes()].concat()
}

/// What a client makes of what it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// An answer: status, head, body.
    Http(u16, String, Vec<u8>),
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code (1005 for none) and text.
    Close(u16, String),
}

/// Reads what a server sends: answers, and frames once one of them was a 101.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    upgraded: bool,
    closed: bool,
    /// The method of each request sent: an answer to HEAD has no body.
    pub head_requests: std::collections::VecDeque<bool>,
}

impl Decoder {
    /// Takes in bytes and appends to `got` what is complete.
    pub fn push(&mut self, bytes: &[u8], got: &mut Vec<Got>) {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while at < self.buffer.len() {
            assert!(!self.closed, "bytes after a close frame");
            let rest = &self.buffer[at..];
            let one = if self.upgraded {
                decode_frame(rest)
            } else {
                let head_only = self.head_requests.front().copied().unwrap_or(false);
                decode_answer(rest, head_only)
            };
            let Some((used, item)) = one else { break };
            at += used;
            match &item {
                Got::Http(status, head, _) => {
                    if *status != 100 {
                        self.head_requests.pop_front();
                    }
                    if *status == 101 {
                        let accept = derive_accept_key(KEY.as_bytes());
                        assert!(head.contains(&format!("Sec-WebSocket-Accept: {accept}\r\n")));
                        self.upgraded = true;
                    }
                }
                Got::Close(..) => self.closed = true,
                _ => {}
            }
            got.push(item);
        }
        self.buffer.drain(..at);
    }

    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// Whether nothing is left half received.
    pub fn is_clean(&self) -> bool {
        self.buffer.is_empty()
    }
}

fn decode_answer(bytes: &[u8], head_only: bool) -> Option<(usize, Got)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("an answer's head is text");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect(head);
    let status: u16 = status.parse().expect(head);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |digits| digits.parse::<usize>().expect(head));
    assert!(status < 200 || head.contains("Content-Length: "), "no end: {head}");
    let length = if head_only { 0 } else { length };
    let body = bytes.get(end..end + length)?.to_vec();
    Some((end + length, Got::Http(status, head.to_owned(), body)))
}

/// One frame of a server: whole messages, never masked, lengths in their
/// shortest form.
pub fn decode_frame(bytes: &[u8]) -> Option<(usize, Got)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xF0, 0x80, "final, no reserved bits");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (start, length) = match second {
        126 => {
            let length = u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap());
            assert!(length > 125, "not the shortest form");
            (4, usize::from(length))
        }
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap());
            assert!(length > 65535, "not the shortest form");
            (10, length as usize)
        }
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    let string = |payload: &[u8]| std::str::from_utf8(payload).expect("UTF-8").to_owned();
    if first & 8 != 0 {
        assert!(length <= 125, "a control frame is short");
    }
    let item = match first & 0x0F {
        TEXT => Got::Text(string(&payload)),
        BINARY => Got::Binary(payload),
        PING => Got::Ping(payload),
        PONG => Got::Pong(payload),
        CLOSE => match payload.split_first_chunk::<2>() {
            Some((code, text)) => Got::Close(u16::from_be_bytes(*code), string(text)),
            None => {
                assert!(payload.is_empty(), "a close frame of one byte");
                Got::Close(1005, String::new())
            }
        },
        other => panic!("opcode {other} from a server"),
    };
    Some((start + length, item))
}
