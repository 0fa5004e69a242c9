//! Frames from the client's side (RFC 6455, section 5): masked frames that are made before the run,
//! and a parser of a server's frames that copies nothing.

/// Every byte of every frame's mask is this one, so that a byte is masked alike wherever it is. A
/// server needs as much work to unmask it as a random mask.
const MASK: u8 = 0x5A;
/// The longest frame that a server may send: 64 MiB. A longer one is a failure.
const MAX_FRAME: u64 = 64 << 20;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// Appends a final masked frame to `output`.
pub fn put_masked(opcode: u8, payload: &[u8], output: &mut Vec<u8>) {
    output.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => output.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            output.push(0x80 | 126);
            output.extend((length as u16).to_be_bytes());
        }
        length => {
            output.push(0x80 | 127);
            output.extend((length as u64).to_be_bytes());
        }
    }
    output.extend([MASK; 4]);
    output.extend(payload.iter().map(|byte| byte ^ MASK));
}

/// Returns a final masked frame.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(payload.len() + 14);
    put_masked(opcode, payload, &mut output);
    output
}

/// A masked text frame of which a few bytes change from message to message.
#[derive(Debug)]
pub struct Template {
    frame: Vec<u8>,
    /// The index of the payload's first byte in the frame.
    payload: usize,
}

impl Template {
    pub fn text(payload: &str) -> Self {
        let frame = masked(TEXT, payload.as_bytes());
        let start = frame.len() - payload.len();
        Template { frame, payload: start }
    }

    /// Overwrites bytes of the payload from index `at` on.
    #[inline]
    pub fn patch<const N: usize>(&mut self, at: usize, bytes: &[u8; N]) {
        let target = &mut self.frame[self.payload + at..][..N];
        for (slot, byte) in target.iter_mut().zip(bytes) {
            *slot = byte ^ MASK;
        }
    }

    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

/// The result of parsing bytes from a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    Frame {
        fin: bool,
        opcode: u8,
        payload: &'a [u8],
        /// The length of the whole frame in bytes.
        size: usize,
    },
    /// More bytes are needed.
    Partial,
    /// The bytes are no frame that a server may send.
    Bad(&'static str),
}

/// Parses the frame at the start of `input`.
#[inline]
pub fn parse(input: &[u8]) -> Parsed<'_> {
    // The commonest kind of frame: final, without reserved bits, a data frame, shorter than 126
    // bytes.
    if let [0x81 | 0x82, length @ 0..=125, rest @ ..] = input
        && let Some(payload) = rest.get(..usize::from(*length))
    {
        let size = 2 + payload.len();
        return Parsed::Frame { fin: true, opcode: input[0] & 0x0F, payload, size };
    }
    parse_any(input)
}

fn parse_any(input: &[u8]) -> Parsed<'_> {
    let [first, second, rest @ ..] = input else { return Parsed::Partial };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
    if first & 0x70 != 0 {
        return Parsed::Bad("a reserved bit is set");
    }
    if second & 0x80 != 0 {
        return Parsed::Bad("a server's frame is masked");
    }
    match opcode {
        CONTINUATION | TEXT | BINARY => {}
        CLOSE | PING | PONG if fin && *second <= 125 => {}
        CLOSE | PING | PONG => return Parsed::Bad("a control frame is fragmented or too long"),
        _ => return Parsed::Bad("a reserved opcode"),
    }
    let (length, rest) = match (second, rest) {
        (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
        }
        (126 | 127, _) => return Parsed::Partial,
        (length, rest) => (u64::from(*length), rest),
    };
    if length > MAX_FRAME {
        return Parsed::Bad("a frame is longer than 64 MiB");
    }
    match rest.get(..length as usize) {
        Some(payload) => {
            let size = input.len() - rest.len() + payload.len();
            Parsed::Frame { fin, opcode, payload, size }
        }
        None => Parsed::Partial,
    }
}

/// Returns the code of a server's close frame; 1005 means that it has no code.
///
/// # Errors
/// If a close frame may not have this payload (RFC 6455, sections 5.5.1 and 7.4).
pub fn close_code(payload: &[u8]) -> Result<u16, &'static str> {
    longlink::shared::parse_close(payload).map_err(|_| "a close frame with a bad code or text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_has_no_code_or_one_that_may_be_sent() {
        assert_eq!(close_code(b""), Ok(1_005));
        assert_eq!(close_code(&1_014_u16.to_be_bytes()), Ok(1_014));
        for bad in
            [&b"\x03"[..], &1_005_u16.to_be_bytes(), &2_000_u16.to_be_bytes(), b"\x03\xE8\xFF"]
        {
            assert!(close_code(bad).is_err(), "{bad:?}");
        }
    }

    /// Returns the payload of a masked frame whose header has `header` bytes.
    fn unmasked(frame: &[u8], header: usize) -> Vec<u8> {
        let mask = frame[header - 4..header].to_vec();
        let bytes = frame[header..].iter().zip(mask.iter().cycle());
        bytes.map(|(byte, mask)| byte ^ mask).collect()
    }

    #[test]
    fn lengths_of_frames_are_written_in_the_shortest_form() {
        for (length, header) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let payload = vec![7; length];
            let frame = masked(TEXT, &payload);
            assert_eq!((frame[0], frame.len()), (0x81, length + header));
            assert_eq!(unmasked(&frame, header), payload);
        }
    }

    #[test]
    fn a_change_of_a_masked_payload_is_masked_at_any_place() {
        for at in 0..6 {
            let mut template = Template::text("..........");
            template.patch(at, b"abcd");
            let expected = format!("{}abcd{}", ".".repeat(at), ".".repeat(6 - at));
            assert_eq!(unmasked(template.frame(), 6), expected.as_bytes());
        }
    }

    #[test]
    fn a_frame_is_partial_until_its_last_byte() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut frame = vec![0x81];
            match length {
                0..=125 => frame.push(length as u8),
                126..=0xFFFF => frame.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
                _ => frame.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
            }
            frame.extend(&payload);
            for cut in [0, 1, 2, 3, frame.len() - 1].into_iter().filter(|cut| *cut < frame.len()) {
                assert_eq!(parse(&frame[..cut]), Parsed::Partial, "{length} cut at {cut}");
            }
            let size = frame.len();
            frame.extend(b"next");
            let whole = Parsed::Frame { fin: true, opcode: TEXT, payload: &payload, size };
            assert_eq!(parse(&frame), whole);
        }
    }

    #[test]
    fn a_frame_that_a_server_may_not_send_is_bad() {
        for (input, word) in [
            (&[0xC1, 0][..], "reserved bit"),
            (&[0x81, 0x80], "masked"),
            (&[0x83, 0], "opcode"),
            (&[0x09, 0], "control"),
            (&[0x89, 126, 0, 126], "control"),
            (&[0x82, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0], "longer"),
        ] {
            let Parsed::Bad(why) = parse(input) else { panic!("{input:?} was taken") };
            assert!(why.contains(word), "{why}");
        }
    }
}
