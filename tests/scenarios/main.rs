//! What clients and peers have done, or could do, on a virtual clock. Each name
//! says what must come of it; each ends with nothing left behind.

mod application;
mod bodies;
mod closing;
mod door;
mod ends;
mod fragments;
mod http;
mod last_word;
mod limits;
mod listing;
mod liveness;
mod pace;
mod parking;
mod replaced;
#[cfg(feature = "tickets")]
mod tickets;
mod traces;
#[path = "../world/mod.rs"]
mod world;

use longlink::http::Request;
use longlink::trace::Traced;
use longlink::{
    Accept, CloseReason, Config, ConnId, Context, Handler, Message, Reject, Relay, RelayConfig,
    Reply, Upgrade,
};
use world::codec::{Got, handshake, text};
use world::{Watch, World};

const PING: &str = "ping";

/// The real relay, and a list of who came and went.
struct Recorded {
    relay: Relay,
    opened: u64,
    closed: Vec<(String, CloseReason)>,
    traced: Vec<Traced>,
    missed: u64,
}

impl Handler for Recorded {
    type Session = <Relay as Handler>::Session;
    type Event = ();

    fn on_upgrade(
        &mut self,
        h: &mut Context,
        c: ConnId,
        u: Upgrade<'_>,
    ) -> Result<Accept<Self::Session>, Reject> {
        self.relay.on_upgrade(h, c, u)
    }

    fn on_request(&mut self, hub: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        self.relay.on_request(hub, conn, request)
    }

    fn on_open(&mut self, hub: &mut Context, conn: ConnId, session: &mut Self::Session) {
        self.opened += 1;
        self.relay.on_open(hub, conn, session);
    }

    fn on_message(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        session: &mut Self::Session,
        message: Message<'_>,
    ) {
        self.relay.on_message(hub, conn, session, message);
    }

    fn on_close(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        _: Self::Session,
        reason: &CloseReason,
    ) {
        let user = hub.user(conn).expect("the user answers inside on_close");
        self.closed.push((user.to_owned(), reason.clone()));
    }

    fn on_trace(&mut self, _: &mut Context, events: &[Traced], missed: u64) {
        assert!(!events.is_empty() || missed > 0, "a handler is not called to be told nothing");
        self.traced.extend_from_slice(events);
        self.missed += missed;
    }
}

impl Watch for Recorded {}

type Link = World<Recorded>;

fn link_with(config: Config) -> Link {
    let relay = Relay::new(RelayConfig::default());
    link_of(config, relay)
}

fn link_of(config: Config, relay: Relay) -> Link {
    let (closed, traced) = (Vec::new(), Vec::new());
    World::new(config, Recorded { relay, opened: 0, closed, traced, missed: 0 })
}

fn link() -> Link {
    link_with(Config::default())
}

/// A client connects as this user, and its handshake is answered.
fn enter(link: &mut Link, path: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(&format!("/websocket/{path}"), ""));
    link.settle();
    pipe
}

fn say(link: &mut Link, pipe: usize, message: &str) {
    link.send(pipe, &text(message));
    link.settle();
}

fn is_parked(link: &Link, pipe: usize) -> bool {
    link.hub.is_parked(link.pipes[pipe].conn)
}

fn is_open(link: &Link, pipe: usize) -> bool {
    link.hub.is_open(link.pipes[pipe].conn)
}

fn status(link: &Link, pipe: usize) -> Option<u16> {
    match link.pipes[pipe].got.first() {
        Some(Got::Http(status, ..)) => Some(*status),
        _ => None,
    }
}

fn statuses(link: &Link, pipe: usize) -> Vec<u16> {
    let status = |got: &Got| if let Got::Http(status, ..) = got { Some(*status) } else { None };
    link.pipes[pipe].got.iter().filter_map(status).collect()
}

fn close_code(link: &Link, pipe: usize) -> Option<u16> {
    match link.pipes[pipe].got.last() {
        Some(Got::Close(code, _)) => Some(*code),
        _ => None,
    }
}

fn pings(link: &Link, pipe: usize) -> usize {
    link.pipes[pipe].got.iter().filter(|got| matches!(got, Got::Ping(_))).count()
}

fn to(user: &str, message: &str) -> String {
    format!(r#"{{"toUserId":"{user}","message":"{message}"}}"#)
}

fn from(sender: &str, user: &str, message: &str) -> String {
    format!(
        r#"{{"type":"message","formUserId":"{sender}","toUserId":"{user}","message":"{message}"}}"#
    )
}

/// Everybody leaves; nothing is left of them.
fn leak_check(mut link: Link) {
    for pipe in 0..link.pipes.len() {
        link.set_reading(pipe, true);
        link.finish(pipe);
    }
    link.advance(20_000);
    link.assert_nothing_is_left();
    assert_eq!(link.handler().opened, link.handler().closed.len() as u64);
}
