//! A hub with a handler, whose peers read everything that is written. It is for targets that
//! examine what a server does with the bytes of one connection.

use std::io::{self, IoSlice};
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use longlink::run::Sink;
use longlink::sim::Bare;
use longlink::{Config, ConnId, Handler};

/// The bytes that were written to all connections.
#[derive(Default)]
pub struct Written(Vec<u8>);

impl Sink for Written {
    fn write(&mut self, _: usize, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(index, slice)).sum()
    }
}

pub struct Server<H: Handler> {
    bare: Bare<H, Written>,
}

impl<H: Handler> Server<H> {
    /// No client hangs up before it [leaves](Server::leave).
    pub fn new(config: Config, handler: H, now: Instant) -> Self {
        let mut bare = Bare::new(config, handler, Written::default(), now);
        bare.clients_hang_up = false;
        Server { bare }
    }

    /// Gives the hub bytes, and takes turns until the hub has nothing left to do at that time.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        self.bare.now = now;
        self.bare.receive(conn, bytes);
        self.settle(now);
    }

    /// Ends the peer's side of the stream. If the connection is still there afterwards, it is reset.
    pub fn leave(&mut self, conn: ConnId, now: Instant) {
        self.hub.input_ended(conn);
        self.settle(now);
        self.hub.failed(conn, &io::ErrorKind::ConnectionReset.into());
        self.settle(now);
    }

    pub fn settle(&mut self, now: Instant) {
        self.bare.now = now;
        self.bare.settle();
    }

    /// Returns what was written since the last call of this function.
    pub fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bare.sink.0)
    }
}

impl<H: Handler> Deref for Server<H> {
    type Target = Bare<H, Written>;

    fn deref(&self) -> &Self::Target {
        &self.bare
    }
}

impl<H: Handler> DerefMut for Server<H> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bare
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| *field == name).map(|(_, value)| value).next()
    }
}

/// Takes answers apart that have a `Content-Length`; 100 and 101 have none. Panics where that is
/// not possible. What follows a 101 is the body of that answer.
pub fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head that ends");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text").to_owned();
        bytes = &bytes[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = match status {
            100 => 0,
            101 => bytes.len(),
            _ => {
                let length = answer.field("Content-Length").expect("an answer has a length");
                length.parse().expect("a number")
            }
        };
        answer.body = bytes[..length].to_vec();
        bytes = &bytes[length..];
        answers.push(answer);
    }
    answers
}
