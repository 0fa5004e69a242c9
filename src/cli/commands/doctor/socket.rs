//! A WebSocket from the client's side, with blocking calls. It is opened with a request of the
//! caller's, and read message by message. Pings are answered, as every client does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::answer::{Answer, NoAnswer};
#[cfg(feature = "tls")]
use super::tls;
use crate::cli::client::frame::{self, Parsed};
use crate::cli::client::request::put_request;
use crate::cli::client::stream::{Stream, Timed};

/// The length of the longest message in bytes, all fragments together.
const MAX_MESSAGE: usize = 1 << 20;
/// The reason with which longlink closes a connection when it is stopping. It ends a silent one with another.
const GOING_AWAY: &[u8] = b"going away";
/// How many bytes are read at a time.
const READ: usize = 16 * 1024;

/// How to reach the server.
#[derive(Debug)]
pub struct Way {
    pub address: SocketAddr,
    /// Host and port as they are in the URL.
    pub authority: String,
    /// Path and query as they are in the URL.
    pub target: String,
    pub timeout: Duration,
    #[cfg(feature = "tls")]
    pub tls: Option<tls::Client>,
}

impl Way {
    fn connect(&self) -> io::Result<Stream> {
        let timed = Timed::connect(self.address, self.timeout)?;
        #[cfg(feature = "tls")]
        if let Some(client) = &self.tls {
            return client.connect(timed);
        }
        Ok(Stream::Plain(timed))
    }

    /// Sends a handshake for `target` with further fields, and reads the answer.
    pub fn ask(&self, target: &str, fields: &[(&str, &str)]) -> Result<Asked, NoAnswer> {
        let began = Instant::now();
        let mut stream = self.connect().map_err(NoAnswer::Connect)?;
        stream.set_deadline(began + self.timeout);
        let (mut request, key) = (Vec::new(), generate_key());
        let put_path = |output: &mut Vec<u8>| output.extend_from_slice(target.as_bytes());
        put_request(&self.authority, put_path, &key, fields, &mut request);
        // The server may have answered without reading the request, so its answer is read even if
        // the write has failed.
        let sent = stream.write_all(&request).and_then(|()| stream.flush());
        let mut input = Vec::new();
        let answer = match (Answer::read(&mut stream, &mut input), sent) {
            (Err(NoAnswer::Ended), Err(error)) => return Err(NoAnswer::Failed(error)),
            (answer, _) => answer?,
        };
        Ok(Asked { answer, accept: derive_accept_key(key.as_bytes()), stream, input, began })
    }
}

/// A handshake that was answered, whatever the answer is.
#[derive(Debug)]
pub struct Asked {
    pub answer: Answer,
    /// The value that `Sec-WebSocket-Accept` must have.
    pub accept: String,
    pub began: Instant,
    stream: Stream,
    input: Vec<u8>,
}

impl Asked {
    /// Continues as a WebSocket, if the answer was 101.
    pub fn open(self, timeout: Duration) -> Socket {
        let Asked { stream, input, .. } = self;
        Socket { stream, input, fragments: None, closing: false, timeout, late_for: None }
    }
}

/// Something that the server has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Text(Vec<u8>),
    Binary,
    /// A ping, which has been answered.
    Ping,
    Pong(Vec<u8>),
}

/// Why no event came.
#[derive(Debug)]
pub enum End {
    Timeout,
    /// The server sent a close frame; 1005 means that it had no code.
    Closed(u16),
    /// The server sent a close frame, which says that it is stopping or is being restarted.
    GoingAway(u16),
    /// The stream ended without a close frame.
    Eof,
    Failed(io::Error),
    Protocol(&'static str),
}

impl End {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut => End::Timeout,
            _ => End::Failed(error),
        }
    }

    /// Whether the server is stopping or is being restarted, so that nothing else is known of the way to it.
    pub fn is_restart(&self) -> bool {
        matches!(self, End::GoingAway(_))
    }

    /// Describes what happened within the time `time`.
    pub fn tell(&self, time: Duration) -> String {
        match self {
            End::Timeout => format!("no answer in {time:?}"),
            End::Closed(code) => format!("the server closed the connection with code {code}"),
            End::GoingAway(code) => {
                format!("the server said that it goes away, with code {code}")
            }
            End::Eof => "the connection ended without a close frame".to_owned(),
            End::Failed(error) => format!("the connection failed: {error}"),
            End::Protocol(why) => format!("the server broke the WebSocket protocol: {why}"),
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    /// The bytes of frames that were not parsed yet.
    input: Vec<u8>,
    /// The kind and the payload of a message that is not complete.
    fragments: Option<(u8, Vec<u8>)>,
    /// Whether a close frame was sent.
    closing: bool,
    timeout: Duration,
    /// The deadline after which there was one more read.
    late_for: Option<Instant>,
}

impl Socket {
    /// Sends a frame with a payload of at most 64 KiB.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<(), End> {
        self.stream.set_deadline(Instant::now() + self.timeout);
        let sent = self.stream.write_all(&frame::masked(opcode, payload));
        sent.and_then(|()| self.stream.flush()).map_err(End::of)
    }

    /// Waits for an event that `is_it` accepts, and skips all other events. The wait ends after the
    /// time of a step.
    pub fn wait(&mut self, is_it: impl Fn(&Event) -> bool) -> Result<(), End> {
        let until = Instant::now() + self.timeout;
        while !is_it(&self.next(until)?) {}
        Ok(())
    }

    /// Waits for the next message, ping or pong.
    pub fn next(&mut self, until: Instant) -> Result<Event, End> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            if self.input.len() > MAX_MESSAGE {
                return Err(End::Protocol("a message is longer than 1 MiB"));
            }
            // Bytes that arrived in time are read even if this process was stopped meanwhile. There
            // is only one such read, so that a server that sends without a pause does not hold the
            // doctor for ever.
            if Instant::now() >= until && self.late_for.replace(until) == Some(until) {
                return Err(End::Timeout);
            }
            self.stream.set_deadline(until);
            let mut bytes = [0; READ];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(End::Eof),
                Ok(length) => self.input.extend_from_slice(&bytes[..length]),
                Err(error) => return Err(End::of(error)),
            }
        }
    }

    /// Takes whole frames out of the bytes that have arrived, up to the end of a message.
    fn take(&mut self) -> Result<Option<Event>, End> {
        loop {
            let (fin, opcode, payload, size) = match frame::parse(&self.input) {
                Parsed::Frame { fin, opcode, payload, size } => {
                    (fin, opcode, payload.to_vec(), size)
                }
                Parsed::Partial => return Ok(None),
                Parsed::Bad(why) => return Err(End::Protocol(why)),
            };
            self.input.drain(..size);
            let (opcode, mut message) = match (opcode, self.fragments.take()) {
                (frame::PING, fragments) => {
                    self.fragments = fragments;
                    self.send(frame::PONG, &payload)?;
                    return Ok(Some(Event::Ping));
                }
                (frame::PONG, fragments) => {
                    self.fragments = fragments;
                    return Ok(Some(Event::Pong(payload)));
                }
                (frame::CLOSE, _) => {
                    let code = frame::close_code(&payload).map_err(End::Protocol)?;
                    // The answer to the doctor's own close frame is not answered (RFC 6455, section
                    // 5.5.1).
                    if !self.closing {
                        let _ = self.send(frame::CLOSE, &payload[..payload.len().min(2)]);
                    }
                    let reason = payload.get(2..).unwrap_or_default();
                    return Err(match code {
                        1_001 if reason == GOING_AWAY => End::GoingAway(code),
                        1_012 | 4_012 => End::GoingAway(code),
                        code => End::Closed(code),
                    });
                }
                (frame::CONTINUATION, Some(begun)) => begun,
                (frame::TEXT | frame::BINARY, None) => (opcode, Vec::new()),
                _ => return Err(End::Protocol("fragments are out of order")),
            };
            message.extend_from_slice(&payload);
            if message.len() > MAX_MESSAGE {
                return Err(End::Protocol("a message is longer than 1 MiB"));
            }
            match (fin, opcode) {
                (false, _) => self.fragments = Some((opcode, message)),
                (true, frame::TEXT) => return Ok(Some(Event::Text(message))),
                (true, _) => return Ok(Some(Event::Binary)),
            }
        }
    }

    /// Closes with a close frame; returns the code with which the server answers.
    pub fn close(mut self) -> Result<u16, End> {
        self.send(frame::CLOSE, &1_000_u16.to_be_bytes())?;
        self.closing = true;
        match self.wait(|_| false) {
            Err(End::Closed(code) | End::GoingAway(code)) => Ok(code),
            done => done.map(|()| 1_005),
        }
    }
}
