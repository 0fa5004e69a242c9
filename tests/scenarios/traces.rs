//! Traces of a user: which events are reported, and that a trace changes nothing else.

use std::time::Instant;

use longlink::trace::{FrameKind, Happened, MAX_TRACED, TracedFrame};

use crate::*;
use longlink::sim::frames::{self, Got, frame};

/// The events that were reported since the last call, as texts. A connection is named by the number of its
/// pipe.
fn told(link: &mut Link) -> Vec<String> {
    let pipes: Vec<ConnId> = link.pipes.iter().map(|pipe| pipe.conn).collect();
    let traced = std::mem::take(&mut link.handler_mut().looker.traced);
    let word = |event: Traced| {
        let at = pipes.iter().position(|conn| *conn == event.conn).expect("one of ours");
        let told = match event.what {
            Happened::In(TracedFrame { kind, bytes }) => format!("in {kind:?} {bytes}"),
            Happened::Out(TracedFrame { kind, bytes }) => format!("out {kind:?} {bytes}"),
            Happened::Closed { reason } => format!("closed: {reason}"),
            other => format!("{other:?}"),
        };
        format!("{at} {told}")
    };
    traced.into_iter().map(word).collect()
}

const MASK: [u8; 4] = [1, 2, 3, 4];

#[test]
fn a_trace_has_every_frame_of_its_user_and_no_frame_of_other_users() {
    let mut link = link();
    let a = enter(&mut link, "A");
    let b = enter(&mut link, "B");
    say(&mut link, a, PING);
    assert!(link.hub.trace("A") && link.hub.is_traced("A"));
    assert_eq!(told(&mut link), [""; 0], "earlier frames are not reported");

    say(&mut link, a, PING);
    assert_eq!(told(&mut link), ["0 in Text 4", "0 out Text 15"]);
    let sent = to("A", "hello");
    let got = from("B", "A", "hello");
    say(&mut link, b, &sent);
    assert_eq!(told(&mut link), [format!("0 out Text {}", got.len())]);
    say(&mut link, b, r#"{"message":"all"}"#);
    let all = r#"{"formUserId":"B","message":"all"}"#;
    assert_eq!(told(&mut link), [format!("0 out Text {}", all.len())]);
    assert!(link.pipes[a].got.contains(&Got::Text(all.into())), "A has got the broadcast");

    link.send(a, &frame(0x80 | frames::BINARY, &[7; 200], MASK));
    link.send(a, &frame(frames::TEXT, b"{}", MASK));
    link.send(a, &frame(0x80 | frames::PING, b"xy", MASK));
    link.send(a, &frame(0x80, b"  ", MASK));
    link.settle();
    let fragments = "0 in Text 4";
    assert_eq!(told(&mut link), ["0 in Binary 200", "0 in Ping 2", "0 out Pong 2", fragments]);

    link.hub.untrace("A");
    say(&mut link, a, PING);
    assert_eq!(told(&mut link), [""; 0]);
    leak_check(link);
}

#[test]
fn a_trace_tells_when_connections_open_and_why_they_close() {
    let mut link = link();
    assert!(link.hub.trace("A"), "a user who is not connected can be traced");
    let phone = enter(&mut link, "A?device=phone");
    assert_eq!(told(&mut link), ["0 Opened { protocol: None }"]);
    let again = enter(&mut link, "A?device=phone");
    assert_eq!(told(&mut link), ["0 Parked", "1 Opened { protocol: None }"]);
    link.finish(again);
    link.settle();
    assert_eq!(
        told(&mut link),
        ["0 Promoted", "1 closed: stream ended without close frame"],
        "events are reported in the order in which they happened"
    );
    link.advance(26_000);
    assert_eq!(told(&mut link), ["0 out Ping 0"]);
    let conn = link.pipes[phone].conn;
    link.hub.close(conn, 4503, "kicked");
    link.settle();
    assert_eq!(told(&mut link), ["0 out Close 8"]);
    link.finish(phone);
    link.settle();
    assert_eq!(told(&mut link), ["0 closed: closed by server (4503: kicked)"]);
    leak_check(link);
}

#[test]
fn a_trace_changes_nothing_of_what_its_user_gets() {
    let story = |traced: bool| {
        let mut link = link();
        let pipes = ["A", "A?device=x", "B", "C"].map(|path| enter(&mut link, path));
        if traced {
            ["A", "C"].iter().for_each(|user| assert!(link.hub.trace(user)));
        }
        for round in 0..30 {
            // Several messages come in one turn, so the walk of a broadcast has to be left for the others.
            let from = pipes[round % pipes.len()];
            link.send(from, &frames::text(r#"{"message":"to all"}"#));
            link.send(from, &frames::text(&to("A", &"x".repeat(round * 9))));
            link.send(pipes[2], &frames::text(PING));
            if round % 3 == 0 {
                link.settle();
            }
        }
        link.settle();
        let got: Vec<Vec<Got>> = link.pipes.iter().map(|pipe| pipe.got.clone()).collect();
        let told = link.handler().looker.traced.len();
        leak_check(link);
        (got, told)
    };
    let (plain, nothing) = story(false);
    let (traced, told) = story(true);
    assert_eq!(plain, traced);
    assert_eq!(nothing, 0);
    // The trace has all frames that the connections of A and C have got, and those that they have sent.
    let got: usize = [0, 1, 3].iter().map(|&at: &usize| plain[at].len() - 1).sum();
    assert!(told > got, "{told} of {got}");
}

#[test]
fn frames_of_a_flood_are_reported_or_counted_and_only_so_many_users_can_be_traced() {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate) = (0, 0);
    let mut link = link_with(config);
    let a = enter(&mut link, "A");
    link.hub.trace("A");
    let pings = frames::text(PING).repeat(5_000);
    link.send(a, &pings);
    link.settle();
    let kept = link.handler().looker.traced.len() as u64;
    assert_eq!(kept + link.handler().looker.missed, 10_000, "each frame is reported or counted");
    assert!(link.handler().looker.missed > 0, "{kept}");

    for number in 1..MAX_TRACED {
        assert!(link.hub.trace(&format!("u{number}")));
    }
    assert!(!link.hub.trace("one more") && link.hub.trace("A"));
    link.hub.untrace("A");
    assert!(link.hub.trace("one more"));
    assert!(!link.hub.trace(""), "no user has an empty id");
    leak_check(link);
}

/// A looker that acts when events are reported: it looks up the user of each event, and sends something to
/// each connection that has opened.
struct Acting {
    /// The events, and whether the connection of each still had a user.
    told: Vec<(Happened, bool)>,
    missed: u64,
    /// How many texts are sent to a connection whose opening is reported.
    sends: usize,
    /// The user whose trace begins at the next report.
    then: Option<&'static str>,
}

impl Look for Acting {
    fn look(&mut self, hub: &mut Context, call: &Call<'_>) {
        let &Call::Trace(events, missed) = call else { return };
        self.missed += missed;
        for event in events {
            self.told.push((event.what.clone(), hub.user(event.conn).is_some()));
            if matches!(event.what, Happened::Opened { .. }) {
                for _ in 0..self.sends {
                    hub.send(event.conn, "you are watched");
                }
            }
        }
        if let Some(user) = self.then.take() {
            hub.trace(user);
        }
    }
}

fn acting(sends: usize) -> World<Spy<Relay, Acting>> {
    let relay = Relay::new(RelayConfig::default());
    let looker = Acting { told: Vec::new(), missed: 0, sends, then: None };
    World::new(Config::default(), Spy { handler: relay, looker }, Instant::now())
}

fn connect(link: &mut World<Spy<Relay, Acting>>, user: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &frames::handshake(&format!("/websocket/{user}"), ""));
    link.settle();
    pipe
}

#[test]
fn no_event_of_a_connection_is_reported_after_it_was_freed() {
    // The trace ends before or after the connection begins to close, and another may begin.
    for (closed_first, again) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut link = acting(0);
        link.hub.trace("A");
        link.hub.trace("B");
        let pipe = connect(&mut link, "A");
        let conn = link.pipes[pipe].conn;
        link.handler_mut().looker.told.clear();
        link.hub.send_to_user("A", "x");
        if closed_first {
            link.hub.close(conn, 1000, "enough");
        }
        link.hub.untrace("A");
        if again {
            link.hub.trace("A");
        }
        link.hub.check_invariants();
        link.hub.abort(conn);
        // A driver does this in the second half of its turn.
        link.hub.end_turn();
        while link.hub.reap().is_some() {}
        link.hub.check_invariants();
        let now = link.instant();
        link.hub.tick(now);
        assert_eq!(link.hub.user(conn), None, "it has been freed");
        let told = &link.handler().looker.told;
        assert!(told.iter().all(|(_, answers)| *answers), "{told:?}");
        assert!(again || told.is_empty(), "the user was not traced any more: {told:?}");
    }
}

#[test]
fn an_event_that_happens_while_a_trace_is_handed_over_is_handed_over_next() {
    let mut link = acting(1);
    link.hub.trace("A");
    let pipe = connect(&mut link, "A");
    link.settle();
    assert_eq!(link.pipes[pipe].texts(), ["you are watched"]);
    let text = Happened::Out(TracedFrame { kind: FrameKind::Text, bytes: 15 });
    let told: Vec<&Happened> = link.handler().looker.told.iter().map(|(what, _)| what).collect();
    assert_eq!(told, [&Happened::Opened { protocol: None }, &text]);
    let now = link.instant();
    assert!(link.hub.next_deadline().is_some_and(|at| at > now), "the loop can sleep");
}

#[test]
fn events_above_the_bound_while_a_trace_is_handed_over_are_counted_as_missed() {
    let sends = 1_000;
    let mut link = acting(sends);
    link.hub.trace("A");
    let pipe = connect(&mut link, "A");
    link.settle();
    assert_eq!(link.pipes[pipe].texts().len(), sends);
    let outs =
        link.handler().looker.told.iter().filter(|(what, _)| matches!(what, Happened::Out(_)));
    assert_eq!(outs.count() as u64 + link.handler().looker.missed, sends as u64);
    assert!(link.handler().looker.missed > 0);
}

#[test]
fn the_number_of_missed_events_is_reported_even_without_further_events() {
    let mut link = acting(0);
    link.hub.trace("A");
    link.hub.trace("B");
    let a = connect(&mut link, "A");
    let b = connect(&mut link, "B");
    link.handler_mut().looker.told.clear();
    for _ in 0..300 {
        link.hub.send(link.pipes[a].conn, "x");
    }
    link.hub.send(link.pipes[b].conn, "x");
    link.hub.untrace("A");
    link.settle();
    assert_eq!(
        (link.handler().looker.told.len(), link.handler().looker.missed),
        (0, 45),
        "B's is one of them"
    );
    // Nobody is left whose events were missed.
    for _ in 0..300 {
        link.hub.send(link.pipes[b].conn, "x");
    }
    link.hub.untrace("B");
    link.settle();
    assert_eq!(link.handler().looker.missed, 45);
}

#[test]
fn a_trace_that_begins_while_another_is_handed_over_records_what_happens_afterwards() {
    let mut link = acting(0);
    link.hub.trace("A");
    let b = connect(&mut link, "B");
    link.handler_mut().looker.then = Some("B");
    connect(&mut link, "A");
    link.handler_mut().looker.told.clear();
    link.hub.send(link.pipes[b].conn, "x");
    link.settle();
    let text = Happened::Out(TracedFrame { kind: FrameKind::Text, bytes: 1 });
    assert_eq!(link.handler().looker.told, [(text, true)]);
}

#[test]
fn the_end_of_a_connection_whose_trace_has_ended_is_not_reported() {
    let mut link = link();
    let a = enter(&mut link, "A");
    assert!(link.hub.trace("A"));
    let conn = link.pipes[a].conn;
    link.hub.close(conn, 4000, "bye");
    // The connection is closing, and belongs to no user any more.
    link.hub.untrace("A");
    assert_eq!(told(&mut link), [""; 0]);
    // The looker of these tests panics if it is called without an event.
    leak_check(link);
}

/// Handing over a trace may send something, and what is sent would have to be queued behind the
/// rest of a broadcast for each connection.
#[test]
fn a_trace_waits_for_a_broadcast_that_is_being_written_until_half_of_its_room_is_used() {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.writes_per_turn) = (0, 0, 2);
    config.max_per_address = 0;
    let mut link = link_with(config);
    for number in 0..40 {
        enter(&mut link, &format!("u{number}"));
    }
    // The broadcast reaches A last.
    let a = enter(&mut link, "A");
    assert!(link.hub.trace("A"));
    // Nothing is sent for a pong.
    let pong = frame(0x80 | frames::PONG, b"", MASK);
    link.send(0, &frames::text("to all"));
    link.turn();
    link.send(a, &pong.repeat(127));
    link.turn();
    assert_eq!(told(&mut link).len(), 0, "the broadcast is still being written");
    link.send(a, &pong);
    link.turn();
    assert_eq!(told(&mut link).len(), 128);
    link.send(a, &pong);
    link.turn();
    assert_eq!(told(&mut link).len(), 0);
    link.settle();
    assert_eq!(told(&mut link).len(), 2, "the pong, and the broadcast itself");
    leak_check(link);
}
