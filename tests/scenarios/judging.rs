//! What is done when a deadline has passed: the bytes that wait in the socket are read first, and time in
//! which the server was absent does not count.

use std::time::Duration;

use longlink::run::TICK_MS;
use longlink::sim::frames::{handshake, request, text};
use longlink::{CloseReason, Config};

use crate::*;

/// A configuration whose timeouts are shorter than what counts as an absence of the server itself.
fn hasty() -> Config {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_secs(3);
    config.message_timeout = Duration::from_secs(3);
    config
}

/// Lets time pass and bytes arrive without an event for them.
fn pass_without_events(link: &mut Link, millis: u64, pipe: usize, bytes: &[u8]) {
    link.batch = 0;
    link.now += millis;
    link.send(pipe, bytes);
    link.turn();
    link.batch = usize::MAX;
}

#[test]
fn a_message_whose_rest_takes_several_reads_is_not_late_while_the_rest_waits_in_the_kernel() {
    let mut link = link_with(hasty());
    let pipe = enter(&mut link, "A");
    let other = enter(&mut link, "B");
    let bytes = text(&to("B", &"x".repeat(200)));
    link.read_size = 10;
    link.send(pipe, &bytes[..10]);
    link.settle();
    pass_without_events(&mut link, 3_500, pipe, &bytes[10..]);
    assert!(is_open(&link, pipe));
    link.settle();
    assert_eq!(link.pipes[other].texts(), [from("A", "B", &"x".repeat(200))]);
    leak_check(link);
}

#[test]
fn a_first_request_that_waits_in_the_kernel_is_answered_and_its_connection_is_kept() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.turn();
    let head = request("GET", "/healthz", "");
    pass_without_events(&mut link, 8_500, pipe, &head);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200]);
    link.send(pipe, &head);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200, 200]);
    leak_check(link);
}

#[test]
fn an_answer_that_is_not_yet_written_reaches_a_client_that_has_ended_its_side() {
    let mut link = link();
    link.capacity = 20;
    let pipe = link.connect().unwrap();
    link.set_reading(pipe, false);
    link.send(pipe, &request("GET", "/healthz", ""));
    link.settle();
    link.finish(pipe);
    link.settle();
    assert!(!link.pipes[pipe].closed, "an answer is on its way");
    link.set_reading(pipe, true);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200]);
    leak_check(link);
}

#[test]
fn no_more_than_1024_connections_are_read_in_one_turn_because_they_are_late() {
    let mut link = link();
    for _ in 0..1_025 {
        link.connect().expect("room");
    }
    link.settle();
    link.now += 8_000 + TICK_MS;
    let now = link.instant();
    link.hub.tick(now);
    let mut late = 0;
    while let Some(overdue) = link.hub.pop_overdue() {
        link.hub.judge(overdue, true);
        late += 1;
    }
    assert_eq!(late, 1_024);
    link.settle();
    assert_eq!(link.hub.connections(), 0, "the last connection is read in the next turn");
    leak_check(link);
}

#[test]
fn the_hub_tells_when_the_server_returned_from_an_absence() {
    let mut link = link();
    let _pipe = enter(&mut link, "A");
    link.advance(26_000);
    assert_eq!(link.hub.returned_at(), None, "the server was never absent");
    link.jump(300_000);
    assert_eq!(link.hub.returned_at(), Some(link.instant()));
    leak_check(link);
}

#[test]
fn an_absence_in_the_first_minute_counts_and_so_does_the_next_one_a_minute_later() {
    let mut link = link();
    let first = link.connect().unwrap();
    link.jump(20_000);
    assert!(!link.pipes[first].closed, "the server was absent");
    link.send(first, &handshake("/websocket/A", ""));
    link.settle();
    assert_eq!(status(&link, first), Some(101));

    link.advance(39_000);
    let second = link.connect().unwrap();
    link.settle();
    // The poll comes back 60 seconds after the first absence, and 12 seconds late.
    link.jump(21_000);
    assert_eq!(link.now, 80_000);
    assert!(!link.pipes[second].closed, "the server was absent again");
    leak_check(link);
}

#[test]
fn a_server_that_is_absent_twice_within_a_minute_is_slow_and_judges() {
    let mut link = link();
    let first = link.connect().unwrap();
    link.jump(20_000);
    assert!(!link.pipes[first].closed);
    link.jump(59_999);
    assert!(link.pipes[first].closed);
    leak_check(link);
}

#[test]
fn without_pings_a_silent_connection_has_the_whole_idle_timeout_again_after_an_absence() {
    let mut config = Config::default();
    (config.ping_after, config.idle_timeout) = (Duration::from_secs(20), Duration::from_secs(20));
    let mut link = link_with(config);
    let pipe = enter(&mut link, "A");
    link.jump(300_000);
    link.advance(19_900);
    assert!(is_open(&link, pipe));
    link.advance(200);
    assert_eq!((close_code(&link, pipe), pings(&link, pipe)), (Some(1001), 0));
    link.finish(pipe);
    link.settle();
    assert_eq!(link.handler().looker.closed, [("A".to_owned(), CloseReason::Idle)]);
    leak_check(link);
}

#[test]
fn a_head_whose_first_byte_comes_late_gets_no_extra_time() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.advance(7_000);
    link.send(pipe, &request("GET", "/healthz", "")[..10]);
    link.advance(1_000 + TICK_MS);
    assert!(link.pipes[pipe].closed, "8 seconds after it has connected");
    leak_check(link);
}

#[test]
fn a_next_request_of_which_a_byte_comes_every_second_has_eight_seconds_in_all() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    let next = request("GET", "/healthz", "");
    link.send(pipe, &next);
    link.settle();
    for byte in &next[..8] {
        link.send(pipe, &[*byte]);
        link.advance(1_000);
    }
    link.advance(TICK_MS);
    assert!(link.pipes[pipe].closed);
    assert_eq!(statuses(&link, pipe), [200]);
    leak_check(link);
}

#[test]
fn an_unfinished_head_of_the_longest_allowed_length_is_refused_however_it_is_read() {
    for read_size in [1, 7, 100, longlink::run::READ_SIZE] {
        let mut config = Config::default();
        config.max_head = 300;
        let mut link = link_with(config);
        link.read_size = read_size;
        let pipe = link.connect().unwrap();
        let head = request("GET", "/healthz", &format!("X: {}\r\n", "x".repeat(300)));
        link.send(pipe, &head[..299]);
        link.settle();
        assert!(statuses(&link, pipe).is_empty(), "read by {read_size}");
        link.send(pipe, &head[299..300]);
        link.settle();
        assert_eq!(statuses(&link, pipe), [431], "read by {read_size}");
        leak_check(link);
    }
}

/// A configuration with which a hub handles one message or fragment in half a turn, so that input waits.
fn busy() -> Config {
    let mut config = hasty();
    (config.message_rate, config.broadcast_rate, config.work_per_turn) = (0, 0, 2);
    config
}

/// Hands the hub bytes of a connection at this time.
fn receive(link: &mut Link, pipe: usize, bytes: &[u8]) {
    let (conn, now) = (link.pipes[pipe].conn, link.instant());
    link.hub.receive(conn, &mut bytes.to_vec(), now);
}

fn tick(link: &mut Link) {
    let now = link.instant();
    link.hub.tick(now);
}

/// Lets seconds pass in which the server has no time to read any socket.
fn pass_without_reads(link: &mut Link, seconds: u64) {
    for _ in 0..seconds {
        link.now += 1_000;
        tick(link);
        while let Some(overdue) = link.hub.pop_overdue() {
            link.hub.judge(overdue, false);
        }
    }
}

/// A message to B in four fragments.
fn four_fragments() -> [Vec<u8>; 4] {
    let message = to("B", &"x".repeat(60));
    let pieces: Vec<&[u8]> = message.as_bytes().chunks(message.len().div_ceil(4)).collect();
    std::array::from_fn(|n| {
        let first = [0x01, 0x00, 0x00, 0x80][n];
        longlink::sim::frames::frame(first, pieces[n], [1, 2, 3, 4])
    })
}

#[test]
fn the_rest_of_a_message_that_arrives_after_its_time_is_late_even_if_the_hub_has_no_work_left() {
    let mut link = link_with(busy());
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    let fragments = four_fragments();
    link.advance(1_000);
    receive(&mut link, a, &fragments[0]);
    // The message has three seconds, and the loop may be late by less than five.
    pass_without_reads(&mut link, 9);
    receive(&mut link, a, &fragments[1..].concat());
    link.advance(20_000);
    let reason = link.handler().looker.closed.first().map(|(_, reason)| reason.clone());
    assert_eq!(reason, Some(CloseReason::MessageTimeout));
    assert!(link.pipes[b].texts().is_empty());
    leak_check(link);
}

#[test]
fn a_message_that_waited_in_the_kernel_while_its_connection_was_held_back_is_not_late() {
    let mut link = link_with(busy());
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    let fragments = four_fragments();
    link.advance(1_000);
    receive(&mut link, a, &fragments[..2].concat());
    let conn = link.pipes[a].conn;
    assert!(!link.hub.may_read(conn), "the second fragment waits for work");
    // The server was slow, and the other fragments have arrived in the meantime.
    pass_without_reads(&mut link, 9);
    assert_eq!(link.hub.pop_readable(), Some(conn));
    receive(&mut link, a, &fragments[2..].concat());
    link.settle();
    assert_eq!(link.pipes[b].texts(), [from("A", "B", &"x".repeat(60))]);
    leak_check(link);
}

/// Limits at which a connection soon owes time for its broadcasts, and for nothing else.
fn debts() -> Config {
    let mut config = hasty();
    (config.message_rate, config.broadcast_rate) = (0, 1);
    config.rate_burst = Duration::from_secs(1);
    config
}

#[test]
fn a_message_that_waited_in_the_kernel_while_its_sender_had_a_debt_is_not_late() {
    let mut link = link_with(debts());
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    let fragments = four_fragments();
    link.advance(1_000);
    let conn = link.pipes[a].conn;
    receive(&mut link, a, &fragments[0]);
    let owe = |link: &mut Link| (0..10).for_each(|_| link.hub.charge_broadcast(conn));
    owe(&mut link);
    link.advance(1_000);
    receive(&mut link, a, &fragments[1]);
    assert!(!link.hub.may_read(conn), "the connection waits until its debt is paid");
    // The sender pays its debt, and the kernel has had the other fragments all the time.
    while link.hub.pop_readable().is_none() {
        link.now += 100;
        tick(&mut link);
        assert!(link.now < 13_000);
    }
    owe(&mut link);
    receive(&mut link, a, &fragments[2..].concat());
    assert!(!link.hub.may_read(conn), "the connection waits again");
    link.advance(12_000);
    assert_eq!(link.pipes[b].texts(), [from("A", "B", &"x".repeat(60))]);
    leak_check_later(link);
}

#[test]
fn the_rest_of_a_message_that_arrives_after_its_time_is_late_even_if_its_sender_has_a_debt() {
    let mut link = link_with(debts());
    let (a, b) = (enter(&mut link, "A"), enter(&mut link, "B"));
    let fragments = four_fragments();
    link.advance(1_000);
    receive(&mut link, a, &fragments[0]);
    let conn = link.pipes[a].conn;
    pass_without_reads(&mut link, 9);
    (0..10).for_each(|_| link.hub.charge_broadcast(conn));
    receive(&mut link, a, &fragments[1..].concat());
    assert!(!link.hub.may_read(conn), "the connection waits until its debt is paid");
    link.advance(30_000);
    let reason = link.handler().looker.closed.first().map(|(_, reason)| reason.clone());
    assert_eq!(reason, Some(CloseReason::MessageTimeout));
    assert!(link.pipes[b].texts().is_empty());
    leak_check_later(link);
}

#[test]
fn a_connection_that_waits_for_work_counts_as_heard_when_its_bytes_have_arrived() {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.work_per_turn) = (0, 0, 2);
    let mut link = link_with(config);
    let a = enter(&mut link, "A");
    link.advance(1_000);
    let message = text(&to("nobody", "x"));
    let started = link.now;
    receive(&mut link, a, &message.repeat(3));
    tick(&mut link);
    link.now += 4_000;
    let before = link.hub.stats().messages_in;
    tick(&mut link);
    assert_eq!(link.hub.stats().messages_in, before + 1, "the third has waited");
    link.settle();
    link.advance(started + 60_000 + 500 - link.now);
    assert_eq!(close_code(&link, a), Some(1001));
    leak_check(link);
}

#[test]
fn requests_that_wait_for_work_or_for_an_answer_are_answered_after_the_end_of_the_stream() {
    for (work, capacity) in [(2, 1 << 20), (16_384, 20)] {
        let mut config = Config::default();
        config.work_per_turn = work;
        let mut link = link_with(config);
        link.capacity = capacity;
        let a = link.connect().unwrap();
        receive(&mut link, a, &request("GET", "/healthz", "").repeat(5));
        // The loop was told of the end before it was allowed to read.
        let conn = link.pipes[a].conn;
        link.hub.input_ended(conn);
        link.settle();
        assert_eq!(statuses(&link, a), [200; 5], "{work}");
        assert!(link.pipes[a].closed, "nothing is left to be answered");
        leak_check(link);
    }
}
