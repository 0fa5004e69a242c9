//! The relay with a journal that completes later, as one on a disk or in another program does.

#[cfg(test)]
mod disk;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod order;
#[cfg(test)]
mod requests;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::hub::{Config, ConnId, Hub};
use crate::journal::{
    Append, Completed, Completion, Journal, Kept, Kind, Of, Progress, Question, Stored,
    StoredRecord, Ticket,
};
use crate::relay::{Relay, RelayConfig};
use crate::wire::Peer;

/// What was appended and is not completed.
#[derive(Debug)]
struct Waits {
    ticket: Ticket,
    round: u32,
    /// Each record's user and number.
    records: Vec<(String, u64)>,
}

/// A journal that completes later, in the order in which it was asked, and has room for so many
/// appends.
#[derive(Debug)]
struct Late {
    waiting: Waiting,
    room: usize,
}

type Waiting = Arc<Mutex<Vec<Waits>>>;

impl Journal for Late {
    fn epoch(&self) -> &str {
        "late"
    }

    fn end_of_epoch(&self, _: &str, epoch: &str) -> Option<u64> {
        (epoch == "before").then_some(5)
    }

    fn has_room(&self) -> bool {
        self.waiting.lock().unwrap().len() < self.room
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        let records = append.records.iter().map(|it| (it.user.to_owned(), it.seq)).collect();
        let waits = Waits { ticket, round: append.round, records };
        self.waiting.lock().unwrap().push(waits);
        Progress::Later
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Later
    }

    fn history(&mut self, ticket: Ticket, question: &Question<'_>) -> Progress {
        let Of::Pair(_, with) = question.of else { panic!("{question:?}") };
        let records = vec![(with.to_owned(), question.limit)];
        self.waiting.lock().unwrap().push(Waits { ticket, round: 0, records });
        Progress::Later
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Later
    }
}

struct Site {
    hub: Hub<Relay>,
    waiting: Waiting,
    now: Instant,
}

impl Site {
    fn new() -> Self {
        Site::with(RelayConfig::default(), usize::MAX)
    }

    /// With room for so many appends that are not completed.
    fn with(config: RelayConfig, room: usize) -> Self {
        let now = Instant::now();
        let waiting = Waiting::default();
        let journal = Late { waiting: waiting.clone(), room };
        let relay = Relay::new(config).with_journal(Box::new(journal));
        Site { hub: Hub::new(Config::default(), relay, now), waiting, now }
    }

    /// Takes a turn, without writing.
    fn turn(&mut self) {
        self.hub.tick(self.now);
    }

    /// Ends a connection without a word.
    fn cut(&mut self, conn: ConnId) {
        self.hub.failed(conn, &std::io::ErrorKind::ConnectionReset.into());
        while self.hub.reap().is_some() {}
    }

    /// How many appends wait for the journal.
    fn waits(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// Checks that nothing is left of what was given to the journal.
    fn assert_nothing_waits(&mut self) {
        self.flush();
        let v2 = &self.hub.handler().v2;
        assert!(v2.pending.is_empty() && v2.pending_cids.is_empty() && v2.room.is_empty());
        assert!(v2.loads.is_empty());
        assert!(v2.requests.is_empty() && self.hub.handler().groups.changes.is_empty());
        assert_eq!(v2.boxes.pinned(), 0);
        self.hub.check_invariants();
    }

    /// Writes all that is queued, and ends the turn.
    fn flush(&mut self) {
        while let Some(conn) = self.hub.pop_dirty() {
            let bytes = self.hub.queued(conn);
            let _ = self.hub.sent(conn, bytes);
        }
        self.hub.end_turn();
        while self.hub.reap().is_some() {}
    }

    /// Connects a client of the dialect v2.
    fn connect(&mut self, user: &str, query: &str) -> ConnId {
        self.shake_hands(user, &format!("v=2{query}"))
    }

    /// Connects a page of the dialect v1.
    fn page(&mut self, user: &str, query: &str) -> ConnId {
        self.shake_hands(user, query)
    }

    fn shake_hands(&mut self, user: &str, query: &str) -> ConnId {
        let conn = self.hub.open(Peer::UNKNOWN, true, self.now).unwrap();
        let mut head = format!(
            "GET /websocket/{user}?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        self.hub.receive(conn, &mut head, self.now);
        conn
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let mut frame = match text.len() {
            0..126 => vec![0x81, 0x80 | text.len() as u8],
            _ => vec![0x81, 0x80 | 126, length[0], length[1]],
        };
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.hub.receive(conn, &mut frame, self.now);
    }

    /// Writes the queues of all connections, and returns the frames of one of them.
    fn frames(&mut self, conn: ConnId) -> Vec<Value> {
        let mut bytes = Vec::new();
        while let Some(dirty) = self.hub.pop_dirty() {
            let pending = self.hub.pending(dirty).unwrap();
            let mut slices = vec![std::io::IoSlice::new(&[]); 64];
            let count = pending.gather(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            if dirty == conn {
                bytes.extend(&all);
            }
            let _ = self.hub.sent(dirty, all.len());
        }
        frames_in(&bytes)
    }

    /// Writes the queues of all connections, and returns the frames of each of these.
    fn all_frames(&mut self, conns: &[ConnId]) -> Vec<Vec<Value>> {
        let mut all = vec![Vec::new(); conns.len()];
        while let Some(dirty) = self.hub.pop_dirty() {
            let pending = self.hub.pending(dirty).unwrap();
            let mut slices = vec![std::io::IoSlice::new(&[]); 64];
            let count = pending.gather(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            if let Some(at) = conns.iter().position(|conn| *conn == dirty) {
                all[at].extend(&bytes);
            }
            let _ = self.hub.sent(dirty, bytes.len());
        }
        all.iter().map(|bytes| frames_in(bytes)).collect()
    }

    fn types(&mut self, conn: ConnId) -> Vec<String> {
        self.frames(conn).iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect()
    }

    fn complete(&mut self, completion: Completion) -> Vec<(String, u64)> {
        let Waits { ticket, records, .. } = self.waiting.lock().unwrap().remove(0);
        self.hub.deliver(Completed { ticket, completion }.into(), self.now);
        records
    }

    /// The oldest append could not be kept, and so all others of its round could not.
    fn fail(&mut self) {
        let round = self.waiting.lock().unwrap()[0].round;
        let is_next = |waits: &Waits| waits.round == round;
        while self.waiting.lock().unwrap().first().is_some_and(is_next) {
            self.complete(Completion::Unavailable);
        }
    }
}

/// The frames in what was written to a connection.
fn frames_in(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    // Every frame is an object that begins with this text.
    let (mut frames, mut rest) = (Vec::new(), &*text);
    while let Some(start) = rest.find(r#"{"type":""#) {
        let mut stream = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<Value>();
        frames.push(stream.next().unwrap().unwrap());
        rest = &rest[start + stream.byte_offset()..];
    }
    frames
}

fn stored() -> Completion {
    Completion::Appended(Kept { is_stored: true, ..Kept::default() })
}

const SEND: &str = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi"}"#;

fn send(cid: &str, to: &str) -> String {
    format!(r#"{{"type":"send","cid":"{cid}","toUserId":"{to}","message":"{cid}"}}"#)
}

/// The messages in frames, in their order.
fn messages(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["message"].as_str()).collect()
}
