//! The relay with a journal that completes later, as one on a disk or in another program does.

#[cfg(test)]
mod disk;

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
        self.hub.deliver(Completed { ticket, completion }, self.now);
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
    assert_eq!(site.waits(), 1);
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
    assert_eq!(site.waits(), 2);
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
    assert_eq!(site.waits(), 256);
    assert!(site.types(alice).is_empty(), "answers come in the order of the sends");
    for _ in 0..256 {
        site.complete(stored());
    }
    let frames = site.frames(alice);
    assert_eq!(frames.len(), 257);
    assert!(frames[..256].iter().all(|frame| frame["type"] == "ack"));
    assert_eq!((&frames[256]["code"], &frames[256]["retry"]), (&"rate".into(), &true.into()));
    site.assert_nothing_waits();
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

fn send(cid: &str, to: &str) -> String {
    format!(r#"{{"type":"send","cid":"{cid}","toUserId":"{to}","message":"{cid}"}}"#)
}

/// The messages in frames, in their order.
fn messages(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["message"].as_str()).collect()
}

#[test]
fn what_was_given_to_the_journal_behind_a_failure_does_not_overtake_it() {
    let mut site = Site::new();
    let (alice, bob) = (site.connect("alice", ""), site.connect("bob", ""));
    site.frames(alice);
    site.frames(bob);
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.fail();
    let frames = site.frames(alice);
    let codes: Vec<_> = frames.iter().map(|it| (it["cid"].clone(), it["code"].clone())).collect();
    let expected = [("c1", "unavailable"), ("c2", "after"), ("c3", "after")];
    assert_eq!(codes, expected.map(|(cid, code)| (cid.into(), code.into())));
    assert!(frames.iter().all(|frame| frame["retry"] == true));
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
        site.complete(stored());
    }
    assert_eq!(messages(&site.frames(bob)), ["c1", "c2", "c3"]);
    site.assert_nothing_waits();
}

#[test]
fn answers_come_in_the_order_of_the_sends_whatever_they_are() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, &send("c1", "bob"));
    site.say(alice, r#"{"type":"send","cid":"c2","message":1}"#);
    site.say(alice, r#"{"type":"send","cid":"c3","all":true,"message":1}"#);
    site.say(alice, r#"{"type":"send","cid":"c4","toUserId":"x","message":1,"volatile":true}"#);
    site.say(alice, &send("c5", "bob"));
    assert!(site.types(alice).is_empty());
    site.complete(stored());
    let cids = |frames: Vec<Value>| -> Vec<String> {
        frames.iter().map(|it| it["cid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(cids(site.frames(alice)), ["c1", "c2", "c3", "c4"]);
    site.complete(stored());
    assert_eq!(cids(site.frames(alice)), ["c5"]);
    site.assert_nothing_waits();
}

#[test]
fn a_message_of_a_v1_page_is_delivered_when_the_journal_has_it_and_not_before() {
    let mut site = Site::new();
    let bob = site.connect("bob", "");
    let page = site.page("anna", "");
    let tablet = site.page("bob", "device=tablet");
    site.frames(bob);
    site.say(page, r#"{"toUserId":"bob","message":"hi"}"#);
    assert_eq!(site.waits(), 1);
    assert!(site.types(bob).is_empty() && site.types(tablet).is_empty());
    site.complete(stored());
    assert_eq!(messages(&site.frames(bob)), ["hi"]);
    site.say(page, r#"{"toUserId":"bob","message":"again"}"#);
    site.complete(stored());
    assert_eq!(messages(&site.frames(tablet)), ["again"]);
    site.say(page, r#"{"toUserId":"anna","message":"to a page alone"}"#);
    assert_eq!(site.waits(), 0, "a message from page to page never touches the journal");
    site.assert_nothing_waits();
}

#[test]
fn receipts_and_copies_for_the_senders_other_devices_go_through_the_journal() {
    let mut site = Site::new();
    let (alice, pad) = (site.connect("alice", "&device=a"), site.connect("alice", "&device=pad"));
    let bob = site.connect("bob", "");
    site.frames(alice);
    let text = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi","receipt":true}"#;
    site.say(alice, text);
    let records = site.complete(stored());
    let names: Vec<&str> = records.iter().map(|(user, _)| &**user).collect();
    assert_eq!(names, ["bob", "alice"], "both are kept together");
    assert_eq!(site.frames(pad)[0]["own"], true);
    site.say(bob, r#"{"type":"ack","seq":1}"#);
    assert_eq!(site.waits(), 1);
    assert!(site.types(alice).is_empty());
    let records = site.complete(stored());
    assert_eq!(records, [("alice".to_owned(), 2)]);
    assert_eq!(site.types(alice), ["receipt"]);
    site.assert_nothing_waits();
}

#[test]
fn while_the_journal_has_no_room_senders_are_not_read_and_nothing_is_dropped() {
    let mut site = Site::with(RelayConfig::default(), 2);
    let bob = site.connect("bob", "");
    let senders: Vec<ConnId> = (0..4).map(|n| site.connect(&format!("u{n}"), "")).collect();
    let page = site.page("anna", "");
    site.frames(bob);
    for (at, sender) in senders.iter().enumerate() {
        for number in 0..3 {
            site.say(*sender, &send(&format!("{at}-{number}"), "bob"));
        }
    }
    for number in 0..3 {
        let text = format!(r#"{{"toUserId":"bob","message":"page-{number}"}}"#);
        site.say(page, &text);
    }
    assert_eq!(site.waits(), 2);
    site.flush();
    site.hub.check_invariants();
    // However long that lasts, nobody is ended for being silent meanwhile.
    site.now += std::time::Duration::from_secs(50);
    site.turn();
    let mut got = Vec::new();
    while site.waits() > 0 {
        assert!(site.waits() <= 2, "no more than there is room for");
        site.complete(stored());
        site.turn();
        got.extend(messages(&site.frames(bob)).iter().map(|text| (*text).to_owned()));
    }
    assert_eq!(got.len(), 15, "{got:?}");
    for sender in ["0-", "1-", "2-", "3-", "page-"] {
        let of_sender: Vec<&String> = got.iter().filter(|it| it.starts_with(sender)).collect();
        assert!(of_sender.is_sorted() && of_sender.len() == 3, "{of_sender:?}");
    }
    assert!(senders.iter().all(|conn| site.hub.is_open(*conn)));
    site.assert_nothing_waits();
}

#[test]
fn a_mailbox_with_something_that_waits_for_the_journal_is_not_given_up() {
    let config = RelayConfig { mailbox_memory: 600, ..RelayConfig::default() };
    let mut site = Site::with(config, usize::MAX);
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, &send("c1", "stranger"));
    site.say(alice, r#"{"type":"send","cid":"many","toUserIds":["s1","s2","s3"],"message":1}"#);
    for number in 0..20 {
        site.connect(&format!("u{number}"), "");
    }
    site.cut(alice);
    site.complete(stored());
    site.complete(stored());
    let v2 = &site.hub.handler().v2;
    assert!(v2.boxes.shed() > 0 || v2.boxes.find("stranger").is_some());
    site.assert_nothing_waits();
}

#[test]
fn what_waits_for_the_journal_counts_for_a_device_that_connects_meanwhile() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    let old = site.connect("bob", "&device=old");
    site.frames(old);
    site.say(alice, &send("c1", "bob"));
    let new = site.connect("bob", "&device=new");
    let frames = site.frames(new);
    assert_eq!((&frames[0]["seq"], &frames[0]["cursor"]), (&0.into(), &0.into()));
    assert_eq!((&frames[1]["type"], &frames[1]["seq"]), (&"live".into(), &0.into()));
    site.complete(stored());
    assert_eq!(messages(&site.frames(new)), ["c1"]);
}

#[test]
fn nothing_is_left_when_the_journal_completes_what_its_sender_has_left_behind() {
    let mut site = Site::new();
    let alice = site.connect("alice", "&device=a");
    site.frames(alice);
    for cid in ["c1", "c2", "c3"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.cut(alice);
    site.complete(stored());
    site.fail();
    site.assert_nothing_waits();
    let alice = site.connect("alice", "&device=a");
    site.frames(alice);
    for cid in ["c1", "c2"] {
        site.say(alice, &send(cid, "bob"));
    }
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["state"], &frames[0]["was"]), (&"duplicate".into(), &"stored".into()));
    assert_eq!((frames.len(), site.waits()), (1, 1), "what failed is taken anew");
    site.complete(stored());
    site.assert_nothing_waits();
}

/// A message from alice to bob, as a journal returns it.
fn old_message() -> Stored {
    let record =
        StoredRecord { user: "bob".into(), seq: 7, kind: Kind::ToUser, to: "".into(), marks: 0 };
    Stored {
        id: 5 << 80,
        user: "alice".into(),
        device: "".into(),
        cid: "c1".into(),
        content: 0,
        group: "".into(),
        key: "".into(),
        size: 5,
        message: r#""old""#.to_owned(),
        left: Some(60),
        records: vec![record],
    }
}

#[test]
fn older_messages_come_from_the_journal_and_only_members_read_a_group() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, r#"{"type":"history","cid":"h1","with":"bob","limit":7}"#);
    let asked = site.complete(Completion::History(vec![old_message()], true));
    assert_eq!(asked, [("bob".to_owned(), 7)]);
    let frames = site.frames(alice);
    assert_eq!(frames[0]["type"], "history");
    assert_eq!((&frames[0]["cid"], &frames[0]["more"]), (&"h1".into(), &true.into()));
    assert_eq!(frames[0]["messages"][0]["message"], "old");
    site.say(alice, r#"{"type":"history","cid":"h2","group":"g"}"#);
    assert_eq!(site.frames(alice)[0]["code"], "not-member");
    site.say(alice, r#"{"type":"history","cid":"h3","with":"bob"}"#);
    site.complete(Completion::Unavailable);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"unavailable".into(), &true.into()));
}

#[cfg(feature = "backend")]
#[test]
fn the_backend_is_answered_when_the_journal_has_its_messages() {
    use crate::backend::{Backend, BackendConfig};

    let mut site = Site::new();
    let relay = std::mem::replace(site.hub.parts().1, Relay::new(RelayConfig::default()));
    *site.hub.parts().1 = relay.with_backend(Backend::new(BackendConfig::default()));
    site.connect("bob", "");
    let ask = |site: &mut Site, body: &str| {
        let conn = site.hub.open(Peer::UNKNOWN, true, site.now).unwrap();
        site.hub.set_listener(conn, Backend::LISTENER);
        let mut request = format!(
            "POST /api/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
        site.hub.receive(conn, &mut request, site.now);
        conn
    };
    let answer = |site: &mut Site, conn: ConnId| -> Option<String> {
        let mut all = Vec::new();
        while let Some(dirty) = site.hub.pop_dirty() {
            let bytes = site.hub.pending(dirty).unwrap().single().unwrap().to_vec();
            let _ = site.hub.sent(dirty, bytes.len());
            if dirty == conn {
                all = bytes;
            }
        }
        let text = String::from_utf8(all).unwrap();
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    };
    let body = r#"{"users":["bob","eve","bob2"],"message":1,"keep":true,"idempotencyKey":"k"}"#;
    let conn = ask(&mut site, body);
    assert_eq!((site.waits(), answer(&mut site, conn)), (3, None));
    site.complete(stored());
    site.complete(Completion::Unavailable);
    let expected = r#"{"results":[{"user":"bob","state":"stored","online":true},{"user":"eve","state":"busy","online":false},{"user":"bob2","state":"busy","online":false}]}"#;
    assert_eq!(answer(&mut site, conn).as_deref(), Some(expected));
    site.complete(Completion::Unavailable);
    // What could not be kept is tried again when the request comes again, and nothing else is.
    let conn = ask(&mut site, body);
    assert_eq!(site.waits(), 2);
    assert_eq!(site.complete(stored())[0].0, "eve");
    assert_eq!(answer(&mut site, conn), None, "one is still missing");
    site.complete(stored());
    assert!(answer(&mut site, conn).unwrap().contains(r#""user":"eve","state":"stored""#));
    // The same holds for a message to a group.
    let (cx, relay) = site.hub.parts();
    relay.groups.members.add(cx, "g", "bob").unwrap();
    let body = r#"{"group":"g","message":2,"idempotencyKey":"g"}"#;
    let conn = ask(&mut site, body);
    assert_eq!((site.waits(), answer(&mut site, conn)), (1, None));
    site.complete(Completion::Unavailable);
    let busy = r#"{"results":[{"group":"g","state":"busy","connections":0}]}"#;
    assert_eq!(answer(&mut site, conn).as_deref(), Some(busy));
    for is_first in [true, false] {
        let conn = ask(&mut site, body);
        assert_eq!(site.waits(), usize::from(is_first), "it is kept once");
        if is_first {
            site.complete(stored());
        }
        let stored = r#"{"results":[{"group":"g","state":"stored","connections":1}]}"#;
        assert_eq!(answer(&mut site, conn).as_deref(), Some(stored));
    }
    site.assert_nothing_waits();
}

#[test]
fn a_failure_gives_back_at_once_what_was_given_to_the_journal_after_it() {
    let mut site = Site::new();
    let (alice, bob) = (site.connect("alice", "&device=a"), site.connect("bob", ""));
    site.frames(alice);
    site.frames(bob);
    for cid in ["c15", "c16", "c17"] {
        site.say(alice, &send(cid, "bob"));
    }
    site.complete(Completion::Unavailable);
    let cids: Vec<Value> = site.frames(alice).iter().map(|frame| frame["cid"].clone()).collect();
    assert_eq!(cids, ["c15", "c16", "c17"]);
    site.cut(alice);
    let alice = site.connect("alice", "&device=a");
    site.frames(alice);
    for cid in ["c15", "c16", "c17", "c18"] {
        site.say(alice, &send(cid, "bob"));
    }
    // These completions belong to the failed round.
    site.complete(Completion::Unavailable);
    site.complete(Completion::Unavailable);
    for _ in 0..4 {
        site.complete(stored());
    }
    assert_eq!(messages(&site.frames(bob)), ["c15", "c16", "c17", "c18"]);
    site.assert_nothing_waits();
}

#[test]
fn a_send_that_failed_has_to_come_again_before_those_that_were_refused_meanwhile() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    for number in 0..257 {
        site.say(alice, &send(&format!("n{number}"), "bob"));
    }
    site.fail();
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["cid"], &frames[0]["code"]), (&"n0".into(), &"unavailable".into()));
    assert_eq!((&frames[256]["cid"], &frames[256]["code"]), (&"n256".into(), &"rate".into()));
    site.say(alice, &send("n256", "bob"));
    assert_eq!(site.frames(alice)[0]["code"], "after");
    site.say(alice, &send("n0", "bob"));
    site.say(alice, &send("n1", "bob"));
    assert_eq!(site.waits(), 2);
    site.complete(stored());
    site.complete(stored());
    assert_eq!(site.types(alice), ["ack", "ack"]);
    site.assert_nothing_waits();
}

#[test]
fn a_receipt_that_could_not_be_kept_comes_when_the_journal_keeps_something_again() {
    let mut site = Site::new();
    let (alice, bob) = (site.connect("alice", ""), site.connect("bob", ""));
    let text = r#"{"type":"send","cid":"c1","toUserId":"bob","message":"hi","receipt":true}"#;
    site.say(alice, text);
    site.complete(stored());
    let id = site.frames(alice).last().unwrap()["id"].clone();
    site.say(bob, r#"{"type":"ack","seq":1}"#);
    site.complete(Completion::Unavailable);
    assert!(site.types(alice).is_empty());
    site.say(bob, &send("b1", "carol"));
    site.complete(stored());
    site.complete(stored());
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["type"], &frames[0]["id"]), (&"receipt".into(), &id));
    site.assert_nothing_waits();
}
