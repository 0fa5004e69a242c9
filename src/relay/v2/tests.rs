//! The relay with a journal that completes later, as one on a disk or in another program does.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::hub::{Config, ConnId, Hub};
use crate::journal::{Append, Completed, Completion, Journal, Kept, Progress, Question, Ticket};
use crate::relay::{Relay, RelayConfig};
use crate::wire::Peer;

/// The sends that wait for the journal: the ticket, and the user and number of each record.
type Waiting = Arc<Mutex<Vec<(Ticket, Vec<(String, u64)>)>>>;

#[derive(Debug, Default)]
struct Late {
    waiting: Waiting,
}

impl Journal for Late {
    fn epoch(&self) -> &str {
        "late"
    }

    fn end_of_epoch(&self, _: &str, epoch: &str) -> Option<u64> {
        (epoch == "before").then_some(5)
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        let records = append.records.iter().map(|it| (it.user.to_owned(), it.seq)).collect();
        self.waiting.lock().unwrap().push((ticket, records));
        Progress::Later
    }

    fn load(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Later
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Later
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Later
    }

    fn forget(&mut self, _: Ticket, _: &str) -> Progress {
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
        let now = Instant::now();
        let waiting = Waiting::default();
        let mut relay = Relay::new(RelayConfig::default());
        relay.v2.journal = Some(Box::new(Late { waiting: waiting.clone() }));
        Site { hub: Hub::new(Config::default(), relay, now), waiting, now }
    }

    fn connect(&mut self, user: &str, query: &str) -> ConnId {
        let conn = self.hub.open(Peer::UNKNOWN, true, self.now).unwrap();
        let mut head = format!(
            "GET /websocket/{user}?v=2{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
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
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Every frame begins with this text, and no other object in a frame does.
        let mut frames = Vec::new();
        for part in text.split(r#"{"type":""#).skip(1) {
            let object = format!(r#"{{"type":"{part}"#);
            let mut stream = serde_json::Deserializer::from_str(&object).into_iter::<Value>();
            frames.push(stream.next().unwrap().unwrap());
        }
        frames
    }

    fn types(&mut self, conn: ConnId) -> Vec<String> {
        self.frames(conn).iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect()
    }

    fn complete(&mut self, completion: Completion) -> Vec<(String, u64)> {
        let (ticket, records) = self.waiting.lock().unwrap().remove(0);
        self.hub.deliver(Completed { ticket, completion }, self.now);
        records
    }
}

fn stored() -> Completion {
    Completion::Appended(Kept { is_stored: true, seqs: Vec::new() })
}

const SEND: &str = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi"}"#;

#[test]
fn nothing_is_delivered_or_answered_before_the_journal_says_that_it_is_kept() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    let bob = site.connect("bob", "");
    site.frames(alice);
    site.say(alice, SEND);
    assert!(site.types(bob).is_empty());
    assert!(site.types(alice).is_empty());
    let records = site.complete(stored());
    assert_eq!(records, [("bob".to_owned(), 1)]);
    // `frames` writes the queues of all connections, so each connection has a send of its own.
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["type"], &frames[0]["state"]), (&"ack".into(), &"stored".into()));
    site.say(alice, r#"{"type":"send","cid":"c2","toUserId":"bob","message":"again"}"#);
    site.complete(stored());
    let frames = site.frames(bob);
    assert_eq!((&frames[0]["message"], &frames[0]["seq"]), (&"again".into(), &2.into()));
}

#[test]
fn a_send_that_comes_again_while_it_is_being_kept_is_answered_once_on_the_new_connection() {
    let mut site = Site::new();
    let old = site.connect("alice", "&device=a");
    site.say(old, SEND);
    let new = site.connect("alice", "&device=a");
    site.frames(new);
    site.say(new, SEND);
    assert_eq!(site.waiting.lock().unwrap().len(), 1);
    site.complete(stored());
    assert_eq!(site.types(new), ["ack"]);
    site.say(new, SEND);
    let frames = site.frames(new);
    assert_eq!((&frames[0]["state"], &frames[0]["was"]), (&"duplicate".into(), &"stored".into()));
}

#[test]
fn after_a_refusal_that_may_be_tried_again_later_sends_wait_for_the_first_one() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, SEND);
    site.complete(Completion::Unavailable);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"unavailable".into(), &true.into()));
    assert_eq!(frames[0]["cid"], "c1");
    site.say(alice, r#"{"type":"send","cid":"c2","toUserId":"bob","message":"later"}"#);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"after".into(), &true.into()));
    site.say(alice, r#"{"type":"send","toUserId":"bob","message":1,"volatile":true}"#);
    assert!(site.types(alice).is_empty(), "volatile messages are not affected");
    site.say(alice, SEND);
    site.say(alice, r#"{"type":"send","cid":"c2","toUserId":"bob","message":"later"}"#);
    assert_eq!(site.waiting.lock().unwrap().len(), 2);
    site.complete(stored());
    site.complete(stored());
    assert_eq!(site.types(alice), ["ack", "ack"]);
}

#[test]
fn more_than_256_sends_without_an_answer_are_refused_and_may_be_tried_again() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    for number in 0..257 {
        let send = format!(r#"{{"type":"send","cid":"n{number}","toUserId":"bob","message":1}}"#);
        site.say(alice, &send);
    }
    let frames = site.frames(alice);
    assert_eq!(frames.len(), 1);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"rate".into(), &true.into()));
    assert_eq!(site.waiting.lock().unwrap().len(), 256);
}

#[test]
fn numbers_that_the_journal_gives_are_those_that_devices_see() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    let bob = site.connect("bob", "");
    site.frames(bob);
    site.say(alice, SEND);
    site.complete(Completion::Appended(Kept { is_stored: false, seqs: vec![77] }));
    let frames = site.frames(bob);
    assert_eq!(frames[0]["seq"], 77);
}

#[test]
fn a_last_of_an_epoch_that_is_remembered_is_known_up_to_its_end() {
    let mut site = Site::new();
    let bob = site.connect("bob", "&last=before-9");
    let frames = site.frames(bob);
    assert_eq!(frames[0]["resumed"], false);
    assert_eq!((&frames[1]["type"], &frames[1]["reason"]), (&"gap".into(), &"lost".into()));
    assert!(frames[1]["from"].is_null());
    assert_eq!(frames[1]["to"], frames[0]["cursor"]);
}
