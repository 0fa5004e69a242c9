//! A small client of the dialect v2 over real sockets, which keeps an outbox and a cursor. It
//! reconnects by itself whenever its connection has ended or is silent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use longlink::sim::frames::{self, CLOSE, FIN, PING, PONG, TEXT};
use serde_json::Value;

/// A message that the client has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub epoch: String,
    pub seq: u64,
    pub id: String,
    pub text: String,
}

/// A gap that the client has received: numbers whose messages will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub epoch: String,
    pub from: Option<u64>,
    pub to: u64,
    pub reason: String,
}

/// The answer of the server to a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub text: String,
    pub id: String,
    /// The state; for a send that was answered before, the state of that answer.
    pub state: String,
    pub is_duplicate: bool,
    pub epoch: String,
}

/// How long the client waits for the server before it gives the connection up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub ping_after: Duration,
    pub silence: Duration,
    /// How long the client waits between two attempts to connect.
    pub retry: Duration,
}

/// A connection.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    is_upgraded: bool,
    heard: Instant,
    pinged: bool,
    unacked: u64,
    ack_at: Option<Instant>,
    /// How many sends of this connection have no answer, and when they are sent again after one of them
    /// was refused for the time being.
    in_flight: usize,
    back_at: Option<Instant>,
}

/// One device of a user.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    path: String,
    patience: Patience,
    link: Option<Link>,
    retry_at: Instant,
    pub epoch: String,
    pub cursor: u64,
    /// The epoch and the cursor of a `welcome` with `"resumed":false`, until its `gap` was handled.
    next: Option<(String, u64)>,
    /// The `cid`, the frame and the text of each message that has no answer.
    outbox: VecDeque<(String, String, String)>,
    written: u64,
    pub received: Vec<Received>,
    /// The messages that the client did not take, because their numbers were not above its cursor.
    pub repeated: Vec<Received>,
    pub gaps: Vec<Gap>,
    pub answered: Vec<Answered>,
    /// How many `welcome` and `bye` frames the client has received.
    pub welcomes: u64,
    pub byes: u64,
    /// How many connections the client has given up because nothing came for too long.
    pub silences: u64,
    pub is_live: bool,
}

impl Client {
    pub fn new(addr: SocketAddr, user: &str, device: &str, patience: Patience) -> Self {
        Client {
            addr,
            path: format!("/websocket/{user}?device={device}"),
            patience,
            link: None,
            retry_at: Instant::now(),
            epoch: String::new(),
            cursor: 0,
            next: None,
            outbox: VecDeque::new(),
            written: 0,
            received: Vec::new(),
            repeated: Vec::new(),
            gaps: Vec::new(),
            answered: Vec::new(),
            welcomes: 0,
            byes: 0,
            silences: 0,
            is_live: false,
        }
    }

    /// The number of messages that the client was given to send.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The number of messages without an answer.
    pub fn unanswered(&self) -> usize {
        self.outbox.len()
    }

    /// Puts a message into the outbox, and sends it if there is a connection.
    pub fn write(&mut self, to: &str, text: &str) {
        self.write_with(to, text, "");
    }

    /// Does the same with more fields in the frame, which begin with a comma.
    pub fn write_with(&mut self, to: &str, text: &str, more: &str) {
        self.written += 1;
        let cid = format!("k{}", self.written);
        let frame = format!(
            r#"{{"type":"send","cid":"{cid}","toUserId":"{to}","message":"{text}"{more}}}"#
        );
        let ready = self.link.as_mut().filter(|it| it.is_upgraded && it.back_at.is_none());
        if let Some(link) = ready {
            link.in_flight += 1;
            self.say(&frame);
        }
        self.outbox.push_back((cid, frame, text.to_owned()));
    }

    fn say(&mut self, frame: &str) {
        self.put(&frames::text(frame));
    }

    fn put(&mut self, bytes: &[u8]) {
        let Some(link) = &mut self.link else { return };
        if link.stream.write_all(bytes).is_err() {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.link = None;
        self.is_live = false;
        self.retry_at = Instant::now() + self.patience.retry;
    }

    /// Ends the connection. The next call of [`Client::pump`] connects again.
    pub fn leave(&mut self) {
        self.lose();
    }

    /// Connects if necessary, and handles the frames that come within about a millisecond.
    pub fn pump(&mut self) {
        let now = Instant::now();
        if self.link.is_none() {
            if now >= self.retry_at {
                self.connect(now);
            }
            return;
        }
        self.read(now);
        self.keep_alive(now);
    }

    fn connect(&mut self, now: Instant) {
        self.retry_at = now + self.patience.retry;
        let Ok(stream) = TcpStream::connect_timeout(&self.addr, self.patience.silence) else {
            return;
        };
        let wait = Duration::from_millis(1);
        if stream.set_nodelay(true).is_err() || stream.set_read_timeout(Some(wait)).is_err() {
            return;
        }
        self.link = Some(Link {
            stream,
            buffer: Vec::new(),
            is_upgraded: false,
            heard: now,
            pinged: false,
            unacked: 0,
            ack_at: None,
            in_flight: 0,
            back_at: None,
        });
        let last = match &*self.epoch {
            "" => String::new(),
            epoch => format!("&last={epoch}-{}", self.cursor),
        };
        let path = format!("{}{last}", self.path);
        self.put(&frames::handshake(&path, "Sec-WebSocket-Protocol: longlink.v2\r\n"));
    }

    fn read(&mut self, now: Instant) {
        let mut bytes = [0; 16 * 1024];
        let Some(link) = &mut self.link else { return };
        match link.stream.read(&mut bytes) {
            Ok(0) => return self.lose(),
            Ok(length) => {
                link.buffer.extend_from_slice(&bytes[..length]);
                (link.heard, link.pinged) = (now, false);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                return;
            }
            Err(_) => return self.lose(),
        }
        if !link.is_upgraded {
            let Some(end) = link.buffer.windows(4).position(|it| it == b"\r\n\r\n") else { return };
            let head: Vec<u8> = link.buffer.drain(..end + 4).collect();
            if !head.starts_with(b"HTTP/1.1 101 ") {
                return self.lose();
            }
            link.is_upgraded = true;
            self.resend();
        }
        while let Some(frame) = self.link.as_mut().and_then(|it| frames::take(&mut it.buffer)) {
            match frame.opcode {
                TEXT => self.take(&serde_json::from_str(frame.text()).expect("JSON"), now),
                PING => self.put(&frames::masked(FIN | PONG, &frame.payload)),
                CLOSE => return self.lose(),
                _ => {}
            }
        }
    }

    /// Repeats the sends without an answer, in their order and with the same `cid`s.
    fn resend(&mut self) {
        let Some(link) = &mut self.link else { return };
        (link.in_flight, link.back_at) = (self.outbox.len(), None);
        let frames = self.outbox.iter().flat_map(|(_, frame, _)| frames::text(frame));
        let frames: Vec<u8> = frames.collect();
        self.put(&frames);
    }

    fn keep_alive(&mut self, now: Instant) {
        let is_back = |link: &Link| link.in_flight == 0 && link.back_at.is_some_and(|at| now >= at);
        if self.link.as_ref().is_some_and(is_back) {
            self.resend();
        }
        let Some(link) = &mut self.link else { return };
        let silent = now.saturating_duration_since(link.heard);
        if silent >= self.patience.silence {
            self.silences += 1;
            return self.lose();
        }
        let is_ping_due = silent >= self.patience.ping_after && !link.pinged && link.is_upgraded;
        link.pinged |= is_ping_due;
        let is_ack_due = link.unacked >= 16 || link.ack_at.is_some_and(|at| now >= at);
        if is_ack_due {
            (link.unacked, link.ack_at) = (0, None);
            self.say(&format!(r#"{{"type":"ack","seq":{}}}"#, self.cursor));
        }
        if is_ping_due {
            self.say(r#"{"type":"ping"}"#);
        }
    }

    fn take(&mut self, frame: &Value, now: Instant) {
        let string = |name: &str| frame[name].as_str().map(str::to_owned).expect("a string");
        let number = |name: &str| frame[name].as_u64().expect("a number");
        match frame["type"].as_str().expect("a type") {
            "welcome" => {
                self.next = None;
                if self.epoch.is_empty() {
                    (self.epoch, self.cursor) = (string("epoch"), number("cursor"));
                } else if frame["resumed"] == false {
                    // A client that is cut before the gap has to hear of it on its next connection.
                    self.next = Some((string("epoch"), number("cursor")));
                } else {
                    self.epoch = string("epoch");
                }
                self.welcomes += 1;
            }
            "message" => {
                let seq = number("seq");
                let (id, text) = (string("id"), string("message"));
                let received = Received { epoch: self.epoch.clone(), seq, id, text };
                if seq > self.cursor {
                    self.cursor = seq;
                    self.received.push(received);
                } else {
                    self.repeated.push(received);
                }
                self.note(now);
            }
            "gap" => {
                let (from, to, reason) = (frame["from"].as_u64(), number("to"), string("reason"));
                if let Some(next) = self.next.take() {
                    (self.epoch, self.cursor) = next;
                }
                self.cursor = self.cursor.max(to);
                let epoch = self.epoch.clone();
                self.gaps.push(Gap { epoch, from, to, reason });
                self.note(now);
            }
            "ack" => {
                let cid = string("cid");
                let (first, _, text) = self.outbox.pop_front().expect("it was asked for");
                assert_eq!(first, cid, "answers come in the order of the sends");
                let is_duplicate = frame["state"] == "duplicate";
                let state = string(if is_duplicate { "was" } else { "state" });
                if let Some(link) = &mut self.link {
                    link.in_flight -= 1;
                }
                let (id, epoch) = (string("id"), self.epoch.clone());
                self.answered.push(Answered { text, id, state, is_duplicate, epoch });
            }
            "live" => self.is_live = true,
            "bye" => self.byes += 1,
            "error" if frame["retry"] == true => {
                // An error without a `cid` refuses the connection, which is closed behind it.
                if let Some(link) = self.link.as_mut().filter(|_| frame["cid"].is_string()) {
                    link.in_flight -= 1;
                    link.back_at = Some(now + self.patience.retry);
                }
            }
            "error" | "kick" => panic!("{frame}"),
            _ => {}
        }
    }

    /// Notes that a message or a gap has come, which is to be acknowledged.
    fn note(&mut self, now: Instant) {
        if let Some(link) = &mut self.link {
            link.unacked += 1;
            link.ack_at.get_or_insert(now + Duration::from_millis(100));
        }
    }
}
