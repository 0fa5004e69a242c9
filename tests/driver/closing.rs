//! How connections are closed: the last bytes arrive, and no connection stays longer than its timeout.

use std::io::ErrorKind;
use std::time::Duration;

use longlink::{CloseReason, Violation};

use crate::fake::{ENDED, Output, READABLE, Rig, WRITABLE};
use longlink::sim::frames::{self, all, close, text};

#[test]
fn a_close_is_flushed_then_shut_down_then_drained_then_dropped() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    rig.hub().send(conn, "first");
    rig.hub().close(conn, 4000, "bye");
    rig.tick();
    let frames = all(&client.take());
    assert_eq!(frames[0].text(), "first");
    assert_eq!(frames[1].payload, b"\x0f\xa0bye");
    assert!(client.is_shut_down() && !client.is_dropped());

    // What the client still sends is read and not answered.
    rig.receive(&client, &text("too late"));
    rig.receive(&client, &close(4000));
    assert!(client.take().is_empty());
    assert!(!client.is_dropped());
    client.end();
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    assert!(client.is_dropped());
    let reason = CloseReason::Handler { code: 4000, reason: "bye".into() };
    assert_eq!(rig.handler().closed, [(conn, reason)]);
    assert_eq!(rig.driver.hub().connections(), 0);
}

#[test]
fn the_write_side_is_shut_down_only_when_the_close_is_written_whole() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    client.script(Output::Take(2));
    rig.hub().close(conn, 1000, "");
    rig.tick();
    assert!(!client.is_shut_down());
    rig.event(&client, WRITABLE);
    rig.tick();
    assert!(client.is_shut_down());
    assert_eq!(all(&client.take())[0].close_code(), Some(1000));
}

#[test]
fn a_flood_behind_the_close_frame_of_the_server_does_not_hold_up_the_loop() {
    let mut rig = Rig::new(|_| {});
    let (flooder, bystander) = (rig.connect("a"), rig.connect("b"));
    let conn = rig.conn(&flooder);
    rig.hub().close(conn, 1000, "");
    flooder.feed(&vec![0x55; 64 << 20]);
    rig.event(&flooder, READABLE);
    rig.tick();
    for n in 0..20 {
        let reads = flooder.reads();
        rig.receive(&bystander, &text("hello"));
        assert_eq!(frames::texts(&bystander.take()), ["hello"], "turn {n}");
        assert!(flooder.reads() <= reads + 1, "one read a turn");
    }
    rig.pass(Duration::from_secs(6));
    rig.settle();
    assert!(flooder.is_dropped(), "the time to end a connection is bounded");
}

#[test]
fn the_close_of_a_peer_is_answered_and_its_connection_is_dropped_at_once() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    rig.receive(&client, &close(1000));
    assert_eq!(all(&client.take())[0].close_code(), Some(1000));
    assert!(client.is_dropped());
    assert!(!client.is_shut_down(), "closing the socket ends both sides");
    assert_eq!(client.writes(), 1);
    assert_eq!(rig.handler().closed[0].1, CloseReason::Peer { code: 1000 });
}

#[test]
fn input_behind_the_close_frame_of_a_peer_does_not_destroy_the_answer() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    rig.receive(&client, &[close(1001), text("afterthought")].concat());
    assert_eq!(all(&client.take()).len(), 1, "nothing after a close counts");
    assert!(
        client.is_shut_down() && !client.is_dropped(),
        "it is drained, or a reset would destroy the answer"
    );
    client.end();
    rig.event(&client, READABLE);
    rig.tick();
    assert!(client.is_dropped());
}

#[test]
fn a_violation_of_the_protocol_is_answered_with_one_close_frame() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    rig.receive(&client, &[0x81, 0x01, b'x', 0x81, 0x01, b'y']);
    let frames = all(&client.take());
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].close_code(), Some(1002));
    assert!(client.is_shut_down());
    client.end();
    rig.event(&client, READABLE);
    rig.tick();
    assert_eq!(rig.handler().closed.len(), 1);
    assert_eq!(rig.handler().closed[0].1, CloseReason::Violation(Violation::Unmasked));
}

#[test]
fn a_peer_that_never_ends_its_side_is_dropped_in_time() {
    let mut rig = Rig::new(|config| config.close_timeout = Duration::from_secs(3));
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    rig.hub().close(conn, 1000, "");
    rig.tick();
    rig.pass(Duration::from_millis(2_900));
    rig.receive(&client, &text("more"));
    assert!(!client.is_dropped());
    rig.pass(Duration::from_millis(200));
    rig.settle();
    assert!(client.is_dropped(), "what the peer sends gives it no more time");
}

#[test]
fn a_peer_that_never_takes_the_close_is_dropped_in_time() {
    let mut rig = Rig::new(|config| config.close_timeout = Duration::from_secs(3));
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    // The socket blocks when the close is written, and once more before the time is over.
    client.script(Output::Error(ErrorKind::WouldBlock));
    client.script(Output::Error(ErrorKind::WouldBlock));
    rig.hub().close(conn, 1000, "");
    rig.tick();
    rig.pass(Duration::from_millis(2_900));
    rig.settle();
    assert!(!client.is_dropped(), "the time of the peer is not over");
    rig.pass(Duration::from_millis(200));
    rig.settle();
    assert!(
        client.is_dropped() && client.is_discarded(),
        "the kernel does not keep the close frame either"
    );
    assert_eq!(rig.driver.hub().buffered(), 0);
}

/// Bytes that were written completely are delivered, however slowly the socket took them.
#[test]
fn a_connection_that_blocked_and_drained_loses_nothing_when_it_ends() {
    for ours in [true, false] {
        let mut rig = Rig::new(|_| {});
        let client = rig.connect("a");
        let conn = rig.conn(&client);
        client.script(Output::Take(2));
        if ours {
            rig.hub().close(conn, 1000, "");
            rig.tick();
        } else {
            rig.receive(&client, &close(1000));
        }
        rig.event(&client, WRITABLE);
        rig.tick();
        assert_eq!(all(&client.take())[0].close_code(), Some(1000));
        client.end();
        rig.event(&client, ENDED);
        rig.tick();
        rig.settle();
        assert!(client.is_dropped() && !client.is_discarded(), "ours: {ours}");
    }
}

#[test]
fn a_reset_while_closing_keeps_the_first_reason() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    rig.hub().close(conn, 4001, "enough");
    rig.tick();
    client.fail(ErrorKind::ConnectionReset);
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    assert!(client.is_dropped());
    let reason = CloseReason::Handler { code: 4001, reason: "enough".into() };
    assert_eq!(rig.handler().closed, [(conn, reason)]);
}

#[test]
fn an_aborted_connection_is_dropped_without_a_close_frame() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    let conn = rig.conn(&client);
    rig.hub().send(conn, "never sent");
    rig.hub().abort(conn);
    assert!(rig.is_busy());
    rig.tick();
    assert!(client.is_dropped() && client.take().is_empty());
    assert_eq!(rig.handler().closed, [(conn, CloseReason::Aborted)]);
    assert_eq!(rig.driver.hub().buffered(), 0);
}

#[test]
fn a_thousand_connections_that_end_in_different_ways_leave_nothing_behind() {
    let mut rig = Rig::new(|_| {});
    for n in 0..1_000 {
        let client = rig.connect(&format!("user {}", n % 7).replace(' ', "-"));
        match n % 4 {
            0 => client.end(),
            1 => client.fail(ErrorKind::ConnectionReset),
            2 => client.feed(&close(1000)),
            _ => {
                let conn = rig.conn(&client);
                rig.hub().abort(conn);
            }
        }
        rig.event(&client, READABLE);
        rig.tick();
        rig.settle();
        assert!(client.is_dropped(), "{n}");
    }
    let handler = rig.handler();
    assert_eq!((handler.opened.len(), handler.closed.len()), (1_000, 1_000));
    assert_eq!(rig.driver.hub().connections(), 0);
    assert_eq!(rig.driver.hub().buffered(), 0);
    assert_eq!(rig.driver.next_deadline(), None, "no connection has a deadline any more");
}
