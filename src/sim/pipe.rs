//! One connection as its client and the kernel see it.

use std::collections::VecDeque;
use std::io::ErrorKind;

use super::frames::{Decoder, Got};
use crate::hub::ConnId;

/// One connection as its client and the kernel see it. As a kernel does, a pipe takes a limited
/// number of bytes until the client reads them, and reports an end of stream or a reset. Its
/// events are edge-triggered.
#[derive(Debug)]
pub struct Pipe {
    /// The id of the connection in the hub.
    pub conn: ConnId,
    /// The bytes that the client has sent and the server has not read.
    pub to_server: VecDeque<u8>,
    pub(super) fin: bool,
    pub(super) reset: Option<ErrorKind>,
    /// The bytes that the server has written and the client has not read.
    pub(super) to_client: Vec<u8>,
    /// How many bytes the kernel takes for a client that does not read.
    pub capacity: usize,
    pub(super) reading: bool,
    /// The decoder of the bytes that the client reads.
    pub decoder: Decoder,
    /// The answers and frames that the client has read.
    pub got: Vec<Got>,
    /// A text, and how many messages equal to it the client has read. Such messages are counted
    /// here instead of being kept in `got`. An empty text counts nothing.
    pub counted: (String, u64),
    /// How often the server has written.
    pub writes: u64,
    /// Whether the server has ended its side of the stream.
    pub shut: bool,
    /// Whether the server has closed the socket.
    pub closed: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) blocked: bool,
    pub(super) scheduled: bool,
    pub(super) queued: bool,
    pub(super) ended: bool,
    /// Whether the hub was told of the end of the stream or of the failure.
    pub(super) told: bool,
}

impl Pipe {
    pub(super) fn new(conn: ConnId, capacity: usize) -> Self {
        Pipe {
            conn,
            to_server: VecDeque::new(),
            fin: false,
            reset: None,
            to_client: Vec::new(),
            capacity,
            reading: true,
            decoder: Decoder::default(),
            got: Vec::new(),
            counted: (String::new(), 0),
            writes: 0,
            shut: false,
            closed: false,
            readable: false,
            writable: false,
            blocked: false,
            scheduled: false,
            queued: false,
            ended: false,
            told: false,
        }
    }

    /// Returns the text messages that the client has read.
    pub fn texts(&self) -> Vec<&str> {
        self.got
            .iter()
            .filter_map(|got| if let Got::Text(text) = got { Some(&text[..]) } else { None })
            .collect()
    }

    /// Returns whether the client cannot send any more.
    pub fn is_finished(&self) -> bool {
        self.fin || self.reset.is_some() || self.closed
    }

    /// Returns whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// Returns whether the client has sent something, or ended its side, that the server has not
    /// read yet.
    pub fn is_unread(&self) -> bool {
        let ended = self.fin || self.reset.is_some();
        !self.closed && (!self.to_server.is_empty() || ended && !self.told)
    }

    /// Returns whether the client reads what it is sent.
    pub fn is_reading(&self) -> bool {
        self.reading
    }
}
