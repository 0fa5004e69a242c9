//! No connection is judged silent or late before its socket has been read. Here events are missing,
//! as they are after the process was stopped, behind a full batch of events, and when a signal
//! has ended the poll.

use std::io::ErrorKind;
use std::time::Duration;

use longlink::CloseReason;

use super::fake::{Client, Output, READABLE, Rig};
use longlink::sim::frames;

const PING: &[u8] = b"\x89\0";

/// A driver whose timeouts are shorter than what counts as an absence of the server itself.
fn hasty() -> Rig {
    Rig::new(|config| {
        config.ping_after = Duration::from_secs(1);
        config.idle_timeout = Duration::from_secs(3);
        config.message_timeout = Duration::from_secs(3);
        config.handshake_timeout = Duration::from_secs(3);
        config.close_timeout = Duration::from_secs(3);
    })
}

/// Lets time pass while the poll returns no events.
fn pass_without_events(rig: &mut Rig, time: Duration) {
    rig.now += time;
    rig.tick();
    rig.settle();
}

fn has_close(client: &Client, code: u16) -> bool {
    client.take().windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..4] == code.to_be_bytes())
}

#[test]
fn a_heartbeat_that_waits_without_an_event_keeps_its_connection() {
    let mut rig = hasty();
    let client = rig.connect("a");
    client.feed(&frames::text("beat"));
    pass_without_events(&mut rig, Duration::from_secs(4));
    assert!(rig.open(&client).is_some() && !has_close(&client, 1001));
    assert_eq!(rig.driver.hub().stats().idle, 0);
    // The connection is not kept for ever: the next silence ends it.
    rig.pass(Duration::from_secs(1));
    rig.pass(Duration::from_secs(3));
    assert!(has_close(&client, 1001));
}

#[test]
fn a_handshake_that_is_complete_in_the_kernel_is_answered_and_not_too_late() {
    let mut rig = hasty();
    let client = rig.knock();
    rig.tick();
    client.feed(&frames::handshake("/a", ""));
    pass_without_events(&mut rig, Duration::from_secs(4));
    assert!(client.take().starts_with(b"HTTP/1.1 101 "));
    assert!(rig.open(&client).is_some());
}

#[test]
fn a_request_that_is_complete_in_the_kernel_is_answered_and_not_too_late() {
    let mut rig = hasty();
    let client = rig.knock();
    rig.tick();
    client.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    pass_without_events(&mut rig, Duration::from_secs(4));
    assert!(client.take().starts_with(b"HTTP/1.1 4"), "an answer, whatever it says");
}

#[test]
fn the_next_request_of_a_kept_connection_is_answered_and_not_too_late() {
    let mut rig = hasty();
    let client = rig.knock();
    rig.tick();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.feed(request);
    rig.event(&client, READABLE);
    rig.tick();
    let first = client.take();
    assert!(!first.is_empty() && !client.is_shut_down(), "the connection is kept");
    client.feed(request);
    pass_without_events(&mut rig, Duration::from_secs(6));
    assert_eq!(client.take(), first);
}

#[test]
fn the_rest_of_a_message_that_waits_in_the_kernel_is_not_too_late() {
    let mut rig = hasty();
    let client = rig.connect("a");
    // The rest is longer than one read, so after the first read the connection is still late.
    let text = "x".repeat(3 * longlink::run::READ_SIZE / 4);
    let bytes = [frames::text(&text), frames::text(&text)].concat();
    client.feed(&bytes[..10]);
    rig.event(&client, READABLE);
    rig.tick();
    client.feed(&bytes[10..]);
    pass_without_events(&mut rig, Duration::from_millis(3_500));
    assert!(rig.open(&client).is_some());
    let answer = client.take();
    assert!(answer.len() > 2 * text.len(), "both messages are echoed: {} bytes", answer.len());
}

#[test]
fn a_message_that_is_still_not_whole_when_its_socket_was_read_is_too_late() {
    let mut rig = hasty();
    let client = rig.connect("a");
    let bytes = frames::text("a message");
    client.feed(&bytes[..4]);
    rig.event(&client, READABLE);
    rig.tick();
    client.feed(&bytes[4..6]);
    pass_without_events(&mut rig, Duration::from_millis(3_500));
    assert!(has_close(&client, 1008));
}

#[test]
fn the_answer_to_a_close_that_waits_in_the_kernel_ends_the_connection_without_the_timeout() {
    let mut rig = hasty();
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    rig.hub().close(conn, 1000, "bye");
    rig.tick();
    client.feed(&frames::close(1000));
    client.end();
    pass_without_events(&mut rig, Duration::from_secs(4));
    assert!(client.is_dropped());
    assert_eq!(client.0.borrow().bytes_read as usize, frames::handshake("/a", "").len() + 8);
}

#[test]
fn a_socket_that_takes_bytes_again_is_written_to_before_its_connection_is_judged() {
    let mut rig = hasty();
    let client = rig.connect("a");
    client.script(Output::Error(ErrorKind::WouldBlock));
    let conn = rig.conn(&client);
    rig.hub().close(conn, 4_000, "bye");
    rig.tick();
    assert!(client.take().is_empty());
    // The socket would take the close frame now, but no event has said so.
    pass_without_events(&mut rig, Duration::from_secs(4));
    assert!(has_close(&client, 4_000) && client.is_shut_down());
    rig.pass(Duration::from_secs(1));
    assert!(client.is_dropped());
}

#[test]
fn a_connection_whose_bytes_wait_for_the_work_budget_is_not_idle() {
    let mut rig = Rig::new(|config| {
        config.ping_after = Duration::from_secs(1);
        config.idle_timeout = Duration::from_secs(3);
        config.work_per_turn = 2;
    });
    let client = rig.connect("a");
    let beats: Vec<u8> = (0..20).flat_map(|_| frames::text("beat")).collect();
    rig.receive(&client, &beats);
    rig.now += Duration::from_secs(4);
    rig.tick();
    assert!(rig.open(&client).is_some(), "its bytes wait in the hub");
    rig.settle();
    assert!(rig.open(&client).is_some());
    assert_eq!(client.take().windows(4).filter(|bytes| bytes == b"beat").count(), 20);
}

#[test]
fn a_request_whose_bytes_wait_for_the_work_budget_is_not_too_late() {
    let mut rig = Rig::new(|config| {
        config.handshake_timeout = Duration::from_secs(3);
        config.work_per_turn = 2;
    });
    let greedy = rig.connect("a");
    let client = rig.knock();
    rig.tick();
    // The budget is spent before its head can be read.
    greedy.feed(&(0..20).flat_map(|_| frames::text("beat")).collect::<Vec<u8>>());
    client.feed(&frames::handshake("/b", ""));
    rig.now += Duration::from_secs(4);
    rig.event(&greedy, READABLE);
    rig.event(&client, READABLE);
    assert_eq!(client.reads(), 0);
    rig.tick();
    rig.settle();
    assert!(client.take().starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn a_connection_is_read_once_before_it_is_judged_and_not_at_other_times() {
    let mut rig = hasty();
    let client = rig.connect("a");
    rig.pass(Duration::from_millis(1_020));
    assert_eq!((client.take(), client.reads()), (PING.to_vec(), 0), "a ping needs no read");
    rig.pass(Duration::from_secs(2));
    rig.settle();
    assert!(has_close(&client, 1001));
    assert_eq!(rig.handler().closed.len(), 0, "the peer has its time to answer");
    // The second read waits for the peer's answer to the close frame.
    assert_eq!(client.reads(), 2);
}

/// Connections that have gone in the meantime are found soon; the others get a ping before they are
/// ended.
#[test]
fn after_an_absence_the_server_sends_a_ping_before_it_judges() {
    let mut rig = Rig::new(|_| {});
    let (gone, there) = (rig.connect("gone"), rig.connect("there"));
    let pinged = rig.connect("pinged");
    for _ in 0..2 {
        rig.pass(Duration::from_millis(12_520));
        for client in [&gone, &there] {
            rig.receive(client, &frames::text("beat"));
            client.take();
        }
    }
    assert_eq!(pinged.take(), PING);
    // The process is stopped for five minutes. Nothing waits in any socket.
    rig.pass(Duration::from_secs(300));
    rig.settle();
    for client in [&gone, &there, &pinged] {
        assert_eq!(client.take(), PING, "the connection gets a ping and is not closed");
    }
    for client in [&there, &pinged] {
        rig.receive(client, &frames::masked(0x80 | frames::PONG, b""));
    }
    rig.pass(Duration::from_secs(34));
    assert!(rig.open(&gone).is_some(), "a peer has as long to answer as after any ping");
    rig.pass(Duration::from_millis(1_100));
    assert!(has_close(&gone, 1001), "the connection ends 35 s after the ping");
    rig.pass(Duration::from_secs(3));
    assert!(rig.open(&there).is_some() && rig.open(&pinged).is_some());
    assert_eq!(rig.driver.hub().stats().idle, 1);
}

#[test]
fn after_an_absence_a_handshake_a_message_and_a_close_have_their_whole_time_again() {
    let mut rig = Rig::new(|_| {});
    let shaking = rig.knock();
    rig.tick();
    let (talking, closing) = (rig.connect("talking"), rig.connect("closing"));
    let bytes = frames::text("a message");
    rig.receive(&talking, &bytes[..4]);
    let conn = rig.conn(&closing);
    rig.hub().close(conn, 1000, "bye");
    rig.tick();

    rig.pass(Duration::from_secs(300));
    rig.settle();
    rig.pass(Duration::from_millis(4_900));
    assert!(!closing.is_dropped() && !shaking.is_dropped());
    rig.pass(Duration::from_millis(200));
    assert!(closing.is_dropped(), "a close has 5 s");
    rig.pass(Duration::from_millis(2_800));
    assert!(!shaking.is_dropped());
    rig.pass(Duration::from_millis(200));
    assert!(shaking.is_dropped(), "a handshake has 8 s");
    rig.pass(Duration::from_secs(4));
    rig.receive(&talking, &bytes[4..]);
    assert!(rig.open(&talking).is_some(), "a message has 30 s, and this one took 12 s");
}

/// A host with a coarse timer of its own is late every time. Connections whose peers have gone must end
/// nevertheless.
#[test]
fn a_loop_that_is_always_late_still_judges() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    let mut seconds = 0;
    while rig.open(&client).is_some() {
        rig.pass(Duration::from_secs(20));
        seconds += 20;
        assert!(seconds <= 180, "judged after three times the idle timeout at the latest");
    }
    rig.settle();
    let reasons: Vec<_> = rig.handler().closed.iter().map(|(_, reason)| reason.clone()).collect();
    assert!(reasons.iter().all(|reason| *reason == CloseReason::Idle), "{reasons:?}");
    assert_eq!(rig.driver.hub().stats().idle, 1);
}
