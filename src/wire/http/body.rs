//! Request bodies: where one ends (RFC 9112, section 6), and its bytes taken out of
//! chunks (section 7.1).
//!
//! If two readers could disagree about the end of a body, a second request could be hidden in the
//! first (section 11.2). So every body that does not follow the grammar is refused.

use super::fields::number;
use super::head::{HeadError, find_end, has_bare_line_feed};

/// The longest line before a chunk, its size and extensions, in bytes.
const MAX_CHUNK_LINE: usize = 256;
/// The longest trailer section in bytes, and the most fields in it.
const MAX_TRAILERS: usize = 4 * 1024;
const MAX_TRAILER_FIELDS: usize = 16;

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The request has no body, or an empty one.
    Empty,
    /// The body has the length of `Content-Length`, which is not 0.
    Length(u64),
    /// The body is in chunks: `Transfer-Encoding: chunked`.
    Chunked,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The body is longer than the handler takes: 413.
    TooLong,
    /// The chunks do not follow the grammar: 400.
    Malformed(&'static str),
}

/// What the header fields of a request say about its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    length: Option<u64>,
    chunked: bool,
}

impl Told {
    /// Takes a `Content-Length`: one number, in one field. RFC 9110, section 8.6, would allow the
    /// same number several times; that is refused, since not every proxy reads it alike.
    pub fn take_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let Some(length) = number(value).filter(|_| self.length.is_none()) else {
            return Err(HeadError::Malformed("Content-Length is not one number"));
        };
        self.length = Some(length);
        Ok(())
    }

    /// Takes a `Transfer-Encoding`. No coding but this one is known, it may not be applied twice,
    /// and HTTP/1.0 has none (RFC 9112, section 6.1). Empty elements of the list are not taken
    /// either, since not every proxy reads them alike.
    pub fn take_coding(&mut self, value: &[u8], http10: bool) -> Result<(), HeadError> {
        if http10 || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Malformed("Transfer-Encoding is not chunked alone"));
        }
        self.chunked = true;
        Ok(())
    }

    /// How the body is framed (RFC 9112, section 6.3).
    pub fn framing(self) -> Result<Framing, HeadError> {
        match (self.chunked, self.length) {
            (true, Some(_)) => {
                Err(HeadError::Malformed("both Content-Length and Transfer-Encoding"))
            }
            (true, None) => Ok(Framing::Chunked),
            (false, None | Some(0)) => Ok(Framing::Empty),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }
}

/// A body on its way: how much of it has arrived, in a buffer that begins with it.
#[derive(Debug)]
pub struct Reading {
    at_most: usize,
    /// Bytes of the body, at the front of the buffer.
    length: usize,
    /// How much of the buffer has been examined. The bytes between the body and this position are
    /// no longer needed.
    used: usize,
    /// Chunks that have begun since [`Reading::pop_chunks`] was called.
    chunks: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The whole body has this many bytes.
    Plain(usize),
    /// The line before a chunk comes next.
    ChunkLine,
    /// This many bytes of a chunk are still missing.
    Chunk(usize),
    /// The line end behind the bytes of a chunk comes next.
    ChunkEnd,
    /// The trailer section behind the last chunk comes next.
    Trailers,
    Done,
}

impl Reading {
    /// Begins to read a body.
    ///
    /// # Errors
    /// [`BodyError::TooLong`] when its length is told and above `at_most`.
    pub fn new(framing: Framing, at_most: usize) -> Result<Self, BodyError> {
        let state = match framing {
            Framing::Empty => State::Done,
            Framing::Chunked => State::ChunkLine,
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= at_most => State::Plain(length),
                _ => return Err(BodyError::TooLong),
            },
        };
        Ok(Reading { at_most, length: 0, used: 0, chunks: 0, state })
    }

    /// Goes on with what has arrived: `buffer` is what it was in the last call, and more.
    /// Bytes of chunks are moved to the front. Returns whether the body is whole: it is
    /// the first [`length`](Reading::length) bytes, and what follows it begins at
    /// [`used`](Reading::used).
    ///
    /// # Errors
    /// When the body is refused; see [`BodyError`].
    pub fn advance(&mut self, buffer: &mut [u8]) -> Result<bool, BodyError> {
        loop {
            let rest = &buffer[self.used..];
            let step = match self.state {
                State::Plain(length) => {
                    self.length = length.min(buffer.len());
                    self.used = self.length;
                    return Ok(self.length == length);
                }
                State::Done => return Ok(true),
                State::ChunkLine => chunk_line(rest)?.map(|(size, used)| match size {
                    0 => (State::Trailers, used),
                    size => (State::Chunk(size), used),
                }),
                State::Chunk(missing) if rest.is_empty() => {
                    debug_assert!(missing > 0);
                    None
                }
                State::Chunk(missing) => {
                    let here = missing.min(rest.len());
                    let place = self.length;
                    self.length += here;
                    buffer.copy_within(self.used..self.used + here, place);
                    let left = missing - here;
                    let next = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    Some((next, here))
                }
                State::ChunkEnd => line_end(rest)?.map(|used| (State::ChunkLine, used)),
                State::Trailers => trailers(rest)?.map(|used| (State::Done, used)),
            };
            let Some((next, used)) = step else { return Ok(false) };
            if let State::Chunk(size) = next
                && self.state == State::ChunkLine
            {
                if size > self.at_most - self.length {
                    return Err(BodyError::TooLong);
                }
                self.chunks += 1;
            }
            self.used += used;
            self.state = next;
        }
    }

    /// How many chunks have begun since the last call. Each chunk counts as work.
    pub fn pop_chunks(&mut self) -> u32 {
        std::mem::take(&mut self.chunks)
    }

    /// How many bytes of the body there are.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The position in the buffer from which on nothing has been examined.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Tells the reading that the bytes between the body and the rest were removed from the buffer.
    pub fn close_gap(&mut self) {
        self.used = self.length;
    }
}

/// The size of a chunk and the length of its line, once that is whole: hexadecimal digits,
/// then extensions, which mean nothing to anyone (section 7.1.1).
fn chunk_line(bytes: &[u8]) -> Result<Option<(usize, usize)>, BodyError> {
    const BAD: BodyError = BodyError::Malformed("bad chunk size");
    let within = &bytes[..bytes.len().min(MAX_CHUNK_LINE)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if within.len() == MAX_CHUNK_LINE { Err(BAD) } else { Ok(None) };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(BAD)?;
    let count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at(count);
    let mut spaces = extensions.iter().skip_while(|&&byte| matches!(byte, b' ' | b'\t'));
    let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let is_extended = spaces.next() == Some(&b';') && extensions.iter().all(plain);
    if !extensions.is_empty() && !is_extended {
        return Err(BAD);
    }
    // A size of more than sixteen digits, or of none, is malformed.
    let digits = std::str::from_utf8(digits).map_err(|_| BAD)?;
    let size = usize::from_str_radix(digits, 16).map_err(|_| BAD)?;
    Ok(Some((size, end + 1)))
}

fn line_end(bytes: &[u8]) -> Result<Option<usize>, BodyError> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [] | [b'\r'] => Ok(None),
        _ => Err(BodyError::Malformed("a chunk is longer than its size")),
    }
}

/// The length of the trailer section, once that is whole. Its fields are dropped (section
/// 7.1.2); those that would have to stand in the head are refused (RFC 9110, section 6.5.1).
fn trailers(bytes: &[u8]) -> Result<Option<usize>, BodyError> {
    const BAD: BodyError = BodyError::Malformed("bad trailer");
    const OF_THE_HEAD: [&str; 5] =
        ["Content-Length", "Transfer-Encoding", "Host", "Trailer", "Authorization"];
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let within = &bytes[..bytes.len().min(MAX_TRAILERS)];
    let Some(end) = find_end(within, 0) else {
        return if within.len() == MAX_TRAILERS { Err(BAD) } else { Ok(None) };
    };
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    match httparse::parse_headers(&within[..end], &mut fields) {
        Ok(httparse::Status::Complete((length, fields)))
            if length == end
                && !has_bare_line_feed(&within[..end])
                && !fields.iter().any(|it| {
                    OF_THE_HEAD.iter().any(|name| it.name.eq_ignore_ascii_case(name))
                }) =>
        {
            Ok(Some(end))
        }
        _ => Err(BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type BodyAndRest = (Vec<u8>, Vec<u8>);

    /// Reads a body that arrives in pieces that end at `cuts`, as a connection does:
    /// whatever lies between the body and the rest is taken out.
    fn read_cut(
        framing: Framing,
        bytes: &[u8],
        at_most: usize,
        cuts: &[usize],
    ) -> Result<Option<BodyAndRest>, BodyError> {
        let mut reading = Reading::new(framing, at_most)?;
        let mut buffer = Vec::new();
        let mut from = 0;
        let mut whole = false;
        for &to in cuts.iter().chain([&bytes.len()]) {
            buffer.extend_from_slice(&bytes[from..to]);
            from = to;
            whole = reading.advance(&mut buffer)?;
            buffer.drain(reading.length()..reading.used());
            reading.close_gap();
        }
        let (body, rest) = buffer.split_at(reading.length());
        Ok(whole.then(|| (body.to_vec(), rest.to_vec())))
    }

    /// Reads a body whole, cut in two at each place, and byte by byte, with equal results.
    fn read(bytes: &str, at_most: usize) -> Result<Option<(String, String)>, BodyError> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let bytes = bytes.as_bytes();
        let read = |cuts: &[usize]| {
            let read = read_cut(Framing::Chunked, bytes, at_most, cuts);
            read.map(|it| it.map(|(body, rest)| (text(body), text(rest))))
        };
        let whole = read(&[]);
        for cut in 0..bytes.len() {
            assert_eq!(read(&[cut]), whole, "cut at {cut}");
        }
        assert_eq!(read(&(0..bytes.len()).collect::<Vec<_>>()), whole);
        whole
    }

    fn ok(bytes: &str, body: &str, rest: &str) {
        assert_eq!(read(bytes, 1_000), Ok(Some((body.into(), rest.into()))), "{bytes:?}");
    }

    fn bad(bytes: &str) {
        let read = read(bytes, 1_000);
        assert!(matches!(read, Err(BodyError::Malformed(_))), "{bytes:?}: {read:?}");
    }

    #[test]
    fn chunks_are_joined_to_the_same_body_however_they_arrive() {
        ok("0\r\n\r\n", "", "");
        ok("4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\nGET /", "Wikipedia", "GET /");
        ok("00a\r\n0123456789\r\n000\r\n\r\n", "0123456789", "");
        ok("A;name\r\n0123456789\r\n0\r\nDigest: x\r\nX: \r\n\r\nnext", "0123456789", "next");
        ok("3 ; a = \"b c\"; d\r\n\r\n1\r\n0\r\n\r\n", "\r\n1", "");
        assert_eq!(read("5\r\n0123", 1_000), Ok(None));
        assert_eq!(read("0\r\nA: b\r\n", 1_000), Ok(None));
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_refused() {
        for size in ["", "+5", "-5", " 5", "0x5", "5 ", "5\t", "g", "5,5", "5;\u{1}", "5;é", "5 5"]
        {
            bad(&format!("{size}\r\n01234\r\n0\r\n\r\n"));
        }
        bad("11111111111111111\r\n");
        bad("5\n01234\r\n0\r\n\r\n");
        bad("5\r01234\r\n0\r\n\r\n");
        bad("5;a\nb\r\n01234\r\n0\r\n\r\n");
        bad(&format!("5;{}\r\n", "a".repeat(MAX_CHUNK_LINE)));
        bad("5\r\n012345\r\n0\r\n\r\n");
        bad("5\r\n01234\n0\r\n\r\n");
        bad("5\r\n01234\r0\r\n\r\n");
        for trailer in [
            "Content-Length: 5",
            "transfer-encoding: chunked",
            "Host: a",
            " folded: x",
            "a: b\r\n c",
            "no colon",
            "a : b",
            "a: b\nc: d",
        ] {
            bad(&format!("0\r\n{trailer}\r\n\r\n"));
        }
        bad(&format!("0\r\na: {}\r\n\r\n", "x".repeat(MAX_TRAILERS)));
        bad(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_TRAILER_FIELDS + 1)));
    }

    #[test]
    fn sizes_of_chunks_equal_those_of_httparse_where_both_accept_the_line() {
        let mut compared = 0;
        for line in ["0", "5", "0f", "FF", "00000001", "7;a", "7 ;a", "ffffffffffffffff", "1;\t"] {
            let bytes = format!("{line}\r\n");
            let (size, used) = chunk_line(bytes.as_bytes()).unwrap().unwrap();
            let expected = httparse::parse_chunk_size(bytes.as_bytes()).unwrap();
            assert_eq!(expected, httparse::Status::Complete((used, size as u64)), "{line}");
            compared += 1;
        }
        assert_eq!(compared, 9);
    }

    #[test]
    fn a_body_that_is_too_long_is_refused_as_soon_as_its_length_is_known() {
        assert!(Reading::new(Framing::Length(10), 10).is_ok());
        assert_eq!(Reading::new(Framing::Length(11), 10).unwrap_err(), BodyError::TooLong);
        assert_eq!(Reading::new(Framing::Length(u64::MAX), 10).unwrap_err(), BodyError::TooLong);
        assert_eq!(read("6\r\n012345\r\n4\r\n", 10), Ok(None));
        assert_eq!(read("6\r\n012345\r\n5\r\n", 10), Err(BodyError::TooLong));
        assert_eq!(read("ffffffffffffffff\r\n", 10), Err(BodyError::TooLong));
    }

    #[test]
    fn each_chunk_is_counted_once_as_work() {
        let mut reading = Reading::new(Framing::Chunked, 100_000).unwrap();
        let mut bytes = "1\r\nx\r\n".repeat(5_000).into_bytes();
        assert_eq!((reading.advance(&mut bytes), reading.length()), (Ok(false), 5_000));
        assert_eq!((reading.pop_chunks(), reading.pop_chunks()), (5_000, 0));
        bytes.extend_from_slice(b"2\r\nyz\r\n0\r\n\r\n");
        assert_eq!((reading.advance(&mut bytes), reading.pop_chunks()), (Ok(true), 1));
    }

    #[test]
    fn a_body_with_a_declared_length_ends_after_as_many_bytes() {
        for cut in 0..8 {
            let read = read_cut(Framing::Length(5), b"01234GET", 5, &[cut]);
            assert_eq!(read, Ok(Some((b"01234".to_vec(), b"GET".to_vec()))));
        }
        assert_eq!(read_cut(Framing::Length(5), b"0123", 5, &[2]), Ok(None));
    }
}
