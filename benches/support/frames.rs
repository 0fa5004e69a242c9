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

/// The parts of a handshake. The first one ends with the digits of the user's id.
const TARGET: &[u8] = b"GET /websocket/user-00000000000";
const FIELDS: &[u8] = b" HTTP/1.1\r\nHost: localhost\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// What the handshake of a client with a device has besides these. The device's name has as many
/// characters as the one that our own client makes up.
const DEVICE: &[u8] = b"?device=k3f9a1b2c7d1764259200000";
/// What the dialect v2 has besides these.
const V2: &[u8] = b"&v=2";
const FIELDS_V2: &[u8] = b"Sec-WebSocket-Protocol: longlink.v2\r\n";

/// Writes the handshake of the user with this number to the start of `buffer`; returns its length.
pub fn put_handshake(user: u32, buffer: &mut [u8]) -> usize {
    put_parts(&[(TARGET, user), (FIELDS, 0), (b"\r\n", 0)], 0, buffer)
}

/// Writes the same handshake with a device.
pub fn put_handshake_of_device(user: u32, buffer: &mut [u8]) -> usize {
    put_parts(&[(TARGET, user), (DEVICE, 0), (FIELDS, 0), (b"\r\n", 0)], 0, buffer)
}

/// Writes the same handshake with a device, which asks for the dialect v2.
pub fn put_handshake_v2(user: u32, buffer: &mut [u8]) -> usize {
    let parts: [(&[u8], u32); 6] =
        [(TARGET, user), (DEVICE, 0), (V2, 0), (FIELDS, 0), (FIELDS_V2, 0), (b"\r\n", 0)];
    put_parts(&parts, 0, buffer)
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

/// The parts of the messages that [`put_send`] and [`put_send_to_group`] write.
const SEND: &[u8] = br#"{"type":"send","cid":"c-00000000000"#;
const SEND_TO: &[u8] = br#"","toUserId":"user-00000000000"#;
const SEND_TO_GROUP: &[u8] = br#"","group":"room"#;
const SEND_END: &[u8] = br#"","message":"hello, how are you doing?"}"#;

/// Writes a message of the dialect v2 to the start of `buffer`, whose `cid` has this number, to the
/// user with this number; returns its length.
pub fn put_send(cid: u32, to: u32, buffer: &mut [u8]) -> usize {
    put_text(&[(SEND, cid), (SEND_TO, to), (SEND_END, 0)], buffer)
}

/// Writes a message of the dialect v2 to a group to the start of `buffer`; returns its length.
pub fn put_send_to_group(cid: u32, buffer: &mut [u8]) -> usize {
    put_text(&[(SEND, cid), (SEND_TO_GROUP, 0), (SEND_END, 0)], buffer)
}

/// Writes an acknowledgement of the dialect v2 to the start of `buffer`; returns its length.
pub fn put_ack(seq: u32, buffer: &mut [u8]) -> usize {
    // A JSON number has no zeros in front.
    let zeros = &b"0000000000"[..seq.checked_ilog10().unwrap_or(0) as usize + 1];
    put_text(&[(br#"{"type":"ack","seq":"#, 0), (zeros, seq), (b"}", 0)], buffer)
}

/// Writes a short text frame. Each part's number is added to the zeros at its end. The mask is zero,
/// so that the benchmark does little itself; the server unmasks the frame like any other.
fn put_text(parts: &[(&[u8], u32)], buffer: &mut [u8]) -> usize {
    let start = 2 + MASK.len();
    let end = put_parts(parts, start, buffer);
    let length = end - start;
    assert!(length < 126, "{length} bytes are no short frame");
    buffer[..start].copy_from_slice(&[0x80 | TEXT, 0x80 | length as u8, 0, 0, 0, 0]);
    end
}

/// Writes parts behind each other from `at` on, adds each part's number to the zeros at its end, and
/// returns the end.
fn put_parts(parts: &[(&[u8], u32)], mut at: usize, buffer: &mut [u8]) -> usize {
    for (part, number) in parts {
        buffer[at..at + part.len()].copy_from_slice(part);
        at += part.len();
        add_digits(*number, &mut buffer[..at]);
    }
    at
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

/// A short frame that `put` writes, which lives as long as the program.
pub fn leak(put: impl FnOnce(&mut [u8]) -> usize) -> &'static [u8] {
    let mut buffer = [0; 256];
    let length = put(&mut buffer);
    Box::leak(buffer[..length].into())
}

/// A client's close frame with code 1000.
pub fn close() -> &'static [u8] {
    Box::leak(frame(CLOSE, &1000u16.to_be_bytes(), Some(MASK)).into())
}
