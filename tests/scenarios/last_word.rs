//! On which connections an application has a last word: on each open one that the server closes with
//! a close frame, whatever the reason is, and on no other.

use std::time::Duration;

use longlink::sim::Watch;
use longlink::sim::frames::{add_field, masked};
use longlink::{Accept, Handler, Message, Reject, Upgrade};

use crate::*;

/// A handler that accepts every handshake. The path names the user and the device. A connection that asks
/// for it has the right to be connected for ten seconds, or ends when it is replaced.
#[derive(Default)]
struct Speaker {
    /// The user and the reason of each close for which the handler was asked for a last word.
    asked: Vec<(String, CloseReason)>,
    closed: Vec<(String, CloseReason)>,
}

impl Handler for Speaker {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        _: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        let path = upgrade.path().trim_start_matches('/');
        let (user, device) = path.split_once('/').unwrap_or((path, ""));
        let accept = Accept::user(user).device(device);
        Ok(match upgrade.query() {
            "ten-seconds" => accept.until(Some(cx.now() + Duration::from_secs(10))),
            "replaceable" => accept.ends_when_replaced(4401),
            _ => accept,
        })
    }

    fn on_message(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), message: Message<'_>) {
        match message {
            Message::Text("kick") => cx.close(conn, 4000, "asked for"),
            Message::Text("flood") => while cx.send(conn, "x".repeat(10_000).as_str()) {},
            _ => {}
        }
    }

    fn on_closing(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), reason: &CloseReason) {
        let user = cx.user(conn).expect("the user is known while the last word is said").to_owned();
        self.asked.push((user, reason.clone()));
        assert!(cx.send(conn, "bye"), "a last word is queued");
    }

    fn on_close(&mut self, cx: &mut Context, conn: ConnId, (): (), reason: &CloseReason) {
        let user = cx.user(conn).expect("the user is known when the connection has ended");
        self.closed.push((user.to_owned(), reason.clone()));
    }
}

impl Watch for Speaker {}

fn world(change: impl FnOnce(&mut Config)) -> World<Speaker> {
    let mut config = Config::default();
    config.max_per_user = 0;
    change(&mut config);
    World::new(config, Speaker::default(), Instant::now())
}

fn enter(world: &mut World<Speaker>, path: &str) -> usize {
    let pipe = world.connect().expect("room");
    world.send(pipe, &handshake(path, ""));
    world.settle();
    assert!(world.hub.is_open(world.pipes[pipe].conn), "{path} is let in");
    world.pipes[pipe].got.clear();
    pipe
}

/// Checks that `user` got the last word and then the close frame of `reason` on this connection,
/// that the handler was asked once, and that nothing is left when everyone has gone.
fn assert_last_word(mut world: World<Speaker>, pipe: usize, user: &str, reason: &CloseReason) {
    world.settle();
    let (code, _) = reason.wire().expect("a reason with a close frame");
    let got = &world.pipes[pipe].got;
    let [.., Got::Text(bye), Got::Close(closed_with, _)] = &got[..] else {
        panic!("{reason}: {got:?}");
    };
    assert_eq!((bye.as_str(), *closed_with), ("bye", code), "{reason}");
    let once = [(user.to_owned(), reason.clone())];
    assert_eq!(world.handler().asked, once, "{reason}");
    leave(&mut world);
    assert_eq!(
        world.handler().closed.iter().filter(|it| it.0 == user && it.1 == *reason).count(),
        1
    );
}

/// Checks that a connection has ended for this reason without a last word and a close frame.
fn assert_no_last_word(mut world: World<Speaker>, pipe: usize, reason: &CloseReason) {
    world.settle();
    assert_eq!(world.handler().asked, [], "{reason}");
    let ended: Vec<&CloseReason> = world.handler().closed.iter().map(|(_, it)| it).collect();
    assert_eq!(ended, [reason]);
    let said =
        |got: &Got| matches!(got, Got::Close(..)) || matches!(got, Got::Text(it) if it == "bye");
    assert!(!world.pipes[pipe].got.iter().any(said), "{reason}: {:?}", world.pipes[pipe].got);
    leave(&mut world);
}

fn leave(world: &mut World<Speaker>) {
    for pipe in 0..world.pipes.len() {
        world.set_reading(pipe, true);
        world.finish(pipe);
    }
    world.advance(40_000);
    world.assert_nothing_is_left();
}

#[test]
fn a_connection_that_ends_as_idle_has_a_last_word() {
    let mut world = world(|_| {});
    let pipe = enter(&mut world, "/alice");
    world.advance(200_000);
    assert_last_word(world, pipe, "alice", &CloseReason::Idle);
}

#[test]
fn a_connection_whose_right_has_expired_has_a_last_word() {
    let mut world = world(|_| {});
    let pipe = enter(&mut world, "/alice?ten-seconds");
    world.advance(9_000);
    assert_eq!(world.handler().asked, []);
    world.advance(2_000);
    assert_last_word(world, pipe, "alice", &CloseReason::Expired);
}

#[test]
fn a_connection_that_makes_room_for_a_newer_one_of_a_crowd_has_a_last_word() {
    let mut world = world(|_| {});
    let first = enter(&mut world, "/alice/phone");
    for _ in 0..4 {
        world.advance(1_000);
        enter(&mut world, "/alice/phone");
    }
    assert_eq!(world.handler().asked, [], "four of a device may be parked");
    world.advance(1_000);
    enter(&mut world, "/alice/phone");
    assert_last_word(world, first, "alice", &CloseReason::Crowded);
}

#[test]
fn a_connection_that_ends_when_it_is_replaced_has_a_last_word() {
    let mut world = world(|_| {});
    let old = enter(&mut world, "/alice/phone?replaceable");
    enter(&mut world, "/alice/phone");
    assert_last_word(world, old, "alice", &CloseReason::Replaced { code: 4401 });
}

#[test]
fn a_connection_that_does_not_finish_its_message_has_a_last_word() {
    let mut world = world(|_| {});
    let pipe = enter(&mut world, "/alice");
    world.send(pipe, &text("half of this")[..8]);
    world.advance(29_000);
    assert_eq!(world.handler().asked, []);
    world.advance(3_000);
    assert_last_word(world, pipe, "alice", &CloseReason::MessageTimeout);
}

#[test]
fn a_connection_that_is_held_back_and_whose_message_takes_too_long_has_a_last_word() {
    let mut world = world(|config| {
        (config.message_rate, config.rate_burst) = (10, Duration::from_secs(1));
    });
    let pipe = enter(&mut world, "/alice");
    world.send(pipe, &masked(0x02, b"once upon a time"));
    while world.hub.is_open(world.pipes[pipe].conn) && world.now < 60_000 {
        if world.pipes[pipe].to_server.is_empty() {
            world.send(pipe, &masked(0x00, b"x").repeat(50));
        }
        world.advance(20);
    }
    assert!(world.now >= 30_000, "the message had the time that every message has");
    assert_last_word(world, pipe, "alice", &CloseReason::MessageTimeout);
}

#[test]
fn a_connection_that_breaks_the_protocol_has_a_last_word() {
    use longlink::Violation;
    let mut too_long = vec![0x81, 0xff];
    too_long.extend((Config::default().max_message as u64 + 1).to_be_bytes());
    too_long.extend([1; 4]);
    let broken: [(Vec<u8>, Violation); 3] = [
        (masked(0x81, b"\xff"), Violation::InvalidUtf8),
        (too_long, Violation::TooBig),
        (masked(0xF1, b""), Violation::ReservedBits),
    ];
    for (bytes, violation) in broken {
        let mut world = world(|_| {});
        let pipe = enter(&mut world, "/alice");
        world.send(pipe, &bytes);
        assert_last_word(world, pipe, "alice", &CloseReason::Violation(violation));
    }
}

#[test]
fn a_connection_that_the_application_closes_has_a_last_word() {
    let mut world = world(|_| {});
    let pipe = enter(&mut world, "/alice");
    world.send(pipe, &text("kick"));
    let reason = CloseReason::Handler { code: 4000, reason: "asked for".to_owned() };
    assert_last_word(world, pipe, "alice", &reason);
}

#[test]
fn a_connection_that_is_open_when_the_server_goes_down_has_a_last_word() {
    let mut world = world(|_| {});
    let pipe = enter(&mut world, "/alice");
    world.shutdown();
    assert_last_word(world, pipe, "alice", &CloseReason::Shutdown);
}

#[test]
fn a_connection_that_goes_because_memory_is_short_has_a_last_word_if_its_socket_takes_it() {
    let mut world = world(|config| config.max_buffered = 60_000);
    let pipe = enter(&mut world, "/alice");
    // The client has sent nearly all of a message, and sends no more.
    let message = text(&"x".repeat(64_000));
    world.send(pipe, &message[..63_000]);
    assert_last_word(world, pipe, "alice", &CloseReason::Memory);
}

#[test]
fn a_connection_that_is_dropped_because_it_does_not_read_has_no_last_word() {
    let mut world = world(|config| config.max_queue = 100_000);
    world.capacity = 100;
    let pipe = enter(&mut world, "/alice");
    world.set_reading(pipe, false);
    world.send(pipe, &text("flood"));
    world.settle();
    world.send(pipe, &text("flood"));
    assert_no_last_word(world, pipe, &CloseReason::SlowReader);
}

#[test]
fn a_connection_that_goes_with_bytes_that_its_socket_does_not_take_has_no_last_word() {
    let mut world = world(|config| config.max_buffered = 60_000);
    world.capacity = 100;
    let pipe = enter(&mut world, "/alice");
    world.set_reading(pipe, false);
    for _ in 0..10 {
        world.hub.send(world.pipes[pipe].conn, "x".repeat(10_000).as_str());
        world.settle();
    }
    assert_no_last_word(world, pipe, &CloseReason::Memory);
}

#[test]
fn a_handshake_that_is_not_finished_in_time_has_no_last_word() {
    let mut world = world(|_| {});
    let pipe = world.connect().unwrap();
    let mut head = handshake("/alice", "");
    add_field(&mut head, "X-More", b"1");
    world.send(pipe, &head[..head.len() - 4]);
    world.advance(60_000);
    assert_eq!(world.pipes[pipe].got, []);
    assert!(world.pipes[pipe].closed, "it has ended");
    assert_eq!((&world.handler().asked[..], &world.handler().closed[..]), (&[][..], &[][..]));
    leave(&mut world);
}
