//! A handler that does in every callback what a handler may do, and records which callbacks are
//! called.

use std::collections::HashSet;

use longlink::http::{Refused, Request, Response};
use longlink::trace::Traced;
use longlink::{
    Accept, CloseReason, ConnId, Context, Handler, Message, Reject, Relay, RelayConfig, Reply,
    Upgrade,
};

use crate::reached;
use longlink::sim::Watch;

/// The group that each connection joins when it opens.
pub const GROUP: &str = "g";
/// The first byte of a binary message that asks the handler to act.
pub const MARKER: u8 = 7;

pub struct Busy {
    relay: Relay,
    open: HashSet<ConnId>,
    watchers: Vec<ConnId>,
    opened: u64,
    closed: u64,
    /// Whether the handler sends a message to everyone when a connection closes.
    tells_of_leaving: bool,
    /// Whether the handler sends the events of traces to the connections that watch.
    tells_watchers: bool,
    /// Whether the handler begins traces and ends connections in `on_trace`.
    acts_on_traces: bool,
}

impl Busy {
    pub fn new(habits: u8) -> Self {
        Busy {
            relay: Relay::new(RelayConfig::default()),
            open: HashSet::new(),
            watchers: Vec::new(),
            opened: 0,
            closed: 0,
            tells_of_leaving: habits & 1 != 0,
            tells_watchers: habits & 2 != 0,
            acts_on_traces: habits & 4 != 0,
        }
    }

    /// Called when all connections are gone.
    pub fn check_end(&self) {
        assert!(self.open.is_empty(), "each that was opened was closed");
        assert_eq!(self.opened, self.closed);
    }

    fn act(hub: &mut Context, conn: ConnId, what: u8) {
        reached("acts");
        match what % 12 {
            0 => {
                hub.broadcast("to all of you");
                hub.charge_broadcast(conn);
            }
            1 => drop(hub.send_to_group(GROUP, "to the group")),
            2 => hub.close(conn, 1000, "as you asked"),
            3 => hub.abort(conn),
            4 => {
                hub.send_to_group_except(GROUP, "to some", &["u0"]);
                hub.broadcast_except("to others", &["u1"]);
            }
            5 => drop(hub.trace("u0")),
            6 => hub.untrace("u0"),
            7 => {
                for user in ["u0", "u1"] {
                    let conns = hub.connections_of(user);
                    conns.into_iter().for_each(|conn| hub.close(conn, 4000, "kicked"));
                }
            }
            8 => {
                for _ in 0..20 {
                    hub.send(conn, &[7; 90][..]);
                }
            }
            9 => hub.connections_of("u0").into_iter().for_each(|conn| hub.abort(conn)),
            10 => drop(hub.leave(conn, GROUP)),
            _ => drop(hub.reclaim(conn)),
        }
    }
}

impl Handler for Busy {
    type Session = <Relay as Handler>::Session;
    type Event = <Relay as Handler>::Event;

    fn on_upgrade(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Self::Session>, Reject> {
        match upgrade.path() {
            "/aside" => {
                self.watchers.push(conn);
                reached("aside");
                Ok(Accept::aside().session(Default::default()))
            }
            "/anonymous" => Ok(Accept::anonymous().session(Default::default())),
            "/no" => Err(Reject(Response::text(401, "no"))),
            _ => self.relay.on_upgrade(hub, conn, upgrade),
        }
    }

    fn on_request(&mut self, hub: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        reached("request");
        match request.body() {
            None => Reply::Read { at_most: 500 },
            Some(_) => self.relay.on_request(hub, conn, request),
        }
    }

    fn on_refused(&mut self, hub: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        self.relay.on_refused(hub, conn, refused)
    }

    fn on_open(&mut self, hub: &mut Context, conn: ConnId, session: &mut Self::Session) {
        reached("opened");
        assert!(self.open.insert(conn), "a connection opens once");
        self.opened += 1;
        let _ = hub.join(conn, GROUP);
        self.relay.on_open(hub, conn, session);
    }

    fn on_message(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        session: &mut Self::Session,
        message: Message<'_>,
    ) {
        assert!(self.open.contains(&conn), "a message of a connection that is not open");
        reached("message");
        if let Message::Binary([MARKER, what, ..]) = message {
            Self::act(hub, conn, *what);
        }
        self.relay.on_message(hub, conn, session, message);
    }

    fn on_drain(&mut self, hub: &mut Context, conn: ConnId, _: &mut Self::Session) {
        reached("drained");
        hub.send(conn, "drained");
    }

    fn on_too_long(&mut self, hub: &mut Context, conn: ConnId, session: &mut Self::Session) {
        self.relay.on_too_long(hub, conn, session);
    }

    fn on_turned_away(&mut self, hub: &mut Context, session: Self::Session) {
        self.relay.on_turned_away(hub, session);
    }

    fn on_closing(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        session: &mut Self::Session,
        reason: &CloseReason,
    ) {
        self.relay.on_closing(hub, conn, session, reason);
    }

    fn on_timer(&mut self, hub: &mut Context, key: u32) {
        self.relay.on_timer(hub, key);
    }

    fn on_event(&mut self, hub: &mut Context, event: Self::Event) {
        self.relay.on_event(hub, event);
    }

    fn on_close(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        session: Self::Session,
        reason: &CloseReason,
    ) {
        assert!(self.open.remove(&conn), "a connection is closed once, after it was opened");
        self.closed += 1;
        self.watchers.retain(|watcher| *watcher != conn);
        match reason {
            CloseReason::Handler { .. } => reached("closed by the server"),
            CloseReason::Peer { .. } => reached("closed by the client"),
            CloseReason::Io(_) => reached("failed"),
            CloseReason::SlowReader => reached("slow reader"),
            CloseReason::Memory => reached("memory"),
            CloseReason::Idle => reached("idle"),
            CloseReason::Crowded => reached("too many of a user"),
            _ => {}
        }
        if self.tells_of_leaving {
            hub.broadcast("somebody has left");
        }
        self.relay.on_close(hub, conn, session, reason);
    }

    fn on_trace(&mut self, hub: &mut Context, events: &[Traced], missed: u64) {
        reached("traced");
        assert!(!events.is_empty() || missed > 0, "it is told of something");
        for event in events {
            assert!(hub.user(event.conn).is_some(), "an event of a connection that is gone");
        }
        if self.tells_watchers {
            for watcher in &self.watchers {
                hub.send(*watcher, "somebody did something");
            }
        }
        if self.acts_on_traces {
            hub.trace("u1");
            hub.connections_of("u1").into_iter().for_each(|conn| hub.close(conn, 4001, "seen"));
        }
        self.relay.on_trace(hub, events, missed);
    }
}

impl Watch for Busy {}
