//! What clients send: handshakes, and masked frames (RFC 6455, section 5.2).

pub const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0x99];
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;

/// Bytes of a server's frame with so long a payload.
pub fn server_frame_len(payload: usize) -> usize {
    payload + if payload < 126 { 2 } else { 4 }
}

/// The id of the user with this number: 16 bytes.
pub fn user(number: u32) -> String {
    format!("user-{number:011}")
}

const HANDSHAKE: &[u8] = b"GET /websocket/user-00000000000 HTTP/1.1\r\nHost: localhost\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Just behind the digits of the user's id.
const DIGITS_END: usize = "GET /websocket/user-00000000000".len();

/// Writes that user's handshake to the start of `buffer`; returns its length.
pub fn put_handshake(user: u32, buffer: &mut [u8]) -> usize {
    buffer[..HANDSHAKE.len()].copy_from_slice(HANDSHAKE);
    let (mut rest, mut at) = (user, DIGITS_END);
    while rest > 0 {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    HANDSHAKE.len()
}

/// One final frame of a client, masked or, as no client may, not.
pub fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => frame.push(masked | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Some text messages in one piece, for as long as the program runs: a stream
/// lends what it gives.
pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> &'static [u8] {
    let frames = texts.into_iter().flat_map(|text| frame(TEXT, text.as_bytes(), Some(MASK)));
    Box::leak(frames.collect())
}

/// A client's close frame with code 1000.
pub fn close() -> &'static [u8] {
    Box::leak(frame(CLOSE, &1000u16.to_be_bytes(), Some(MASK)).into())
}
