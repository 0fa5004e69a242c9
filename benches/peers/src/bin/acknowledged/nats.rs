//! NATS' text protocol over WebSocket, with JetStream: one stream, and a durable consumer for each
//! user that pushes to the user's own subject. A message has an id, by which the stream drops one
//! that comes again.

use crate::frame::{self, BINARY};
use crate::talk::{self, Fan, Heard, Talk, Upgrade};

/// The stream keeps a message until every consumer has acknowledged it.
const STREAM: &str = r#"{"name":"m","subjects":["u.>"],"retention":"interest","storage":"file","num_replicas":1,"discard":"old","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"duplicate_window":120000000000}"#;
/// How long the server waits for an acknowledgement before it delivers again, in nanoseconds.
const ACK_WAIT: u64 = 2_000_000_000;
/// The most messages without an acknowledgement.
const MAX_ACK_PENDING: u32 = 1_000;

/// What the subject of a group begins with. No stream keeps it: a stream has 1,000 consumers at most,
/// and each user has one already.
const GROUP: &str = "g.";

pub struct Client {
    user: String,
    is_first: bool,
    /// Whether the user's consumer exists.
    has_consumer: bool,
    /// Whether this connection has told the server who it is.
    is_introduced: bool,
    /// Whether this connection may be used.
    is_ready: bool,
    /// Whether the next PONG says that the subscription of a group is made.
    is_joining: bool,
    partial: Vec<u8>,
}

impl Client {
    pub fn new(user: String, is_first: bool) -> Self {
        Client {
            user,
            is_first,
            has_consumer: false,
            is_introduced: false,
            is_ready: false,
            is_joining: false,
            partial: Vec::new(),
        }
    }

    fn ready(&mut self, heard: &mut Vec<Heard>) {
        self.is_ready = true;
        heard.push(Heard::Ready);
    }

    fn create_consumer(&self, out: &mut Vec<u8>) {
        let user = &self.user;
        let config = format!(
            r#"{{"stream_name":"m","config":{{"durable_name":"{user}","deliver_subject":"d.{user}","filter_subject":"u.{user}","deliver_policy":"all","ack_policy":"explicit","replay_policy":"instant","ack_wait":{ACK_WAIT},"max_ack_pending":{MAX_ACK_PENDING}}}}}"#
        );
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.m.{user}");
        put(out, &format!("PUB {subject} i.{user}.consumer {}", config.len()), config.as_bytes());
    }

    /// Handles what begins with this line; returns how much payload it has, or `None` if the
    /// payload has not arrived whole.
    fn line(
        &mut self,
        line: &str,
        rest: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<Option<usize>, String> {
        let mut words = line.split(' ');
        match words.next().unwrap_or_default() {
            // The server tells more of itself later, which changes nothing here.
            "INFO" if self.is_introduced => {}
            "INFO" => {
                self.is_introduced = true;
                let connect = br#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"longlink","version":"1","protocol":1}"#;
                let user = &self.user;
                let subscribe = format!("\r\nSUB i.{user}.* 1\r\nSUB d.{user} 2\r\nPING\r\n");
                frame::put(out, BINARY, &[connect, subscribe.as_bytes()]);
            }
            "PONG" if self.is_joining => {
                self.is_joining = false;
                heard.push(Heard::Joined);
            }
            "PONG" if self.is_ready => heard.push(Heard::Pong),
            "PONG" if self.has_consumer => self.ready(heard),
            "PONG" if self.is_first => {
                let head = format!("PUB $JS.API.STREAM.CREATE.m i.{}.stream", self.user);
                put(out, &format!("{head} {}", STREAM.len()), STREAM.as_bytes());
            }
            "PONG" => self.create_consumer(out),
            "PING" => frame::put(out, BINARY, &[b"PONG\r\n"]),
            "+OK" => {}
            kind @ ("MSG" | "HMSG") => {
                let words: Vec<&str> = words.collect();
                let whole = words.last().copied().unwrap_or_default();
                let whole = talk::parse(whole.as_bytes())? as usize;
                if rest.len() < whole + 2 {
                    return Ok(None);
                }
                let head = match (kind, words.len().checked_sub(2)) {
                    ("HMSG", Some(at)) => talk::parse(words[at].as_bytes())? as usize,
                    _ => 0,
                };
                let reply = words.get(2).filter(|word| word.starts_with("$JS.ACK.")).copied();
                let subject = words.first().copied().unwrap_or_default();
                self.message(subject, reply, &rest[head..whole], out, heard)?;
                return Ok(Some(whole + 2));
            }
            _ => return Err(format!("refused: {line}")),
        }
        Ok(Some(0))
    }

    fn message(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        if let Some(reply) = reply {
            heard.push(Heard::Got(talk::number(payload)?));
            put(out, &format!("PUB {reply} 4"), b"+ACK");
            return Ok(());
        }
        if subject.starts_with(GROUP) {
            heard.push(Heard::Got(talk::number(payload)?));
            return Ok(());
        }
        if talk::after(payload, br#""error":"#).is_some() {
            return Err(format!("refused: {}", talk::shown(payload)));
        }
        match subject.rsplit('.').next().unwrap_or_default() {
            "stream" => self.create_consumer(out),
            "consumer" => {
                self.has_consumer = true;
                self.ready(heard);
            }
            number if payload.starts_with(br#"{"stream":"#) => {
                heard.push(Heard::Taken(talk::parse(number.as_bytes())? as u32));
            }
            // Without a stream nobody keeps the message, and the payload is empty.
            number => return Err(format!("nobody has taken message {number}")),
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, line: &str, payload: &[u8]) {
    frame::put(out, BINARY, &[line.as_bytes(), b"\r\n", payload, b"\r\n"]);
}

impl Talk for Client {
    fn upgrade(&self) -> Upgrade {
        Upgrade { path: "/".into(), fields: "" }
    }

    fn opened(&mut self, _: &mut Vec<u8>, _: &mut Vec<Heard>) {
        self.partial.clear();
        (self.is_introduced, self.is_ready, self.is_joining) = (false, false, false);
    }

    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        // The protocol is a stream, of which a WebSocket message has any part.
        let mut whole = std::mem::take(&mut self.partial);
        let mut rest = message;
        if !whole.is_empty() {
            whole.extend_from_slice(message);
            rest = &whole;
        }
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let line = str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
            let behind = &rest[end + 2..];
            let Some(payload) = self.line(line, behind, out, heard)? else { break };
            rest = &behind[payload..];
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn send(&mut self, to: &str, number: u32, _: bool, out: &mut Vec<u8>) {
        let user = &self.user;
        let head = format!("NATS/1.0\r\nNats-Msg-Id: {user}-{number}\r\n\r\n");
        let body = talk::body(number);
        let whole = head.len() + body.len();
        let line = format!("HPUB u.{to} i.{user}.{number} {} {whole}\r\n", head.len());
        frame::put(out, BINARY, &[line.as_bytes(), head.as_bytes(), &body, b"\r\n"]);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        frame::put(out, BINARY, &[b"PING\r\n"]);
    }

    fn fan(&self) -> Fan {
        Fan { joins: true, echoes: true, is_answered: false }
    }

    fn join(&mut self, group: &str, out: &mut Vec<u8>) {
        self.is_joining = true;
        let subscribe = format!("SUB {GROUP}{group} 3\r\nPING\r\n");
        frame::put(out, BINARY, &[subscribe.as_bytes()]);
    }

    fn send_to_all(&mut self, group: &str, number: u32, out: &mut Vec<u8>) {
        let body = talk::body(number);
        put(out, &format!("PUB {GROUP}{group} {}", body.len()), &body);
    }
}
