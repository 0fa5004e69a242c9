//! Stories of clients and peers on a made-up clock. The name of a test says what must hold. Each test ends
//! with a check that nothing is left behind.

mod application;
mod bodies;
mod changed;
#[cfg(all(feature = "backend", feature = "cluster"))]
mod claims;
mod closing;
mod door;
mod ends;
mod fragments;
mod health;
#[cfg(feature = "backend")]
mod hour;
mod http;
mod judging;
mod last_word;
mod limits;
mod listing;
mod liveness;
mod pace;
mod parking;
mod prefixes;
mod replaced;
#[cfg(feature = "tickets")]
mod tickets;
mod traces;
mod work;

use std::time::Instant;

use longlink::sim::frames::{Got, handshake, text};
use longlink::sim::{Call, Look, Spy, World};
use longlink::trace::Traced;
use longlink::{CloseReason, Config, ConnId, Context, Relay, RelayConfig};

const PING: &str = "ping";

/// What happened to connections, recorded beside the real relay.
#[derive(Debug, Default)]
struct Recorded {
    opened: u64,
    closed: Vec<(String, CloseReason)>,
    traced: Vec<Traced>,
    missed: u64,
}

impl Look for Recorded {
    fn look(&mut self, hub: &mut Context, call: &Call<'_>) {
        match *call {
            Call::Open(_) => self.opened += 1,
            Call::Close(conn, reason) => {
                let user = hub.user(conn).expect("the user answers inside on_close");
                self.closed.push((user.to_owned(), reason.clone()));
            }
            Call::Trace(events, missed) => {
                let some = !events.is_empty() || missed > 0;
                assert!(some, "a handler is not called without an event");
                self.traced.extend_from_slice(events);
                self.missed += missed;
            }
            _ => {}
        }
    }
}

type Link = World<Spy<Relay, Recorded>>;

fn link_with(config: Config) -> Link {
    let relay = Relay::new(RelayConfig::default());
    link_of(config, relay)
}

fn link_of(config: Config, relay: Relay) -> Link {
    let spied = Spy { handler: relay, looker: Recorded::default() };
    World::new(config, spied, Instant::now())
}

fn link() -> Link {
    link_with(Config::default())
}

/// Connects a client as this user. Returns its pipe when the handshake was answered.
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

/// Lets all clients leave, and checks that nothing of them is left.
fn leak_check(mut link: Link) {
    for pipe in 0..link.pipes.len() {
        link.set_reading(pipe, true);
        link.finish(pipe);
    }
    link.settle();
    assert_eq!(link.hub.connections(), 0, "a client that reads and ends its side is gone at once");
    leak_check_later(link);
}

/// Lets all clients leave, and checks after 20 seconds that nothing of them is left. It is for
/// connections that are held back for their rate or whose refusal is held.
fn leak_check_later(mut link: Link) {
    for pipe in 0..link.pipes.len() {
        link.set_reading(pipe, true);
        link.finish(pipe);
    }
    link.advance(20_000);
    link.assert_nothing_is_left();
    assert_eq!(link.handler().looker.opened, link.handler().looker.closed.len() as u64);
}
