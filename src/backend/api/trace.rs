//! `GET /api/trace/{user}`: a WebSocket that tells live what one user's connections do.
//!
//! Each event is a text message with one JSON object. A connection that reads too slowly is dropped
//! like any other connection.

use std::time::Instant;

use compact_str::CompactString;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::hub::{Accept, ConnId, Context, Detail, FrameKind, Happened, MAX_TRACED, Told, Traced};
use crate::wire::http::head::Request;

use super::failure::Failure;
use super::users::{self, Connection};
use crate::backend::nodes::{Question, TOLD_EVERY, Watches, some_answers};
use crate::engine::{Of, Request as Ask, Told as News};
use crate::journal::Ticket;
use crate::relay::{FIRST_OF_EXTENSION, Relay, Session, TIMER_OF_EXTENSION};

/// The subprotocol of traces. A browser offers it beside its key.
const PROTOCOL: &str = "longlink.ops";
/// The largest number of traces at once, for one user or for several.
const MOST_TRACES: usize = MAX_TRACED;

/// The tracers, and the user whom each of them watches.
#[derive(Debug, Default)]
pub struct Traces {
    tracers: Vec<Tracer>,
    /// What this node traces for other nodes.
    watches: Watches,
    last: Ticket,
}

/// The tickets of traces begin here, behind those of requests.
const TICKETS: Ticket = FIRST_OF_EXTENSION + (1 << 30);
const MOST_TICKETS: Ticket = 1 << 20;

#[derive(Debug)]
struct Tracer {
    conn: ConnId,
    user: CompactString,
    began: Instant,
    /// The ticket of the question for the connections on other nodes, until they are known and the first
    /// message is sent.
    asked: Option<Ticket>,
}

impl Traces {
    /// Accepts a handshake that has shown the key.
    pub fn admit(
        &self,
        relay: &mut Relay,
        user: &str,
        request: &Request<'_>,
    ) -> Result<Accept<Session>, Failure> {
        let session = match self.tracers.len() < MOST_TRACES {
            true => relay.sessions.tracer(user),
            false => None,
        };
        let Some(session) = session else {
            let message = format!("there are {MOST_TRACES} traces already");
            return Err(Failure::new(429, "too_many_traces", message));
        };
        let accept = Accept::aside().protocol(is_offered(request).then_some(PROTOCOL));
        Ok(accept.session(session))
    }

    /// Begins a trace. Called when the connection that is shown a trace has opened.
    pub fn begin(&mut self, relay: &mut Relay, cx: &mut Context, conn: ConnId, user: &str) {
        // This fails only if other nodes watch as many other users here.
        cx.trace(user);
        let mut asked = None;
        if relay.is_shared() {
            self.last = (self.last + 1) % MOST_TICKETS;
            let ticket = TICKETS + self.last;
            asked = Some(ticket);
            ask(relay, ticket, user, true);
            cx.set_timer(TIMER_OF_EXTENSION, cx.now() + TOLD_EVERY);
        } else {
            let began = Line::Trace { user, connections: present(cx, user, None) };
            let line = Event { at: 0, node: None, line: began }.json();
            cx.send(conn, &line);
        }
        self.tracers.push(Tracer { conn, user: user.into(), began: cx.now(), asked });
    }

    /// The other nodes have told which connections the user has to them. Returns anything else.
    pub fn hear(&mut self, relay: &Relay, cx: &mut Context, told: News) -> Option<News> {
        let News::Answers(ticket, ..) = told else { return Some(told) };
        if ticket < TICKETS {
            return Some(told);
        }
        let found = self.tracers.iter_mut().find(|it| it.asked == Some(ticket));
        let Tracer { conn, user, began, asked } = found?;
        *asked = None;
        let node = relay.node();
        let own = serde_json::to_value(present(cx, user, Some(node))).unwrap_or_default();
        let (others, _) = some_answers::<Vec<Value>>(told);
        let own = own.as_array().into_iter().flatten().cloned();
        let all: Vec<Value> = own.chain(others.into_iter().flat_map(|(_, its)| its)).collect();
        let at = millis_since(cx, *began);
        let line = json!({"at": at, "event": "trace", "user": user.as_str(), "connections": all});
        cx.send(*conn, &line.to_string());
        None
    }

    /// Ends the trace whose connection is gone.
    pub fn end(&mut self, relay: &mut Relay, cx: &mut Context, conn: ConnId) {
        let at = self.tracers.iter().position(|tracer| tracer.conn == conn);
        let Some(gone) = at.map(|at| self.tracers.swap_remove(at)) else { return };
        if !self.tracers.iter().any(|tracer| tracer.user == gone.user) {
            if relay.is_shared() {
                ask(relay, Ticket::MAX, &gone.user, false);
            }
            self.untrace(cx, &gone.user);
        }
    }

    fn untrace(&self, cx: &mut Context, user: &str) {
        if !self.watches.has(user) && !self.tracers.iter().any(|tracer| tracer.user == user) {
            cx.untrace(user);
        }
    }

    /// Tells other nodes that traces go on, and forgets those of nodes that have not done so.
    pub fn go_on(&mut self, relay: &mut Relay, cx: &mut Context) {
        let before: Vec<String> = self.watches.each().map(|(user, _)| user.to_owned()).collect();
        self.watches.forget_old(cx);
        before.iter().for_each(|user| self.untrace(cx, user));
        for tracer in &self.tracers {
            ask(relay, Ticket::MAX, &tracer.user, true);
        }
        if relay.is_shared() && !(self.tracers.is_empty() && self.watches.is_empty()) {
            cx.set_timer(TIMER_OF_EXTENSION, cx.now() + TOLD_EVERY);
        }
    }

    /// Another node wants to know what a user does, or does not any more. Returns the user's connections
    /// to this node.
    pub fn watch(
        &mut self,
        relay: &Relay,
        cx: &mut Context,
        (user, node): (&str, &str),
        on: bool,
    ) -> Vec<u8> {
        if !self.watches.set(cx, user, node, on) {
            return Vec::new();
        }
        match on {
            true => cx.set_timer(TIMER_OF_EXTENSION, cx.now() + TOLD_EVERY),
            false => {
                self.untrace(cx, user);
                true
            }
        };
        serde_json::to_vec(&present(cx, user, Some(relay.node()))).unwrap_or_default()
    }

    /// Another node tells what a user does there.
    pub fn pass_on(&self, cx: &mut Context, (user, node): (&str, &str), lines: &[String]) {
        for tracer in self.tracers.iter().filter(|it| it.user == user && it.asked.is_none()) {
            let at = millis_since(cx, tracer.began);
            let node = Value::from(node);
            for line in lines.iter().filter_map(|line| line.strip_prefix('{')) {
                cx.send(tracer.conn, &format!(r#"{{"at":{at},"node":{node},{line}"#));
            }
        }
    }

    /// Sends events to the tracers of their users, and to the nodes that watch them.
    pub fn tell(&self, relay: &mut Relay, cx: &mut Context, events: &[Traced], missed: u64) {
        let node = relay.is_shared().then(|| relay.node().to_owned());
        for Tracer { conn, user, began, asked } in &self.tracers {
            if asked.is_some() {
                continue;
            }
            let (at, node) = (millis_since(cx, *began), node.as_deref());
            for event in events {
                if cx.user(event.conn) != Some(user) {
                    continue;
                }
                let json = Event { at, node, line: Line::of(cx, event) }.json();
                cx.send(*conn, &json);
            }
            if missed > 0 {
                let json = Event { at, node, line: Line::Missed { count: missed } }.json();
                cx.send(*conn, &json);
            }
        }
        let Some(node) = node.filter(|_| !self.watches.is_empty()) else { return };
        for (user, to) in self.watches.each() {
            let of_user = events.iter().filter(|event| cx.user(event.conn) == Some(user));
            let lines = of_user.map(|event| Line::of(cx, event));
            let lines = lines.chain((missed > 0).then_some(Line::Missed { count: missed }));
            let lines: Vec<String> =
                lines.filter_map(|line| serde_json::to_string(&line).ok()).collect();
            if !lines.is_empty() {
                let (user, node) = (user.to_owned(), node.clone());
                let question = Question::Traced { user, node, lines }.json();
                let ask = Ask::Ask { of: Of::Node(to), question: &question };
                relay.ask_engine(Ticket::MAX, ask);
            }
        }
    }
}

/// Tells all other nodes that a user is traced here, or is not any more.
fn ask(relay: &mut Relay, ticket: Ticket, user: &str, on: bool) {
    let (user, node) = (user.to_owned(), relay.node().to_owned());
    let question = Question::Watch { user, node, on }.json();
    relay.ask_engine(ticket, Ask::Ask { of: Of::All, question: &question });
}

/// The connections that a user has to this node.
fn present<'a>(cx: &'a Context, user: &str, node: Option<&'a str>) -> Vec<Present<'a>> {
    let connections = cx.connections_of(user);
    let described = users::connections(cx, user, node);
    let pairs = connections.iter().zip(described);
    pairs.map(|(conn, of)| Present { connection: conn.serial(), of }).collect()
}

fn millis_since(cx: &Context, began: Instant) -> u64 {
    let passed = cx.now().saturating_duration_since(began);
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

pub fn is_offered(request: &Request<'_>) -> bool {
    request.protocols().any(|name| name == PROTOCOL)
}

/// A message with one event of a trace.
#[derive(Serialize)]
struct Event<'a> {
    /// Milliseconds since the trace began.
    at: u64,
    /// The node on which it has happened, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(flatten)]
    line: Line<'a>,
}

impl Event<'_> {
    fn json(&self) -> String {
        // This cannot fail, because all keys are strings.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    /// The first message of a trace, with the user's connections.
    Trace {
        user: &'a str,
        connections: Vec<Present<'a>>,
    },
    Open {
        connection: u32,
        #[serde(flatten)]
        of: Connection<'a>,
        /// The subprotocol that was agreed on.
        protocol: Option<&'a str>,
    },
    In {
        connection: u32,
        #[serde(serialize_with = "name")]
        kind: FrameKind,
        bytes: usize,
    },
    Out {
        connection: u32,
        #[serde(serialize_with = "name")]
        kind: FrameKind,
        bytes: usize,
    },
    Parked {
        connection: u32,
    },
    Promoted {
        connection: u32,
    },
    Close {
        connection: u32,
        code: Option<u16>,
        reason: String,
    },
    /// More events happened in a turn than were kept; they may belong to this user or to another
    /// traced user.
    Missed {
        count: u64,
    },
    /// What the relay has told; its name is that of the event.
    #[serde(untagged)]
    Told(ToldOf<'a>),
}

struct ToldOf<'a> {
    connection: u32,
    told: &'a Told,
}

impl Serialize for ToldOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ToldOf { connection, told } = self;
        let mut map = serializer.serialize_map(Some(2 + told.details.len()))?;
        map.serialize_entry("event", told.name)?;
        map.serialize_entry("connection", connection)?;
        for (name, detail) in &told.details {
            match detail {
                Detail::Number(number) => map.serialize_entry(name, number)?,
                Detail::Word(word) => map.serialize_entry(name, word)?,
                Detail::Flag(flag) => map.serialize_entry(name, flag)?,
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Present<'a> {
    connection: u32,
    #[serde(flatten)]
    of: Connection<'a>,
}

impl<'a> Line<'a> {
    fn of(cx: &'a Context, event: &'a Traced) -> Self {
        let connection = event.conn.serial();
        match &event.what {
            Happened::Opened { protocol } => Line::Open {
                connection,
                of: users::describe(cx, event.conn),
                protocol: protocol.as_deref(),
            },
            Happened::In(frame) => Line::In { connection, kind: frame.kind, bytes: frame.bytes },
            Happened::Out(frame) => Line::Out { connection, kind: frame.kind, bytes: frame.bytes },
            Happened::Parked => Line::Parked { connection },
            Happened::Promoted => Line::Promoted { connection },
            Happened::Told(told) => Line::Told(ToldOf { connection, told }),
            Happened::Closed { reason } => Line::Close {
                connection,
                code: reason.wire().map(|(code, _)| code),
                reason: reason.to_string(),
            },
        }
    }
}

fn name<S: Serializer>(kind: &FrameKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        FrameKind::Text => "text",
        FrameKind::Binary => "binary",
        FrameKind::Ping => "ping",
        FrameKind::Pong => "pong",
        FrameKind::Close => "close",
    })
}
