//! A client of the dialect v2, which goes from node to node and checks every frame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;

use longlink::sim::frames::{FIN, Got, PONG, handshake, masked, text};
use serde_json::Value;

use crate::machine::Hub;
use crate::model::{Model, To};
use crate::page::BLOCKED;
use crate::record::Of;

/// Each client watches whether users are online.
const WATCH: &str = r#"{"type":"presence","users":["u0","u1","u2","u3","u4"],"watch":true}"#;

/// A message that has no answer yet.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub cid: String,
    pub frame: String,
    pub text: String,
}

/// What survives the end of a page.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub epoch: String,
    pub cursor: u64,
    pub outbox: VecDeque<Outgoing>,
}

#[derive(Debug)]
pub struct Client {
    pub at: usize,
    pub user: usize,
    pub stored: Stored,
    pub conn: Option<Conn>,
    pub written: u64,
    /// The client comes again after this time by itself.
    pub back_at: u64,
    last_node: usize,
    /// It has connected last at this time.
    pub began_at: Option<u64>,
    /// The change of a membership that has no answer.
    change: Option<usize>,
}

/// A connection as its client sees it.
#[derive(Debug)]
pub struct Conn {
    pub node: usize,
    pub pipe: usize,
    seen: usize,
    last: Option<(String, u64)>,
    pub is_welcome: bool,
    pub is_live: bool,
    is_elsewhere: bool,
    epoch: String,
    top: u64,
    expects_gap: Option<u64>,
    in_flight: VecDeque<String>,
    must_go_back: bool,
    unacked: usize,
    ack_at: u64,
    ping_at: u64,
    volatile: BTreeSet<String>,
    is_told: bool,
    watches: bool,
    /// Whether each user is online, as the client was told last.
    pub online: BTreeMap<String, bool>,
}

impl Client {
    pub fn new(at: usize, user: usize) -> Self {
        let (stored, conn) = (Stored::default(), None);
        let (last_node, change) = (usize::MAX, None);
        Client { at, user, stored, conn, written: 0, back_at: 0, last_node, began_at: None, change }
    }

    pub fn name(&self) -> String {
        format!("client {} of u{}", self.at, self.user)
    }

    /// Where the client is and what it waits for.
    pub fn place(&self) -> String {
        let Stored { epoch, cursor, outbox } = &self.stored;
        let place = match &self.conn {
            Some(conn) if conn.is_live => format!("live at n{}", conn.node),
            Some(conn) if conn.is_welcome => format!("welcome at n{}", conn.node),
            Some(conn) => format!("waiting for its welcome at n{}", conn.node),
            None => "not connected".into(),
        };
        let left: Vec<&str> = outbox.iter().map(|it| &*it.text).collect();
        format!(
            "{} is {place}, has had everything up to {cursor} of {epoch}, and waits for answers to {left:?}",
            self.name()
        )
    }

    pub fn connect(&mut self, now: u64, node: usize, hub: &mut Hub, model: &mut Model) {
        if let Some(change) = self.change.take() {
            model.change_has_no_answer(change, now);
        }
        let epoch = &self.stored.epoch;
        let last = (!epoch.is_empty()).then(|| (epoch.clone(), self.stored.cursor));
        let query =
            last.as_ref().map_or(String::new(), |(epoch, seq)| format!("&last={epoch}-{seq}"));
        let Some(pipe) = hub.connect() else { return };
        model.connected(self.at);
        self.began_at = Some(now);
        let what = format!("client {} connects to n{node}{query}", self.at);
        model.tell(now, Of::Client(self.at), what);
        let path = format!("/websocket/u{}?device=d{}{query}", self.user, self.at);
        hub.send(pipe, &handshake(&path, "Sec-WebSocket-Protocol: longlink.v2\r\n"));
        self.conn = Some(Conn {
            node,
            pipe,
            seen: 0,
            last,
            is_welcome: false,
            is_live: false,
            is_elsewhere: std::mem::replace(&mut self.last_node, node) != node,
            epoch: String::new(),
            top: 0,
            expects_gap: None,
            in_flight: VecDeque::new(),
            must_go_back: false,
            unacked: 0,
            ack_at: u64::MAX,
            ping_at: now + 15_000,
            volatile: BTreeSet::new(),
            is_told: false,
            watches: false,
            online: BTreeMap::new(),
        });
        self.resend(hub);
    }

    /// Sends everything that has no answer, in its order and with the same names.
    fn resend(&mut self, hub: &mut Hub) {
        let Some(conn) = &mut self.conn else { return };
        for outgoing in &self.stored.outbox {
            conn.in_flight.push_back(outgoing.cid.clone());
            hub.send(conn.pipe, &text(&outgoing.frame));
        }
    }

    /// What the client writes for a message.
    pub fn compose(&mut self, to: &To, message: &str, more: &str) -> Outgoing {
        self.written += 1;
        let cid = format!("k{}-{}", self.at, self.written);
        let to = match to {
            To::Users(users) if users.len() == 1 => format!(r#""toUserId":"u{}""#, users[0]),
            To::Users(users) => {
                let users: Vec<String> = users.iter().map(|user| format!(r#""u{user}""#)).collect();
                format!(r#""toUserIds":[{}]"#, users.join(","))
            }
            To::Group(group) => format!(r#""group":"g{group}""#),
        };
        let frame = format!(r#"{{"type":"send","cid":"{cid}",{to},"message":"{message}"{more}}}"#);
        Outgoing { cid, frame, text: message.to_owned() }
    }

    pub fn write(&mut self, hub: Option<&mut Hub>, outgoing: Outgoing) {
        if let (Some(conn), Some(hub)) = (&mut self.conn, hub)
            && !conn.must_go_back
            && !conn.is_told
        {
            conn.in_flight.push_back(outgoing.cid.clone());
            hub.send(conn.pipe, &text(&outgoing.frame));
        }
        self.stored.outbox.push_back(outgoing);
    }

    /// Sends a message that is not kept. It is not sent again.
    pub fn pass(&mut self, hub: &mut Hub, outgoing: Outgoing) {
        if let Some(conn) = &mut self.conn {
            hub.send(conn.pipe, &text(&outgoing.frame));
            conn.volatile.insert(outgoing.cid);
        }
    }

    /// Asks that its user becomes a member of a group, or ceases to be one, unless another change has no answer.
    pub fn change(&mut self, hub: &mut Hub, group: usize, joins: bool, model: &mut Model) {
        let Some(conn) = self.conn.as_ref().filter(|conn| conn.is_welcome && !conn.is_told) else {
            return;
        };
        if self.change.is_none() {
            let kind = if joins { "join" } else { "leave" };
            self.change = Some(model.asks_for_change(hub.now, self.at, group, joins));
            hub.send(conn.pipe, &text(&format!(r#"{{"type":"{kind}","group":"g{group}"}}"#)));
        }
    }

    fn change_is_answered(&mut self, now: u64, is_done: bool, model: &mut Model) {
        let change = self.change.take().expect("it has asked for a change");
        model.change_is_answered(change, now, is_done);
    }

    pub fn acknowledge(&mut self, hub: &mut Hub) {
        let Some(conn) = self.conn.as_mut().filter(|conn| conn.is_welcome) else { return };
        (conn.unacked, conn.ack_at) = (0, u64::MAX);
        let frame = format!(r#"{{"type":"ack","seq":{}}}"#, self.stored.cursor);
        hub.send(conn.pipe, &text(&frame));
    }

    /// The connection breaks without a word. What was sent and not read is lost.
    pub fn cut(&mut self, hub: &mut Hub) {
        if let Some(conn) = self.conn.take() {
            hub.reset(conn.pipe, ErrorKind::ConnectionReset);
        }
    }

    /// When the client does something by itself.
    pub fn due(&self) -> u64 {
        self.conn.as_ref().map_or(u64::MAX, |conn| conn.ack_at.min(conn.ping_at))
    }

    /// Handles what has come, and does what a client does as time passes.
    pub fn live(&mut self, hub: &mut Hub, model: &mut Model) {
        let now = hub.now;
        let Some(conn) = &mut self.conn else { return };
        if now >= conn.ping_at {
            conn.ping_at = now + 15_000;
            hub.send(conn.pipe, &text(r#"{"type":"ping"}"#));
        }
        let pipe = conn.pipe;
        let got: Vec<Got> = hub.pipes[pipe].got[conn.seen..].to_vec();
        conn.seen += got.len();
        for got in got {
            match got {
                Got::Text(frame) => {
                    let what = format!("client {} <- {frame}", self.at);
                    model.tell(now, Of::Client(self.at), what);
                    let frame: Value = serde_json::from_str(&frame).expect("JSON");
                    self.take(now, &frame, model);
                }
                Got::Ping(payload) => hub.send(pipe, &masked(FIN | PONG, &payload)),
                Got::Http(status, head, _) => assert_eq!(status, 101, "{head}"),
                Got::Close(code, why) => {
                    let what = format!("client {} is closed with {code} {why}", self.at);
                    model.tell(now, Of::Client(self.at), what);
                    hub.finish(pipe);
                    self.conn = None;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        let Some(conn) = &mut self.conn else { return };
        if conn.must_go_back && conn.in_flight.is_empty() && now >= self.back_at {
            conn.must_go_back = false;
            self.resend(hub);
        }
        let Some(conn) = &mut self.conn else { return };
        if conn.is_welcome && !conn.is_told && !hub.pipes[pipe].closed {
            model.is_let_in(now, self.at, conn.node);
            if !std::mem::replace(&mut conn.watches, true) {
                hub.send(pipe, &text(WATCH));
            }
        }
        if hub.pipes[pipe].closed {
            self.conn = None;
        } else if conn.unacked >= 16 || (now >= conn.ack_at && conn.unacked > 0) {
            self.acknowledge(hub);
        }
    }

    fn take(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let kind = frame["type"].as_str().expect("every frame has a type");
        let name = self.name();
        let Some(conn) = &mut self.conn else { return };
        assert!(!conn.is_told, "{name}: nothing follows the last word: {frame}");
        let is_refusal = matches!(kind, "error" | "kick" | "bye") && !conn.is_welcome;
        if !is_refusal {
            assert_eq!(conn.is_welcome, kind != "welcome", "{name}: a welcome is first: {frame}");
        }
        if let Some(to) = conn.expects_gap.take() {
            assert_eq!((kind, &frame["reason"]), ("gap", &"lost".into()), "{name}: {frame}");
            assert!(frame["from"].is_null() && frame["to"] == to, "{name}: {frame}");
        }
        match kind {
            "welcome" => self.take_welcome(now, frame, model),
            "message" => self.take_message(now, frame, model),
            "gap" => self.take_gap(now, frame, model),
            "live" => {
                assert!(!conn.is_live, "{name}: live comes once");
                conn.is_live = true;
            }
            "ack" => self.take_answer(now, frame, model),
            "error" => self.take_error(now, frame, model),
            "joined" | "left" => self.change_is_answered(now, true, model),
            "kick" => {
                // This is the newest connection of the device, so no other one has its place.
                assert_eq!(frame["code"], BLOCKED, "{name}: {frame}");
                conn.is_told = true;
                model.kept_away(now, self.at);
            }
            "bye" => {
                assert_eq!(frame["code"], 4012, "{name}: {frame}");
                conn.is_told = true;
                model.coverage.count("clients: told to come again");
            }
            "presence" => {
                let users = frame["users"].as_object().expect("users");
                let told =
                    users.iter().map(|(user, is)| (user.clone(), is.as_bool().expect("a flag")));
                conn.online.extend(told);
                model.coverage.count("presence");
            }
            "pong" => {}
            _ => panic!("{name}: {frame}"),
        }
    }

    fn take_welcome(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let name = self.name();
        let Some(conn) = &mut self.conn else { return };
        conn.is_welcome = true;
        let number = |field: &str| frame[field].as_u64().expect("a number");
        let (seq, cursor) = (number("seq"), number("cursor"));
        let epoch = frame["epoch"].as_str().expect("an epoch");
        assert!(cursor <= seq, "{name}: {frame}");
        assert!(!epoch.is_empty(), "{name}: {frame}");
        let resumed = frame["resumed"].as_bool().expect("a flag");
        model.welcomed(now, self.at, epoch, conn.last.is_none());
        conn.top = cursor;
        conn.epoch = epoch.to_owned();
        match &conn.last {
            None => assert!(resumed, "{name}: {frame}"),
            Some((of, last)) => {
                let what = format!("{name}: last was {of}-{last}: {frame}");
                assert!(!resumed || cursor >= *last, "{what}");
                assert!(resumed || !model.is_whole, "everything is still there, {what}");
                model.coverage.add("clients: resumed", u64::from(resumed));
                let is_elsewhere = resumed && conn.is_elsewhere;
                model.coverage.add("clients: resumed on another node", u64::from(is_elsewhere));
            }
        }
        if !resumed {
            conn.expects_gap = Some(cursor);
            return;
        }
        self.stored.epoch = epoch.to_owned();
        if conn.last.is_none() {
            self.stored.cursor = cursor;
        }
    }

    fn take_message(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let name = self.name();
        let Some(conn) = &mut self.conn else { return };
        let Some(seq) = frame["seq"].as_u64() else {
            return model.passed(self.at, frame);
        };
        assert!(seq > conn.top, "{name}: {frame} after {}", conn.top);
        conn.top = seq;
        conn.unacked += 1;
        conn.ack_at = conn.ack_at.min(now + 1_000);
        // A client drops what it knows.
        if seq > self.stored.cursor {
            self.stored.cursor = seq;
            model.came(now, self.at, (&conn.epoch, seq), frame, conn.node);
        }
    }

    fn take_gap(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let name = self.name();
        let Some(conn) = &mut self.conn else { return };
        let to = frame["to"].as_u64().expect("a number");
        let from = frame["from"].as_u64();
        match from {
            Some(from) => assert!(from > conn.top && to >= from, "{name}: {frame} at {}", conn.top),
            None => {
                assert!(to >= conn.top, "{name}: {frame} after {}", conn.top);
                (self.stored.epoch, self.stored.cursor) = (conn.epoch.clone(), to);
            }
        }
        conn.top = to;
        conn.unacked += 1;
        conn.ack_at = conn.ack_at.min(now + 1_000);
        self.stored.cursor = self.stored.cursor.max(to);
        let reason = frame["reason"].as_str().expect("a reason");
        model.missed(self.at, &conn.epoch, from, to, reason);
    }

    fn take_answer(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let name = self.name();
        let Some(conn) = &mut self.conn else { return };
        let cid = frame["cid"].as_str().expect("a cid");
        if conn.volatile.remove(cid) {
            return;
        }
        let first = conn.in_flight.pop_front();
        assert_eq!(
            first.as_deref(),
            Some(cid),
            "{name}: answers are in the order of sends: {frame}"
        );
        let at = self.stored.outbox.iter().position(|it| it.cid == cid);
        let at = at.unwrap_or_else(|| panic!("{name}: it was answered before: {frame}"));
        assert_eq!(at, 0, "{name}: answers are in the order of sends: {frame}");
        let outgoing = self.stored.outbox.remove(at).expect("it is there");
        model.acknowledged(now, &outgoing.text, frame);
    }

    fn take_error(&mut self, now: u64, frame: &Value, model: &mut Model) {
        let name = self.name();
        let Some(conn) = &mut self.conn else { return };
        let code = frame["code"].as_str().expect("a code");
        assert_eq!(frame["retry"], code != "not-member", "{name}: {frame}");
        match code {
            "unavailable" => model.coverage.count("answers: unavailable"),
            "after" => model.coverage.count("answers: after"),
            // So many sends of this client have no answer yet.
            "rate" => model.coverage.count("answers: too many sends at once"),
            "not-member" => {}
            _ => panic!("{name}: {frame}"),
        }
        let Some(cid) = frame["cid"].as_str() else {
            assert_eq!(code, "unavailable", "{name}: {frame}");
            if conn.is_welcome {
                return self.change_is_answered(now, false, model);
            }
            // The connection itself is refused, and is closed after this.
            return model.coverage.count("clients: refused because Redis is away");
        };
        if conn.volatile.remove(cid) {
            return;
        }
        let first = conn.in_flight.pop_front();
        assert_eq!(
            first.as_deref(),
            Some(cid),
            "{name}: answers are in the order of sends: {frame}"
        );
        if code == "not-member" {
            let at = self.stored.outbox.iter().position(|it| it.cid == cid);
            let outgoing =
                self.stored.outbox.remove(at.expect("it has no answer")).expect("it is there");
            return model.refused(now, &outgoing.text);
        }
        conn.must_go_back = true;
        self.back_at = now + 300;
    }
}
