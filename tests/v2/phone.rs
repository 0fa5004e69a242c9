//! A client of the dialect v2 as the protocol describes one: it keeps its cursor, drops messages whose
//! numbers are not above the cursor, and acknowledges when a test tells it to.

use serde_json::Value;

use super::Link;
use longlink::Peer;
use longlink::sim::frames::{Got, handshake, text};

/// One device of a user. It outlives its connections.
pub struct Phone {
    pub user: String,
    pub device: String,
    pub pipe: usize,
    /// How many of the pipe's frames have been looked at.
    seen: usize,
    pub epoch: String,
    pub cursor: u64,
    /// The frames that the last call of [`Phone::read`] has read.
    pub frames: Vec<Value>,
    /// The numbers and the messages that the app was given.
    pub messages: Vec<(u64, Value)>,
    pub gaps: Vec<(Option<u64>, u64, String)>,
    /// Messages without a number, which the server does not keep.
    pub passing: Vec<Value>,
    pub acks: Vec<Value>,
    pub errors: Vec<Value>,
    pub receipts: Vec<Value>,
    pub welcomes: Vec<Value>,
    pub lives: usize,
}

impl Phone {
    /// A phone that has never been connected.
    pub fn new(user: &str, device: &str) -> Self {
        Phone {
            user: user.to_owned(),
            device: device.to_owned(),
            pipe: usize::MAX,
            seen: 0,
            epoch: String::new(),
            cursor: 0,
            frames: Vec::new(),
            messages: Vec::new(),
            gaps: Vec::new(),
            passing: Vec::new(),
            acks: Vec::new(),
            errors: Vec::new(),
            receipts: Vec::new(),
            welcomes: Vec::new(),
            lives: 0,
        }
    }

    /// Connects, with the cursor if there is one, and reads the frames that come.
    pub fn connect(&mut self, link: &mut Link) {
        let last = match self.epoch.as_str() {
            "" => String::new(),
            epoch => format!("&last={epoch}-{}", self.cursor),
        };
        self.connect_with(link, &last);
    }

    /// Connects with a query that follows `device`, and reads the frames that come.
    pub fn connect_with(&mut self, link: &mut Link, query: &str) {
        self.ask(link, query);
        link.settle();
        self.read(link);
    }

    /// Connects from an address, and reads the frames that come.
    pub fn connect_from(&mut self, link: &mut Link, peer: Peer) {
        let pipe = link.connect_from(peer);
        self.ask_on(link, pipe, "");
        link.settle();
        self.read(link);
    }

    /// Connects, with the cursor if there is one, and handles so many of the frames that come.
    pub fn connect_and_read(&mut self, link: &mut Link, most: usize) {
        let last = format!("&last={}-{}", self.epoch, self.cursor);
        self.ask(link, &last);
        link.settle();
        self.read_some(link, most);
    }

    /// Connects, with the cursor if there is one, and does not read what comes.
    pub fn connect_without_reading(&mut self, link: &mut Link) {
        let last = format!("&last={}-{}", self.epoch, self.cursor);
        self.ask(link, &last);
        link.set_reading(self.pipe, false);
        link.settle();
    }

    /// Sends a handshake on a new connection.
    fn ask(&mut self, link: &mut Link, query: &str) {
        let pipe = link.connect();
        self.ask_on(link, pipe, query);
    }

    fn ask_on(&mut self, link: &mut Link, pipe: Option<usize>, query: &str) {
        self.pipe = pipe.expect("room");
        self.seen = 0;
        let Phone { user, device, .. } = self;
        let path = format!("/websocket/{user}?device={device}{query}");
        link.send(self.pipe, &handshake(&path, "Sec-WebSocket-Protocol: longlink.v2\r\n"));
    }

    /// Sends one frame and reads the frames that come.
    pub fn say(&mut self, link: &mut Link, frame: &str) {
        link.send(self.pipe, &text(frame));
        link.settle();
        self.read(link);
    }

    /// Sends a message to a user.
    pub fn write_to(&mut self, link: &mut Link, cid: &str, to: &str, message: &str) {
        let frame =
            format!(r#"{{"type":"send","cid":"{cid}","toUserId":"{to}","message":"{message}"}}"#);
        self.say(link, &frame);
    }

    /// Acknowledges everything up to the cursor.
    pub fn acknowledge(&mut self, link: &mut Link) {
        let frame = format!(r#"{{"type":"ack","seq":{}}}"#, self.cursor);
        self.say(link, &frame);
    }

    /// The connection breaks without a word; what was on its way to the phone is lost.
    pub fn cut(&mut self, link: &mut Link) {
        link.reset(self.pipe, std::io::ErrorKind::ConnectionReset);
        link.settle();
    }

    pub fn is_open(&self, link: &Link) -> bool {
        link.hub.is_open(link.pipes[self.pipe].conn)
    }

    /// Reads the frames that have come since the last call, as a client does.
    pub fn read(&mut self, link: &Link) {
        self.read_some(link, usize::MAX);
    }

    /// Reads so many of the frames that have come.
    pub fn read_some(&mut self, link: &Link, most: usize) {
        self.frames.clear();
        let got = &link.pipes[self.pipe].got;
        for got in got[self.seen..].iter().take(most) {
            self.seen += 1;
            if let Got::Text(text) = got {
                let frame = serde_json::from_str(text).expect(text);
                self.take(&frame);
                self.frames.push(frame);
            }
        }
    }

    fn take(&mut self, frame: &Value) {
        let number = |name: &str| frame[name].as_u64();
        match frame["type"].as_str().expect("every frame has a type") {
            "welcome" => {
                let epoch = frame["epoch"].as_str().unwrap();
                if frame["resumed"] == false || self.epoch.is_empty() {
                    self.cursor = number("cursor").unwrap();
                }
                self.epoch = epoch.to_owned();
                self.welcomes.push(frame.clone());
            }
            "message" => match number("seq") {
                Some(seq) if seq > self.cursor => {
                    self.cursor = seq;
                    self.messages.push((seq, frame.clone()));
                }
                Some(_) => {}
                None => self.passing.push(frame.clone()),
            },
            "receipt" => {
                let seq = number("seq").unwrap();
                if seq > self.cursor {
                    self.cursor = seq;
                    self.receipts.push(frame.clone());
                }
            }
            "gap" => {
                let to = number("to").unwrap();
                self.cursor = self.cursor.max(to);
                let reason = frame["reason"].as_str().unwrap().to_owned();
                self.gaps.push((number("from"), to, reason));
            }
            "ack" => self.acks.push(frame.clone()),
            "error" => self.errors.push(frame.clone()),
            "live" => self.lives += 1,
            _ => {}
        }
    }

    /// The texts of the messages that the app was given.
    pub fn texts(&self) -> Vec<&str> {
        self.messages.iter().map(|(_, frame)| frame["message"].as_str().unwrap_or("?")).collect()
    }

    /// The types of the frames that the last call of [`Phone::read`] has read.
    pub fn types(&self) -> Vec<&str> {
        self.frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
    }

    /// The state in the last answer to a send.
    pub fn state(&self) -> &str {
        self.acks.last().and_then(|ack| ack["state"].as_str()).unwrap_or("none")
    }

    /// The code of the last refusal, and whether it may be tried again.
    pub fn error(&self) -> (&str, bool) {
        let error = self.errors.last().expect("an error");
        (error["code"].as_str().unwrap(), error["retry"].as_bool().unwrap())
    }
}
