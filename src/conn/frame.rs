//! Frame headers and masking (RFC 6455, sections 5.2 and 5.3), on tungstenite's
//! frame API.
//!
//! `FrameHeader::parse` checks reserved opcodes only; reserved bits, the mask's
//! presence, control length and FIN, and the top bit of a 64-bit length are
//! checked here.

use std::io::Cursor;

use tungstenite::Error;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::Violation;

/// The longest header a client can send: two bytes, a 64-bit length, a mask.
pub const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (section 5.5).
pub const MAX_CONTROL: usize = 125;

/// A client's frame header, checked as far as it can be by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub opcode: OpCode,
    pub fin: bool,
    pub mask: [u8; 4],
    pub length: u64,
    /// Bytes the header itself takes.
    pub size: usize,
}

/// The first byte of a frame that is a whole text message, and a binary one.
pub const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;
/// Bytes of a small frame's header, the last four of them its mask.
pub const SMALL_HEADER: usize = 6;

/// The payload's length if a whole data frame of the commonest kind lies at the
/// start of `input`: final, masked, no reserved bit, shorter than 126 bytes.
#[inline]
pub fn small_frame(input: &[u8]) -> Option<usize> {
    match *input {
        [FINAL_TEXT | FINAL_BINARY, second @ 0x80..=0xFD, _, _, _, _, ref rest @ ..] => {
            let length = usize::from(second & 0x7F);
            (length <= rest.len()).then_some(length)
        }
        _ => None,
    }
}

/// Parses the header at the start of `input`; `None` when it is not complete.
pub fn parse_header(input: &[u8]) -> Result<Option<Header>, Violation> {
    // What the first two bytes already say is judged before the rest arrives.
    if let [first, ..] = *input {
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        if matches!(first & 0x0F, 3..=7 | 11..=15) {
            return Err(Violation::ReservedOpcode);
        }
    }
    if let [first, second, ..] = *input {
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        if first & 0x08 != 0 && (first & 0x80 == 0 || usize::from(second & 0x7F) > MAX_CONTROL) {
            return Err(Violation::BadControl);
        }
    }
    let mut cursor = Cursor::new(input);
    let (header, length) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(Error::Protocol(_)) => return Err(Violation::ReservedOpcode),
        Err(_) => return Err(Violation::BadLength),
    };
    if length >> 63 != 0 {
        return Err(Violation::BadLength);
    }
    Ok(Some(Header {
        opcode: header.opcode,
        fin: header.is_final,
        mask: header.mask.ok_or(Violation::Unmasked)?,
        length,
        size: cursor.position() as usize,
    }))
}

/// Appends the header of an unfragmented, unmasked server frame.
pub fn put_header(opcode: OpCode, length: usize, output: &mut Vec<u8>) {
    if length < 126 {
        let code: u8 = opcode.into();
        output.extend_from_slice(&[0x80 | code, length as u8]);
        return;
    }
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing into a `Vec` cannot fail.
    let _ = header.format(length as u64, output);
}

/// Bytes of a server's frame with so long a payload.
pub fn server_frame_len(length: usize) -> usize {
    let header = match length {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    length + header
}

/// Whether the opcode is that of a control frame.
pub fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Control(_))
}

pub const TEXT: OpCode = OpCode::Data(Data::Text);
pub const BINARY: OpCode = OpCode::Data(Data::Binary);
pub const PING: OpCode = OpCode::Control(Control::Ping);
pub const PONG: OpCode = OpCode::Control(Control::Pong);
pub const CLOSE: OpCode = OpCode::Control(Control::Close);

/// Unmasks `payload` in place (section 5.3), by words.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let double = u64::from(word) << 32 | u64::from(word);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ double).to_ne_bytes());
    }
    let rest = chunks.into_remainder();
    let (four, rest) = rest.split_at_mut(rest.len() & 4);
    if let Ok(chunk) = <&mut [u8; 4]>::try_from(four) {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// The mask to go on with after `done` bytes of the payload.
pub fn rotate_mask(mask: [u8; 4], done: usize) -> [u8; 4] {
    let mut mask = mask;
    mask.rotate_left(done % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_agrees_with_tungstenite() {
        let mut taken = 0;
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let mut input = [7; 140];
                (input[0], input[1]) = (first, second);
                let Some(length) = small_frame(&input) else { continue };
                taken += 1;
                let header = parse_header(&input).unwrap().unwrap();
                assert_eq!((header.length, header.size, header.fin), (length as u64, 6, true));
                assert_eq!(header.mask, [7; 4]);
                assert!(matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary)));
                assert_eq!(small_frame(&input[..6 + length]), Some(length));
                assert_eq!(small_frame(&input[..5 + length]), None);
            }
        }
        assert_eq!(taken, 2 * 126);
    }

    #[test]
    fn violations_are_told_apart_as_soon_as_they_can_be() {
        assert_eq!(parse_header(&[0xC1]), Err(Violation::ReservedBits));
        assert_eq!(parse_header(&[0x83]), Err(Violation::ReservedOpcode));
        assert_eq!(parse_header(&[0x81, 0x05]), Err(Violation::Unmasked));
        assert_eq!(parse_header(&[0x09, 0x80]), Err(Violation::BadControl));
        assert_eq!(parse_header(&[0x89, 0xFE]), Err(Violation::BadControl));
        let top = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(parse_header(&top), Err(Violation::BadLength));
    }

    #[test]
    fn an_incomplete_header_waits() {
        let full = [0x02, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for cut in 0..full.len() {
            assert_eq!(parse_header(&full[..cut]), Ok(None), "{cut}");
        }
        let header = parse_header(&full).unwrap().unwrap();
        assert_eq!((header.length, header.size, header.fin), (65536, 14, false));
    }

    #[test]
    fn unmasking_goes_on_where_it_stopped() {
        let mask = [1, 2, 3, 4];
        let plain: Vec<u8> = (0..100).collect();
        let masked: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        for cut in 0..100 {
            let mut bytes = masked.clone();
            unmask(&mut bytes[..cut], mask);
            unmask(&mut bytes[cut..], rotate_mask(mask, cut));
            assert_eq!(bytes, plain);
        }
    }

    #[test]
    fn headers_are_written_in_the_shortest_form() {
        for (length, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let mut output = Vec::new();
            put_header(TEXT, length, &mut output);
            assert_eq!(output.len(), size);
            assert_eq!(server_frame_len(length), size + length);
            assert_eq!(output[0], 0x81);
        }
    }
}
