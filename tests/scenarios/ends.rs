//! Connections that must end as soon as they can, and connections that must not end: a connection
//! that the server itself holds back is neither silent nor late.

use std::time::Duration;

use longlink::{CloseReason, Config};

use crate::*;
use longlink::sim::frames::{Got, close_payload, frame, handshake, request, text};

/// A configuration that allows ten messages a second, ten of them at once.
fn slow() -> Config {
    let mut config = Config::default();
    config.message_rate = 10;
    config.rate_burst = Duration::from_secs(1);
    config
}

/// Opens a connection of A, who sends so much that it is held back for the next 20 seconds.
fn held_back() -> (Link, usize) {
    let mut link = link_with(slow());
    let a = enter(&mut link, "A");
    link.advance(1_000);
    link.send(a, &text(PING).repeat(210));
    link.settle();
    let conn = link.pipes[a].conn;
    assert!(!link.hub.may_read(conn), "the connection is held back");
    (link, a)
}

/// The client of `pipe` answers the server's Close, and ends its side.
fn answer_close(link: &mut Link, pipe: usize, code: u16) {
    assert_eq!(close_code(link, pipe), Some(code));
    link.send(pipe, &frame(0x88, &close_payload(code, ""), [0; 4]));
    link.finish(pipe);
    link.settle();
}

#[test]
fn a_connection_that_is_held_back_and_closed_is_gone_when_its_peer_has_answered() {
    let (mut link, a) = held_back();
    link.hub.close(link.pipes[a].conn, 4_000, "kicked");
    link.settle();
    answer_close(&mut link, a, 4_000);
    assert!(link.pipes[a].closed, "at once, and not after the close timeout");
    assert_eq!(link.hub.connections(), 0);
    leak_check(link);
}

#[test]
fn a_shutdown_does_not_wait_for_a_connection_that_is_held_back() {
    let (mut link, a) = held_back();
    link.shutdown();
    link.settle();
    answer_close(&mut link, a, 1001);
    assert!(link.hub.is_drained(), "at once, and not after the close timeout");
    leak_check(link);
}

#[test]
fn a_connection_that_is_held_back_for_want_of_work_and_closed_is_gone_at_once() {
    let mut config = Config::default();
    config.work_per_turn = 2;
    let mut link = link_with(config);
    let a = enter(&mut link, "A");
    link.send(a, &text(PING).repeat(50));
    link.turn();
    link.hub.close(link.pipes[a].conn, 4_000, "kicked");
    link.settle();
    answer_close(&mut link, a, 4_000);
    assert!(link.pipes[a].closed);
    leak_check(link);
}

#[test]
fn a_shutdown_waits_for_the_close_timeout_at_most_for_a_client_that_does_not_read_an_answer() {
    let mut link = link();
    link.capacity = 20;
    let a = link.connect().unwrap();
    link.set_reading(a, false);
    link.send(a, &request("GET", "/healthz", ""));
    link.settle();
    link.shutdown();
    assert!(!link.hub.is_drained(), "an answer is on its way");
    link.advance(5_000 + longlink::run::TICK_MS);
    assert!(link.hub.is_drained() && link.pipes[a].closed);
    leak_check(link);
}

#[test]
fn a_shutdown_of_a_process_that_was_stopped_waits_for_the_close_timeout_at_most_once_it_goes_on() {
    let mut link = link();
    link.capacity = 20;
    let a = link.connect().unwrap();
    link.set_reading(a, false);
    link.send(a, &request("GET", "/healthz", ""));
    link.settle();
    link.shutdown();
    link.settle();
    link.jump(20_000);
    assert!(!link.hub.is_drained(), "its client could not read while the process was stopped");
    link.advance(5_000 + longlink::run::TICK_MS);
    assert!(link.hub.is_drained() && link.pipes[a].closed);
    leak_check(link);
}

#[test]
fn a_close_timeout_of_zero_lets_close_frames_be_written_and_ends_all_connections_at_the_next_tick()
{
    for late in 0..2 * longlink::run::TICK_MS {
        let mut config = Config::default();
        config.close_timeout = Duration::ZERO;
        let mut link = link_with(config);
        let a = enter(&mut link, "A");
        link.advance(1_000);
        link.jump(late);
        link.shutdown();
        link.settle();
        assert_eq!(close_code(&link, a), Some(1001));
        link.advance(longlink::run::TICK_MS);
        assert!(link.pipes[a].closed && link.hub.is_drained(), "{late}");
        leak_check(link);
    }
}

#[test]
fn a_client_that_reads_its_answer_late_in_a_shutdown_gets_all_of_it() {
    let mut link = link();
    link.capacity = 20;
    let a = link.connect().unwrap();
    link.set_reading(a, false);
    link.send(a, &request("GET", "/healthz", ""));
    link.settle();
    link.shutdown();
    link.advance(4_900);
    link.set_reading(a, true);
    link.settle();
    assert_eq!(statuses(&link, a), [200]);
    assert!(link.hub.is_drained(), "an idle connection is waited for no longer");
    leak_check(link);
}

#[test]
fn a_request_that_comes_late_in_a_shutdown_does_not_make_it_longer() {
    let mut link = link();
    link.capacity = 20;
    let late = link.connect().unwrap();
    link.set_reading(late, false);
    link.shutdown();
    link.advance(4_000);
    link.send(late, &handshake("/websocket/A", ""));
    link.settle();
    assert!(!link.hub.is_drained());
    link.advance(1_000 + longlink::run::TICK_MS);
    assert!(link.hub.is_drained(), "five seconds after its beginning");
    // A request that arrives after that is still answered if its client reads, at any time within
    // a tick of the wheel.
    link.capacity = 1 << 20;
    for _ in 0..=longlink::run::TICK_MS {
        let later = link.connect().unwrap();
        link.send(later, &handshake("/websocket/A", ""));
        link.settle();
        assert_eq!(statuses(&link, later), [503]);
        link.advance(1);
    }
    leak_check(link);
}

#[test]
fn a_shutdown_is_not_over_while_a_request_waits_for_its_turn() {
    let mut config = Config::default();
    config.work_per_turn = 2;
    let mut link = link_with(config);
    let a = link.connect().unwrap();
    link.send(a, &request("GET", "/healthz", "").repeat(3));
    link.turn();
    link.shutdown();
    assert!(!link.hub.is_drained());
    link.settle();
    assert_eq!(statuses(&link, a)[..2], [200, 200], "{:?}", link.pipes[a].got);
    link.finish(a);
    link.settle();
    assert!(link.hub.is_drained());
    leak_check(link);
}

#[test]
fn a_refusal_that_is_held_reaches_a_client_that_has_ended_its_side() {
    let mut config = Config::default();
    config.max_per_user = 1;
    let mut link = link_with(config);
    let first = enter(&mut link, "A");
    let second = enter(&mut link, "A");
    assert_eq!(status(&link, second), None, "the refusal is held for a moment");
    link.finish(second);
    link.settle();
    assert_eq!(statuses(&link, second), [503]);
    assert!(link.pipes[second].closed, "the connection is gone with its answer");
    assert!(is_open(&link, first));
    leak_check(link);
}

#[test]
fn answers_that_are_queued_are_written_before_a_connection_is_closed() {
    let mut link = link();
    link.capacity = 20;
    let a = link.connect().unwrap();
    link.set_reading(a, false);
    link.send(a, &request("GET", "/healthz", ""));
    link.settle();
    link.hub.close(link.pipes[a].conn, 1000, "");
    link.set_reading(a, true);
    link.settle();
    assert_eq!(statuses(&link, a), [200]);
    assert!(link.pipes[a].shut, "then the server's side is ended");
    link.finish(a);
    link.settle();
    assert!(link.pipes[a].closed);
    leak_check(link);
}

/// A message whose fragments have so many pings between them.
fn interrupted(pings: usize) -> Vec<u8> {
    let mut bytes = frame(0x01, b"pi", [1, 2, 3, 4]);
    bytes.extend(frame(0x89, b"", [1, 2, 3, 4]).repeat(pings));
    bytes.extend(frame(0x80, b"ng", [1, 2, 3, 4]));
    bytes
}

#[test]
fn a_message_that_is_held_back_for_its_rate_has_not_taken_too_long() {
    let mut link = link_with(slow());
    let a = enter(&mut link, "A");
    link.advance(2_000);
    link.send(a, &interrupted(400));
    link.advance(60_000);
    assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
    assert_eq!(link.pipes[a].texts(), [r#"{"type":"pong"}"#]);
    leak_check(link);
}

#[test]
fn a_message_that_waits_for_work_has_not_taken_too_long() {
    let mut config = Config::default();
    config.work_per_turn = 2;
    let mut link = link_with(config);
    let a = enter(&mut link, "A");
    link.send(a, &interrupted(5));
    link.turn();
    link.jump(31_000);
    assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
    assert_eq!(link.pipes[a].texts(), [r#"{"type":"pong"}"#]);
    leak_check(link);
}

#[test]
fn the_rest_of_a_message_that_came_while_the_process_was_stopped_is_not_late_for_want_of_work() {
    for read_size in [longlink::run::READ_SIZE, 10] {
        let mut config = Config::default();
        config.work_per_turn = 2;
        let mut link = link_with(config);
        link.read_size = read_size;
        let a = enter(&mut link, "A");
        let all = interrupted(5);
        link.send(a, &all[..8]);
        link.advance(29_000);
        // The loop comes two seconds late, one second after the time of the message is over.
        link.send(a, &all[8..]);
        link.jump(2_000);
        assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
        assert_eq!(link.pipes[a].texts(), [r#"{"type":"pong"}"#]);
        leak_check(link);
    }
}

#[test]
fn a_message_of_which_a_part_never_comes_is_late_also_if_the_server_held_it_back() {
    let mut link = link_with(slow());
    let a = enter(&mut link, "A");
    link.advance(2_000);
    let all = interrupted(109);
    // The client sends all of it but the last byte. Ten frames are handled at once, the rest in ten seconds.
    link.send(a, &all[..all.len() - 1]);
    link.advance(29_900);
    assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
    link.advance(100 + longlink::run::TICK_MS);
    assert_eq!(close_code(&link, a), Some(1008));
    leak_check(link);
}

#[test]
fn a_message_whose_end_waited_in_the_kernel_while_the_server_did_not_read_is_not_late() {
    let mut link = link_with(slow());
    link.read_size = 1_500;
    let a = enter(&mut link, "A");
    link.advance(2_000);
    // A read of 250 frames, which takes 24 seconds, and the rest, which takes 15 more.
    link.send(a, &interrupted(400));
    link.advance(60_000);
    assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
    assert_eq!(link.pipes[a].texts(), [r#"{"type":"pong"}"#]);
    leak_check(link);
}

#[test]
fn a_client_that_sends_above_its_rate_gets_no_more_time_for_a_message() {
    for (fragments, size) in [(1, 1), (3, 1), (1, 0), (50, 0)] {
        let mut link = link_with(slow());
        let a = enter(&mut link, "A");
        link.advance(1_000);
        link.send(a, &frame(0x02, b"once upon a time", [0; 4]));
        let started = link.now;
        while is_open(&link, a) && link.now < started + 60_000 {
            let some = frame(0x00, &vec![b'x'; size], [0; 4]).repeat(fragments);
            if link.pipes[a].to_server.is_empty() {
                link.send(a, &some);
                link.send(a, &frame(0x89, b"", [0; 4]).repeat(2));
            }
            link.advance(20);
        }
        let took = link.now - started;
        assert!((30_000..42_000).contains(&took), "{fragments} of {size}: {took} ms");
        assert_eq!(close_code(&link, a), Some(1008));
        leak_check(link);
    }
}

#[test]
fn a_connection_that_is_held_back_is_neither_pinged_nor_idle() {
    let mut config = slow();
    config.message_rate = 1;
    config.ping_after = Duration::from_millis(300);
    config.idle_timeout = Duration::from_millis(600);
    let mut link = link_with(config);
    let a = enter(&mut link, "A");
    link.send(a, &text(PING).repeat(20));
    link.advance(18_000);
    assert!(is_open(&link, a), "{:?}", link.handler().looker.closed);
    assert_eq!(pings(&link, a), 0);
    link.advance(5_000);
    assert_eq!(link.pipes[a].texts().len(), 20);
    link.finish(a);
    link.settle();
    assert_eq!(
        link.handler().looker.closed,
        [("A".to_owned(), CloseReason::Idle)],
        "after that the connection is silent"
    );
    leak_check(link);
}

#[test]
fn a_handshake_that_waited_for_an_answer_to_be_read_opens_a_connection_that_is_not_silent() {
    let mut config = Config::default();
    config.ping_after = Duration::from_secs(5);
    config.idle_timeout = Duration::from_secs(10);
    let mut link = link_with(config);
    link.capacity = 20;
    let a = link.connect().unwrap();
    link.set_reading(a, false);
    link.send(a, &[request("GET", "/healthz", ""), handshake("/websocket/A", "")].concat());
    link.advance(12_000);
    link.set_reading(a, true);
    link.settle();
    assert_eq!(statuses(&link, a), [200, 101]);
    link.advance(4_900);
    assert_eq!((is_open(&link, a), pings(&link, a)), (true, 0));
    link.advance(100 + longlink::run::TICK_MS);
    assert_eq!((is_open(&link, a), pings(&link, a)), (true, 1), "five seconds after it opened");
    leak_check(link);
}

#[test]
fn a_request_that_waits_for_its_turn_is_not_late() {
    let mut config = Config::default();
    config.work_per_turn = 2;
    let mut link = link_with(config);
    let a = link.connect().unwrap();
    let all = [request("GET", "/healthz", "").repeat(3), handshake("/websocket/A", "")].concat();
    link.send(a, &all);
    link.turn();
    link.jump(9_000);
    assert_eq!(statuses(&link, a), [200, 200, 200, 101]);
    assert!(matches!(link.pipes[a].got.last(), Some(Got::Http(101, ..))));
    leak_check(link);
}

#[test]
fn healthz_is_answered_503_while_the_server_stops() {
    let mut link = link();
    link.capacity = 20;
    let slow = link.connect().unwrap();
    link.set_reading(slow, false);
    link.send(slow, &request("GET", "/healthz", ""));
    link.settle();
    link.shutdown();
    link.capacity = 1 << 20;
    let check = link.connect().unwrap();
    link.send(check, &request("GET", "/healthz", ""));
    link.settle();
    let Some(Got::Http(503, head, body)) = link.pipes[check].got.first() else {
        panic!("{:?}", link.pipes[check].got)
    };
    assert!(head.contains("Retry-After: 2\r\n"), "{head}");
    assert_eq!(body, b"the server is stopping\n");
    leak_check(link);
}
