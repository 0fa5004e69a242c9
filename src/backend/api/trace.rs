//! `GET /api/trace/{user}`: a WebSocket that tells live what one user's connections do.
//!
//! Each event is a text message with one JSON object. A connection that reads too slowly is dropped
//! like any other connection.

use std::time::Instant;

use compact_str::CompactString;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::hub::{Accept, ConnId, Context, Detail, FrameKind, Happened, MAX_TRACED, Told, Traced};
use crate::wire::http::head::Request;

use super::failure::Failure;
use super::users::{self, Connection};
use crate::relay::{Relay, Session};

/// The subprotocol of traces. A browser offers it beside its key.
const PROTOCOL: &str = "longlink.ops";
/// The largest number of traces at once, for one user or for several.
const MOST_TRACES: usize = MAX_TRACED;

/// The tracers, and the user whom each of them watches.
#[derive(Debug, Default)]
pub struct Traces {
    tracers: Vec<Tracer>,
}

#[derive(Debug)]
struct Tracer {
    conn: ConnId,
    user: CompactString,
    began: Instant,
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
    pub fn begin(&mut self, cx: &mut Context, conn: ConnId, user: &str) {
        let connections = cx.connections_of(user);
        let connections = connections
            .iter()
            .map(|&conn| Present { connection: conn.serial(), of: users::describe(cx, conn) });
        let began = Line::Trace { user, connections: connections.collect() };
        let line = Event { at: 0, line: began }.json();
        cx.send(conn, &line);
        // This cannot fail, because there are as many traced users as traces.
        cx.trace(user);
        self.tracers.push(Tracer { conn, user: user.into(), began: cx.now() });
    }

    /// Ends the trace whose connection is gone.
    pub fn end(&mut self, cx: &mut Context, conn: ConnId) {
        let at = self.tracers.iter().position(|tracer| tracer.conn == conn);
        let Some(gone) = at.map(|at| self.tracers.swap_remove(at)) else { return };
        if !self.tracers.iter().any(|tracer| tracer.user == gone.user) {
            cx.untrace(&gone.user);
        }
    }

    /// Sends events to the tracers of their users.
    pub fn tell(&self, cx: &mut Context, events: &[Traced], missed: u64) {
        for Tracer { conn, user, began } in &self.tracers {
            let passed = cx.now().saturating_duration_since(*began);
            let at = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            for event in events {
                if cx.user(event.conn) != Some(user) {
                    continue;
                }
                let json = Event { at, line: Line::of(cx, event) }.json();
                cx.send(*conn, &json);
            }
            if missed > 0 {
                let json = Event { at, line: Line::Missed { count: missed } }.json();
                cx.send(*conn, &json);
            }
        }
    }
}

pub fn is_offered(request: &Request<'_>) -> bool {
    request.protocols().any(|name| name == PROTOCOL)
}

/// A message with one event of a trace.
#[derive(Serialize)]
struct Event<'a> {
    /// Milliseconds since the trace began.
    at: u64,
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
