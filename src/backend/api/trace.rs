//! `GET /api/trace/{user}`: what one user's connections do, as it happens, on a WebSocket.
//!
//! A text message for each event, one JSON object. Who reads too slowly is dropped like any
//! other connection.

use std::time::Instant;

use compact_str::CompactString;
use serde::{Serialize, Serializer};

use crate::conn::head::Request;
use crate::hub::{Accept, ConnId, FrameKind, Happened, Hub, MAX_TRACED, Traced};

use super::failure::Failure;
use super::users::{self, Connection};

/// The subprotocol of traces; a browser offers it beside its key.
const PROTOCOL: &str = "longlink.ops";
/// The most traces at once, of one user or of several.
const MOST_TRACES: usize = MAX_TRACED;

/// Who watches whom.
#[derive(Debug, Default)]
pub struct Traces {
    watchers: Vec<Watcher>,
    /// Who has been let in and is about to open, to watch that user.
    entering: Option<(ConnId, CompactString)>,
}

#[derive(Debug)]
struct Watcher {
    conn: ConnId,
    user: CompactString,
    began: Instant,
}

impl Traces {
    /// Lets a handshake in that has shown the key.
    pub fn admit(
        &mut self,
        conn: ConnId,
        user: &str,
        request: &Request<'_>,
    ) -> Result<Accept, Failure> {
        if self.watchers.len() >= MOST_TRACES {
            let message = format!("there are {MOST_TRACES} traces already");
            return Err(Failure::new(429, "too_many_traces", message));
        }
        self.entering = Some((conn, user.into()));
        Ok(Accept::aside().protocol(is_offered(request).then_some(PROTOCOL)))
    }

    /// Begins the trace, if the connection that has opened was let in for one.
    #[inline]
    pub fn open(&mut self, hub: &mut Hub, conn: ConnId) -> bool {
        self.entering.is_some() && self.begin(hub, conn)
    }

    #[cold]
    fn begin(&mut self, hub: &mut Hub, conn: ConnId) -> bool {
        // Whoever is let in opens before anybody else does, or never.
        let Some((_, user)) = self.entering.take().filter(|(entering, _)| *entering == conn) else {
            return false;
        };
        let connections = hub.connections_of(&user);
        let connections = connections
            .iter()
            .map(|&conn| Present { connection: conn.serial(), of: users::describe(hub, conn) });
        let began = Line::Trace { user: &user, connections: connections.collect() };
        let line = Event { at: 0, line: began }.json();
        hub.send_text(conn, &line);
        // There are no more traced users than traces.
        hub.trace(&user);
        self.watchers.push(Watcher { conn, user, began: hub.now() });
        true
    }

    /// Ends the trace of a connection that is gone, if it had one.
    #[inline]
    pub fn close(&mut self, hub: &mut Hub, conn: ConnId) -> bool {
        !self.watchers.is_empty() && self.end(hub, conn)
    }

    #[cold]
    fn end(&mut self, hub: &mut Hub, conn: ConnId) -> bool {
        let at = self.watchers.iter().position(|watcher| watcher.conn == conn);
        let Some(gone) = at.map(|at| self.watchers.swap_remove(at)) else { return false };
        if !self.watchers.iter().any(|watcher| watcher.user == gone.user) {
            hub.untrace(&gone.user);
        }
        true
    }

    /// Hands events on to whom they are for.
    pub fn tell(&self, hub: &mut Hub, events: &[Traced], missed: u64) {
        for Watcher { conn, user, began } in &self.watchers {
            let passed = hub.now().saturating_duration_since(*began);
            let at = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            for event in events {
                if hub.user(event.conn) != Some(user) {
                    continue;
                }
                let json = Event { at, line: Line::of(hub, event) }.json();
                hub.send_text(*conn, &json);
            }
            if missed > 0 {
                let json = Event { at, line: Line::Missed { count: missed } }.json();
                hub.send_text(*conn, &json);
            }
        }
    }
}

pub fn is_offered(request: &Request<'_>) -> bool {
    request.protocols().any(|name| name == PROTOCOL)
}

/// What a watcher is sent.
#[derive(Serialize)]
struct Event<'a> {
    /// Milliseconds since the trace began.
    at: u64,
    #[serde(flatten)]
    line: Line<'a>,
}

impl Event<'_> {
    fn json(&self) -> String {
        // It has no keys that are not strings, which is what could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    /// It begins, with the connections that there are.
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
    /// More has happened in a turn than was kept, to this user or to others that are traced.
    Missed {
        count: u64,
    },
}

#[derive(Serialize)]
struct Present<'a> {
    connection: u32,
    #[serde(flatten)]
    of: Connection<'a>,
}

impl<'a> Line<'a> {
    fn of(hub: &'a Hub, event: &'a Traced) -> Self {
        let connection = event.conn.serial();
        match &event.what {
            Happened::Opened { protocol } => Line::Open {
                connection,
                of: users::describe(hub, event.conn),
                protocol: protocol.as_deref(),
            },
            Happened::In(frame) => Line::In { connection, kind: frame.kind, bytes: frame.bytes },
            Happened::Out(frame) => Line::Out { connection, kind: frame.kind, bytes: frame.bytes },
            Happened::Parked => Line::Parked { connection },
            Happened::Promoted => Line::Promoted { connection },
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
