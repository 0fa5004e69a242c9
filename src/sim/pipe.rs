//! One connection as client and kernel see it.

use std::collections::VecDeque;
use std::io::ErrorKind;

use super::frames::{Decoder, Got};
use crate::hub::ConnId;

/// One connection as its client and the kernel see it. A pipe is what a kernel is: it takes so
/// many bytes until the client reads them, it tells of an end of stream or a reset, and its
/// events are edges.
#[derive(Debug)]
pub struct Pipe {
    /// Its id in the hub.
    pub conn: ConnId,
    /// On its way to the server.
    pub to_server: VecDeque<u8>,
    pub(super) fin: bool,
    pub(super) reset: Option<ErrorKind>,
    /// What the client has not read yet.
    pub(super) to_client: Vec<u8>,
    /// How much the kernel takes for a client that does not read.
    pub capacity: usize,
    pub(super) reading: bool,
    /// What decodes what the client reads.
    pub decoder: Decoder,
    /// What has arrived at the client.
    pub got: Vec<Got>,
    /// Texts equal to this are counted and not kept.
    pub counted: (String, u64),
    /// How often the server has written.
    pub writes: u64,
    /// The server has ended its side.
    pub shut: bool,
    /// The server has closed the socket.
    pub closed: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) blocked: bool,
    pub(super) scheduled: bool,
    pub(super) queued: bool,
    pub(super) ended: bool,
    /// The server was told of the end.
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

    /// The text messages that have arrived.
    pub fn texts(&self) -> Vec<&str> {
        self.got
            .iter()
            .filter_map(|got| if let Got::Text(text) = got { Some(&text[..]) } else { None })
            .collect()
    }

    /// The client cannot send any more.
    pub fn is_finished(&self) -> bool {
        self.fin || self.reset.is_some() || self.closed
    }

    /// The connection has broken.
    pub fn is_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// Something has come from the client that the server has not read.
    pub fn is_unread(&self) -> bool {
        let ended = self.fin || self.reset.is_some();
        !self.closed && (!self.to_server.is_empty() || ended && !self.told)
    }

    /// The client reads what it is sent.
    pub fn is_reading(&self) -> bool {
        self.reading
    }
}
