//! Frame headers and masking (RFC 6455, sections 5.2 and 5.3), on tungstenite's
//! frame API.
//!
//! `FrameHeader::parse` checks reserved opcodes only; reserved bits, the mask's
//! presence, control length and FIN, and the top bit of a 64-bit length are
//! checked here.

use std::io::Cursor;

use tungstenite::Error;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

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

/// The first byte of an unfragmented frame: FIN, no reserved bit, the opcode.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;

/// A whole data frame, unmasked.
#[derive(Debug)]
pub struct Whole<'a> {
    pub is_text: bool,
    pub payload: &'a [u8],
    /// Bytes of the frame, its header included.
    pub size: usize,
}

/// Takes a data frame of the commonest kind from the start of `input` and unmasks it there: a
/// whole, unfragmented frame of less than 64 KiB. For any other frame it returns `None`, and
/// [`parse_header`] is used. It is inlined into each of its few callers, since a call costs each
/// message twenty instructions.
#[inline(always)]
pub fn take_whole(input: &mut [u8], max_message: usize) -> Option<Whole<'_>> {
    let (&[first, second], after) = input.split_first_chunk()?;
    if !matches!(first, TEXT | BINARY) {
        return None;
    }
    let (header, length) = match second {
        0x80..=0xFD => (6, usize::from(second & 0x7F)),
        0xFE => (8, usize::from(u16::from_be_bytes(*after.first_chunk()?))),
        _ => return None,
    };
    if length > max_message {
        return None;
    }
    let payload = input.get_mut(header - 4..header + length)?;
    let (mask, payload) = payload.split_first_chunk_mut()?;
    unmask(payload, *mask);
    Some(Whole { is_text: first == TEXT, payload, size: header + length })
}

/// Parses the header at the start of `input`; `None` if it is not complete.
pub fn parse_header(input: &[u8]) -> Result<Option<Header>, Violation> {
    // What is wrong with the first two bytes is found before the rest arrives.
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

/// Returns the length of the header of a server's frame with a payload of `length` bytes.
#[inline]
pub fn server_header_len(length: usize) -> usize {
    match length {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Returns the payload of a server's whole frame.
pub fn server_payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header..]
}

/// Writes the header of an unfragmented, unmasked server frame into a slice of
/// [`server_header_len`] bytes; its first byte is `first`.
#[inline]
pub fn write_header(first: u8, length: usize, header: &mut [u8]) {
    match header {
        [a, b] => (*a, *b) = (first, length as u8),
        [a, b, rest @ ..] if rest.len() == 2 => {
            (*a, *b) = (first, 126);
            rest.copy_from_slice(&(length as u16).to_be_bytes());
        }
        [a, b, rest @ ..] if rest.len() == 8 => {
            (*a, *b) = (first, 127);
            rest.copy_from_slice(&(length as u64).to_be_bytes());
        }
        _ => debug_assert!(false, "a header of {} bytes", header.len()),
    }
}

/// Whether the opcode is that of a control frame.
pub fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Control(_))
}

/// Unmasks `payload` in place (section 5.3), by words.
#[inline]
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

/// Returns the mask to continue with after `done` bytes of the payload.
pub fn rotate_mask(mask: [u8; 4], done: usize) -> [u8; 4] {
    let mut mask = mask;
    mask.rotate_left(done % 4);
    mask
}

#[cfg(test)]
mod tests {
    use tungstenite::protocol::frame::coding::{Control, Data};

    use super::*;

    #[test]
    fn the_payload_of_a_servers_frame_is_found_behind_each_form_of_length() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let mut frame = vec![0; server_header_len(length)];
            write_header(TEXT, length, &mut frame);
            frame.resize(frame.len() + length, b'x');
            assert_eq!(server_payload(&frame), vec![b'x'; length], "{length}");
        }
    }

    #[test]
    fn the_short_way_to_read_a_header_agrees_with_tungstenite() {
        let mut count = 0;
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                for length in [0, 125, 126, 300] {
                    let mut input = vec![7; 320];
                    (input[0], input[1]) = (first, second);
                    input[2..4].copy_from_slice(&u16::to_be_bytes(length));
                    let mut taken = input.clone();
                    let Some(whole) = take_whole(&mut taken, 1_000) else { continue };
                    count += 1;
                    let header = parse_header(&input).unwrap().unwrap();
                    let size = header.size + header.length as usize;
                    assert!(header.fin);
                    let kind = if whole.is_text { Data::Text } else { Data::Binary };
                    assert_eq!(header.opcode, OpCode::Data(kind));
                    unmask(&mut input[header.size..size], header.mask);
                    assert_eq!((whole.payload, whole.size), (&input[header.size..size], size));
                    assert!(take_whole(&mut input[..size - 1], 1_000).is_none());
                    assert!(take_whole(&mut input, header.length as usize).is_some());
                    let shorter = header.length.checked_sub(1);
                    assert!(
                        shorter.is_none_or(|max| take_whole(&mut input, max as usize).is_none())
                    );
                }
            }
        }
        assert_eq!(count, 2 * (126 + 1) * 4);
    }

    #[test]
    fn each_violation_is_reported_as_soon_as_it_is_known() {
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
    fn unmasking_a_payload_in_parts_continues_where_the_last_part_ended() {
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
    fn frames_are_written_as_tungstenite_writes_them() {
        for (first, opcode) in [
            (TEXT, OpCode::Data(Data::Text)),
            (BINARY, OpCode::Data(Data::Binary)),
            (CLOSE, OpCode::Control(Control::Close)),
            (PING, OpCode::Control(Control::Ping)),
            (PONG, OpCode::Control(Control::Pong)),
        ] {
            for length in [0, 1, 125, 126, 65_535, 65_536] {
                let mut ours = vec![0; server_header_len(length)];
                write_header(first, length, &mut ours);
                let mut theirs = Vec::new();
                let header = FrameHeader { opcode, ..FrameHeader::default() };
                header.format(length as u64, &mut theirs).unwrap();
                assert_eq!(ours, theirs);
            }
        }
    }
}
