//! Clients over real sockets. Every wait ends at a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use longlink::sim::frames::{self, Frame, PING, PONG, TEXT};

/// Far longer than anything takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A TCP connection and what has arrived on it.
#[derive(Debug)]
pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    until: Instant,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of the first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Raw {
    pub fn connect(addr: SocketAddr) -> Raw {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
        Raw::from_stream(stream)
    }

    pub fn from_stream(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Raw { stream, buffer: Vec::new(), until: Instant::now() + DEADLINE }
    }

    /// Sends bytes. It is no error if the server has closed the connection already: a test sees that when
    /// it reads.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Raw {
        self.until = Instant::now() + DEADLINE;
        match self.stream.write_all(bytes) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                panic!("cannot send: {error}")
            }
            _ => self,
        }
    }

    /// Sends one byte after the other, each in a segment of its own.
    pub fn trickle(&mut self, bytes: &[u8]) -> &mut Raw {
        for byte in bytes {
            self.send(&[*byte]);
        }
        self
    }

    pub fn half_close(&mut self) -> &mut Raw {
        // It fails when the other side has gone.
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads more. Returns false at the end of the stream, a reset included.
    fn fill(&mut self) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "nothing came in time; so far: {:?}", self.shown());
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("cannot read: {error}; so far: {:?}", self.shown()),
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(500)]).into_owned()
    }

    /// The next HTTP answer, or `None` when the stream ends first.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET")
    }

    /// The answer to a request with this method: that to `HEAD` has no body.
    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.fill() => {}
                None => {
                    assert!(self.buffer.is_empty(), "half an answer: {:?}", self.shown());
                    return None;
                }
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").expect("an HTTP answer")[..3].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.field("Content-Length").map_or(0, |text| text.parse().unwrap());
        if method != "HEAD" && status != 101 {
            while self.buffer.len() < length {
                assert!(self.fill(), "half a body: {:?}", self.shown());
            }
            answer.body = self.buffer.drain(..length).collect();
        }
        Some(answer)
    }

    /// Sends a request and returns the status of its answer.
    pub fn status(&mut self, request: &[u8]) -> u16 {
        self.send(request).answer().map_or(0, |answer| answer.status)
    }

    /// The next frame, or `None` when the stream ends first.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::take(&mut self.buffer) {
                return Some(frame);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Waits for the end of the stream. Returns the bytes that came before.
    pub fn end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }
}

/// An open WebSocket connection.
#[derive(Debug)]
pub struct Socket {
    pub raw: Raw,
    pub answer: Answer,
}

impl Socket {
    pub fn connect(addr: SocketAddr, path: &str, extra: &str) -> Socket {
        let mut raw = Raw::connect(addr);
        let answer = raw.send(&frames::handshake(path, extra)).answer().expect("an answer");
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.field("Sec-WebSocket-Accept"), Some(frames::ACCEPT));
        Socket { raw, answer }
    }

    pub fn send(&mut self, text: &str) -> &mut Socket {
        self.raw.send(&frames::text(text));
        self
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> &mut Socket {
        self.raw.send(bytes);
        self
    }

    /// The next text. WebSocket pings and pongs are skipped.
    pub fn text(&mut self) -> String {
        loop {
            let frame = self.raw.frame().expect("a message, not the end");
            match frame.opcode {
                PING | PONG => {}
                TEXT => return frame.text().to_owned(),
                _ => panic!("not a text: {frame:?}"),
            }
        }
    }

    /// Sends a heartbeat. Returns all texts that come before its answer. Everything that was sent before
    /// the heartbeat has been handled then.
    pub fn texts(&mut self) -> Vec<String> {
        self.send("ping");
        let mut texts = Vec::new();
        loop {
            match self.text() {
                text if text == r#"{"type":"pong"}"# => return texts,
                text => texts.push(text),
            }
        }
    }

    /// Waits for a close frame, and then for the end of the stream. Other frames are skipped. Returns
    /// `None` when the stream ended without a close frame.
    pub fn close_code(&mut self) -> Option<u16> {
        let code = loop {
            let frame = self.raw.frame()?;
            if frame.opcode == frames::CLOSE {
                break frame.close_code();
            }
        };
        self.raw.half_close();
        assert!(self.raw.end().is_empty(), "nothing follows a close");
        code
    }
}
