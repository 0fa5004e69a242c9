//! WebSocket frames (RFC 6455, section 5.2) as a client writes and reads them.

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Appends a whole message. Its mask is zero: the server has to unmask it like any other.
pub fn put(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A frame of a server.
pub struct Frame {
    pub opcode: u8,
    /// Where the payload begins and where the frame ends.
    pub payload: usize,
    pub end: usize,
}

/// Reads the first frame; `None` if it is not whole yet.
///
/// # Errors
/// If the frame is a part of a message, or is masked.
pub fn first(bytes: &[u8]) -> Result<Option<Frame>, String> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x80 == 0 || second & 0x80 != 0 || first & 15 == 0 {
        return Err(format!("a frame begins with {first:#04x} {second:#04x}"));
    }
    let (payload, length) = match second {
        126 => match bytes.get(2..4) {
            Some(&[high, low]) => (4, usize::from(u16::from_be_bytes([high, low]))),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(length) => (10, u64::from_be_bytes(length) as usize),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    let end = payload + length;
    Ok((bytes.len() >= end).then_some(Frame { opcode: first & 15, payload, end }))
}
