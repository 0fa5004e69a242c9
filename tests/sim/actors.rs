//! The clients of the simulation: what they send, and the checks of what they get.

use std::collections::{HashMap, VecDeque};

use longlink::{CloseReason, Violation};
use serde_json::value::RawValue;

use super::shadow::{In, Item};
use super::watch::Watched;
use longlink::sim::frames::{self, Got, frame};
use longlink::sim::{Rng, World};

pub type Sim = World<Watched>;

/// User ids, each with its form in a path.
pub const USERS: &[(&str, &str)] = &[
    ("u0", "u0"),
    ("u1", "u1"),
    ("u2", "%75%32"),
    ("张三", "%E5%BC%A0%E4%B8%89"),
    ("a\"b\\", "a%22b%5C"),
    ("lots", "lots"),
];
const DEVICES: &[&str] = &["", "", "", "phone", "pad", "tv", "web", "watch", "car"];

#[derive(Debug)]
pub struct Client {
    pub pipe: usize,
    pub user: String,
    user_path: String,
    device: String,
    /// Bytes that the client has written and that have not arrived at the kernel yet.
    out: VecDeque<u8>,
    /// How many bytes the client has written in all.
    offset: u64,
    answers_pings: bool,
    /// Whether the client sends nothing by itself.
    quiet: bool,
    /// Whether the client sends nothing valid any more.
    done: bool,
    entered: bool,
    /// The statuses of the answers that the client must still get, in order.
    answers: VecDeque<u16>,
    /// How many of the answers and frames in the pipe were checked.
    seen: usize,
}

impl Client {
    pub fn new(pipe: usize, rng: &mut Rng, crowded: bool, paced: bool) -> Self {
        let most = if crowded { 2 } else { USERS.len() as u64 };
        let (user, path) = USERS[rng.below(most) as usize];
        // Which of a user's connections was heard last is not certain when the hub may have
        // held them back. So there is one of each user then.
        let (guests, often) = if paced { (1 << 40, 100) } else { (40, 25) };
        let guest = format!("guest{}", rng.below(guests));
        let (user, path) = if rng.percent(often) { (&guest[..], &guest[..]) } else { (user, path) };
        let device = if crowded && rng.percent(70) { "" } else { *rng.pick(DEVICES) };
        Client {
            pipe,
            user: user.to_owned(),
            user_path: path.to_owned(),
            device: device.to_owned(),
            out: VecDeque::new(),
            offset: 0,
            answers_pings: rng.percent(60),
            quiet: rng.percent(15),
            done: false,
            entered: false,
            answers: VecDeque::new(),
            seen: 0,
        }
    }

    fn write(&mut self, sim: &mut Sim, bytes: &[u8], what: In) {
        let start = self.offset;
        self.offset += bytes.len() as u64;
        self.out.extend(bytes);
        let conn = sim.pipes[self.pipe].conn;
        if let Some(conn) = sim.handler_mut().shadow.conns.get_mut(&conn) {
            conn.inbound.push_back(Item { start, end: self.offset, begun: None, what });
        }
    }

    /// Lets some of the written bytes arrive, cut anywhere.
    pub fn deliver(&mut self, sim: &mut Sim, rng: &mut Rng) {
        if self.out.is_empty() || sim.pipes[self.pipe].is_finished() {
            return;
        }
        let length = match rng.below(4) {
            0 => rng.range(1, self.out.len().min(9)),
            1 => rng.range(1, self.out.len()),
            _ => self.out.len(),
        };
        let piece: Vec<u8> = self.out.drain(..length).collect();
        sim.send(self.pipe, &piece);
    }

    pub fn deliver_all(&mut self, sim: &mut Sim) {
        let piece: Vec<u8> = self.out.drain(..).collect();
        sim.send(self.pipe, &piece);
    }

    pub fn is_over(&self, sim: &Sim) -> bool {
        let pipe = &sim.pipes[self.pipe];
        pipe.closed && (!pipe.is_reading() || self.seen == pipe.got.len())
    }

    /// Checks what has arrived at the client.
    pub fn look(&mut self, sim: &mut Sim, rng: &mut Rng) {
        while let Some(got) = sim.pipes[self.pipe].got.get(self.seen).cloned() {
            self.seen += 1;
            match got {
                Got::Http(status, head, body) => self.look_at_answer(sim, status, &head, &body),
                Got::Ping(payload) if self.answers_pings && !self.done => {
                    let bytes = frame(0x80 | frames::PONG, &payload, rng.mask());
                    self.write(sim, &bytes, In::Pong);
                }
                Got::Text(text) => {
                    sim.handler_mut().shadow.cover.count("messages arrived");
                    // What the handler sends by itself says from which callback.
                    if sim.handler().relay.is_some() && !text.starts_with("on_") {
                        // Not as a `Value`: numbers and surrogates pass as they were sent.
                        let object: HashMap<String, Box<RawValue>> =
                            serde_json::from_str(&text).expect("an object");
                        let pong = text == r#"{"type":"pong"}"#;
                        assert!(pong || object.contains_key("message"), "{text}");
                    }
                }
                Got::Close(..) => {
                    self.done = true;
                    if rng.percent(70) {
                        self.out.clear();
                        sim.finish(self.pipe);
                    }
                }
                _ => {}
            }
        }
    }

    fn look_at_answer(&mut self, sim: &mut Sim, status: u16, head: &str, body: &[u8]) {
        let due = self.answers.pop_front().expect("one answer for each request");
        *sim.handler_mut().shadow.tally.arrived.entry(status).or_default() += 1;
        if status == 503 {
            assert!(head.contains("Retry-After: ") && head.contains("Connection: close"));
            self.done = true;
            return;
        }
        if status == 408 {
            assert_eq!(due, 200, "only a body takes too long");
            self.done = true;
            return;
        }
        assert_eq!(status, due, "{head}{}", String::from_utf8_lossy(body));
        match status {
            101 => {}
            200..400 => sim.handler_mut().shadow.cover.count("plain answers"),
            _ => {
                sim.handler_mut().shadow.cover.count("refused heads");
                self.done |= head.contains("Connection: close");
            }
        }
    }

    /// Sends something at random that is possible in the present state.
    pub fn act(&mut self, sim: &mut Sim, rng: &mut Rng) {
        if self.done || sim.pipes[self.pipe].is_finished() {
            return;
        }
        if !self.entered {
            return self.shake_hands(sim, rng);
        }
        if self.quiet {
            return;
        }
        match rng.below(100) {
            0..70 => self.message(sim, rng),
            70..80 => self.ping(sim, rng),
            80..84 => {
                for _ in 0..rng.range(10, 120) {
                    self.message(sim, rng);
                }
            }
            84..90 => self.fragmented(sim, rng),
            90..95 => self.binary(sim, rng),
            95..97 => {
                let bytes = frame(0x80 | frames::PONG, b"unasked", rng.mask());
                self.write(sim, &bytes, In::Pong);
            }
            97 => self.close(sim, rng),
            98 => self.violate(sim, rng),
            _ => self.quiet = true,
        }
    }

    /// Adds header fields whose values are not UTF-8, as any client may send them.
    fn odd_fields(&self, sim: &mut Sim, rng: &mut Rng, head: &mut Vec<u8>) {
        if !rng.percent(15) {
            return;
        }
        for _ in 0..rng.range(1, 3) {
            let names = ["X-Odd", "User-Agent", "Cookie", "X-Forwarded-For", "Referer"];
            let mut value = b"\xff".to_vec();
            value.extend((0..rng.range(0, 20)).map(|_| rng.range(0x80, 0xFF) as u8));
            frames::add_field(head, names[rng.range(0, names.len() - 1)], &value);
        }
        sim.handler_mut().shadow.cover.count("header values that are not UTF-8");
    }

    /// A client that asks for an answer and does not read it.
    pub fn ask_and_not_read(sim: &mut Sim, rng: &mut Rng) -> Option<Self> {
        sim.capacity = 130;
        let mut client = Client::new(sim.connect()?, rng, false, true);
        client.ask(sim, rng, ("GET", "/websocket/u0"), 426);
        client.deliver_all(sim);
        client.done = true;
        sim.set_reading(client.pipe, false);
        Some(client)
    }

    fn ask(&mut self, sim: &mut Sim, rng: &mut Rng, (method, path): (&str, &str), status: u16) {
        let mut bytes = frames::request(method, path, "");
        self.odd_fields(sim, rng, &mut bytes);
        sim.pipes[self.pipe].decoder.head_requests.push_back(method == "HEAD");
        self.answers.push_back(status);
        self.write(sim, &bytes, In::Ask);
    }

    /// Sends a body, in chunks or with its length.
    fn upload(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let body: Vec<u8> = (0..rng.range(1, 3_000)).map(|_| rng.below(256) as u8).collect();
        let head = "POST /upload HTTP/1.1\r\nHost: a\r\n";
        let mut bytes = head.as_bytes().to_vec();
        if rng.percent(50) {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(&body);
        } else {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rng.range(1, rest.len().min(700)));
                let extension = *rng.pick(&["", ";a", " ; b=\"c\""]);
                bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
                rest = after;
            }
            bytes.extend(*rng.pick(&[&b"0\r\n\r\n"[..], b"0\r\nX-Trailer: a\r\n\r\n"]));
        }
        sim.pipes[self.pipe].decoder.head_requests.push_back(false);
        self.answers.push_back(200);
        self.write(sim, &bytes, In::Upload(body));
    }

    fn enter_head(&self) -> String {
        let device = &self.device;
        if device.is_empty() {
            format!("/websocket/{}", self.user_path)
        } else {
            format!("/websocket/{}?x=1&device={device}&device=no", self.user_path)
        }
    }

    fn shake_hands(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let relay = sim.handler().relay.is_some();
        match rng.below(24) {
            0 if relay => {
                self.ask(sim, rng, ("GET", "/healthz"), 200);
                if rng.percent(50) {
                    self.ask(sim, rng, ("HEAD", "/"), 200);
                }
                return;
            }
            1 if relay => return self.ask(sim, rng, ("GET", "/nowhere"), 404),
            2 if relay => return self.ask(sim, rng, ("POST", "/healthz"), 405),
            3 => return self.ask(sim, rng, ("GET", "/websocket/u0"), 426),
            4 => {
                self.answers.push_back(400);
                let bad = [
                    &b"\x16\x03\x01\x02\x00 hello TLS"[..],
                    b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
                    b"GET / HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/1.1\nHost: a\n\n",
                    b"hello\r\n\r\n",
                ];
                let reason = CloseReason::Http { status: 400 };
                self.write(sim, bad[rng.range(0, bad.len() - 1)], In::Bad(400, reason));
                self.done = true;
                return;
            }
            5 if relay => {
                let head = frames::handshake(&self.enter_head(), "Origin: http://evil.test\r\n");
                self.answers.push_back(403);
                self.done = true;
                return self.write(sim, &head, In::Ask);
            }
            6 => {
                self.done = true; // the client sends nothing, or half of a request head, and waits for ever
                if rng.percent(50) {
                    self.out.extend(b"GET /websocket/u0 HT");
                    let reason = CloseReason::HandshakeTimeout;
                    let item = In::Bad(0, reason);
                    let end = u64::MAX;
                    let conn = sim.pipes[self.pipe].conn;
                    if let Some(conn) = sim.handler_mut().shadow.conns.get_mut(&conn) {
                        let start = self.offset;
                        conn.inbound.push_back(Item { start, end, begun: None, what: item });
                    }
                }
                return;
            }
            7 => return self.upload(sim, rng),
            _ => {}
        }
        self.entered = true;
        let mut head = frames::handshake(&self.enter_head(), "");
        self.odd_fields(sim, rng, &mut head);
        sim.pipes[self.pipe].decoder.head_requests.push_back(false);
        self.answers.push_back(101);
        let what = In::Enter(self.user.clone(), self.device.clone());
        self.write(sim, &head, what);
    }

    pub fn message(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let (text, say) = self.compose(sim, rng);
        let bytes = frame(0x80 | frames::TEXT, text.as_bytes(), rng.mask());
        self.write(sim, &bytes, In::Text(text, say));
    }

    fn binary(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let data: Vec<u8> = (0..rng.range(0, 400)).map(|byte| byte as u8).collect();
        let bytes = frame(0x80 | frames::BINARY, &data, rng.mask());
        self.write(sim, &bytes, In::Binary(data));
    }

    fn ping(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let payload = vec![b'p'; rng.range(0, 125)];
        let bytes = frame(0x80 | frames::PING, &payload, rng.mask());
        self.write(sim, &bytes, In::Ping(payload));
    }

    /// A message in fragments, cut inside characters too, with pings between.
    fn fragmented(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let (text, say) = self.compose(sim, rng);
        let mut rest = text.as_bytes();
        let mut first = frames::TEXT;
        let start = self.offset;
        loop {
            let length = rng.range(0, rest.len());
            let last = length == rest.len();
            let bytes = frame(first | if last { 0x80 } else { 0 }, &rest[..length], rng.mask());
            self.offset += bytes.len() as u64;
            self.out.extend(bytes);
            if last {
                break;
            }
            if rng.percent(40) {
                self.ping(sim, rng);
            }
            rest = &rest[length..];
            first = 0;
        }
        let end = self.offset;
        let conn = sim.pipes[self.pipe].conn;
        if let Some(conn) = sim.handler_mut().shadow.conns.get_mut(&conn) {
            let what = In::Text(text, say);
            conn.inbound.push_back(Item { start, end, begun: None, what });
        }
    }

    pub fn close(&mut self, sim: &mut Sim, rng: &mut Rng) {
        if self.done || !self.entered {
            return;
        }
        let code = *rng.pick(&[1000, 1001, 1005, 3000, 4999, 1011]);
        let payload = frames::close_payload(code, if rng.percent(50) { "再见" } else { "" });
        let bytes = frame(0x80 | frames::CLOSE, &payload, rng.mask());
        self.write(sim, &bytes, In::Close(code));
        if rng.percent(30) {
            self.out.extend(b"more after the end");
        }
        self.done = true;
    }

    fn violate(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let mask = rng.mask();
        let too_big = sim.hub.config().max_message + 1;
        let (bytes, violation) = match rng.below(10) {
            0 => (frames::server_frame(frames::TEXT, b"not masked"), Violation::Unmasked),
            1 => (frame(0xC1, b"reserved bit", mask), Violation::ReservedBits),
            2 => (frame(0x83, b"", mask), Violation::ReservedOpcode),
            3 => (frame(0x80 | frames::PING, &[0; 126], mask), Violation::BadControl),
            4 => (frame(frames::PING, b"", mask), Violation::BadControl),
            5 => (frame(0x80, b"nothing to continue", mask), Violation::BadFragment),
            6 => (vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4], Violation::BadLength),
            7 => (frame(0x80 | frames::CLOSE, &[3], mask), Violation::BadClose),
            8 => (frame(0x81, b"bad \xff byte", mask), Violation::InvalidUtf8),
            _ => (frame(0x82, &vec![0; too_big], mask), Violation::TooBig),
        };
        let code = match violation {
            Violation::InvalidUtf8 => 1007,
            Violation::TooBig => 1009,
            _ => 1002,
        };
        self.write(sim, &bytes, In::Bad(code, CloseReason::Violation(violation)));
        self.done = true;
    }
}
