//! The bytes that clients send: handshakes, and masked frames (RFC 6455, section 5.2).

use longlink::sim::frames;
pub use longlink::sim::frames::{BINARY, CLOSE, TEXT};

pub const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0x99];

/// The length of a server's frame with a payload of this length.
pub fn server_frame_len(payload: usize) -> usize {
    let header = match payload {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    header + payload
}

/// The id of the user with this number: 16 bytes.
pub fn user(number: u32) -> String {
    format!("user-{number:011}")
}

/// The shortest handshake for a path.
pub fn upgrade(path: &str) -> Vec<u8> {
    let fields = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    format!("GET {path} HTTP/1.1\r\n{fields}").into_bytes()
}

const HANDSHAKE: &[u8] = b"GET /websocket/user-00000000000 HTTP/1.1\r\nHost: localhost\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The index just behind the digits of the user's id.
const DIGITS_END: usize = "GET /websocket/user-00000000000".len();

/// Writes the handshake of the user with this number to the start of `buffer`; returns its length.
pub fn put_handshake(user: u32, buffer: &mut [u8]) -> usize {
    buffer[..HANDSHAKE.len()].copy_from_slice(HANDSHAKE);
    add_digits(user, &mut buffer[..DIGITS_END]);
    HANDSHAKE.len()
}

/// The message that [`put_to_user`] writes.
const TO_USER: &[u8] = br#"{"message":"hello, how are you doing?","toUserId":"user-00000000000"}"#;

/// Writes a message to the user with this number to the start of `buffer`; returns its length.
pub fn put_to_user(user: u32, buffer: &mut [u8]) -> usize {
    let header = [0x80 | TEXT, 0x80 | TO_USER.len() as u8, 0, 0, 0, 0];
    let (start, end) = (header.len(), header.len() + TO_USER.len());
    buffer[..start].copy_from_slice(&header);
    buffer[start..end].copy_from_slice(TO_USER);
    add_digits(user, &mut buffer[..end - r#""}"#.len()]);
    // The payload is masked last, with the mask that is in the header.
    buffer[2..start].copy_from_slice(&MASK);
    for (byte, mask) in buffer[start..end].iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= mask;
    }
    end
}

/// Adds a number's digits to the zeros at the end of `text`.
fn add_digits(number: u32, text: &mut [u8]) {
    let mut rest = number;
    for byte in text.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *byte += (rest % 10) as u8;
        rest /= 10;
    }
}

/// One final frame of a client. Without a mask it is a frame that no client may send.
pub fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    match mask {
        Some(mask) => frames::frame(frames::FIN | opcode, payload, mask),
        None => frames::server_frame(opcode, payload),
    }
}

/// Some text messages in one slice that lives as long as the program, because a stream lends what
/// it gives.
pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> &'static [u8] {
    let frames = texts.into_iter().flat_map(|text| frame(TEXT, text.as_bytes(), Some(MASK)));
    Box::leak(frames.collect())
}

/// A client's close frame with code 1000.
pub fn close() -> &'static [u8] {
    Box::leak(frame(CLOSE, &1000u16.to_be_bytes(), Some(MASK)).into())
}
