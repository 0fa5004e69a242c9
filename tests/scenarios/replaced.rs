//! Connections that end when a newer one takes their place, and how many bytes were never written to a
//! connection that has ended.

use std::time::Duration;

use longlink::sim::Watch;
use longlink::{Accept, Handler, Message, Reject, Upgrade};

use crate::*;

/// The code with which a replaced connection is closed.
const REPLACED: u16 = 4401;

/// A handler whose users are the paths. Their connections end when they are replaced, except those whose
/// path ends with `!`.
#[derive(Default)]
struct Newest {
    closing: Vec<CloseReason>,
    closed: Vec<(CloseReason, usize)>,
    turned_away: usize,
}

impl Handler for Newest {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, u: Upgrade<'_>) -> Result<Accept, Reject> {
        let path = u.path().trim_start_matches('/');
        let (user, device) = path.split_once('/').unwrap_or((path, ""));
        let accept = Accept::user(user).device(device.trim_end_matches('!'));
        Ok(if path.ends_with('!') { accept } else { accept.ends_when_replaced(REPLACED) })
    }

    fn on_turned_away(&mut self, _: &mut Context, (): ()) {
        self.turned_away += 1;
    }

    fn on_message(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), message: Message<'_>) {
        match message {
            Message::Text("reclaim") => assert!(cx.reclaim(conn)),
            Message::Text("flood") => assert!(cx.send(conn, "x".repeat(50_000).as_str())),
            _ => {}
        }
    }

    fn on_closing(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), reason: &CloseReason) {
        cx.send(conn, "a newer one");
        self.closing.push(reason.clone());
    }

    fn on_close(&mut self, cx: &mut Context, conn: ConnId, (): (), reason: &CloseReason) {
        self.closed.push((reason.clone(), cx.unwritten(conn)));
    }
}

impl Watch for Newest {}

fn newest(config: Config) -> World<Newest> {
    World::new(config, Newest::default(), Instant::now())
}

fn open(world: &mut World<Newest>, path: &str) -> usize {
    let pipe = world.connect().expect("room");
    world.send(pipe, &handshake(path, ""));
    world.settle();
    assert!(world.hub.is_open(world.pipes[pipe].conn), "{path} is let in");
    pipe
}

#[test]
fn a_connection_that_ends_when_it_is_replaced_gets_a_last_word_and_the_given_code() {
    let mut world = newest(Config::default());
    let old = open(&mut world, "/alice/phone");
    let new = open(&mut world, "/alice/phone");
    let last = &world.pipes[old].got[1..];
    assert!(matches!(last, [Got::Text(text), Got::Close(REPLACED, _)] if text == "a newer one"));
    assert_eq!(world.handler().closing, [CloseReason::Replaced { code: REPLACED }]);
    assert!(!world.hub.is_parked(world.pipes[new].conn));
    assert_eq!(world.hub.send_to_user("alice", "hello"), 1);
    assert_eq!((world.hub.stats().parked, world.hub.stats().promoted), (0, 0));
    world.settle();
    assert_eq!(world.pipes[new].texts(), ["hello"]);
    world.hub.check_invariants();
}

#[test]
fn a_newer_connection_is_never_refused_because_of_those_that_it_replaces() {
    for most in [0, 1, 2] {
        let mut config = Config::default();
        (config.max_per_user, config.close_timeout) = (most, Duration::from_secs(10));
        let mut world = newest(config);
        for count in 0..30 {
            open(&mut world, "/alice/phone");
            assert_eq!(world.handler().closing.len(), count);
            assert_eq!(world.hub.connections_of("alice").len(), 1);
            world.hub.check_invariants();
        }
        assert_eq!(world.handler().turned_away, 0);
    }
}

#[test]
fn a_newer_connection_of_another_device_ends_the_one_that_it_replaces() {
    let mut config = Config::default();
    (config.devices, config.max_per_user) = (longlink::limits::Devices::One, 1);
    let mut world = newest(config);
    open(&mut world, "/alice/phone");
    open(&mut world, "/alice/tablet");
    assert_eq!(world.handler().closing, [CloseReason::Replaced { code: REPLACED }]);
}

#[test]
fn a_parked_connection_that_becomes_active_again_ends_the_connection_that_had_replaced_it() {
    let mut world = newest(Config::default());
    let old = open(&mut world, "/alice/phone!");
    open(&mut world, "/alice/phone");
    assert!(world.hub.is_parked(world.pipes[old].conn));
    world.advance(2_500);
    world.send(old, &text("reclaim"));
    world.settle();
    assert!(!world.hub.is_parked(world.pipes[old].conn));
    assert_eq!(world.handler().closing, [CloseReason::Replaced { code: REPLACED }]);
    assert_eq!(world.hub.connections_of("alice").len(), 1);
    world.hub.check_invariants();
}

#[test]
fn a_handler_learns_how_many_bytes_were_never_written() {
    let mut world = newest(Config::default());
    world.capacity = 1_000;
    let slow = open(&mut world, "/alice");
    world.set_reading(slow, false);
    world.send(slow, &text("flood"));
    world.settle();
    let queued = world.hub.unwritten(world.pipes[slow].conn);
    assert!(queued > 40_000, "{queued} bytes wait");
    world.reset(slow, std::io::ErrorKind::ConnectionReset);
    world.settle();
    let quick = open(&mut world, "/bob");
    world.send(quick, &text("hello"));
    world.settle();
    world.finish(quick);
    world.settle();
    let closed: Vec<usize> = world.handler().closed.iter().map(|(_, bytes)| *bytes).collect();
    assert_eq!(closed, [queued, 0]);
}
