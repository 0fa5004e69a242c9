//! What a subscriber reads: the messages of its channels. Many come with one read, and each is a part of the
//! buffer that the read has filled.

use std::io::{self, ErrorKind, Read};

use super::link::LinkError;

/// How much is read at once, so that the lock of the node is not held for long.
const READ: usize = 64 << 10;
/// The longest message that is read. Redis itself takes none that is longer than 512 MiB.
const MAX_MESSAGE: usize = 64 << 20;
/// The longest line. Lines have numbers, or the text of an error.
const MAX_LINE: usize = 1024;

/// What Redis has sent to a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub enum Push<'a> {
    /// A message that was published on a channel.
    Message(&'a [u8]),
    /// A channel is subscribed.
    Subscribed,
}

/// The bytes that were read and not taken yet.
#[derive(Debug, Default)]
pub struct Pushes {
    buffer: Vec<u8>,
    /// The first byte that was not taken, and the end of what was read.
    start: usize,
    end: usize,
}

impl Pushes {
    /// Reads once, and waits if nothing has come. The end of the stream is an error.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == 0 && self.buffer.len() > READ {
            // One long message is no reason to keep its memory.
            self.buffer = Vec::new();
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(READ.max(2 * self.end), 0);
        }
        match stream.read(&mut self.buffer[self.end..])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }

    /// Takes the next of what was read; `None` if it has not come as a whole.
    pub fn next(&mut self) -> Result<Option<Push<'_>>, LinkError> {
        let mut rest = Rest { bytes: &self.buffer[self.start..self.end], at: 0 };
        let Some(push) = rest.push()? else {
            return match rest.bytes.len() > MAX_MESSAGE {
                true => Err(LinkError::Protocol),
                false => Ok(None),
            };
        };
        self.start += rest.at;
        Ok(Some(push))
    }
}

/// Bytes, of which some were taken.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn push(&mut self) -> Result<Option<Push<'a>>, LinkError> {
        match self.line()? {
            None => return Ok(None),
            Some(b"*3") => {}
            Some([b'-', error @ ..]) => {
                let code = error.split(|byte| *byte == b' ').next().unwrap_or_default();
                return Err(LinkError::Refused(String::from_utf8_lossy(code).into_owned()));
            }
            Some(_) => return Err(LinkError::Protocol),
        }
        let Some(kind) = self.text()? else { return Ok(None) };
        let Some(_channel) = self.text()? else { return Ok(None) };
        match kind {
            b"message" => Ok(self.text()?.map(Push::Message)),
            // How many channels are subscribed by now.
            b"subscribe" => match self.line()? {
                None => Ok(None),
                Some([b':', ..]) => Ok(Some(Push::Subscribed)),
                Some(_) => Err(LinkError::Protocol),
            },
            _ => Err(LinkError::Protocol),
        }
    }

    /// A line without its end.
    fn line(&mut self) -> Result<Option<&'a [u8]>, LinkError> {
        let rest = &self.bytes[self.at..];
        match rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') {
            Some(end) => {
                self.at += end + 1;
                rest[..end].strip_suffix(b"\r").map(Some).ok_or(LinkError::Protocol)
            }
            None if rest.len() < MAX_LINE => Ok(None),
            None => Err(LinkError::Protocol),
        }
    }

    /// A text with its length before it.
    fn text(&mut self) -> Result<Option<&'a [u8]>, LinkError> {
        let Some(line) = self.line()? else { return Ok(None) };
        let digits = line.strip_prefix(b"$").and_then(|it| std::str::from_utf8(it).ok());
        let length = digits.and_then(|it| it.parse::<usize>().ok());
        let length = length.filter(|it| *it <= MAX_MESSAGE).ok_or(LinkError::Protocol)?;
        let rest = &self.bytes[self.at..];
        match rest.get(length..length + 2) {
            None => Ok(None),
            Some(b"\r\n") => {
                self.at += length + 2;
                Ok(Some(&rest[..length]))
            }
            Some(_) => Err(LinkError::Protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n\
        *3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n";

    fn all(mut stream: impl Read) -> Vec<Option<Vec<u8>>> {
        let (mut pushes, mut found) = (Pushes::default(), Vec::new());
        while pushes.fill(&mut stream).is_ok() {
            while let Some(push) = pushes.next().expect("it is well formed") {
                found.push(match push {
                    Push::Message(payload) => Some(payload.to_vec()),
                    Push::Subscribed => None,
                });
            }
        }
        assert_eq!(pushes.start, pushes.end, "everything is taken");
        found
    }

    /// Gives so many bytes with each read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (head, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(head);
            self.0 = rest;
            Ok(count)
        }
    }

    #[test]
    fn messages_are_taken_one_by_one_however_their_bytes_come() {
        for size in 1..=BYTES.len() {
            let found = all(Slow(BYTES, size));
            assert_eq!(found, [None, Some(b"a\r\nb".to_vec()), Some(Vec::new())], "{size}");
        }
    }

    #[test]
    fn a_long_message_is_read_and_its_memory_is_given_back() {
        let payload = vec![b'x'; 5 * READ];
        let mut bytes = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n", payload.len());
        bytes.push_str(&"x".repeat(payload.len()));
        bytes.push_str("\r\n");
        let bytes = [bytes.as_bytes(), BYTES].concat();
        assert_eq!(all(Slow(&bytes, READ / 3))[0], Some(payload));
        let mut pushes = Pushes::default();
        let mut stream = &bytes[..bytes.len() - BYTES.len()];
        while pushes.next().expect("it is well formed").is_none() {
            pushes.fill(&mut stream).expect("there is more");
        }
        assert!(pushes.buffer.len() > READ);
        pushes.fill(&mut Slow(BYTES, 9)).expect("there is more");
        assert_eq!(pushes.buffer.len(), READ);
    }

    #[test]
    fn an_error_of_the_server_and_what_is_no_message_end_the_subscription() {
        let refused = |bytes: &[u8]| {
            let mut pushes = Pushes::default();
            pushes.fill(&mut &bytes[..]).expect("bytes");
            loop {
                match pushes.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it waits for more"),
                    Err(error) => return error,
                }
            }
        };
        let error = refused(b"-NOPERM this user has no permissions\r\n");
        assert!(matches!(&error, LinkError::Refused(code) if code == "NOPERM"), "{error:?}");
        for bytes in [
            &b"+OK\r\n"[..],
            b"*2\r\n",
            b"*3\n",
            b"*3\r\n$99999999999999999999\r\n",
            b"*3\r\n$-1\r\n",
            b"*3\r\n$67108865\r\n",
            b"*3\r\n:7\r\n",
            b"*3\r\n$7\r\nmessage--",
            b"*3\r\n$7\r\nmessagx\r\n$1\r\nc\r\n$0\r\n\r\n",
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\n1\r\n",
            &[b'7'; MAX_LINE],
        ] {
            assert!(matches!(refused(bytes), LinkError::Protocol), "{bytes:?}");
        }
    }
}
