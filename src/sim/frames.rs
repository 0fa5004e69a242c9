//! The client's side of the protocol: requests and masked frames as a client sends them, and a
//! decoder that panics at anything that a server must not send.
//!
//! This module is written from RFC 6455 and RFC 9112 and shares no code with the server. A mistake
//! in the code of the server is therefore not repeated here, and a test can find it.

use std::collections::VecDeque;

/// The opcode of a text message.
pub const TEXT: u8 = 1;
/// The opcode of a binary message.
pub const BINARY: u8 = 2;
/// The opcode of a close frame.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
/// The opcode of a pong.
pub const PONG: u8 = 10;
/// The bit in a frame's first byte that says that the message ends with this frame.
pub const FIN: u8 = 0x80;

/// The mask of frames for which the caller chooses none: that of the samples in RFC 6455,
/// section 5.7.
pub const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The `Sec-WebSocket-Key` of [`handshake`]: the sample key of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The `Sec-WebSocket-Accept` with which a server must answer [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A WebSocket handshake for `path`. `more` are further header fields, each with its CRLF.
pub fn handshake(path: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// The head of a plain request. `more` are further header fields, each with its CRLF.
pub fn request(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n").into_bytes()
}

/// Adds a header field to a head. The value is written as it is; it need not be UTF-8.
pub fn add_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.truncate(head.len() - 2);
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n\r\n");
}

/// Appends the length of a payload in its shortest form. `bit` is 0x80 for a masked frame.
fn put_length(bytes: &mut Vec<u8>, bit: u8, length: u64) {
    match length {
        0..=125 => bytes.push(bit | length as u8),
        126..=0xFFFF => {
            bytes.push(bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(bit | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
}

/// A frame of a client. `first` is its first byte: [`FIN`], reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    put_length(&mut bytes, 0x80, payload.len() as u64);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A [`frame`] with the usual [`MASK`].
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, MASK)
}

/// The header of a frame with the usual [`MASK`] that announces a payload of `length` bytes,
/// without this payload.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    put_length(&mut bytes, 0x80, length);
    bytes.extend(MASK);
    bytes
}

/// A text message of a client, in one frame.
pub fn text(message: &str) -> Vec<u8> {
    masked(FIN | TEXT, message.as_bytes())
}

/// A close frame of a client, with a code and no text.
pub fn close(code: u16) -> Vec<u8> {
    masked(FIN | CLOSE, &code.to_be_bytes())
}

/// The bytes that a server has to send for a whole message or a control frame.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![FIN | opcode];
    put_length(&mut bytes, 0, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a close frame. It is empty for code 1005, which means that there is no code.
pub fn close_payload(code: u16, text: &str) -> Vec<u8> {
    if code == 1005 {
        return Vec::new();
    }
    [&code.to_be_bytes(), text.as_bytes()].concat()
}

/// A frame that a server has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What kind of frame it is, such as [`TEXT`].
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the first frame of `bytes` and how many bytes it takes, once it is complete.
    ///
    /// # Panics
    /// When a server must not send such a frame: it is a fragment, has a reserved bit, is masked,
    /// has a length that is not in its shortest form, or is a control frame that is too long.
    fn first_of(bytes: &[u8]) -> Option<(Frame, usize)> {
        let [first, second, ..] = bytes[..] else { return None };
        assert_eq!(first & 0xF0, FIN, "final, without reserved bits: {first:#x}");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (start, length) = match second {
            126 => {
                let length = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
                assert!(length > 125, "not the shortest form");
                (4, usize::from(length))
            }
            127 => {
                let length = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
                assert!(length > 0xFFFF, "not the shortest form");
                (10, length as usize)
            }
            length => (2, usize::from(length)),
        };
        assert!(first & 8 == 0 || length <= 125, "a control frame is short");
        let payload = bytes.get(start..start + length)?.to_vec();
        Some((Frame { opcode: first & 0x0F, payload }, start + length))
    }

    /// The text of a text message.
    ///
    /// # Panics
    /// When the frame is something else, or the text is not UTF-8.
    pub fn text(&self) -> &str {
        assert_eq!(self.opcode, TEXT, "{self:?}");
        std::str::from_utf8(&self.payload).expect("text is UTF-8")
    }

    /// The code of a close frame; `None` when it has none.
    ///
    /// # Panics
    /// When the frame is something else.
    pub fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// Removes the first frame of a server from `bytes`, if it is complete.
///
/// # Panics
/// When a server must not send such a frame.
pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (frame, length) = Frame::first_of(bytes)?;
    bytes.drain(..length);
    Some(frame)
}

/// Returns all frames of `bytes`, which a server has sent.
///
/// # Panics
/// When a server must not send one of the frames, and when the last frame is not complete.
pub fn all(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = Frame::first_of(bytes) {
        frames.push(frame);
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "bytes left over: {bytes:?}");
    frames
}

/// Returns the text messages among [`all`] frames of `bytes`.
///
/// # Panics
/// In the cases in which [`all`] panics.
pub fn texts(bytes: &[u8]) -> Vec<String> {
    let frames = all(bytes);
    frames.iter().filter(|f| f.opcode == TEXT).map(|f| f.text().to_owned()).collect()
}

/// Something that a client has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// An HTTP answer: its status, its head with the empty line, and its body.
    Http(u16, String, Vec<u8>),
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// A close frame with its code, which is 1005 if there was none, and its text.
    Close(u16, String),
}

impl From<Frame> for Got {
    /// # Panics
    /// When a server must not send such a frame.
    fn from(frame: Frame) -> Self {
        let string = |bytes: &[u8]| std::str::from_utf8(bytes).expect("UTF-8").to_owned();
        match frame.opcode {
            TEXT => Got::Text(string(&frame.payload)),
            BINARY => Got::Binary(frame.payload),
            PING => Got::Ping(frame.payload),
            PONG => Got::Pong(frame.payload),
            CLOSE => match frame.payload.split_first_chunk::<2>() {
                Some((code, text)) => Got::Close(u16::from_be_bytes(*code), string(text)),
                None => {
                    assert!(frame.payload.is_empty(), "a close frame of one byte");
                    Got::Close(1005, String::new())
                }
            },
            other => panic!("opcode {other} from a server"),
        }
    }
}

/// Reads what a server sends to one client: HTTP answers, and after an answer 101 frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    upgraded: bool,
    closed: bool,
    /// For each request that was sent, in order, whether its method is `HEAD`, so that its answer
    /// has no body. A request without an entry counts as one with another method.
    pub head_requests: VecDeque<bool>,
}

impl Decoder {
    /// Reads bytes, and appends each answer and frame that is complete to `got`.
    ///
    /// # Panics
    /// When a server must not send such bytes.
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
                        let accept = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
                        assert!(head.contains(&accept), "no answer to {KEY}: {head}");
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

    /// Returns whether the server has answered 101, so that frames follow.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// Returns whether no answer or frame has arrived in part.
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
        .map(|digits| digits.parse::<usize>().expect(head));
    // RFC 9110, section 8.6: these answers have no length. An answer 304 may have one, but it has
    // no body either (RFC 9112, section 6.3).
    if status < 200 || status == 204 {
        assert_eq!(length, None, "an answer without content has no length: {head}");
    } else if status != 304 {
        assert!(length.is_some(), "no end: {head}");
    }
    let has_body = !head_only && status != 304;
    let length = length.filter(|_| has_body).unwrap_or(0);
    let body = bytes.get(end..end + length)?.to_vec();
    Some((end + length, Got::Http(status, head.to_owned(), body)))
}

/// Returns the first frame of `bytes`, decoded, and how many bytes it takes, once it is complete.
///
/// # Panics
/// When a server must not send such a frame.
pub fn decode_frame(bytes: &[u8]) -> Option<(usize, Got)> {
    let (frame, length) = Frame::first_of(bytes)?;
    Some((length, frame.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_304_may_have_the_length_of_a_body_that_it_does_not_have() {
        let head = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
        let mut got = Vec::new();
        Decoder::default().push(head.as_bytes(), &mut got);
        assert_eq!(got, [Got::Http(304, head.to_owned(), Vec::new())]);
    }

    #[test]
    #[should_panic(expected = "an answer without content has no length")]
    fn an_answer_204_must_not_have_a_length() {
        let head = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        Decoder::default().push(head, &mut Vec::new());
    }
}
