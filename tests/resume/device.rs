//! A client of the dialect v2 as the protocol describes one, with what the platform's storage has
//! of it. It checks everything that can be seen on one connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;

use longlink::sim::Rng;
use longlink::sim::frames::{FIN, Got, PONG, handshake, masked, text};
use serde_json::Value;

use super::model::{Model, Target};
use super::server::Link;

/// How a client acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// After 16 messages, or one second.
    Usual,
    /// Each message alone.
    Each,
    /// After twenty seconds.
    Slow,
    /// Not before the end of the run.
    Never,
}

/// A message that has no answer yet.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub cid: String,
    pub frame: String,
    /// The message itself, which names it in the model.
    pub text: String,
}

/// What survives the end of a page.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub epoch: String,
    pub cursor: u64,
    pub outbox: VecDeque<Outgoing>,
}

/// One device of a user. It outlives its connections.
#[derive(Debug)]
pub struct Device {
    pub at: usize,
    pub user: String,
    pub name: String,
    pub stored: Stored,
    pub habit: Habit,
    pub conn: Option<Conn>,
    /// How many messages the device has written.
    pub written: u64,
    /// How many answers to `join` and `leave` have come.
    pub answers: u64,
    /// How often a server has said that it goes away.
    pub byes: u64,
}

/// A connection as its client sees it.
#[derive(Debug)]
pub struct Conn {
    pub pipe: usize,
    /// How many of the pipe's frames were looked at.
    seen: usize,
    /// What the client said was the last number that it had handled.
    last: Option<(String, u64)>,
    /// When the connection began, as [`Model::tick`] counts.
    since: u64,
    pub is_welcome: bool,
    pub is_live: bool,
    epoch: String,
    /// The highest number that came.
    top: u64,
    /// What the replay begins behind when it begins with a gap.
    expects_gap: Option<u64>,
    /// The `cid`s that were sent and have no answer, in their order.
    pub in_flight: VecDeque<String>,
    /// A send was refused and may be tried again.
    must_go_back: bool,
    /// Nothing reaches the client, and nothing of what it sends reaches the server.
    pub is_deaf: bool,
    pub is_hidden: bool,
    /// The server has said that this connection ends.
    is_told: bool,
    unacked: usize,
    ack_at: u64,
    ping_at: u64,
    /// What has come without a number.
    volatile: BTreeSet<String>,
    /// Messages without a number that were sent and have no answer, by their `cid`s.
    passing: BTreeMap<String, String>,
    /// A message that has an answer.
    pub answered: Option<Outgoing>,
}

impl Conn {
    /// A send is answered. Answers come in the order of the sends, but what is not kept does not
    /// wait for a slow journal.
    fn answer(&mut self, cid: &str, is_slow: bool) {
        let at = self.in_flight.iter().position(|it| it == cid);
        let at = at.unwrap_or_else(|| panic!("{cid} is answered and was not sent"));
        assert!(at == 0 || is_slow, "{cid} is answered before {}", self.in_flight[0]);
        self.in_flight.remove(at);
    }
}

impl Device {
    pub fn new(at: usize, user: &str, name: &str, habit: Habit) -> Self {
        let (user, name) = (user.to_owned(), name.to_owned());
        Device {
            at,
            user,
            name,
            stored: Stored::default(),
            habit,
            conn: None,
            written: 0,
            answers: 0,
            byes: 0,
        }
    }

    /// Whether the client can send and be sent something now.
    pub fn is_well(&self, link: &Link) -> bool {
        self.conn.as_ref().is_some_and(|conn| {
            !conn.is_deaf && !link.pipes[conn.pipe].is_finished() && !link.pipes[conn.pipe].shut
        })
    }

    /// Connects, whatever has become of the connection before.
    pub fn connect(&mut self, link: &mut Link, model: &mut Model) {
        let last = match &*self.stored.epoch {
            "" => None,
            epoch => Some((epoch.to_owned(), self.stored.cursor)),
        };
        let query =
            last.as_ref().map_or(String::new(), |(epoch, seq)| format!("&last={epoch}-{seq}"));
        let Some(pipe) = link.connect() else { return };
        let path = format!("/websocket/{}?device={}{query}", self.user, self.name);
        link.send(pipe, &handshake(&path, "Sec-WebSocket-Protocol: longlink.v2\r\n"));
        self.conn = Some(Conn {
            pipe,
            seen: 0,
            last,
            since: model.tick(),
            is_welcome: false,
            is_live: false,
            epoch: String::new(),
            top: 0,
            expects_gap: None,
            in_flight: VecDeque::new(),
            must_go_back: false,
            is_deaf: false,
            is_hidden: false,
            is_told: false,
            unacked: 0,
            ack_at: u64::MAX,
            ping_at: link.now + 15_000,
            volatile: BTreeSet::new(),
            passing: BTreeMap::new(),
            answered: None,
        });
    }

    /// Sends everything again that has no answer, in its order and with the same names.
    pub fn resend(&mut self, link: &mut Link) {
        if !self.is_well(link) {
            return;
        }
        let Some(conn) = &mut self.conn else { return };
        for outgoing in &self.stored.outbox {
            conn.in_flight.push_back(outgoing.cid.clone());
            link.send(conn.pipe, &text(&outgoing.frame));
        }
    }

    /// Sends one frame, if the connection carries it.
    pub fn say(&mut self, link: &mut Link, frame: &str) {
        if self.is_well(link)
            && let Some(conn) = &self.conn
        {
            link.send(conn.pipe, &text(frame));
        }
    }

    /// Puts a message into the outbox, and sends it if that is possible now.
    pub fn write(&mut self, link: &mut Link, outgoing: Outgoing) {
        let can_send = self.is_well(link);
        if let Some(conn) = self.conn.as_mut().filter(|_| can_send) {
            // A send shows the app.
            conn.is_hidden = false;
            // Behind a refusal it waits until everything is sent again.
            if !conn.must_go_back {
                conn.in_flight.push_back(outgoing.cid.clone());
                link.send(conn.pipe, &text(&outgoing.frame));
            }
        }
        self.stored.outbox.push_back(outgoing);
    }

    /// Sends a message that is not kept, if that is possible now. It is not sent again.
    pub fn pass(&mut self, link: &mut Link, outgoing: Outgoing) {
        let can_send = self.is_well(link);
        if let Some(conn) = self.conn.as_mut().filter(|_| can_send) {
            conn.is_hidden = false;
            conn.in_flight.push_back(outgoing.cid.clone());
            link.send(conn.pipe, &text(&outgoing.frame));
            conn.passing.insert(outgoing.cid, outgoing.text);
        }
    }

    /// Sends a message that was answered on this connection once more, or something else under its
    /// name.
    pub fn repeat(&mut self, link: &mut Link, is_same: bool) {
        let can_send = self.is_well(link);
        let Some(conn) = self.conn.as_mut().filter(|conn| can_send && !conn.must_go_back) else {
            return;
        };
        let Some(Outgoing { cid, frame, text: message }) = &conn.answered else { return };
        conn.is_hidden = false;
        conn.in_flight.push_back(cid.clone());
        let frame = match is_same {
            true => frame.clone(),
            false => frame.replace(message, "something else"),
        };
        link.send(conn.pipe, &text(&frame));
    }

    /// The connection breaks without a word, as it does when the network is gone. What was sent and
    /// not read is lost.
    pub fn cut(&mut self, link: &mut Link) {
        if let Some(conn) = self.conn.take() {
            link.reset(conn.pipe, ErrorKind::ConnectionReset);
        }
    }

    /// Breaks the connection in the middle of a frame.
    pub fn cut_in(&mut self, link: &mut Link, outgoing: Outgoing, rng: &mut Rng) {
        if self.is_well(link)
            && let Some(conn) = &self.conn
        {
            let bytes = text(&outgoing.frame);
            link.send(conn.pipe, &bytes[..rng.index(bytes.len())]);
            link.settle();
        }
        self.stored.outbox.push_back(outgoing);
        self.cut(link);
    }

    /// Hides the app. What the server has written before is read first.
    pub fn hide(&mut self, link: &mut Link, model: &mut Model) {
        link.settle();
        self.look(link, model, usize::MAX);
        if !self.is_well(link) {
            return;
        }
        self.say(link, r#"{"type":"background"}"#);
        link.settle();
        self.look(link, model, usize::MAX);
        if let Some(conn) = &mut self.conn {
            conn.is_hidden = link.pipes[conn.pipe].is_reading() && conn.in_flight.is_empty();
        }
        model.coverage.count("apps hidden");
    }

    pub fn show(&mut self, link: &mut Link, model: &mut Model) {
        if let Some(conn) = &mut self.conn {
            conn.is_hidden = false;
        }
        self.say(link, r#"{"type":"foreground"}"#);
        model.coverage.count("apps shown");
    }

    /// Acknowledges everything that was handled.
    pub fn acknowledge(&mut self, link: &mut Link) {
        let frame = format!(r#"{{"type":"ack","seq":{}}}"#, self.stored.cursor);
        self.say(link, &frame);
        if let Some(conn) = &mut self.conn {
            (conn.unacked, conn.ack_at) = (0, u64::MAX);
        }
    }

    /// What the client does by itself as time passes.
    pub fn live(&mut self, link: &mut Link, model: &mut Model) {
        self.look(link, model, usize::MAX);
        let Some(conn) = &mut self.conn else { return };
        if conn.is_deaf || conn.is_hidden {
            return;
        }
        let (now, is_due) = (link.now, link.now >= conn.ack_at);
        if now >= conn.ping_at {
            conn.ping_at = now + 15_000;
            self.say(link, r#"{"type":"ping","t":1}"#);
        }
        if is_due {
            self.acknowledge(link);
        }
    }

    /// Handles up to so many of the frames that have come.
    pub fn look(&mut self, link: &mut Link, model: &mut Model, most: usize) {
        let Some(Conn { pipe, seen, is_deaf: false, .. }) = self.conn else { return };
        let got: Vec<Got> = link.pipes[pipe].got[seen..].iter().take(most).cloned().collect();
        for got in got {
            let Some(conn) = &mut self.conn else { return };
            conn.seen += 1;
            match got {
                Got::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).expect(&text);
                    self.take(link.now, &frame, model);
                }
                // An app that is hidden is suspended.
                Got::Ping(_) if conn.is_hidden => {}
                Got::Ping(payload) => link.send(pipe, &masked(FIN | PONG, &payload)),
                Got::Close(code, reason) => {
                    if code == 1001 && reason == "idle" {
                        model.coverage.count("idle ends");
                    }
                    assert!(code != 1002 && code != 1007 && code != 1011, "{code} {reason}");
                    link.finish(pipe);
                    self.conn = None;
                    return;
                }
                Got::Http(status, head, _) => assert_eq!(status, 101, "{head}"),
                other => panic!("{other:?}"),
            }
            if self.habit == Habit::Each && self.conn.as_ref().is_some_and(|conn| conn.unacked > 0)
            {
                self.acknowledge(link);
            }
        }
        let Some(conn) = &mut self.conn else { return };
        if conn.must_go_back && conn.in_flight.is_empty() {
            conn.must_go_back = false;
            self.resend(link);
        }
        let Some(conn) = &mut self.conn else { return };
        let has_ended =
            link.pipes[conn.pipe].closed && conn.seen >= link.pipes[conn.pipe].got.len();
        if has_ended {
            self.conn = None;
        } else if self.habit == Habit::Usual && conn.unacked >= 16 {
            self.acknowledge(link);
        }
    }

    fn take(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let kind = frame["type"].as_str().expect("every frame has a type");
        let at = format!("device {} ({} {})", self.at, self.user, self.name);
        let Some(conn) = &mut self.conn else { return };
        assert!(!conn.is_told, "{at}: nothing follows the last word: {frame}");
        let is_last_word = matches!(kind, "kick" | "bye");
        assert!(!conn.is_hidden || is_last_word, "{at} is hidden and was sent {frame}");
        assert_eq!(conn.is_welcome, kind != "welcome", "{at}: a welcome is first: {frame}");
        if let Some(to) = conn.expects_gap.take() {
            assert_eq!((kind, &frame["reason"]), ("gap", &"lost".into()), "{at}: {frame}");
            assert!(frame["from"].is_null() && frame["to"] == to, "{at}: {frame}");
        }
        match kind {
            "welcome" => self.take_welcome(frame, model),
            "message" | "receipt" => self.take_message(now, frame, kind == "receipt", model),
            "gap" => self.take_gap(now, frame, model),
            "live" => {
                assert!(!conn.is_live, "{at}: live comes once");
                assert!(frame["seq"].as_u64().expect("a number") >= conn.top, "{at}: {frame}");
                conn.is_live = true;
            }
            "ack" => {
                let cid = frame["cid"].as_str().expect("a cid");
                conn.answer(cid, model.is_slow);
                if let Some(text) = conn.passing.remove(cid) {
                    model.acknowledged(&self.stored.epoch, self.at, &text, frame);
                } else if let Some(answered) = self.remove(cid, model.is_slow) {
                    model.acknowledged(&self.stored.epoch, self.at, &answered.text, frame);
                    if let Some(conn) = &mut self.conn {
                        conn.answered = Some(answered);
                    }
                } else {
                    // The client has asked twice on purpose.
                    let is_known = frame["state"] == "duplicate";
                    assert!(is_known || model.has_shed, "{at}: {frame}");
                    model.coverage.count("answers: duplicate");
                }
            }
            "error" => self.take_error(frame, model),
            "kick" => {
                assert_eq!((&frame["code"], &frame["retry"]), (&4509.into(), &false.into()));
                conn.is_told = true;
                // A connection that another one of its own device replaces has no reader any more.
                model.coverage.count("devices displaced");
            }
            "bye" => {
                assert_eq!((&frame["code"], &frame["retry"]), (&4012.into(), &true.into()));
                assert_eq!(frame["after"], serde_json::json!([500, 8_000]));
                conn.is_told = true;
                self.byes += 1;
            }
            "presence" => model.coverage.count("presence frames"),
            "joined" | "left" => self.answers += 1,
            "pong" => {}
            _ => panic!("{at}: {frame}"),
        }
    }

    fn take_welcome(&mut self, frame: &Value, model: &mut Model) {
        let Some(conn) = &mut self.conn else { return };
        conn.is_welcome = true;
        let number = |name: &str| frame[name].as_u64().expect("a number");
        let (seq, cursor) = (number("seq"), number("cursor"));
        let epoch = frame["epoch"].as_str().expect("an epoch");
        assert!(cursor <= seq, "{frame}");
        let is_new = conn.last.is_none();
        model.welcomed(self.at, epoch, is_new);
        let resumed = frame["resumed"].as_bool().expect("a flag");
        match &conn.last {
            None => assert!(resumed, "{frame}"),
            Some((of, last)) => {
                let is_known = of == epoch || model.is_on_disk;
                assert_eq!(resumed, is_known, "last was {of}-{last}: {frame}");
                assert!(!resumed || cursor >= *last, "last was {of}-{last}: {frame}");
            }
        }
        conn.top = cursor;
        conn.epoch = epoch.to_owned();
        if !resumed {
            // It is kept when the gap has come: a client that kept it now, and was cut before the
            // gap, would never hear of that.
            conn.expects_gap = Some(cursor);
            return;
        }
        self.stored.epoch = epoch.to_owned();
        if is_new {
            self.stored.cursor = cursor;
        } else {
            model.coverage.count("resumes");
        }
    }

    fn take_message(&mut self, now: u64, frame: &Value, is_receipt: bool, model: &mut Model) {
        let Some(conn) = &mut self.conn else { return };
        let Some(seq) = frame["seq"].as_u64() else {
            let name = model.passed(self.at, conn.since, frame);
            assert!(conn.volatile.insert(name) || model.has_shed, "comes twice: {frame}");
            return;
        };
        assert!(seq > conn.top, "device {}: {frame} after {}", self.at, conn.top);
        conn.top = seq;
        conn.unacked += 1;
        if conn.ack_at == u64::MAX {
            conn.ack_at = match self.habit {
                Habit::Usual | Habit::Each => now + 1_000,
                Habit::Slow => now + 20_000,
                Habit::Never => u64::MAX,
            };
        }
        let is_new = seq > self.stored.cursor;
        model.came(self.at, &self.stored.epoch, seq, frame, is_receipt, is_new);
        self.stored.cursor = self.stored.cursor.max(seq);
    }

    fn take_gap(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let Some(conn) = &mut self.conn else { return };
        let to = frame["to"].as_u64().expect("a number");
        match frame["from"].as_u64() {
            Some(from) => {
                assert!(from > conn.top && to >= from, "{frame} after {}", conn.top);
            }
            None => {
                assert!(to >= conn.top, "{frame} after {}", conn.top);
                (self.stored.epoch, self.stored.cursor) = (conn.epoch.clone(), to);
            }
        }
        conn.top = to;
        conn.unacked += 1;
        conn.ack_at = conn.ack_at.min(now + 1_000);
        if self.habit == Habit::Never {
            conn.ack_at = u64::MAX;
        }
        self.stored.cursor = self.stored.cursor.max(to);
        let reason = frame["reason"].as_str().expect("a reason");
        model.missed(self.at, &self.stored.epoch, frame["from"].as_u64().unwrap_or(0), to, reason);
    }

    fn take_error(&mut self, frame: &Value, model: &mut Model) {
        let Some(conn) = &mut self.conn else { return };
        let code = frame["code"].as_str().expect("a code");
        let retry = frame["retry"].as_bool().expect("a flag");
        let cid = frame["cid"].as_str();
        match code {
            "conflict" => model.coverage.count("answers: conflict"),
            "not-member" => model.coverage.count("answers: not a member"),
            "after" => model.coverage.count("answers: after"),
            "unavailable" => model.coverage.count("answers: unavailable"),
            _ => panic!("device {}: {frame}", self.at),
        }
        assert_eq!(retry, matches!(code, "after" | "unavailable"), "{frame}");
        let cid = cid.expect("a refusal of a send names it");
        conn.answer(cid, model.is_slow);
        if retry {
            assert!(conn.must_go_back || code != "after", "nothing was refused before: {frame}");
            conn.must_go_back = true;
        } else if code != "conflict" {
            self.remove(cid, model.is_slow);
        }
    }

    /// Takes the message with an answer out of the outbox. It is the oldest one.
    fn remove(&mut self, cid: &str, is_slow: bool) -> Option<Outgoing> {
        let at = self.stored.outbox.iter().position(|outgoing| outgoing.cid == cid)?;
        assert!(at == 0 || is_slow, "answers come in the order of the sends");
        self.stored.outbox.remove(at)
    }

    /// What a client writes for a message. `more` are further fields, each behind a comma.
    pub fn compose(&mut self, target: &Target, message: &str, more: &str) -> Outgoing {
        self.written += 1;
        let cid = format!("k{}-{}", self.at, self.written);
        let to = target.written();
        let frame = format!(r#"{{"type":"send","cid":"{cid}",{to},"message":"{message}"{more}}}"#);
        Outgoing { cid, frame, text: message.to_owned() }
    }
}
